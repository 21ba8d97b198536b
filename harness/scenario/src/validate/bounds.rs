//! Bounds that say nothing: those that no value meets, and those that every value meets.

use super::Findings;
use crate::{
    path::Path,
    units::{Bound, Comparison, Duration, Ratio, Size},
};

/// What a bound is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To say what must be true.
    Check,
    /// To say when the load is given up.
    End,
}

/// The values that something can have: from the first to the second, or without end.
struct Range<T>(T, Option<T>);

pub(super) fn count(bound: &Bound<u64>, at: &Path, findings: &mut Findings) {
    useful(bound, &Range(0, None), Purpose::Check, at, findings);
}

/// A time that is measured: to the nanosecond it is never equal to another one, unless nothing took place.
/// `meant` is the comparison to propose.
pub(super) fn duration(
    bound: &Bound<Duration>,
    meant: Comparison,
    purpose: Purpose,
    at: &Path,
    findings: &mut Findings,
) {
    let exact = match bound {
        Bound::One(Comparison::Equal, limit) => Some(limit),
        Bound::Within(low, high) if low == high => Some(low),
        Bound::One(..) | Bound::Within(..) => None,
    };
    match exact.filter(|limit| !limit.is_zero()) {
        Some(limit) => {
            findings
                .add(at, format!("no measured time is exactly {limit}"))
                .help(format!("did you mean `{}`?", Bound::One(meant, limit)));
        }
        None => useful(bound, &Range(Duration::default(), None), purpose, at, findings),
    }
}

/// An amount of memory.
pub(super) fn size(bound: &Bound<Size>, at: &Path, findings: &mut Findings) {
    useful(bound, &Range(Size(0), None), Purpose::Check, at, findings);
}

pub(super) fn ratio(bound: &Bound<Ratio>, purpose: Purpose, at: &Path, findings: &mut Findings) {
    useful(bound, &Range(Ratio::new_unchecked(0.0), Some(Ratio::one())), purpose, at, findings);
}

/// An HTTP status.
pub(super) fn status(bound: &Bound<u64>, at: &Path, findings: &mut Findings) {
    useful(bound, &Range(100, Some(599)), Purpose::Check, at, findings);
}

/// A bound that may be one that every value meets, to switch a check off.
pub(super) fn possible(bound: &Bound<u64>, at: &Path, findings: &mut Findings) {
    if is_empty(bound, &Range(0, None)) {
        findings.add(at, "no value can be within this bound");
    }
}

/// As [`possible`], of a share.
pub(super) fn possible_share(bound: &Bound<Ratio>, at: &Path, findings: &mut Findings) {
    if is_empty(bound, &Range(Ratio::new_unchecked(0.0), Some(Ratio::one()))) {
        findings.add(at, "no value can be within this bound");
    }
}

fn useful<T: PartialOrd>(
    bound: &Bound<T>,
    range: &Range<T>,
    purpose: Purpose,
    at: &Path,
    findings: &mut Findings,
) {
    if is_empty(bound, range) {
        findings.add(at, "no value can be within this bound");
    } else if is_all(bound, range) {
        let effect = match purpose {
            Purpose::Check => "it checks nothing",
            Purpose::End => "load would end at once",
        };
        findings.add(at, format!("every value is within this bound, so {effect}"));
    }
}

fn is_empty<T: PartialOrd>(bound: &Bound<T>, Range(least, most): &Range<T>) -> bool {
    let above = |limit: &T| most.as_ref().is_some_and(|most| limit > most);
    match bound {
        Bound::One(Comparison::NotEqual, _) => false,
        Bound::One(Comparison::Equal, limit) => limit < least || above(limit),
        Bound::One(Comparison::Less, limit) => limit <= least,
        Bound::One(Comparison::AtMost, limit) => limit < least,
        Bound::One(Comparison::Greater, limit) => most.as_ref().is_some_and(|most| limit >= most),
        Bound::One(Comparison::AtLeast, limit) => above(limit),
        Bound::Within(low, high) => high < least || above(low),
    }
}

fn is_all<T: PartialOrd>(bound: &Bound<T>, Range(least, most): &Range<T>) -> bool {
    let covers = |limit: &T| most.as_ref().is_some_and(|most| limit >= most);
    match bound {
        Bound::One(Comparison::NotEqual | Comparison::Equal, _) => false,
        Bound::One(Comparison::Less, limit) => most.as_ref().is_some_and(|most| limit > most),
        Bound::One(Comparison::AtMost, limit) => covers(limit),
        Bound::One(Comparison::Greater, limit) => limit < least,
        Bound::One(Comparison::AtLeast, limit) => limit <= least,
        Bound::Within(low, high) => low <= least && covers(high),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_lie_between_nothing_and_all() {
        let range = Range(Ratio::new_unchecked(0.0), Some(Ratio::one()));
        for (text, empty, all) in [
            ("> 100%", true, false),
            ("< 0%", true, false),
            (">= 0%", false, true),
            ("<= 100%", false, true),
            ("0%..100%", false, true),
            ("100%", false, false),
            (">= 80%", false, false),
        ] {
            let bound: Bound<Ratio> = text.parse().unwrap();
            assert_eq!((is_empty(&bound, &range), is_all(&bound, &range)), (empty, all), "{text}");
        }
    }

    #[test]
    fn statuses_have_three_digits() {
        let range = Range(100, Some(599));
        for (text, empty) in
            [("20", true), ("600", true), ("> 599", true), ("< 100", true), ("400..499", false)]
        {
            assert_eq!(is_empty(&text.parse::<Bound<u64>>().unwrap(), &range), empty, "{text}");
        }
    }
}
