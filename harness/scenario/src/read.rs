//! Reads a model from a tree, and finds all mistakes of the tree in doing so.
//!
//! Serde stops at the first mistake. So when a part of the tree cannot be read, it is noted, set aside, and
//! the whole is read again without it, until what is left can be read or nothing is left. Every attempt sets
//! at least one more node aside, so there are about as many attempts as mistakes; a file without mistakes is
//! read once.

use std::{cell::RefCell, collections::HashSet, ops::Range};

use serde::de::DeserializeOwned;

use crate::{
    node::{Node, Value},
    path::{Path, Step},
    validate::Finding,
};
use deserializer::NodeDeserializer;
use failure::Failure;

mod access;
mod deserializer;
mod failure;
mod required;

/// Mistakes that are shown; whoever has more has another problem.
pub(crate) const MAX_MISTAKES: usize = 50;

/// A mistake in a file and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Where in the scenario.
    pub(crate) path: Path,
    /// Bytes of the text.
    pub(crate) span: Range<usize>,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    mistakes: RefCell<Vec<Mistake>>,
    /// Nodes that cannot be read. They are told apart by where they are in memory: the tree does not move.
    aside: RefCell<HashSet<*const Node>>,
    /// Whether the model is somebody else's and only names what it needs.
    foreign: bool,
}

/// The place of a node: where reading began, or a step from the place above.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    /// Reading began here; the bytes are those of the key that the node belongs to.
    Start(&'a Path, Option<&'a Range<usize>>),
    /// The value of a key, and the bytes of the key.
    Key(&'a Place<'a>, &'a str, &'a Range<usize>),
    /// An item of a list.
    Index(&'a Place<'a>, usize),
}

// === impl Reader ===

impl Reader {
    /// A reader of formats that are not ours, such as a Collector's configuration. What the model does not
    /// name is passed over unless the model itself denies it, a value that is left empty is the default, and
    /// the schema of scenarios has no say.
    pub(crate) fn foreign() -> Self {
        Self { foreign: true, ..Self::default() }
    }

    /// Reads a model from the part of the tree at `path`, as far as it can be read.
    pub(crate) fn read<T: DeserializeOwned>(&self, root: &Node, path: &Path) -> Option<T> {
        let (node, key, found) = self.find(root, path);
        if found == *path { self.attempt(node, &Place::Start(path, key)) } else { None }
    }

    /// Reads until it succeeds or nothing more can be found out.
    fn attempt<T: DeserializeOwned>(&self, node: &Node, place: &Place<'_>) -> Option<T> {
        while !self.is_aside(node) && !self.is_full() {
            if let Ok(model) = self.part(node, place, |node| T::deserialize(node)) {
                return Some(model);
            }
        }
        None
    }

    /// Reads a part of the tree. After a mistake within it, it or a part of it has been set aside.
    fn part<T>(
        &self,
        node: &Node,
        place: &Place<'_>,
        read: impl FnOnce(NodeDeserializer<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let failure = match read(NodeDeserializer { reader: self, node, place }) {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        if !matches!(failure, Failure::Noted) {
            self.set_aside(node);
        }
        // What a node lacks once a part of it was set aside is no mistake of its own.
        let lacking = node.entries().into_iter().flatten().any(|entry| self.is_aside(&entry.value));
        if let Some((message, help)) = failure.text(node).filter(|_| !lacking) {
            self.note(place.path(), node.head(place.key()), message, help);
        }
        Err(Failure::Noted)
    }

    /// Notes a mistake, once.
    fn note(&self, path: Path, span: Range<usize>, message: String, help: Option<String>) {
        let mistake = Mistake { path, span, message, help };
        let mut mistakes = self.mistakes.borrow_mut();
        if mistakes.len() < MAX_MISTAKES && !mistakes.contains(&mistake) {
            mistakes.push(mistake);
        }
    }

    fn is_full(&self) -> bool {
        self.mistakes.borrow().len() >= MAX_MISTAKES
    }

    fn set_aside(&self, node: &Node) {
        self.aside.borrow_mut().insert(std::ptr::from_ref(node));
    }

    fn is_aside(&self, node: &Node) -> bool {
        self.aside.borrow().contains(&std::ptr::from_ref(node))
    }

    /// Whether a node was read without any part of it.
    pub(crate) fn is_broken(&self, node: &Node) -> bool {
        self.is_aside(node)
            || match &node.value {
                Value::Scalar { .. } => false,
                Value::Sequence(items) => items.iter().any(|item| self.is_broken(item)),
                Value::Mapping(entries) => entries.iter().any(|entry| self.is_broken(&entry.value)),
            }
    }

    /// The mistakes that were found.
    pub(crate) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes.into_inner()
    }

    /// Notes a mistake of the meaning at a path of the model, unless what it points at could not be read
    /// whole, so that the mistake may only be a consequence of another one.
    ///
    /// Places in lists count what was read; the path that is shown counts what is written.
    pub(crate) fn note_finding(&self, root: &Node, finding: Finding) {
        if self.is_full() {
            return;
        }
        let rests_on_broken = |part: &Path| self.is_broken(self.find(root, part).0);
        if finding.rests_on.iter().any(rests_on_broken) {
            return;
        }
        let (node, key, written) = self.find(root, &finding.path);
        if !self.is_broken(node) {
            self.note(written, node.head(key), finding.message, finding.help);
        }
    }

    /// The node at a path of the model, its key, and its path as it is written. A value that the file leaves
    /// to its default is found at what it would be part of.
    fn find<'a>(&self, root: &'a Node, path: &Path) -> (&'a Node, Option<&'a Range<usize>>, Path) {
        let mut found = (root, None, Path::root());
        for step in path.steps() {
            let (node, key, written) = found;
            let next = match (step, &node.value) {
                (Step::Key(name), Value::Mapping(entries)) => {
                    let found = entries.iter().find(|entry| entry.key == *name);
                    found.map(|entry| (&entry.value, Some(&entry.key_span), step.clone()))
                }
                (Step::Index(index), Value::Sequence(items)) => {
                    let mut read = items.iter().enumerate().filter(|(_, item)| !self.is_aside(item));
                    read.nth(*index).map(|(index, item)| (item, None, Step::Index(index)))
                }
                _ => None,
            };
            found = match next {
                Some((below, key, step)) => (below, key, written.then(step)),
                None => return (node, key, written),
            };
        }
        found
    }
}

// === impl Place ===

impl Place<'_> {
    /// Bytes of the key that the node belongs to.
    fn key(&self) -> Option<&Range<usize>> {
        match self {
            Self::Start(_, key) => *key,
            Self::Key(_, _, key) => Some(key),
            Self::Index(..) => None,
        }
    }

    fn path(&self) -> Path {
        match self {
            Self::Start(path, _) => (*path).clone(),
            Self::Key(above, key, _) => above.path().then(Step::Key((*key).to_owned())),
            Self::Index(above, index) => above.path().index(*index),
        }
    }
}
