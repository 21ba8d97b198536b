//! What Collector configs need of a tree: values by their keys, merge keys, and changes.

use std::{collections::HashSet, ops::Range};

use crate::{
    node::{Entry, Node, Value},
    path::{Path, Step},
    read::Mistake,
};

/// The key that puts another mapping's entries into this one (yaml.org/type/merge.html), which the
/// Collector's YAML library knows.
const MERGE: &str = "<<";

impl Node {
    /// The key and the value below these keys, from the outside in.
    pub(super) fn at(&self, keys: &[&str]) -> Option<(Range<usize>, &Node)> {
        let (first, rest) = keys.split_first()?;
        let entry = self.entries()?.iter().find(|entry| entry.key == *first)?;
        if rest.is_empty() { Some((entry.key_span.clone(), &entry.value)) } else { entry.value.at(rest) }
    }

    /// The value below these keys.
    pub(super) fn value_at(&self, keys: &[&str]) -> Option<&Node> {
        Some(self.at(keys)?.1)
    }

    /// The items, if this is a list.
    pub(super) fn items(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            Value::Scalar { .. } | Value::Mapping(_) => None,
        }
    }

    /// Sets the value below these keys; what is not a mapping on the way becomes one.
    pub(super) fn set(&mut self, keys: &[&str], value: Node) {
        let Some((first, rest)) = keys.split_first() else {
            *self = value;
            return;
        };
        if self.entries().is_none() {
            self.value = Value::Mapping(Vec::new());
        }
        let Value::Mapping(entries) = &mut self.value else { return };
        let place = entries.iter().position(|entry| entry.key == *first).unwrap_or_else(|| {
            entries.push(Entry { key: (*first).to_owned(), key_span: 0..0, value: null() });
            entries.len() - 1
        });
        entries[place].value.set(rest, value);
    }

    /// Takes the entry below these keys away.
    pub(super) fn remove(&mut self, keys: &[&str]) -> Option<Node> {
        let (first, rest) = keys.split_first()?;
        let Value::Mapping(entries) = &mut self.value else { return None };
        let place = entries.iter().position(|entry| entry.key == *first)?;
        if rest.is_empty() { Some(entries.remove(place).value) } else { entries[place].value.remove(rest) }
    }

    /// Takes away what `unwanted` says of the items of a list.
    pub(super) fn remove_items(&mut self, unwanted: impl Fn(&Node) -> bool) {
        if let Value::Sequence(items) = &mut self.value {
            items.retain(|item| !unwanted(item));
        }
    }
}

/// Nothing.
pub(super) fn null() -> Node {
    plain("")
}

/// A scalar without quotes: a number or a truth value.
pub(super) fn plain(text: &str) -> Node {
    Node { span: 0..0, value: Value::Scalar { text: text.to_owned(), plain: true } }
}

/// Text.
pub(super) fn text(text: &str) -> Node {
    Node { span: 0..0, value: Value::Scalar { text: text.to_owned(), plain: false } }
}

/// Puts what merge keys stand for in their place. Entries that are there win over merged ones, and earlier
/// merged ones over later ones.
pub(super) fn merge(node: &mut Node) {
    match &mut node.value {
        Value::Scalar { .. } => {}
        Value::Sequence(items) => items.iter_mut().for_each(merge),
        Value::Mapping(entries) => {
            for entry in entries.iter_mut() {
                merge(&mut entry.value);
            }
            let (merged, mut own): (Vec<Entry>, Vec<Entry>) =
                std::mem::take(entries).into_iter().partition(|entry| entry.key == MERGE);
            for entry in merged.into_iter().flat_map(|entry| sources(entry.value)) {
                if own.iter().all(|before| before.key != entry.key) {
                    own.push(entry);
                }
            }
            *entries = own;
        }
    }
}

/// The entries of the mapping or mappings that a merge key names.
fn sources(node: Node) -> Vec<Entry> {
    match node.value {
        Value::Scalar { .. } => Vec::new(),
        Value::Mapping(entries) => entries,
        Value::Sequence(items) => items.into_iter().flat_map(sources).collect(),
    }
}

/// Notes keys that are given more than once, which the Collector's YAML library refuses.
pub(super) fn repeated(node: &Node, path: &Path, mistakes: &mut Vec<Mistake>) {
    match &node.value {
        Value::Scalar { .. } => {}
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                repeated(item, &path.index(index), mistakes);
            }
        }
        Value::Mapping(entries) => {
            let mut seen = HashSet::new();
            for entry in entries {
                let path = path.clone().then(Step::Key(entry.key.clone()));
                if !seen.insert(entry.key.as_str()) {
                    let message = format!("the key `{}` is given more than once", entry.key);
                    let help = Some("join the two".to_owned());
                    // An alias repeats what is wrong with its anchor.
                    let mistake = Mistake { path, span: entry.key_span.clone(), message, help };
                    if mistakes.iter().all(|before| before.span != mistake.span) {
                        mistakes.push(mistake);
                    }
                    continue;
                }
                repeated(&entry.value, &path, mistakes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    fn read(text: &str) -> Node {
        yaml::parse(text).unwrap().unwrap()
    }

    #[test]
    fn merge_keys_give_way_to_what_is_there() {
        let mut root = read("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\n");
        merge(&mut root);
        let found = |key| root.value_at(&["c", key]).and_then(Node::text);
        assert_eq!([found("x"), found("y"), found("z")], [Some("3"), Some("1"), Some("2")]);
        assert_eq!(found("<<"), None);
    }

    #[test]
    fn values_are_set_and_taken_away() {
        let mut root = read("a: {b: 1}\nc:\n");
        root.set(&["a", "b"], plain("2"));
        root.set(&["c", "d", "e"], text("x"));
        assert_eq!(root.value_at(&["a", "b"]).and_then(Node::text), Some("2"));
        assert_eq!(root.remove(&["c", "d", "e"]).as_ref().and_then(Node::text), Some("x"));
        assert_eq!(root.remove(&["c", "f"]), None);
    }

    #[test]
    fn repeated_keys_are_told_once() {
        let mut mistakes = Vec::new();
        repeated(&read("a: &a [{b: 1, b: 2}]\nc: *a\n"), &Path::root(), &mut mistakes);
        let paths: Vec<String> = mistakes.iter().map(|mistake| mistake.path.to_string()).collect();
        assert_eq!(paths, ["a[0].b"]);
    }
}
