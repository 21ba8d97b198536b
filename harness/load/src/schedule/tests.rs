use std::collections::BTreeMap;

use proptest::prelude::*;
use spangate_scenario::{
    model::{
        Arrivals, CreateOperation, GetOperation, MixEntry, Ramp, Resource, Shape, Sizes, Spike, Stage, Steps,
        Weight,
    },
    units::{Rate, Size},
};

use super::*;
use crate::testing;

fn entry(weight: u32) -> MixEntry {
    MixEntry {
        weight: Weight(weight),
        get: Some(GetOperation { resource: Resource::Configmaps, resource_version: None }),
        ..MixEntry::default()
    }
}

fn rate(per_second: f64) -> Rate {
    Rate::per_second(per_second).unwrap()
}

fn seconds(seconds: f64) -> spangate_scenario::units::Duration {
    Duration::from_secs_f64(seconds).into()
}

fn load(rate: f64, shape: Shape, seconds: u64, weights: &[u32]) -> Load {
    let mut load = testing::load(weights.iter().copied().map(entry).collect());
    load.arrivals = Some(Arrivals::flat(
        Rate::per_second(rate).unwrap(),
        shape,
        spangate_scenario::units::Duration::from_secs(seconds),
    ));
    load
}

/// A stage of `length` seconds without a rate.
fn stage(length: f64, shape: Shape) -> Stage {
    Stage {
        name: None,
        rate: None,
        ramp: None,
        steps: None,
        spike: None,
        shape,
        duration: seconds(length),
        mix: None,
    }
}

fn ramp(from: f64, to: f64, length: f64, shape: Shape) -> Stage {
    Stage { ramp: Some(Ramp { from: rate(from), to: rate(to) }), ..stage(length, shape) }
}

fn steps(from: f64, to: f64, count: u32, length: f64, shape: Shape) -> Stage {
    Stage { steps: Some(Steps { from: rate(from), to: rate(to), count }), ..stage(length, shape) }
}

fn spike(base: f64, peak: f64, width: f64, length: f64, shape: Shape) -> Stage {
    let spike = Spike { base: rate(base), peak: rate(peak), width: seconds(width) };
    Stage { spike: Some(spike), ..stage(length, shape) }
}

fn staged(stages: Vec<Stage>, weights: &[u32]) -> Load {
    let mut load = testing::load(weights.iter().copied().map(entry).collect());
    load.arrivals = Some(Arrivals { stages, ..Arrivals::default() });
    load
}

fn all(schedule: &Schedule) -> Vec<Arrival> {
    schedule.arrivals().collect()
}

#[test]
fn constant_arrivals_are_evenly_spaced_from_the_start() {
    let schedule = Schedule::new(&load(50.0, Shape::Constant, 20, &[1]), 7);
    let arrivals = all(&schedule);
    assert_eq!((arrivals.len(), schedule.planned()), (1000, 1000));
    assert_eq!(arrivals[0].at, Duration::ZERO);
    assert_eq!(arrivals[999].at, Duration::from_millis(19_980));
}

#[test]
fn the_ten_millionth_arrival_is_as_exact_as_the_first_and_needs_no_more_memory() {
    let schedule = Schedule::new(&load(3_000_000.0, Shape::Constant, 3, &[1]), 7);
    let last = schedule.arrivals().last().unwrap();
    assert_eq!((schedule.planned(), last.number), (9_000_000, 8_999_999));
    // A third of a microsecond before the end, rounded to nanoseconds.
    assert_eq!(last.at, Duration::from_nanos(2_999_999_667));
    assert!(size_of::<Schedule>() <= 128, "a schedule holds no arrivals");
}

#[test]
fn a_schedule_is_the_same_everywhere_and_forever() {
    // A change of these numbers breaks the repetition of recorded runs: it needs an entry in the change log.
    let golden = |load: &Load| {
        let schedule = Schedule::new(load, 7);
        (schedule.planned(), schedule.fingerprint())
    };
    let flat = |shape| golden(&load(50.0, shape, 20, &[3, 5, 1]));
    assert_eq!(flat(Shape::Constant), (1000, 8_250_792_330_784_874_064));
    assert_eq!(flat(Shape::Poisson), (998, 17_175_769_594_445_685_821));
    let times: Vec<_> = (0..1000).map(|number| Duration::from_millis(number * number)).collect();
    assert_eq!(Schedule::listed(times.into(), 7).fingerprint(), 9_367_937_896_480_840_691);
    assert_eq!(golden(&one_of_each()), (562, 3_860_605_479_949_147_589));
    let both = |make: fn(Shape) -> Stage| {
        [Shape::Constant, Shape::Poisson].map(|shape| golden(&staged(vec![make(shape)], &[3, 5, 1])))
    };
    let stages = [
        both(|shape| ramp(0.0, 100.0, 10.0, shape)),
        both(|shape| ramp(80.0, 20.0, 10.0, shape)),
        both(|shape| steps(10.0, 90.0, 5, 10.0, shape)),
        both(|shape| spike(20.0, 200.0, 1.0, 10.0, shape)),
    ];
    let expected = [
        [(500, 11_972_305_969_660_473_086), (516, 7_646_171_010_237_344_955)],
        [(500, 6_045_696_525_709_285_430), (516, 6_753_677_694_721_520_953)],
        [(500, 13_200_729_973_198_984_241), (516, 14_553_751_221_608_646_590)],
        [(380, 14_996_529_193_696_056_556), (381, 9_036_775_665_553_344_128)],
    ];
    assert_eq!(stages, expected);
}

/// Four stages, of which the second and the last have a mix of their own.
fn one_of_each() -> Load {
    let flat = Stage { rate: Some(rate(30.0)), ..stage(5.0, Shape::Poisson) };
    staged(
        vec![
            ramp(0.0, 50.0, 4.0, Shape::Constant),
            Stage { mix: Some(vec![entry(1), entry(2)]), ..flat },
            steps(20.0, 60.0, 3, 3.0, Shape::Poisson),
            Stage { mix: Some(vec![entry(1)]), ..spike(10.0, 300.0, 0.5, 4.0, Shape::Constant) },
        ],
        &[3, 5, 1],
    )
}

#[test]
fn stages_follow_one_another_each_with_its_mix() {
    let load = one_of_each();
    let schedule = Schedule::new(&load, 7);
    let (starts, entries) = ([0, 4, 9, 12, 16], [0..3, 3..5, 0..3, 5..6]);
    assert_eq!(schedule.duration, Duration::from_secs(16));
    assert_eq!(load.entries().count(), 6);
    let mut seen = [0; 4];
    for arrival in schedule.arrivals() {
        let stage = arrival.stage as usize;
        let (start, end) = (Duration::from_secs(starts[stage]), Duration::from_secs(starts[stage + 1]));
        assert!((start..end).contains(&arrival.at), "{arrival:?}");
        assert!(entries[stage].contains(&arrival.entry), "{arrival:?}");
        seen[stage] += 1;
    }
    assert_eq!((seen[0], seen[3]), (100, 185));
    assert_eq!(schedule.planned(), seen.iter().sum::<u64>());
}

#[test]
fn rates_and_counts_are_those_of_the_stages() {
    let schedule = Schedule::new(&one_of_each(), 7);
    // The rate, and the arrivals so far.
    for (at, aimed, until) in
        [(2.0, 25.0, 25.0), (5.0, 30.0, 130.0), (10.5, 40.0, 290.0), (14.0, 300.0, 462.5), (17.0, 0.0, 555.0)]
    {
        let at = Duration::from_secs_f64(at);
        assert!((schedule.rate_at(at) - aimed).abs() < 1e-9, "{} at {at:?}", schedule.rate_at(at));
        assert!(
            (schedule.planned_until(at) - until).abs() < 1e-9,
            "{} until {at:?}",
            schedule.planned_until(at)
        );
        let third = schedule.clone().shard("1/3".parse().unwrap());
        assert!((third.rate_at(at) * 3.0 - aimed).abs() < 1e-9);
        assert!((third.planned_until(at) * 3.0 - until).abs() < 1e-9);
    }
}

#[test]
fn a_listed_schedule_has_the_times_of_the_list() {
    let times: Arc<[Duration]> = [0, 5, 5, 9].map(Duration::from_secs).into();
    let schedule = Schedule::listed(Arc::clone(&times), 7);
    assert!(all(&schedule).iter().map(|arrival| arrival.at).eq(times.iter().copied()));
    assert!(schedule.arrivals().all(|arrival| (arrival.entry, arrival.stage) == (0, 0)));
    assert_eq!((schedule.planned(), schedule.duration), (4, Duration::from_secs(9)));
    assert!((schedule.planned_until(Duration::from_secs(6)) - 3.0).abs() < 1e-9);
    assert!(all(&Schedule::empty(7, Duration::from_secs(3))).is_empty());
    assert_eq!(Schedule::empty(7, Duration::from_secs(3)).duration, Duration::from_secs(3));
}

#[test]
fn poisson_gaps_have_the_mean_and_the_variance_of_an_exponential() {
    for seed in [1, 7, 42] {
        let schedule = Schedule::new(&load(100.0, Shape::Poisson, 200, &[1]), seed);
        let at: Vec<f64> = schedule.arrivals().map(|arrival| arrival.at.as_secs_f64()).collect();
        let gaps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let n = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / n;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / (n - 1.0);
        // Standard errors with n = 20000: mean 0.7 %, variance 2 %. Five of them.
        assert!((mean * 100.0 - 1.0).abs() < 0.035, "mean {mean} with seed {seed}");
        assert!((variance * 10_000.0 - 1.0).abs() < 0.1, "variance {variance} with seed {seed}");
    }
}

#[test]
fn poisson_arrivals_of_a_ramp_come_as_often_as_the_rate_says_in_every_second() {
    let load = staged(vec![ramp(0.0, 2000.0, 20.0, Shape::Poisson)], &[1]);
    let schedule = Schedule::new(&load, 7);
    let mut counts = [0.0_f64; 20];
    for arrival in schedule.arrivals() {
        counts[usize::try_from(arrival.at.as_secs()).unwrap()] += 1.0;
    }
    for (second, count) in (0_u32..).zip(counts) {
        let mean = 100.0 * f64::from(second) + 50.0;
        assert!((count - mean).abs() < 5.0 * mean.sqrt(), "{count} in second {second}, {mean} on average");
    }
}

#[test]
fn weights_are_respected() {
    let schedule = Schedule::new(&load(1000.0, Shape::Constant, 20, &[3, 0, 5, 2]), 7);
    let mut counts = [0.0; 4];
    for arrival in schedule.arrivals() {
        counts[arrival.entry] += 1.0;
    }
    for (count, share) in counts.into_iter().zip([0.3, 0.0, 0.5, 0.2]) {
        // Five standard deviations of a binomial with n = 20000 are below 1.8 %.
        assert!((count / 20_000.0_f64 - share).abs() < 0.018, "{counts:?} with seed 7");
    }
}

#[test]
fn nothing_to_choose_is_an_empty_schedule() {
    let is_empty = |load: &Load| {
        let schedule = Schedule::new(load, 1);
        let until = schedule.planned_until(Duration::from_secs(9));
        all(&schedule).is_empty() && schedule.planned() == 0 && until < 1e-9
    };
    let mut empty = load(10.0, Shape::Poisson, 10, &[]);
    assert!(is_empty(&empty));
    empty.mix.push(MixEntry::default());
    assert!(is_empty(&empty));
    assert!(is_empty(&load(0.0, Shape::Poisson, 10, &[1])));
    assert!(is_empty(&load(10.0, Shape::Constant, 10, &[0])));
    assert!(is_empty(&load(10.0, Shape::Constant, 0, &[1])));
}

#[test]
fn a_change_of_the_mix_moves_no_arrival() {
    let before = Schedule::new(&load(50.0, Shape::Poisson, 10, &[1, 1]), 7);
    let mut after = load(50.0, Shape::Poisson, 10, &[9, 1]);
    after.mix[0].get = None;
    after.mix[0].create = Some(CreateOperation {
        resource: Resource::Pods,
        size: Sizes::Fixed(Size(1)),
        labels: BTreeMap::new(),
    });
    let after = Schedule::new(&after, 7);
    assert!(before.arrivals().map(|a| (a.at, a.choice)).eq(after.arrivals().map(|a| (a.at, a.choice))));
    assert_ne!(before, after);
}

#[test]
fn a_change_of_a_stage_leaves_the_draws_of_the_others() {
    let drawn = |load: &Load, of: u32| -> Vec<_> {
        let arrivals = all(&Schedule::new(load, 7)).into_iter().filter(|arrival| arrival.stage == of);
        arrivals.map(|arrival| (arrival.at, arrival.entry, arrival.choice)).collect()
    };
    let before = one_of_each();
    let mut after = before.clone();
    after.arrivals.as_mut().unwrap().stages[1].rate = Some(rate(77.0));
    assert_ne!(drawn(&before, 1), drawn(&after, 1));
    for stage in [0, 2, 3] {
        assert_eq!(drawn(&before, stage), drawn(&after, stage), "stage {stage}");
    }
}

fn any_stage() -> impl Strategy<Value = Stage> {
    let per_second = || prop_oneof![1 => Just(0.0), 5 => 0.1_f64..300.0];
    let shape = prop_oneof![Just(Shape::Constant), Just(Shape::Poisson)];
    let mix = prop::option::of(prop::collection::vec(0_u32..4, 1..3));
    (0_u8..4, per_second(), per_second(), 1_u32..6, 0.0_f64..5.0, shape, mix).prop_map(
        |(form, from, to, count, length, shape, mix)| Stage {
            mix: mix.map(|weights| weights.into_iter().map(entry).collect()),
            ..match form {
                0 => Stage { rate: Some(rate(from)), ..stage(length, shape) },
                1 => ramp(from, to, length, shape),
                2 => steps(from, to, count + 1, length, shape),
                _ => spike(from, to, length / f64::from(count), length, shape),
            }
        },
    )
}

proptest! {
    #[test]
    fn arrivals_are_numbered_sorted_and_as_many_as_the_integral_of_the_rate(
        stages in prop::collection::vec(any_stage(), 1..5), seed: u64,
    ) {
        let load = staged(stages.clone(), &[2, 0, 1]);
        let schedule = Schedule::new(&load, seed);
        prop_assert_eq!(&schedule, &Schedule::new(&load, seed));
        let arrivals = all(&schedule);
        prop_assert_eq!(arrivals.len() as u64, schedule.planned());
        let weights: Vec<u32> = load.entries().map(|entry| entry.weight.0).collect();
        let mut before = Duration::ZERO;
        for (number, arrival) in (0..).zip(&arrivals) {
            prop_assert_eq!(arrival.number, number);
            prop_assert!(arrival.at >= before && arrival.at < schedule.duration);
            prop_assert!(weights[arrival.entry] > 0);
            prop_assert!(arrival.choose(10) < 10);
            before = arrival.at;
        }
        for (index, stage) in (0..).zip(stages) {
            let count = arrivals.iter().filter(|arrival| arrival.stage == index).count() as f64;
            let has_mix = stage.mix.as_ref().is_none_or(|mix| mix.iter().any(|entry| entry.weight.0 > 0));
            let expected = if has_mix { stage.expected() } else { 0.0 };
            let slack = match stage.shape {
                Shape::Constant => 1.0 + 1e-6,
                // Six standard deviations of a Poisson count; the tail of a small one is longer.
                Shape::Poisson => 6.0 * expected.sqrt() + if expected > 0.0 { 6.0 } else { 0.0 },
            };
            prop_assert!((count - expected).abs() <= slack, "{count} of {expected} in stage {index}");
        }
    }

    #[test]
    fn shards_part_a_schedule_among_them(
        stages in prop::collection::vec(any_stage(), 1..4), seed: u64, of in 1_u32..9,
    ) {
        let whole = Schedule::new(&staged(stages, &[1]), seed);
        let mut together = Vec::new();
        for shard in Shard::all(of) {
            let part = whole.clone().shard(shard);
            let arrivals = all(&part);
            prop_assert_eq!(arrivals.len() as u64, part.planned());
            prop_assert_eq!(&part.whole(), &whole);
            together.extend(arrivals);
        }
        together.sort_by_key(|arrival| arrival.number);
        prop_assert_eq!(together, all(&whole));
    }
}
