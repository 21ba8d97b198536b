//! Webhooks behind a Service: a pod that passes bytes on to the webhook server, which stays in this process with its ledger.
//!
//! The pod runs `etcd gateway`, a plain TCP proxy in a binary that is at hand and needs nothing else. The API server finds
//! the Service by the cluster's own means, and the certificate of the webhook server has the Service's name.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::Client;
use serde_json::{Value, json};
use spangate_cluster::{Assets, Component, Found, KindCluster, Wanted, docker::ProgramImage};
use spangate_inject::{WEBHOOK_SERVICE, WebhookHandle};
use spangate_scenario::model::{Fault, Via};

use super::{
    environment::{fetch, forward},
    kind::blocking,
    priority::Realtime,
};
use crate::{
    error::CommandError,
    event::{Event, Events},
    plan::Plan,
    pods,
};

/// The port that API servers connect to where nothing else is said.
const HTTPS: u16 = 443;
/// The port of the pod.
const PORT: u16 = 9443;
/// The name of all objects.
const NAME: &str = WEBHOOK_SERVICE.name;
/// The name of the process in the pod; that of etcd itself is taken on the node.
const PROCESS: &str = "webhook-relay";

/// The name that the certificate of a webhook server needs for the Service.
pub(super) fn host() -> String {
    format!("{NAME}.{}.svc", WEBHOOK_SERVICE.namespace)
}

/// The program that passes bytes on, if a webhook of the scenario is behind a Service.
pub(super) async fn binary(
    plan: &Plan,
    assets: &Assets,
    events: &Events,
) -> Result<Option<Found>, CommandError> {
    let behind = |fault: &Fault| matches!(fault, Fault::Webhook(webhook) if webhook.via == Via::Service);
    if !plan.scenario.spec.faults.iter().any(behind) {
        return Ok(None);
    }
    let Some(version) = assets.catalogue().default_version(Component::Etcd) else {
        return Err(CommandError::bug("the catalogue has no etcd"));
    };
    let wanted = Wanted { component: Component::Etcd, spec: version.into(), path: None };
    fetch(assets, wanted, false, events).await.map(Some)
}

/// Puts the Service and its pod before the webhook server, and returns when the pod listens.
pub(super) async fn start(
    cluster: &KindCluster,
    client: &Client,
    binary: &Found,
    webhooks: &WebhookHandle,
    realtime: Option<&Realtime>,
    events: &Events,
) -> Result<(), CommandError> {
    let no_image = || CommandError::environment("there is no image for the pod before the webhooks");
    let of = binary.clone();
    let image =
        blocking(move || ProgramImage::of(&of, PROCESS)).await?.map_err(|error| no_image().because(error))?;
    cluster.load(&image, &forward(events)).await.map_err(|error| no_image().because(error))?;
    pods::namespace(client).await?;
    pods::create::<Deployment>(client, deployment(&image.name, &webhooks.addr().to_string())).await?;
    pods::create::<Service>(client, service()).await?;
    pods::ready(client, NAME, |_| false).await.map_err(|pod| {
        let why = pods::waiting(pod.as_deref());
        CommandError::environment(format!("the pod before the webhooks does not start: {why}"))
    })?;
    // What a call waits for the relay is in its span and in no ledger.
    let process = cluster.processes().unwrap_or_default().into_iter().find(|(_, name)| name == PROCESS);
    let raise = |realtime: &Realtime| match &process {
        Some((process, _)) => realtime.raise_relay(*process),
        None => Err(format!("no process {PROCESS} is seen on the node of the API server")),
    };
    let raised = realtime.map(raise);
    if let Some(Err(why)) = raised {
        let note = format!(
            "no real-time scheduling for the pod before the webhooks, so timings are less certain: {why}"
        );
        events.send(Event::Note(note));
    }
    Ok(())
}

fn deployment(image: &str, to: &str) -> Value {
    let args = [
        "gateway".to_owned(),
        "start".to_owned(),
        format!("--endpoints={to}"),
        format!("--listen-addr=0.0.0.0:{PORT}"),
        // What could not be reached once is not given up for a minute.
        "--retry-delay=1s".to_owned(),
    ];
    let pod = pods::pod(json!({
        "name": NAME,
        "image": image,
        "args": args,
        // Once: each probe is a connection to the webhook server.
        "startupProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1, "failureThreshold": 60},
    }));
    json!({
        "metadata": pods::metadata(NAME),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": pods::labels(NAME)},
            "template": {"metadata": {"labels": pods::labels(NAME)}, "spec": pod},
        },
    })
}

fn service() -> Value {
    let ports = json!([{"port": HTTPS, "targetPort": PORT}]);
    json!({"metadata": pods::metadata(NAME), "spec": {"selector": pods::labels(NAME), "ports": ports}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_leads_to_the_pod() {
        let deployment: Deployment =
            serde_json::from_value(deployment("an/image:1", "172.18.0.1:7")).unwrap();
        let service: Service = serde_json::from_value(service()).unwrap();
        let template = deployment.spec.template;
        assert_eq!(service.spec.unwrap().selector, template.metadata.unwrap().labels);
        let args = template.spec.unwrap().containers.remove(0).args.unwrap();
        assert!(args.contains(&"--endpoints=172.18.0.1:7".to_owned()), "{args:?}");
        assert_eq!(host(), "webhooks.spangate.svc");
    }
}
