//! Shares of traces: what they really are, and what several of them make.

use super::{Checker, cursor::Cursor, flow::upstream, policies, said};
use crate::collector::{Id, Pipeline, Rule, Severity};

pub(super) static HASH_SEED: Rule = Rule {
    id: "hash-seed-rate",
    severity: Severity::Warning,
    summary: "A `hash_seed` sampler whose real rate is not the one that is written.",
    scenario: Some("scenarios/probabilistic-hash-seed.yaml"),
};
pub(super) static MULTIPLIED: Rule = Rule {
    id: "sampling-multiplied",
    severity: Severity::Warning,
    summary: "Two samplers one after the other, whose rates multiply.",
    scenario: Some("scenarios/head-times-tail.yaml"),
};
pub(super) static SEQUENTIAL: Rule = Rule {
    id: "fnv-sequential-ids",
    severity: Severity::Note,
    summary: "A sampler that hashes trace ids which are counted up.",
    scenario: None,
};

/// Buckets of the 14-bit hash (`probabilisticsamplerprocessor/sampler_mode.go`, contrib v0.161.0).
const BUCKETS: f32 = 16_384.0;

/// Relative differences between the written and the real rate that are told, and that are warned of.
const TOLD: f64 = 0.001;
const WARNED: f64 = 0.01;

/// A sampler by probability.
struct Sampler<'c> {
    /// Where its percentage is written.
    place: Cursor<'c>,
    /// The share of traces that it keeps.
    rate: f64,
    kind: Kind,
}

/// How a sampler decides.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// `probabilistic_sampler` by hash, and its seed.
    HashSeed(u64),
    /// `probabilistic_sampler`: a share of what comes in.
    Proportional,
    /// `probabilistic_sampler`: a share of all, of which what was left out before is a part.
    Equalizing,
    /// A `probabilistic` policy of the tail sampler.
    Policy,
}

pub(super) fn check(checker: &mut Checker<'_>) {
    for body in checker.components_of("processors", "probabilistic_sampler") {
        let sampler = of_processor(&body);
        if let Some(sampler) = sampler.filter(|sampler| matches!(sampler.kind, Kind::HashSeed(_))) {
            effective(checker, &sampler);
            sequential(checker, &sampler);
        }
    }
    for body in checker.components_of("processors", "tail_sampling") {
        for sampler in of_policies(&body) {
            sequential(checker, &sampler);
        }
    }
    let config = checker.config;
    for pipeline in config.pipelines().iter().filter(|pipeline| pipeline.signal() == "traces") {
        multiplied(checker, pipeline);
    }
}

/// Says what rate 14 bits make of a percentage.
fn effective(checker: &mut Checker<'_>, sampler: &Sampler<'_>) {
    let percent = sampler.rate * 100.0;
    if sampler.rate <= 0.0 || sampler.rate >= 1.0 {
        return;
    }
    // In 32 bits and rounded down, as the processor does it.
    #[expect(clippy::cast_possible_truncation, reason = "the processor reckons in 32 bits")]
    let narrow = percent as f32;
    let buckets = (narrow * (BUCKETS / 100.0)).trunc();
    let real = f64::from(buckets / BUCKETS) * 100.0;
    let off = (percent - real).abs() / percent;
    let (severity, message) = match off {
        off if off < TOLD => return,
        _ if buckets == 0.0 => (Severity::Warning, format!("{}% is nothing in 14 bits", shown(percent))),
        off if off < WARNED => (Severity::Note, format!("{}% is really {}%", shown(percent), shown(real))),
        _ => (Severity::Warning, format!("{}% is really {}%", shown(percent), shown(real))),
    };
    let said = said(
        message,
        "in the mode `hash_seed` a trace id is hashed to one of 16384 buckets, and a rate is a whole number of them",
        "write `mode: proportional`, which has 56 bits; or reckon with the real rate",
    );
    checker.report_as(&HASH_SEED, severity, &sampler.place.path, sampler.place.span(), said);
}

/// FNV-1a spreads ids that differ in their last bits only over few of its high bits; contrib issue 27044.
fn sequential(checker: &mut Checker<'_>, sampler: &Sampler<'_>) {
    if !checker.options.sequential_ids || sampler.rate <= 0.0 || sampler.rate >= 1.0 {
        return;
    }
    let said = said(
        "the hash does not mix trace ids that are counted up",
        "FNV-1a leaves neighbours close together: of ids in a row all or none may be sampled, whatever the rate",
        "let the load draw its trace ids, as the API server does",
    );
    checker.report(&SEQUENTIAL, &sampler.place.path, sampler.place.span(), said);
}

fn multiplied(checker: &mut Checker<'_>, pipeline: &Pipeline) {
    let mut before: Vec<(f64, String, Option<Kind>)> = Vec::new();
    if let Some(head) = checker.options.head_sampling_rate_per_million.filter(|rate| *rate < 1_000_000) {
        before.push((f64::from(head) / 1e6, "the API server".to_owned(), None));
    }
    let mut way = upstream(checker.config, pipeline);
    way.reverse();
    way.push(pipeline);
    for reference in way.iter().flat_map(|pipeline| pipeline.processors()) {
        let id = reference.id();
        let stage = stage(checker, id);
        for sampler in stage.iter().filter(|sampler| sampler.rate < 1.0 && sampler.rate > 0.0) {
            let factors: Vec<_> = before
                .iter()
                .filter(|(_, _, kind)| kind.is_none_or(|kind| multiply(kind, sampler.kind)))
                .collect();
            if factors.is_empty() {
                continue;
            }
            let rate = factors.iter().fold(sampler.rate, |rate, (factor, _, _)| rate * factor);
            let names: Vec<String> = factors
                .iter()
                .map(|(factor, name, _)| format!("{}% by {name}", shown(factor * 100.0)))
                .collect();
            let said = said(
                format!(
                    "{}% of what is left of {} is {}% of all",
                    shown(sampler.rate * 100.0),
                    names.join(" and "),
                    shown(rate * 100.0)
                ),
                "each sampler draws anew from what the one before it left; the API server does not write its rate \
                 into `tracestate`, so that nobody can reckon it in",
                "sample in one place: take the earlier one to 100%, or this one",
            );
            checker.report(&MULTIPLIED, &sampler.place.path, sampler.place.span(), said);
        }
        // Of several policies it is not known which one kept a trace.
        if let [sampler] = stage.as_slice()
            && sampler.rate < 1.0
        {
            before.push((sampler.rate, format!("`{id}`"), Some(sampler.kind)));
        }
    }
}

/// Whether the rates of two samplers multiply.
fn multiply(before: Kind, after: Kind) -> bool {
    match (before, after) {
        // The same hash: who is in the smaller share is in the larger one.
        (Kind::HashSeed(before), Kind::HashSeed(after)) => before != after,
        // It reckons in what `tracestate` says of the one before.
        (Kind::HashSeed(_) | Kind::Proportional | Kind::Equalizing, Kind::Equalizing) => false,
        _ => true,
    }
}

/// The samplers by probability of a processor.
fn stage<'c>(checker: &Checker<'c>, id: &Id) -> Vec<Sampler<'c>> {
    let bodies = checker.components_of("processors", id.kind());
    let body = bodies.into_iter().find(|body| {
        let name = body.path.steps().last();
        matches!(name, Some(crate::path::Step::Key(key)) if Id::parse(key).as_ref() == Ok(id))
    });
    match (id.kind(), body) {
        ("probabilistic_sampler", Some(body)) => of_processor(&body).into_iter().collect(),
        ("tail_sampling", Some(body)) => of_policies(&body),
        _ => Vec::new(),
    }
}

fn of_processor<'c>(body: &Cursor<'c>) -> Option<Sampler<'c>> {
    let place = body.get("sampling_percentage")?;
    let rate = place.number()? / 100.0;
    let kind = match body.get("mode").and_then(|mode| mode.text()) {
        None | Some("hash_seed") => {
            let seed = body.get("hash_seed").and_then(|seed| seed.text()?.parse().ok());
            Kind::HashSeed(seed.unwrap_or(0))
        }
        Some("proportional") => Kind::Proportional,
        Some("equalizing") => Kind::Equalizing,
        Some(_) => return None,
    };
    Some(Sampler { place, rate, kind })
}

/// The `probabilistic` policies that sample; within `drop` and `not` they do the opposite.
fn of_policies<'c>(body: &Cursor<'c>) -> Vec<Sampler<'c>> {
    let policies = body.get("policies").into_iter().flat_map(|list| list.items());
    let kind = |policy: &Cursor<'c>| policy.get("type").and_then(|kind| kind.text()).unwrap_or_default();
    policies
        .filter(|policy| !["drop", "not"].contains(&kind(policy)))
        .flat_map(|policy| policies::nested(&policy))
        .filter(|policy| kind(policy) == "probabilistic")
        .filter_map(|policy| {
            let place = policy.at(&["probabilistic", "sampling_percentage"])?;
            let rate = place.number()? / 100.0;
            Some(Sampler { place, rate, kind: Kind::Policy })
        })
        .collect()
}

/// A percentage without the noise of binary fractions.
fn shown(percent: f64) -> f64 {
    (percent * 1e6).round() / 1e6
}
