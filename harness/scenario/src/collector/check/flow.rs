//! Which pipelines a trace goes through, one after the other.

use crate::collector::{Config, Id, Pipeline, Reference, Section};

/// The pipelines whose data reaches this one through connectors, nearest first, without itself.
pub(super) fn upstream<'c>(config: &'c Config, pipeline: &'c Pipeline) -> Vec<&'c Pipeline> {
    let mut found: Vec<&Pipeline> = Vec::new();
    let mut next = vec![pipeline];
    while let Some(pipeline) = next.pop() {
        for before in config.pipelines() {
            let known =
                std::ptr::eq(before, pipeline) || found.iter().any(|each| std::ptr::eq(*each, before));
            let leads = |out: &Reference| {
                is_connector(config, out.id())
                    && pipeline.receivers().iter().any(|into| into.id() == out.id())
            };
            if !known && before.exporters().iter().any(leads) {
                found.push(before);
                next.push(before);
            }
        }
    }
    found
}

/// Whether an id is one of a connector.
pub(super) fn is_connector(config: &Config, id: &Id) -> bool {
    config.section(Section::Connectors).any(|component| component.id() == id)
}

/// Whether data comes into a pipeline from outside of the Collector.
pub(super) fn is_entry(config: &Config, pipeline: &Pipeline) -> bool {
    pipeline.receivers().iter().any(|receiver| !is_connector(config, receiver.id()))
}
