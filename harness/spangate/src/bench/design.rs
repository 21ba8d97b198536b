//! The design of a duet: which requests, how many, in which order.
//!
//! With the sampling rate unset, the API server traces a request of `system:masters` when its `traceparent` says so, and
//! no other. So one process can be measured with and without, in blocks that follow each other within seconds: what
//! differs between two starts of the server, which is far more than tracing costs, is in both.

use std::{fmt::Write as _, time::Duration};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use spangate_trace::stats::SplitMix64;

use crate::error::CommandError;

/// What is sent again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Operation {
    /// Reads a config map from etcd.
    Get,
    /// Reads up to 50 config maps.
    List,
    /// Creates a config map.
    Create,
    /// Reads a config map and replaces it.
    Update,
    /// Patches a config map.
    Patch,
}

/// The design of a duet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Design {
    /// Operations in a second.
    pub rate: f64,
    /// The length of a block.
    pub block: Duration,
    /// Pairs of blocks for each operation.
    pub pairs: u32,
    /// How long is sent before anything counts: a server that has just begun has work of its own.
    pub warm_up: Duration,
    /// The seed of the order of blocks.
    pub seed: u64,
    /// The version of Kubernetes.
    pub kubernetes: String,
}

/// A block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Its number, from zero.
    pub number: u32,
    /// Whether its requests are traced.
    pub traced: bool,
}

/// What the start of a block is left out: the spans of the one before leave the server with the next export.
pub const SETTLE: Duration = Duration::from_millis(300);

// === impl Operation ===

impl Operation {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 5] = [Self::Get, Self::List, Self::Create, Self::Update, Self::Patch];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
        }
    }

    /// Objects that are there before: a page of a list, and for updates so many that hardly any two of them meet.
    const fn objects(self) -> u32 {
        match self {
            Self::Update => 1000,
            Self::Get | Self::List | Self::Create | Self::Patch => 50,
        }
    }

    /// Requests that it sends each time.
    pub(super) const fn requests(self) -> u32 {
        match self {
            Self::Update => 2,
            Self::Get | Self::List | Self::Create | Self::Patch => 1,
        }
    }

    /// As an entry of a mix.
    const fn entry(self) -> &'static str {
        match self {
            Self::Get => "get: {resource: configmaps}",
            Self::List => "list: {resource: configmaps, limit: 50}",
            Self::Create => "create: {resource: configmaps}",
            Self::Update => "update: {resource: configmaps}",
            Self::Patch => "patch: {resource: configmaps}",
        }
    }
}

// === impl Design ===

impl Design {
    /// Pairs without which nothing can be said: so many have eight equal blocks that follow each other, in whatever order they
    /// are drawn, and fewer have no interval at 99 % (`docs/overhead.md`).
    pub const FEWEST_PAIRS: u32 = 16;

    /// Says what is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), CommandError> {
        let mut wrong = Vec::new();
        if self.pairs < Self::FEWEST_PAIRS || self.pairs > 400 {
            wrong.push(format!("--pairs must be {} to 400, got {}", Self::FEWEST_PAIRS, self.pairs));
        }
        if self.block < 3 * SETTLE || self.block > Duration::from_mins(1) {
            let least = (3 * SETTLE).as_millis();
            wrong.push(format!("--block must be {least}ms to 1m, got {}ms", self.block.as_millis()));
        }
        if !(1.0..=10_000.0).contains(&self.rate) {
            wrong.push(format!("--rate must be 1/s to 10000/s, got {}/s", self.rate));
        }
        // All else that a scenario takes from here is right now.
        if wrong.is_empty() && spangate_scenario::parse("the duet", &self.scenario(Operation::Get)).is_err() {
            wrong.push(format!(
                "--kubernetes must be a version, such as 1.37 or 1.37.2, got {}",
                self.kubernetes
            ));
        }
        if wrong.is_empty() { Ok(()) } else { Err(CommandError::usage(wrong.join("\n"))) }
    }

    /// The blocks in the order in which they are sent: of each pair one is traced, and whether that is the first one is
    /// drawn for two pairs at a time, the second of which has the other order. What drifts in a straight line is so in
    /// both alike.
    pub fn blocks(&self) -> Vec<Block> {
        let mut random = SplitMix64::new(self.seed);
        let mut first = false;
        (0..2 * self.pairs)
            .map(|number| {
                if number % 4 == 0 {
                    first = random.below(2) == 1;
                }
                let traced = if matches!(number % 4, 0 | 3) { first } else { !first };
                Block { number, traced }
            })
            .collect()
    }

    /// When a block begins, from the start of the load.
    pub fn start(&self, block: Block) -> Duration {
        self.warm_up + self.block * block.number
    }

    /// How long all of one operation takes to send.
    pub fn length(&self) -> Duration {
        self.warm_up + self.block * (2 * self.pairs)
    }

    /// The scenario that sends one operation.
    pub fn scenario(&self, operation: Operation) -> String {
        let stage = |name: String, length: Duration, traced: bool| {
            let flag = if traced { "sampled" } else { "unsampled" };
            format!(
                "        - {{name: {name}, rate: {}/s, for: {}ms, mix: [{{traceparent: {flag}, {}}}]}}\n",
                self.rate,
                length.as_millis(),
                operation.entry()
            )
        };
        let mut stages = stage("warm-up".to_owned(), self.warm_up, true);
        for block in self.blocks() {
            let kind = if block.traced { "traced" } else { "plain" };
            let _ = write!(stages, "{}", stage(format!("{kind}-{}", block.number), self.block, block.traced));
        }
        format!(
            "apiVersion: spangate/v1alpha1\nkind: Scenario\nmetadata:\n  name: duet-{}\nspec:\n  seed: {}\n  cluster: \
             {{kubernetes: \"{}\"}}\n  load:\n    arrivals:\n      stages:\n{stages}    objects: {}\n  expect:\n    \
             - requests: {{where: {{status: \">= 400\"}}, share: \"< 1%\"}}\n",
            operation.name(),
            self.seed,
            self.kubernetes,
            operation.objects(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn design() -> Design {
        Design {
            rate: 200.0,
            block: Duration::from_secs(2),
            pairs: 20,
            warm_up: Duration::from_secs(10),
            seed: 5,
            kubernetes: "1.37".to_owned(),
        }
    }

    #[test]
    fn of_each_pair_one_is_traced_and_orders_are_balanced() {
        let blocks = design().blocks();
        assert_eq!(blocks.len(), 40);
        for four in blocks.chunks(4) {
            let traced: Vec<bool> = four.iter().map(|block| block.traced).collect();
            assert!(
                traced == [true, false, false, true] || traced == [false, true, true, false],
                "{traced:?}"
            );
        }
        let orders = blocks.chunks(4).filter(|four| four[0].traced).count();
        assert!((1..10).contains(&orders), "{orders}");
    }

    #[test]
    fn every_operation_is_a_valid_scenario() {
        for operation in Operation::ALL {
            let text = design().scenario(operation);
            let scenario =
                spangate_scenario::parse("duet", &text).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
            assert_eq!(scenario.spec.load.arrivals.unwrap().stages.len(), 41);
        }
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let design = Design { pairs: 1, rate: 0.0, block: Duration::from_millis(1), ..design() };
        let told = design.check().unwrap_err().to_string();
        assert!(["--pairs", "--rate", "--block"].iter().all(|option| told.contains(option)), "{told}");
        assert!(self::design().check().is_ok());
        for version in ["latest", "1.37\"}"] {
            let design = Design { kubernetes: version.to_owned(), ..self::design() };
            let told = design.check().unwrap_err().to_string();
            assert!(told.starts_with("--kubernetes must be a version"), "{told}");
        }
    }
}
