//! Why a trace was kept or not, in words.

use std::{borrow::Cow, collections::BTreeMap};

use spangate_trace::{
    Span, Surroundings, TraceId,
    collector::{BatchView, SpanView, TraceView, Vote, Votes},
};

use super::{
    foretold::{Account, Foretold},
    given::Given,
    oracle::{Oracle, Why},
};
use crate::evidence::Case;

/// What the Collector of a run was given of a trace, what it had to do with it and did, a line each; nothing where there
/// was no Collector.
pub fn explain(case: &Case<'_>, trace: TraceId) -> Vec<String> {
    let (Some(given), Some(passed)) = (Given::of(case), &case.passed) else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(sent) = case.traces.iter().find(|sent| sent.trace_id == trace) {
        lines.push(format!("class {}", sent.class));
    }
    let (sent, arrived) = (given.sent(trace), given.arrived(trace));
    lines.push(format!("{arrived} of the {sent} spans that the Collector was sent reached the sink"));
    match Oracle::new(&passed.configuration.config) {
        Ok(oracle) => {
            let foretold = Foretold::of(&oracle, &given);
            let account = foretold.traces.iter().find(|account| account.trace == trace);
            lines.push(account.map_or_else(
                || "nobody knows what of it the Collector has, so nothing is foretold".to_owned(),
                told,
            ));
            lines.extend(votes(&oracle, &given, trace));
        }
        Err(why) => lines.push(format!("nothing is foretold: {why}")),
    }
    lines
}

/// What was foretold, and whether it came so.
fn told(account: &Account) -> String {
    let must = match (account.must, account.open) {
        (Some(true), _) => "it had to be kept",
        (Some(false), _) => "it had to be dropped",
        (None, Some(Why::Order)) => "open: it depends on which of two exports came first",
        (None, Some(Why::Ticks)) => "open: it depends on when the Collector's ticks fell",
        (None, Some(Why::Memory)) => "open: it depends on what was still in memory",
        (None, Some(Why::Clock)) => "open: it depends on how much else there was at the time",
        (None, Some(Why::Unsupported) | None) => "open: it depends on what is not evaluated here",
    };
    let came =
        if account.wrongly_kept || account.wrongly_dropped { ", and that is not what came" } else { "" };
    format!("{must}{came}")
}

/// What each policy says of all spans together that the Collector was sent.
fn votes(oracle: &Oracle, given: &Given<'_>, trace: TraceId) -> Vec<String> {
    let mut batches: BTreeMap<u64, Vec<(Span, Surroundings)>> = BTreeMap::new();
    for row in given.rows(trace) {
        let around = given.capture.surroundings(row);
        batches.entry(around.batch).or_default().push((given.capture.span(row), around));
    }
    let batches = batches.values().map(|spans| BatchView {
        resource: Cow::Borrowed(&spans[0].1.resource),
        spans: spans
            .iter()
            .map(|(span, around)| SpanView { span, trace_state: &around.trace_state, flags: around.flags })
            .collect(),
        bytes: None,
    });
    let view = TraceView::new(trace, batches.collect());
    let judged = oracle.tail_samplers().map(|(pipeline, sampler)| (pipeline, sampler.judge(&view)));
    judged
        .flat_map(|(pipeline, judgement)| {
            let votes = judgement.votes.into_iter();
            votes.map(move |it| format!("{pipeline}: policy {}: {}", it.policy, said(it.votes)))
        })
        .collect()
}

fn said(votes: Votes) -> String {
    let words = votes.iter().map(|vote| match vote {
        Vote::Sampled => "sampled",
        Vote::NotSampled => "not sampled",
        Vote::Dropped => "dropped",
        Vote::Error => "an error",
    });
    words.collect::<Vec<_>>().join(" or ")
}
