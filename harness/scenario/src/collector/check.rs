//! What will go wrong with a configuration, said before a Collector runs it.
//!
//! The rules encode what core and contrib v0.161.0 do; each says where that was read. What is not known for
//! certain is not said: a value that comes from the environment is passed over.

use std::{ops::Range, time::Duration};

use super::{Config, Finding, Id, Rule, Severity};
use crate::diagnostics::{first_line, position};
use cursor::Cursor;

mod attributes;
mod components;
mod cursor;
mod durations;
mod flow;
mod memory;
mod order;
mod policies;
mod probability;
mod prometheus;
mod references;
mod refused;
mod service;
mod span_metrics;
mod structure;
mod tail_sampling;
mod transport;

pub use refused::refused;

/// What is known of the traces that a configuration will be given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckOptions {
    /// New traces in a second. Without it, the tail sampler's `expected_new_traces_per_sec` is believed.
    pub traces_per_second: Option<f64>,
    /// How long the longest request takes that must be decided on whole. By default 1 s: Kubernetes' objective for calls
    /// about single objects is that 99% are done by then (`kubernetes/community`,
    /// sig-scalability/slos/api_call_latency.md). Webhooks may take 30 s, and the API server gives up after 60 s.
    pub longest_request: Duration,
    /// How long the API server keeps spans before it sends them. By default 5 s, as its batch processor does.
    pub batch_flush: Duration,
    /// The API server's `samplingRatePerMillion`.
    pub head_sampling_rate_per_million: Option<u32>,
    /// Whether trace ids are counted up and not drawn, as some generators of load do.
    pub sequential_ids: bool,
}

/// Every rule.
pub static RULES: &[&Rule] = &[
    &structure::UNKNOWN_SECTION,
    &structure::NO_PIPELINES,
    &structure::UNKNOWN_SIGNAL,
    &structure::INCOMPLETE,
    &structure::REPEATED,
    &structure::ONE_SIDED,
    &references::UNDEFINED,
    &references::UNUSED,
    &components::REMOVED,
    &components::NOT_AN_EXPORTER,
    &components::RENAMED,
    &components::UNKNOWN,
    &order::NO_MEMORY_LIMITER,
    &order::MEMORY_LIMITER_NOT_FIRST,
    &order::BATCH_BEFORE_SAMPLING,
    &memory::INVALID,
    &policies::NONE,
    &policies::UNNAMED,
    &policies::DUPLICATE,
    &policies::UNKNOWN_TYPE,
    &policies::STATUS_CODE,
    &policies::INVERT_MATCH,
    &policies::UPPER_BOUND,
    &policies::STATEFUL,
    &tail_sampling::DECISION_WAIT,
    &tail_sampling::NUM_TRACES,
    &tail_sampling::BLOCKS,
    &probability::HASH_SEED,
    &probability::MULTIPLIED,
    &probability::SEQUENTIAL,
    &span_metrics::AFTER_SAMPLING,
    &span_metrics::OLD_OPTION,
    &span_metrics::OLD_DIMENSION,
    &span_metrics::RESERVED_DIMENSION,
    &prometheus::EXPIRATION,
    &service::ADDRESS,
    &service::READER_INCOMPLETE,
    &service::READER_NAMES,
    &transport::OLD_TLS,
    &transport::EVERYWHERE,
    &durations::WITHOUT_UNIT,
    &policies::OLD_ATTRIBUTE,
    &refused::REFUSED,
];

/// Everything that will go wrong, in the order of the text.
pub fn check(config: &Config, options: &CheckOptions) -> Vec<Finding> {
    let mut checker = Checker { config, options, findings: Vec::new() };
    structure::check(&mut checker);
    references::check(&mut checker);
    components::check(&mut checker);
    order::check(&mut checker);
    memory::check(&mut checker);
    policies::check(&mut checker);
    tail_sampling::check(&mut checker);
    probability::check(&mut checker);
    span_metrics::check(&mut checker);
    prometheus::check(&mut checker);
    service::check(&mut checker);
    transport::check(&mut checker);
    durations::check(&mut checker);
    let mut findings = checker.findings;
    findings.sort_by_key(|finding| finding.span.start);
    findings
}

/// What the rules have, and what they found.
struct Checker<'c> {
    config: &'c Config,
    options: &'c CheckOptions,
    findings: Vec<Finding>,
}

/// What a rule says of one place.
struct Said {
    message: String,
    why: String,
    fix: String,
}

// === impl CheckOptions ===

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            traces_per_second: None,
            longest_request: Duration::from_secs(1),
            batch_flush: Duration::from_secs(5),
            head_sampling_rate_per_million: None,
            sequential_ids: false,
        }
    }
}

// === impl Checker ===

impl<'c> Checker<'c> {
    /// The whole configuration.
    fn root(&self) -> Cursor<'c> {
        Cursor::root(&self.config.root)
    }

    /// The bodies of a section's components of a type.
    fn components_of(&self, section: &str, kind: &str) -> Vec<Cursor<'c>> {
        let of_kind = |(key, body)| Id::parse(key).is_ok_and(|id| id.kind() == kind).then_some(body);
        let section = self.root().get(section).into_iter();
        section.flat_map(|section| section.entries().filter_map(of_kind).collect::<Vec<_>>()).collect()
    }

    /// Reports an instance of a rule.
    fn report(&mut self, rule: &'static Rule, path: &impl ToString, span: Range<usize>, said: Said) {
        self.report_as(rule, rule.severity, path, span, said);
    }

    /// Reports an instance of a rule that is better or worse than others.
    fn report_as(
        &mut self,
        rule: &'static Rule,
        severity: Severity,
        path: &impl ToString,
        span: Range<usize>,
        said: Said,
    ) {
        let span = first_line(&self.config.text, span);
        let (line, column) = position(&self.config.text, span.start);
        let Said { message, why, fix } = said;
        let finding = Finding {
            rule: rule.id,
            severity,
            line,
            column,
            path: path.to_string(),
            message,
            why,
            fix,
            scenario: rule.scenario,
            span,
        };
        // What an anchor has wrong, its aliases have too, at the same place.
        let known = |before: &Finding| (before.rule, &before.span) == (finding.rule, &finding.span);
        if !self.findings.iter().any(known) {
            self.findings.push(finding);
        }
    }
}

/// What a rule says.
fn said(message: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Said {
    Said { message: message.into(), why: why.into(), fix: fix.into() }
}
