//! The JSON Schema of scenario files, for editors and other tools.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::Scenario;

/// Where the schema of this version of the format is published.
const ID: &str = "https://spangate.dev/schemas/scenario.v1alpha1.schema.json";

/// The JSON Schema (draft 2020-12) of scenario files.
///
/// It knows the shape: keys, types, which keys must be there. What keys mean together is for
/// [`parse`](crate::parse) to say.
pub fn scenario_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Scenario>().to_value();
    forbid_null(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("$id".to_owned(), json!(ID));
        root.insert("title".to_owned(), json!("Spangate scenario"));
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

/// The schema as it is written to a file: indented, ending in a newline.
pub fn scenario_schema_text() -> String {
    format!("{:#}\n", scenario_schema())
}
