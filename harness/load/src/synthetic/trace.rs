//! One trace to be sent: its ids, its class, and when each of its spans is sent.

use std::time::Duration;

use rand_chacha::rand_core::Rng;
use spangate_trace::{SpanId, TraceId};

use super::{stretch::Stretch, template::Template, templates::Templates};
use crate::seed::{Purpose, generator};

/// One trace to be sent. All times count from the origin, which is when traffic begins.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticTrace {
    /// Its number, from zero.
    pub number: u64,
    /// Its id.
    pub trace_id: TraceId,
    /// Index of its class, in [`Synthetic::classes`](super::Synthetic::classes).
    pub class: usize,
    /// Index of what it is made from, in [`Templates::iter`].
    pub template: usize,
    /// When its root begins.
    pub at: Duration,
    /// How long its root lasts, whether it is sent or not.
    pub root_duration: Duration,
    /// Whether its root is sent.
    pub has_root: bool,
    /// Whether one of the spans that are sent has the status ERROR.
    pub has_error: bool,
    /// The spans that are sent, in the order of their times.
    pub sends: Vec<SpanSend>,
    /// All ids in it, those of spans first.
    pub(super) ids: Vec<SpanId>,
    pub(super) stretch: Stretch,
    pub(super) failed: bool,
}

/// A span to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanSend {
    /// When: at its end, unless it is late.
    pub at: Duration,
    /// Its index in the template.
    pub span: usize,
}

/// What becomes of a template in a trace of some class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fate {
    pub(super) class: usize,
    /// How long the root lasts; as recorded unless given.
    pub(super) duration: Option<Duration>,
    pub(super) failed: bool,
    pub(super) has_root: bool,
}

// === impl SyntheticTrace ===

impl SyntheticTrace {
    /// The trace that a template is, with new ids.
    pub(super) fn recorded(
        templates: &Templates,
        seed: u64,
        number: u64,
        (index, at): (usize, Duration),
    ) -> Self {
        let fate = Fate { class: 0, duration: None, failed: false, has_root: true };
        Self::new(templates.get(index), seed, number, (index, at), fate)
    }

    /// The trace that `template` becomes.
    pub(super) fn new(
        template: &Template,
        seed: u64,
        number: u64,
        (index, at): (usize, Duration),
        fate: Fate,
    ) -> Self {
        let (trace_id, ids) = draw_ids(seed, number, template.ids());
        let root_duration = fate.duration.unwrap_or_else(|| template.duration());
        let stretch = template.stretch(root_duration);
        let is_sent = |span: &usize| fate.has_root || *span != template.root();
        let planned = |span| {
            // A span that ends before its root begins, by clocks that do not agree, is sent when the root begins.
            let end = template.span(span, fate.failed).end(stretch).max(0).unsigned_abs();
            SpanSend { at: at + Duration::from_nanos(end), span }
        };
        let mut sends: Vec<_> = (0..template.spans()).filter(is_sent).map(planned).collect();
        sends.sort_by_key(|send| send.at);
        Self {
            number,
            trace_id,
            class: fate.class,
            template: index,
            at,
            root_duration,
            has_root: fate.has_root,
            has_error: sends.iter().any(|send| template.span(send.span, fate.failed).is_error),
            sends,
            ids,
            stretch,
            failed: fate.failed,
        }
    }

    /// The id of a span that is sent.
    pub fn span_id(&self, send: &SpanSend) -> SpanId {
        self.ids[send.span]
    }

    /// When its last span is sent.
    pub fn ends(&self) -> Duration {
        self.sends.last().map_or(self.at, |send| send.at)
    }

    /// Puts off the spans that `is_late` picks until `by` after the last span of the trace has ended.
    pub(super) fn put_off(&mut self, is_late: impl Fn(usize) -> bool, by: Duration) {
        let at = self.ends() + by;
        for send in self.sends.iter_mut().filter(|send| is_late(send.span)) {
            send.at = at;
        }
        self.sends.sort_by_key(|send| send.at);
    }
}

/// The id of trace `number`, and those of `count` spans.
fn draw_ids(seed: u64, number: u64, count: usize) -> (TraceId, Vec<SpanId>) {
    let mut generator = generator(seed, Purpose::SyntheticIds);
    generator.set_stream(number);
    let mut trace = [0; 16];
    generator.fill_bytes(&mut trace);
    // Among 64 random bits a zero is not to be expected, but would be no id.
    let span = |_| SpanId::new(generator.next_u64().max(1).to_le_bytes());
    (TraceId::new(trace), (0..count).map(span).collect())
}
