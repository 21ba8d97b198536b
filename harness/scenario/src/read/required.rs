//! Which keys a mapping must have, so that all missing ones can be told at once.
//!
//! Serde's derived code names the first missing key and stops. The JSON Schema, made from the same types,
//! knows all of them.

use std::{collections::HashMap, sync::LazyLock};

use serde_json::Value;

use crate::schema;

static REQUIRED: LazyLock<HashMap<String, Vec<String>>> = LazyLock::new(|| {
    let schema = schema::scenario_schema();
    let mut required = HashMap::new();
    collect("Scenario", &schema, &mut required);
    for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
        collect(name, definition, &mut required);
    }
    required
});

/// The keys that a struct must have, by the struct's name.
pub(super) fn of_struct(name: &str) -> &'static [String] {
    REQUIRED.get(name).map_or(&[], Vec::as_slice)
}

/// The keys that a struct-like variant of an enum must have.
pub(super) fn of_variant(name: &str, variant: &str) -> &'static [String] {
    of_struct(&format!("{name}.{variant}"))
}

/// Takes the required keys of a definition, and of its variants if it is an enum.
fn collect(name: &str, definition: &Value, into: &mut HashMap<String, Vec<String>>) {
    let keys = |schema: &Value| -> Vec<String> {
        let keys = schema["required"].as_array().into_iter().flatten();
        keys.filter_map(|key| key.as_str().map(str::to_owned)).collect()
    };
    into.insert(name.to_owned(), keys(definition));
    for variant in definition["oneOf"].as_array().into_iter().flatten() {
        for (tag, content) in variant["properties"].as_object().into_iter().flatten() {
            into.insert(format!("{name}.{tag}"), keys(content));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_and_variants_are_known() {
        assert_eq!(of_struct("Scenario"), ["apiVersion", "kind", "metadata", "spec"]);
        assert_eq!(of_struct("WebhookFault"), ["name", "type", "rules"]);
        assert_eq!(of_variant("Delay", "uniform"), ["min", "max"]);
        assert!(of_struct("Cluster").is_empty());
        assert!(of_struct("NoSuchType").is_empty());
    }
}
