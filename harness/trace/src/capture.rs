//! A finished capture: one compact row a span, everything else decoded only when it is asked for.
//!
//! A question such as "which spans are slow" needs ids, times and names, of every span; attributes and events
//! matter only for the few spans that a selector has already narrowed down to. So a capture keeps [`Row`]s in
//! memory and leaves the rest behind [`Details`].

use std::{collections::HashMap, sync::Arc};

use crate::{Kind, Span, SpanId, Status, TraceId, UnixNanos, Value, span::Attributes};

/// What every question needs to know about a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The span that caused it; [`SpanId::INVALID`] for a root.
    pub parent: SpanId,
    /// When it began.
    pub start: UnixNanos,
    /// When it ended.
    pub end: UnixNanos,
    /// Its name.
    pub name: NameId,
    /// Its instrumentation scope.
    pub scope: NameId,
    /// The `service.name` of its resource.
    pub service: NameId,
    /// Which side of a call it describes.
    pub kind: Kind,
    /// Success or failure.
    pub status: Status,
}

/// A name in the table of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(pub u32);

/// Every distinct name once.
#[derive(Debug, Clone, Default)]
pub struct Names {
    names: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, NameId>,
}

/// Where the whole span behind a row can be had.
pub trait Details: Send + Sync {
    /// The span of the row with this index.
    fn span(&self, index: usize) -> Span;

    /// The attribute `key` of that span. Worth an implementation where a whole span is costly to make.
    fn attribute(&self, index: usize, key: &str) -> Option<Value> {
        self.span(index).attributes.remove(key)
    }

    /// What came with that span. Where only spans were kept, the `service.name` of the resource.
    fn surroundings(&self, index: usize) -> Surroundings {
        let service = self.span(index).service.to_string();
        let resource = Attributes::from([("service.name".to_owned(), Value::String(service))]);
        Surroundings { resource, ..Surroundings::default() }
    }
}

/// What came with a span and is no part of what is mostly asked of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Surroundings {
    /// The attributes of the resource.
    pub resource: Attributes,
    /// The `ResourceSpans` message that the span came in: the same number for all spans of it, and for no others.
    pub batch: u64,
    /// `trace_state`, as it stood on the wire.
    pub trace_state: String,
    /// `flags`, as they stood on the wire.
    pub flags: u32,
}

/// A finished capture.
#[derive(Clone)]
pub struct Capture {
    rows: Vec<Row>,
    names: Names,
    details: Arc<dyn Details>,
}

// === impl Names ===

impl Names {
    /// The id of `name`, which is added when it is new.
    ///
    /// # Panics
    ///
    /// When there would be more than 2^32 names.
    pub fn intern(&mut self, name: &str) -> NameId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = NameId(u32::try_from(self.names.len()).expect("fewer than 2^32 distinct names"));
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.ids.insert(name, id);
        id
    }

    /// The id of `name`, when a span has it.
    pub fn find(&self, name: &str) -> Option<NameId> {
        self.ids.get(name).copied()
    }

    /// The name behind `id`; ids of another table give no or another name.
    pub fn get(&self, id: NameId) -> &Arc<str> {
        &self.names[id.0 as usize]
    }

    /// All names with their ids, in the order of first sight.
    pub fn iter(&self) -> impl Iterator<Item = (NameId, &str)> {
        (0..).map(NameId).zip(self.names.iter().map(AsRef::as_ref))
    }
}

// === impl Capture ===

impl Capture {
    /// A capture of `rows`, whose names are in `names` and whose whole spans `details` gives by row index.
    pub fn new(rows: Vec<Row>, names: Names, details: Arc<dyn Details>) -> Self {
        Self { rows, names, details }
    }

    /// A capture of whole spans.
    pub fn from_spans(spans: Vec<Span>) -> Self {
        let mut names = Names::default();
        let rows = spans.iter().map(|span| Row::of(span, &mut names)).collect();
        Self::new(rows, names, Arc::new(spans))
    }

    /// One row a span, in the order of arrival.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The table of names.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The whole span of a row.
    pub fn span(&self, index: usize) -> Span {
        self.details.span(index)
    }

    /// One attribute of the span of a row, which costs less than the whole span.
    pub fn attribute(&self, index: usize, key: &str) -> Option<Value> {
        self.details.attribute(index, key)
    }

    /// What came with the span of a row.
    pub fn surroundings(&self, index: usize) -> Surroundings {
        self.details.surroundings(index)
    }

    /// The attribute `key` of the span of a row when it is text.
    pub fn text(&self, index: usize, key: &str) -> Option<String> {
        match self.attribute(index, key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }
}

// === impl Row ===

impl Row {
    /// The row of a whole span.
    pub fn of(span: &Span, names: &mut Names) -> Self {
        Self {
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent: span.parent.unwrap_or(SpanId::INVALID),
            start: span.start,
            end: span.end,
            name: names.intern(&span.name),
            scope: names.intern(&span.scope),
            service: names.intern(&span.service),
            kind: span.kind,
            status: span.status,
        }
    }
}

impl Details for Vec<Span> {
    fn span(&self, index: usize) -> Span {
        self[index].clone()
    }

    fn attribute(&self, index: usize, key: &str) -> Option<Value> {
        self[index].attributes.get(key).cloned()
    }
}
