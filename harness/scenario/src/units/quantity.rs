//! Amounts of memory and CPU, as Kubernetes writes them.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{ParseUnitError, numbers::text_form};

/// A quantity of Kubernetes: `64Mi`, `500m`, `2` (`k8s.io/apimachinery/pkg/api/resource`). It is kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity(String);

pub(super) const QUANTITY: &str = "a quantity of Kubernetes such as 64Mi, 500m or 2, more than nothing";

/// What may stand after the number. Exponents are left out.
const SUFFIXES: [&str; 12] = ["", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"];

// === impl Quantity ===

impl FromStr for Quantity {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseUnitError { expected: QUANTITY, text: text.to_owned() };
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        if number > 0.0 && SUFFIXES.contains(&suffix) { Ok(Self(text.to_owned())) } else { Err(wrong()) }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_form!(
    Quantity,
    QUANTITY,
    {
        "type": ["string", "number"],
        "description": "A quantity of Kubernetes: 64Mi, 500m, 2.",
        "pattern": r"^[0-9]+(\.[0-9]+)?([mkMGTP]|[KMGTP]i)?$",
        "exclusiveMinimum": 0,
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_kept_as_they_are_written() {
        for text in ["64Mi", "500m", "2", "0.5", "1.5Gi", "100M"] {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), text);
        }
        for text in ["64MiB", "0", "-1", "much", "64 Mi", "", "."] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }
}
