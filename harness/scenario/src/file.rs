//! From a file, or its text, to a checked scenario.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use miette::Diagnostic;

use crate::{
    Scenario,
    diagnostics::Diagnostics,
    path,
    read::{Mistake, Reader},
    validate::{self, Optional, Parts},
    yaml,
};

/// Bytes of the longest scenario file.
pub const MAX_BYTES: usize = 1 << 20;

/// A scenario and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The scenario, with every default in its place.
    pub scenario: Scenario,
    /// The text of the file.
    pub text: String,
    /// The file.
    pub path: PathBuf,
}

/// A scenario file that cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum ReadError {
    /// The file is not there, or may not be read.
    #[error("cannot read the scenario {}", path.display())]
    #[diagnostic(help("check the path and its permissions"))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is longer than [`MAX_BYTES`].
    #[error("the scenario {} is longer than 1 MiB", path.display())]
    #[diagnostic(help("a scenario is a few hundred lines: is this the right file?"))]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file is not UTF-8 text.
    #[error("the scenario {} is not UTF-8 text: byte {offset} does not belong", path.display())]
    #[diagnostic(help("save the file as UTF-8"))]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first byte that is not UTF-8, from 0.
        offset: usize,
    },
    /// The text is not a valid scenario.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(#[from] Diagnostics),
}

/// Reads and checks a scenario file.
pub fn read(path: impl AsRef<Path>) -> Result<Loaded, ReadError> {
    let path = path.as_ref().to_owned();
    match fs::File::open(&path) {
        Ok(file) => read_from(file, path),
        Err(source) => Err(ReadError::Io { path, source }),
    }
}

/// Reads and checks a scenario from wherever it comes; `path` is shown in messages.
pub fn read_from(source: impl Read, path: impl Into<PathBuf>) -> Result<Loaded, ReadError> {
    let path = path.into();
    let mut bytes = Vec::new();
    // One byte more than a scenario may have, so that a longer one is told.
    if let Err(source) = source.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes) {
        return Err(ReadError::Io { path, source });
    }
    if bytes.len() > MAX_BYTES {
        return Err(ReadError::TooLong { path });
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Err(ReadError::NotUtf8 { path, offset: error.utf8_error().valid_up_to() }),
    };
    let scenario = parse(&path.display().to_string(), &text)?;
    Ok(Loaded { scenario, text, path })
}

/// Reads and checks the text of a scenario; `name` is shown in messages.
///
/// All mistakes are told at once. Mistakes of meaning are looked for in the parts that could be read, and
/// left out where they may only follow from a mistake of form.
///
/// ```
/// let text = "
/// apiVersion: spangate/v1alpha1
/// kind: Scenario
/// metadata: {name: smoke}
/// spec:
///   load:
///     arrivals: {rate: 10/s, for: 5s}
///     mix: [{list: {resource: configmaps}}]
/// ";
/// let scenario = spangate_scenario::parse("smoke.yaml", text)?;
/// assert_eq!(scenario.spec.load.client.connections, 2);
/// # Ok::<(), spangate_scenario::Diagnostics>(())
/// ```
pub fn parse(name: &str, text: &str) -> Result<Scenario, Diagnostics> {
    let fail = |mistakes| Err(Diagnostics::new(name, text, mistakes));
    if text.len() > MAX_BYTES {
        return fail(vec![whole("the scenario is longer than 1 MiB", "a scenario is a few hundred lines")]);
    }
    let root = match yaml::parse(text) {
        Ok(Some(root)) => root,
        Ok(None) => {
            let help = "a scenario begins with `apiVersion: spangate/v1alpha1` and `kind: Scenario`";
            return fail(vec![whole("the file is empty", help)]);
        }
        Err(error) => {
            let path = path::Path::root();
            return fail(vec![Mistake { path, span: error.span, message: error.message, help: error.help }]);
        }
    };
    let reader = Reader::default();
    let scenario: Option<Scenario> = reader.read(&root, &path::Path::root());
    let findings = match &scenario {
        Some(scenario) => validate::validate_parts(&Parts::of(scenario)),
        None => validate_remains(&reader, &root),
    };
    for finding in findings {
        reader.note_finding(&root, finding);
    }
    let mistakes = reader.into_mistakes();
    match scenario {
        Some(scenario) if mistakes.is_empty() => Ok(scenario),
        _ => fail(mistakes),
    }
}

/// Checks the parts of a scenario that can be read although the whole cannot.
fn validate_remains(reader: &Reader, root: &crate::node::Node) -> Vec<validate::Finding> {
    let at = |keys| path::Path::root().key(keys);
    let metadata = reader.read(root, &at("metadata"));
    let cluster = reader.read(root, &at("spec.cluster"));
    let collector = reader.read(root, &at("spec.collector"));
    let backends = reader.read(root, &at("spec.backends"));
    let faults: Option<Vec<_>> = reader.read(root, &at("spec.faults"));
    let load = reader.read(root, &at("spec.load"));
    let expect: Option<Vec<_>> = reader.read(root, &at("spec.expect"));
    validate::validate_parts(&Parts {
        metadata: metadata.as_ref(),
        cluster: cluster.as_ref(),
        // One that is not there cannot be told from one that cannot be read.
        collector: collector.as_ref().map_or(Optional::Unknown, Optional::There),
        backends: backends.as_ref(),
        faults: faults.as_deref(),
        load: load.as_ref(),
        expect: expect.as_deref(),
    })
}

/// A mistake of the file as a whole.
fn whole(message: &str, help: &str) -> Mistake {
    let path = path::Path::root();
    Mistake { path, span: 0..0, message: message.to_owned(), help: Some(help.to_owned()) }
}
