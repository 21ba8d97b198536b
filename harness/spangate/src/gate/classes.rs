//! What both configurations keep of each class.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use spangate_trace::{TraceId, stats::Estimate};

use super::{
    observe::{Round, TraceFate},
    paired,
};

/// What both configurations keep of the traces of a class, all rounds together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassRow {
    /// The class.
    pub class: Arc<str>,
    /// Traces that were to be sent.
    pub sent: u64,
    /// Traces of which both Collectors took every span: those that the other figures are of.
    pub traces: u64,
    /// Traces that the old configuration kept.
    pub base: Kept,
    /// Traces that the new one kept.
    pub head: Kept,
    /// Traces that only the old one kept.
    pub only_base: u64,
    /// Traces that only the new one kept.
    pub only_head: u64,
    /// Share that the new one keeps less that of the old one, with its interval ([`paired::difference`]).
    pub difference: Estimate,
    /// Up to three traces that only the old one kept.
    pub lost: Vec<TraceId>,
    /// Up to three traces that only the new one kept.
    pub gained: Vec<TraceId>,
}

/// What a configuration kept of a class, and what it had to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Traces that were kept.
    pub kept: u64,
    /// Traces that must be kept by the configuration.
    pub expected: u64,
    /// Traces of which nobody can tell; all of them, where nothing is foretold.
    pub open: u64,
}

/// Traces of a class that are named at most.
const EXAMPLES: usize = 3;

/// The rows of all classes, in the order of the traffic.
pub(crate) fn rows(classes: &[Arc<str>], rounds: &[Round], confidence: f64) -> Vec<ClassRow> {
    let mut rows: Vec<ClassRow> = classes.iter().map(|class| ClassRow::new(Arc::clone(class))).collect();
    for round in rounds {
        let head = round.head.by_id();
        for base in &round.base.traces {
            let Some(row) = rows.iter_mut().find(|row| row.class == base.class) else { continue };
            row.sent += 1;
            if let Some(head) = head.get(&base.trace).filter(|head| head.whole && base.whole) {
                row.add(base, head);
            }
        }
    }
    for row in &mut rows {
        row.difference = paired::difference(row.traces, row.only_base, row.only_head, confidence);
    }
    rows
}

// === impl ClassRow ===

impl ClassRow {
    fn new(class: Arc<str>) -> Self {
        Self {
            class,
            sent: 0,
            traces: 0,
            base: Kept::default(),
            head: Kept::default(),
            only_base: 0,
            only_head: 0,
            difference: paired::difference(0, 0, 0, 0.5),
            lost: Vec::new(),
            gained: Vec::new(),
        }
    }

    fn add(&mut self, base: &TraceFate, head: &TraceFate) {
        self.traces += 1;
        self.base.add(base);
        self.head.add(head);
        let (count, examples) = match (base.kept, head.kept) {
            (true, false) => (&mut self.only_base, &mut self.lost),
            (false, true) => (&mut self.only_head, &mut self.gained),
            _ => return,
        };
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(base.trace);
        }
    }
}

// === impl Kept ===

impl Kept {
    fn add(&mut self, fate: &TraceFate) {
        self.kept += u64::from(fate.kept);
        self.expected += u64::from(fate.must == Some(true));
        self.open += u64::from(fate.must.is_none());
    }
}
