//! Draws traces from a model.

use std::time::Duration;

use rand_chacha::{ChaCha8Rng, rand_core::Rng};
use rand_distr::{Distribution, Exp1};
use spangate_scenario::{
    delay::DelaySampler,
    model::{LateSpans, RootSpan, Shape, Traffic, TrafficClass},
};

use super::{
    SyntheticError,
    template::Template,
    templates::Templates,
    trace::{Fate, SyntheticTrace},
};
use crate::seed::{Purpose, fnv1a, generator, pick};

/// What traces are drawn from.
#[derive(Debug)]
pub(super) struct Draw {
    rate: f64,
    shape: Shape,
    length: Option<Duration>,
    traces: u64,
    classes: Vec<Class>,
    /// Sums of the shares, on the scale of all 64-bit numbers.
    bounds: Vec<f64>,
}

/// What the traces of a class are made from.
#[derive(Debug)]
pub(super) struct Class {
    templates: Vec<usize>,
    duration: Option<DelaySampler>,
    error: bool,
    late: Option<LateSpans>,
    has_root: bool,
}

/// When traces begin.
#[derive(Debug)]
pub(super) struct Times {
    rate: f64,
    length: Option<Duration>,
    left: u64,
    /// What the next trace is on the scale of mean numbers.
    number: f64,
    /// Where gaps come from; evenly spaced traces have none.
    gaps: Option<ChaCha8Rng>,
}

// === impl Class ===

impl Class {
    pub(super) fn new(
        class: &TrafficClass,
        seed: u64,
        templates: &Templates,
    ) -> Result<Self, SyntheticError> {
        let named = |name: &str| -> Vec<usize> {
            let all = templates.iter().enumerate().filter(|(_, template)| template.name() == name);
            all.map(|(index, _)| index).collect()
        };
        let mut chosen = Vec::new();
        for name in &class.templates {
            let found = named(name);
            if found.is_empty() {
                let (class, template) = (class.name.clone(), name.clone());
                return Err(SyntheticError::Template { class, template });
            }
            chosen.extend(found);
        }
        if class.templates.is_empty() {
            let all = templates.iter().enumerate().filter(|(_, template)| !is_watch(template));
            chosen.extend(all.map(|(index, _)| index));
        }
        // Durations of a class stay the same when another class comes or goes.
        let seed = fnv1a(seed.to_le_bytes().into_iter().chain(class.name.bytes()));
        let sampler = class.duration.as_ref().map(|duration| DelaySampler::new(duration, seed));
        let failed = |source| SyntheticError::Duration { class: class.name.clone(), source };
        Ok(Self {
            templates: chosen,
            duration: sampler.transpose().map_err(failed)?,
            error: class.error,
            late: class.late,
            has_root: class.root == RootSpan::Sent,
        })
    }
}

fn is_watch(template: &Template) -> bool {
    template.name() == TrafficClass::WATCH
}

// === impl Draw ===

impl Draw {
    pub(super) fn new(traffic: &Traffic, classes: Vec<Class>) -> Self {
        let sum = |sum: &mut f64, class: &TrafficClass| {
            *sum += class.share.get();
            Some(*sum)
        };
        Self {
            rate: traffic.rate.get(),
            shape: traffic.shape,
            length: traffic.duration.map(spangate_scenario::units::Duration::get),
            traces: traffic.traces.unwrap_or(u64::MAX),
            bounds: traffic.classes.iter().scan(0.0, sum).collect(),
            classes,
        }
    }

    /// When traces begin.
    pub(super) fn times(&self, seed: u64) -> Times {
        let any = self.rate > 0.0 && self.classes.iter().any(|class| !class.templates.is_empty());
        let (number, gaps) = match self.shape {
            // The first of evenly spaced traces begins at once.
            Shape::Constant => (-1.0, None),
            Shape::Poisson => (0.0, Some(generator(seed, Purpose::SyntheticGaps))),
        };
        Times { rate: self.rate, length: self.length, left: if any { self.traces } else { 0 }, number, gaps }
    }

    /// Trace `number`, whose root begins at `at`.
    pub(super) fn trace(
        &self,
        templates: &Templates,
        seed: u64,
        number: u64,
        at: Duration,
    ) -> SyntheticTrace {
        let mut random = generator(seed, Purpose::Synthetic);
        random.set_stream(number);
        let point = unit(random.next_u64());
        let index = self.bounds.partition_point(|bound| *bound <= point);
        // Shares that are rounded to a little less than all leave the rest to the last class.
        let index = index.min(self.classes.len() - 1);
        let class = &self.classes[index];
        let template = class.templates[whole(pick(random.next_u64(), class.templates.len() as u64))];
        let fate = Fate {
            class: index,
            duration: class.duration.as_ref().map(|duration| duration.nth(number)),
            failed: class.error,
            has_root: class.has_root,
        };
        let made_from = templates.get(template);
        let mut trace = SyntheticTrace::new(made_from, seed, number, (template, at), fate);
        if let Some(late) = class.late {
            put_off(&mut trace, made_from.root(), late, &mut random);
        }
        trace
    }
}

/// Puts off a share of the spans below the root, at least one.
fn put_off(trace: &mut SyntheticTrace, root: usize, late: LateSpans, random: &mut ChaCha8Rng) {
    let mut below: Vec<_> = trace.sends.iter().map(|send| send.span).filter(|span| *span != root).collect();
    // Choosing does not depend on the order in which spans end.
    below.sort_unstable();
    let count = whole(ceil(below.len() as f64 * late.share.get())).min(below.len());
    let (mut is_late, mut left) = (vec![false; trace.ids.len()], count);
    while left > 0 {
        let span = below.swap_remove(whole(pick(random.next_u64(), below.len() as u64)));
        is_late[span] = true;
        left -= 1;
    }
    trace.put_off(|span| is_late[span], late.by.get());
}

/// A number from 0 to below 1, of 53 random bits.
fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a share of a few spans")]
fn ceil(spans: f64) -> u64 {
    spans.ceil() as u64
}

fn whole(index: u64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

// === impl Times ===

impl Iterator for Times {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        self.number += self.gaps.as_mut().map_or(1.0, |gaps| Exp1.sample(gaps));
        let at = Duration::try_from_secs_f64(self.number / self.rate).ok()?;
        self.length.is_none_or(|length| at < length).then_some(at)
    }
}
