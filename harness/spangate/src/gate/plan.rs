//! What a gate is going to do, with every choice made before anything starts.

use std::{path::PathBuf, sync::Arc, time::Duration};

use spangate_cluster::{Component, Wanted};
use spangate_load::synthetic::Synthetic;
use spangate_scenario::{
    collector::{self, CheckOptions, Severity},
    gate::{GateRules, parse_traffic},
    model::{self, Traffic},
};

use crate::{collector::Configuration, error::CommandError, text};

/// What the user asks for.
#[derive(Debug, Clone)]
pub struct Order {
    /// The old configuration.
    pub base: Configuration,
    /// The new one.
    pub head: Configuration,
    /// What is sent; the built-in traffic unless given.
    pub traffic: Traffic,
    /// The rules.
    pub rules: GateRules,
    /// How often both are run; fresh Collectors each time.
    pub rounds: u32,
    /// The Collector's version, `0.161` or `0.161.0`.
    pub version: String,
    /// A binary to use in place of the one that would be looked up.
    pub binary: Option<PathBuf>,
}

/// What a gate is going to do.
pub struct GatePlan {
    /// What the user asks for.
    pub order: Order,
    /// The traces of each round.
    pub(crate) traffic: Vec<Synthetic>,
    /// The names of the classes.
    pub(crate) classes: Vec<Arc<str>>,
}

/// Rounds unless told otherwise. The range of five has the median of all with 94%.
pub const ROUNDS: u32 = 5;
/// Time that a round takes beside traffic and waiting: starting and ending Collectors, judging.
const BESIDE: Duration = Duration::from_secs(3);
/// How long the slowest trace of the built-in traffic goes on after it began, late spans included.
const LONGEST: Duration = Duration::from_secs(3);

/// The traffic of a round unless the user brings some, as a user would write it.
///
/// A loss of one error trace in a thousand must be sure to show: of 8,000 errors in five rounds at least one is lost
/// then in all but 3 of 10,000 runs. That is why errors are a fifth of it, and not the twentieth that one would see on
/// a bad day. What is slow is over before a `decision_wait` of 2 s is.
pub const BUILT_IN_TRAFFIC: &str = "\
rate: 1000/s
shape: poisson
traces: 8000
classes:
  - {name: errors, share: 20%, error: true}
  - {name: slow, share: 5%, duration: {uniform: {min: 1.2s, max: 1.8s}}}
  - {name: normal, share: 70%}
  - {name: late, share: 5%, late: {share: 50%, by: 1.5s}}
";

/// The traffic of a round unless the user brings some.
///
/// # Panics
///
/// Never: that it can be read is tested.
pub fn built_in_traffic() -> Traffic {
    parse_traffic("the built-in traffic", BUILT_IN_TRAFFIC).expect("the built-in traffic can be read")
}

// === impl GatePlan ===

impl GatePlan {
    /// Makes every choice.
    pub fn new(order: Order) -> Result<Self, CommandError> {
        if order.rounds == 0 {
            return Err(CommandError::usage("no round tells nothing: run one or more"));
        }
        // Each round has traces of its own, so that all of them together are as many different ones.
        let traffic = (0..u64::from(order.rounds)).map(|round| {
            let seed = order.traffic.seed.wrapping_add(round);
            Synthetic::new(&Traffic { seed, ..order.traffic.clone() })
        });
        let traffic: Vec<Synthetic> = traffic.collect::<Result<_, _>>().map_err(|error| {
            CommandError::usage("the traces of the traffic cannot be made").because(error)
        })?;
        let classes = traffic.first().map(|synthetic| synthetic.classes().to_vec()).unwrap_or_default();
        Ok(Self { order, traffic, classes })
    }

    /// How long it will take, without what the binaries take.
    pub fn expected(&self) -> Duration {
        (self.order.traffic.length().get() + LONGEST + self.hold() + BESIDE) * self.order.rounds
    }

    /// How long the slower of both configurations may keep a span.
    pub(crate) fn hold(&self) -> Duration {
        self.order.base.hold().max(self.order.head.hold())
    }

    /// What the user is told before it begins.
    pub fn announcement(&self) -> String {
        let traffic = &self.order.traffic;
        format!(
            "{} rounds of {} traces/s for {}, and {} until the Collectors have decided: about {} s",
            self.order.rounds,
            traffic.rate.get(),
            text::duration(traffic.length().get()),
            text::duration(self.hold()),
            self.expected().as_secs()
        )
    }

    /// What `spangate collector check` says of the new configuration and not of the old one, and what the traffic
    /// would be too much for.
    pub fn warnings(&self) -> Vec<String> {
        let options = CheckOptions {
            traces_per_second: Some(self.order.traffic.rate.get()),
            ..CheckOptions::default()
        };
        let found = |configuration: &Configuration| collector::check(&configuration.config, &options);
        let known: Vec<_> =
            found(&self.order.base).into_iter().map(|it| (it.rule, it.path, it.message)).collect();
        let fresh = found(&self.order.head).into_iter().filter(|it| {
            let key = (it.rule, it.path.clone(), it.message.clone());
            it.severity >= Severity::Warning && (!known.contains(&key) || it.rule == TOO_MANY)
        });
        let name = self.order.head.config.name();
        fresh.map(|it| format!("{name}:{}:{}: {} ({})", it.line, it.column, it.message, it.rule)).collect()
    }

    /// The Collector that both configurations are run by.
    pub(crate) fn wanted(&self) -> Result<Wanted, CommandError> {
        let spec = self.order.version.parse().map_err(|error| {
            CommandError::usage("the version of the Collector cannot be understood").because(error)
        })?;
        Ok(Wanted { component: Component::Otelcol, spec, path: self.order.binary.clone() })
    }

    /// The Collector as a scenario would name it.
    pub(crate) fn model(&self) -> model::Collector {
        model::Collector { version: self.order.version.clone(), ..model::Collector::default() }
    }
}

/// The rule that has to do with how much is sent: it is told even if both configurations break it.
const TOO_MANY: &str = "tail-num-traces";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::judge::kept::needed;

    const CONFIG: &str = "
receivers: {otlp: {protocols: {grpc: {endpoint: 127.0.0.1:4317}}}}
processors:
  tail_sampling: {decision_wait: 2s, num_traces: 50000, policies: [{name: all, type: always_sample}]}
exporters: {otlp: {endpoint: 127.0.0.1:5317}}
service: {pipelines: {traces: {receivers: [otlp], processors: [tail_sampling], exporters: [otlp]}}}
";

    fn plan(base: &str, head: &str) -> GatePlan {
        let read = |text: &str| Configuration::parse("c.yaml", text.to_owned(), None).unwrap();
        let traffic = built_in_traffic();
        let rules = GateRules::default_for(&traffic.classes);
        let (version, binary) = (model::Collector::DEFAULT_VERSION.to_owned(), None);
        let (base, head) = (read(base), read(head));
        GatePlan::new(Order { base, head, traffic, rules, rounds: ROUNDS, version, binary }).unwrap()
    }

    /// Scenario: a configuration loses one error trace in a thousand.
    /// Guarantees: the built-in traffic has so many errors that one of them is among the lost ones, and takes less than
    /// 90 s at a `decision_wait` of 2 s.
    #[test]
    fn the_built_in_traffic_is_enough_and_not_too_long() {
        let plan = plan(CONFIG, CONFIG);
        let errors: usize = plan
            .traffic
            .iter()
            .map(|synthetic| synthetic.traces().filter(|trace| trace.has_error).count())
            .sum();
        assert!(errors as u64 > needed(0.001, 0.999), "{errors}");
        assert!(plan.expected() <= Duration::from_secs(90), "{:?}", plan.expected());
    }

    #[test]
    fn only_new_findings_are_warnings() {
        let worse = CONFIG.replace("name: all, type", "name: all, tpye");
        assert_eq!(plan(CONFIG, CONFIG).warnings().len(), 0);
        assert_eq!(plan(&worse, &worse).warnings().len(), 0);
        let few = CONFIG.replace("50000", "100");
        let warned = plan(&few, &few).warnings();
        assert!(warned.len() == 1 && warned[0].contains("tail-num-traces"), "{warned:?}");
    }
}
