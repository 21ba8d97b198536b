//! Components: receivers, processors, exporters, connectors and extensions, and how they are named.

use std::{fmt, ops::Range};

use crate::node::Node;

/// A part of the file that defines components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Section {
    /// `receivers`: where telemetry comes in.
    Receivers,
    /// `processors`: what is done with it.
    Processors,
    /// `exporters`: where it goes.
    Exporters,
    /// `connectors`: an exporter of one pipeline and a receiver of another.
    Connectors,
    /// `extensions`: what has no part in pipelines.
    Extensions,
}

/// The id of a component: its type, and a name if there are several of the type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    kind: String,
    name: String,
}

/// A component as it is defined.
#[derive(Debug, Clone)]
pub struct Component {
    pub(super) section: Section,
    pub(super) id: Id,
    pub(super) span: Range<usize>,
    pub(super) body: Node,
}

// === impl Section ===

impl Section {
    /// All of them, in the order of the data.
    pub const ALL: [Self; 5] =
        [Self::Receivers, Self::Processors, Self::Exporters, Self::Connectors, Self::Extensions];

    /// The key of the file.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Receivers => "receivers",
            Self::Processors => "processors",
            Self::Exporters => "exporters",
            Self::Connectors => "connectors",
            Self::Extensions => "extensions",
        }
    }

    /// One component of it, for a message: `receiver`.
    pub const fn singular(self) -> &'static str {
        match self {
            Self::Receivers => "receiver",
            Self::Processors => "processor",
            Self::Exporters => "exporter",
            Self::Connectors => "connector",
            Self::Extensions => "extension",
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

// === impl Id ===

/// Letters of the longest type (component/identifiable.go of the Collector's component module, v1.67.0).
const LONGEST_TYPE: usize = 63;

impl Id {
    /// Reads `type` or `type/name`. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once('/') {
            Some((_, name)) if name.trim().is_empty() => {
                return Err(format!("the id `{text}` has nothing after the slash"));
            }
            Some((kind, name)) => (kind.trim(), name.trim()),
            None => (text.trim(), ""),
        };
        let fits = kind.starts_with(|c: char| c.is_ascii_alphabetic())
            && kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && kind.len() <= LONGEST_TYPE;
        if !fits {
            return Err(format!("`{kind}` cannot be a type of component"));
        }
        Ok(Self { kind: kind.to_owned(), name: name.to_owned() })
    }

    /// The type: `otlp` of `otlp/backend`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The name: `backend` of `otlp/backend`, and empty for `otlp`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same name with another type.
    #[must_use]
    pub fn with_kind(&self, kind: &str) -> Self {
        Self { kind: kind.to_owned(), name: self.name.clone() }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, "/{}", self.name) }
    }
}

// === impl Component ===

impl Component {
    /// Where it is defined.
    pub const fn section(&self) -> Section {
        self.section
    }

    /// Its id.
    pub const fn id(&self) -> &Id {
        &self.id
    }

    /// Bytes of the key that defines it.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The text of a scalar of its body, by the keys from the outside in.
    pub fn text(&self, keys: &[&str]) -> Option<&str> {
        self.body.at(keys)?.1.text()
    }

    /// Bytes of a key of its body, by the keys from the outside in.
    pub fn key_span(&self, keys: &[&str]) -> Option<Range<usize>> {
        Some(self.body.at(keys)?.0)
    }

    /// Bytes of the value of a key of its body; those of the key if the value is a block.
    pub fn value_span(&self, keys: &[&str]) -> Option<Range<usize>> {
        let (key, value) = self.body.at(keys)?;
        Some(value.head(Some(&key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_a_type_and_may_have_a_name() {
        let id = Id::parse("otlp/back end").unwrap();
        assert_eq!((id.kind(), id.name(), id.to_string().as_str()), ("otlp", "back end", "otlp/back end"));
        assert_eq!(Id::parse("otlp_grpc").unwrap().to_string(), "otlp_grpc");
        assert_eq!(id.with_kind("otlp_grpc").to_string(), "otlp_grpc/back end");
        for text in ["", "otlp/", "1otlp", "otlp-grpc", "/x", &"x".repeat(64)] {
            assert!(Id::parse(text).is_err(), "{text}");
        }
    }
}
