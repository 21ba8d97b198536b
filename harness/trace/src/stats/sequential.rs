//! Stopping early: looking at a measurement while it goes on, without believing it too soon.

use super::effect::fewest;

/// When a measurement is looked at, and what each look may believe.
///
/// Who looks n times at 95 % is wrong more often than once in twenty. So each of the looks has its part of what the
/// confidence leaves over (Bonferroni): whatever the looks have in common, all of them together are wrong no more often
/// than one would be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sequential {
    /// The confidence of all looks together.
    pub confidence: f64,
    /// Looks, the last one at the cap included.
    pub looks: u32,
    /// The most pairs.
    pub cap: u32,
}

// === impl Sequential ===

impl Sequential {
    /// The confidence of the interval at each look.
    pub fn each(&self) -> f64 {
        1.0 - (1.0 - self.confidence) / f64::from(self.looks.max(1))
    }

    /// The numbers of pairs at which to look: evenly up to the cap, and none that has too few for its confidence.
    pub fn at(&self) -> Vec<u32> {
        let looks = self.looks.max(1);
        let least = u32::try_from(fewest(self.each())).unwrap_or(u32::MAX);
        let mut at: Vec<u32> = (1..=looks).map(|look| (self.cap * look).div_ceil(looks)).collect();
        at.retain(|pairs| *pairs >= least || *pairs == self.cap);
        at.dedup();
        at
    }

    /// Whether to look after so many pairs.
    pub fn looks_at(&self, pairs: u32) -> bool {
        self.at().contains(&pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Bootstrap, SplitMix64, ratio_of_medians};

    #[test]
    fn looks_are_even_and_none_comes_too_early() {
        let plan = Sequential { confidence: 0.99, looks: 4, cap: 40 };
        assert!((plan.each() - 0.9975).abs() < 1e-12);
        assert_eq!(plan.at(), [10, 20, 30, 40]);
        assert_eq!(Sequential { cap: 16, ..plan }.at(), [12, 16]);
        // The last look is there whatever it can say.
        assert_eq!(Sequential { cap: 3, ..plan }.at(), [3]);
        assert!(plan.looks_at(20) && !plan.looks_at(21));
    }

    /// Scenario: four hundred measurements of nothing but noise, each looked at four times, and stopped at the first look
    /// whose interval leaves 1 out.
    /// Guarantees: no more of them stop than one look would be wrong, and more than that do where each look believes as
    /// much as all together.
    #[test]
    fn looking_often_is_paid_for() {
        const SEED: u64 = 31;
        let plan = Sequential { confidence: 0.9, looks: 4, cap: 40 };
        let mut random = SplitMix64::new(SEED);
        let (mut stopped, mut naive) = (0, 0);
        for _ in 0..400 {
            let mut noise = || 1.0 + (random.below(2_001) as f64 - 1_000.0) / 1e4;
            let pairs: Vec<(f64, f64)> = (0..40).map(|_| (noise(), noise())).collect();
            let wrong = |confidence| {
                plan.at().into_iter().any(|n| {
                    let method = Bootstrap { resamples: 400, confidence, ..Bootstrap::default() };
                    let seen = &pairs[..usize::try_from(n).unwrap_or(0)];
                    ratio_of_medians(seen, &method).is_some_and(|it| !it.contains(1.0))
                })
            };
            stopped += usize::from(wrong(plan.each()));
            naive += usize::from(wrong(plan.confidence));
        }
        assert!(stopped <= 52 && naive > 52, "seed {SEED}: {stopped} {naive}");
    }
}
