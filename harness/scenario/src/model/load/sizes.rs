//! Sizes of payloads: a plain size, or a mapping with a distribution.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    model::matches::{one_key, way},
    units::Size,
};

/// Sizes of payloads: a plain size such as `2KiB`, or a mapping with a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sizes {
    /// Always the same.
    Fixed(Size),
    /// Of a distribution.
    Drawn(SizeDistribution),
}

/// A distribution of sizes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SizeDistribution {
    /// Evenly spread.
    Uniform {
        /// The smallest.
        min: Size,
        /// The largest.
        max: Size,
    },
    /// Many small ones and few large ones: the logarithm is normally distributed. What is above the
    /// [largest payload](super::Resource::payload_limit) of the resource is cut to it.
    LogNormal {
        /// Half of them are smaller.
        median: Size,
        /// The 99th percentile.
        p99: Size,
    },
}

/// The bounds of sizes that are evenly spread.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UniformSizes {
    /// The smallest.
    min: Size,
    /// The largest.
    max: Size,
}

/// Two percentiles of sizes whose logarithm is normally distributed. What is above the largest payload of the
/// resource is cut to it.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LogNormalSizes {
    /// Half of them are smaller.
    median: Size,
    /// The 99th percentile.
    p99: Size,
}

const KEYS: &[&str] = &["uniform", "logNormal"];

// === impl Sizes ===

impl Default for Sizes {
    fn default() -> Self {
        Self::Fixed(Size(1024))
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => size.fmt(f),
            Self::Drawn(distribution) => distribution.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Sizes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Sizes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 500, 2KiB or 1MiB, or a mapping with one of uniform, logNormal")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Sizes, E> {
                text.parse().map(Sizes::Fixed).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Sizes, E> {
                Ok(Sizes::Fixed(Size(bytes)))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Sizes, A::Error> {
                one_key(map, KEYS, |key, map| {
                    Ok(Some(Sizes::Drawn(match key {
                        "uniform" => {
                            let UniformSizes { min, max } = map.next_value()?;
                            SizeDistribution::Uniform { min, max }
                        }
                        "logNormal" => {
                            let LogNormalSizes { median, p99 } = map.next_value()?;
                            SizeDistribution::LogNormal { median, p99 }
                        }
                        _ => return Ok(None),
                    })))
                })
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Sizes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(size) => size.serialize(serializer),
            Self::Drawn(distribution) => distribution.serialize(serializer),
        }
    }
}

impl JsonSchema for Sizes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sizes".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut fixed = generator.subschema_for::<Size>();
        fixed.insert("description".to_owned(), "Always the same.".into());
        let uniform = generator.subschema_for::<UniformSizes>().to_value();
        let log_normal = generator.subschema_for::<LogNormalSizes>().to_value();
        json_schema!({
            "description": "Sizes of payloads: a plain size such as `2KiB`, or a mapping with a distribution.",
            "oneOf": [
                fixed,
                way("uniform", &uniform, "Evenly spread."),
                way(
                    "logNormal",
                    &log_normal,
                    "Many small ones and few large ones: the logarithm is normally distributed.",
                ),
            ],
        })
    }
}

// === impl SizeDistribution ===

impl fmt::Display for SizeDistribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform { min, max } => write!(f, "uniform from {min} to {max}"),
            Self::LogNormal { median, p99 } => write!(f, "logNormal with median {median} and p99 {p99}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_sizes_and_distributions() {
        for (json, text) in [
            ("500", "500B"),
            (r#""2KiB""#, "2KiB"),
            (r#"{"uniform": {"min": "1KiB", "max": "1MiB"}}"#, "uniform from 1KiB to 1MiB"),
            (r#"{"logNormal": {"median": 900, "p99": "64KiB"}}"#, "logNormal with median 900B and p99 64KiB"),
        ] {
            let sizes: Sizes = serde_json::from_str(json).unwrap();
            assert_eq!(sizes.to_string(), text, "{json}");
            let written = serde_json::to_string(&sizes).unwrap();
            assert_eq!(serde_json::from_str::<Sizes>(&written).unwrap(), sizes, "{json}");
        }
    }

    #[test]
    fn a_mapping_has_one_distribution_and_all_of_it() {
        for json in [
            "{}",
            "-1",
            r#"{"uniform": {"min": 1}}"#,
            r#"{"normal": {"mean": 1}}"#,
            r#"{"uniform": {"min": 1, "max": 2}, "logNormal": {"median": 1, "p99": 2}}"#,
        ] {
            assert!(serde_json::from_str::<Sizes>(json).is_err(), "{json}");
        }
    }
}
