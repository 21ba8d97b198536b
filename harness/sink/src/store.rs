//! Everything that was received: raw requests, one row a span, and an index by trace.
//!
//! An export is walked outside the lock; under it, its rows are appended, its few distinct names interned and
//! its traces found, once a request. Readers take the lock to copy what they need and work on the copy.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spangate_trace::{Capture, Details, Kind, NameId, Names, Row, Span, Surroundings, TraceId, Value};
use tokio::sync::watch;

use crate::{
    decode,
    wire::{self, Problem, WireError},
};

mod segments;
mod traces;

use segments::{Frozen, Segments};
use traces::{MAX_ROWS, Traces};

/// Marks the oldest row of a trace.
const NO_ROW: u32 = u32::MAX;

/// Everything that was received.
///
/// It takes 80 bytes a span, up to 11 a trace and 48 a request on top of the bytes that were received.
#[derive(Debug)]
pub struct Store {
    inner: Mutex<Inner>,
    stored: watch::Sender<u64>,
}

/// What came of one export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Number of the first row of those kept: the rows of one export lie together.
    pub first: u32,
    /// Spans in it.
    pub spans: u64,
    /// Spans kept.
    pub stored: u64,
    /// Spans that were well-formed but deliberately not kept.
    pub refused: u64,
    /// Spans not kept because one of their ids is invalid.
    pub invalid: u64,
}

/// What a store has seen; `received_spans` is the sum of `stored_spans`, `refused_spans` and `invalid_spans`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Well-formed exports, refused ones included.
    pub requests: u64,
    /// Exports of which nothing was kept on purpose.
    pub refused_requests: u64,
    /// Messages that were no export.
    pub malformed_requests: u64,
    /// Spans in well-formed exports.
    pub received_spans: u64,
    /// Spans kept.
    pub stored_spans: u64,
    /// Spans not kept on purpose.
    pub refused_spans: u64,
    /// Spans not kept because one of their ids is invalid.
    pub invalid_spans: u64,
    /// Distinct traces among the spans kept.
    pub traces: u64,
    /// Bytes of the requests kept.
    pub bytes: u64,
    /// Bytes that rows and index take on top of that.
    pub index_bytes: u64,
}

/// One request, as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    /// Its message.
    pub(crate) bytes: Bytes,
    /// Number of its first row.
    first: u32,
    /// Number of its rows.
    rows: u32,
    /// Whether spans in it were not kept.
    partial: bool,
}

/// One span, as it is kept.
#[derive(Debug, Clone, Copy)]
struct Entry {
    row: Row,
    /// Number of the request that it came in.
    chunk: u32,
    /// Where its message lies in the request.
    offset: u32,
    /// The length of its message.
    length: u32,
    /// The row before it in its trace.
    before: u32,
}

#[derive(Debug)]
struct Inner {
    entries: Segments<Entry>,
    chunks: Segments<Chunk>,
    names: Names,
    traces: Traces,
    stats: Stats,
}

/// A store as it was at some time.
pub(crate) struct Snapshot {
    entries: Frozen<Entry>,
    chunks: Frozen<Chunk>,
    names: Names,
}

/// The entries of one request, with names numbered within the request.
#[derive(Default)]
struct Batch<'a> {
    entries: Vec<Entry>,
    names: Vec<&'a str>,
    ids: HashMap<&'a str, NameId>,
    receipt: Receipt,
}

// === impl Store ===

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl Store {
    /// An empty store.
    pub fn new() -> Self {
        let inner = Inner {
            entries: Segments::new(),
            chunks: Segments::new(),
            names: Names::default(),
            traces: Traces::new(),
            stats: Stats::default(),
        };
        Self { inner: Mutex::new(inner), stored: watch::Sender::new(0) }
    }

    /// Keeps the spans of `request`, an `ExportTraceServiceRequest`, but for those with invalid ids.
    ///
    /// The bytes are shared, not copied.
    /// Of a request with an error nothing is kept.
    pub fn append(&self, request: &Bytes) -> Result<Receipt, WireError> {
        self.append_where(request, |_| true)
    }

    /// As [`Self::append`], but keeps only the spans for whose number within the request `keep` is true.
    pub(crate) fn append_where(
        &self,
        request: &Bytes,
        keep: impl Fn(u64) -> bool,
    ) -> Result<Receipt, WireError> {
        let batch = match Batch::of(request, keep) {
            Ok(batch) => batch,
            Err(error) => {
                self.lock().stats.malformed_requests += 1;
                return Err(error);
            }
        };
        let mut receipt = batch.receipt;
        let (first, stored) = self.lock().append(request, batch);
        receipt.first = first;
        // Two appends may come here in the other order: the number must not go back.
        self.stored.send_if_modified(|seen| {
            let grown = stored > *seen;
            *seen = stored.max(*seen);
            grown
        });
        Ok(receipt)
    }

    /// Counts the spans of `request` as received and refused, and keeps nothing.
    pub(crate) fn refuse(&self, request: &[u8]) -> Result<u64, WireError> {
        let spans = wire::count(request);
        let stats = &mut self.lock().stats;
        match spans {
            Ok(spans) => {
                stats.requests += 1;
                stats.refused_requests += 1;
                stats.received_spans += spans;
                stats.refused_spans += spans;
            }
            Err(_) => stats.malformed_requests += 1,
        }
        spans
    }

    /// Counts a message that could not even be read as protobuf.
    pub(crate) fn note_malformed(&self) {
        self.lock().stats.malformed_requests += 1;
    }

    /// The number of spans kept.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether no span was kept yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was seen so far.
    pub fn stats(&self) -> Stats {
        self.lock().stats()
    }

    /// Follows the number of spans kept.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.stored.subscribe()
    }

    /// The names of spans, scopes and services so far.
    pub fn names(&self) -> Names {
        self.lock().names.clone()
    }

    /// The rows of one trace, in the order of arrival; [`Self::names`] has their names.
    pub fn rows_of(&self, trace: TraceId) -> Vec<Row> {
        let inner = self.lock();
        let mut rows: Vec<_> = inner.trace(trace).map(|entry| entry.row).collect();
        rows.reverse();
        rows
    }

    /// The whole spans of one trace, in the order of arrival.
    pub fn spans_of(&self, trace: TraceId) -> Vec<Span> {
        let (found, names) = {
            let inner = self.lock();
            let with_bytes = |entry: &Entry| (*entry, inner.chunks.get(entry.chunk as usize).bytes.clone());
            (inner.trace(trace).map(with_bytes).collect::<Vec<_>>(), inner.names.clone())
        };
        found.iter().rev().map(|(entry, bytes)| entry.decode(bytes, &names)).collect()
    }

    /// Whether a SERVER span of this trace was kept.
    pub fn has_server_span(&self, trace: TraceId) -> bool {
        let inner = self.lock();
        inner.traces.get(trace, |row| inner.trace_of(row)).is_some_and(|head| head.has_server)
    }

    /// The capture as it is now; what arrives later is not in it.
    pub fn snapshot(&self) -> Capture {
        let snapshot = self.freeze();
        let rows = snapshot.entries.iter().map(|entry| entry.row).collect();
        Capture::new(rows, snapshot.names.clone(), Arc::new(snapshot))
    }

    /// The store as it is now.
    pub(crate) fn freeze(&self) -> Snapshot {
        let inner = self.lock();
        Snapshot {
            entries: inner.entries.freeze(),
            chunks: inner.chunks.freeze(),
            names: inner.names.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the lock")
    }
}

// === impl Inner ===

impl Inner {
    /// Appends a batch and gives the number of its first row and of spans kept so far.
    fn append(&mut self, request: &Bytes, batch: Batch<'_>) -> (u32, u64) {
        let Receipt { spans, stored, refused, invalid, first: _ } = batch.receipt;
        self.stats.requests += 1;
        self.stats.received_spans += spans;
        self.stats.refused_spans += refused;
        self.stats.invalid_spans += invalid;
        self.stats.stored_spans += stored;
        let first = u32::try_from(self.entries.len()).expect("fewer rows than MAX_ROWS");
        if batch.entries.is_empty() {
            return (first, self.stats.stored_spans);
        }
        self.stats.bytes += request.len() as u64;

        let names: Vec<_> = batch.names.iter().map(|name| self.names.intern(name)).collect();
        let chunk = u32::try_from(self.chunks.len()).expect("fewer requests than rows");
        let rows = u32::try_from(batch.entries.len()).expect("a request has fewer spans than bytes");
        assert!(rows < MAX_ROWS - first, "a store has room for 2^31 spans");
        for (number, mut entry) in (first..).zip(batch.entries) {
            for name in [&mut entry.row.name, &mut entry.row.scope, &mut entry.row.service] {
                *name = names[name.0 as usize];
            }
            entry.chunk = chunk;
            let (trace, is_server) = (entry.row.trace_id, entry.row.kind == Kind::Server);
            let entries = &self.entries;
            let before =
                self.traces.insert(trace, number, is_server, |row| entries.get(row as usize).row.trace_id);
            entry.before = before.unwrap_or(NO_ROW);
            self.entries.push(entry);
        }
        self.chunks.push(Chunk { bytes: request.clone(), first, rows, partial: stored < spans });
        (first, self.stats.stored_spans)
    }

    /// The entries of a trace, the newest first.
    fn trace(&self, trace: TraceId) -> impl Iterator<Item = &Entry> {
        let newest = self.traces.get(trace, |row| self.trace_of(row)).map(|head| head.row);
        let entry = |row: u32| self.entries.get(row as usize);
        std::iter::successors(newest.map(entry), move |newer| {
            (newer.before != NO_ROW).then(|| entry(newer.before))
        })
    }

    fn trace_of(&self, row: u32) -> TraceId {
        self.entries.get(row as usize).row.trace_id
    }

    fn stats(&self) -> Stats {
        let index = self.entries.memory() + self.chunks.memory() + self.traces.memory();
        Stats { traces: self.traces.len() as u64, index_bytes: index as u64, ..self.stats }
    }
}

// === impl Batch ===

impl<'a> Batch<'a> {
    fn of(request: &'a [u8], keep: impl Fn(u64) -> bool) -> Result<Self, WireError> {
        if u32::try_from(request.len()).is_err() {
            return Err(WireError { offset: 0, problem: Problem::Length });
        }
        let mut batch = Self::default();
        wire::walk(request, |span| {
            let kept = keep(batch.receipt.spans);
            batch.receipt.spans += 1;
            match span.ids {
                None => batch.receipt.invalid += 1,
                Some(_) if !kept => batch.receipt.refused += 1,
                Some(ids) => batch.push(&span, ids),
            }
        })?;
        Ok(batch)
    }

    fn push(&mut self, span: &wire::WireSpan<'a>, ids: wire::Ids) {
        self.receipt.stored += 1;
        let row = Row {
            trace_id: ids.trace_id,
            span_id: ids.span_id,
            parent: ids.parent,
            start: span.start,
            end: span.end,
            name: self.name(span.name),
            scope: self.name(span.scope),
            service: self.name(span.service),
            kind: span.kind,
            status: span.status,
        };
        let short = |number: usize| u32::try_from(number).expect("the request is shorter than 4 GiB");
        self.entries.push(Entry {
            row,
            chunk: 0,
            offset: short(span.range.start),
            length: short(span.range.len()),
            before: NO_ROW,
        });
    }

    fn name(&mut self, name: &'a str) -> NameId {
        *self.ids.entry(name).or_insert_with(|| {
            self.names.push(name);
            NameId(u32::try_from(self.names.len() - 1).expect("fewer names than bytes"))
        })
    }
}

// === impl Entry ===

impl Entry {
    /// The whole span, whose message lies in `request`.
    fn decode(&self, request: &[u8], names: &Names) -> Span {
        decode::span(self.message(request), &self.row, names)
    }

    /// Its message, which lies in `request`.
    fn message<'r>(&self, request: &'r [u8]) -> &'r [u8] {
        let (start, length) = (self.offset as usize, self.length as usize);
        &request[start..start + length]
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// The requests, each with the offsets of the spans in it that were kept when those are not all.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (&Bytes, Option<Vec<u32>>)> {
        self.chunks.iter().map(|chunk| {
            let offset = |row: u32| self.entries.get(row as usize).offset;
            let kept = chunk.first..chunk.first + chunk.rows;
            (&chunk.bytes, chunk.partial.then(|| kept.map(offset).collect()))
        })
    }
}

impl Details for Snapshot {
    fn span(&self, index: usize) -> Span {
        let entry = self.entries.get(index);
        entry.decode(&self.chunks.get(entry.chunk as usize).bytes, &self.names)
    }

    fn attribute(&self, index: usize, key: &str) -> Option<Value> {
        let entry = self.entries.get(index);
        decode::attribute(entry.message(&self.chunks.get(entry.chunk as usize).bytes), key)
    }

    fn surroundings(&self, index: usize) -> Surroundings {
        let entry = self.entries.get(index);
        let start = entry.offset as usize;
        let span = start..start + entry.length as usize;
        decode::surroundings(&self.chunks.get(entry.chunk as usize).bytes, entry.chunk, span)
    }
}

#[cfg(test)]
mod tests;
