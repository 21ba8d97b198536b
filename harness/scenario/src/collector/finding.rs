//! What will go wrong with a configuration, and how that is shown.

use std::{fmt, ops::Range, sync::Arc};

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity as Level, SourceCode};
use serde::Serialize;

use super::Config;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know; nothing has to change.
    Note,
    /// The Collector starts, and does something else than whoever wrote this thinks.
    Warning,
    /// The Collector does not start.
    Error,
}

/// What a [`Finding`] is an instance of.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its name: `tail-decision-wait`.
    pub id: &'static str,
    /// How bad it is, if not said otherwise by the finding.
    pub severity: Severity,
    /// What it looks for, in one sentence.
    pub summary: &'static str,
    /// The file that shows the effect against a real Collector.
    pub scenario: Option<&'static str>,
}

/// One thing that will go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The id of its [`Rule`].
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// Where in the configuration.
    pub path: String,
    /// What is found.
    pub message: String,
    /// What follows from it.
    pub why: String,
    /// What to write instead.
    pub fix: String,
    /// The scenario that shows it.
    pub scenario: Option<&'static str>,
    /// Bytes of the text.
    #[serde(skip)]
    pub span: Range<usize>,
}

/// The findings of a file, to be shown by miette with the lines they are about.
#[derive(Debug, Clone)]
pub struct Report {
    name: String,
    shown: Vec<Shown>,
}

/// A finding with its text.
#[derive(Debug, Clone)]
struct Shown {
    finding: Finding,
    source: NamedSource<Arc<str>>,
}

// === impl Severity ===

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

// === impl Report ===

impl Report {
    /// The findings of a configuration.
    pub fn new(config: &Config, findings: Vec<Finding>) -> Self {
        let source = NamedSource::new(config.name(), Arc::clone(&config.text)).with_language("yaml");
        let shown = findings.into_iter().map(|finding| Shown { finding, source: source.clone() }).collect();
        Self { name: config.name().to_owned(), shown }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [Severity::Error, Severity::Warning, Severity::Note].map(|severity| {
            let count = self.shown.iter().filter(|shown| shown.finding.severity == severity).count();
            let plural = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{count} {severity}{plural}"))
        });
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        let counts = if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") };
        write!(f, "{}: {counts}", self.name)
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn severity(&self) -> Option<Level> {
        self.shown.iter().map(|shown| level(shown.finding.severity)).max()
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.shown.iter().map(|shown| shown as &dyn Diagnostic)))
    }
}

// === impl Shown ===

const fn level(severity: Severity) -> Level {
    match severity {
        Severity::Note => Level::Advice,
        Severity::Warning => Level::Warning,
        Severity::Error => Level::Error,
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.finding.message)
    }
}

impl std::error::Error for Shown {}

impl Diagnostic for Shown {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.finding.rule))
    }

    fn severity(&self) -> Option<Level> {
        Some(level(self.finding.severity))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let Finding { why, fix, scenario, .. } = &self.finding;
        let proof = scenario.map(|scenario| format!("\nshown by {scenario}")).unwrap_or_default();
        Some(Box::new(format!("{why}\n{fix}{proof}")))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let path = Some(self.finding.path.clone()).filter(|path| !path.is_empty());
        let label = LabeledSpan::new_with_span(path, self.finding.span.clone());
        Some(Box::new(std::iter::once(label)))
    }
}
