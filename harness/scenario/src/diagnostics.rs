//! All mistakes of a scenario file, each with its place.

use std::{fmt, ops::Range, sync::Arc};

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode};

use crate::{path::Path, read::Mistake};

/// Everything that is wrong with a scenario file.
///
/// Rendered by miette, each mistake shows the lines that it is about:
///
/// ```
/// let diagnostics = spangate_scenario::parse("bad.yaml", "apiVersion: v1\n").unwrap_err();
/// assert_eq!(diagnostics.problems().len(), 2);
/// assert_eq!(diagnostics.problems()[1].to_string(), "unknown value `v1`");
/// ```
#[derive(Debug, Clone)]
pub struct Diagnostics {
    name: String,
    problems: Vec<Problem>,
}

/// One thing that is wrong with a scenario file.
#[derive(Debug, Clone)]
pub struct Problem {
    source: NamedSource<Arc<str>>,
    mistake: Mistake,
    label: Option<String>,
    line: usize,
    column: usize,
}

// === impl Diagnostics ===

impl Diagnostics {
    /// Puts the mistakes of a file in the order of its text.
    pub(crate) fn new(name: &str, text: &str, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.span.start);
        let source = NamedSource::new(name, Arc::from(text)).with_language("yaml");
        let problems =
            mistakes.into_iter().map(|mistake| Problem::new(source.clone(), text, mistake)).collect();
        Self { name: name.to_owned(), problems }
    }

    /// The problems, in the order of the text; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The name of the file.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "{} has a mistake", self.name),
            count => write!(f, "{} has {count} mistakes", self.name),
        }
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostic for Diagnostics {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

// === impl Problem ===

impl Problem {
    fn new(source: NamedSource<Arc<str>>, text: &str, mut mistake: Mistake) -> Self {
        mistake.span = first_line(text, mistake.span);
        let label = Some(mistake.path.to_string()).filter(|path| !path.is_empty());
        let (line, column) = position(text, mistake.span.start);
        Self { source, mistake, label, line, column }
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// The bytes of the text that are wrong; empty when something is missing there.
    pub fn span(&self) -> Range<usize> {
        self.mistake.span.clone()
    }

    /// Where in the scenario; the root when the text is no scenario at all.
    pub fn path(&self) -> &Path {
        &self.mistake.path
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.mistake.help.as_deref()
    }
}

/// The part of a span on its first line: a label over several lines hides more than it shows.
pub(crate) fn first_line(text: &str, span: Range<usize>) -> Range<usize> {
    let length = text[span.clone()].find('\n').unwrap_or(span.len());
    span.start..span.start + length
}

/// Line and column of a byte, both from 1; columns are characters.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before[line_start..].chars().filter(|c| *c != BYTE_ORDER_MARK).count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// Editors do not count it as a column.
const BYTE_ORDER_MARK: char = '\u{feff}';

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mistake.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn severity(&self) -> Option<Severity> {
        Some(Severity::Error)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.advice().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_with_span(self.label.clone(), self.span());
        Some(Box::new(std::iter::once(label)))
    }
}
