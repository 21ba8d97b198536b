//! Traces shaped like those of kube-apiserver, made without one, and sent to whatever takes OTLP.
//!
//! [`Templates`] are whole traces that a real API server left, encoded once. [`Synthetic`] draws from a model and
//! its seed which of them are sent, when, and what becomes of them on the way: errors, long durations, late spans,
//! missing roots. [`Sender`] sends them and keeps the ledger: what was sent of every trace, when, and what the
//! receiver said to it. That is the truth that a verdict on a Collector's output compares with.
//!
//! ```
//! use spangate_load::synthetic::Synthetic;
//!
//! let traffic = serde_json::from_value(serde_json::json!({
//!     "rate": "100/s",
//!     "traces": 50,
//!     "classes": [
//!         {"name": "errors", "share": "10%", "error": true},
//!         {"name": "slow", "share": "20%", "duration": {"uniform": {"min": "2s", "max": "4s"}}},
//!         {"name": "normal", "share": "70%"},
//!     ],
//! }))?;
//! let synthetic = Synthetic::new(&traffic)?;
//! let slow = synthetic.traces().filter(|trace| &*synthetic.classes()[trace.class] == "slow");
//! assert!(slow.into_iter().all(|trace| trace.root_duration.as_secs() >= 2));
//! assert_eq!(synthetic.fingerprint(), Synthetic::new(&traffic)?.fingerprint());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{sync::Arc, time::Duration};

use spangate_scenario::{Finding, delay::DelayError, model::Traffic, path::Path, validate::validate_traffic};
use spangate_trace::UnixNanos;

use self::draw::{Class, Draw};
pub use self::{
    batch::Batch,
    ledger::{ExportOutcome, PartOutcome, SentExport, SentPart, SentTrace},
    sender::{Counts, Delivery, Pace, ParseTargetError, Sender, SenderConfig, SenderError, Target},
    template::Template,
    templates::{TemplateError, Templates},
    trace::{SpanSend, SyntheticTrace},
};
use crate::seed::fnv1a;

mod batch;
mod draw;
mod ledger;
mod order;
mod places;
mod sender;
mod stretch;
mod template;
mod templates;
mod trace;

/// Traces to be sent: a pure function of a model and its seed, or of a capture and a seed.
///
/// It holds what traces are drawn from, not the traces: a clone costs nothing.
#[derive(Debug, Clone)]
pub struct Synthetic {
    seed: u64,
    templates: Arc<Templates>,
    classes: Arc<[Arc<str>]>,
    source: Source,
}

/// Where traces come from.
#[derive(Debug, Clone)]
enum Source {
    Drawn(Arc<Draw>),
    /// Every template once: its index, and when its root begins.
    Replayed(Arc<[(usize, Duration)]>),
}

/// A model that no traces can be drawn from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyntheticError {
    /// The model breaks a rule.
    #[error("{}: {}", .0.path, .0.message)]
    Invalid(Box<Finding>),
    /// A class names a template that is not there.
    #[error("the class {class} names the template {template:?}, which is not there")]
    Template {
        /// The class.
        class: String,
        /// The name.
        template: String,
    },
    /// A class has a duration that cannot be drawn.
    #[error("the durations of the class {class} cannot be drawn")]
    Duration {
        /// The class.
        class: String,
        /// Why.
        #[source]
        source: DelayError,
    },
}

// === impl Synthetic ===

impl Synthetic {
    /// The class of all traces of a replay.
    pub const REPLAY: &str = "replay";

    /// Traces of `traffic`, made from the built-in templates.
    pub fn new(traffic: &Traffic) -> Result<Self, SyntheticError> {
        if let Some(finding) = validate_traffic(traffic, &Path::root().key("traffic")).into_iter().next() {
            return Err(SyntheticError::Invalid(Box::new(finding)));
        }
        Self::with_templates(traffic, Templates::built_in())
    }

    /// Traces of `traffic`, made from `templates`. A class names them by the names of their roots, each of which may
    /// stand for several; one that names none has all but those called `watch`.
    ///
    /// What [`validate_traffic`] says of the model is not looked at here.
    pub fn with_templates(traffic: &Traffic, templates: Arc<Templates>) -> Result<Self, SyntheticError> {
        let classes: Vec<_> = traffic
            .classes
            .iter()
            .map(|class| Class::new(class, traffic.seed, &templates))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            seed: traffic.seed,
            classes: traffic.classes.iter().map(|class| class.name.as_str().into()).collect(),
            source: Source::Drawn(Arc::new(Draw::new(traffic, classes))),
            templates,
        })
    }

    /// Every trace of a capture once, with new ids: in the order and with the gaps in which their roots began, which
    /// `times_as_fast` divides. Durations stay as they were.
    pub fn replay(templates: Arc<Templates>, seed: u64, times_as_fast: f64) -> Self {
        let first = templates.iter().map(Template::recorded).min().unwrap_or_default();
        let gap = |template: &Template| template.recorded().since(first).as_secs_f64() / times_as_fast;
        let mut order: Vec<_> = (templates.iter().enumerate())
            .map(|(index, template)| {
                (index, Duration::try_from_secs_f64(gap(template)).unwrap_or(Duration::ZERO))
            })
            .collect();
        order.sort_by_key(|(_, at)| *at);
        let classes = [Self::REPLAY.into()].into();
        Self { seed, templates, classes, source: Source::Replayed(order.into()) }
    }

    /// The names of the classes, by index.
    pub fn classes(&self) -> &[Arc<str>] {
        &self.classes
    }

    /// What traces are made from.
    pub fn templates(&self) -> &Arc<Templates> {
        &self.templates
    }

    /// The traces, in the order in which they begin.
    pub fn traces(&self) -> impl Iterator<Item = SyntheticTrace> + Send + use<> {
        let (seed, templates, source) = (self.seed, Arc::clone(&self.templates), self.source.clone());
        let mut times = match &source {
            Source::Drawn(draw) => Some(draw.times(seed)),
            Source::Replayed(_) => None,
        };
        (0..).map_while(move |number| match &source {
            Source::Drawn(draw) => {
                let at = times.as_mut()?.next()?;
                Some(draw.trace(&templates, seed, number, at))
            }
            Source::Replayed(order) => {
                let (template, at) = *order.get(usize::try_from(number).ok()?)?;
                Some(SyntheticTrace::recorded(&templates, seed, number, (template, at)))
            }
        })
    }

    /// Adds all spans of `trace` to `batch`, for whoever sends whole traces; `origin` is when the first one begins.
    pub fn encode(&self, trace: &SyntheticTrace, origin: UnixNanos, batch: &mut Batch) {
        for send in &trace.sends {
            batch.push(trace, send, origin);
        }
    }

    /// A hash over what is sent and when. It is equal for equal models and seeds.
    pub fn fingerprint(&self) -> u64 {
        fnv1a(self.traces().flat_map(|trace| {
            let head = [trace.number, trace.class as u64, trace.template as u64, nanos(trace.at)];
            let spans = trace.sends.iter().flat_map(|send| [nanos(send.at), send.span as u64]);
            let words: Vec<_> = head.into_iter().chain([nanos(trace.root_duration)]).chain(spans).collect();
            let ids = trace.sends.iter().flat_map(|send| *trace.span_id(send).as_bytes());
            let mut bytes = trace.trace_id.as_bytes().to_vec();
            bytes.extend(ids);
            bytes.extend(words.into_iter().flat_map(u64::to_le_bytes));
            bytes
        }))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
