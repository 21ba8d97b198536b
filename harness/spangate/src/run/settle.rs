//! Waits until the capture is complete (docs/adr/0006).
//!
//! The ledger says which SERVER spans must arrive. A SERVER span ends after everything below it, and the API
//! server exports in the order of ending, so once it is there, its trace is. Where nothing must arrive, its
//! absence says something only after the batch processor has had time to export.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use spangate_load::RequestRecord;
use spangate_scenario::model::Spec;
use spangate_sink::Store;
use spangate_trace::{SpanId, TraceId, contract};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    event::{Event, Events},
    verdict::{Expected, expected},
};

/// Time beyond one flush delay that an export may take on a busy machine.
const MARGIN: Duration = Duration::from_millis(300);
/// Time after which what is still missing counts as missing.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks at the store.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What must arrive before the capture is complete.
pub(super) struct Settle {
    /// Traces in which a SERVER span must be.
    traces: HashSet<TraceId>,
    /// What a SERVER span must link to.
    links: HashSet<(TraceId, SpanId)>,
    /// Audit ids that a SERVER span must have.
    audits: HashSet<String>,
    demanded: usize,
    flush: Duration,
    patience: Duration,
    /// Spans of the store that were looked through for links and audit ids.
    looked: usize,
}

// === impl Settle ===

impl Settle {
    /// What must arrive after these requests.
    pub(super) fn new(requests: &[RequestRecord], spec: &Spec) -> Self {
        let tracing = &spec.cluster.tracing;
        let mut settle = Self {
            traces: HashSet::new(),
            links: HashSet::new(),
            audits: HashSet::new(),
            demanded: 0,
            flush: tracing.batch.schedule_delay.get() + MARGIN,
            patience: tracing.batch.schedule_delay.get() + PATIENCE,
            looked: 0,
        };
        for request in requests {
            match expected(request, spec) {
                Expected::Child(sent) => {
                    settle.traces.insert(sent.trace_id);
                }
                Expected::LinkedRoot(sent) => {
                    settle.links.insert((sent.trace_id, sent.span_id));
                }
                Expected::Root => settle.audits.extend(request.audit_id.clone()),
                Expected::Nothing | Expected::Undetermined => {}
            }
        }
        settle.demanded = settle.missing();
        settle
    }

    /// Waits for everything that must arrive, at least one flush delay and at most until patience ends. Gives
    /// the number of requests whose SERVER span is still missing.
    pub(super) async fn wait(mut self, store: &Store, events: &Events, cancel: &CancellationToken) -> usize {
        let start = Instant::now();
        let mut changed = store.changed();
        loop {
            self.look(store);
            let missing = self.missing();
            events.send(Event::Waiting {
                present: (self.demanded - missing) as u64,
                demanded: self.demanded as u64,
            });
            let waited = start.elapsed();
            if missing == 0 && waited >= self.flush || waited >= self.patience || cancel.is_cancelled() {
                return missing;
            }
            // Whether spans came or not, the next look is due soon; the wait only makes it sooner.
            let _ = timeout(LOOK_EVERY, changed.changed()).await;
            sleep(LOOK_EVERY / 4).await;
        }
    }

    fn missing(&self) -> usize {
        self.traces.len() + self.links.len() + self.audits.len()
    }

    fn look(&mut self, store: &Store) {
        self.traces.retain(|trace| !store.has_server_span(*trace));
        if (self.links.is_empty() && self.audits.is_empty()) || store.len() == self.looked {
            return;
        }
        let capture = store.snapshot();
        let rows = capture.rows();
        for (index, row) in rows.iter().enumerate().skip(self.looked) {
            if !contract::is_server_span(&capture, row) {
                continue;
            }
            let span = capture.span(index);
            for link in &span.links {
                self.links.remove(&(link.trace_id, link.span_id));
            }
            if let Some(audit_id) = span.text(contract::AUDIT_ID) {
                self.audits.remove(audit_id);
            }
        }
        self.looked = rows.len();
    }
}
