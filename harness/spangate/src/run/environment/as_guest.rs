//! The environment on a cluster that is there already: nothing of it is started, and nothing is ended.

use std::time::Instant;

use spangate_cluster::Pki;
use spangate_sink::{Sink, SinkConfig};

use super::{
    super::{existing::Guest, priority::Realtime, servers::Servers},
    Backends, Cluster, Environment, LOOPBACK, Notes,
    cluster::webhooks,
    no_certificates, raise, realtime,
};
use crate::{
    error::CommandError,
    event::{Event, Events},
    existing::{Existing, Whose},
    measure::Follow,
    plan::Plan,
};

impl Environment {
    /// As [`start`](Self::start), on a cluster that is there already.
    pub(super) async fn start_as_guest(
        plan: &Plan,
        existing: &Existing,
        notes: &Notes,
        events: &Events,
    ) -> Result<Self, CommandError> {
        let sink = SinkConfig { clock: notes.clock, grpc: existing.otlp_listen, ..SinkConfig::default() };
        let sink = Sink::start(sink).await.map_err(|error| {
            CommandError::environment("the trace sink does not start")
                .because(error)
                .help("it must be where the API server exports to: see --otlp-listen")
        })?;
        // What somebody else runs keeps the priority that it has; what is kept for runs is lent ours.
        let processes =
            if let Whose::Kept { processes, .. } = &existing.whose { processes.as_slice() } else { &[] };
        let mut realtime = if processes.is_empty() { None } else { realtime(events) };
        raise(realtime.as_ref(), Realtime::raise_run, events);
        if let Some(Err(why)) = realtime.as_mut().map(|realtime| realtime.lend(processes)) {
            let note = format!("no real-time scheduling for the cluster, so timings are less certain: {why}");
            events.send(Event::Note(note));
        }
        let start = Instant::now();
        let guest = Guest::enter(plan, existing, &sink, events).await?;
        let to_first_span = start.elapsed();
        let listen = existing.webhook_listen.unwrap_or(LOOPBACK);
        let pki = Pki::generate_for(&[&listen.ip().to_string()]).map_err(no_certificates)?;
        let webhooks = webhooks(plan, &pki, listen, notes).await?;
        let (administrator, components) = (guest.administrator(), guest.components());
        let servers = Servers::Existing(Box::new(guest));
        let cluster =
            Cluster { administrator, webhooks, to_first_span, proxy: None, servers, as_cluster_admin: false };
        raise(realtime.as_ref(), Realtime::raise_injectors, events);
        let (backends, follow) = (Backends::default(), Follow::default());
        Ok(Self { sink, collector: None, backends, follow, cluster: Some(cluster), components, realtime })
    }
}
