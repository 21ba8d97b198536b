//! A scenario's Collector on a kind cluster: its binary becomes an image of the nodes, and runs in a pod.

use std::path::Path;

use spangate_cluster::{Assets, Component, Found, KindCluster, docker::ProgramImage};
use spangate_sink::SinkHandle;

use super::{
    api::Administrator,
    environment::{Notes, fetch, forward},
    kind::blocking,
};
use crate::{
    collector::{
        pods::{NAME, PodConfig},
        running::RunningCollector,
    },
    error::CommandError,
    event::{Events, Step},
    plan::Plan,
};

/// The Collector's binary, if the scenario has a Collector.
pub(super) async fn binary(
    plan: &Plan,
    assets: &Assets,
    events: &Events,
) -> Result<Option<Found>, CommandError> {
    let wanted = plan.wanted(assets)?.into_iter().find(|wanted| wanted.component == Component::Otelcol);
    match wanted {
        Some(wanted) => fetch(assets, wanted, false, events).await.map(Some),
        None => Ok(None),
    }
}

/// Starts the Collector in a pod behind the tap; it sends to the sink, and its log will be in the last of the parts.
pub(super) async fn start(
    plan: &Plan,
    cluster: &KindCluster,
    binary: &Found,
    (tap, sink, logs): (SinkHandle, &SinkHandle, &Path),
    notes: &Notes,
    events: &Events,
) -> Result<RunningCollector, CommandError> {
    events.step(Step::Collector);
    let no_image = || CommandError::environment("the Collector does not become an image of the nodes");
    let of = binary.clone();
    let image =
        blocking(move || ProgramImage::of(&of, NAME)).await?.map_err(|error| no_image().because(error))?;
    cluster.load(&image, &forward(events)).await.map_err(|error| no_image().because(error))?;
    let setup = |error| CommandError::environment("the API server cannot be used").because(error);
    let administrator = Administrator::new(&cluster.access().kubeconfig()).await.map_err(setup)?;
    let missing = || CommandError::bug("the plan has a Collector and no configuration of one");
    let config = PodConfig {
        configuration: plan.collector.as_ref().ok_or_else(missing)?,
        model: plan.scenario.spec.collector.as_ref().ok_or_else(missing)?,
        image: &image.name,
        client: administrator.client().clone(),
        node: cluster.node(),
        address: cluster.address().ip(),
        sink,
        logs,
    };
    RunningCollector::in_pod(tap, config, notes.clock).await
}
