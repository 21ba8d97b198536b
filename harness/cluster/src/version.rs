//! Versions of Kubernetes and etcd, and what a user may ask for: `1.37` or `1.37.2`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Text that is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {text:?}")]
pub struct ParseVersionError {
    expected: &'static str,
    text: String,
}

/// A released version. What follows the patch number (`-rc.1`, `+build`) is not kept: flags and
/// configuration depend on the numbers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

/// A wanted version: a minor with any patch (`1.37`), or exactly one (`1.37.2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionSpec {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number; `None` means any.
    pub patch: Option<u32>,
}

const VERSION: &str = "a version such as 1.37.2";
const SPEC: &str = "a version such as 1.37 or 1.37.2";

// === impl Version ===

impl Version {
    /// A version by its numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Whether this is `major.minor` or later.
    pub fn at_least(self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }

    /// The spec that any patch of this minor meets.
    pub fn any_patch(self) -> VersionSpec {
        VersionSpec { patch: None, ..self.into() }
    }

    /// The first version among the words of `text`, as `--version` prints it: `Kubernetes v1.37.2`,
    /// `etcd Version: 3.7.3`.
    pub fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| word.parse().ok())
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    /// Reads `1.37.2`, also with a leading `v` and a pre-release or build suffix.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseVersionError { expected: VERSION, text: text.to_owned() };
        let bare = text.strip_prefix('v').unwrap_or(text);
        let bare = bare.split_once(['-', '+']).map_or(bare, |(numbers, _)| numbers);
        match numbers(bare).as_deref() {
            Some(&[major, minor, patch]) => Ok(Self { major, minor, patch }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

// === impl VersionSpec ===

impl VersionSpec {
    /// Whether `version` is what was asked for.
    pub fn matches(self, version: Version) -> bool {
        (self.major, self.minor) == (version.major, version.minor)
            && self.patch.is_none_or(|patch| patch == version.patch)
    }
}

impl From<Version> for VersionSpec {
    fn from(version: Version) -> Self {
        Self { major: version.major, minor: version.minor, patch: Some(version.patch) }
    }
}

impl FromStr for VersionSpec {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.strip_prefix('v').unwrap_or(text);
        match numbers(bare).as_deref() {
            Some(&[major, minor]) => Ok(Self { major, minor, patch: None }),
            Some(&[major, minor, patch]) => Ok(Self { major, minor, patch: Some(patch) }),
            _ => Err(ParseVersionError { expected: SPEC, text: text.to_owned() }),
        }
    }
}

impl fmt::Display for VersionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        self.patch.map_or(Ok(()), |patch| write!(f, ".{patch}"))
    }
}

/// The dot-separated numbers of `text`, if it is nothing else.
fn numbers(text: &str) -> Option<Vec<u32>> {
    // `u32::from_str` takes a leading plus sign; a version does not.
    text.split('.').map(|part| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_the_version_in_what_binaries_print() {
        for (text, version) in [
            ("Kubernetes v1.37.2\n", Version::new(1, 37, 2)),
            ("Kubernetes v1.38.0-alpha.1.12+abc123", Version::new(1, 38, 0)),
            ("etcd Version: 3.7.3\nGit SHA: Not provided\nGo Version: go1.26.8", Version::new(3, 7, 3)),
        ] {
            assert_eq!(Version::find(text), Some(version), "{text}");
        }
        assert_eq!(Version::find("flag provided but not defined: -version"), None);
    }

    #[test]
    fn refuses_what_is_no_version() {
        for text in ["", "1", "1.", "1.x", "latest", "1.37.2.1", "1.+3", " 1.37"] {
            assert!(text.parse::<VersionSpec>().is_err(), "{text}");
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_minor_takes_any_patch_and_a_patch_only_itself() {
        let minor: VersionSpec = "1.37".parse().unwrap();
        let exact: VersionSpec = "v1.37.2".parse().unwrap();
        assert!(minor.matches(Version::new(1, 37, 0)) && minor.matches(Version::new(1, 37, 9)));
        assert!(!minor.matches(Version::new(1, 36, 0)) && !minor.matches(Version::new(2, 37, 0)));
        assert!(exact.matches(Version::new(1, 37, 2)) && !exact.matches(Version::new(1, 37, 3)));
    }

    proptest! {
        #[test]
        fn text_round_trips(major: u32, minor: u32, patch: u32) {
            let version = Version::new(major, minor, patch);
            prop_assert_eq!(version.to_string().parse(), Ok(version));
            prop_assert_eq!(version.to_string().parse(), Ok(VersionSpec::from(version)));
            prop_assert_eq!(version.any_patch().to_string().parse(), Ok(version.any_patch()));
            prop_assert!(version.any_patch().matches(version));
        }
    }
}
