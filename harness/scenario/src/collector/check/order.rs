//! The order of processors in a pipeline.

use super::{Checker, flow::is_entry, said};
use crate::collector::{Pipeline, Rule, Severity};

pub(super) static NO_MEMORY_LIMITER: Rule = Rule {
    id: "memory-limiter-missing",
    severity: Severity::Warning,
    summary: "A pipeline that takes data from outside without a memory limiter.",
    scenario: Some("scenarios/collector-memory-limit.yaml"),
};
pub(super) static MEMORY_LIMITER_NOT_FIRST: Rule = Rule {
    id: "memory-limiter-not-first",
    severity: Severity::Warning,
    summary: "A memory limiter behind another processor.",
    scenario: Some("scenarios/collector-memory-limit.yaml"),
};
pub(super) static BATCH_BEFORE_SAMPLING: Rule = Rule {
    id: "batch-before-sampling",
    severity: Severity::Warning,
    summary: "A batch processor before a sampler.",
    scenario: None,
};

const LIMITER: &str = "memory_limiter";

/// Processors that drop what a batch would have been made of.
const SAMPLERS: [&str; 2] = ["tail_sampling", "probabilistic_sampler"];

pub(super) fn check(checker: &mut Checker<'_>) {
    for pipeline in checker.config.pipelines() {
        limiter(checker, pipeline);
        batch(checker, pipeline);
    }
}

fn limiter(checker: &mut Checker<'_>, pipeline: &Pipeline) {
    let place = pipeline.processors().iter().position(|each| each.id().kind() == LIMITER);
    let path = format!("service.pipelines.{}.processors", pipeline.id());
    match place {
        // Behind a connector it could only refuse what has been taken already.
        None if is_entry(checker.config, pipeline) && !pipeline.receivers().is_empty() => {
            let said = said(
                format!("the pipeline `{}` has no memory limiter", pipeline.id()),
                "when more comes in than goes out, the Collector grows until it is killed, and all that it holds is lost",
                "add `memory_limiter: {check_interval: 1s, limit_percentage: 80, spike_limit_percentage: 20}` \
                 and name it first",
            );
            checker.report(&NO_MEMORY_LIMITER, &path, pipeline.span(), said);
        }
        Some(place) if place > 0 => {
            let limiter = &pipeline.processors()[place];
            let before = pipeline.processors()[0].id();
            let said = said(
                format!("`{}` comes after `{before}`", limiter.id()),
                "it refuses data to whoever is before it: only as the first processor can the receiver pass the \
                 refusal on to the sender, who then tries again",
                "name it first",
            );
            checker.report(&MEMORY_LIMITER_NOT_FIRST, &path, limiter.span(), said);
        }
        _ => {}
    }
}

/// processor/batchprocessor/README.md, core v0.161.0: batching should come after any sampling. The tail
/// sampler takes batches apart by trace in any case (processor.go, contrib v0.161.0).
fn batch(checker: &mut Checker<'_>, pipeline: &Pipeline) {
    let processors = pipeline.processors();
    let sampler = processors.iter().rposition(|each| SAMPLERS.contains(&each.id().kind()));
    let Some(sampler) = sampler else { return };
    for batch in processors[..sampler].iter().filter(|each| each.id().kind() == "batch") {
        let sampler = processors[sampler].id();
        let said = said(
            format!("`{}` comes before `{sampler}`", batch.id()),
            "the sampler takes spans out of the batches again: they cost time before the decision, and the exporter gets \
             small ones",
            format!("name it after `{sampler}`"),
        );
        let path = format!("service.pipelines.{}.processors", pipeline.id());
        checker.report(&BATCH_BEFORE_SAMPLING, &path, batch.span(), said);
    }
}
