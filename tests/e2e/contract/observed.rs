//! One real run, with the SERVER span of each of its requests.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use spangate::{
    evidence::Evidence,
    plan::Plan,
    report::Report,
    run::directory::RunDirectory,
    saved,
    verdict::{Status, Verdict},
};
use spangate_load::{RequestRecord, Verb};
use spangate_scenario::model::{Identity, TraceFlag};
use spangate_trace::{Span, TraceIndex, contract};

use crate::harness::{plan, root, run_plan};

/// The filters below the SERVER span, outermost first (`apiserver/pkg/server/config.go`,
/// `DefaultBuildHandlerChain`).
pub(super) const FILTERS: [&str; 4] =
    [contract::AUDIT, contract::IMPERSONATION[0], contract::PRIORITY_AND_FAIRNESS, contract::AUTHORIZATION];

/// The run that nearly all tests of the contract look at.
pub(super) static OBSERVED: LazyLock<Observed> =
    LazyLock::new(|| Observed::run(plan(&root().join("tests/e2e/contract.yaml"))));

/// A run, with what ties its requests to their spans.
pub(crate) struct Observed {
    /// Ledgers and capture.
    pub(crate) evidence: &'static Evidence,
    directory: RunDirectory,
    /// The trees.
    pub(crate) index: TraceIndex<'static>,
    /// Every span, by row.
    pub(crate) spans: Vec<Span>,
    /// The rows of the SERVER spans with an audit id.
    by_audit_id: HashMap<String, Vec<usize>>,
}

// === impl Observed ===

impl Observed {
    /// Carries out a plan and reads back what it saved.
    pub(crate) fn run(plan: Plan) -> Self {
        let (report, directory) = run_plan(plan).unwrap();
        assert_whole(&report);
        // It lives as long as the tests do, and the index borrows from it.
        let evidence: &'static Evidence = Box::leak(Box::new(saved::read(&directory, None).unwrap()));
        let capture = &evidence.capture;
        let spans: Vec<Span> = (0..capture.rows().len()).map(|row| capture.span(row)).collect();
        let mut by_audit_id: HashMap<String, Vec<usize>> = HashMap::new();
        for row in contract::server_spans(capture) {
            if let Some(id) = spans[row].text(contract::AUDIT_ID) {
                by_audit_id.entry(id.to_owned()).or_default().push(row);
            }
        }
        Self { evidence, directory, index: TraceIndex::new(capture), spans, by_audit_id }
    }

    /// The evidence once more, to be falsified.
    pub(crate) fn again(&self) -> Evidence {
        saved::read(&self.directory, None).unwrap()
    }

    /// Every request.
    pub(super) fn requests(&self) -> &'static [RequestRecord] {
        &self.evidence.requests
    }

    /// The requests of one kind of caller; there are some.
    pub(crate) fn sent(&self, identity: &Identity, flag: TraceFlag) -> Vec<&'static RequestRecord> {
        let as_sent = |request: &&RequestRecord| {
            let sent = request.sent.map(|sent| sent.sampled);
            let wanted = match flag {
                TraceFlag::Sampled => Some(true),
                TraceFlag::Unsampled => Some(false),
                TraceFlag::None => None,
            };
            request.identity == *identity && sent == wanted
        };
        let found: Vec<_> = self.requests().iter().filter(as_sent).collect();
        assert!(!found.is_empty(), "no request was sent as {identity:?} with {flag:?}");
        found
    }

    /// The requests for a verb and resource, whose `traceparent` was honoured; there are some.
    pub(super) fn asked(&self, verb: Verb, resource: &str) -> Vec<&'static RequestRecord> {
        let mut found = self.sent(&Identity::admin(), TraceFlag::Sampled);
        found.retain(|request| request.verb == verb && request.resource == resource);
        assert!(!found.is_empty(), "no {verb} of {resource} was sent");
        found
    }

    /// The SERVER spans with the audit id that a request was answered with.
    pub(super) fn servers(&self, request: &RequestRecord) -> &[usize] {
        let rows = request.audit_id.as_ref().and_then(|id| self.by_audit_id.get(id));
        rows.map_or(&[], Vec::as_slice)
    }

    /// The one SERVER span of a request.
    pub(crate) fn server(&self, request: &RequestRecord) -> usize {
        let [row] = self.servers(request) else {
            panic!("not one SERVER span but {:?} of {request:?}", self.servers(request));
        };
        *row
    }

    /// The API server's spans that began after load did, with their rows: nothing of its start is among them.
    pub(crate) fn under_load(&self) -> impl Iterator<Item = (usize, &Span)> {
        let start = self.evidence.facts.load_start;
        let spans = self.spans.iter().enumerate();
        spans.filter(move |(_, span)| is_api_server(span) && span.start >= start)
    }

    /// The rows of the API server's spans below a span that have this name.
    pub(super) fn below(&self, row: usize, name: &str) -> Vec<usize> {
        let below = self.index.subtree(row).map(|step| step.row).filter(|below| *below != row);
        below
            .filter(|below| is_api_server(&self.spans[*below]) && &*self.spans[*below].name == name)
            .collect()
    }

    /// The span above, when it was captured.
    pub(super) fn above(&self, row: usize) -> Option<&Span> {
        self.index.parent(row).map(|above| &self.spans[above])
    }
}

/// Whether the API server recorded the span; etcd takes part in the traces too.
pub(super) fn is_api_server(span: &Span) -> bool {
    &*span.service == contract::APISERVER
}

/// Whether a span lies within the time of another one.
///
/// Spans are measured by a steady clock but placed by the wall clock, which may be corrected between them.
pub(super) fn within(inner: &Span, outer: &Span) -> bool {
    let slack = Duration::from_millis(1);
    outer.start <= inner.start + slack && inner.end <= outer.end + slack
}

/// Fails with the first of the problems, if there is one.
pub(super) fn none(problems: &[String]) {
    let shown = problems.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(problems.is_empty(), "{} problems:\n{shown}", problems.len());
}

/// Nothing can be said of what is absent from a capture that has gaps.
fn assert_whole(report: &Report) {
    let red: Vec<&Verdict> = report.verdicts.iter().filter(|it| it.status != Status::Pass).collect();
    assert!(red.is_empty(), "the capture is not whole: {red:#?}");
}
