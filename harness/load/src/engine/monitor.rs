//! Looks after a load that is under way: passes on what was noted, reads the meter of the thread, and applies the
//! rules by which the load is given up.

use std::{sync::Arc, time::Duration};

use spangate_trace::UnixNanos;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Site,
    abort::{AbortRules, Aborted, Sample},
    journal::Journal,
    watchdog::{GeneratorLoad, Meter, ThreadTimes},
};

/// Looks after a load; runs on its thread, whose meter it reads.
pub(super) struct Monitor {
    pub(super) site: Arc<Site>,
    pub(super) journal: Arc<Journal>,
    pub(super) start: UnixNanos,
    /// Ends the starting of operations.
    pub(super) halt: CancellationToken,
}

/// What a monitor found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) load: GeneratorLoad,
    pub(super) aborted: Option<Aborted>,
}

/// How long a record waits to be told of, at most.
const FLUSH: Duration = Duration::from_millis(10);
/// How often the meter of the thread is read.
const METER: Duration = Duration::from_secs(1);

// === impl Monitor ===

impl Monitor {
    /// Looks until the load is `over`.
    pub(super) async fn run(self, over: CancellationToken) -> Findings {
        let Self { site, journal, start, halt } = self;
        let mut findings = Findings::default();
        tokio::select! {
            () = over.cancelled() => return findings,
            () = sleep_until(Instant::from_std(site.clock.instant(start))) => {}
        }
        let mut rules = AbortRules::new(&site.load.abort_on);
        let elapsed = || site.clock.now().since(start);
        let mut meter = Meter::new(elapsed(), ThreadTimes::now());
        let (mut metered, mut sampled, mut planned) = (elapsed(), elapsed(), 0.0);
        loop {
            let is_over = tokio::select! {
                biased;
                () = over.cancelled() => true,
                () = sleep(FLUSH) => false,
            };
            journal.flush();
            let now = elapsed();
            if is_over || now >= metered + METER {
                metered = now;
                meter.read(now, ThreadTimes::now());
            }
            let is_due = rules.interval().is_some_and(|interval| now >= sampled + interval);
            if is_due && findings.aborted.is_none() {
                sampled = now;
                let until = site.schedule.planned_until(now);
                let sample = Sample { planned: until - planned, ..journal.sample() };
                planned = until;
                findings.aborted = rules.sample(now, &sample);
                if let Some(aborted) = &findings.aborted {
                    tracing::info!(rule = aborted.rule, observed = aborted.observed, "the load is given up");
                    halt.cancel();
                }
            }
            if is_over {
                findings.load = meter.load();
                return findings;
            }
        }
    }
}
