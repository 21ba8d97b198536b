//! What pipelines name, and what is defined (otelcol/config.go, core v0.161.0).

use super::{Checker, said};
use crate::{
    collector::{Pipeline, Reference, Rule, Section, Severity},
    suggest,
};

pub(super) static UNDEFINED: Rule = Rule {
    id: "component-undefined",
    severity: Severity::Error,
    summary: "A component that a pipeline or the service names and nobody defines.",
    scenario: None,
};
pub(super) static UNUSED: Rule = Rule {
    id: "component-unused",
    severity: Severity::Warning,
    summary: "A component that is defined and that nobody names.",
    scenario: None,
};

pub(super) fn check(checker: &mut Checker<'_>) {
    for pipeline in checker.config.pipelines() {
        for (section, reference) in pipeline.references() {
            let sections = match section {
                Section::Processors | Section::Extensions | Section::Connectors => vec![section],
                Section::Receivers | Section::Exporters => vec![section, Section::Connectors],
            };
            defined(checker, &format!("service.pipelines.{}.{section}", pipeline.id()), &sections, reference);
        }
    }
    for reference in checker.config.service_extensions() {
        defined(checker, "service.extensions", &[Section::Extensions], reference);
    }
    unused(checker);
}

fn defined(checker: &mut Checker<'_>, path: &str, sections: &[Section], reference: &Reference) {
    let ids: Vec<String> = sections
        .iter()
        .flat_map(|section| checker.config.section(*section))
        .map(|component| component.id().to_string())
        .collect();
    let id = reference.id().to_string();
    if ids.contains(&id) {
        return;
    }
    let what = sections[0].singular();
    let fix = match suggest::nearest(&id, ids.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("define it under `{}`, or take it out", sections[0]),
    };
    let said = said(
        format!("the {what} `{id}` is not defined"),
        "the Collector refuses a configuration that names a component without defining it",
        fix,
    );
    checker.report(&UNDEFINED, &path, reference.span(), said);
}

fn unused(checker: &mut Checker<'_>) {
    let config = checker.config;
    for component in config.components() {
        let (section, id) = (component.section(), component.id());
        let named = match section {
            Section::Extensions => config.service_extensions().iter().any(|each| each.id() == id),
            Section::Connectors => config
                .pipelines()
                .iter()
                .flat_map(|pipeline| pipeline.receivers().iter().chain(pipeline.exporters()))
                .any(|each| each.id() == id),
            Section::Receivers | Section::Processors | Section::Exporters => config
                .pipelines()
                .iter()
                .flat_map(Pipeline::references)
                .any(|(part, each)| part == section && each.id() == id),
        };
        if named {
            continue;
        }
        let (what, place) = match section {
            Section::Extensions => ("extension", "`service.extensions`"),
            _ => (section.singular(), "a pipeline"),
        };
        let said = said(
            format!("the {what} `{id}` is defined and never used"),
            "the Collector reads it and does not start it",
            format!("name it in {place}, or leave it out"),
        );
        checker.report(&UNUSED, &format!("{section}.{id}"), component.span(), said);
    }
}
