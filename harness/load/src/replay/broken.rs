//! Lines of a record that say nothing, by what is wrong with them.

use std::fmt;

use super::mapping::OTHER;

/// Numbers of lines that are kept for each reason.
const KEPT_NUMBERS: usize = 5;
/// Reasons that are told apart. A file that is no record at all may have as many as lines.
const KEPT_REASONS: usize = 8;

/// Lines of a record that say nothing, all for one reason.
///
/// Shows the reason and the first of their numbers: `not json (lines 3, 4 and 7)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenLines {
    /// What is wrong with them.
    pub why: String,
    /// How many there are.
    pub count: u64,
    /// The numbers of the first of them, from one.
    pub first: Vec<u64>,
}

/// Counts broken lines.
#[derive(Debug, Default)]
pub(super) struct Broken(Vec<BrokenLines>);

/// What is wrong with a line. Where in the line does not matter: lines are told apart by their numbers, and reasons
/// are to be the same for lines that are broken alike.
pub(super) fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

// === impl Broken ===

impl Broken {
    /// Counts line `number`.
    pub(super) fn add(&mut self, number: u64, why: String) {
        let known = self.0.iter().position(|lines| lines.why == why);
        let is_full = known.is_none() && self.0.len() >= KEPT_REASONS;
        let why = if is_full { OTHER.to_owned() } else { why };
        let place = known.or_else(|| self.0.iter().position(|lines| lines.why == why));
        let lines = match place {
            Some(place) => &mut self.0[place],
            None => self.0.push_mut(BrokenLines { why, count: 0, first: Vec::new() }),
        };
        lines.count += 1;
        if lines.first.len() < KEPT_NUMBERS {
            lines.first.push(number);
        }
    }

    /// All that were counted, by the reason, in the order of the first of each.
    pub(super) fn lines(self) -> Vec<BrokenLines> {
        self.0
    }
}

// === impl BrokenLines ===

impl fmt::Display for BrokenLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { why, count, first } = self;
        let mut numbers: Vec<String> = first.iter().map(u64::to_string).collect();
        let more = count.saturating_sub(first.len() as u64);
        if more > 0 {
            numbers.push(format!("{more} more"));
        }
        let last = numbers.pop().unwrap_or_default();
        let noun = if *count == 1 { "line" } else { "lines" };
        if numbers.is_empty() {
            write!(f, "{why} ({noun} {last})")
        } else {
            write!(f, "{why} ({noun} {} and {last})", numbers.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(lines: &[(u64, &str)]) -> Vec<String> {
        let mut broken = Broken::default();
        for (number, why) in lines {
            broken.add(*number, (*why).to_owned());
        }
        broken.lines().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lines_are_counted_by_reason_and_the_first_are_named() {
        let lines = [(1, "a"), (3, "b"), (4, "b"), (9, "c"), (10, "c"), (11, "c")];
        assert_eq!(broken(&lines), ["a (line 1)", "b (lines 3 and 4)", "c (lines 9, 10 and 11)"]);
        let many: Vec<(u64, &str)> = (1..=100).map(|number| (number, "a")).collect();
        assert_eq!(broken(&many), ["a (lines 1, 2, 3, 4, 5 and 95 more)"]);
    }

    #[test]
    fn reasons_are_few_and_every_line_is_counted() {
        let mut broken = Broken::default();
        for number in 1..=1000 {
            broken.add(number, format!("reason {number}"));
        }
        broken.add(1001, "reason 1".to_owned());
        let lines = broken.lines();
        assert_eq!(lines.len(), KEPT_REASONS + 1);
        assert_eq!(lines.iter().map(|lines| lines.count).sum::<u64>(), 1001);
        assert_eq!((lines[0].count, lines[KEPT_REASONS].why.as_str()), (2, OTHER));
    }

    #[test]
    fn a_reason_does_not_depend_on_the_place_in_the_line() {
        let why = |line: &str| reason(&serde_json::from_str::<serde_json::Value>(line).unwrap_err());
        assert_eq!(why("[1, x]"), why("[x]"));
        assert_eq!(why("[x]"), "expected value");
    }
}
