//! Sections and pipelines that a Collector refuses (core v0.161.0: otelcol/config.go,
//! service/pipelines/config.go, service/internal/graph/graph.go).

use super::{Checker, said};
use crate::{
    collector::{Pipeline, Reference, Rule, Section, Severity},
    suggest,
};

pub(super) static UNKNOWN_SECTION: Rule = Rule {
    id: "unknown-section",
    severity: Severity::Error,
    summary: "A key of the file that is no section.",
    scenario: None,
};
pub(super) static NO_PIPELINES: Rule = Rule {
    id: "no-pipelines",
    severity: Severity::Error,
    summary: "No pipeline under `service.pipelines`.",
    scenario: None,
};
pub(super) static UNKNOWN_SIGNAL: Rule = Rule {
    id: "unknown-signal",
    severity: Severity::Error,
    summary: "A pipeline whose id does not begin with a signal.",
    scenario: None,
};
pub(super) static INCOMPLETE: Rule = Rule {
    id: "pipeline-incomplete",
    severity: Severity::Error,
    summary: "A pipeline without a receiver or without an exporter.",
    scenario: None,
};
pub(super) static REPEATED: Rule = Rule {
    id: "processor-repeated",
    severity: Severity::Error,
    summary: "A processor that a pipeline names twice.",
    scenario: None,
};
pub(super) static ONE_SIDED: Rule = Rule {
    id: "connector-one-sided",
    severity: Severity::Error,
    summary: "A connector that only receives, or only exports.",
    scenario: None,
};

const SECTIONS: &[&str] = &["receivers", "processors", "exporters", "connectors", "extensions", "service"];
const SIGNALS: &[&str] = &["traces", "metrics", "logs", "profiles"];

pub(super) fn check(checker: &mut Checker<'_>) {
    for (key, value) in checker.root().entries() {
        if !SECTIONS.contains(&key) {
            let said = said(
                format!("`{key}` is no section of a Collector's configuration"),
                "the Collector refuses keys that it does not know",
                suggest::help(key, SECTIONS),
            );
            checker.report(&UNKNOWN_SECTION, &value.path, value.key_span(), said);
        }
    }
    if checker.config.pipelines().is_empty() {
        let place = checker.config.key_span(&["service"]).unwrap_or(0..0);
        let said = said(
            "there is no pipeline",
            "a Collector without pipelines does not start",
            "write `service: {pipelines: {traces: {receivers: [...], exporters: [...]}}}`",
        );
        checker.report(&NO_PIPELINES, &"service.pipelines", place, said);
    }
    for pipeline in checker.config.pipelines() {
        signal(checker, pipeline);
        complete(checker, pipeline);
    }
    connectors(checker);
}

fn signal(checker: &mut Checker<'_>, pipeline: &Pipeline) {
    if !SIGNALS.contains(&pipeline.signal()) {
        let said = said(
            format!("the pipeline `{}` has no signal", pipeline.id()),
            "the id of a pipeline begins with what flows through it",
            suggest::help(pipeline.signal(), SIGNALS),
        );
        checker.report(&UNKNOWN_SIGNAL, &path(pipeline), pipeline.span(), said);
    }
}

fn complete(checker: &mut Checker<'_>, pipeline: &Pipeline) {
    for (what, list) in [("receiver", pipeline.receivers()), ("exporter", pipeline.exporters())] {
        if list.is_empty() {
            let said = said(
                format!("the pipeline `{}` has no {what}", pipeline.id()),
                format!("a pipeline must have at least one {what}"),
                format!("write `{what}s: [...]`, or leave the pipeline out"),
            );
            checker.report(&INCOMPLETE, &path(pipeline), pipeline.span(), said);
        }
    }
    let processors = pipeline.processors();
    for (index, processor) in processors.iter().enumerate() {
        if processors[..index].iter().any(|before| before.id() == processor.id()) {
            let said = said(
                format!("`{}` is twice in the pipeline `{}`", processor.id(), pipeline.id()),
                "the Collector refuses a pipeline that names a processor twice",
                format!("leave one out, or define `{}/2`", processor.id().kind()),
            );
            checker.report(&REPEATED, &path(pipeline), processor.span(), said);
        }
    }
}

fn connectors(checker: &mut Checker<'_>) {
    let config = checker.config;
    let mentions = |lists: fn(&Pipeline) -> &[Reference]| config.pipelines().iter().flat_map(lists);
    for connector in config.section(Section::Connectors) {
        let id = connector.id();
        let exports = mentions(Pipeline::exporters).find(|each| each.id() == id);
        let receives = mentions(Pipeline::receivers).find(|each| each.id() == id);
        let (mention, is, lacks) = match (exports, receives) {
            (Some(mention), None) => (mention, "exporter", "receiver"),
            (None, Some(mention)) => (mention, "receiver", "exporter"),
            _ => continue,
        };
        let said = said(
            format!("the connector `{id}` is an {is} and never a {lacks}")
                .replace("an receiver", "a receiver"),
            "a connector leads from one pipeline to another: it must be an exporter of the one and a receiver \
             of the other",
            format!("add `{id}` to the {lacks}s of a pipeline"),
        );
        checker.report(&ONE_SIDED, &format!("connectors.{id}"), mention.span(), said);
    }
}

fn path(pipeline: &Pipeline) -> String {
    format!("service.pipelines.{}", pipeline.id())
}
