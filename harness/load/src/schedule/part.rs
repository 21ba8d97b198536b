//! One stage of a schedule: its times, what each arrival does, and on which object.

use std::{sync::Arc, time::Duration};

use rand_chacha::{ChaCha8Rng, rand_core::Rng};
use rand_distr::{Distribution, Exp1};
use spangate_scenario::model::{Arrivals, Load, MixEntry, Shape, Stage};

use super::{
    Arrival,
    profile::{Inverse, Profile},
};
use crate::{
    operation::Kind,
    seed::{Purpose, generator, pick},
};

/// One stage of a schedule. A clone shares its mix.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// Its number among the stages.
    pub(super) index: u32,
    /// From the start of the load.
    start: Duration,
    length: Duration,
    profile: Profile,
    shape: Shape,
    /// Index of its first mix entry, in the order of [`Load::entries`].
    first_entry: usize,
    /// The sum of the weights up to each entry and with it.
    weights: Arc<[u64]>,
}

/// The arrivals of a stage; their numbers count from zero.
pub(super) struct Draw {
    part: Part,
    times: Times,
    entries: ChaCha8Rng,
    choices: ChaCha8Rng,
    number: u64,
}

/// The times of the arrivals of a stage, from its start.
pub(super) struct Times {
    inverse: Inverse,
    length: Duration,
    /// Where the last arrival was on the scale of the mean number of arrivals.
    number: f64,
    /// Gaps on this scale; without, they are one.
    gaps: Option<ChaCha8Rng>,
}

// === impl Part ===

impl Part {
    /// The stages of `load`.
    pub(super) fn all(load: &Load) -> Arc<[Self]> {
        let stages = load.arrivals.iter().flat_map(Arrivals::stages);
        let mut start = Duration::ZERO;
        let mut entries = load.mix.len();
        let part = |(index, stage): (u32, Stage)| {
            let (first_entry, mix) = match &stage.mix {
                Some(mix) => (entries, mix),
                None => (0, &load.mix),
            };
            entries += stage.mix.as_ref().map_or(0, Vec::len);
            let part = Self {
                index,
                start,
                length: stage.duration.get(),
                profile: Profile::of(&stage),
                shape: stage.shape,
                first_entry,
                weights: sums(mix),
            };
            start += part.length;
            part
        };
        (0..).zip(stages).map(part).collect()
    }

    /// Whether `at`, from the start of the load, lies before its end.
    pub(super) fn ends_after(&self, at: Duration) -> bool {
        at < self.start + self.length
    }

    /// Arrivals per second that are aimed at when the load has gone on for `at`.
    pub(super) fn rate_at(&self, at: Duration) -> f64 {
        if self.total() == 0 { 0.0 } else { self.profile.rate_at(at.saturating_sub(self.start)) }
    }

    /// How many arrivals it has on average until the load has gone on for `at`.
    pub(super) fn until(&self, at: Duration) -> f64 {
        if self.total() == 0 { 0.0 } else { self.profile.until(at.saturating_sub(self.start)) }
    }

    /// How many arrivals it has.
    pub(super) fn planned(&self, seed: u64) -> u64 {
        self.times(seed).count() as u64
    }

    /// Its arrivals.
    pub(super) fn draw(&self, seed: u64) -> Draw {
        Draw {
            part: self.clone(),
            times: self.times(seed),
            entries: self.generator(seed, Purpose::Entries),
            choices: self.generator(seed, Purpose::Choices),
            number: 0,
        }
    }

    /// The sum of all weights. At zero nothing can be chosen, and there are no arrivals.
    fn total(&self) -> u64 {
        self.weights.last().copied().unwrap_or(0)
    }

    fn times(&self, seed: u64) -> Times {
        let length = if self.total() == 0 { Duration::ZERO } else { self.length };
        let (number, gaps) = match self.shape {
            // The first of evenly spaced arrivals is at the start.
            Shape::Constant => (-1.0, None),
            Shape::Poisson => (0.0, Some(self.generator(seed, Purpose::Gaps))),
        };
        Times { inverse: self.profile.inverse(), length, number, gaps }
    }

    /// Each stage draws from streams of its own, so that a change of one leaves the others as they were.
    fn generator(&self, seed: u64, purpose: Purpose) -> ChaCha8Rng {
        let mut generator = generator(seed, purpose);
        generator.set_stream(self.index.into());
        generator
    }
}

/// The sums of the weights of what can be chosen.
fn sums(mix: &[MixEntry]) -> Arc<[u64]> {
    let weights = mix.iter().map(|entry| Kind::of(entry).map_or(0, |_| u64::from(entry.weight.0)));
    let sum = |sum: &mut u64, weight| {
        *sum += weight;
        Some(*sum)
    };
    weights.scan(0, sum).collect()
}

// === impl Draw ===

impl Iterator for Draw {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let at = self.part.start + self.times.next()?;
        let point = pick(self.entries.next_u64(), self.part.total());
        let arrival = Arrival {
            number: self.number,
            at,
            stage: self.part.index,
            entry: self.part.first_entry + self.part.weights.partition_point(|upto| *upto <= point),
            choice: self.choices.next_u64(),
        };
        self.number += 1;
        Some(arrival)
    }
}

// === impl Times ===

impl Iterator for Times {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // Time rescaling: what is a Poisson process of rate one on the scale of mean numbers is one of the profile's
        // rate in time. Adding ones is exact.
        self.number += self.gaps.as_mut().map_or(1.0, |gaps| Exp1.sample(gaps));
        let at = Duration::from_secs_f64(self.inverse.time(self.number));
        (at < self.length).then_some(at)
    }
}
