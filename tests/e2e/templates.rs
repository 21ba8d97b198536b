//! What synthetic traces of tests are made from: recorded ones, and more of each.

use serde_json::{Value, json};
use spangate_load::synthetic::Templates;

use crate::harness::root;

/// The traces that are built in, and more of each: what real ones lack, samplers look at all the same.
pub(crate) fn varied() -> Templates {
    let exports = recorded(&["create", "create-webhooks", "get", "list", "patch", "delete"]);
    let mut lines: Vec<String> = exports.iter().map(Value::to_string).collect();
    // Nothing but a root; two that are cached or not, of tenants, unsampled or OK; two that were sampled before.
    let changes: [fn(&mut Value); 5] = [
        |_| {},
        |span| {
            attribute(span, "cached", &json!({"boolValue": true}));
            span["traceState"] = "tenant=red".into();
            span["flags"] = 256.into();
        },
        |span| {
            attribute(span, "cached", &json!({"boolValue": false}));
            span["traceState"] = "other=1,tenant=blue".into();
            span["status"] = json!({"message": "", "code": 1});
        },
        |span| span["traceState"] = "ot=th:8".into(),
        |span| span["traceState"] = "tenant=green,ot=th:c;rv:f0000000000000".into(),
    ];
    for (number, change) in (1..).zip(changes) {
        for export in &exports {
            let mut export = export.clone();
            for span in spans(&mut export) {
                change(span);
                span["traceId"] = another(span["traceId"].as_str().unwrap(), number).into();
            }
            if number == 1 {
                keep_only_roots(&mut export);
            }
            lines.push(export.to_string());
        }
    }
    Templates::from_lines(lines).unwrap()
}

/// The root of a recorded request and nothing else: what costs least.
pub(crate) fn roots() -> Templates {
    let mut exports = recorded(&["get"]);
    exports.iter_mut().for_each(keep_only_roots);
    Templates::from_lines(exports.iter().map(Value::to_string)).unwrap()
}

fn recorded(names: &[&str]) -> Vec<Value> {
    let directory = root().join("fixtures/traces");
    let read = |name: &&str| std::fs::read_to_string(directory.join(format!("{name}.jsonl"))).unwrap();
    let files: Vec<String> = names.iter().map(read).collect();
    let lines = files.iter().flat_map(|text| text.lines());
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn scopes(export: &mut Value) -> impl Iterator<Item = &mut Value> {
    let resources = export["resourceSpans"].as_array_mut().unwrap().iter_mut();
    resources.flat_map(|resource| resource["scopeSpans"].as_array_mut().unwrap())
}

fn spans(export: &mut Value) -> impl Iterator<Item = &mut Value> {
    scopes(export).flat_map(|scope| scope["spans"].as_array_mut().unwrap())
}

fn keep_only_roots(export: &mut Value) {
    for scope in scopes(export) {
        let spans = scope["spans"].as_array_mut().unwrap();
        spans.retain(|span| span["parentSpanId"].as_str().is_none_or(str::is_empty));
    }
}

fn attribute(span: &mut Value, key: &str, value: &Value) {
    span["attributes"].as_array_mut().unwrap().push(json!({"key": key, "value": value}));
}

/// Another trace id: one that begins with a number.
fn another(id: &str, number: u32) -> String {
    format!("{number:08x}{}", &id[8..])
}
