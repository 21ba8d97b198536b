//! YAML of other programs as plain values: read, changed, and written again.

use serde_json::{Map, Number, Value};

use crate::{
    node::{Node, Scalar, Value as Written},
    yaml,
};

/// Text that is no YAML document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct DocumentError {
    line: usize,
    message: String,
}

/// Reads one document; an empty text is nothing. Of a key that is repeated the last one counts.
pub fn read(text: &str) -> Result<Value, DocumentError> {
    let root = yaml::parse(text).map_err(|error| {
        let before = text.get(..error.span.start).unwrap_or(text);
        DocumentError { line: before.matches('\n').count() + 1, message: error.message }
    })?;
    Ok(root.as_ref().map_or(Value::Null, value))
}

/// Writes a value as YAML.
///
/// # Panics
///
/// Never: every value of this kind has a YAML form.
pub fn write(value: &Value) -> String {
    yaml::write(value).expect("numbers, text, lists and mappings have a YAML form")
}

fn value(node: &Node) -> Value {
    match &node.value {
        Written::Mapping(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), value(&entry.value))).collect::<Map<_, _>>().into()
        }
        Written::Sequence(items) => items.iter().map(value).collect::<Vec<_>>().into(),
        Written::Scalar { text, .. } => match node.scalar() {
            None | Some(Scalar::Null) => Value::Null,
            Some(Scalar::Bool(truth)) => truth.into(),
            Some(Scalar::Unsigned(number)) => number.into(),
            Some(Scalar::Signed(number)) => number.into(),
            // JSON has no infinity; the text is kept as it is.
            Some(Scalar::Float(number)) => {
                Number::from_f64(number).map_or_else(|| text.clone().into(), Value::Number)
            }
            Some(Scalar::Text(text)) => text.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_read_is_written_and_read_again() {
        let text = "kind: Cluster\nnodes:\n- role: control-plane\n  labels: {tier: \"1\", n: 1, on: yes}\npatches:\n- |\n  kind: X\n  a: b\nempty:\n";
        let read_once = read(text).unwrap();
        assert_eq!(read_once["nodes"][0]["labels"], json!({"tier": "1", "n": 1, "on": "yes"}));
        assert_eq!(read_once["patches"][0], "kind: X\na: b\n");
        assert_eq!(read_once["empty"], Value::Null);
        assert_eq!(read(&write(&read_once)).unwrap(), read_once);
    }

    #[test]
    fn a_mistake_has_its_line() {
        let error = read("a: 1\nb: [\n").unwrap_err();
        assert!(error.to_string().starts_with("line "), "{error}");
        assert_eq!(read("").unwrap(), Value::Null);
    }
}
