//! The JSON Schemas of scenarios, of experiments and of a gate's rules, for editors and other tools.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::{Experiment, Scenario, gate::GateRules};

/// Where the schemas of this version of the formats are published.
const SCENARIO_ID: &str = "https://spangate.dev/schemas/scenario.v1alpha1.schema.json";
const EXPERIMENT_ID: &str = "https://spangate.dev/schemas/experiment.v1alpha1.schema.json";
const GATE_RULES_ID: &str = "https://spangate.dev/schemas/gate-rules.v1alpha1.schema.json";

/// The JSON Schema (draft 2020-12) of scenario files.
///
/// It knows the shape: keys, types, which keys must be there. What keys mean together is for
/// [`parse`](crate::parse) to say.
pub fn scenario_schema() -> Value {
    schema::<Scenario>(SCENARIO_ID, "Spangate scenario")
}

/// The JSON Schema (draft 2020-12) of experiment files.
pub fn experiment_schema() -> Value {
    schema::<Experiment>(EXPERIMENT_ID, "Spangate experiment")
}

/// The JSON Schema (draft 2020-12) of files with the rules of a gate.
pub fn gate_rules_schema() -> Value {
    schema::<GateRules>(GATE_RULES_ID, "Rules of a Spangate gate")
}

/// The JSON Schema (draft 2020-12) of files that are read into `T`.
pub fn schema<T: JsonSchema>(id: &str, title: &str) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    forbid_null(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("$id".to_owned(), json!(id));
        root.insert("title".to_owned(), json!(title));
    }
    schema
}

/// Takes away the `null` that stands beside the type of every optional key: a key is left out or has a value.
fn forbid_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(forbid_null),
        Value::Object(keys) => {
            if let Some(Value::Array(types)) = keys.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    keys.insert("type".to_owned(), only);
                }
            }
            if let Some([Value::Object(some), null]) =
                keys.get("anyOf").and_then(Value::as_array).map(Vec::as_slice)
                && *null == json!({"type": "null"})
            {
                let some = some.clone();
                keys.shift_remove("anyOf");
                keys.extend(some);
            }
            keys.values_mut().for_each(forbid_null);
        }
        _ => {}
    }
}

/// A schema as it is written to a file: indented, ending in a newline.
pub fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}
