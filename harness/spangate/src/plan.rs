//! The plan: a scenario with every choice made that can be made before anything starts.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use spangate_cluster::{Assets, AssetsEnv, Component, VersionSpec, Wanted};
use spangate_load::{Preparation, Replay, ReplayError, Schedule, synthetic::Synthetic};
use spangate_scenario::{
    Loaded, Scenario,
    collector::{CheckOptions, Severity},
    experiment::Quiet,
    model::{self, Expectation, Provider, Spans, Traffic},
};

use crate::{
    collector::Configuration,
    error::CommandError,
    existing::Existing,
    run::{directory::RunDirectory, etcd_proxy, kind},
    text, verdict,
};

/// A scenario with every choice made.
pub struct Plan {
    /// The scenario, with every default in its place.
    pub scenario: Scenario,
    /// Its text.
    pub text: String,
    /// Its file.
    pub path: PathBuf,
    /// The whole load, fixed before the run.
    pub schedule: Schedule,
    /// What is sent again, when the load is a replay.
    pub replay: Option<Replay>,
    /// What must exist before the load starts.
    pub preparation: Preparation,
    /// The traces to send, when the load is traces.
    pub synthetic: Option<Synthetic>,
    /// The Collector's configuration, if there is a Collector.
    pub collector: Option<Configuration>,
    /// The user's own config of kind, if the scenario names one.
    pub kind_config: Option<String>,
    /// The seed, when it is not the scenario's own.
    pub seed_override: Option<u64>,
    /// What is replayed, when it is not what the scenario names.
    pub record_override: Option<PathBuf>,
    /// What of the Collector is not as the scenario says.
    pub collector_override: CollectorOverride,
    /// The provider, when it is not the scenario's own.
    pub provider_override: Option<Provider>,
    /// The version of Kubernetes, when it is not the scenario's own.
    pub kubernetes_override: Option<VersionSpec>,
    /// The cluster that is there already, on the provider existing.
    pub existing: Option<Existing>,
    /// Where the run is a unit of an experiment: when its API server is quiet enough to be loaded. Nothing is then waited
    /// for that is missing after the load.
    pub quiet: Option<Quiet>,
}

/// A Collector, or a configuration of it, in place of the scenario's; paths as the user gave them.
#[derive(Debug, Clone, Default)]
pub struct CollectorOverride {
    /// The binary.
    pub binary: Option<PathBuf>,
    /// The configuration.
    pub config: Option<PathBuf>,
}

/// What a user is shown of a plan.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// The scenario, with every default in its place.
    pub scenario: Scenario,
    /// The programs that would be started, and whether they are at hand.
    pub components: Vec<ComponentView>,
    /// The load.
    pub load: LoadView,
    /// What is likely to go wrong with the Collector's configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub collector: Vec<String>,
    /// kind's config as it would be completed, if the cluster is one of kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The command that runs it.
    pub run: String,
}

/// A program that would be started.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentView {
    /// Its name.
    pub name: String,
    /// The version that is wanted.
    pub wanted: String,
    /// Where it is, or how it would be had.
    pub found: String,
}

/// The load in figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadView {
    /// Operations, or traces.
    pub operations: u64,
    /// Operations by mix entry, in the scenario's order.
    pub by_entry: Vec<u64>,
    /// Operations per second.
    pub rate: f64,
    /// Objects that are made beforehand.
    pub prepared_objects: usize,
    /// A hash of the whole schedule: the same for the same load and seed, everywhere.
    pub fingerprint: String,
}

// === impl Plan ===

impl Plan {
    /// Makes every choice; `seed` replaces the scenario's.
    pub fn new(loaded: Loaded, seed: Option<u64>) -> Result<Self, CommandError> {
        let Loaded { mut scenario, text, path } = loaded;
        if let Some(seed) = seed {
            scenario.spec.seed = seed;
        }
        let mistakes = cel_mistakes(&scenario);
        if !mistakes.is_empty() {
            return Err(CommandError::usage(mistakes.join("\n")));
        }
        let load = &scenario.spec.load;
        let replay = read_replay(&scenario, &path).transpose().map_err(|error| {
            CommandError::usage(format!("the load of {} cannot be replayed", path.display())).because(error)
        })?;
        let schedule = match &replay {
            Some(replay) => replay.schedule(scenario.spec.seed),
            None => Schedule::new(load, scenario.spec.seed),
        };
        if load.arrivals.is_some() && schedule.planned() == 0 {
            return Err(CommandError::usage(format!("the load of {} has no operation", path.display()))
                .help(format!(
                    "its rates and times came to nothing with seed {}: raise either",
                    scenario.spec.seed
                )));
        }
        let base = path.parent().unwrap_or(Path::new(""));
        let collector = scenario.spec.collector.as_ref();
        let collector = collector.map(|collector| Configuration::read(collector, base)).transpose()?;
        collector.as_ref().map_or(Ok(()), |configuration| configuration.suits(&scenario))?;
        let kind_config = read_kind_config(&scenario, base)?;
        let synthetic = load.traces.as_ref().map(|traffic| {
            // The seed of the traffic tells several of them apart, that of the scenario several runs.
            let seed = scenario.spec.seed.wrapping_add(traffic.seed);
            Synthetic::new(&Traffic { seed, ..traffic.clone() })
        });
        let synthetic = synthetic.transpose().map_err(|error| {
            CommandError::usage(format!("the traces of {} cannot be made", path.display())).because(error)
        })?;
        let mut preparation = Preparation::new(load, &schedule);
        if let Some(replay) = &replay {
            replay.prepare(load, &mut preparation);
        }
        if scenario.spec.cluster.provider == Provider::Existing && preparation.custom_resources {
            let message =
                format!("{} cannot run on an existing cluster: its load has `widgets`", path.display());
            return Err(CommandError::usage(message).help(
                "their definition would be one of the whole cluster; what a run makes there is in namespaces of its own",
            ));
        }
        Ok(Self {
            scenario,
            text,
            path,
            schedule,
            replay,
            preparation,
            synthetic,
            collector,
            kind_config,
            seed_override: seed,
            record_override: None,
            collector_override: CollectorOverride::default(),
            provider_override: None,
            kubernetes_override: None,
            existing: None,
            quiet: None,
        })
    }

    /// What a user should know before the plan is carried out.
    pub fn warnings(&self) -> Vec<String> {
        let broken = self.replay.iter().filter_map(broken_lines);
        let remarks =
            self.collector.iter().flat_map(|it| it.remarks(&self.check_options(), Severity::Warning));
        broken.chain(remarks).collect()
    }

    /// What is known of the traces that the Collector will be given.
    fn check_options(&self) -> CheckOptions {
        CheckOptions {
            // Spans of synthetic traces come as the traffic says, and those of an API server when its batch is due.
            batch_flush: match &self.synthetic {
                Some(_) => Duration::ZERO,
                None => self.scenario.spec.cluster.tracing.batch.schedule_delay.get(),
            },
            traces_per_second: self
                .synthetic
                .is_some()
                .then(|| self.load_view().rate)
                .filter(|rate| *rate > 0.0),
            ..CheckOptions::default()
        }
    }

    /// Whether there is a kind cluster, for an API server or for a Collector.
    pub fn on_kind(&self) -> bool {
        let has_part = self.synthetic.is_none() || self.collector.is_some();
        self.scenario.spec.cluster.provider == Provider::Kind && has_part
    }

    /// Whether it runs on a cluster that is there already.
    pub fn on_existing(&self) -> bool {
        self.scenario.spec.cluster.provider == Provider::Existing && self.synthetic.is_none()
    }

    /// The programs that the scenario wants, in the order in which they are looked for.
    pub fn wanted(&self, assets: &Assets) -> Result<Vec<Wanted>, CommandError> {
        let cluster = &self.scenario.spec.cluster;
        let wrong =
            |error| CommandError::usage("a version of the scenario cannot be understood").because(error);
        // A named image has its own.
        let has_image = |collector: &&model::Collector| {
            collector.container.as_ref().is_some_and(|container| container.image.is_some())
        };
        let collector = self.scenario.spec.collector.as_ref().filter(|it| !has_image(it)).map(|collector| {
            Ok(Wanted {
                component: Component::Otelcol,
                spec: collector.version.parse().map_err(wrong)?,
                path: collector.binary.clone(),
            })
        });
        let collector = collector.transpose()?;
        if self.on_existing() {
            return Ok(Vec::new());
        }
        if self.on_kind() {
            return Ok([assets.wanted_kind(cluster)].into_iter().chain(collector).collect());
        }
        let api_server = assets.wanted_kube_apiserver(cluster).map_err(wrong)?;
        let kubernetes = assets
            .catalogue()
            .resolve(api_server.component, api_server.spec)
            .map_or_else(|| format!("{}.0", cluster.kubernetes).parse(), |release| Ok(release.version))
            .or_else(|_| cluster.kubernetes.parse())
            .map_err(wrong)?;
        let etcd = assets.wanted_etcd(cluster, kubernetes).map_err(wrong)?;
        let cluster = if self.synthetic.is_some() { Vec::new() } else { vec![etcd, api_server] };
        let backends = self.scenario.spec.backends.each().filter(|(_, backend)| backend.image.is_none());
        let backends = backends.map(|(name, _)| {
            let component = if name == "jaeger" { Component::Jaeger } else { Component::Prometheus };
            assets.wanted_default(component)
        });
        Ok(cluster.into_iter().chain(collector).chain(backends).collect())
    }

    /// How long the load is sent.
    pub fn duration(&self) -> Duration {
        let of_traces = self.scenario.spec.load.traces.as_ref().map(Traffic::length);
        of_traces.map_or(self.schedule.duration, spangate_scenario::units::Duration::get)
    }

    /// The command that repeats the run.
    pub fn repeat(&self) -> String {
        let options = [
            ("record", &self.record_override),
            ("otelcol", &self.collector_override.binary),
            ("collector-config", &self.collector_override.config),
        ];
        let options = options.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?)));
        let mut command = format!("spangate run {} --seed {}", word(&self.path), self.scenario.spec.seed);
        command = self.where_it_ran(command);
        for (name, path) in options {
            command = format!("{command} --{name} {}", word(path));
        }
        command
    }

    /// A script that repeats the run with what lies beside it, the scenario and the record of a replay, by the program
    /// that ran it.
    pub fn repeat_script(&self) -> String {
        let program = std::env::current_exe().map_or_else(|_| "spangate".to_owned(), |path| word(&path));
        let mut command = format!("{program} run \"$here/scenario.yaml\" --seed {}", self.scenario.spec.seed);
        let binaries = &self.scenario.spec.cluster.binaries;
        for (option, path) in [("kube-apiserver", &binaries.kube_apiserver), ("etcd", &binaries.etcd)] {
            if let Some(path) = path {
                // They are looked up where the user was, and the script may be run from elsewhere.
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                command = format!("{command} --{option} {}", word(&path));
            }
        }
        command = self.where_it_ran(command);
        if self.kind_config.is_some() {
            command = format!("{command} --kind-config \"$here/{}\"", RunDirectory::KIND);
        }
        if let Some(collector) = &self.scenario.spec.collector {
            if let Some(binary) = &collector.binary {
                let binary = std::path::absolute(binary).unwrap_or_else(|_| binary.clone());
                command = format!("{command} --otelcol {}", word(&binary));
            }
            if collector.config_file.is_some() {
                command = format!("{command} --collector-config \"$here/{}\"", RunDirectory::COLLECTOR);
            }
        }
        if self.replay.is_some() {
            command = format!("{command} --record \"$here/{}\"", RunDirectory::RECORD);
        }
        format!("#!/bin/sh\nhere=$(dirname \"$0\")\nexec {command} --out \"$here/..\" \"$@\"\n")
    }

    /// The command with what says where it ran.
    fn where_it_ran(&self, mut command: String) -> String {
        if let Some(provider) = self.provider_override {
            command = format!("{command} --provider {provider}");
        }
        if let Some(version) = self.kubernetes_override {
            command = format!("{command} --kubernetes {version}");
        }
        for (name, value) in self.existing.iter().flat_map(|existing| &existing.options) {
            command = format!("{command} --{name} {}", shell_word(value));
        }
        command
    }

    /// What a user is shown.
    pub fn view(&self) -> View {
        let assets = Assets::new(AssetsEnv::from_process());
        let components = self.wanted(&assets).into_iter().flatten().map(|wanted| ComponentView {
            name: wanted.component.to_string(),
            wanted: wanted.spec.to_string(),
            found: match (assets.locate(&wanted), &wanted.path) {
                (Some(found), _) => found.to_string(),
                (None, Some(path)) => format!("{} is no such program", path.display()),
                (None, None) if assets.catalogue().resolve(wanted.component, wanted.spec).is_none() => {
                    "not at hand, and not in the catalogue: see `spangate assets list`".to_owned()
                }
                (None, None) => "not at hand: would be downloaded or built".to_owned(),
            },
        });
        View {
            scenario: self.scenario.clone(),
            components: components.collect(),
            load: self.load_view(),
            collector: self
                .collector
                .iter()
                .flat_map(|it| it.remarks(&self.check_options(), Severity::Warning))
                .collect(),
            // That it can be completed was seen when the plan was made.
            kind: self.on_kind().then(|| self.kind_plan().ok()).flatten(),
            run: self.repeat(),
        }
    }

    /// kind's config as it would be completed.
    fn kind_plan(&self) -> Result<String, CommandError> {
        kind::planned(
            &self.scenario.spec.cluster,
            self.kind_config.as_deref(),
            has_etcd_faults(&self.scenario),
        )
    }

    /// The load in figures.
    pub fn load_view(&self) -> LoadView {
        let mut by_entry = vec![0; self.scenario.spec.load.entries().count()];
        // The requests of a replay are of no entry.
        let arrivals = self.schedule.arrivals().filter(|_| self.replay.is_none());
        arrivals.for_each(|arrival| by_entry[arrival.entry] += 1);
        if let Some(synthetic) = &self.synthetic {
            let traces = synthetic.traces().count() as u64;
            return LoadView {
                operations: traces,
                by_entry: Vec::new(),
                rate: traces as f64 / self.duration().as_secs_f64().max(f64::MIN_POSITIVE),
                prepared_objects: 0,
                fingerprint: format!("{:016x}", synthetic.fingerprint()),
            };
        }
        LoadView {
            operations: self.schedule.planned(),
            by_entry,
            rate: self.schedule.rate(),
            prepared_objects: self.preparation.len(),
            fingerprint: format!("{:016x}", self.schedule.fingerprint()),
        }
    }
}

/// Reads the config of kind that a scenario names, and sees whether it can be completed.
fn read_kind_config(scenario: &Scenario, base: &Path) -> Result<Option<String>, CommandError> {
    let cluster = &scenario.spec.cluster;
    if cluster.provider != Provider::Kind {
        return Ok(None);
    }
    let config = cluster.kind.config_file.as_ref().map(|file| {
        let path = base.join(file);
        std::fs::read_to_string(&path).map_err(|error| {
            CommandError::usage(format!("the kind config {} cannot be read", path.display())).because(error)
        })
    });
    let config = config.transpose()?;
    kind::planned(cluster, config.as_deref(), has_etcd_faults(scenario))?;
    Ok(config)
}

fn has_etcd_faults(scenario: &Scenario) -> bool {
    etcd_proxy::faults(scenario).next().is_some()
}

/// Reads what a scenario replays, if it does; `path` is its file.
pub fn read_replay(scenario: &Scenario, path: &Path) -> Option<Result<Replay, ReplayError>> {
    let load = &scenario.spec.load;
    let base = path.parent().unwrap_or(Path::new(""));
    load.replay.as_ref().map(|_| Replay::read(load, base))
}

/// What of a record is broken, if anything is.
pub fn broken_lines(replay: &Replay) -> Option<String> {
    let broken = replay.broken_lines();
    let reasons: Vec<String> = broken.iter().map(ToString::to_string).collect();
    let (count, path) = (broken.iter().map(|lines| lines.count).sum::<u64>(), replay.path().display());
    match count {
        0 => None,
        1 => Some(format!("1 line of {path} is broken and cannot be replayed: {}", reasons.join(", "))),
        _ => {
            Some(format!("{count} lines of {path} are broken and cannot be replayed: {}", reasons.join(", ")))
        }
    }
}

/// What is wrong with the CEL expressions of the expectations; the scenario crate knows no CEL.
pub fn cel_mistakes(scenario: &Scenario) -> Vec<String> {
    (0_usize..)
        .zip(&scenario.spec.expect)
        .filter_map(|(number, expectation)| {
            let Expectation::Spans(Spans { cel: Some(source), .. }) = expectation else { return None };
            let error = verdict::cel_mistake(source)?;
            Some(format!("spec.expect[{number}].spans.cel: {error}"))
        })
        .collect()
}

/// A path as a word that a shell reads as it stands.
fn word(path: &Path) -> String {
    shell_word(&path.display().to_string())
}

/// A word that a shell reads as it stands.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# what would be started")?;
        for component in &self.components {
            writeln!(f, "#   {} {}: {}", component.name, component.wanted, component.found)?;
        }
        let place = match self.scenario.spec.cluster.provider {
            Provider::Local => "any free port on loopback",
            Provider::Kind => "any free port at the gateway of the cluster's network",
            Provider::Existing => "where the API server exports to (--otlp-listen)",
        };
        writeln!(f, "#   OTLP sink: {place}")?;
        let load = &self.load;
        writeln!(f, "# what would be sent")?;
        let what = if self.scenario.spec.load.traces.is_some() {
            "traces".to_owned()
        } else {
            format!("operations, after making {} objects", load.prepared_objects)
        };
        writeln!(f, "#   {} {what}; {:.1}/s; schedule {}", load.operations, load.rate, load.fingerprint)?;
        for (entry, n) in load.by_entry.iter().enumerate() {
            let share = *n as f64 / load.operations.max(1) as f64;
            writeln!(f, "#   mix[{entry}]: {n} ({})", text::percent(share))?;
        }
        writeln!(f, "# run it with: {}", self.run)?;
        f.write_str(&self.scenario.to_yaml())?;
        if let Some(kind) = &self.kind {
            write!(f, "---\n# what kind would be given\n{kind}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: Option<u64>) -> Plan {
        let loaded = Loaded {
            scenario: crate::testing::scenario(),
            text: String::new(),
            path: "my scenario.yaml".into(),
        };
        Plan::new(loaded, seed).unwrap()
    }

    #[test]
    fn the_seed_of_the_command_line_wins_and_is_repeated() {
        let plan = plan(Some(99));
        assert_eq!(plan.scenario.spec.seed, 99);
        assert_eq!(plan.repeat(), "spangate run 'my scenario.yaml' --seed 99");
    }

    #[test]
    fn what_is_replayed_and_started_is_found_from_anywhere() {
        let mut plan = plan(None);
        plan.scenario.spec.cluster.binaries.etcd = Some("bin/etcd".into());
        let etcd = std::path::absolute("bin/etcd").unwrap();
        let script = plan.repeat_script();
        assert!(script.contains(&format!(" --etcd {}", word(&etcd))), "{script}");
        assert!(!script.contains("--record"), "{script}");
        plan.record_override = Some("my log.jsonl".into());
        plan.collector_override.config = Some("new.yaml".into());
        plan.kubernetes_override = Some("1.34".parse().unwrap());
        assert_eq!(
            plan.repeat(),
            "spangate run 'my scenario.yaml' --seed 1 --kubernetes 1.34 --record 'my log.jsonl' --collector-config new.yaml"
        );
    }

    #[test]
    fn equal_plans_have_equal_schedules() {
        let print = |seed| plan(seed).view().load.fingerprint;
        assert_eq!(print(None), print(None));
        assert_ne!(print(None), print(Some(2)));
    }
}
