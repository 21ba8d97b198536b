//! The difference of two shares of the same traces.

use spangate_trace::stats::{Estimate, clopper_pearson};

/// The difference of the shares that two configurations keep of the same `n` traces, when `only_base` of them were kept
/// by the old one alone and `only_head` by the new one alone; negative when the new one keeps less.
///
/// Traces that both keep or both drop say nothing about a difference (McNemar 1947). Given how many are discordant, the
/// number that only the new one keeps is binomial, and its share p has the exact interval of Clopper and Pearson; an
/// interval without 1/2 is what the exact McNemar test calls significant. How many are discordant is an estimate too,
/// m of n, with such an interval of its own. The difference is m/n (2 p - 1), and its interval has all that both
/// intervals allow; each of them takes half of what the confidence leaves over (Bonferroni), so it covers at least
/// `confidence`. Without any discordant trace it is as wide as n traces leave it.
///
/// # Panics
///
/// When there are more discordant traces than traces, or `confidence` is not between 0 and 1.
pub fn difference(n: u64, only_base: u64, only_head: u64, confidence: f64) -> Estimate {
    let discordant = only_base + only_head;
    if n == 0 {
        return Estimate { value: 0.0, low: -1.0, high: 1.0 };
    }
    let confidence = f64::midpoint(1.0, confidence);
    let share = clopper_pearson(discordant, n, confidence);
    let head = clopper_pearson(only_head, discordant, confidence);
    let least = |direction: f64| direction * if direction > 0.0 { share.low } else { share.high };
    let most = |direction: f64| direction * if direction > 0.0 { share.high } else { share.low };
    Estimate {
        value: (only_head as f64 - only_base as f64) / n as f64,
        low: least(2.0 * head.low - 1.0),
        high: most(2.0 * head.high - 1.0),
    }
}

#[cfg(test)]
mod tests {
    use spangate_trace::stats::SplitMix64;

    use super::*;

    #[test]
    fn no_discordant_trace_leaves_what_n_traces_leave() {
        let few = difference(100, 0, 0, 0.99);
        let many = difference(10_000, 0, 0, 0.99);
        assert!(few.value.abs() < 1e-12 && few.contains(0.0), "{few:?}");
        assert!(few.high > 0.05 && many.high < 0.001 && (many.low + many.high).abs() < 1e-12, "{many:?}");
        let none = difference(0, 0, 0, 0.99);
        assert!((none.low, none.high) == (-1.0, 1.0), "{none:?}");
    }

    #[test]
    fn a_loss_on_one_side_alone_is_significant_once_there_are_nine() {
        assert!(difference(8_000, 8, 0, 0.99).high >= 0.0);
        let lost = difference(8_000, 9, 0, 0.99);
        assert!(lost.high < 0.0 && lost.contains(-9.0 / 8_000.0), "{lost:?}");
        let (fewer, more) = (difference(500, 40, 7, 0.95), difference(500, 7, 40, 0.95));
        assert!(
            (fewer.low + more.high).abs() < 1e-9 && (fewer.high + more.low).abs() < 1e-9,
            "{fewer:?} {more:?}"
        );
    }

    #[test]
    fn the_interval_has_the_difference_at_least_as_often_as_it_says() {
        const SEED: u64 = 3;
        let mut random = SplitMix64::new(SEED);
        let (n, runs) = (400, 500);
        // Of a thousand traces the old one alone keeps 60, the new one alone 30.
        let covered = (0..runs).filter(|_| {
            let drawn: Vec<usize> = (0..n).map(|_| random.below(1_000)).collect();
            let base = drawn.iter().filter(|place| **place < 60).count() as u64;
            let head = drawn.iter().filter(|place| (60..90).contains(*place)).count() as u64;
            difference(n, base, head, 0.9).contains(-0.03)
        });
        let coverage = clopper_pearson(covered.count() as u64, runs, 0.999_9);
        assert!(coverage.high >= 0.9, "seed {SEED}: {coverage:?}");
    }
}
