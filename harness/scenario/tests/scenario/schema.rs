//! The JSON Schema agrees with what is read.

use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};
use spangate_scenario::{parse, schema, validate};

use crate::{
    generate, properties,
    support::{LONG, SHORT},
};

static SCHEMA: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::validator_for(&schema::scenario_schema()).expect("the schema is one"));

fn short() -> Value {
    serde_json::to_value(parse("short", SHORT).expect("it is valid")).expect("every scenario has a JSON form")
}

#[test]
fn the_schema_is_a_schema() {
    let schema = schema::scenario_schema();
    jsonschema::meta::validate(&schema).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["title"], "Spangate scenario");
    let text = schema::text(&schema::scenario_schema());
    assert!(text.ends_with("}\n") && !text.ends_with("\n\n"));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), schema);
}

#[test]
fn what_is_read_is_accepted() {
    for text in [SHORT, LONG] {
        let tree = serde_json::to_value(parse("scenario", text).unwrap()).unwrap();
        let wrong: Vec<_> = SCHEMA.iter_errors(&tree).map(|error| error.to_string()).collect();
        assert_eq!(wrong, [""; 0], "{text}");
    }
}

#[test]
fn an_entry_of_the_mix_has_exactly_one_operation() {
    let with = |entry: Value| {
        let mut tree = short();
        tree["spec"]["load"]["mix"] = json!([entry]);
        SCHEMA.is_valid(&tree)
    };
    assert!(with(json!({"get": {"resource": "pods"}})));
    assert!(!with(json!({"get": {"resource": "pods"}, "list": {"resource": "pods"}})));
    assert!(!with(json!({"weight": 3})));
}

#[test]
fn a_load_has_exactly_one_source() {
    let users = json!({"count": 1, "for": "9s"});
    let with = |load: Value| {
        let mut tree = short();
        tree["spec"]["load"] = load;
        SCHEMA.is_valid(&tree)
    };
    assert!(with(json!({"users": users})));
    assert!(with(json!({"replay": {"audit": "a.log"}})));
    assert!(!with(json!({"users": users, "replay": {"audit": "a.log"}})));
    assert!(!with(json!({"mix": []})));
    assert!(!with(json!({"replay": {"audit": "a.log", "ledger": "b.jsonl"}})));
    let staged = |stage: Value| with(json!({"arrivals": {"stages": [stage]}}));
    assert!(staged(json!({"rate": "1/s", "for": "9s"})));
    assert!(!staged(json!({"for": "9s"})));
    assert!(!staged(json!({"rate": "1/s", "ramp": {"from": "1/s", "to": "2/s"}, "for": "9s"})));
    let sent_by = |sender: Value| with(json!({"users": users, "identities": [sender]}));
    assert!(sent_by(json!({"name": "a", "serviceAccounts": 2})));
    assert!(!sent_by(json!({"name": "a"})));
    assert!(!sent_by(json!({"name": "a", "serviceAccounts": 2, "impersonate": {"user": "b"}})));
}

#[test]
fn unknown_keys_and_null_are_refused() {
    let mut unknown = short();
    unknown["spec"]["lod"] = json!({});
    assert!(!SCHEMA.is_valid(&unknown));
    let mut null = short();
    null["metadata"]["description"] = Value::Null;
    assert!(!SCHEMA.is_valid(&null));
}

#[test]
fn editors_know_the_words_of_lists() {
    let schema = schema::scenario_schema();
    let of = |name: &str, key: &str, list: &str| schema["$defs"][name]["properties"][key][list].clone();
    assert_eq!(of("EtcdFault", "rpc", "enum"), json!(validate::ETCD_RPCS));
    assert_eq!(of("RequestFilter", "verb", "enum"), json!(validate::VERBS));
    assert_eq!(
        of("RequestFilter", "resource", "enum"),
        json!(["configmaps", "pods", "deployments", "events", "secrets", "widgets"])
    );
    assert!(of("Phases", "phase", "examples").as_array().unwrap().contains(&json!("etcd KV/Txn")));
}

#[test]
fn numbers_without_a_unit_are_refused_where_reading_refuses_them() {
    let with_rate = |rate: Value| {
        let mut tree = short();
        tree["spec"]["load"]["arrivals"]["rate"] = rate;
        SCHEMA.is_valid(&tree)
    };
    assert!(with_rate(json!("10/s")) && !with_rate(json!(10)));
    let with_share = |share: Value| {
        let mut tree = short();
        tree["spec"]["faults"] =
            json!([{"etcd": {"name": "a", "rpc": "KV/Txn", "status": "ABORTED", "share": share}}]);
        SCHEMA.is_valid(&tree)
    };
    assert!(with_share(json!("50%")) && with_share(json!(0.5)) && !with_share(json!(50)));
}

/// Every key of every mapping says what it means, so that editors can show it.
#[test]
fn every_key_is_described() {
    fn check(schema: &Value, path: &str) {
        let structs = schema["properties"].as_object().into_iter().flatten();
        for (key, property) in structs {
            let is_tag = schema["properties"].as_object().is_some_and(|keys| keys.len() == 1);
            let described =
                property["description"].is_string() || is_tag && schema["description"].is_string();
            assert!(described, "{path}.{key}");
            check(property, &format!("{path}.{key}"));
        }
        for (index, form) in schema["oneOf"].as_array().into_iter().flatten().enumerate() {
            check(form, &format!("{path}|{index}"));
        }
    }
    let schema = schema::scenario_schema();
    check(&schema, "Scenario");
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        check(definition, name);
    }
}

proptest! {
    #![proptest_config(properties::config())]

    #[test]
    fn any_scenario_is_accepted(scenario in generate::scenario()) {
        let tree = serde_json::to_value(&scenario).unwrap();
        let wrong: Vec<_> = SCHEMA.iter_errors(&tree).map(|error| error.to_string()).collect();
        prop_assert!(wrong.is_empty(), "{:?}", wrong);
    }

    #[test]
    fn a_wrong_value_anywhere_is_refused(scenario in generate::scenario(), which: Index) {
        let mut tree = serde_json::to_value(&scenario).unwrap();
        let values = properties::values(&tree);
        *properties::at(&mut tree, which.get(&values)) = json!([[]]);
        prop_assert!(!SCHEMA.is_valid(&tree));
    }
}
