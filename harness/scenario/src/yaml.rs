//! YAML to a tree with places, and a model to YAML.
//!
//! This is the only file that names the YAML library, which is young: whoever replaces it replaces this
//! file. The tree is built from the parser's events and not by the library's serde front end, because that
//! one stops at the first mistake, and a user wants to see all of them.

use std::{collections::HashMap, ops::Range};

use serde::Serialize;
use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span};

use crate::node::{Entry, Node, Value};

/// Mappings and lists within each other; a scenario has about ten.
const MAX_DEPTH: usize = 64;

/// Nodes of a document after aliases are put in. A short text cannot become a huge tree, and a tree is read
/// once for each of its mistakes.
const MAX_NODES: usize = 50_000;

/// Text that is not YAML, or YAML that scenarios do not use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// What is wrong.
    pub(crate) message: String,
    /// Bytes of the text.
    pub(crate) span: Range<usize>,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

/// Reads one document. `None` is a text without one: empty, or comments only.
pub(crate) fn parse(text: &str) -> Result<Option<Node>, SyntaxError> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder { text, open: Vec::new(), anchors: HashMap::new(), root: None, nodes: 0 };
    for event in parser {
        let (event, span) = event.map_err(|error| scan_error(text, &error))?;
        builder.take(event, &span)?;
    }
    Ok(builder.root)
}

/// Writes a model as YAML.
pub(crate) fn write<T: Serialize>(model: &T) -> Result<String, String> {
    serde_saphyr::to_string(model).map_err(|error| error.to_string())
}

/// Builds the tree from the parser's events.
struct Builder<'a> {
    text: &'a str,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

/// A collection whose end was not seen yet.
struct Open {
    node: Node,
    anchor: usize,
    /// In a mapping: the key whose value comes next.
    key: Option<(String, Range<usize>)>,
}

// === impl Builder ===

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), SyntaxError> {
        let place = bytes(self.text, span);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(refuse("a file holds one document, but here a second one begins", place)
                    .help("put it into a file of its own"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                untagged(tag.is_some(), self.text, span)?;
                let plain = style == ScalarStyle::Plain;
                // The parser calls a value that is not there `~`.
                let text = if plain && place.is_empty() { String::new() } else { text.into_owned() };
                self.add(Node { span: place, value: Value::Scalar { text, plain } }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                untagged(tag.is_some(), self.text, span)?;
                self.open(Node { span: place, value: Value::Sequence(Vec::new()) }, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                untagged(tag.is_some(), self.text, span)?;
                self.open(Node { span: place, value: Value::Mapping(Vec::new()) }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { mut node, anchor, .. }) => {
                    // Only flow collections have an end of their own; those on one line are shown whole.
                    let whole = node.span.start..place.end;
                    if !place.is_empty() && !self.text[whole.clone()].contains('\n') {
                        node.span = whole;
                    }
                    self.add(node, anchor)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    let node = node.clone();
                    self.count(size(&node), &place)?;
                    self.add(node, 0)
                }
                None => Err(refuse("this alias stands for something that it is part of", place)),
            },
            _ => Ok(()),
        }
    }

    fn open(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(refuse(
                format!("more than {MAX_DEPTH} mappings and lists within each other"),
                node.span,
            ));
        }
        if let Some(Open { node: Node { value: Value::Mapping(_), .. }, key: None, .. }) = self.open.last() {
            return Err(refuse("a key must be text, not a mapping or list", node.span));
        }
        self.open.push(Open { node, anchor, key: None });
        Ok(())
    }

    /// Adds a finished node to the collection that is open.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        self.count(1, &node.span)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::Sequence(items), _) => items.push(node),
            (Value::Mapping(entries), Some((key, key_span))) => {
                entries.push(Entry { key, key_span, value: node });
            }
            (Value::Mapping(_), None) => match node.value {
                Value::Scalar { text, .. } => open.key = Some((text, node.span)),
                Value::Sequence(_) | Value::Mapping(_) => {
                    return Err(refuse("a key must be text, not a mapping or list", node.span));
                }
            },
            (Value::Scalar { .. }, _) => {}
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, place: &Range<usize>) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(refuse(format!("the file has more than {MAX_NODES} values"), place.clone()));
        }
        Ok(())
    }
}

/// Nodes of a tree.
fn size(node: &Node) -> usize {
    match &node.value {
        Value::Scalar { .. } => 1,
        Value::Sequence(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Mapping(entries) => 1 + entries.iter().map(|entry| size(&entry.value)).sum::<usize>(),
    }
}

/// Refuses tags: neither scenarios nor Collector configs have types to name.
fn untagged(tagged: bool, text: &str, span: &Span) -> Result<(), SyntaxError> {
    if !tagged {
        return Ok(());
    }
    let place = bytes(text, &span.tag_span().unwrap_or(*span));
    Err(refuse("tags have no meaning here", place).help("leave the tag out; quote text to keep it text"))
}

/// The bytes of a span; the end of the text if the parser does not know them.
fn bytes(text: &str, span: &Span) -> Range<usize> {
    let range = span.byte_range().unwrap_or(text.len()..text.len());
    let start = floor(text, range.start);
    start..floor(text, range.end).max(start)
}

/// The character boundary at or before an offset.
fn floor(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset.min(text.len()))
}

// === impl SyntaxError ===

impl SyntaxError {
    fn help(mut self, help: &str) -> Self {
        self.help = Some(help.to_owned());
        self
    }
}

fn refuse(message: impl Into<String>, span: Range<usize>) -> SyntaxError {
    SyntaxError { message: message.into(), span, help: None }
}

/// The parser's error at its place, with a hint for what people run into.
fn scan_error(text: &str, error: &ScanError) -> SyntaxError {
    let start = floor(text, error.marker().byte_offset().unwrap_or(text.len()));
    let rest = &text[start..];
    let end = start + rest.chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
    let mut refused = refuse(format!("not YAML: {}", error.info()), start..end);
    refused.help = if rest.starts_with('*') {
        Some("a `*` begins an alias; to mean the star itself, quote it: \"*\"".to_owned())
    } else if rest.starts_with(['@', '`', '%']) {
        Some("text that begins with this character must be quoted".to_owned())
    } else if let Some(bound) = unquoted_bound(text, start, &error.info()) {
        Some(format!("text that begins with `>` is a block of lines; to mean a bound, quote it: \"{bound}\""))
    } else if rest.starts_with('\t') {
        Some("indent with spaces".to_owned())
    } else {
        None
    };
    refused
}

/// The bound without quotes, such as `>= 80%`, that an error at `place` is about.
fn unquoted_bound<'t>(text: &'t str, place: usize, error: &str) -> Option<&'t str> {
    // Outside of brackets a block of lines begins before the place, within them none may begin.
    if !error.contains("block scalar") && !text[place..].starts_with('>') {
        return None;
    }
    let start = text[..place].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next()?;
    let begin = [": >", "- >"].into_iter().find_map(|before| line.find(before))? + 2;
    // It ends at a comment, or in brackets where the next value begins.
    line[begin..].split([',', '}', ']', '#']).next().map(str::trim_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Node {
        parse(text).unwrap().unwrap()
    }

    fn refusal(text: &str) -> (String, String) {
        let error = parse(text).unwrap_err();
        (error.message, text[error.span].to_owned())
    }

    #[test]
    fn nodes_know_their_bytes() {
        let text = "a: 'x y'\nb:\n  - {c: \"d\"}\n";
        let root = read(text);
        let entries = root.entries().unwrap();
        assert_eq!(&text[entries[1].key_span.clone()], "b");
        assert_eq!(&text[entries[0].value.span.clone()], "'x y'");
        let Value::Sequence(items) = &entries[1].value.value else { panic!("not a list") };
        assert_eq!(&text[items[0].span.clone()], "{c: \"d\"}");
    }

    #[test]
    fn repeated_keys_are_kept() {
        assert_eq!(read("a: 1\na: 2\n").entries().unwrap().len(), 2);
    }

    #[test]
    fn no_document_is_none() {
        for text in ["", "\n", "# only a comment\n"] {
            assert_eq!(parse(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn aliases_repeat_their_anchor() {
        let root = read("a: &x [1, 2]\nb: *x\n");
        let entries = root.entries().unwrap();
        assert_eq!(entries[0].value, entries[1].value);
    }

    #[test]
    fn what_scenarios_do_not_use_is_refused_at_its_place() {
        for (text, message, place) in [
            ("a: 1\n---\nb: 2\n", "a file holds one document, but here a second one begins", "---"),
            ("a: !!str 1\n", "tags have no meaning here", "!!str"),
            ("[a]: 1\n", "a key must be text, not a mapping or list", "["),
            ("a: &x [*x]\n", "this alias stands for something that it is part of", "*x"),
        ] {
            assert_eq!(refusal(text), (message.to_owned(), place.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_bare_star_is_explained() {
        let error = parse("resources: [*]\n").unwrap_err();
        assert!(error.help.unwrap().contains("quote it"));
    }

    #[test]
    fn a_bound_without_quotes_is_explained() {
        for (text, bound) in [
            ("a:\n  share: >= 80%\n", ">= 80%"),
            ("a:\n  share: >= 80% # most\n  b: 1\n", ">= 80%"),
            ("a: {count: > 0, b: c}\n", "> 0"),
            ("count: >0\n", ">0"),
        ] {
            let error = parse(text).unwrap_err();
            let help = error.help.unwrap_or_default();
            assert!(help.ends_with(&format!("quote it: \"{bound}\"")), "{text:?}: {} {help}", error.message);
        }
    }

    #[test]
    fn aliases_cannot_grow_without_end() {
        let level = |level: usize| {
            let list = vec![format!("*a{level}"); 10].join(", ");
            format!("a{0}: &a{0} [{list}]\n", level + 1)
        };
        let text: String = std::iter::once("a0: &a0 x\n".to_owned()).chain((0..10).map(level)).collect();
        assert_eq!(parse(&text).unwrap_err().message, "the file has more than 50000 values");
    }

    #[test]
    fn depth_is_limited() {
        assert!(parse(&"[".repeat(10_000)).is_err());
        assert!(parse(&"- ".repeat(10_000)).is_err());
    }
}
