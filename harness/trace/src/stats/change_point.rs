//! Where a series of figures changes for good: E-divisive, by which drift is told from noise.

use super::SplitMix64;

/// How to look for changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoints {
    /// The probability of a change where there is none, in a whole series.
    pub level: f64,
    /// Permutations of each test.
    pub permutations: u32,
    /// The seed of the permutations.
    pub seed: u64,
}

/// A change: from the value of this index on, the series is another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoint {
    /// The index of the first value after the change.
    pub at: usize,
    /// The part of permutations, the series itself included, that are split as well as it is.
    pub p: f64,
}

// === impl ChangePoints ===

impl ChangePoints {
    /// Values without which nothing is looked for.
    pub const FEWEST: usize = 20;
    /// Values that each side of a change has at least.
    pub const SIDE: usize = 5;

    /// The changes in a series, in its order; none in one of fewer than [`Self::FEWEST`] values.
    ///
    /// The split whose sides are furthest apart in energy distance is a change when at most the part [`Self::level`] of
    /// permutations of the same values has a better one; then each side is looked at in the same way (D. Matteson and
    /// N. James, A Nonparametric Approach for Multiple Change Point Analysis, JASA 109, 2014). In a series without a change
    /// there is one test, so it finds one as seldom as the level says.
    pub fn find(&self, values: &[f64]) -> Vec<ChangePoint> {
        let mut found = Vec::new();
        if values.len() >= Self::FEWEST && values.iter().all(|value| value.is_finite()) {
            let mut random = SplitMix64::new(self.seed);
            self.split(values, 0, &mut random, &mut found);
        }
        found.sort_by_key(|change: &ChangePoint| change.at);
        found
    }

    fn split(&self, values: &[f64], offset: usize, random: &mut SplitMix64, found: &mut Vec<ChangePoint>) {
        let Some((at, apart)) = best(values) else { return };
        let mut shuffled = values.to_vec();
        let mut as_good = 1;
        for _ in 0..self.permutations {
            random.shuffle(&mut shuffled);
            as_good += u32::from(best(&shuffled).is_some_and(|(_, other)| other >= apart));
        }
        let p = f64::from(as_good) / f64::from(self.permutations + 1);
        if p > self.level {
            return;
        }
        found.push(ChangePoint { at: offset + at, p });
        self.split(&values[..at], offset, random, found);
        self.split(&values[at..], offset + at, random, found);
    }
}

impl Default for ChangePoints {
    /// One series in a hundred, by 999 permutations.
    fn default() -> Self {
        Self { level: 0.01, permutations: 999, seed: 0x5eed }
    }
}

/// The split whose sides are furthest apart, and how far; none of too few values, or of equal ones.
fn best(values: &[f64]) -> Option<(usize, f64)> {
    let n = values.len();
    if n < 2 * ChangePoints::SIDE {
        return None;
    }
    let distance = |one: usize, other: usize| (values[one] - values[other]).abs();
    let from = |at: usize, range: std::ops::Range<usize>| range.map(|other| distance(at, other)).sum::<f64>();
    // Sums of distances within both sides and between them, while one value after the other moves to the left.
    let (mut left, mut between) = (0.0, 0.0);
    let mut right: f64 = (0..n).map(|at| from(at, at + 1..n)).sum();
    let mut best = None;
    for at in 0..n {
        let (to_left, to_right) = (from(at, 0..at), from(at, at + 1..n));
        left += to_left;
        right -= to_right;
        between += to_right - to_left;
        let (size, rest) = (at + 1, n - at - 1);
        if size < ChangePoints::SIDE || rest < ChangePoints::SIDE {
            continue;
        }
        let pairs = |size: usize| size as f64 * (size as f64 - 1.0) / 2.0;
        let (a, b) = (size as f64, rest as f64);
        let energy = 2.0 * between / (a * b) - left / pairs(size) - right / pairs(rest);
        let apart = a * b / (a + b) * energy;
        if apart > best.map_or(0.0, |(_, apart)| apart) {
            best = Some((size, apart));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Binomial;

    fn noise(random: &mut SplitMix64, n: usize) -> Vec<f64> {
        // The sum of four is near enough to normal; its deviation is 2 %.
        let one = |random: &mut SplitMix64| (random.below(2_001) as f64 - 1_000.0) / 1_000.0;
        (0..n).map(|_| 1.0 + 0.02 * 0.866 * (0..4).map(|_| one(random)).sum::<f64>()).collect()
    }

    /// Scenario: forty figures with a deviation of 2 %, of which the last fifteen are 10 % more.
    /// Guarantees: the one change is found where it is, in nearly all of a hundred series.
    #[test]
    fn a_step_is_found_where_it_is() {
        const SEED: u64 = 41;
        let mut random = SplitMix64::new(SEED);
        let mut found = 0;
        for _ in 0..100 {
            let mut values = noise(&mut random, 40);
            values[25..].iter_mut().for_each(|value| *value *= 1.1);
            let changes = ChangePoints { permutations: 199, ..ChangePoints::default() }.find(&values);
            found += usize::from(changes.len() == 1 && changes[0].at.abs_diff(25) <= 1);
        }
        assert!(found >= 92, "seed {SEED}: {found}");
    }

    #[test]
    fn two_steps_are_two_changes() {
        let mut values = noise(&mut SplitMix64::new(42), 60);
        values[20..].iter_mut().for_each(|value| *value *= 1.2);
        values[40..].iter_mut().for_each(|value| *value /= 1.1);
        let at: Vec<usize> = ChangePoints::default().find(&values).iter().map(|change| change.at).collect();
        assert_eq!(at, [20, 40]);
    }

    /// Scenario: three hundred series of forty figures that only vary.
    /// Guarantees: no more of them have a change than the level says; the same search with a level that is broken finds
    /// one in most of them.
    #[test]
    fn noise_has_a_change_as_seldom_as_stated() {
        const SEED: u64 = 43;
        let search = ChangePoints { permutations: 199, ..ChangePoints::default() };
        let with_change = |level: f64| {
            let mut random = SplitMix64::new(SEED);
            let search = ChangePoints { level, ..search };
            (0..300).filter(|_| !search.find(&noise(&mut random, 40)).is_empty()).count() as u64
        };
        let found = with_change(search.level);
        assert!(Binomial::new(300, search.level).at_least(found) > 1e-3, "seed {SEED}: {found}");
        let broken = with_change(0.9);
        assert!(Binomial::new(300, search.level).at_least(broken) < 1e-9, "seed {SEED}: {broken}");
    }

    #[test]
    fn too_few_or_equal_values_have_none() {
        let mut few = vec![1.0; 9];
        few.extend([2.0; 10]);
        assert!(ChangePoints::default().find(&few).is_empty());
        few.push(2.0);
        assert_eq!(ChangePoints::default().find(&few).first().map(|change| change.at), Some(9));
        assert!(ChangePoints::default().find(&[3.0; 40]).is_empty());
        let broken: Vec<f64> = few.iter().copied().chain([f64::NAN]).collect();
        assert!(ChangePoints::default().find(&broken).is_empty());
    }
}
