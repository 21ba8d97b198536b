//! `conserved`: no span is lost in the Collector without somebody counting it.
//!
//! Three ledgers must agree: what the tap sent and was answered, what the Collector counted, and what the sink received.
//! Where the Collector was killed or crashed, its own counts are missing, and only the two outer ones are compared. That
//! is enough as long as nothing samples.

use std::collections::HashSet;

use spangate_scenario::{
    collector::{Config, Pipeline, Section},
    model::Conserved,
    units::Ratio,
};
use spangate_sink::{Passage, PassageOutcome};

use super::{Check, Verdict};
use crate::{
    collector::{
        TO_SINK,
        facts::CollectorFacts,
        given::{Fate, Given},
        is_fed,
    },
    evidence::{Case, Passed},
    text,
};

/// Processors that neither drop nor add spans.
const KEEPS_ALL: [&str; 4] = ["batch", "memory_limiter", "attributes", "resource"];

/// What the tap sent, by what the Collector answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sent {
    accepted: u64,
    refused: u64,
    /// Nobody knows whether the Collector has them.
    unanswered: u64,
}

pub(super) fn judge(expect: &Conserved, case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new("conserved");
    let (Some(passed), Some(facts)) = (&case.passed, &case.facts.collector) else {
        verdict.undecided("the run had no Collector");
        return verdict;
    };
    let sent = Sent::of(&passed.passages);
    let total = sent.accepted + sent.refused + sent.unanswered;
    if total == 0 {
        verdict.undecided("the Collector was sent no span");
        return verdict;
    }
    let n = usize::try_from(total).unwrap_or(usize::MAX);
    share(&mut verdict, "refused by the Collector", sent.refused, total, &expect.refused);
    let config = &passed.configuration.config;
    let paths = plain_paths(config);
    if let Some(why) = uncounted(facts) {
        verdict.checks.push(Check::told("counts of the Collector that are missing", why, 0));
        if paths.is_none() {
            verdict.undecided(
                "without the Collector's counts, what it lost is not told from what it dropped by decision",
            );
        } else if let Some(missing) = missing(case, paths) {
            share(&mut verdict, "taken in, and not at the sink", missing, sent.accepted, &expect.failed);
        }
    } else {
        receivers(&mut verdict, facts, sent, n);
        processors(&mut verdict, facts, config);
        let inside = inside(passed, facts, case);
        let failed = exporters(&mut verdict, expect, facts, (sent, inside.spans), paths, case);
        if let Some(missing) = missing(case, paths) {
            let most = failed + inside.spans;
            let (observed, bound) = (missing.to_string(), format!("<= {most}"));
            let what = "spans taken in, and not at the sink";
            verdict.check(Check::bound(what, observed, bound, n, missing <= most));
        }
        tail(&mut verdict, expect, facts, config, inside.traces);
    }
    through(&mut verdict, passed, sent, case);
    verdict
}

/// Why the Collector's own counts say less than what it did, if they do.
fn uncounted(facts: &CollectorFacts) -> Option<String> {
    if let Some(crash) = facts.crashes.first() {
        return Some(format!("it ended with {} and took them with it", crash.status));
    }
    if let Some(away) = facts.outages.first() {
        return Some(format!(
            "{} ended it, and what it counted while it ended nobody could read",
            away.fault
        ));
    }
    facts.untold.clone()
}

fn share(
    verdict: &mut Verdict,
    what: &str,
    part: u64,
    whole: u64,
    bound: &spangate_scenario::units::Bound<Ratio>,
) {
    let share = part as f64 / whole.max(1) as f64;
    let observed = format!("{} ({part} of {whole} spans)", text::percent(share));
    let n = usize::try_from(whole).unwrap_or(usize::MAX);
    let holds = bound.holds(&Ratio::new_unchecked(share));
    verdict.check(Check::bound(what, observed, bound.to_string(), n, holds));
}

/// What the Collector may still have had in it when its counts were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Inside {
    traces: u64,
    spans: u64,
}

/// What was sent so late that the Collector could not be through with it by its own configuration. An API server goes
/// on sending spans of its own when the load is over.
fn inside(passed: &Passed, facts: &CollectorFacts, case: &Case<'_>) -> Inside {
    let hold = passed.configuration.hold();
    let rows = case.capture.rows();
    let late = passed.passages.iter().filter(|passage| facts.counted.since(passage.answered) < hold);
    let late: Vec<_> = late
        .flat_map(|passage| {
            rows.get(passage.rows.start as usize..passage.rows.end as usize).unwrap_or_default()
        })
        .collect();
    let traces: HashSet<_> = late.iter().map(|row| row.trace_id).collect();
    Inside { traces: traces.len() as u64, spans: late.len() as u64 }
}

/// Sent = accepted + refused + failed.
fn receivers(verdict: &mut Verdict, facts: &CollectorFacts, sent: Sent, n: usize) {
    let told = facts.telemetry.received;
    for (what, told, known) in [
        ("accepted, by its own count", told.accepted, sent.accepted),
        ("refused, by its own count", told.refused + told.failed, sent.refused),
    ] {
        // Of what was not answered, it may have counted any part.
        let most = known + sent.unanswered;
        let bound = if most == known { format!("= {known}") } else { format!("{known}..{most}") };
        let holds = (known..=most).contains(&told);
        verdict.check(Check::bound(format!("spans {what}"), told.to_string(), bound, n, holds));
    }
}

/// Processor in = out + dropped by decision.
fn processors(verdict: &mut Verdict, facts: &CollectorFacts, config: &Config) {
    let traces = || config.pipelines().iter().filter(|pipeline| pipeline.signal() == "traces");
    for (id, counted) in &facts.telemetry.processors {
        let kind = id.split('/').next().unwrap_or_default();
        // The same processor in several pipelines has one count for all of them.
        let times = traces().flat_map(Pipeline::processors).filter(|it| it.id().to_string() == *id);
        let is_single = times.count() == 1;
        let n = usize::try_from(counted.incoming).unwrap_or(usize::MAX);
        if KEEPS_ALL.contains(&kind) && is_single {
            // What it refuses counts as having come in, and the receiver tells the sender.
            let received = facts.telemetry.received;
            let refused = if kind == "memory_limiter" { received.refused + received.failed } else { 0 };
            let (fewest, most) = (counted.incoming.saturating_sub(refused), counted.incoming);
            let bound = if fewest == most { format!("= {most}") } else { format!("{fewest}..{most}") };
            let holds = (fewest..=most).contains(&counted.outgoing);
            let what = format!("spans out of {id}");
            verdict.check(Check::bound(what, counted.outgoing.to_string(), bound, n, holds));
        } else {
            let observed = format!("{} of {}", counted.outgoing, counted.incoming);
            verdict.checks.push(Check::told(format!("spans out of {id}"), observed, n));
        }
    }
}

/// Spans that the Collector took in and that did not reach the sink, where none may be dropped by decision.
fn missing(case: &Case<'_>, paths: Option<u64>) -> Option<u64> {
    let given = paths.filter(|paths| *paths > 0).and_then(|_| Given::of(case))?;
    let kept: HashSet<_> =
        given.kept.capture().rows().iter().map(|row| (row.trace_id, row.span_id)).collect();
    let rows = given.capture.rows().iter().enumerate();
    let taken = rows.filter(|(row, _)| matches!(given.fate(*row), Fate::Taken(..)));
    Some(taken.filter(|(_, row)| !kept.contains(&(row.trace_id, row.span_id))).count() as u64)
}

/// Exporter in = sent + failed + queued, and sent = received by the sink. How many spans failed.
fn exporters(
    verdict: &mut Verdict,
    expect: &Conserved,
    facts: &CollectorFacts,
    (sent, inside): (Sent, u64),
    paths: Option<u64>,
    case: &Case<'_>,
) -> u64 {
    let config = case.passed.as_ref().map(|passed| &passed.configuration.config);
    let ours = facts.telemetry.exporters.iter().filter(|(id, _)| {
        let kind = id.split('/').next().unwrap_or_default();
        TO_SINK.contains(&kind)
            && config.is_some_and(|config| config.component(Section::Exporters, id).is_some())
    });
    let (mut out, mut failed, mut queued) = (0, 0, 0);
    for (_, exporter) in ours {
        out += exporter.sent;
        failed += exporter.send_failed + exporter.enqueue_failed;
        queued += exporter.queue_size;
    }
    share(verdict, "failed to be sent on", failed, sent.accepted, &expect.failed);
    let n = usize::try_from(out).unwrap_or(usize::MAX);
    verdict.check(Check::bound("exports left in a queue", queued.to_string(), "= 0", n, queued == 0));
    // What the sink did not answer in time, the exporter sends again or counts as failed, though it is there.
    let received = case.facts.sink.received;
    // And what it had in it when its counts were read, it sent on when it ended.
    let exact = failed == 0 && inside == 0 && case.facts.outages.is_empty();
    let most = if exact { out } else { received.max(out) };
    let bound = if exact { format!("= {out}") } else { format!(">= {out}") };
    let holds = (out..=most).contains(&received);
    verdict.check(Check::bound("spans received by the sink", received.to_string(), bound, n, holds));
    if let Some(paths) = paths {
        let whole = sent.accepted * paths;
        let gap = whole.abs_diff(out + failed);
        let observed = format!("{gap} (accepted {whole}, sent {out}, failed {failed})");
        // Of what was not answered it may have any part.
        let holds = gap <= (sent.unanswered + inside) * paths;
        verdict.check(Check::bound("spans that nobody accounts for", observed, "= 0", n, holds));
    }
    failed
}

/// On how many ways a span gets to the sink, where none of them drops any.
pub(super) fn plain_paths(config: &Config) -> Option<u64> {
    let mut paths = 0;
    for pipeline in config.pipelines().iter().filter(|pipeline| pipeline.signal() == "traces") {
        if !is_fed(config, pipeline) {
            continue;
        }
        let plain = |id: &spangate_scenario::collector::Id| KEEPS_ALL.contains(&id.kind());
        let from_receiver = |id: &str| config.component(Section::Receivers, id).is_some();
        if !pipeline.receivers().iter().all(|it| from_receiver(&it.id().to_string())) {
            return None;
        }
        let to_sink =
            pipeline.exporters().iter().filter(|it| TO_SINK.contains(&it.id().kind())).count() as u64;
        if to_sink > 0 && !pipeline.processors().iter().all(|it| plain(it.id())) {
            return None;
        }
        paths += to_sink;
    }
    Some(paths)
}

/// New traces = decided + pushed out, and nothing is pushed out too early.
///
/// What is pushed out and comes again counts as new both times, and is decided on or dropped once.
fn tail(verdict: &mut Verdict, expect: &Conserved, facts: &CollectorFacts, config: &Config, inside: u64) {
    let tail = facts.telemetry.tail;
    if tail.new_traces == 0 {
        return;
    }
    let n = usize::try_from(tail.new_traces).unwrap_or(usize::MAX);
    let mut samplers = config.of_type(Section::Processors, "tail_sampling");
    let by_ingest = samplers.any(|sampler| sampler.text(&["sampling_strategy"]) == Some("span-ingest"));
    let done = tail.sampled + tail.not_sampled + tail.dropped_too_large;
    // What span-ingest has decided on and put in a cache is gone at its tick, and is counted as dropped too early.
    let undecided = tail.new_traces.saturating_sub(done + inside);
    let early = if by_ingest { tail.dropped_too_early.min(undecided) } else { tail.dropped_too_early };
    let decided = done + early;
    let is_exact = inside == 0 && early == 0;
    let fewest = if early == 0 { tail.new_traces.saturating_sub(inside) } else { 0 };
    let bound = if is_exact { format!("= {fewest}") } else { format!("{fewest}..{}", tail.new_traces) };
    let holds = (fewest..=tail.new_traces).contains(&decided);
    let observed = format!(
        "{decided} ({} sampled, {} not, {} dropped too early)",
        tail.sampled,
        tail.not_sampled + tail.dropped_too_large,
        early
    );
    verdict.check(Check::bound("traces that the tail sampler decided on", observed, bound, n, holds));
    let bound = &expect.dropped_too_early;
    let holds = bound.holds(&early);
    verdict.check(Check::bound("traces dropped too early", early.to_string(), bound.to_string(), n, holds));
    let errors = tail.evaluation_errors;
    verdict.check(Check::bound("policies that failed", errors.to_string(), "= 0", n, errors == 0));
}

/// What reached the sink is what was sent to the Collector.
fn through(verdict: &mut Verdict, passed: &Passed, sent: Sent, case: &Case<'_>) {
    let given: HashSet<_> = case.capture.rows().iter().map(|row| (row.trace_id, row.span_id)).collect();
    let rows = passed.kept.rows();
    let strangers: Vec<_> = rows
        .iter()
        .filter(|row| !given.contains(&(row.trace_id, row.span_id)))
        .map(|row| row.trace_id)
        .collect();
    let holds = strangers.is_empty();
    let observed = strangers.len().to_string();
    verdict.check(Check::bound("spans at the sink that nobody sent", observed, "= 0", rows.len(), holds));
    verdict.point_at(strangers);
    if sent.unanswered > 0 {
        let n = usize::try_from(sent.unanswered).unwrap_or(usize::MAX);
        verdict.checks.push(Check::told("spans whose export was not answered", n.to_string(), n));
    }
}

// === impl Sent ===

impl Sent {
    fn of(passages: &[Passage]) -> Self {
        let mut sent = Self::default();
        for passage in passages {
            match passage.outcome {
                PassageOutcome::Accepted { rejected } => {
                    sent.accepted += passage.spans.saturating_sub(rejected);
                    sent.refused += rejected;
                }
                PassageOutcome::Refused { .. } => sent.refused += passage.spans,
                PassageOutcome::Failed { .. } => sent.unanswered += passage.spans,
            }
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{collector::telemetry::Processed, testing::collected::Collected, verdict::Status};

    const PLAIN: &str = "traces: {receivers: [otlp], exporters: [otlp]}";
    const TAIL: (&str, &str) = (
        "processors: {tail_sampling: {policies: [{name: p, type: always_sample}]}}",
        "traces: {receivers: [otlp], processors: [tail_sampling], exporters: [otlp]}",
    );

    fn status(run: Collected) -> Status {
        run.judged(json!({"conserved": {"refused": "<= 100%"}})).status
    }

    #[test]
    fn a_run_that_adds_up_is_green_and_a_lost_trace_is_red() {
        assert_eq!(status(Collected::new("", PLAIN, 10)), Status::Pass);
        assert_eq!(status(Collected::new("", PLAIN, 10).keeping(|number| number != 3)), Status::Fail);
    }

    /// What another receiver would feed does not count.
    #[test]
    fn a_pipeline_that_is_given_nothing_is_no_way_to_the_sink() {
        let pipelines = format!("{PLAIN}, traces/other: {{receivers: [otlp/other], exporters: [otlp]}}");
        assert_eq!(status(Collected::new("", &pipelines, 10)), Status::Pass);
    }

    /// Scenario: a fault took the Collector away, so that its counts are missing.
    /// Guarantees: without samplers the sink tells what was lost; with them nobody can tell, and it is not green.
    #[test]
    fn without_counts_only_the_sink_can_tell() {
        let lossy = |run: Collected| run.keeping(|number| number != 3);
        assert_eq!(status(Collected::new("", PLAIN, 10).away()), Status::Pass);
        assert_eq!(status(lossy(Collected::new("", PLAIN, 10).away())), Status::Fail);
        let allowed = json!({"conserved": {"failed": "<= 20%"}});
        assert_eq!(lossy(Collected::new("", PLAIN, 10).away()).judged(allowed).status, Status::Pass);
        assert_eq!(status(Collected::new(TAIL.0, TAIL.1, 10).away()), Status::Inconclusive);
    }

    /// Scenario: `memory_limiter` refuses exports; it counts them as having come in.
    /// Guarantees: what the sender was told is no loss; more than that is.
    #[test]
    fn what_a_memory_limiter_refuses_is_not_lost() {
        let run = |outgoing| {
            let limiter = "processors: {memory_limiter: {check_interval: 1s, limit_mib: 30}}";
            let pipeline = "traces: {receivers: [otlp], processors: [memory_limiter], exporters: [otlp]}";
            let mut run = Collected::new(limiter, pipeline, 10).refusing(4);
            let counted = Processed { incoming: 20, outgoing };
            run.facts.telemetry.processors.insert("memory_limiter".to_owned(), counted);
            run
        };
        assert_eq!(status(run(12)), Status::Pass);
        assert_eq!(status(run(11)), Status::Fail);
    }

    /// Scenario: traces are pushed out of memory undecided, and come again; or are too large.
    /// Guarantees: they need not be decided on as often as they came; without any that is pushed out they must.
    #[test]
    fn tail_samplers_decide_on_what_is_new() {
        let run = |early, large, sampled| {
            let mut run = Collected::new(TAIL.0, TAIL.1, 10);
            let tail = &mut run.facts.telemetry.tail;
            (tail.new_traces, tail.dropped_too_early) = (10, early);
            (tail.dropped_too_large, tail.sampled) = (large, sampled);
            run.judged(json!({"conserved": {"droppedTooEarly": "<= 5"}})).status
        };
        assert_eq!(run(0, 0, 10), Status::Pass);
        assert_eq!(run(0, 3, 7), Status::Pass);
        assert_eq!(run(3, 0, 5), Status::Pass);
        assert_eq!(run(0, 0, 9), Status::Fail);
        assert_eq!(run(3, 0, 8), Status::Fail);
    }

    /// Scenario: span-ingest remembers what it decided on, so that it is gone when its tick comes.
    /// Guarantees: that it counts those as dropped too early is no failure; one that it never decided on is.
    #[test]
    fn what_span_ingest_remembers_is_not_dropped() {
        let run = |sampled| {
            let ingest = "processors: {tail_sampling: {sampling_strategy: span-ingest, policies: [{name: p, type: \
                          always_sample}]}}";
            let mut run = Collected::new(ingest, TAIL.1, 10);
            let tail = &mut run.facts.telemetry.tail;
            (tail.new_traces, tail.sampled, tail.dropped_too_early) = (10, sampled, 10);
            status(run)
        };
        assert_eq!(run(10), Status::Pass);
        assert_eq!(run(9), Status::Fail);
    }
}
