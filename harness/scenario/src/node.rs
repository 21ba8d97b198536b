//! A YAML document as a tree in which every node knows its place in the text.

use std::ops::Range;

/// A node and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Bytes of the text. A scalar's include its quotes; a block collection's are empty, at its start.
    pub(crate) span: Range<usize>,
    /// What is written there.
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// A scalar: its text, and whether it was written without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping, in the order of the text, repeated keys included.
    Mapping(Vec<Entry>),
}

/// A key of a mapping and what it stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// Bytes of the key.
    pub(crate) key_span: Range<usize>,
    /// The value.
    pub(crate) value: Node,
}

/// A scalar by YAML 1.2's core schema: `yes`, `on` and `0777` are text, decimal numbers are numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
}

// === impl Node ===

impl Node {
    /// The scalar written here, if it is one.
    pub(crate) fn scalar(&self) -> Option<Scalar<'_>> {
        match &self.value {
            Value::Scalar { text, plain: true } => Some(resolve(text)),
            Value::Scalar { text, plain: false } => Some(Scalar::Text(text)),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// The text of a scalar, quotes left out.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// Whether quotes make this text, and without them it would be a number or a truth value.
    pub(crate) fn is_quoted_value(&self) -> bool {
        match &self.value {
            Value::Scalar { text, plain: false } => !matches!(resolve(text), Scalar::Text(_) | Scalar::Null),
            Value::Scalar { .. } | Value::Sequence(_) | Value::Mapping(_) => false,
        }
    }

    /// The entries, if this is a mapping.
    pub(crate) fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            Value::Scalar { .. } | Value::Sequence(_) => None,
        }
    }

    /// Whether nothing is written here: `key:` with no value, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        self.scalar() == Some(Scalar::Null)
    }

    /// Bytes to point at in a message about this node: itself, or the key that it belongs to when it is a
    /// block or not there at all.
    pub(crate) fn head(&self, key: Option<&Range<usize>>) -> Range<usize> {
        match (key, self.entries()) {
            _ if !self.span.is_empty() => self.span.clone(),
            (Some(key), _) => key.clone(),
            (None, Some([first, ..])) => first.key_span.clone(),
            (None, _) => self.span.clone(),
        }
    }

    /// What is written here, for a message: ``the number `1.37` ``, `a list`.
    pub(crate) fn describe(&self) -> String {
        match (&self.value, self.scalar()) {
            (Value::Sequence(_), _) => "a list".to_owned(),
            (Value::Mapping(_), _) => "a mapping".to_owned(),
            (_, Some(Scalar::Null)) => "nothing".to_owned(),
            (Value::Scalar { text, .. }, Some(Scalar::Text(_))) if self.is_quoted_value() => {
                format!("the text `{}`", shorten(text))
            }
            (Value::Scalar { text, .. }, Some(Scalar::Text(_))) => format!("`{}`", shorten(text)),
            (Value::Scalar { text, .. }, Some(Scalar::Bool(_))) => format!("the truth value `{text}`"),
            (Value::Scalar { text, .. }, _) => format!("the number `{}`", shorten(text)),
        }
    }
}

/// The first line of a text, and not too much of it.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(LONGEST).collect();
    if short.len() < text.trim_end().len() {
        short.push_str("...");
    }
    short
}

/// Resolves a plain scalar (YAML 1.2.2, section 10.3.2, without octal and hexadecimal numbers, which
/// nobody means in a scenario).
fn resolve(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    // Rust also reads "inf", "nan" and "infinity" as numbers; YAML does not.
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !digits.contains(char::is_numeric) {
        return Scalar::Text(text);
    }
    let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole && digits.len() > 1 && digits.starts_with('0') {
        return Scalar::Text(text);
    }
    if let Ok(number) = text.parse() {
        return Scalar::Unsigned(number);
    }
    if let Ok(number) = text.parse() {
        return Scalar::Signed(number);
    }
    text.parse().map_or(Scalar::Text(text), Scalar::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, scalar) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("true", Scalar::Bool(true)),
            ("12", Scalar::Unsigned(12)),
            ("-12", Scalar::Signed(-12)),
            ("1.5", Scalar::Float(1.5)),
            (".5e1", Scalar::Float(5.0)),
            ("18446744073709551616", Scalar::Float(18_446_744_073_709_551_616.0)),
        ] {
            assert_eq!(resolve(text), scalar, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_truth_value_or_a_number_is_text() {
        for text in
            ["yes", "no", "on", "inf", "nan", "-inf", ".", "-", "0777", "0x1f", "1.37.2", "150ms", "50/s"]
        {
            assert_eq!(resolve(text), Scalar::Text(text), "{text}");
        }
    }

    #[test]
    fn descriptions_are_short() {
        let node =
            |text: &str| Node { span: 0..0, value: Value::Scalar { text: text.to_owned(), plain: true } };
        assert_eq!(node("1.37").describe(), "the number `1.37`");
        assert_eq!(node("true").describe(), "the truth value `true`");
        assert_eq!(node("").describe(), "nothing");
        assert_eq!(node("one\ntwo\n").describe(), "`one...`");
        let quoted =
            |text: &str| Node { span: 0..0, value: Value::Scalar { text: text.to_owned(), plain: false } };
        assert_eq!(quoted("true").describe(), "the text `true`");
        assert_eq!(quoted("yes").describe(), "`yes`");
        assert_eq!(quoted("").describe(), "``");
    }
}
