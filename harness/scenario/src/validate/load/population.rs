//! Rules for what exists before load starts, and for payloads.

use std::collections::{BTreeMap, HashSet};

use super::within;
use crate::{
    model::{Population, Resource, SizeDistribution, Sizes},
    path::{Path, Step},
    units::Size,
    validate::{Findings, limited, names},
};

/// Objects of each resource that are made before load starts.
const MAX_OBJECTS: u32 = 1_000_000;

/// Namespaces that objects are spread over.
const MAX_NAMESPACES: u32 = 1000;

/// Objects that are made at once.
const MAX_PARALLEL: u32 = 1000;

pub(super) fn check(population: &Population, at: &Path, findings: &mut Findings) {
    within(population.namespaces, 1, MAX_NAMESPACES, &at.key("namespaces"), findings);
    within(population.parallel, 1, MAX_PARALLEL, &at.key("parallel"), findings);
    let list = at.key("objects");
    let mut seen = HashSet::new();
    for (index, entry) in limited(&population.objects, &list, findings).iter().enumerate() {
        let at = list.index(index);
        let plural = entry.resource.plural();
        if !seen.insert(entry.resource) {
            findings.add(&at.key("resource"), format!("another entry is about `{plural}` too"));
        }
        count(entry.count, &at.key("count"), findings);
        sizes(&entry.size, entry.resource, &at.key("size"), findings);
        labels(&entry.labels, &at.key("labels"), findings);
    }
}

/// Finds more objects than are made before load starts.
pub(super) fn count(objects: u32, at: &Path, findings: &mut Findings) {
    let message = format!("must be at most {MAX_OBJECTS}, got {objects}");
    findings.require(objects <= MAX_OBJECTS, at, message);
}

/// Finds payloads that the API server refuses, and distributions that cannot be drawn from.
pub(super) fn sizes(sizes: &Sizes, resource: Resource, at: &Path, findings: &mut Findings) {
    let (limit, plural, place) = (resource.payload_limit(), resource.plural(), resource.payload_place());
    let mut most = |size: Size, at: &Path| {
        let message = format!("{size} are too much: {plural} hold at most {limit} in their {place}");
        findings.require(size <= limit, at, message);
    };
    match sizes {
        Sizes::Fixed(size) => most(*size, at),
        Sizes::Drawn(SizeDistribution::Uniform { min, max }) => {
            let at = at.key("uniform");
            most(*max, &at.key("max"));
            if min > max {
                findings.add(&at, format!("`min` ({min}) is greater than `max` ({max})"));
            }
        }
        Sizes::Drawn(SizeDistribution::LogNormal { median, p99 }) => {
            let at = at.key("logNormal");
            most(*p99, &at.key("p99"));
            findings.require(*median > Size(0), &at.key("median"), "must be at least 1");
            if median >= p99 {
                findings.add(&at, format!("`median` ({median}) is not less than `p99` ({p99})"));
            }
        }
    }
}

/// Finds labels that Kubernetes refuses.
pub(super) fn labels(labels: &BTreeMap<String, String>, at: &Path, findings: &mut Findings) {
    for (key, value) in labels {
        let at = at.clone().then(Step::Key(key.clone()));
        findings.require(names::is_qualified_name(key), &at, format!("`{key}` is not the key of a label"));
        findings.require(names::is_label_value(value), &at, format!("`{value}` is not the value of a label"));
    }
}
