//! What the keys of a scenario mean together: names that must exist, numbers that must fit each other,
//! faults that would do nothing.
//!
//! All rules are tried, so that all findings are told at once. A rule that names something of Kubernetes or
//! etcd says so where it is written.

use crate::{
    Scenario,
    model::{Backends, Cluster, Collector, Expectation, Fault, Load, Metadata, Window},
    path::Path,
};

mod backends;
mod bounds;
mod cluster;
mod collector;
mod etcd;
mod existing;
mod expect;
mod faults;
mod fields;
mod kind;
mod load;
mod names;
mod selector;
mod spans;
mod traffic;
mod webhook;
mod writes;

pub use etcd::ETCD_RPCS;
pub use expect::VERBS;
pub use traffic::validate_traffic;

/// Something in a scenario that has the right form but cannot be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where in the scenario.
    pub path: Path,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Other parts of the scenario that the finding rests on.
    pub(crate) rests_on: Vec<Path>,
}

// === impl Finding ===

impl Finding {
    /// A finding that rests on nothing else.
    pub fn new(path: Path, message: impl Into<String>, help: Option<String>) -> Self {
        Self { path, message: message.into(), help, rests_on: Vec::new() }
    }
}

/// The parts of a scenario that could be read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Parts<'a> {
    pub(crate) metadata: Option<&'a Metadata>,
    pub(crate) cluster: Option<&'a Cluster>,
    pub(crate) collector: Optional<'a, Collector>,
    pub(crate) backends: Option<&'a Backends>,
    pub(crate) faults: Option<&'a [Fault]>,
    pub(crate) load: Option<&'a Load>,
    pub(crate) expect: Option<&'a [Expectation]>,
}

/// A part that a scenario may leave out.
#[derive(Debug, Default)]
pub(crate) enum Optional<'a, T> {
    /// It could not be read, if it is there.
    #[default]
    Unknown,
    /// The scenario leaves it out.
    Absent,
    /// It is there.
    There(&'a T),
}

/// The findings so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

/// Checks a scenario that was made otherwise than by [`parse`](crate::parse), which checks what it reads.
pub fn validate(scenario: &Scenario) -> Vec<Finding> {
    validate_parts(&Parts::of(scenario))
}

/// Checks a name that must be a DNS label.
pub(crate) fn validate_dns_label(name: &str, at: &Path) -> Vec<Finding> {
    let mut findings = Findings::default();
    names::dns_label(name, at, &mut findings);
    findings.0
}

/// Checks what is there.
pub(crate) fn validate_parts(parts: &Parts<'_>) -> Vec<Finding> {
    let mut findings = Findings::default();
    let root = Path::root();
    if let Some(metadata) = parts.metadata {
        names::dns_label(&metadata.name, &root.key("metadata.name"), &mut findings);
    }
    if let Some(cluster) = parts.cluster {
        cluster::check(cluster, &root.key("spec.cluster"), &mut findings);
    }
    if let Optional::There(collector) = parts.collector {
        collector::check(collector, &root.key("spec.collector"), &mut findings);
    }
    if let Some(faults) = parts.faults {
        faults::check(faults, parts, &root.key("spec.faults"), &mut findings);
    }
    if let Some(load) = parts.load {
        load::check(load, &root.key("spec.load"), &mut findings);
    }
    load::without_api_server(parts, &mut findings);
    kind::check(parts, &mut findings);
    existing::check(parts, &mut findings);
    backends::check(parts, &mut findings);
    if let Some(expect) = parts.expect {
        expect::check(expect, parts, &root.key("spec.expect"), &mut findings);
    }
    findings.0
}

/// Entries of a list that a person wrote; what is compared with each other must not be endless.
const MAX_ENTRIES: usize = 1000;

/// The entries of a list that are checked; a finding if that is not all of them.
fn limited<'a, T>(entries: &'a [T], at: &Path, findings: &mut Findings) -> &'a [T] {
    let count = entries.len();
    findings.require(
        count <= MAX_ENTRIES,
        at,
        format!("has {count} entries, and {MAX_ENTRIES} are the limit"),
    );
    &entries[..count.min(MAX_ENTRIES)]
}

/// Checks a part of the run: it must not be empty, and load must be sent in it.
fn window(window: Window, load: Option<&Load>, at: &Path, findings: &mut Findings) {
    if window.from >= window.to {
        findings.add(at, format!("ends at {} but begins at {}", window.to, window.from));
    }
    if let Some(length) = load.and_then(Load::length).filter(|length| window.to > *length) {
        findings
            .add(&at.key("to"), format!("lies after the end of load, which is sent for {length}"))
            .help("times count from the start of load; end earlier or make the load longer")
            .rests_on(load::load_at());
    }
}

// === impl Parts ===

impl<'a> Parts<'a> {
    /// All parts of a whole scenario.
    pub(crate) fn of(scenario: &'a Scenario) -> Self {
        Self {
            metadata: Some(&scenario.metadata),
            cluster: Some(&scenario.spec.cluster),
            collector: scenario.spec.collector.as_ref().map_or(Optional::Absent, Optional::There),
            backends: Some(&scenario.spec.backends),
            faults: Some(&scenario.spec.faults),
            load: Some(&scenario.spec.load),
            expect: Some(&scenario.spec.expect),
        }
    }
}

// === impl Optional ===

impl<T> Optional<'_, T> {
    /// Whether the scenario certainly leaves it out.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T> Clone for Optional<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Optional<'_, T> {}

// === impl Findings ===

impl Findings {
    fn add(&mut self, at: &Path, message: impl Into<String>) -> &mut Finding {
        let finding = Finding { path: at.clone(), message: message.into(), help: None, rests_on: Vec::new() };
        self.0.push_mut(finding)
    }

    /// Adds a finding unless `fine`.
    fn require(&mut self, fine: bool, at: &Path, message: impl Into<String>) {
        if !fine {
            self.add(at, message);
        }
    }
}

// === impl Finding ===

impl Finding {
    fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    fn rests_on(&mut self, part: Path) -> &mut Self {
        self.rests_on.push(part);
        self
    }
}
