//! Whether an API server that is not ours traces as the scenario has it.
//!
//! From outside, only spans can tell. A sampled request of a caller whose `traceparent` is followed must come as a span;
//! the batch that it comes in has all that ended before it. Requests without a `traceparent` are then counted: the
//! sampling rate alone decides on them.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spangate_cluster::Version;
use spangate_scenario::{
    model::{Cluster, Spec},
    units::PerMillion,
};
use spangate_sink::{SinkHandle, Store};
use spangate_trace::{TraceId, contract, stats::Binomial};
use tokio::time::{sleep, timeout};

use super::{Administrator, failed, unusable};
use crate::{
    error::CommandError,
    event::{Event, Events, Step},
};

/// What is wrong with an API server, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Doubt {
    /// Its spans do not come here.
    Untraced(String),
    /// It has another sampling rate.
    OtherRate(String),
}

/// Requests on which the sampling rate alone decides.
const PLAIN: u64 = 32;
/// How sure it must be that the rate is another one: once in a million runs it is the same.
const ALPHA: f64 = 1e-6;
/// Time beyond one flush delay until a probe's span is there.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an API server whose receiver was away may take to find it: its gRPC connection backs off for up to two
/// minutes (`grpc/doc/connection-backoff.md`, `MAX_BACKOFF`, with its jitter).
const DARK: Duration = Duration::from_secs(150);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Refuses an API server that does not trace as the scenario has it. The caller's `traceparent` is followed or not.
pub(super) async fn check(
    administrator: &Administrator,
    version: Version,
    followed: bool,
    spec: &Spec,
    sink: &SinkHandle,
    events: &Events,
) -> Result<(), CommandError> {
    events.step(Step::Tracing);
    let rate = spec.cluster.tracing.sampling_rate_per_million;
    let limit = spec.cluster.tracing.batch.schedule_delay.get() + PATIENCE;
    let store = sink.store();
    let untraced = |why: String| {
        let at = sink.grpc_addr();
        CommandError::environment(format!("tracing seems off, or goes elsewhere: {why}")).help(format!(
            "the API server needs --tracing-config-file with `endpoint: {at}`, as it reaches this machine; what listens \
             there is said by --otlp-listen"
        ))
    };
    if !followed && rate.map_or(0, PerMillion::get) == 0 {
        return Err(CommandError::environment(
            "nothing of this run would be traced: the API server makes the caller's traceparent a link, and by the \
             scenario it starts no trace of its own",
        )
        .help(untraced_help(version)));
    }
    if !wakes(administrator, &store, followed, limit, events).await? {
        let (at, seconds) = (sink.grpc_addr(), DARK.as_secs());
        return Err(untraced(format!("no span came to {at} within {seconds} s")));
    }
    // Before, the SERVER span does not have the audit id.
    if !version.at_least(1, 34) {
        events.send(Event::Note(format!(
            "the sampling rate of Kubernetes {version} cannot be seen from outside"
        )));
        return Ok(());
    }
    let ids: BTreeSet<String> =
        (0..PLAIN).map(|number| format!("spangate-rate-{}-{number}", std::process::id())).collect();
    for id in &ids {
        let request = http::Request::get("/version").header("audit-id", id).body(Vec::new());
        let request = request.expect("the id is of letters and digits");
        let sent = administrator.client().request::<serde_json::Value>(request).await;
        sent.map_err(|error| unusable(failed("send a probe")(error)))?;
    }
    let witness = if followed {
        Some(comes(administrator, &store, limit).await?)
    } else {
        // Nothing comes for certain after them, so that their time has to pass.
        sleep(limit).await;
        None
    };
    let seen = seen(&store, &ids);
    events.send(Event::Note(format!(
        "of {PLAIN} requests without a traceparent the API server traced {seen}; the scenario has samplingRatePerMillion {}",
        told(rate)
    )));
    match doubt(rate, seen, witness) {
        None => Ok(()),
        Some(Doubt::Untraced(why)) => Err(untraced(why)),
        Some(Doubt::OtherRate(why)) => {
            let message = format!("the API server does not sample as the scenario has it: {why}");
            Err(CommandError::environment(message)
                .help("take the samplingRatePerMillion of its TracingConfiguration into the scenario"))
        }
    }
}

/// What to do where the caller's `traceparent` becomes a link, and nothing else is traced.
fn untraced_help(version: Version) -> String {
    let (major, minor) = Cluster::FOLLOWED_SINCE;
    let rated = "a scenario with a samplingRatePerMillion";
    if version.at_least(major, minor) {
        return format!("take a context whose user is in system:masters, or {rated}");
    }
    format!(
        "take {rated}: Kubernetes {version} makes a link of everybody's traceparent, as all did before \
         {major}.{minor}"
    )
}

/// Whether spans come at all: of a sampled request where that is followed, or else any, since a rate gives some of what
/// the API server does for itself.
async fn wakes(
    administrator: &Administrator,
    store: &Store,
    followed: bool,
    limit: Duration,
    events: &Events,
) -> Result<bool, CommandError> {
    let begun = Instant::now();
    while begun.elapsed() < DARK {
        if comes(administrator, store, limit).await? || (!followed && !store.is_empty()) {
            return Ok(true);
        }
        let what =
            "no span yet: an API server whose receiver was away finds it again within two minutes".to_owned();
        events.send(Event::Progress { what, done: None });
    }
    Ok(false)
}

/// Whether a sampled request comes as a span.
async fn comes(administrator: &Administrator, store: &Store, limit: Duration) -> Result<bool, CommandError> {
    // Not of the run's seed: a probe must never have the trace id of a request.
    let mut random = ChaCha8Rng::seed_from_u64(u64::from(std::process::id()) ^ store.len() as u64);
    let trace = TraceId::new(random.random());
    administrator.probe(trace).await.map_err(unusable)?;
    let begun = Instant::now();
    let mut changed = store.changed();
    while begun.elapsed() < limit {
        if store.has_server_span(trace) {
            return Ok(true);
        }
        let _ = timeout(LOOK_EVERY, changed.changed()).await;
    }
    Ok(false)
}

/// How many of the requests with these audit ids have a SERVER span.
fn seen(store: &Store, ids: &BTreeSet<String>) -> u64 {
    let capture = store.snapshot();
    let with_id = |index| capture.span(index).text(contract::AUDIT_ID).is_some_and(|id| ids.contains(id));
    contract::server_spans(&capture).filter(|index| with_id(*index)).count() as u64
}

/// What speaks against the scenario when so many probes were seen, if anything does. `witness` says whether the span came that
/// has to come after theirs, where there is one: without it nothing follows from what is not there.
fn doubt(rate: Option<PerMillion>, seen: u64, witness: Option<bool>) -> Option<Doubt> {
    if witness == Some(false) {
        return Some(Doubt::Untraced("the sampled request after the probes came as no span".to_owned()));
    }
    let why = contradiction(rate, seen)?;
    Some(if witness.is_some() || seen > 0 { Doubt::OtherRate(why) } else { Doubt::Untraced(why) })
}

/// Why it cannot be this rate, if it cannot.
fn contradiction(rate: Option<PerMillion>, seen: u64) -> Option<String> {
    let probability = f64::from(rate.map_or(0, PerMillion::get)) / 1e6;
    let accepted = if probability <= 0.0 {
        0..=0
    } else if probability >= 1.0 {
        PLAIN..=PLAIN
    } else {
        Binomial::new(PLAIN, probability).acceptance(ALPHA)
    };
    (!accepted.contains(&seen)).then(|| {
        format!("{seen} of {PLAIN} requests without a traceparent were traced, and it has samplingRatePerMillion {}", told(rate))
    })
}

fn told(rate: Option<PerMillion>) -> String {
    rate.map_or_else(|| "unset".to_owned(), |rate| rate.get().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_context_helps_where_nobody_is_followed() {
        assert!(untraced_help(Version::new(1, 33, 0)).contains("system:masters"));
        let told = untraced_help(Version::new(1, 32, 4));
        assert!(told.contains("Kubernetes 1.32.4") && !told.contains("system:masters"), "{told}");
    }

    #[test]
    fn nothing_follows_from_silence_without_a_witness() {
        assert_eq!(doubt(None, 0, Some(true)), None);
        assert_eq!(doubt(None, 0, None), None);
        for rate in [None, PerMillion::new(10)] {
            assert!(matches!(doubt(rate, 0, Some(false)), Some(Doubt::Untraced(_))), "{rate:?}");
        }
        let all = PerMillion::new(1_000_000);
        assert!(matches!(doubt(all, 0, Some(true)), Some(Doubt::OtherRate(_))));
        assert!(matches!(doubt(all, 1, None), Some(Doubt::OtherRate(_))));
        assert!(matches!(doubt(all, 0, None), Some(Doubt::Untraced(_))));
    }

    #[test]
    fn another_rate_is_found_and_the_same_is_not() {
        let contradicts =
            |rate: Option<u32>, seen| contradiction(rate.and_then(PerMillion::new), seen).is_some();
        for (rate, seen, wrong) in [
            (None, 0, false),
            (None, 1, true),
            (Some(0), 1, true),
            (Some(1_000_000), PLAIN, false),
            (Some(1_000_000), PLAIN - 1, true),
            (Some(1_000_000), 0, true),
            (Some(500_000), PLAIN / 2, false),
            (Some(500_000), 0, true),
            (Some(500_000), PLAIN, true),
            (Some(10_000), 0, false),
        ] {
            assert_eq!(contradicts(rate, seen), wrong, "{seen} at {rate:?}");
        }
    }
}
