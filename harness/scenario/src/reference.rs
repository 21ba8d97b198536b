//! The reference of the scenario format as Markdown, made from the schema, so that it is never out of date.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::schema;

const HEAD: &str = "# Scenario reference

A scenario is a YAML file. Unknown and repeated keys are errors, a key is left out or has a value, and every
mistake is told with its line. Where a type lists several forms, exactly one of them is written.

This page is generated from the types that read scenarios; `spangate schema` prints the same as a JSON Schema.
";

/// The scenario reference: a section for each type, in the order in which the types are first named, a type
/// before those that it is made of.
pub fn reference() -> String {
    let schema = schema::scenario_schema();
    let mut text = HEAD.to_owned();
    section("Scenario", &schema, &mut text);
    let mut names = Vec::new();
    collect(&schema, &schema, &mut names);
    for name in names {
        section(&name, &schema["$defs"][&name], &mut text);
    }
    text
}

/// Adds the types that a part of the schema names, each followed by those that it names itself.
fn collect(part: &Value, schema: &Value, names: &mut Vec<String>) {
    match part {
        Value::Object(keys) => {
            if let Some(name) = keys.get("$ref").and_then(Value::as_str).map(type_name)
                && !names.contains(&name)
            {
                names.push(name.clone());
                collect(&schema["$defs"][name], schema, names);
            }
            // The definitions are not part of the root's own shape.
            keys.iter()
                .filter(|(key, _)| *key != "$defs")
                .for_each(|(_, value)| collect(value, schema, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, schema, names)),
        _ => {}
    }
}

fn type_name(reference: &str) -> String {
    reference.rsplit('/').next().unwrap_or(reference).to_owned()
}

fn section(name: &str, schema: &Value, text: &mut String) {
    add(text, format_args!("\n## {name}\n\n{}\n", meaning(schema)));
    if let Some(properties) = schema["properties"].as_object() {
        add(text, format_args!("\n| Key | Type | Default | Meaning |\n| --- | --- | --- | --- |\n"));
        let required = |key: &str| is_required(schema, key);
        for (key, property) in properties {
            row(key, property, required(key), text);
        }
    } else if let Some(forms) = schema["oneOf"].as_array() {
        add(text, format_args!("\n| Written | Meaning |\n| --- | --- |\n"));
        for form in forms {
            add(text, format_args!("| {} | {} |\n", written(form), meaning(form)));
        }
        for form in forms {
            keys_of_form(form, text);
        }
    } else {
        add(text, format_args!("\nType: {}.\n", type_of(schema)));
    }
}

/// The keys of a form that has some of its own.
fn keys_of_form(form: &Value, text: &mut String) {
    for (tag, content) in form["properties"].as_object().into_iter().flatten() {
        let Some(properties) = content["properties"].as_object() else { continue };
        add(text, format_args!("\nKeys of `{tag}`:\n\n"));
        add(text, format_args!("| Key | Type | Default | Meaning |\n| --- | --- | --- | --- |\n"));
        for (key, property) in properties {
            row(key, property, is_required(content, key), text);
        }
    }
}

fn row(key: &str, property: &Value, required: bool, text: &mut String) {
    let default = match property.get("default") {
        _ if required => "required".to_owned(),
        Some(default) if !is_empty(default) => format!("`{}`", inline(default)),
        _ => String::new(),
    };
    add(text, format_args!("| `{key}` | {} | {default} | {} |\n", type_of(property), meaning(property)));
}

fn is_required(schema: &Value, key: &str) -> bool {
    schema["required"].as_array().is_some_and(|keys| keys.iter().any(|required| required == key))
}

/// Whether a default says no more than that nothing is there, or is the sum of the defaults of a type that
/// has a section of its own.
fn is_empty(default: &Value) -> bool {
    match default {
        Value::Null | Value::Object(_) => true,
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A default as it would be written in YAML.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(inline_item).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn inline_item(value: &Value) -> String {
    value.as_str().map_or_else(|| inline(value), |text| format!("{text:?}"))
}

/// How a form is written: a word, a mapping with one key, or a value of a type.
fn written(form: &Value) -> String {
    if let Some(word) = form["const"].as_str() {
        return format!("`{word}`");
    }
    match form["properties"].as_object().map(first) {
        Some(Some((tag, content))) => {
            let own_keys = content["properties"].is_object();
            let inner = if own_keys { "a mapping".to_owned() } else { type_of(content) };
            format!("`{tag}:` {inner}")
        }
        _ => type_of(form),
    }
}

fn first(keys: &Map<String, Value>) -> Option<(&String, &Value)> {
    keys.iter().next()
}

/// A type in words, with a link where it has a section.
fn type_of(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = type_name(reference);
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(|word| format!("`{}`", inline(word))).collect();
        return format!("one of {}", words.join(", "));
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => format!("list of {}", type_of(&schema["items"])),
        Value::String(name) if name == "object" => {
            let values = &schema["additionalProperties"];
            if values.is_object() { format!("map of text to {}", type_of(values)) } else { "map".to_owned() }
        }
        Value::String(name) => word(name).to_owned(),
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).map(word).collect::<Vec<_>>().join(" or ")
        }
        _ => "any value".to_owned(),
    }
}

fn word(json_type: &str) -> &str {
    match json_type {
        "string" => "text",
        "integer" => "whole number",
        "boolean" => "true or false",
        other => other,
    }
}

/// The description on one line, fit for a table.
fn meaning(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn add(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("writing to text does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_one_section_and_every_link_leads_to_one() {
        let text = reference();
        let schema = schema::scenario_schema();
        for name in schema["$defs"].as_object().unwrap().keys() {
            assert_eq!(text.matches(&format!("\n## {name}\n")).count(), 1, "{name}");
        }
        for link in text.split("](#").skip(1) {
            let (target, _) = link.split_once(')').unwrap();
            let found = text
                .lines()
                .any(|line| line.strip_prefix("## ").is_some_and(|name| name.to_lowercase() == target));
            assert!(found, "{target}");
        }
    }

    #[test]
    fn rows_say_type_default_and_meaning() {
        let text = reference();
        for row in [
            "| `timeoutSeconds` | whole number | `10` | How long the API server waits, 1 to 30 seconds. |",
            "| `rules` | list of [WebhookRule](#webhookrule) | required | Which requests the API server sends to it. |",
            "| `extraArgs` | map of text to text |  | Further flags, without the leading dashes; they win over ours. |",
            "| `resource` | one of `configmaps`, `pods`, `deployments`, `events`, `secrets`, `widgets` |  | The resource, plural. |",
            "| `fixed:` [Duration](#duration) | Always the same. |",
        ] {
            assert!(text.lines().any(|line| line == row), "{row}\n{text}");
        }
    }

    #[test]
    fn no_meaning_is_missing() {
        for line in reference().lines().filter(|line| line.starts_with("| `") && line.contains("required")) {
            assert!(!line.ends_with("|  |"), "{line}");
        }
    }
}
