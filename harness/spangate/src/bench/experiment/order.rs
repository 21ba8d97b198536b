//! In which order the arms of a round are measured.

use spangate_trace::stats::SplitMix64;

/// The arms of a round, by their places in the file; rounds count from 1. The order is drawn for two rounds at a time, the
/// second of which has it the other way round: what drifts in a straight line is then in all arms alike.
pub(crate) fn order(seed: u64, arms: usize, round: u32) -> Vec<usize> {
    let pair = round.saturating_sub(1) / 2;
    let mut random = SplitMix64::new(seed ^ (u64::from(pair) << 32));
    let mut order: Vec<usize> = (0..arms).collect();
    random.shuffle(&mut order);
    if round.is_multiple_of(2) {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_round_is_the_other_way_round() {
        let mut distinct = std::collections::HashSet::new();
        for round in (1..=39).step_by(2) {
            let (one, mut other) = (order(7, 5, round), order(7, 5, round + 1));
            other.reverse();
            assert_eq!(one, other, "{round}");
            let mut sorted = one.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
            distinct.insert(one);
        }
        assert!(distinct.len() > 10, "{distinct:?}");
        assert_eq!(order(7, 5, 3), order(7, 5, 3));
    }
}
