//! A cluster that is there already: how a run may use it, and what it makes there.
//!
//! It is somebody else's. A run works in namespaces of its own, whose names nobody else has; all that it makes has its
//! label, and goes with it. What the API server traces, and where to, is compared with the scenario and never set.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use spangate_load::object::{MANAGED_BY, RUN_LABEL};
use spangate_scenario::{
    Scenario,
    model::{Cluster, Fault, Provider},
    units::{Duration, PerMillion},
};

use crate::worker::Access;

pub mod rights;

pub use rights::{Right, Rights};

/// A cluster that is there already, as the command line names it.
#[derive(Debug, Clone)]
pub struct Existing {
    /// The API server, and who a run is there.
    pub access: Access,
    /// The name of the context.
    pub context: String,
    /// Where the API server exports to, which is where the sink listens.
    pub otlp_listen: SocketAddr,
    /// An address of this machine that the API server reaches, for webhooks.
    pub webhook_listen: Option<SocketAddr>,
    /// Whose it is.
    pub whose: Whose,
    /// What tells all that this run makes from what others make.
    pub mark: String,
    /// The options that name it, for the command that repeats the run.
    pub options: Vec<(&'static str, String)>,
}

/// Whose cluster it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Somebody else's.
    Theirs,
    /// One that `spangate cluster up` has made.
    Kept {
        /// Whether something removes the content of namespaces: on local processes nobody does.
        controllers: bool,
        /// etcd and the API server, by their numbers on this machine and their names.
        processes: Vec<(u32, String)>,
    },
}

/// Where an OTLP/gRPC receiver is unless said otherwise, on loopback (OpenTelemetry Protocol 1.5, "OTLP/gRPC default
/// port").
pub const OTLP_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4317);

/// How often an API server exports whose environment says nothing of it (`DefaultScheduleDelay` of OpenTelemetry's Go
/// SDK, `sdk/trace/batch_span_processor.go`).
const DEFAULT_SCHEDULE_DELAY: Duration = Duration::from_secs(5);
/// The longest value of a label.
const LABEL: usize = 63;

// === impl Existing ===

impl Existing {
    /// The scenario as it is run there: in namespaces of its own, and with the exports of an API server that is not
    /// ours.
    pub fn move_in(&self, scenario: &mut Scenario) {
        let spec = &mut scenario.spec;
        spec.cluster.provider = Provider::Existing;
        let before: BTreeSet<String> = spec.load.namespaces().collect();
        let own = format!("spangate-load-{}", self.mark);
        let first = std::mem::replace(&mut spec.load.namespace, own.clone());
        for fault in &mut spec.faults {
            let Fault::Webhook(fault) = fault else { continue };
            for name in fault.namespaces.iter_mut().filter(|name| before.contains(*name)) {
                // The others are the first one's name with a number.
                *name = format!("{own}{}", &name[first.len()..]);
            }
        }
        if self.whose == Whose::Theirs {
            let delay = &mut spec.cluster.tracing.batch.schedule_delay;
            *delay = (*delay).max(DEFAULT_SCHEDULE_DELAY);
        }
    }

    /// The value of the label of all that the run of the scenario `name` makes.
    pub fn run_label(&self, name: &str) -> String {
        let name = &name[..name.len().min(LABEL - 1 - self.mark.len())];
        format!("{name}-{}", self.mark)
    }

    /// The host and port of the API server, for people.
    pub fn server(&self) -> String {
        self.access.endpoint.to_string()
    }
}

/// The selector of what the run with this label made.
pub fn of_run(label: &str) -> String {
    format!("{}={},{RUN_LABEL}={label}", MANAGED_BY.0, MANAGED_BY.1)
}

/// The selector of what any run made.
pub fn of_any_run() -> String {
    format!("{}={}", MANAGED_BY.0, MANAGED_BY.1)
}

/// What of the tracing of a kept cluster is not as the scenario has it, if anything is.
pub fn unsuitable(wanted: &Cluster, rate: Option<PerMillion>) -> Option<String> {
    let told =
        |rate: Option<PerMillion>| rate.map_or_else(|| "unset".to_owned(), |rate| rate.get().to_string());
    let of_scenario = wanted.tracing.sampling_rate_per_million;
    if of_scenario != rate {
        return Some(format!(
            "its API server has samplingRatePerMillion {}, and the scenario {}",
            told(rate),
            told(of_scenario)
        ));
    }
    let batch = &wanted.tracing.batch;
    let usual = Cluster::default().tracing.batch;
    (*batch != usual).then(|| {
        "the scenario has a `tracing.batch` of its own, and its API server that of `spangate cluster up`"
            .to_owned()
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use spangate_load::ClientIdentity;

    use super::*;

    pub(crate) fn existing(whose: Whose) -> Existing {
        Existing {
            access: Access {
                endpoint: "127.0.0.1:6443".parse().unwrap(),
                ca_pem: String::new(),
                admin: ClientIdentity::none(),
                unprivileged: None,
            },
            context: "there".to_owned(),
            otlp_listen: OTLP_LISTEN,
            webhook_listen: None,
            whose,
            mark: "0a1b2c3d".to_owned(),
            options: Vec::new(),
        }
    }

    #[test]
    fn a_run_moves_into_namespaces_that_nobody_else_has() {
        let mut scenario = crate::testing::scenario();
        scenario.spec.load.prepare.namespaces = 2;
        let second = scenario.spec.load.namespaces().nth(1).unwrap();
        let fault = scenario.spec.faults.iter_mut().find_map(|fault| match fault {
            Fault::Webhook(fault) => Some(fault),
            _ => None,
        });
        fault.unwrap().namespaces = vec![second, "kube-system".to_owned()];
        existing(Whose::Theirs).move_in(&mut scenario);
        let names: Vec<_> = scenario.spec.load.namespaces().collect();
        assert_eq!(names, ["spangate-load-0a1b2c3d", "spangate-load-0a1b2c3d-2"]);
        let moved = scenario.spec.faults.iter().find_map(|fault| match fault {
            Fault::Webhook(fault) => Some(fault.namespaces.clone()),
            _ => None,
        });
        assert_eq!(moved.unwrap(), [names[1].as_str(), "kube-system"]);
        assert_eq!(scenario.spec.cluster.tracing.batch.schedule_delay, Duration::from_secs(5));
    }

    #[test]
    fn the_label_of_a_run_fits() {
        let existing = existing(Whose::Theirs);
        assert_eq!(existing.run_label("quick"), "quick-0a1b2c3d");
        let long = existing.run_label(&"a".repeat(63));
        assert_eq!(long.len(), 63);
        assert!(long.ends_with("-0a1b2c3d"), "{long}");
    }

    #[test]
    fn a_kept_cluster_that_traces_otherwise_is_told() {
        let mut wanted = Cluster::default();
        assert_eq!(unsuitable(&wanted, None), None);
        let told = unsuitable(&wanted, PerMillion::new(10)).unwrap();
        assert!(told.contains("samplingRatePerMillion 10, and the scenario unset"), "{told}");
        wanted.tracing.batch.max_queue_size = Some(1);
        assert!(unsuitable(&wanted, None).unwrap().contains("tracing.batch"));
    }
}
