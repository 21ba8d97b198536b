//! A tree as YAML again, so that every value means what it meant before.
//!
//! What was written without quotes is written without them, so that a reader resolves it as it would have
//! resolved the original, by whatever schema it goes. Everything else is text and is quoted.

use std::fmt::Write;

use crate::node::{Node, Value};

/// Spaces of one level.
const INDENT: usize = 2;

/// The whole document.
pub(super) fn document(root: &Node) -> String {
    let mut out = String::new();
    match &root.value {
        Value::Mapping(entries) if !entries.is_empty() => block(&mut out, root, 0),
        Value::Sequence(items) if !items.is_empty() => block(&mut out, root, 0),
        _ => out = format!("{}\n", inline(root)),
    }
    out
}

/// A node on one line, for a message.
pub(super) fn inline(node: &Node) -> String {
    match &node.value {
        Value::Scalar { text, plain } => scalar(text, *plain),
        Value::Sequence(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Mapping(entries) => {
            let entries =
                entries.iter().map(|entry| format!("{}: {}", key(&entry.key), inline(&entry.value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A collection that is not empty, each entry on a line of its own.
fn block(out: &mut String, node: &Node, indent: usize) {
    match &node.value {
        Value::Scalar { .. } => {}
        Value::Sequence(items) => {
            for item in items {
                out.push_str(&" ".repeat(indent));
                out.push('-');
                below(out, item, indent);
            }
        }
        Value::Mapping(entries) => {
            for entry in entries {
                // Writing to a string does not fail.
                let _ = write!(out, "{}{}:", " ".repeat(indent), key(&entry.key));
                below(out, &entry.value, indent);
            }
        }
    }
}

/// What stands after `key:` or `-`.
fn below(out: &mut String, node: &Node, indent: usize) {
    let empty = match &node.value {
        Value::Scalar { .. } => true,
        Value::Sequence(items) => items.is_empty(),
        Value::Mapping(entries) => entries.is_empty(),
    };
    if !empty {
        out.push('\n');
        block(out, node, indent + INDENT);
        return;
    }
    let line = inline(node);
    if !line.is_empty() {
        out.push(' ');
        out.push_str(&line);
    }
    out.push('\n');
}

fn scalar(text: &str, plain: bool) -> String {
    // A plain scalar over several lines is text in any schema.
    if plain && !text.contains('\n') { text.to_owned() } else { quoted(text) }
}

/// Keys are text whatever they look like, but most need no quotes.
fn key(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { quoted(text) }
}

/// Text in double quotes, with everything that some reader might take for a line break escaped.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || ('\u{2028}'..='\u{2029}').contains(&c) || c == '\u{feff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::yaml;

    fn bare(node: &Node) -> Node {
        let value = match &node.value {
            Value::Scalar { text, plain } => {
                Value::Scalar { text: text.clone(), plain: *plain && !text.contains('\n') }
            }
            Value::Sequence(items) => Value::Sequence(items.iter().map(bare).collect()),
            Value::Mapping(entries) => Value::Mapping(
                entries
                    .iter()
                    .map(|entry| crate::node::Entry {
                        key: entry.key.clone(),
                        key_span: 0..0,
                        value: bare(&entry.value),
                    })
                    .collect(),
            ),
        };
        Node { span: 0..0, value }
    }

    #[track_caller]
    fn survives(text: &str) {
        let Ok(Some(root)) = yaml::parse(text) else { panic!("not YAML: {text}") };
        let written = document(&root);
        let again = yaml::parse(&written).unwrap().unwrap_or_else(super::super::tree::null);
        assert_eq!(bare(&again), bare(&root), "{written}");
    }

    #[test]
    fn values_survive() {
        survives("a: 10s\nb: '10'\nc: \"${env:X}\"\nd: ${env:X:-a}:4317\ne:\nf: ~\ng: []\nh: {}\n");
        survives("a: |\n  one\n  two\nb: >-\n  one\n\n  two\nc: one\n  two\n\n  three\n");
        survives("- - a\n  - {b: c}\n-\n- d: [1, 0x1f, 0777, 1_000, yes, no]\n");
        survives("'true': \"\\u2028 \\t \\\\ \\\" \\u0001\"\n'a: b': '# not a comment'\n'': ''\n");
        survives("x");
    }

    proptest! {
        #[test]
        fn any_text_survives(text in "\\PC*|[ -~\n\t\u{85}\u{2028}\u{feff}]{0,20}", key in "\\PC{0,8}") {
            let value = Value::Mapping(vec![crate::node::Entry {
                key,
                key_span: 0..0,
                value: super::super::tree::text(&text),
            }]);
            let node = Node { span: 0..0, value };
            prop_assert_eq!(bare(&yaml::parse(&document(&node)).unwrap().unwrap()), node);
        }
    }
}
