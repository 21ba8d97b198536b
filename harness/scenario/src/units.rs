//! Numbers with units, read as people write them and checked once, here.

pub mod bound;
pub mod change;
pub mod duration;
pub mod growth;
pub mod numbers;
pub mod quantity;

pub use bound::{Bound, Comparison};
pub use change::Change;
pub use duration::Duration;
pub use growth::Growth;
pub use numbers::{PerMillion, Rate, Ratio, Size};
pub use quantity::Quantity;

/// Text that is not a value of the wanted unit; says what was expected, and perhaps what was meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {text:?}{}", hint_after(.expected, .text))]
pub struct ParseUnitError {
    /// What would have been right, with an example.
    pub expected: &'static str,
    /// What was there.
    pub text: String,
}

/// What stands between a message and a hint in the text of an error.
pub(crate) const HINT: &str = "; did you mean ";

/// What was probably meant by a number without the unit that `expected` asks for: `` `50%`? ``
pub(crate) fn hint(expected: &str, text: &str) -> Option<String> {
    let text = text.trim();
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = text.parse().ok().filter(|_| plain)?;
    match expected {
        duration::EXPECTED => Some(format!("`{text}ms` or `{text}s`?")),
        numbers::RATIO if number <= 100.0 => Some(format!("`{text}%`?")),
        numbers::RATE => Some(format!("`{text}/s`?")),
        _ => None,
    }
}

fn hint_after(expected: &str, text: &str) -> String {
    hint(expected, text).map_or_else(String::new, |hint| format!("{HINT}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_a_unit_are_given_one() {
        let said =
            |error: ParseUnitError| error.to_string().split_once(HINT).map(|(_, hint)| hint.to_owned());
        for (text, hint) in
            [("80", Some("`80ms` or `80s`?")), ("1.5", Some("`1.5ms` or `1.5s`?")), ("1 s", None)]
        {
            assert_eq!(said(text.parse::<Duration>().unwrap_err()).as_deref(), hint, "{text}");
        }
        for (text, hint) in [("50", Some("`50%`?")), ("101", None), ("-1", None), ("half", None)] {
            assert_eq!(said(text.parse::<Ratio>().unwrap_err()).as_deref(), hint, "{text}");
        }
        assert_eq!(said("50".parse::<Rate>().unwrap_err()).as_deref(), Some("`50/s`?"));
        assert_eq!(said("2XB".parse::<Size>().unwrap_err()), None);
    }
}
