//! The JSON Schema of `report.json`.

use super::Report;

/// The schema as pretty JSON, ending in a newline.
#[expect(clippy::missing_panics_doc, reason = "a schema has only string keys")]
pub fn report_schema() -> String {
    let mut schema = schemars::schema_for!(Report);
    schema.insert("$id".to_owned(), "https://spangate.dev/schemas/report.schema.json".into());
    schema.insert("title".to_owned(), "Spangate report".into());
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema has only string keys");
    text.push('\n');
    text
}
