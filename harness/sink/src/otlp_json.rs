//! OTLP JSON to protobuf structs.
//!
//! opentelemetry-proto reads the form with ids in hexadecimal and 64-bit numbers as text, but wants some fields
//! that the JSON mapping of protobuf lets a sender leave out when they are empty, as the Collector does.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde_json::{Map, Value, json};

/// Reads an export.
pub(crate) fn read(json: &[u8]) -> Result<ExportTraceServiceRequest, serde_json::Error> {
    let strict = match serde_json::from_slice(json) {
        Ok(export) => return Ok(export),
        Err(error) => error,
    };
    let Ok(mut value) = serde_json::from_slice(json) else { return Err(strict) };
    if fill(&mut value) {
        serde_json::from_value(value)
    } else {
        // Nothing was left out, and this error knows line and column.
        Err(strict)
    }
}

/// Puts in what was left out, removes nulls, and says whether there was any of that.
fn fill(value: &mut Value) -> bool {
    match value {
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| fill(item) | changed),
        Value::Object(fields) => {
            let count = fields.len();
            fields.retain(|_, field| !field.is_null());
            let mut changed = fields.len() < count;
            for (name, field) in fields.iter_mut() {
                changed |= match (name.as_str(), &mut *field) {
                    ("arrayValue", Value::Object(array)) => default(array, "values", json!([])),
                    ("kvlistValue", Value::Object(list)) => {
                        default(list, "values", json!([])) | list.get_mut("values").is_some_and(name_all)
                    }
                    ("attributes", list) => name_all(list),
                    _ => false,
                };
                changed |= fill(field);
            }
            changed
        }
        _ => false,
    }
}

/// Gives every `KeyValue` of a list a key.
fn name_all(list: &mut Value) -> bool {
    let pairs = list.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut);
    pairs.fold(false, |changed, pair| default(pair, "key", json!("")) | changed)
}

fn default(fields: &mut Map<String, Value>, name: &str, value: Value) -> bool {
    let missing = !fields.contains_key(name);
    if missing {
        fields.insert(name.to_owned(), value);
    }
    missing
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::shape;

    fn request(attributes: &str) -> String {
        format!(r#"{{"resourceSpans":[{{"resource":{{"attributes":{attributes}}}}}]}}"#)
    }

    #[test]
    fn what_serde_wrote_is_read() {
        let export = ExportTraceServiceRequest::decode(shape::request(1, 50)).unwrap();
        assert_eq!(read(&serde_json::to_vec(&export).unwrap()).unwrap(), export);
    }

    #[test]
    fn empty_fields_may_be_left_out_or_null() {
        let whole = r#"[
            {"key":"a","value":{"arrayValue":{"values":[]}}},
            {"key":"","value":{"intValue":"3"}},
            {"key":"b","value":{"kvlistValue":{"values":[{"key":"","value":{"boolValue":true}}]}}},
            {"key":"c","value":{"arrayValue":{"values":[{"kvlistValue":{"values":[]}}]}}},
            {"key":"d"}
        ]"#;
        let sparse = r#"[
            {"key":"a","value":{"arrayValue":{}}},
            {"value":{"intValue":"3"}},
            {"key":"b","value":{"kvlistValue":{"values":[{"value":{"boolValue":true}}]}}},
            {"key":"c","value":{"arrayValue":{"values":[{"kvlistValue":{}}]}}},
            {"key":"d","value":null}
        ]"#;
        let strict: ExportTraceServiceRequest = serde_json::from_str(&request(whole)).unwrap();
        assert_eq!(read(request(sparse).as_bytes()).unwrap(), strict);
        assert!(serde_json::from_str::<ExportTraceServiceRequest>(&request(sparse)).is_err());
    }

    #[test]
    fn an_error_says_where() {
        let error = read(b"{\"resourceSpans\":\n 5}").unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 2), "{error}");
        let error = read(b"{\"resourceSpans\":[").unwrap_err();
        assert!(error.is_eof(), "{error}");
        let error = read(request(r#"[{"value":{"intValue":"x"}}]"#).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("invalid digit"), "{error}");
    }
}
