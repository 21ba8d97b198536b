//! Where in a scenario something is: `spec.faults[1].webhook.timeoutSeconds`.

use std::fmt;

/// The way from the root of a scenario to a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(Vec<Step>);

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To the value of a key.
    Key(String),
    /// To an item of a list, counted from 0.
    Index(usize),
}

// === impl Path ===

impl Path {
    /// The scenario itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// The value of a key, or of several one below the other: `spec.load`.
    #[must_use]
    pub fn key(&self, keys: &str) -> Self {
        keys.split('.').fold(self.clone(), |path, key| path.then(Step::Key(key.to_owned())))
    }

    /// The item of a list, counted from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.clone().then(Step::Index(index))
    }

    /// One step further. Unlike [`Path::key`] this takes a key with dots as it is.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    /// The same place below `to`, if it lies at or below `from`.
    pub(crate) fn rebase(&self, from: &Self, to: &Self) -> Option<Self> {
        let below = self.0.strip_prefix(from.0.as_slice())?;
        Some(Self(to.0.iter().chain(below).cloned().collect()))
    }

    /// The steps from the root.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_/".contains(c);
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if !key.is_empty() && key.chars().all(plain) => {
                    let dot = if place == 0 { "" } else { "." };
                    write!(f, "{dot}{key}")?;
                }
                Step::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_in_code() {
        let path = Path::root().key("spec.expect").index(2).key("spans");
        assert_eq!(path.to_string(), "spec.expect[2].spans");
        let key = path.then(Step::Key("k8s.pod".to_owned()));
        assert_eq!(key.to_string(), "spec.expect[2].spans[\"k8s.pod\"]");
        assert_eq!(Path::root().to_string(), "");
    }
}
