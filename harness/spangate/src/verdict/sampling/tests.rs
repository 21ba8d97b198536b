//! A made-up server that samples at one rate, and scenarios that say another.

use std::collections::BTreeMap;

use spangate_scenario::model::Identity;
use spangate_trace::{Capture, Kind, RatioSampler, Span, SpanId, TraceContext, Value, stats::SplitMix64};

use super::*;
use crate::{
    evidence::{Evidence, Facts},
    testing::{Run, request, scenario, span},
};

const PERCENT: u32 = 10_000;

/// A run of `n` unprivileged requests, with a server that samples at `rate` and a scenario that says `claim`; each
/// trace for which `lose` holds never arrived.
fn run(n: u64, rate: u32, claim: u32, lose: impl Fn(u64) -> bool) -> Evidence {
    let mut random = SplitMix64::new(7);
    let sampler = RatioSampler::per_million(rate);
    let (mut requests, mut spans, mut kept) = (Vec::new(), Vec::new(), 0);
    for arrival in 0..n {
        let audit_id = format!("audit-{arrival}");
        let both = (u128::from(random.next_u64()) << 64) | u128::from(random.next_u64());
        let trace_id = TraceId::new(both.to_be_bytes());
        let sent = Some(TraceContext::sampled(Run::trace(arrival), SpanId::new([9; 8])));
        requests.push(RequestRecord {
            arrival,
            sent,
            identity: Identity::unprivileged(),
            audit_id: Some(audit_id.clone()),
            ..request()
        });
        if sampler.keeps(trace_id) {
            kept += 1;
            if !lose(kept) {
                let attributes = BTreeMap::from([(contract::AUDIT_ID.to_owned(), Value::String(audit_id))]);
                spans.push(Span { trace_id, kind: Kind::Server, attributes, ..span("GET", 1, 0, 1) });
            }
        }
    }
    let mut scenario = scenario();
    scenario.spec.cluster.tracing.sampling_rate_per_million = PerMillion::new(claim);
    Evidence::new(scenario, requests, Vec::new(), Capture::from_spans(spans), Facts::default())
}

fn judged(expect: &Sampling, evidence: &Evidence) -> Verdict {
    judge(expect, &Case::new(evidence))
}

fn status(n: u64, rate: u32, claim: u32, lose: impl Fn(u64) -> bool) -> Status {
    judged(&Sampling::of(Roots::RequestRoots), &run(n, rate, claim, lose)).status
}

#[test]
fn the_claimed_rate_must_be_that_of_the_server() {
    assert_eq!(status(15_000, PERCENT, PERCENT, |_| false), Status::Pass);
    let verdict = judged(&Sampling::of(Roots::RequestRoots), &run(15_000, 11_000, PERCENT, |_| false));
    assert_eq!(verdict.status, Status::Fail);
    let first = &verdict.checks[0];
    assert!(!first.holds && first.what == "kept ids that a sampler of 1% never keeps", "{first:?}");
    assert_eq!(verdict.examples.len(), Verdict::EXAMPLES.min(first.observed.parse().unwrap()));
    assert_eq!(status(2_000, 20_000, PERCENT, |_| false), Status::Fail);
    assert_eq!(status(15_000, 5_000, PERCENT, |_| false), Status::Fail);
    assert_eq!(status(2_000, PERCENT, 0, |_| false), Status::Fail);
}

#[test]
fn all_must_arrive_where_all_are_kept() {
    assert_eq!(status(1_000, 1_000_000, 1_000_000, |_| false), Status::Pass);
    assert_eq!(status(1_000, 1_000_000, 1_000_000, |kept| kept.is_multiple_of(100)), Status::Fail);
}

#[test]
fn a_loss_is_told_with_its_interval() {
    let lost = |kept: u64| kept.is_multiple_of(2);
    let verdict = judged(&Sampling::of(Roots::RequestRoots), &run(20_000, 100_000, 100_000, lost));
    assert_eq!(verdict.reasons.len(), 1, "{verdict:#?}");
    assert!(verdict.reasons[0].starts_with("rate by count is "), "{verdict:#?}");
    let told = verdict.checks.iter().find(|check| check.what == "lost").unwrap();
    assert!(told.holds && told.interval.is_some(), "{told:?}");
}

#[test]
fn a_bound_on_the_loss_is_held_against_its_whole_interval() {
    for (lose, bound, status) in
        [(0, "< 40%", Status::Pass), (0, "< 1%", Status::Inconclusive), (2, "< 1%", Status::Fail)]
    {
        let lost = |kept: u64| kept.is_multiple_of(lose);
        let expect = Sampling { lost: Some(bound.parse().unwrap()), ..Sampling::of(Roots::RequestRoots) };
        let verdict = judged(&expect, &run(10_000, 100_000, 100_000, lost));
        assert_eq!(verdict.status, status, "{bound}: {verdict:#?}");
    }
}

#[test]
fn too_few_requests_decide_nothing_and_say_how_many_would() {
    for claim in [PERCENT, 0] {
        let verdict = judged(&Sampling::of(Roots::RequestRoots), &run(20, claim, claim, |_| false));
        assert_eq!(verdict.status, Status::Inconclusive, "{verdict:#?}");
        assert!(verdict.reasons[0].contains("requests are needed"), "{verdict:#?}");
    }
    assert_eq!(status(0, PERCENT, PERCENT, |_| false), Status::Inconclusive);
    assert_eq!(status(100, 0, 0, |_| false), Status::Pass);
}

#[test]
fn authentication_roots_are_judged_by_their_ids() {
    let expect = Sampling { within: Ratio::one(), ..Sampling::of(Roots::AuthenticationRoots) };
    for (claim, status) in [(100_000, Status::Pass), (90_000, Status::Fail), (500_000, Status::Fail)] {
        let evidence = run(2_000, 100_000, claim, |_| false);
        let capture = &evidence.capture;
        let roots = capture
            .rows()
            .iter()
            .map(|row| Span { trace_id: row.trace_id, ..span(contract::AUTHENTICATION, 1, 0, 1) });
        let roots = Capture::from_spans(roots.collect());
        let Evidence { scenario, requests, .. } = evidence;
        let evidence = Evidence::new(scenario, requests, Vec::new(), roots, Facts::default());
        let verdict = judged(&expect, &evidence);
        assert_eq!(verdict.status, status, "{claim}: {verdict:#?}");
    }
}

#[test]
fn a_flag_that_is_honoured_leaves_no_room() {
    let expect = Sampling::of(Roots::HonouredParents);
    let of = |run: Run| judged(&expect, &run.evidence());
    assert_eq!(of(Run::of_creates(20)).status, Status::Pass);
    let missing = of(Run::of_creates(20).without_span(3, "POST"));
    assert_eq!((missing.status, missing.examples), (Status::Fail, vec![Run::trace(3)]));
    let extra = of(Run::of_creates(20).unsampled(4));
    assert_eq!((extra.status, extra.examples), (Status::Fail, vec![Run::trace(4)]));
    assert_eq!(of(Run::of_creates(0)).status, Status::Inconclusive);
}

#[test]
fn shares_have_four_digits() {
    for (share, text) in
        [(0.0, "0%"), (1.0, "100%"), (0.01, "1%"), (0.012_346, "1.235%"), (0.000_01, "0.001%"), (0.5, "50%")]
    {
        assert_eq!(percent(share), text);
    }
}
