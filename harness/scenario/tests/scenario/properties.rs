//! What holds for any scenario, and for any text.

use proptest::{prelude::*, sample::Index, test_runner::RngSeed};
use serde_json::{Value, json};
use spangate_scenario::{
    parse,
    path::{Path, Step},
    validate,
};

use crate::{generate, support::LONG};

/// Words from which half-right scenarios are made.
const WORDS: &[&str] = &[
    "apiVersion",
    "spangate/v1alpha1",
    "kind",
    "Scenario",
    "metadata",
    "name",
    "spec",
    "seed",
    "cluster",
    "faults",
    "webhook",
    "etcd",
    "sink",
    "does",
    "refuse",
    "delay",
    "fixed",
    "uniform",
    "min",
    "max",
    "150ms",
    "rules",
    "load",
    "arrivals",
    "rate",
    "10/s",
    "for",
    "mix",
    "list",
    "resource",
    "configmaps",
    "kubectl",
    "scale",
    "expect",
    "spans",
    "where",
    "count",
    "parent",
    "not",
    "attributes",
    "regex",
    "(",
    "during",
    "from",
    "to",
];

/// A tree of such words.
fn tree() -> impl Strategy<Value = Value> {
    let word = || proptest::sample::select(WORDS.to_vec());
    let leaf = prop_oneof![
        word().prop_map(|word| json!(word)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<bool>().prop_map(|truth| json!(truth)),
        Just(Value::Null),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::hash_map(word().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Reads a text and checks that every problem lies in it.
fn check_any(text: &str) -> Result<(), TestCaseError> {
    let Err(found) = parse("any", text) else { return Ok(()) };
    prop_assert!(!found.problems().is_empty());
    for problem in found.problems() {
        prop_assert!(text.get(problem.span()).is_some(), "{problem} at {:?}", problem.span());
        prop_assert!((1..=text.split('\n').count()).contains(&problem.line()));
        prop_assert!(problem.column() >= 1);
    }
    prop_assert!(found.problems().is_sorted_by_key(|problem| problem.span().start));
    Ok(())
}

/// The character boundary at or before a chance place.
fn place(text: &str, index: Index) -> usize {
    text.floor_char_boundary(index.index(text.len() + 1))
}

/// The same cases in every run.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(20_261_123),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_written_is_read_back(scenario in generate::scenario()) {
        prop_assert_eq!(validate(&scenario), []);
        let yaml = scenario.to_yaml();
        let read = parse("written", &yaml).map_err(|found| {
            let problems: Vec<_> = found.problems().iter().map(ToString::to_string).collect();
            TestCaseError::fail(format!("{problems:?}\n{yaml}"))
        })?;
        prop_assert_eq!(read, scenario);
    }

    #[test]
    fn json_is_yaml(scenario in generate::scenario()) {
        let json = serde_json::to_string_pretty(&scenario).unwrap();
        prop_assert_eq!(parse("json", &json).ok(), Some(scenario));
    }

    #[test]
    fn any_text_is_answered(text in "(?s).{0,200}") {
        check_any(&text)?;
    }

    #[test]
    fn any_tree_is_answered(tree in tree()) {
        check_any(&format!("{tree:#}"))?;
    }

    #[test]
    fn any_change_is_answered(
        changes in proptest::collection::vec((any::<Index>(), any::<Index>(), "[ -~\n]{0,4}"), 1..6),
    ) {
        let mut text = LONG.to_owned();
        for (from, length, with) in changes {
            let start = place(&text, from);
            let end = text.floor_char_boundary((start + length.index(12)).min(text.len()));
            text.replace_range(start..end, &with);
        }
        check_any(&text)?;
    }

    #[test]
    fn a_wrong_value_anywhere_is_the_only_problem(scenario in generate::scenario(), which: Index) {
        let mut tree = serde_json::to_value(&scenario).unwrap();
        let values = values(&tree);
        let path = which.get(&values);
        // No single value of a scenario is a list of lists.
        *at(&mut tree, path) = json!([[]]);
        let found = parse("changed", &format!("{tree:#}")).unwrap_err();
        let problems: Vec<_> = found.problems().iter().map(|problem| (problem.path(), problem.to_string())).collect();
        prop_assert_eq!(problems.len(), 1, "{:?}", problems);
        prop_assert_eq!(problems[0].0, path);
    }
}

/// The paths of all single values; the values of a JSON patch may be anything.
pub(crate) fn values(tree: &Value) -> Vec<Path> {
    let mut values = Vec::new();
    collect(tree, &Path::root(), &mut values);
    values
}

fn collect(tree: &Value, path: &Path, into: &mut Vec<Path>) {
    match tree {
        Value::Object(keys) => {
            for (key, value) in keys.iter().filter(|(key, value)| *key != "patch" || !value.is_array()) {
                collect(value, &path.clone().then(Step::Key(key.clone())), into);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| collect(item, &path.index(index), into));
        }
        _ => into.push(path.clone()),
    }
}

/// The value at a path.
pub(crate) fn at<'a>(tree: &'a mut Value, path: &Path) -> &'a mut Value {
    path.steps().iter().fold(tree, |tree, step| match step {
        Step::Key(key) => &mut tree[key],
        Step::Index(index) => &mut tree[index],
    })
}
