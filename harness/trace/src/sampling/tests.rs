//! A simulated sampler that is honest, one that is not, and one whose traces get lost.

use proptest::prelude::*;

use super::*;
use crate::stats::SplitMix64;

const ALPHA: f64 = 1e-6;
const PERCENT: u32 = 10_000;

fn id(random: &mut SplitMix64) -> TraceId {
    let both = (u128::from(random.next_u64()) << 64) | u128::from(random.next_u64());
    TraceId::new(both.to_be_bytes())
}

/// What a sampler at `rate` parts of a million keeps of so many requests.
fn keep(rate: u32, requests: u64, random: &mut SplitMix64) -> BTreeSet<TraceId> {
    let sampler = RatioSampler::per_million(rate);
    (0..requests).map(|_| id(random)).filter(|id| sampler.keeps(*id)).collect()
}

fn red(found: &HeadRatio) -> bool {
    found.ids_contradict() || found.count_contradicts()
}

/// Requests after which a sampler at `rate` that says `claim` is found out, looked at every hundred.
fn caught_after(rate: u32, claim: u32, seed: u64) -> u64 {
    let (mut random, mut kept, mut requests) = (SplitMix64::new(seed), BTreeSet::new(), 0);
    loop {
        kept.append(&mut keep(rate, 100, &mut random));
        requests += 100;
        if HeadRatio::new(claim, &kept, Some(requests), ALPHA).ids_contradict() {
            return requests;
        }
    }
}

#[test]
fn an_honest_sampler_is_never_red() {
    for seed in 0..100 {
        let mut random = SplitMix64::new(seed);
        let kept = keep(PERCENT, 15_000, &mut random);
        let found = HeadRatio::new(PERCENT, &kept, Some(15_000), ALPHA);
        assert!(!red(&found), "seed {seed}: {found:?}");
    }
}

#[test]
fn lies_are_caught_in_time() {
    for (rate, limit) in [(11_000, 15_000), (20_000, 2_000)] {
        for seed in 0..100 {
            let requests = caught_after(rate, PERCENT, seed);
            assert!(requests <= limit, "{rate} of a million, seed {seed}: after {requests} requests");
        }
    }
}

#[test]
fn too_low_a_rate_is_caught_by_ids_alone() {
    for seed in 0..20 {
        let kept = keep(5_000, 12_000, &mut SplitMix64::new(seed));
        let found = HeadRatio::new(PERCENT, &kept, None, ALPHA);
        assert!(found.beyond.is_empty() && found.ids_contradict(), "seed {seed}: {found:?}");
    }
}

/// Scenario: half of the kept traces never arrive.
/// Guarantees: the ids clear the sampler, the count is red, and the loss is told within its interval.
#[test]
fn a_loss_is_no_lower_rate() {
    for seed in 0..20 {
        let kept = keep(100_000, 20_000, &mut SplitMix64::new(seed));
        let arrived: BTreeSet<_> = kept.iter().copied().step_by(2).collect();
        let found = HeadRatio::new(100_000, &arrived, Some(20_000), ALPHA);
        assert!(!found.ids_contradict() && found.count_contradicts(), "seed {seed}: {found:?}");
        let lost = found.by_count.unwrap().lost.unwrap();
        assert!(lost.contains(0.5) && lost.low > 0.3 && lost.high < 0.7, "seed {seed}: {lost:?}");
    }
}

#[test]
fn all_and_nothing_leave_no_room() {
    let mut random = SplitMix64::new(4);
    let mut kept = keep(1_000_000, 1_000, &mut random);
    assert!(!red(&HeadRatio::new(1_000_000, &kept, Some(1_000), ALPHA)));
    let lost = kept.pop_first().unwrap();
    assert!(HeadRatio::new(1_000_000, &kept, Some(1_000), ALPHA).count_contradicts());
    let none = HeadRatio::new(0, &BTreeSet::new(), Some(1_000), ALPHA);
    assert!(!red(&none) && none.by_ids.is_none());
    let one = HeadRatio::new(0, &BTreeSet::from([lost]), Some(1_000), ALPHA);
    assert_eq!((one.ids_contradict(), one.beyond), (true, vec![lost]));
}

#[test]
fn an_id_at_the_bound_is_proof() {
    const BOUND: u64 = 92_233_720_368_547_760;
    let at = |number: u64| TraceId::new((u128::from(number << 1) | (1 << 64)).to_be_bytes());
    let found = HeadRatio::new(PERCENT, &BTreeSet::from([at(BOUND - 1), at(BOUND)]), None, ALPHA);
    assert_eq!(found.beyond, [at(BOUND)]);
}

/// The table of ids needed: 284, 145 and so on count what misses an over-sampler; the interval needs about as many.
#[test]
fn requests_that_a_decision_needs() {
    assert_eq!(kept_for(0.1, 2e-6), 145);
    assert_eq!(kept_for(1.0, 2e-6), 20);
    for (rate, within) in [(PERCENT, 0.25), (100_000, 0.1), (1_000_000, 0.1)] {
        let (offered, kept) = (offered_for(rate, within, ALPHA), kept_for(within, ALPHA));
        let runs = Binomial::new(offered, f64::from(rate) / 1e6);
        assert!(runs.at_most(kept - 1) <= 0.001, "{offered}");
        assert!(
            offered == kept || Binomial::new(offered - 1, f64::from(rate) / 1e6).at_most(kept - 1) > 0.001
        );
    }
    let none = offered_for(0, 0.25, ALPHA);
    assert!(clopper_pearson(0, none, 1.0 - ALPHA / 2.0).high <= 0.25);
    assert!(clopper_pearson(0, none - 1, 1.0 - ALPHA / 2.0).high > 0.25);
}

#[test]
fn flags_leave_two_equal_sets() {
    let mut random = SplitMix64::new(2);
    let sent: BTreeSet<_> = (0..1_000).map(|_| id(&mut random)).collect();
    assert_eq!(flags(&sent, &sent), Flags::default());
    let mut kept = sent.clone();
    let (lost, extra) = (kept.pop_last().unwrap(), id(&mut random));
    kept.insert(extra);
    assert_eq!(flags(&sent, &kept), Flags { missing: vec![lost], extra: vec![extra] });
}

proptest! {
    #[test]
    fn what_is_kept_is_below_the_bound_and_told_by_the_ids(rate in 1_000..=1_000_000_u32, seed: u64) {
        let kept = keep(rate, 2_000, &mut SplitMix64::new(seed));
        let found = HeadRatio::new(rate, &kept, Some(2_000), ALPHA);
        prop_assert!(found.beyond.is_empty());
        prop_assert!(!red(&found), "{found:?}");
        prop_assert_eq!(found.kept, kept.len() as u64);
        if let Some(ids) = found.by_ids {
            let lost = found.by_count.unwrap().lost.unwrap();
            prop_assert!(ids.contains(ids.value) && lost.contains(0.0), "{ids:?}, {lost:?}");
        }
    }

    #[test]
    fn more_kept_ids_tell_more(within in 0.01..2.0_f64) {
        let kept = kept_for(within, ALPHA) as f64;
        let width = |kept: f64| (ALPHA / 2.0).powf(-kept.recip()) - 1.0;
        prop_assert!(width(kept) <= within * (1.0 + 1e-9));
        prop_assert!(kept <= 1.0 || width(kept - 1.0) > within);
    }
}

/// Roots of a made-up sampler, in order: each with its id, and whether it was kept.
fn offered(random: &mut SplitMix64, per_million: u32) -> impl Iterator<Item = (TraceId, bool)> + '_ {
    let sampler = RatioSampler::per_million(per_million);
    std::iter::repeat_with(move || {
        let both = (u128::from(random.next_u64()) << 64) | u128::from(random.next_u64());
        let id = TraceId::new(both.to_be_bytes());
        (id, sampler.keeps(id))
    })
}

/// The roots up to the `wanted`-th that was kept: how many, and the ids of the kept ones.
fn until(random: &mut SplitMix64, per_million: u32, wanted: u64) -> (u64, BTreeSet<TraceId>) {
    let (mut roots, mut kept) = (0, BTreeSet::new());
    for (id, is_kept) in offered(random, per_million) {
        roots += 1;
        if is_kept {
            kept.insert(id);
        }
        if kept.len() as u64 == wanted {
            break;
        }
    }
    (roots, kept)
}

#[test]
fn a_load_that_ends_when_it_is_decided_is_as_certain_as_one_of_fixed_length() {
    const SEED: u64 = 77;
    const ALPHA: f64 = 0.05;
    let mut random = SplitMix64::new(SEED);
    let wanted = kept_for(0.2, ALPHA);
    let runs = 2_000;
    let mut red = 0;
    for _ in 0..runs {
        let (roots, kept) = until(&mut random, 10_000, wanted);
        let found = HeadRatio::until_kept(10_000, &kept, roots, ALPHA);
        red += u64::from(found.count_contradicts());
        assert!(found.beyond.is_empty());
    }
    // The count has half of the level.
    let share = clopper_pearson(red, runs, 0.999_9);
    assert!(share.low <= ALPHA / 2.0 && share.high > ALPHA / 8.0, "seed {SEED}: {red} of {runs}, {share:?}");
}

#[test]
fn twice_the_rate_is_caught_before_a_load_of_fixed_length_would_end() {
    const SEED: u64 = 78;
    const ALPHA: f64 = 1e-6;
    let mut random = SplitMix64::new(SEED);
    let wanted = kept_for(0.2, ALPHA);
    let mut needed: Vec<u64> = (0..100)
        .map(|_| {
            let (roots, kept) = until(&mut random, 20_000, wanted);
            assert!(HeadRatio::until_kept(10_000, &kept, roots, ALPHA).ids_contradict(), "seed {SEED}");
            roots
        })
        .collect();
    needed.sort_unstable();
    assert!(needed[50] < offered_for(10_000, 0.2, ALPHA) / 2, "seed {SEED}: {needed:?}");
}

#[test]
fn losses_show_in_how_many_roots_it_took() {
    const SEED: u64 = 79;
    let mut random = SplitMix64::new(SEED);
    let (roots, kept) = until(&mut random, 100_000, 500);
    assert!(!HeadRatio::until_kept(100_000, &kept, roots, 1e-6).count_contradicts());
    // Half of them never arrived, so it took twice as many.
    let found = HeadRatio::until_kept(100_000, &kept, 2 * roots, 1e-6);
    assert!(found.count_contradicts() && !found.ids_contradict(), "{found:?}");
    assert!(found.by_count.unwrap().lost.unwrap().low > 0.2);
}
