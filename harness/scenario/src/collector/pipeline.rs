//! Pipelines: which components the data goes through, and in which order.

use std::ops::Range;

use super::{Id, Section};

/// A mention of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub(super) id: Id,
    pub(super) span: Range<usize>,
}

/// A pipeline of `service.pipelines`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    pub(super) id: Id,
    pub(super) span: Range<usize>,
    pub(super) receivers: Vec<Reference>,
    pub(super) processors: Vec<Reference>,
    pub(super) exporters: Vec<Reference>,
}

// === impl Reference ===

impl Reference {
    /// The component.
    pub const fn id(&self) -> &Id {
        &self.id
    }

    /// Bytes of the mention.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

// === impl Pipeline ===

impl Pipeline {
    /// Its id, such as `traces/sampled`.
    pub const fn id(&self) -> &Id {
        &self.id
    }

    /// What flows through it: `traces`, `metrics`, `logs` or `profiles`.
    pub fn signal(&self) -> &str {
        self.id.kind()
    }

    /// Bytes of the key that defines it.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where its data comes from: receivers and connectors.
    pub fn receivers(&self) -> &[Reference] {
        &self.receivers
    }

    /// What is done with the data, in order.
    pub fn processors(&self) -> &[Reference] {
        &self.processors
    }

    /// Where its data goes: exporters and connectors.
    pub fn exporters(&self) -> &[Reference] {
        &self.exporters
    }

    /// All mentions, each with the section that defines such components when no connector does.
    pub fn references(&self) -> impl Iterator<Item = (Section, &Reference)> {
        let receivers = self.receivers.iter().map(|reference| (Section::Receivers, reference));
        let processors = self.processors.iter().map(|reference| (Section::Processors, reference));
        let exporters = self.exporters.iter().map(|reference| (Section::Exporters, reference));
        receivers.chain(processors).chain(exporters)
    }
}
