//! Where the time of a request went: each instant of its SERVER span in exactly one phase.
//!
//! An instant belongs to the child that is at work then; of several, to the one that ends last, because
//! that is the one that the parent waited for; and so on down the tree. What no child covers is the span's
//! own. Children are clipped to what is left of their parent, so the phases of a request always add up to
//! the duration of its SERVER span, whatever the spans below it say.
//!
//! The `authentication` span is no part of this: where it has the request's trace at all, it is the parent
//! of the SERVER span, and what it has more lies outside of it.

use std::{collections::HashMap, time::Duration};

use crate::{Kind, NameId, Phase, TraceIndex, contract};

pub mod summary;

/// Where the time of one request went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PhaseTimes {
    /// The duration of its SERVER span: the sum of all phases.
    pub total: Duration,
    /// The time in each phase that was on the request's path, by name; zero when spans below took all of it.
    pub by_phase: Vec<(Phase, Duration)>,
}

/// Computes the phases of the requests of a capture.
pub struct Phases<'i> {
    index: &'i TraceIndex<'i>,
    /// What each name of the capture means.
    classes: Vec<Class>,
    /// Every phase seen so far.
    known: Vec<Phase>,
    ids: HashMap<Phase, PhaseId>,
    /// The phases seen so far by name, as the times of a request are to be.
    by_name: Vec<PhaseId>,
    /// Nanoseconds in each phase of the request at hand, if on its path.
    spent: Vec<Option<u64>>,
    /// Spans to be looked at, with the part of the time line that is theirs.
    stack: Vec<Piece>,
    /// The children of the span at hand.
    children: Vec<Piece>,
}

/// A phase in the list of a [`Phases`].
type PhaseId = usize;

/// What the name of a span means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Work of the server, which the spans below divide further.
    Work(PhaseId),
    /// A call that the caller waits for, whatever goes on below.
    Call(PhaseId),
    /// A call of a mutating webhook, which only its attributes name.
    Mutating,
    /// A call of a validating webhook, which only its attributes name.
    Validating,
}

/// A span and the part of the time line that is its own.
#[derive(Debug, Clone, Copy)]
struct Piece {
    row: usize,
    start: u64,
    end: u64,
}

// === impl PhaseTimes ===

impl PhaseTimes {
    /// The time in a phase; zero when it was not on the request's path.
    pub fn get(&self, phase: &Phase) -> Duration {
        let found = self.by_phase.binary_search_by(|(name, _)| name.cmp(phase));
        found.map_or(Duration::ZERO, |at| self.by_phase[at].1)
    }
}

// === impl Phases ===

impl<'i> Phases<'i> {
    /// Looks up what the names of the capture mean.
    pub fn new(index: &'i TraceIndex<'i>) -> Self {
        let mut phases = Self {
            index,
            classes: Vec::new(),
            known: Vec::new(),
            ids: HashMap::new(),
            by_name: Vec::new(),
            spent: Vec::new(),
            stack: Vec::new(),
            children: Vec::new(),
        };
        phases.classes = index.capture().names().iter().map(|(_, name)| phases.class(name)).collect();
        phases
    }

    /// Where the time of the request with this SERVER span went.
    ///
    /// # Panics
    ///
    /// When the capture has no such row.
    pub fn of(&mut self, server: usize) -> PhaseTimes {
        let span = self.index.row(server);
        let (start, end) = (span.start.0, span.end.0.max(span.start.0));
        self.stack.push(Piece { row: server, start, end });
        while let Some(piece) = self.stack.pop() {
            match self.class_of(piece.row) {
                (phase, true) => self.add(phase, piece.end - piece.start),
                (phase, false) => self.divide(phase, piece),
            }
        }
        let mut by_phase = Vec::with_capacity(self.spent.iter().flatten().count());
        for phase in &self.by_name {
            if let Some(spent) = self.spent[*phase].take() {
                by_phase.push((self.known[*phase].clone(), Duration::from_nanos(spent)));
            }
        }
        PhaseTimes { total: Duration::from_nanos(end - start), by_phase }
    }

    /// Gives the children of a span their parts of its time, and `phase` the rest.
    fn divide(&mut self, phase: PhaseId, span: Piece) {
        let index = self.index;
        let clipped = index.children(span.row).map(|row| {
            let child = index.row(row);
            Piece { row, start: child.start.0.max(span.start), end: child.end.0.min(span.end) }
        });
        self.children.extend(clipped.filter(|child| child.start < child.end));
        // The last to end comes first; of those that end together, the longest.
        self.children.sort_unstable_by_key(|child| (u64::MAX - child.end, child.start, child.row));
        let (mut own, mut left) = (0, span.end);
        for child in self.children.drain(..) {
            if child.start >= left {
                continue;
            }
            let end = child.end.min(left);
            own += left - end;
            left = child.start;
            self.stack.push(Piece { end, ..child });
        }
        self.add(phase, own + (left - span.start));
    }

    fn add(&mut self, phase: PhaseId, nanos: u64) {
        *self.spent[phase].get_or_insert(0) += nanos;
    }

    /// The phase of a span, and whether all below it is of the same phase.
    fn class_of(&mut self, row: usize) -> (PhaseId, bool) {
        let span = self.index.row(row);
        let NameId(name) = span.name;
        match self.classes[name as usize] {
            Class::Call(phase) => (phase, true),
            Class::Work(_) if span.kind == Kind::Server => (self.id(Phase::Server), false),
            Class::Work(phase) => (phase, false),
            Class::Mutating => (self.webhook(row, Phase::mutating), true),
            Class::Validating => (self.webhook(row, Phase::validating), true),
        }
    }

    fn webhook(&mut self, row: usize, phase: fn(&str) -> Phase) -> PhaseId {
        let name = self.index.capture().text(row, contract::WEBHOOK_ATTRIBUTE);
        self.id(phase(name.as_deref().unwrap_or("unnamed")))
    }

    fn class(&mut self, name: &str) -> Class {
        let phase = match name {
            contract::MUTATING_WEBHOOK => return Class::Mutating,
            contract::VALIDATING_WEBHOOK => return Class::Validating,
            contract::AUTHENTICATION => Phase::Authentication,
            contract::AUDIT => Phase::Audit,
            contract::PRIORITY_AND_FAIRNESS => Phase::PriorityAndFairness,
            contract::AUTHORIZATION => Phase::Authorization,
            name if contract::IMPERSONATION.contains(&name) => Phase::Impersonation,
            name if contract::HANDLERS.contains(&name) => Phase::Handler,
            name if contract::SERIALIZATION.contains(&name) => Phase::Serialization,
            name if name.starts_with(contract::CACHE_PREFIX) => Phase::Cache,
            name if name.ends_with(contract::STORAGE_SUFFIX) => Phase::Storage,
            name if name.ends_with(contract::ENVELOPE_SUFFIX) => Phase::Encryption,
            name if name.starts_with(contract::HTTP_CLIENT_PREFIX) => {
                return Class::Call(self.id(Phase::Proxy));
            }
            name if name.starts_with(contract::EGRESS_PREFIX) => return Class::Call(self.id(Phase::Proxy)),
            name => match contract::etcd_rpc(name) {
                Some(rpc) => return Class::Call(self.id(Phase::etcd(rpc))),
                None => Phase::Other,
            },
        };
        Class::Work(self.id(phase))
    }

    fn id(&mut self, phase: Phase) -> PhaseId {
        if let Some(id) = self.ids.get(&phase) {
            return *id;
        }
        let id = self.known.len();
        let place = self.by_name.partition_point(|other| self.known[*other] < phase);
        self.by_name.insert(place, id);
        self.known.push(phase.clone());
        self.spent.push(None);
        self.ids.insert(phase, id);
        id
    }
}

#[cfg(test)]
mod tests;
