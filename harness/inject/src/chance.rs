//! Which calls a fault affects: its share of them, chosen by the number of the call.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spangate_scenario::units::Ratio;

/// Chooses a share of the calls. Call `n` is chosen in every run with the same seed, or in none.
#[derive(Debug)]
pub(crate) struct Chance {
    share: Ratio,
    rng: ChaCha8Rng,
}

/// The seed of one random choice of one fault, so that faults do not choose in step.
pub(crate) fn derive_seed(seed: u64, fault: &str, choice: &str) -> u64 {
    // FNV-1a, 64 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
    let bytes = seed.to_le_bytes().into_iter().chain(fault.bytes()).chain([0]).chain(choice.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

// === impl Chance ===

impl Chance {
    pub(crate) fn new(share: Ratio, seed: u64) -> Self {
        Self { share, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Whether call number `call` is chosen.
    pub(crate) fn hits(&self, call: u64) -> bool {
        if self.share.get() >= 1.0 {
            return true;
        }
        let mut rng = self.rng.clone();
        rng.set_stream(call);
        rng.random::<f64>() < self.share.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_met() {
        const CALLS: u32 = 10_000;
        for share in [0.0, 0.1, 0.5, 0.9, 1.0] {
            let chance = Chance::new(Ratio::new_unchecked(share), 7);
            let hits = (0..u64::from(CALLS)).filter(|call| chance.hits(*call)).count();
            let hits = f64::from(u32::try_from(hits).unwrap());
            let error = (share * (1.0 - share) * f64::from(CALLS)).sqrt();
            assert!((hits - share * f64::from(CALLS)).abs() <= 4.0 * error, "seed 7, {share}: {hits} hits");
        }
    }

    #[test]
    fn the_same_calls_are_chosen_in_any_order() {
        let share = Ratio::new_unchecked(0.3);
        let forwards: Vec<bool> = (0..500).map(|call| Chance::new(share, 9).hits(call)).collect();
        let chance = Chance::new(share, 9);
        let mut backwards: Vec<bool> = (0..500).rev().map(|call| chance.hits(call)).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards);
    }

    #[test]
    fn seeds_differ_by_run_fault_and_choice() {
        let seeds = [
            derive_seed(1, "a", "share"),
            derive_seed(2, "a", "share"),
            derive_seed(1, "b", "share"),
            derive_seed(1, "a", "delay"),
        ];
        for (i, seed) in seeds.iter().enumerate() {
            assert!(!seeds[..i].contains(seed), "{seeds:x?}");
        }
    }
}
