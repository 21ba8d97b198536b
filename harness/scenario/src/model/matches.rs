//! Ways to match text and attributes: a plain value for equality, or a mapping with one way of matching.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use crate::units::Bound;

/// Text: a plain string for equality, or a mapping with one way of matching.
#[derive(Debug, Clone, PartialEq)]
pub enum TextMatch {
    /// The same text.
    Equals(String),
    /// Text that begins so.
    Prefix(String),
    /// Text in which the regular expression is found.
    Regex(String),
}

/// An attribute: a plain value for equality, or a mapping with one way of matching.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeMatch {
    /// The same text.
    Text(String),
    /// The same whole number.
    Int(i64),
    /// The same truth value.
    Bool(bool),
    /// Text that begins so.
    Prefix(String),
    /// Text in which the regular expression is found.
    Regex(String),
    /// Whether it is there at all.
    Exists(bool),
    /// A number within bounds.
    Number(Bound<f64>),
}

const TEXT_KEYS: &[&str] = &["equals", "prefix", "regex"];
const ATTRIBUTE_KEYS: &[&str] = &["equals", "prefix", "regex", "exists", "number"];

const EQUALS: &str = "The same value.";
const PREFIX: &str = "Text that begins so.";
const REGEX: &str = "Text in which the regular expression is found.";

/// The schema of a mapping with one way of matching.
pub(super) fn way(key: &str, value: &serde_json::Value, meaning: &str) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {key: value},
        "required": [key],
        "additionalProperties": false,
        "description": meaning,
    })
}

/// Reads the one key of a mapping, and refuses an empty or a longer one.
pub(super) fn one_key<'de, A: de::MapAccess<'de>, T>(
    mut map: A,
    keys: &'static [&'static str],
    value: impl FnOnce(&str, &mut A) -> Result<Option<T>, A::Error>,
) -> Result<T, A::Error> {
    let one = || de::Error::custom(format!("expected exactly one of {}", keys.join(", ")));
    let key: String = map.next_key()?.ok_or_else(one)?;
    let matched = value(&key, &mut map)?.ok_or_else(|| de::Error::unknown_field(&key, keys))?;
    match map.next_key::<String>()? {
        Some(_) => Err(one()),
        None => Ok(matched),
    }
}

// === impl TextMatch ===

impl<'de> Deserialize<'de> for TextMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = TextMatch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, or a mapping with one of equals, prefix, regex")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TextMatch, E> {
                Ok(TextMatch::Equals(text.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<TextMatch, A::Error> {
                one_key(map, TEXT_KEYS, |key, map| {
                    Ok(Some(match key {
                        "equals" => TextMatch::Equals(map.next_value()?),
                        "prefix" => TextMatch::Prefix(map.next_value()?),
                        "regex" => TextMatch::Regex(map.next_value()?),
                        _ => return Ok(None),
                    }))
                })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for TextMatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (key, text) = match self {
            Self::Equals(text) => return serializer.serialize_str(text),
            Self::Prefix(text) => ("prefix", text),
            Self::Regex(text) => ("regex", text),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(key, text)?;
        map.end()
    }
}

impl JsonSchema for TextMatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TextMatch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = serde_json::json!({"type": "string"});
        json_schema!({
            "description": "Text: a plain string for equality, or one of equals, prefix, regex.",
            "oneOf": [
                {"type": "string", "description": EQUALS},
                way("equals", &text, EQUALS),
                way("prefix", &text, PREFIX),
                way("regex", &text, REGEX),
            ],
        })
    }
}

// === impl AttributeMatch ===

impl<'de> Deserialize<'de> for AttributeMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = AttributeMatch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, or a mapping with one of equals, prefix, regex, exists, number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<AttributeMatch, E> {
                Ok(AttributeMatch::Text(text.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, truth: bool) -> Result<AttributeMatch, E> {
                Ok(AttributeMatch::Bool(truth))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<AttributeMatch, E> {
                Ok(AttributeMatch::Int(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<AttributeMatch, E> {
                i64::try_from(number).map(AttributeMatch::Int).map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<AttributeMatch, A::Error> {
                one_key(map, ATTRIBUTE_KEYS, |key, map| {
                    Ok(Some(match key {
                        "equals" => return map.next_value().map(Some),
                        "prefix" => AttributeMatch::Prefix(map.next_value()?),
                        "regex" => AttributeMatch::Regex(map.next_value()?),
                        "exists" => AttributeMatch::Exists(map.next_value()?),
                        "number" => AttributeMatch::Number(map.next_value()?),
                        _ => return Ok(None),
                    }))
                })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for AttributeMatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (key, value) = match self {
            Self::Text(text) => return serializer.serialize_str(text),
            Self::Int(number) => return serializer.serialize_i64(*number),
            Self::Bool(truth) => return serializer.serialize_bool(*truth),
            Self::Exists(truth) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("exists", truth)?;
                return map.end();
            }
            Self::Prefix(text) => ("prefix", text.clone()),
            Self::Regex(text) => ("regex", text.clone()),
            Self::Number(bound) => ("number", bound.to_string()),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(key, &value)?;
        map.end()
    }
}

impl JsonSchema for AttributeMatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AttributeMatch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let plain = serde_json::json!({"type": ["string", "integer", "boolean"]});
        let truth = serde_json::json!({"type": "boolean"});
        let bound = serde_json::json!({"type": ["string", "number"]});
        let text = serde_json::json!({"type": "string"});
        json_schema!({
            "description": "An attribute: a plain value for equality, or one of equals, prefix, regex, exists, number.",
            "oneOf": [
                {"type": ["string", "integer", "boolean"], "description": EQUALS},
                way("equals", &plain, EQUALS),
                way("prefix", &text, PREFIX),
                way("regex", &text, REGEX),
                way("exists", &truth, "Whether it is there at all."),
                way("number", &bound, "A number within a bound: `>= 500`, `1..5`."),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(json: &str) -> Result<AttributeMatch, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn plain_values_keep_their_type() {
        assert_eq!(attribute("200").unwrap(), AttributeMatch::Int(200));
        assert_eq!(attribute("\"200\"").unwrap(), AttributeMatch::Text("200".to_owned()));
        assert_eq!(attribute("true").unwrap(), AttributeMatch::Bool(true));
        assert_eq!(attribute(r#"{"equals": "POST"}"#).unwrap(), AttributeMatch::Text("POST".to_owned()));
    }

    #[test]
    fn a_mapping_has_exactly_one_known_key() {
        assert!(attribute(r#"{"prefix": "a", "regex": "b"}"#).is_err());
        assert!(attribute("{}").is_err());
        assert!(attribute(r#"{"suffix": "a"}"#).is_err());
    }

    #[test]
    fn number_ranges() {
        assert_eq!(
            attribute(r#"{"number": ">= 500"}"#).unwrap(),
            AttributeMatch::Number(Bound::at_least(500.0))
        );
    }
}
