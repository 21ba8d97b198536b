//! The `probabilistic_sampler` processor.

use std::collections::BTreeMap;

use super::*;
use crate::{Value, stats::SplitMix64};

#[derive(Deserialize)]
struct Samplers {
    spans: Vec<Item>,
    samplers: Vec<Recorded>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    id: TraceId,
    #[serde(default)]
    trace_state: String,
    priority: Option<Value>,
}

#[derive(Deserialize)]
struct Recorded {
    config: serde_json::Value,
    decisions: Option<String>,
    refused: Option<String>,
}

fn make(config: &serde_json::Value) -> Result<ProbabilisticSampler, String> {
    let config = ProbabilisticSamplerConfig::deserialize(config).map_err(|error| error.to_string())?;
    ProbabilisticSampler::new(&config).map_err(|error| error.to_string())
}

fn load() -> Samplers {
    fixture(include_str!("../../../../../fixtures/sampling/probabilistic-sampler.json"))
}

/// The spans on which the sampler does not decide as was recorded.
fn differences(sampler: &ProbabilisticSampler, items: &[Item], decisions: &str) -> Vec<usize> {
    assert_eq!(decisions.len(), items.len());
    let keeps = |item: &Item| {
        let mut span = blank(item.id);
        if let Some(priority) = &item.priority {
            span.attributes = BTreeMap::from([("sampling.priority".to_owned(), priority.clone())]);
        }
        sampler.keeps(&SpanView { span: &span, trace_state: &item.trace_state, flags: 0 })
    };
    let items = items.iter().zip(decisions.chars()).enumerate();
    items.filter_map(|(index, (item, letter))| (keeps(item) != (letter == 'S')).then_some(index)).collect()
}

/// Scenario: every mode on random spans, some with `tracestate` or a priority. Guarantees: each decision is upstream's,
/// and what it refuses is refused.
#[test]
fn decisions_are_those_of_upstream() {
    let Samplers { spans, samplers } = load();
    for Recorded { config, decisions, refused } in &samplers {
        match (make(config), decisions) {
            (Ok(sampler), Some(decisions)) => {
                assert_eq!(differences(&sampler, &spans, decisions), [0; 0], "{config}");
            }
            (Err(_), None) => assert!(refused.is_some(), "{config}"),
            (made, _) => panic!("{config}: {made:?}, upstream: {refused:?}"),
        }
    }
    assert!(samplers.len() > 25);
}

/// Scenario: a percentage, seed or mode that is not that of the recording. Guarantees: the comparison notices.
#[test]
fn a_lie_about_the_settings_shows() {
    let Samplers { spans, samplers } = load();
    for (key, lie) in [
        ("sampling_percentage", serde_json::json!(43.0)),
        ("hash_seed", serde_json::json!(23)),
        ("mode", serde_json::json!("equalizing")),
    ] {
        let recorded = samplers.iter().find(|recorded| recorded.config["hash_seed"] == 22).unwrap();
        let mut config = recorded.config.clone();
        config[key] = lie;
        let sampler = make(&config).unwrap();
        assert!(!differences(&sampler, &spans, recorded.decisions.as_deref().unwrap()).is_empty(), "{key}");
    }
}

/// Scenario: many random ids. Guarantees: the part that is kept is the effective rate, not the one that is configured.
#[test]
fn the_effective_rate_is_what_is_kept() {
    const SEED: u64 = 17;
    let mut random = SplitMix64::new(SEED);
    let mut ids = std::iter::repeat_with(move || {
        TraceId::new(((u128::from(random.next_u64()) << 64) | u128::from(random.next_u64())).to_be_bytes())
    });
    for config in [
        serde_json::json!({"sampling_percentage": 0.02}),
        serde_json::json!({"sampling_percentage": 10}),
        serde_json::json!({"sampling_percentage": 10, "mode": "proportional", "sampling_precision": 1}),
    ] {
        let sampler = make(&config).unwrap();
        let kept = ids.by_ref().take(200_000).filter(|id| sampler.keeps_id(*id)).count();
        let interval = crate::stats::clopper_pearson(kept as u64, 200_000, 0.999_999);
        assert!(interval.contains(sampler.effective_rate()), "{config}: {interval:?}");
    }
}
