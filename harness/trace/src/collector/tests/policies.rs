//! The policies of `tail_sampling`.

use proptest::prelude::*;

use super::*;
use crate::collector::{hash, policy::Policy};

#[derive(Deserialize)]
struct Policies {
    traces: Vec<Trace>,
    policies: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    policy: PolicyConfig,
    decisions: Option<String>,
    refused: Option<String>,
}

fn load() -> (Vec<Whole>, Vec<Recorded>) {
    let fixture: Policies =
        fixture(include_str!("../../../../../fixtures/sampling/tail-sampling-policies.json"));
    (fixture.traces.into_iter().map(Whole::new).collect(), fixture.policies)
}

fn vote(letter: char) -> Vote {
    match letter {
        'S' => Vote::Sampled,
        'N' => Vote::NotSampled,
        'D' => Vote::Dropped,
        'E' => Vote::Error,
        letter => panic!("no vote is called {letter}"),
    }
}

/// The traces on which this policy does not say what was recorded.
fn differences(policy: &Policy, traces: &[Whole], decisions: &str) -> Vec<usize> {
    assert_eq!(decisions.len(), traces.len());
    let differs = |(index, (whole, letter)): (usize, (&Whole, char))| {
        let votes = policy.votes(&whole.view());
        // A limiter of its own for each trace is a full bucket: it may say yes here and no in a row.
        let right = votes.may_be(vote(letter)) && (votes.certain().is_some() || uncertain(policy));
        (!right).then_some(index)
    };
    traces.iter().zip(decisions.chars()).enumerate().filter_map(differs).collect()
}

fn uncertain(policy: &Policy) -> bool {
    policy.looks_at_the_clock() || policy.any(&|policy| matches!(policy, Policy::Ottl(_)))
}

fn make(config: &PolicyConfig) -> Result<Policy, ConfigError> {
    Policy::new(config, Place::Top, 1)
}

/// Scenario: every policy on random traces. Guarantees: each vote is the one that upstream's evaluator gave.
#[test]
fn votes_are_those_of_upstream() {
    let (traces, policies) = load();
    let mut compared = 0;
    for Recorded { policy: config, decisions, refused } in &policies {
        match (make(config), decisions, refused) {
            (Ok(policy), Some(decisions), None) => {
                assert_eq!(policy.unsupported(), None, "{config:?}");
                assert_eq!(differences(&policy, &traces, decisions), [0; 0], "{config:?}");
                compared += 1;
            }
            (Ok(policy), None, Some(_)) => assert!(policy.unsupported().is_some(), "{config:?}"),
            (Err(_), None, Some(_)) => {}
            (made, _, refused) => panic!("{config:?}: {made:?}, upstream: {refused:?}"),
        }
    }
    assert!(compared > 70, "{compared}");
}

/// Scenario: OTTL conditions on spans whose attributes are not all kept. Guarantees: most votes are certain all the same.
#[test]
fn conditions_are_rarely_undecided() {
    let (traces, policies) = load();
    for Recorded { policy: config, .. } in policies.iter().filter(|policy| policy.decisions.is_some()) {
        let policy = make(config).unwrap();
        if matches!(policy, Policy::Ottl(_)) {
            let certain =
                traces.iter().filter(|whole| policy.votes(&whole.view()).certain().is_some()).count();
            assert!(certain * 10 > traces.len() * 8, "{certain}: {config:?}");
        }
    }
}

/// Scenario: thresholds, keys and values that are not those of the recording. Guarantees: the comparison notices.
#[test]
fn a_lie_about_the_settings_shows() {
    type Lie = (&'static str, fn(&mut PolicyConfig));
    let lies: [Lie; 8] = [
        ("latency", |config| config.latency.threshold_ms += 30),
        ("numeric_attribute", |config| {
            config.numeric_attribute.min_value += 150;
            config.numeric_attribute.max_value -= 150;
        }),
        ("probabilistic", |config| config.probabilistic.hash_salt += "y"),
        ("status_code", |config| config.status_code.status_codes.truncate(0)),
        ("string_attribute", |config| config.string_attribute.invert_match ^= true),
        ("span_count", |config| config.span_count.min_spans += 1),
        ("boolean_attribute", |config| config.boolean_attribute.invert_match ^= true),
        ("trace_state", |config| config.trace_state.key += "c"),
    ];
    let (traces, policies) = load();
    for (kind, lie) in lies {
        let recorded = policies.iter().find(|recorded| recorded.policy.kind == kind).unwrap();
        let mut config = recorded.policy.clone();
        lie(&mut config);
        let shows = match make(&config) {
            Ok(policy) => !differences(&policy, &traces, recorded.decisions.as_deref().unwrap()).is_empty(),
            Err(_) => true,
        };
        assert!(shows, "{config:?}");
    }
}

#[test]
fn sizes_are_those_of_the_wire() {
    for whole in load().0 {
        assert_eq!(whole.view().message_bytes(), Some(whole.trace.total));
    }
}

#[test]
fn hashes_and_thresholds_are_those_of_upstream() {
    #[derive(Deserialize)]
    struct Hashes {
        thresholds: Vec<(f64, u64)>,
        hashes: Vec<(String, TraceId, u64)>,
    }
    let Hashes { thresholds, hashes } =
        fixture(include_str!("../../../../../fixtures/sampling/tail-sampling-hashes.json"));
    for (percentage, threshold) in &thresholds {
        assert_eq!(hash::part_of_u64(percentage / 100.0), *threshold, "{percentage}");
    }
    for (salt, id, hash) in &hashes {
        assert_eq!(hash::fnv1a_64(&[salt.as_bytes(), id.as_bytes()]), *hash, "{salt} {id}");
    }
    assert!(thresholds.len() > 100 && hashes.len() > 30);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Scenario: some policies in two orders. Guarantees: both decide alike, with and without the end at the first
    /// match, as long as no clock has a say.
    #[test]
    fn order_does_not_matter(seed: u64, chosen in prop::collection::vec(0..1_000_usize, 1..6), first_match: bool) {
        let (traces, policies) = load();
        let exact = |policy: Policy| !uncertain(&policy) && policy.unsupported().is_none();
        let usable: Vec<&Recorded> =
            policies.iter().filter(|recorded| make(&recorded.policy).is_ok_and(exact)).collect();
        let mut chosen: Vec<PolicyConfig> = chosen
            .into_iter()
            .enumerate()
            .map(|(index, choice)| PolicyConfig {
                name: index.to_string(),
                ..usable[choice % usable.len()].policy.clone()
            })
            .collect();
        let config = |policies: &[PolicyConfig]| TailSamplingConfig {
            policies: policies.to_vec(),
            sample_on_first_match: first_match,
            ..TailSamplingConfig::default()
        };
        let one = TailSampler::new(config(&chosen)).unwrap();
        crate::stats::SplitMix64::new(seed).shuffle(&mut chosen);
        let other = TailSampler::new(config(&chosen)).unwrap();
        prop_assert!(one.is_exact() && !one.order_matters());
        for whole in &traces {
            let (one, other) = (one.judge(&whole.view()), other.judge(&whole.view()));
            prop_assert!(one.is_exact() && one.decision().is_some());
            prop_assert_eq!(one.decision(), other.decision());
        }
    }
}

fn sampler(json: &str) -> TailSampler {
    TailSampler::new(serde_json::from_str(json).unwrap()).unwrap()
}

#[test]
fn order_matters_where_a_match_spares_a_rate() {
    let policies = r#"[{"name": "a", "type": "always_sample"},
        {"name": "r", "type": "rate_limiting", "rate_limiting": {"spans_per_second": 5}}]"#;
    let all = sampler(&format!(r#"{{"policies": {policies}}}"#));
    assert_eq!(all.order_effects(), [OrderEffect::RecordedPolicy]);
    let first = sampler(&format!(r#"{{"sample_on_first_match": true, "policies": {policies}}}"#));
    assert_eq!(first.order_effects(), [OrderEffect::RecordedPolicy, OrderEffect::Rates]);
    assert!(first.order_matters() && !all.order_matters() && !all.is_exact());
    let alone = sampler(r#"{"policies": [{"name": "a", "type": "always_sample"}]}"#);
    assert!(alone.order_effects().is_empty() && alone.is_exact());
}

#[test]
fn what_is_dropped_is_not_asked_about_again() {
    let sampler = sampler(
        r#"{"policies": [{"name": "a", "type": "always_sample"},
            {"name": "d", "type": "drop", "drop": {"drop_sub_policy": [{"type": "span_count"}]}}]}"#,
    );
    let span = blank(TraceId::new([1; 16]));
    let judgement = sampler.judge(&TraceView::of_spans(span.trace_id, std::slice::from_ref(&span)));
    assert_eq!(judgement.decision(), Some(Decision::Dropped));
    assert_eq!(judgement.recorded.as_deref(), Some("d"));
    assert_eq!(judgement.votes.len(), 1);
}

#[test]
fn a_clock_leaves_both_decisions_open() {
    let config = |burst: u32| {
        format!(
            r#"{{"policies": [{{"name": "r", "type": "rate_limiting",
                "rate_limiting": {{"spans_per_second": 1, "burst_capacity": {burst}}}}}]}}"#
        )
    };
    let spans = [blank(TraceId::new([1; 16])), blank(TraceId::new([1; 16]))];
    let trace = TraceView::of_spans(spans[0].trace_id, &spans);
    let open = sampler(&config(2)).judge(&trace);
    assert_eq!((open.decision(), open.basis), (None, Basis::Clock));
    // More than the bucket holds never passes, whatever the clock says.
    let closed = sampler(&config(1)).judge(&trace);
    assert_eq!((closed.decision(), closed.basis), (Some(Decision::NotSampled), Basis::Trace));
}

#[test]
fn what_is_not_evaluated_is_said() {
    let sampler = sampler(
        r#"{"policies": [{"name": "o", "type": "ottl_condition", "ottl_condition": {"span": ["Len(name) > 3"]}}]}"#,
    );
    let [unsupported] = sampler.unsupported().try_into().unwrap();
    assert_eq!(unsupported.policy, "o");
    assert!(unsupported.what.contains("Len"), "{}", unsupported.what);
    let span = blank(TraceId::new([1; 16]));
    let judgement = sampler.judge(&TraceView::of_spans(span.trace_id, std::slice::from_ref(&span)));
    assert_eq!((judgement.decision(), judgement.basis), (None, Basis::Unsupported));
}

#[test]
fn keys_and_defaults_are_those_of_the_collector() {
    let read = |json: &str| serde_json::from_str::<TailSamplingConfig>(json);
    let empty = read("{}").unwrap();
    assert_eq!(empty, TailSamplingConfig::default());
    assert_eq!((empty.decision_wait.as_secs(), empty.num_traces, empty.num_shards), (30, 50_000, 1));
    assert_eq!(read(r#"{"decision_wait": "1m30s"}"#).unwrap().decision_wait.as_secs(), 90);
    // A bare number is nanoseconds, which is how `decision_wait: 30` becomes a second.
    assert_eq!(read(r#"{"decision_wait": 30}"#).unwrap().decision_wait.as_nanos(), 30);
    for json in [
        r#"{"decision_wait": "soon"}"#,
        r#"{"decision_weight": "1s"}"#,
        r#"{"sampling_strategy": "span_ingest"}"#,
        r#"{"policies": [{"name": "l", "type": "latency", "latencyy": {"threshold_ms": 5}}]}"#,
        r#"{"policies": [{"name": "l", "type": "latency", "latency": {"threshold": 5}}]}"#,
    ] {
        assert!(read(json).is_err(), "{json}");
    }
}

#[test]
fn configurations_that_the_collector_refuses_are_refused() {
    let refused = |json: &str| TailSampler::new(serde_json::from_str(json).unwrap()).unwrap_err();
    let always = r#"{"name": "a", "type": "always_sample"}"#;
    assert_eq!(refused(r#"{"num_shards": 257}"#), ConfigError::Shards { shards: 257 });
    assert_eq!(refused(r#"{"tail_storage": "x"}"#), ConfigError::TailStorage);
    assert_eq!(refused(r#"{"policies": [{"type": "always_sample"}]}"#), ConfigError::NoName { index: 0 });
    assert_eq!(
        refused(&format!(r#"{{"policies": [{always}, {always}]}}"#)),
        ConfigError::DuplicateName { name: "a".to_owned() }
    );
    assert_eq!(
        refused(r#"{"policies": [{"name": "n", "type": "numeric_attribute"}]}"#),
        ConfigError::NoBounds { policy: "n".to_owned() }
    );
    assert_eq!(
        refused(
            r#"{"sampling_strategy": "span-ingest", "policies": [{"name": "l", "type": "latency", "latency":
                {"upper_threshold_ms": 5}}]}"#
        ),
        ConfigError::Stateful { policy: "l".to_owned() }
    );
}
