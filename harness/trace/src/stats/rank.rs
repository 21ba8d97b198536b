//! A test by ranks: a second opinion on an effect, which no single outlier can make or hide.

/// Differences for which the distribution is counted out; above that it is normal to three digits.
const EXACT: usize = 30;

/// The probability that the signed ranks of `differences` are as far from even as they are, or further, where each is as
/// likely to be above 0 as below: Wilcoxon's signed-rank test, two-sided.
///
/// Differences of 0 are left out, and equal ones share their rank (F. Wilcoxon, Individual comparisons by ranking methods,
/// Biometrics Bulletin 1(6), 1945). It is 1 where nothing differs.
pub fn signed_rank(differences: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = differences.iter().copied().filter(|it| *it != 0.0 && it.is_finite()).collect();
    sizes.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
    let n = sizes.len();
    if n == 0 {
        return 1.0;
    }
    // Twice the rank, so that shared ones are whole numbers too.
    let mut ranks = vec![0_usize; n];
    let mut at = 0;
    while at < n {
        let same = sizes[at..].iter().take_while(|it| it.abs().total_cmp(&sizes[at].abs()).is_eq()).count();
        ranks[at..at + same].fill(2 * at + same + 1);
        at += same;
    }
    let above: usize = sizes.iter().zip(&ranks).filter(|(size, _)| **size > 0.0).map(|(_, rank)| rank).sum();
    let all: usize = ranks.iter().sum();
    let least = above.min(all - above);
    if n <= EXACT { counted(&ranks, least) } else { normal(&ranks, least) }
}

/// The probability that the ranks of two samples are mixed as unevenly as they are, or more, where both come from the same
/// distribution: the test of Mann, Whitney and Wilcoxon, two-sided, by the normal approximation with its correction for ties
/// (H. Mann and D. Whitney, Annals of Mathematical Statistics 18(1), 1947). It is 1 where a side has no values.
pub fn rank_sum(first: &[f64], second: &[f64]) -> f64 {
    let (n, m) = (first.len() as f64, second.len() as f64);
    let (mut above, mut equal) = (0.0, 0.0);
    for one in first {
        above += second.iter().filter(|other| *other > one).count() as f64;
        equal += second.iter().filter(|other| other.total_cmp(one).is_eq()).count() as f64;
    }
    let mut all: Vec<f64> = first.iter().chain(second).copied().collect();
    all.sort_unstable_by(f64::total_cmp);
    let ties = all
        .chunk_by(|a, b| a.total_cmp(b).is_eq())
        .map(|same| (same.len() as f64).powi(3) - same.len() as f64);
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - ties.sum::<f64>() / (total * (total - 1.0)).max(1.0));
    if variance <= 0.0 {
        return 1.0;
    }
    let z = ((above + equal / 2.0 - n * m / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
    statrs::function::erf::erfc(z / std::f64::consts::SQRT_2).min(1.0)
}

/// How many of all signs give a sum of at most `least` on one side or the other.
fn counted(ranks: &[usize], least: usize) -> f64 {
    let all: usize = ranks.iter().sum();
    let mut ways = vec![0.0; all + 1];
    ways[0] = 1.0;
    for rank in ranks {
        for sum in (*rank..=all).rev() {
            ways[sum] += ways[sum - rank];
        }
    }
    let tail: f64 = ways[..=least].iter().sum();
    (2.0 * tail / 2.0_f64.powi(i32::try_from(ranks.len()).unwrap_or(i32::MAX))).min(1.0)
}

/// The normal approximation, with the correction for continuity.
fn normal(ranks: &[usize], least: usize) -> f64 {
    let half = |rank: &usize| *rank as f64 / 2.0;
    let mean = ranks.iter().map(half).sum::<f64>() / 2.0;
    let deviation = (ranks.iter().map(half).map(|rank| rank * rank).sum::<f64>() / 4.0).sqrt();
    let z = (mean - least as f64 / 2.0 - 0.5).max(0.0) / deviation;
    statrs::function::erf::erfc(z / std::f64::consts::SQRT_2).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::SplitMix64;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }

    #[test]
    fn small_ones_are_counted_out() {
        // All of n are above: 2 of 2^n.
        near(signed_rank(&[1.0, 2.0, 3.0, 4.0, 5.0]), 2.0 / 32.0);
        // The rank 1 is below: sums of at most 1 are those of nothing and of 1.
        near(signed_rank(&[-1.0, 2.0, 3.0, 4.0, 5.0]), 4.0 / 32.0);
        // R: wilcox.test(c(1,-2,3,-4,5,6), exact = TRUE)
        near(signed_rank(&[1.0, -2.0, 3.0, -4.0, 5.0, 6.0]), 0.4375);
        near(signed_rank(&[0.0, 0.0]), 1.0);
        near(signed_rank(&[1.0, -1.0]), 1.0);
    }

    /// R: wilcox.test(x, y, exact = FALSE, correct = TRUE) by hand: U = 0 of 25, mean 12.5, variance 22.916667.
    #[test]
    fn two_samples_apart() {
        let (low, high) = ([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0]);
        near((rank_sum(&low, &high) * 1e5).round(), 1_219.0);
        near(rank_sum(&low, &high), rank_sum(&high, &low));
        near(rank_sum(&low, &low), 1.0);
        near(rank_sum(&[], &low), 1.0);
        near(rank_sum(&[1.0; 4], &[1.0; 4]), 1.0);
    }

    #[test]
    fn both_ways_agree_where_they_meet() {
        let ranks: Vec<usize> = (1..=EXACT).map(|rank| 2 * rank).collect();
        let half = ranks.iter().sum::<usize>() / 2;
        for least in (0..=half).step_by(2) {
            let (exact, normal) = (counted(&ranks, least), normal(&ranks, least));
            assert!((exact - normal).abs() < 0.01, "{least}: {exact} {normal}");
        }
    }

    /// Scenario: a thousand times twenty differences of nothing but noise.
    /// Guarantees: about one in twenty is below 5 %.
    #[test]
    fn noise_is_seldom_an_effect() {
        let mut random = SplitMix64::new(8);
        let mut below = 0;
        for _ in 0..1_000 {
            let values: Vec<f64> = (0..20).map(|_| random.below(100_001) as f64 - 50_000.0).collect();
            below += usize::from(signed_rank(&values) < 0.05);
        }
        assert!((25..=75).contains(&below), "{below}");
    }
}
