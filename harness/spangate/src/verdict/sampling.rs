//! `sampling`: the head sampler kept what it had to keep, and nothing else.
//!
//! Who decides follows from each request ([`expected`](super::expected)): the flag of a parent that is honoured, or
//! the rate. What follows from the ids and from their number is worked out in [`spangate_trace::sampling`].

use std::collections::{BTreeSet, HashMap};

use spangate_load::RequestRecord;
use spangate_scenario::{
    model::{Roots, Sampling, Spec, Until},
    units::{PerMillion, Ratio},
};
use spangate_trace::{
    Capture, Estimate, RatioSampler, TraceId, contract,
    sampling::{Accepted, CountTest, HeadRatio, flags, kept_for, offered_for},
};

use super::{
    Check, Status, Verdict,
    expected::{honoured, was_decided},
};
use crate::evidence::Case;

mod collector;

pub(super) fn judge(expect: &Sampling, case: &Case<'_>) -> Verdict {
    match expect.of {
        Roots::HonouredParents => by_flag(case),
        Roots::RequestRoots => {
            let requests: Vec<_> = offered(&case.requests, &case.scenario.spec).collect();
            let traces = audited(&case.capture);
            // A load that may end early is judged up to where it was decided, whatever was sent after that.
            let decided = match expect.until {
                Until::Sent => None,
                Until::Decided => {
                    decided_after(expect, &case.scenario.spec, requests.iter().copied(), &traces)
                }
            };
            let judged = decided.unwrap_or(requests.len());
            let kept = request_roots(&requests[..judged], &traces);
            by_rate(expect, &kept, Some(judged as u64), decided.is_some(), case)
        }
        Roots::Collector => collector::judge(expect, case),
        Roots::AuthenticationRoots => by_rate(expect, &authentication_roots(case), None, false, case),
    }
}

/// The kept traces must be those that were sent with the flag 01.
fn by_flag(case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::new(format!("sampling of {}", Roots::HonouredParents.as_str()));
    let (mut sampled, mut unsampled, mut kept) = (BTreeSet::new(), 0, BTreeSet::new());
    for request in case.requests.iter().filter(|request| was_decided(request)) {
        let Some(sent) = honoured(request, &case.scenario.spec) else { continue };
        let is_kept = if sent.sampled {
            sampled.insert(sent.trace_id);
            case.trace_of(request) == Some(sent.trace_id)
        } else {
            unsampled += 1;
            // Any span of the trace is one too many.
            case.index.by_trace(sent.trace_id).is_some()
        };
        if is_kept {
            kept.insert(sent.trace_id);
        }
    }
    if sampled.is_empty() && unsampled == 0 {
        verdict.undecided("no request of the ledger had a traceparent that the API server honours");
        return verdict;
    }
    let found = flags(&sampled, &kept);
    for (what, traces, n) in [
        ("missing of those sent with the flag 01", &found.missing, sampled.len()),
        ("extra, sent with the flag 00", &found.extra, unsampled),
    ] {
        verdict.check(Check::bound(what, traces.len().to_string(), "= 0", n, traces.is_empty()));
        verdict.point_at(traces.iter().copied());
    }
    verdict
}

/// The ids of the kept roots, and their number, must fit the rate.
fn by_rate(
    expect: &Sampling,
    kept: &BTreeSet<TraceId>,
    offered: Option<u64>,
    decided: bool,
    case: &Case<'_>,
) -> Verdict {
    let per_million = rate(expect, &case.scenario.spec);
    let alpha = alpha(expect);
    let found = match offered {
        Some(offered) if decided && !kept.is_empty() => {
            HeadRatio::until_kept(per_million, kept, offered, alpha)
        }
        _ => HeadRatio::new(per_million, kept, offered, alpha),
    };
    let rate = percent(found.rate);
    let mut verdict = Verdict::new(format!("sampling of {} at {rate}", expect.of.as_str()));
    if offered == Some(0) {
        verdict.undecided("the API server began a trace of its own for no request of the ledger");
        return verdict;
    }
    verdict.check(Check::bound(
        format!("kept ids that a sampler of {rate} never keeps"),
        found.beyond.len().to_string(),
        "= 0",
        kept.len(),
        found.beyond.is_empty(),
    ));
    verdict.point_at(found.beyond.iter().copied());
    // Each test has half of the level.
    let sure = |estimate: &Estimate| interval(estimate, 1.0 - alpha / 2.0);
    if let Some(ratio) = &found.by_ids {
        // Where ids are beyond the bound, the interval repeats it.
        let holds = !found.ids_fall_short();
        let check = Check::bound("rate by ids", percent(ratio.value), &rate, kept.len(), holds);
        verdict.check(check.with_interval(sure(ratio)));
    }
    if let Some(count) = &found.by_count {
        let n = usize::try_from(count.offered).unwrap_or(usize::MAX);
        let observed = format!("{} ({} of {})", percent(count.ratio.value), found.kept, count.offered);
        let bound = match &count.accepted {
            Accepted::Kept(accepted) => format!("{rate} ({}..{})", accepted.start(), accepted.end()),
            Accepted::Offered(accepted) => {
                format!("{rate} (of {}..{})", accepted.start(), accepted.end())
            }
        };
        let check = Check::bound("rate by count", observed, bound, n, !found.count_contradicts());
        verdict.check(check.with_interval(sure(&count.ratio)));
        losses(expect, count, alpha, &mut verdict);
    }
    if verdict.status == Status::Fail {
        verdict.point_at(kept.iter().copied());
    }
    precise(expect, per_million, &found, alpha, &mut verdict);
    verdict
}

/// What did not arrive of that which was kept.
fn losses(expect: &Sampling, count: &CountTest, alpha: f64, verdict: &mut Verdict) {
    let Some(lost) = &count.lost else {
        if expect.lost.is_some() {
            verdict.undecided("no trace was kept, so none can be told to be lost");
        }
        return;
    };
    let n = usize::try_from(count.offered).unwrap_or(usize::MAX);
    let observed = percent(lost.value.clamp(0.0, 1.0));
    // Both estimates behind it have half of the level.
    let told = Check::told("lost", observed, n).with_interval(interval(lost, 1.0 - alpha));
    let Some(bound) = &expect.lost else { return verdict.check(told) };
    // The bound is an upper limit.
    let within = |share: f64| bound.holds(&Ratio::new_unchecked(share));
    let check = Check { bound: bound.to_string(), holds: within(lost.low), ..told };
    let interval = check.interval.clone().unwrap_or_default();
    verdict.check(check);
    if within(lost.low) && !within(lost.high) {
        verdict.undecided(format!(
            "lost may be {interval}, which is not all {bound}: send more requests, or raise the rate"
        ));
    }
}

/// Too few traces to know the rate as closely as demanded decide nothing.
fn precise(expect: &Sampling, per_million: u32, found: &HeadRatio, alpha: f64, verdict: &mut Verdict) {
    let within = expect.within.get();
    let needed = offered_for(per_million, within, alpha);
    let offered = found.by_count.as_ref().map(|count| count.offered);
    let (have, need, what) = match offered {
        // Where nothing may be kept, the requests themselves count.
        Some(offered) if per_million == 0 => (offered, needed, "requests"),
        _ => (found.kept, kept_for(within, alpha), "kept traces"),
    };
    if have < need {
        verdict.undecided(format!(
            "{have} {what} do not tell the rate within {}: {need} do, for which about {needed} requests are needed",
            expect.within
        ));
    }
}

/// The rate that must have been used, in parts of a million.
fn rate(expect: &Sampling, spec: &Spec) -> u32 {
    let of_cluster = spec.cluster.tracing.sampling_rate_per_million;
    expect.sampling_rate_per_million.or(of_cluster).map_or(0, PerMillion::get)
}

/// How often a true sampler may be called false. A load that may end early is judged by one of two tests: that of what
/// it took until it was decided, and that of the whole when it never was. Each has half.
fn alpha(expect: &Sampling) -> f64 {
    let alpha = 1.0 - expect.confidence.get();
    match expect.until {
        Until::Sent => alpha,
        Until::Decided => alpha / 2.0,
    }
}

/// The requests for which the API server begins a trace of its own, in the order of their start.
pub(crate) fn offered<'r>(
    requests: &'r [RequestRecord],
    spec: &'r Spec,
) -> impl Iterator<Item = &'r RequestRecord> {
    let mut offered: Vec<_> = requests
        .iter()
        // Without an audit id nothing would tie the trace to the request.
        .filter(|request| {
            was_decided(request) && request.audit_id.is_some() && honoured(request, spec).is_none()
        })
        .collect();
    offered.sort_by_key(|request| (request.started, request.arrival, request.step));
    offered.into_iter()
}

/// After how many of these requests an expectation is decided: when enough of them are kept, or one that may not be.
pub(crate) fn decided_after<'r>(
    expect: &Sampling,
    spec: &Spec,
    requests: impl IntoIterator<Item = &'r RequestRecord>,
    traces: &HashMap<String, TraceId>,
) -> Option<usize> {
    let per_million = rate(expect, spec);
    let sampler = RatioSampler::per_million(per_million);
    let wanted = kept_for(expect.within.get(), alpha(expect));
    let mut kept = 0;
    (1..).zip(requests).find_map(|(count, request)| {
        let trace = traces.get(request.audit_id.as_deref()?)?;
        kept += 1;
        (kept == wanted || !sampler.keeps(*trace)).then_some(count)
    })
}

/// The traces of SERVER spans by their audit ids.
pub(crate) fn audited(capture: &Capture) -> HashMap<String, TraceId> {
    contract::server_spans(capture)
        .filter_map(|row| Some((capture.text(row, contract::AUDIT_ID)?, capture.rows()[row].trace_id)))
        .collect()
}

/// The traces of those `requests` that were kept: that of the SERVER span, which is their root, or whose parent is an
/// `authentication` span.
fn request_roots(requests: &[&RequestRecord], traces: &HashMap<String, TraceId>) -> BTreeSet<TraceId> {
    requests.iter().filter_map(|request| traces.get(request.audit_id.as_deref()?).copied()).collect()
}

/// The traces that begin with an `authentication` span of the API server.
fn authentication_roots(case: &Case<'_>) -> BTreeSet<TraceId> {
    let (capture, names) = (&case.capture, case.capture.names());
    let Some((name, service)) = names.find(contract::AUTHENTICATION).zip(names.find(contract::APISERVER))
    else {
        return BTreeSet::new();
    };
    let roots = capture
        .rows()
        .iter()
        .filter(|row| row.name == name && row.service == service && !row.parent.is_valid());
    roots.map(|row| row.trace_id).collect()
}

/// An interval in percent, and how sure it is.
fn interval(estimate: &Estimate, confidence: f64) -> String {
    let confidence = Ratio::new_unchecked((confidence * 1e9).round() / 1e9);
    format!("{}..{} ({confidence})", percent(estimate.low), percent(estimate.high))
}

/// A share in percent to four significant digits, so that parts of a million can be told apart.
fn percent(share: f64) -> String {
    if share <= 0.0 {
        return "0%".to_owned();
    }
    let percent = share * 100.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a few digits")]
    let digits = (3.0 - percent.log10().floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{percent:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}%")
}

#[cfg(test)]
mod tests;
