//! What a Collector itself says against a configuration (`otelcol validate`), put at its places.
//!
//! The Collector names places in two ways: what it cannot decode it tells component by component, with paths that are
//! nested as Go's types are; what is decoded and makes no sense it tells after `section::id:`. Both are found again in
//! the text as far as they go.

use super::{Checker, cursor::Cursor, said};
use crate::collector::{CheckOptions, Config, Finding, Rule, Severity};

pub(super) static REFUSED: Rule = Rule {
    id: "collector-refuses",
    severity: Severity::Error,
    summary: "What the Collector itself refuses, when it is asked.",
    scenario: None,
};

/// What it writes before what it has to say.
const PREAMBLES: [&str; 4] =
    ["Error: ", "failed to get config: ", "cannot unmarshal the configuration: ", "invalid configuration: "];
/// What stands before the parts of a whole.
const FOLLOWS: &str = "decoding failed due to the following error(s):";

/// One thing that the Collector has against a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Complaint {
    /// Keys from the outside in, as far as they are told.
    place: Vec<String>,
    message: String,
}

/// What `otelcol validate` wrote, as findings. Complaints about a place where `known` has an error already are left
/// out, and so are those that hang on a value of the environment, or on components that another build may have.
pub fn refused(config: &Config, said: &str, known: &[Finding]) -> Vec<Finding> {
    let options = CheckOptions::default();
    let mut checker = Checker { config, options: &options, findings: Vec::new() };
    for complaint in complaints(said, &checker.root()) {
        complain(&mut checker, &complaint, known);
    }
    checker.findings
}

fn complain(checker: &mut Checker<'_>, complaint: &Complaint, known: &[Finding]) {
    let place = deepest(&checker.root(), &complaint.place);
    let told = |finding: &Finding| finding.severity == Severity::Error && place.covers(finding.span.start);
    let depends = !complaint.place.is_empty() && place.mentions("${");
    if depends || known.iter().any(told) {
        return;
    }
    // The part of the way that is not in the text is told in words.
    let missing = &complaint.place[place.depth()..];
    let prefix = if missing.is_empty() { String::new() } else { format!("`{}`: ", missing.join(".")) };
    let said = said(
        format!("{prefix}{}", complaint.message),
        "the Collector says so itself (`otelcol validate`), and does not start",
        "see the documentation of the component",
    );
    checker.report(&REFUSED, &place.path, place.key_span(), said);
}

/// The place, or what is there of the way to it.
fn deepest<'c>(root: &Cursor<'c>, place: &[String]) -> Cursor<'c> {
    let mut cursor = root.clone();
    for key in place {
        match cursor.step(key) {
            Some(next) => cursor = next,
            None => break,
        }
    }
    cursor
}

/// Reads what the Collector wrote. `root` tells which nested paths there are.
fn complaints(said: &str, root: &Cursor<'_>) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut reader = Places { root, component: Vec::new(), nested: Vec::new() };
    for line in said.lines() {
        let line = PREAMBLES.iter().fold(line.trim(), |line, preamble| line.trim_start_matches(preamble));
        if line.is_empty() || line == FOLLOWS {
            continue;
        }
        let (place, message) = match quoted(line) {
            Some((section, rest)) if rest.starts_with("error reading configuration for \"") => {
                let rest = &rest["error reading configuration for \"".len()..];
                let Some((id, rest)) = rest.split_once("\": ") else { continue };
                reader.enter(section, id);
                if rest == FOLLOWS {
                    continue;
                }
                (reader.component.clone(), rest)
            }
            // Another build may well have it.
            Some((_, rest)) if rest.starts_with("unknown type:") => continue,
            Some((inner, rest)) if rest == FOLLOWS => {
                reader.nest(inner);
                continue;
            }
            Some((inner, rest)) => (reader.place(inner), rest),
            None => scoped(line).unwrap_or((Vec::new(), line)),
        };
        match message.strip_prefix("has invalid keys: ") {
            Some(keys) => complaints.extend(keys.split(", ").map(|key| Complaint {
                place: place.iter().cloned().chain([key.to_owned()]).collect(),
                message: format!("there is no key `{key}` here"),
            })),
            None => complaints.push(Complaint { place, message: message.to_owned() }),
        }
    }
    complaints
}

/// `'inner' rest`.
fn quoted(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix('\'')?.split_once("' ")
}

/// `section::id::key: message`.
fn scoped(line: &str) -> Option<(Vec<String>, &str)> {
    let (place, message) = line.split_once(": ")?;
    let is_place = place.contains("::") && !place.contains(' ');
    is_place.then(|| (place.split("::").map(str::to_owned).collect(), message))
}

/// `a.b[0].c` as keys.
fn keys(path: &str) -> Vec<String> {
    let parts = path.split(['.', '[', ']']).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// Where the reader is in a nested account.
struct Places<'p, 'c> {
    root: &'p Cursor<'c>,
    /// Section and id.
    component: Vec<String>,
    /// The paths that were entered below.
    nested: Vec<Vec<String>>,
}

// === impl Places ===

impl Places<'_, '_> {
    fn enter(&mut self, section: &str, id: &str) {
        self.component = vec![section.to_owned(), id.to_owned()];
        self.nested.clear();
    }

    fn nest(&mut self, path: &str) {
        let place = self.place(path);
        self.nested.push(place);
    }

    /// Where a path leads. Nothing says where a nested account ends: it ends where its path exists only further out. The
    /// name of a Go type is no path, and means where the reader is.
    fn place(&mut self, path: &str) -> Vec<String> {
        let keys = keys(path);
        loop {
            let base = self.nested.last().unwrap_or(&self.component);
            let place: Vec<String> = base.iter().chain(&keys).cloned().collect();
            if deepest(self.root, &place).depth() == place.len() {
                return place;
            }
            let is_type =
                path.split('.').next_back().is_some_and(|name| name.starts_with(char::is_uppercase));
            if is_type {
                return base.clone();
            }
            if self.nested.pop().is_none() {
                return place;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector;

    /// Written by `otelcol validate` of v0.161.0 for [`TEXT`].
    const SAID: &str = r#"Error: failed to get config: cannot unmarshal the configuration: decoding failed due to the following error(s):

'receivers' error reading configuration for "otlp": decoding failed due to the following error(s):

'protocols.grpc' decoding failed due to the following error(s):

'configgrpc.ServerConfig' has invalid keys: endpiont
'processors' error reading configuration for "tail_sampling": decoding failed due to the following error(s):

'decision_wait' time: invalid duration
'num_traces' expected type 'uint64', got unconvertible type 'string'
'policies[0].probabilistic' has invalid keys: sampling_percentge
'exporters' unknown type: "loki" for id: "loki" (valid values: [otlp nop])
"#;

    const TEXT: &str = "\
receivers:
  otlp: {protocols: {grpc: {endpiont: 0.0.0.0:4317}}}
processors:
  memory_limiter: {limit_mib: 100}
  tail_sampling:
    decision_wait: two
    num_traces: many
    policies:
      - {name: a, type: probabilistic, probabilistic: {sampling_percentge: 10}}
exporters:
  otlp_grpc: {}
  otlp_http: {endpoint: '${env:BACKEND}'}
  loki: {}
service:
  pipelines:
    traces: {receivers: [otlp], processors: [memory_limiter, tail_sampling], exporters: [otlp_grpc, loki]}
";

    fn found(said: &str, known: &[Finding]) -> Vec<(usize, String, String)> {
        let config = collector::parse("c.yaml", TEXT).unwrap();
        let findings = refused(&config, said, known).into_iter();
        findings.map(|finding| (finding.line, finding.path, finding.message)).collect()
    }

    #[test]
    fn what_cannot_be_decoded_is_found_in_the_text() {
        let expected = [
            (2, "receivers.otlp.protocols.grpc.endpiont", "there is no key `endpiont` here"),
            (6, "processors.tail_sampling.decision_wait", "time: invalid duration"),
            (
                7,
                "processors.tail_sampling.num_traces",
                "expected type 'uint64', got unconvertible type 'string'",
            ),
            (
                9,
                "processors.tail_sampling.policies[0].probabilistic.sampling_percentge",
                "there is no key `sampling_percentge` here",
            ),
        ];
        let expected = expected.map(|(line, path, message)| (line, path.to_owned(), message.to_owned()));
        assert_eq!(found(SAID, &[]), expected);
    }

    #[test]
    fn what_makes_no_sense_is_found_in_the_text() {
        let said = "Error: exporters::otlp_grpc: requires a non-empty \"endpoint\"\n\
                    processors::memory_limiter: 'check_interval' must be greater than zero\n\
                    exporters::otlp_http: requires a non-empty \"endpoint\"\nit is Monday\n";
        let expected = [
            (11, "exporters.otlp_grpc", "requires a non-empty \"endpoint\""),
            (4, "processors.memory_limiter", "'check_interval' must be greater than zero"),
            (1, "", "it is Monday"),
        ];
        let expected = expected.map(|(line, path, message)| (line, path.to_owned(), message.to_owned()));
        assert_eq!(found(said, &[]), expected);
    }

    #[test]
    fn what_is_known_is_not_told_twice() {
        let config = collector::parse("c.yaml", TEXT).unwrap();
        let known = collector::check(&config, &CheckOptions::default());
        let limiter = "processors::memory_limiter: 'check_interval' must be greater than zero";
        let invalid = known.iter().any(|finding| finding.path.starts_with("processors.memory_limiter"));
        assert!(invalid, "{known:#?}");
        assert_eq!(found(limiter, &known), []);
    }
}
