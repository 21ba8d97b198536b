//! One side of a pair: from a file of any of three kinds to a scenario.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use spangate_scenario::{
    Diagnostics, Loaded, experiment, gate,
    model::{Binaries, Provider},
    units,
};

use crate::{error::CommandError, plan::Plan};

/// One side.
#[derive(Debug, Clone)]
pub struct Side {
    /// Its file, as the user named it.
    pub file: String,
    /// Its scenario.
    pub loaded: Loaded,
    /// What was asked of it, in a few words.
    what: String,
}

/// What is sent where the configuration does not say: reads and writes of a client whose `traceparent` is not honoured, so
/// that the sampling rate decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BuiltIn {
    /// Operations in a second.
    pub rate: f64,
    /// How long they are sent.
    pub length: Duration,
}

/// A `TracingConfiguration` (`staging/src/k8s.io/component-base/tracing/api/v1/types.go`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "fields that are read and checked, and are for the API server alone")]
struct TracingConfiguration {
    api_version: String,
    kind: TracingKind,
    endpoint: Option<String>,
    sampling_rate_per_million: Option<u32>,
}

#[derive(Debug, Deserialize)]
enum TracingKind {
    TracingConfiguration,
}

// === impl BuiltIn ===

impl BuiltIn {
    /// A scenario with that load.
    fn scenario(&self, sampling: Option<u32>, collector: Option<&Path>) -> String {
        let tracing = sampling.map_or_else(String::new, |rate| format!("samplingRatePerMillion: {rate}"));
        let collector = collector.map_or_else(String::new, |path| {
            // JSON is YAML, whatever is in the path.
            format!("  collector: {{configFile: {}}}\n", serde_json::json!(path.display().to_string()))
        });
        format!(
            "apiVersion: spangate/v1alpha1\nkind: Scenario\nmetadata: {{name: gate-overhead}}\nspec:\n  cluster: {{tracing: \
             {{{tracing}}}}}\n{collector}  load:\n    arrivals: {{rate: {}/s, for: {}ms}}\n    mix:\n      - {{weight: 4, \
             as: unprivileged, traceparent: none, get: {{resource: configmaps}}}}\n      - {{weight: 2, as: unprivileged, \
             traceparent: none, list: {{resource: configmaps, limit: 50}}}}\n      - {{weight: 2, as: unprivileged, \
             traceparent: none, patch: {{resource: configmaps}}}}\n      - {{weight: 1, as: unprivileged, traceparent: \
             none, create: {{resource: configmaps}}}}\n    objects: 200\n  expect:\n    - requests: {{where: {{status: \
             \">= 400\"}}, share: \"< 1%\"}}\n",
            self.rate,
            self.length.as_millis(),
        )
    }
}

// === impl Side ===

impl Side {
    /// Reads a configuration: a scenario, an arm of an experiment (`FILE:ARM`), a `TracingConfiguration`, or the
    /// configuration of a Collector. The last two are put into a scenario with the built-in load; the Collector is given the
    /// spans of every request.
    pub fn read(path: &Path, built_in: &BuiltIn) -> Result<Self, CommandError> {
        let named = path.to_str().and_then(|text| text.rsplit_once(':'));
        if let Some((file, arm)) = named.filter(|(file, _)| !path.exists() && Path::new(file).exists()) {
            return Self::of_arm(file, arm);
        }
        let text = fs::read_to_string(path)
            .map_err(|error| CommandError::usage(format!("cannot read {}", path.display())).because(error))?;
        let file = path.display().to_string();
        let says = |kind: &str| text.lines().any(|line| line.trim_end() == format!("kind: {kind}"));
        if says("Scenario") {
            let loaded = spangate_scenario::read(path).map_err(|error| match error {
                spangate_scenario::ReadError::Invalid(wrong) => invalid(&file, &wrong),
                error => CommandError::usage(format!("cannot read {file}")).because(error),
            })?;
            let what = loaded.scenario.metadata.name.clone();
            return Ok(Self { file, loaded, what });
        }
        let (text, what) = if says("TracingConfiguration") {
            let help = "it begins with `apiVersion` and `kind: TracingConfiguration`";
            let tracing: TracingConfiguration =
                gate::parse(&file, &text, help, |_| Vec::new()).map_err(|wrong| invalid(&file, &wrong))?;
            let rate = tracing.sampling_rate_per_million;
            let what = rate.map_or_else(
                || "no sampling rate".to_owned(),
                |rate| format!("{rate} of a million requests traced"),
            );
            (built_in.scenario(rate, None), what)
        } else {
            let absolute = std::path::absolute(path)
                .map_err(|error| CommandError::usage(format!("{file} is no path")).because(error))?;
            (built_in.scenario(Some(1_000_000), Some(&absolute)), "a Collector".to_owned())
        };
        let scenario = spangate_scenario::parse(&file, &text).map_err(|wrong| invalid(&file, &wrong))?;
        Ok(Self { file, loaded: Loaded { scenario, text, path: path.to_owned() }, what })
    }

    /// An arm of an experiment.
    fn of_arm(file: &str, arm: &str) -> Result<Self, CommandError> {
        let text = fs::read_to_string(file)
            .map_err(|error| CommandError::usage(format!("cannot read {file}")).because(error))?;
        let experiment = experiment::parse(file, &text).map_err(|wrong| invalid(file, &wrong))?;
        let arms = &experiment.spec.arms;
        let Some(found) = arms.iter().find(|it| it.name == arm) else {
            let names: Vec<&str> = arms.iter().map(|it| it.name.as_str()).collect();
            return Err(CommandError::usage(format!("{file} has no arm `{arm}`"))
                .help(format!("it has {}", names.join(", "))));
        };
        let mut scenario = experiment.scenario(found, 0);
        scenario.metadata.name.clone_from(&experiment.metadata.name);
        let what = found.description.clone().unwrap_or_else(|| "an arm of an experiment".to_owned());
        let text = scenario.to_yaml();
        Ok(Self { file: format!("{file}:{arm}"), loaded: Loaded { scenario, text, path: file.into() }, what })
    }

    /// The same with another API server.
    #[must_use]
    pub fn with_api_server(mut self, binary: Option<PathBuf>) -> Self {
        if let Some(binary) = binary {
            self.what = format!("{}, {}", self.what, binary.display());
            self.loaded.scenario.spec.cluster.binaries.kube_apiserver = Some(binary);
        }
        self
    }

    /// For how long its load is sent.
    pub fn length(&self) -> Duration {
        self.loaded.scenario.spec.load.length().map_or(Duration::ZERO, units::Duration::get)
    }

    /// What it is, in a few words.
    pub fn describe(&self) -> String {
        format!("{} ({})", self.file, self.what)
    }

    /// The plan of a run of it.
    pub(super) fn plan(&self, seed: u64) -> Result<Plan, CommandError> {
        let mut loaded = self.loaded.clone();
        // What is measured here is processes of this machine.
        if loaded.scenario.spec.cluster.provider == Provider::Kind {
            return Err(CommandError::usage(format!("{} is for a kind cluster", self.file))
                .help("its API server is measured with `provider: local`"));
        }
        loaded.scenario.spec.seed = seed;
        Plan::new(loaded, Some(seed))
    }
}

/// All that a side is, in a text that is the same wherever its files are: the configuration of a Collector is in it, and what
/// this machine calls that and its binaries is not. Versions are told apart from it.
pub(super) fn print(plan: &Plan) -> String {
    let mut scenario = plan.scenario.clone();
    scenario.spec.cluster.binaries = Binaries::default();
    if let Some(collector) = &mut scenario.spec.collector {
        (collector.binary, collector.config_file) = (None, None);
        collector.config = plan.collector.as_ref().map(|configuration| configuration.text.clone());
    }
    scenario.to_yaml()
}

/// All that is wrong with a file.
fn invalid(file: &str, wrong: &Diagnostics) -> CommandError {
    let all: Vec<String> = wrong
        .problems()
        .iter()
        .map(|problem| {
            let help = problem.advice().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("line {}: {problem}{help}", problem.line())
        })
        .collect();
    CommandError::usage(format!("{file} is not valid")).help(all.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT_IN: BuiltIn = BuiltIn { rate: 150.0, length: Duration::from_secs(20) };

    fn side(text: &str) -> Result<Side, CommandError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        fs::write(&path, text).unwrap();
        Side::read(&path, &BUILT_IN)
    }

    #[test]
    fn every_kind_of_file_is_a_scenario() {
        let tracing = "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n";
        let rate = side(&format!("{tracing}samplingRatePerMillion: 10000\n")).unwrap();
        let spec = &rate.loaded.scenario.spec;
        assert_eq!(spec.cluster.tracing.sampling_rate_per_million.map(units::PerMillion::get), Some(10_000));
        assert!(rate.describe().contains("10000 of a million") && spec.collector.is_none());
        assert_eq!(rate.length(), Duration::from_secs(20));

        let unset = side(tracing).unwrap();
        assert_eq!(unset.loaded.scenario.spec.cluster.tracing.sampling_rate_per_million, None);
        assert!(unset.describe().contains("no sampling rate"));

        let scenario = format!("{}\n", crate::testing::scenario().to_yaml());
        assert!(side(&scenario).is_ok());
    }

    /// Scenario: the same configuration of a Collector in two places, with and without a server of one's own, and another one.
    /// Guarantees: a side is told by what it is, and not by where it is.
    #[test]
    fn a_side_is_what_is_in_its_files() {
        let config = |sends: &str| {
            format!(
                "receivers: {{otlp: {{protocols: {{grpc: }}}}}}\nexporters: {{{sends}}}\nservice: {{pipelines: {{traces: \
                 {{receivers: [otlp], exporters: [{}]}}}}}}\n",
                sends.split(':').next().unwrap()
            )
        };
        let printed = |text: &str, binary: Option<&str>| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("config.yaml");
            fs::write(&path, text).unwrap();
            let side = Side::read(&path, &BUILT_IN).unwrap().with_api_server(binary.map(PathBuf::from));
            print(&side.plan(1).unwrap())
        };
        let (otlp, nop) = (config("otlp_grpc: {endpoint: 'x:4317'}"), config("nop: "));
        assert_eq!(printed(&otlp, None), printed(&otlp, Some("/somewhere/kube-apiserver")));
        assert_ne!(printed(&otlp, None), printed(&nop, None));
    }

    #[test]
    fn an_arm_of_an_experiment_is_named_after_its_file() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/overhead.yaml");
        let arm = |name: &str| Side::read(Path::new(&format!("{}:{name}", file.display())), &BUILT_IN);
        let (none, all) = (arm("off").unwrap(), arm("100-percent").unwrap());
        assert_eq!(none.loaded.scenario.spec.load, all.loaded.scenario.spec.load);
        assert_ne!(none.loaded.scenario.spec.cluster, all.loaded.scenario.spec.cluster);
        assert!(arm("200-percent").unwrap_err().to_string().ends_with("has no arm `200-percent`"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let wrong = side("kind: TracingConfiguration\napiVersion: x\nsamplingRate: 5\n").unwrap_err();
        let told = format!("{:?}", miette::Report::new(wrong));
        assert!(told.contains("line 3"), "{told}");
    }
}
