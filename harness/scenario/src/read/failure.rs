//! Why a part of a tree could not be read.

use std::fmt;

use serde::de;

use crate::{node::Node, suggest, units};

/// The error of the deserializer; [`Reader::part`](super::Reader::part) turns it into a mistake.
#[derive(Debug)]
pub(super) enum Failure {
    /// A part of the node was noted and set aside; without it the node may do.
    Noted,
    /// The node cannot do without what was set aside or reported as missing before.
    Incomplete,
    /// The node is not what is expected here.
    Expected { what: String, help: Option<String> },
    /// A key that must be there is not.
    Missing(&'static str),
    /// Anything else.
    Other { message: String, help: Option<String> },
}

// === impl Failure ===

impl Failure {
    /// The node is not `what`.
    pub(super) fn expected(what: impl Into<String>) -> Self {
        Self::Expected { what: what.into(), help: None }
    }

    /// Message and help, unless they were noted before.
    pub(super) fn text(self, node: &Node) -> Option<(String, Option<String>)> {
        match self {
            Self::Noted | Self::Incomplete => None,
            Self::Expected { what, help } => {
                let text = node.text().unwrap_or_default();
                let help =
                    help.or_else(|| units::hint(&what, text).map(|hint| format!("did you mean {hint}")));
                Some((format!("expected {what}, got {}", node.describe()), help))
            }
            Self::Missing(key) => Some((format!("the key `{key}` is missing"), None)),
            Self::Other { message, help } => Some((message, help)),
        }
    }
}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        match message.split_once(units::HINT) {
            Some((message, hint)) => {
                Self::Other { message: message.to_owned(), help: Some(format!("did you mean {hint}")) }
            }
            None => Self::Other { message, help: None },
        }
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::expected(expected.to_string())
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::expected(expected.to_string())
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::Other {
            message: format!("unknown value `{variant}`"),
            help: Some(suggest::help(variant, known)),
        }
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::Other { message: format!("unknown key `{key}`"), help: Some(suggest::help(key, known)) }
    }

    fn missing_field(key: &'static str) -> Self {
        Self::Missing(key)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Noted | Self::Incomplete => f.write_str("noted before"),
            Self::Expected { what, .. } => write!(f, "expected {what}"),
            Self::Missing(key) => write!(f, "the key `{key}` is missing"),
            Self::Other { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for Failure {}
