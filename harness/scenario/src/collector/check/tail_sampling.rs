//! How long the tail sampler waits, and how much it remembers (processor/tailsamplingprocessor, contrib
//! v0.161.0: factory.go, processor.go, config.go).

use std::time::Duration;

use super::{
    Checker,
    cursor::{Cursor, shown},
    said,
};
use crate::collector::{Rule, Severity};

pub(super) static DECISION_WAIT: Rule = Rule {
    id: "tail-decision-wait",
    severity: Severity::Warning,
    summary: "A tail sampler that decides before the longest request has been sent.",
    scenario: Some("scenarios/tail-wait-too-short.yaml"),
};
pub(super) static NUM_TRACES: Rule = Rule {
    id: "tail-num-traces",
    severity: Severity::Warning,
    summary: "A tail sampler that runs out of places before it decides.",
    scenario: Some("scenarios/tail-out-of-memory-slots.yaml"),
};
pub(super) static BLOCKS: Rule = Rule {
    id: "tail-block-on-overflow",
    severity: Severity::Warning,
    summary: "`block_on_overflow` without both decision caches.",
    scenario: None,
};

/// Defaults of factory.go.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
const DEFAULT_TRACES: f64 = 50_000.0;

/// Decisions are made at ticks of this length, so that a trace waits up to one more.
const TICK: Duration = Duration::from_secs(1);

/// Places for each trace that is waiting: as many are needed again for late spans of those that have been
/// decided, which stay until they are pushed out.
const PLACES: f64 = 2.0;

pub(super) fn check(checker: &mut Checker<'_>) {
    for sampler in checker.components_of("processors", "tail_sampling") {
        wait(checker, &sampler);
        places(checker, &sampler);
        blocks(checker, &sampler);
    }
}

/// The wait, unless only the environment knows it.
fn waits(sampler: &Cursor<'_>) -> Option<Duration> {
    match sampler.get("decision_wait") {
        Some(given) if given.text().is_some() => given.duration(),
        _ => Some(DEFAULT_WAIT),
    }
}

/// The shortest wait that is long enough.
fn shortest(checker: &Checker<'_>) -> Duration {
    checker.options.longest_request + checker.options.batch_flush + TICK
}

fn wait(checker: &mut Checker<'_>, sampler: &Cursor<'_>) {
    let Some(wait) = waits(sampler) else { return };
    let (longest, flush) = (checker.options.longest_request, checker.options.batch_flush);
    let needed = shortest(checker);
    if wait >= needed {
        return;
    }
    let (place, is) = match sampler.get("decision_wait") {
        Some(given) => (given, ""),
        None => (sampler.clone(), " (the default)"),
    };
    let fits = wait.saturating_sub(flush + TICK);
    let whom = if fits.is_zero() {
        "traces of any request".to_owned()
    } else {
        format!("traces of requests that take longer than {}", shown(fits))
    };
    let said = said(
        format!("`decision_wait` of {}{is} is too short", shown(wait)),
        format!(
            "the API server sends spans every {}, and the span of the request itself ends last: {whom} may be decided \
             on before it has come, so that neither its duration nor its status counts",
            shown(flush)
        ),
        format!(
            "write `decision_wait: {}`: the longest request ({}), a flush and a tick; if your requests are shorter, \
             say so with --longest-request",
            shown(needed),
            shown(longest)
        ),
    );
    checker.report(&DECISION_WAIT, &place.path, place.span(), said);
}

fn places(checker: &mut Checker<'_>, sampler: &Cursor<'_>) {
    let expected = || sampler.get("expected_new_traces_per_sec")?.number().filter(|rate| *rate > 0.0);
    let (Some(rate), Some(wait)) = (checker.options.traces_per_second.or_else(expected), waits(sampler))
    else {
        return;
    };
    let given = sampler.get("num_traces");
    let places = match &given {
        Some(given) => given.number(),
        None => Some(DEFAULT_TRACES),
    };
    let Some(places) = places else { return };
    let needed = (PLACES * rate * (wait + TICK).as_secs_f64()).ceil();
    if places >= needed {
        return;
    }
    // Whoever waits too little is told to wait longer, which takes more places.
    let proper = wait.max(shortest(checker));
    let enough = (PLACES * rate * (proper + TICK).as_secs_f64()).ceil();
    let place = given.as_ref().unwrap_or(sampler);
    let is = if given.is_none() { " (the default)" } else { "" };
    let said = said(
        format!("`num_traces` of {places}{is} is too small for {rate} traces a second"),
        format!(
            "{} traces are waiting at any time: when there is no place left, the oldest one is thrown away without a \
             decision",
            (rate * (wait + TICK).as_secs_f64()).ceil()
        ),
        format!(
            "write `num_traces: {enough}`: twice the rate times a `decision_wait` of {} and a tick",
            shown(proper)
        ),
    );
    checker.report(&NUM_TRACES, &place.path, place.span(), said);
}

/// `waitForSpace` loops until there are fewer traces than places. Only `releaseSampledTrace` and
/// `releaseNotSampledTrace` make fewer, and only of traces that a decision cache has taken over.
fn blocks(checker: &mut Checker<'_>, sampler: &Cursor<'_>) {
    let Some(blocks) = sampler.get("block_on_overflow").filter(|blocks| blocks.truth() == Some(true)) else {
        return;
    };
    let missing: Vec<&str> = ["sampled_cache_size", "non_sampled_cache_size"]
        .into_iter()
        .filter(|key| {
            let size = sampler.at(&["decision_cache", key]);
            size.is_none_or(|size| size.number() == Some(0.0))
        })
        .collect();
    if missing.is_empty() {
        return;
    }
    let said = said(
        format!("`block_on_overflow` without `{}`", missing.join("` and `")),
        "a decided trace gives its place back only when a decision cache remembers it: without one the sampler waits \
         for a place that never becomes free once `num_traces` is reached",
        "write `decision_cache: {sampled_cache_size: ..., non_sampled_cache_size: ...}`, each ten times `num_traces`",
    );
    checker.report(&BLOCKS, &blocks.path, blocks.key_span(), said);
}
