//! Waits until an API server that has just started is quiet: it goes on with work of its own long after it is ready.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use spangate_scenario::experiment::Quiet;
use spangate_trace::Clock;
use tokio::time::sleep;

use crate::{
    event::{Event, Events},
    evidence::Rest,
    measure::{Border, Meter, Recorder},
    text,
};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks that make a judgement: those of two seconds.
const LOOKS: usize = 8;

/// What was used between looks, newest last.
#[derive(Debug, Default)]
struct Looks(VecDeque<(Duration, u64)>);

/// Waits until the process is quiet, and then as long as its use at rest is to be measured.
pub(super) async fn wait(
    quiet: &Quiet,
    pid: u32,
    clock: &Clock,
    recorder: &Recorder,
    events: &Events,
) -> Rest {
    let (start, mut meter, mut looks) = (Instant::now(), Meter::new(pid), Looks::default());
    let (share, is_quiet) = loop {
        if let Ok(usage) = meter.read() {
            looks.add(start.elapsed(), usage.cpu_nanos);
        }
        let share = looks.share();
        if let Some(share) = share {
            let what = format!("waiting until kube-apiserver is quiet: {} of a CPU", text::percent(share));
            events.send(Event::Progress { what, done: None });
            if share <= quiet.below.get() {
                break (share, true);
            }
        }
        if start.elapsed() >= quiet.within.get() {
            break (share.unwrap_or_default(), false);
        }
        sleep(LOOK_EVERY).await;
    };
    if !is_quiet {
        let (waited, share) = (text::duration(start.elapsed()), text::percent(share));
        events.send(Event::Note(format!("kube-apiserver was not quiet after {waited}: {share} of a CPU")));
    }
    recorder.mark(Border::Rest);
    let (seconds, from) = (start.elapsed().as_secs_f64(), clock.now());
    sleep(quiet.idle.get()).await;
    Rest { quiet: is_quiet, seconds, share, from, to: clock.now() }
}

// === impl Looks ===

impl Looks {
    fn add(&mut self, at: Duration, cpu_nanos: u64) {
        self.0.push_back((at, cpu_nanos));
        if self.0.len() > LOOKS + 1 {
            self.0.pop_front();
        }
    }

    /// The share of one CPU over all looks, once there are enough.
    fn share(&self) -> Option<f64> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let time = last.0.saturating_sub(first.0);
        (self.0.len() > LOOKS && !time.is_zero())
            .then(|| last.1.saturating_sub(first.1) as f64 / time.as_nanos() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_two_seconds_count() {
        let mut looks = Looks::default();
        for look in 0_u32..20 {
            // Half a CPU in the first three seconds, and a tenth from then on.
            let millis = 250 * u64::from(look);
            let used = if millis <= 3000 { millis / 2 } else { 1500 + (millis - 3000) / 10 };
            looks.add(LOOK_EVERY * look, used * 1_000_000);
            match look {
                0..8 => assert_eq!(looks.share(), None, "{look}"),
                8..=12 => assert!((looks.share().unwrap() - 0.5).abs() < 0.01, "{look}"),
                _ => {}
            }
        }
        assert!((looks.share().unwrap() - 0.158).abs() < 0.06, "{:?}", looks.share());
    }
}
