//! A place in a configuration: what is written there, and where that is.

use std::{ops::Range, time::Duration};

use crate::{
    node::{Node, Scalar},
    path::{Path, Step},
};

/// A node, the way to it, and the key that it belongs to.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'c> {
    pub(super) path: Path,
    pub(super) node: &'c Node,
    key: Option<Range<usize>>,
}

// === impl Cursor ===

impl<'c> Cursor<'c> {
    pub(super) const fn root(node: &'c Node) -> Self {
        Self { path: Path::root(), node, key: None }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        self.entries().find_map(|(name, value)| (name == key).then_some(value))
    }

    /// The value below several keys.
    pub(super) fn at(&self, keys: &[&str]) -> Option<Self> {
        keys.iter().try_fold(self.clone(), |cursor, key| cursor.get(key))
    }

    /// The entries of a mapping.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'c str, Self)> + use<'c> {
        let path = self.path.clone();
        self.node.entries().unwrap_or_default().iter().map(move |entry| {
            let path = path.clone().then(Step::Key(entry.key.clone()));
            (entry.key.as_str(), Self { path, node: &entry.value, key: Some(entry.key_span.clone()) })
        })
    }

    /// The items of a list.
    pub(super) fn items(&self) -> impl Iterator<Item = Self> + use<'c> {
        let path = self.path.clone();
        let items = self.node.items().unwrap_or_default().iter().enumerate();
        items.map(move |(index, node)| Self { path: path.index(index), node, key: None })
    }

    /// One step further: an item if it is a number and this is a list, and a key otherwise.
    pub(super) fn step(&self, key: &str) -> Option<Self> {
        let item = key.parse().ok().and_then(|index| self.items().nth(index));
        item.or_else(|| self.get(key))
    }

    /// Steps from the root.
    pub(super) fn depth(&self) -> usize {
        self.path.steps().len()
    }

    /// What is directly below.
    pub(super) fn children(&self) -> impl Iterator<Item = Self> + use<'c> {
        self.entries().map(|(_, value)| value).chain(self.items())
    }

    /// Whether a scalar here or below says this.
    pub(super) fn mentions(&self, text: &str) -> bool {
        self.node.text().is_some_and(|given| given.contains(text))
            || self.children().any(|child| child.mentions(text))
    }

    /// Whether a byte belongs to what is written here or below.
    pub(super) fn covers(&self, byte: usize) -> bool {
        let keyed = self.key.as_ref().is_some_and(|key| key.contains(&byte));
        keyed || self.node.span.contains(&byte) || self.children().any(|child| child.covers(byte))
    }

    /// Bytes to point at: the value, or its key if the value is a block or not there.
    pub(super) fn span(&self) -> Range<usize> {
        if self.node.is_null()
            && let Some(key) = &self.key
        {
            return key.clone();
        }
        self.node.head(self.key.as_ref())
    }

    /// Bytes of the key, or of the value if it has none.
    pub(super) fn key_span(&self) -> Range<usize> {
        self.key.clone().unwrap_or_else(|| self.span())
    }

    /// A scalar as it is written.
    pub(super) fn text(&self) -> Option<&'c str> {
        self.node.text().filter(|_| !self.node.is_null())
    }

    /// A number.
    pub(super) fn number(&self) -> Option<f64> {
        match self.node.scalar()? {
            Scalar::Unsigned(number) => Some(number as f64),
            Scalar::Signed(number) => Some(number as f64),
            Scalar::Float(number) => Some(number),
            Scalar::Null | Scalar::Bool(_) | Scalar::Text(_) => None,
        }
    }

    /// A truth value.
    pub(super) fn truth(&self) -> Option<bool> {
        match self.node.scalar()? {
            Scalar::Bool(truth) => Some(truth),
            _ => None,
        }
    }

    /// A duration as Go writes it, such as `1m30s`.
    pub(super) fn duration(&self) -> Option<Duration> {
        duration(self.text()?)
    }
}

/// Reads what Go's `time.ParseDuration` reads, without signs: nothing here may be negative.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number * unit;
        rest = &rest[letters..];
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(seconds).ok() }
}

/// A duration as a person would write it: `66s`, `1.5s`, `200ms`.
pub(super) fn shown(duration: Duration) -> String {
    if duration >= Duration::from_secs(1) {
        format!("{}s", duration.as_secs_f64())
    } else {
        format!("{}ms", duration.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, millis) in
            [("10s", 10_000), ("1m30s", 90_000), ("200ms", 200), ("1.5s", 1500), ("1h", 3_600_000), ("0", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "10 s", "${env:WAIT}", "-1s", "1d", "."] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(duration("100us"), Some(Duration::from_micros(100)));
    }

    #[test]
    fn durations_are_shown_short() {
        assert_eq!(shown(Duration::from_secs(66)), "66s");
        assert_eq!(shown(Duration::from_millis(1500)), "1.5s");
        assert_eq!(shown(Duration::from_millis(200)), "200ms");
    }
}
