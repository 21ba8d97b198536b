//! The environment on a kind cluster: a network first, sink and injectors at its gateway, then the cluster.

use std::{net::SocketAddr, time::Instant};

use spangate_cluster::{Assets, Pki};
use spangate_sink::{Sink, SinkConfig};

use super::{
    super::{
        collector_on_kind,
        directory::RunDirectory,
        etcd_proxy,
        kind::{Ready, Surroundings, blocking, docker},
        priority::Realtime,
        servers::Servers,
        webhook_service,
    },
    Backends, Cluster, Environment, FILES, Notes, component, no_certificates, raise, realtime,
};
use crate::{
    collector::running::RunningCollector,
    error::CommandError,
    event::{Event, Events, Step},
    measure::Follow,
    plan::Plan,
};

impl Environment {
    /// As [`start`](Self::start), with a kind cluster.
    pub(super) async fn start_on_kind(
        plan: &Plan,
        assets: &Assets,
        directory: &RunDirectory,
        notes: &Notes,
        events: &Events,
    ) -> Result<Self, CommandError> {
        events.step(Step::Binaries);
        // Before anything is fetched or built that would be of no use without Docker.
        blocking(docker).await??;
        let model = &plan.scenario.spec.cluster;
        let otelcol = collector_on_kind::binary(plan, assets, events).await?;
        let gateway = webhook_service::binary(plan, assets, events).await?;
        let ready = Ready::find(model, assets, events).await?;
        let files = std::path::absolute(directory.file(FILES))
            .map_err(|error| CommandError::environment("the run has no directory").because(error))?;
        events.step(Step::KindCluster);
        let start = Instant::now();
        let network = ready.network(&Ready::name_of_run(), false, &files).await?;
        let here = SocketAddr::new(network.gateway(), 0);
        // Nodes reach this machine at that address and not at loopback; nobody else does.
        let sink =
            Sink::start(SinkConfig { clock: notes.clock, grpc: here, http: here, ..SinkConfig::default() })
                .await
                .map_err(|error| {
                    CommandError::environment("the trace sink does not start").because(error).help(
                        "Docker's engine must be on this machine itself, not in a virtual one or elsewhere",
                    )
                })?;
        let tap = match &otelcol {
            Some(_) => Some(RunningCollector::early_tap(here, notes.clock).await?),
            None => None,
        };
        let proxy = etcd_proxy::on_kind(plan, here.ip(), notes).await?;
        // Where the load is traces, the API server's own have no business among them.
        let otlp = plan.synthetic.is_none().then(|| tap.as_ref().unwrap_or(&sink).grpc_addr().to_string());
        let around = Surroundings {
            base: plan.kind_config.as_deref(),
            otlp: otlp.as_deref(),
            etcd_proxy: proxy.as_ref(),
        };
        let servers = ready.start(network, model, around, &files, events).await?;
        let components = ready.components(servers.version());
        let proxy = proxy.map(|proxy| proxy.handle);
        let collector = match otelcol.as_ref().zip(tap) {
            Some((binary, tap)) => {
                let logs = directory.file(RunDirectory::LOGS);
                let parts = (tap, &sink, logs.as_path());
                Some(collector_on_kind::start(plan, &servers, binary, parts, notes, events).await?)
            }
            None => None,
        };
        // Only now: nobody else should wait for kind and its Docker clients.
        let realtime = realtime(events);
        raise(realtime.as_ref(), Realtime::raise_run, events);
        let processes = servers.processes().unwrap_or_default();
        if let Some(Err(why)) = realtime.as_ref().map(|realtime| realtime.raise_pods(&processes)) {
            let note = format!("no real-time scheduling on the node, so timings are less certain: {why}");
            events.send(Event::Note(note));
        }
        let names = [here.ip().to_string(), webhook_service::host()];
        let pki = Pki::generate_for(&names.each_ref().map(String::as_str)).map_err(no_certificates)?;
        let servers = Servers::Kind(Box::new(servers));
        let receiver = collector.as_ref().map_or(&sink, RunningCollector::tap);
        let cluster = Cluster::of(plan, servers, proxy, receiver, (pki, here), start, notes, events).await?;
        if let (Some(gateway), Some(webhooks), Servers::Kind(servers)) =
            (&gateway, &cluster.webhooks, &cluster.servers)
        {
            let client = cluster.administrator.client();
            webhook_service::start(servers, client, gateway, webhooks, realtime.as_ref(), events).await?;
        }
        raise(realtime.as_ref(), Realtime::raise_injectors, events);
        let components = components.into_iter().chain(otelcol.as_ref().map(component)).collect();
        let follow = Follow::default();
        let backends = Backends::default();
        Ok(Self { sink, collector, backends, follow, cluster: Some(cluster), components, realtime })
    }
}
