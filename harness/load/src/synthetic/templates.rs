//! Recorded traces: those that are built in, and those of any capture.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, LazyLock},
};

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};
use prost::Message as _;
use spangate_scenario::model::Traffic;
use spangate_trace::{SpanId, TraceId};

use super::template::Template;

/// Recorded traces, from which others are made.
///
/// Those of a capture keep their resources, scopes, names, attributes, events and links as they are.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    all: Vec<Template>,
    /// `ResourceSpans` without spans, encoded.
    resources: Vec<Vec<u8>>,
    /// `ScopeSpans` without spans, encoded, each with the index of its resource. Those of one resource are not
    /// always together.
    scopes: Vec<(usize, Vec<u8>)>,
}

/// Text or spans from which no traces can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A line is not an OTLP JSON export.
    #[error("line {line} of the capture is not an OTLP JSON trace export")]
    Line {
        /// The line, from 1.
        line: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// There are no spans.
    #[error("the capture has no spans, and so nothing can be made from it")]
    Empty,
    /// A span has an id of a wrong length, or one that is all zero.
    #[error("the span {name:?} has no valid trace, span or parent id")]
    Ids {
        /// The name of the span.
        name: String,
    },
    /// The spans of a trace are each other's parents.
    #[error("the trace {trace_id} has no root: its spans are each other's parents")]
    NoRoot {
        /// The trace.
        trace_id: TraceId,
    },
    /// A span has no end time, so nobody knows when it is to be sent.
    #[error("the trace {trace_id} has a span without an end time")]
    NoTime {
        /// The trace.
        trace_id: TraceId,
    },
}

/// Resources and scopes that were seen, by their encoded form.
#[derive(Default)]
struct Seen {
    resources: HashMap<Vec<u8>, usize>,
    scopes: HashMap<(usize, Vec<u8>), usize>,
}

/// Traces of kube-apiserver 1.37.2 in front of etcd 3.7.3, one for each of [`Traffic::TEMPLATES`].
const BUILT_IN: [&str; Traffic::TEMPLATES.len()] = [
    include_str!("../../../../fixtures/traces/create.jsonl"),
    include_str!("../../../../fixtures/traces/create-webhooks.jsonl"),
    include_str!("../../../../fixtures/traces/get.jsonl"),
    include_str!("../../../../fixtures/traces/list.jsonl"),
    include_str!("../../../../fixtures/traces/patch.jsonl"),
    include_str!("../../../../fixtures/traces/delete.jsonl"),
    include_str!("../../../../fixtures/traces/watch.jsonl"),
];

// === impl Templates ===

impl Templates {
    /// Requests to kube-apiserver 1.37.2 by a caller whose `traceparent` is not honoured, so that the SERVER span is
    /// the root: one of each of [`Traffic::TEMPLATES`], by these names.
    ///
    /// # Panics
    ///
    /// Never: that they can be read is tested.
    pub fn built_in() -> Arc<Self> {
        static TEMPLATES: LazyLock<Arc<Templates>> = LazyLock::new(|| {
            let all = Templates::from_lines(BUILT_IN.iter().flat_map(|text| text.lines()));
            let mut built_in = all.expect("the traces that are built in can be read");
            let named = |(template, name): (Template, &&str)| template.named(name);
            built_in.all = built_in.all.into_iter().zip(&Traffic::TEMPLATES).map(named).collect();
            Arc::new(built_in)
        });
        Arc::clone(&TEMPLATES)
    }

    /// The traces of a capture: one OTLP JSON export a line, as Spangate and the Collector's file exporter write
    /// them. Empty lines are passed over.
    ///
    /// Fields that hold nothing must be there as in what Spangate writes: who has read a capture more leniently gives
    /// it to [`Templates::from_spans`].
    pub fn from_lines<L: AsRef<[u8]>>(lines: impl IntoIterator<Item = L>) -> Result<Self, TemplateError> {
        let mut exports = Vec::new();
        for (line, text) in (1..).zip(lines) {
            let text = text.as_ref().trim_ascii();
            if !text.is_empty() {
                let export: TracesData =
                    serde_json::from_slice(text).map_err(|source| TemplateError::Line { line, source })?;
                exports.extend(export.resource_spans);
            }
        }
        Self::from_spans(exports)
    }

    /// The traces of spans that were decoded already, in the order in which their first spans come.
    ///
    /// A span that is there twice counts once.
    pub fn from_spans(exports: impl IntoIterator<Item = ResourceSpans>) -> Result<Self, TemplateError> {
        let (mut templates, mut seen) = (Self::default(), Seen::default());
        let mut traces: Vec<Vec<(usize, Span)>> = Vec::new();
        let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut spans = HashSet::new();
        for ResourceSpans { resource, scope_spans, schema_url } in exports {
            let head = ResourceSpans { resource, scope_spans: Vec::new(), schema_url }.encode_to_vec();
            for ScopeSpans { scope, spans: of_scope, schema_url } in scope_spans {
                let scope = ScopeSpans { scope, spans: Vec::new(), schema_url }.encode_to_vec();
                let scope = templates.scope(&mut seen, &head, scope);
                for span in of_scope {
                    if !has_valid_ids(&span) {
                        return Err(TemplateError::Ids { name: span.name });
                    }
                    if !spans.insert((span.trace_id.clone(), span.span_id.clone())) {
                        continue;
                    }
                    match places.entry(span.trace_id.clone()) {
                        Entry::Occupied(place) => traces[*place.get()].push((scope, span)),
                        Entry::Vacant(place) => {
                            place.insert(traces.len());
                            traces.push(vec![(scope, span)]);
                        }
                    }
                }
            }
        }
        templates.all = traces.iter().map(|spans| Template::new(spans)).collect::<Result<_, _>>()?;
        if templates.all.is_empty() { Err(TemplateError::Empty) } else { Ok(templates) }
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Template> {
        self.all.iter()
    }

    pub(super) fn get(&self, index: usize) -> &Template {
        &self.all[index]
    }

    pub(super) fn resources(&self) -> &[Vec<u8>] {
        &self.resources
    }

    pub(super) fn scopes(&self) -> &[(usize, Vec<u8>)] {
        &self.scopes
    }

    /// The index of a scope within a resource.
    fn scope(&mut self, seen: &mut Seen, resource: &[u8], scope: Vec<u8>) -> usize {
        let resource = *seen.resources.entry(resource.to_vec()).or_insert_with_key(|resource| {
            self.resources.push(resource.clone());
            self.resources.len() - 1
        });
        *seen.scopes.entry((resource, scope)).or_insert_with_key(|scope| {
            self.scopes.push(scope.clone());
            self.scopes.len() - 1
        })
    }
}

fn has_valid_ids(span: &Span) -> bool {
    let is_id = |id: &[u8]| SpanId::from_slice(id).is_some_and(|id| id.is_valid());
    TraceId::from_slice(&span.trace_id).is_some_and(|id| id.is_valid())
        && is_id(&span.span_id)
        && (span.parent_span_id.is_empty() || is_id(&span.parent_span_id))
}
