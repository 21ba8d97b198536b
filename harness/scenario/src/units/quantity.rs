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

/// The letters of thousands and their powers, whichever the base.
const POWERS: &str = "KMGTP";

// === impl Quantity ===

impl Quantity {
    /// The amount in whole parts, of which one has so many: of memory, with 1, in bytes.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "more than nothing, and rounded"
    )]
    pub fn parts(&self, of_one: f64) -> u64 {
        (self.amount() * of_one).round() as u64
    }

    /// The amount: of memory in bytes, of CPU time in CPUs.
    fn amount(&self) -> f64 {
        let end = self.0.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.0.len());
        let (number, suffix) = self.0.split_at(end);
        let (base, power) = match suffix.strip_suffix('i') {
            Some(binary) => (1024.0_f64, POWERS.find(binary)),
            None => (1000.0, POWERS.find(&suffix.to_ascii_uppercase())),
        };
        let number: f64 = number.parse().unwrap_or_default();
        match (suffix, power) {
            // Of thousands, and not of millions.
            ("m", _) => number / 1000.0,
            ("", _) | (_, None) => number,
            (_, Some(power)) => number * base.powi(i32::try_from(power).unwrap_or_default() + 1),
        }
    }
}

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
    fn a_quantity_is_an_amount() {
        for (text, amount) in [
            ("64Mi", 67_108_864.0),
            ("500m", 0.5),
            ("2", 2.0),
            ("1k", 1000.0),
            ("1Ki", 1024.0),
            ("1.5G", 1.5e9),
            ("1Pi", 1_125_899_906_842_624.0),
        ] {
            let found = text.parse::<Quantity>().unwrap().amount();
            assert!((found - amount).abs() < 1e-9 * amount, "{text}: {found}");
        }
        let parts = |text: &str, of_one| text.parse::<Quantity>().unwrap().parts(of_one);
        assert_eq!((parts("64Mi", 1.0), parts("250m", 1e9)), (67_108_864, 250_000_000));
    }

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
