use proptest::prelude::*;

use super::*;
use crate::testing::trace_id;

const FAULT: u32 = 3;

/// A request with the times of its phases in microseconds.
fn request(operation: &str, faults: &[u32], phases: &[(Phase, u64)], trace: u128) -> Observation<'static> {
    let mut by_phase: Vec<_> =
        phases.iter().map(|(phase, us)| (phase.clone(), Duration::from_micros(*us))).collect();
    by_phase.sort();
    Observation {
        operation: operation.into(),
        faults: faults.to_vec(),
        phases: Cow::Owned(PhaseTimes { total: by_phase.iter().map(|(_, time)| *time).sum(), by_phase }),
        trace: trace_id(trace),
    }
}

fn webhook() -> Phase {
    Phase::mutating("slow")
}

/// `n` touched and `n` untouched creates; the touched ones spend `webhook` us more in the webhook and `etcd` us
/// more in etcd. Noise of up to 100 us comes from a seeded generator.
fn creates(n: usize, in_webhook: u64, in_etcd: u64) -> Vec<Observation<'static>> {
    let mut random = SplitMix64::new(17);
    let mut noise = move || random.below(100) as u64;
    let mut one = |at: usize| {
        let (faults, more): (&[u32], _) = if at < n { (&[FAULT], 1) } else { (&[], 0) };
        let phases = [
            (webhook(), 1_000 + more * in_webhook + noise()),
            (Phase::etcd("KV/Txn"), 2_000 + more * in_etcd + noise()),
            (Phase::Handler, 500 + noise()),
        ];
        request("create configmaps", faults, &phases, at as u128)
    };
    (0..2 * n).map(&mut one).collect()
}

fn decided(blame: Blame) -> Finding {
    match blame {
        Blame::Decided(finding) => finding,
        Blame::Undecided(reason) => panic!("undecided: {reason}"),
    }
}

fn undecided(blame: Blame) -> Undecided {
    match blame {
        Blame::Decided(finding) => panic!("decided: {finding:?}"),
        Blame::Undecided(reason) => reason,
    }
}

#[test]
fn a_slow_webhook_is_to_blame() {
    let finding = decided(blame(&creates(50, 5_000, 0), FAULT, &[webhook()], &Method::default()));
    assert_eq!(finding.accused, webhook());
    assert!(finding.share.contains(1.0) && finding.share.low > 0.98, "{finding:?}");
    assert!(finding.excess.contains(5e6), "{finding:?}");
    assert_eq!((finding.treated, finding.controls, finding.left_out), (50, 50, 0));
}

#[test]
fn the_wrong_suspect_is_acquitted() {
    let finding = decided(blame(&creates(50, 0, 5_000), FAULT, &[webhook()], &Method::default()));
    assert_eq!(finding.accused, Phase::etcd("KV/Txn"));
    assert!(finding.share.contains(0.0) && finding.share.high < 0.02, "{finding:?}");
}

#[test]
fn a_shared_blame_is_divided() {
    let finding = decided(blame(&creates(200, 3_000, 1_000), FAULT, &[webhook()], &Method::default()));
    assert!(finding.share.contains(0.75), "{finding:?}");
    assert!(finding.share.high - finding.share.low < 0.02, "{finding:?}");
}

#[test]
fn the_same_seed_gives_the_same_finding() {
    let requests = creates(20, 1_000, 0);
    let method = Method::default();
    assert_eq!(
        blame(&requests, FAULT, &[webhook()], &method),
        blame(&requests, FAULT, &[webhook()], &method)
    );
}

/// A slow operation that is touched more often must not be blamed on the fault (Simpson's paradox).
#[test]
fn operations_are_compared_with_their_like_only() {
    let mut requests = Vec::new();
    for (operation, usual, touched, untouched) in [("list", 50_000, 90, 10), ("get", 1_000, 10, 90)] {
        for at in 0..touched + untouched {
            let (faults, more): (&[u32], _) = if at < touched { (&[FAULT], 2_000) } else { (&[], 0) };
            let phases = [(Phase::Cache, usual), (webhook(), 100 + more)];
            requests.push(request(operation, faults, &phases, at));
        }
    }
    let finding = decided(blame(&requests, FAULT, &[webhook()], &Method::default()));
    assert_eq!(finding.accused, webhook());
    assert!(
        (finding.excess.value - 2e6).abs() < 1.0 && (finding.share.value - 1.0).abs() < 1e-9,
        "{finding:?}"
    );
}

#[test]
fn other_faults_are_kept_apart() {
    let mut requests = Vec::new();
    for at in 0..40 {
        let slow = at % 2 == 0;
        let other = at >= 20;
        let mut faults = Vec::new();
        if slow {
            faults.push(FAULT);
        }
        if other {
            faults.push(9);
        }
        // The other fault costs ten times as much, and more of the untouched requests have it.
        let phases = [
            (webhook(), if slow { 1_000 } else { 0 }),
            (Phase::etcd("KV/Txn"), if other { 10_000 } else { 10 }),
        ];
        requests.push(request("create", &faults, &phases, at));
    }
    requests.extend((0..200).map(|at| request("create", &[9], &[(Phase::etcd("KV/Txn"), 10_000)], at)));
    let finding = decided(blame(&requests, FAULT, &[webhook()], &Method::default()));
    assert_eq!(finding.accused, webhook());
    assert!((finding.excess.value - 1e6).abs() < 1.0, "{finding:?}");
}

#[test]
fn examples_are_those_that_took_longest() {
    let mut requests = creates(10, 5_000, 0);
    for (trace, us) in [(4, 30_000), (7, 40_000), (2, 20_000)] {
        requests[trace].phases.to_mut().total += Duration::from_micros(us);
        requests[trace].phases.to_mut().by_phase[2].1 += Duration::from_micros(us);
    }
    let finding = decided(blame(&requests, FAULT, &[webhook()], &Method::default()));
    assert_eq!(finding.examples, [trace_id(7), trace_id(4), trace_id(2)]);
}

#[test]
fn small_strata_are_left_out_and_counted() {
    let mut requests = creates(10, 5_000, 0);
    requests.extend((0..4).map(|at| request("delete pods", &[FAULT], &[(Phase::Handler, 900_000)], at)));
    let finding = decided(blame(&requests, FAULT, &[webhook()], &Method::default()));
    assert_eq!((finding.accused, finding.treated, finding.left_out), (webhook(), 10, 4));
}

#[test]
fn without_controls_the_reason_is_precise() {
    let method = Method::default();
    let all = creates(20, 5_000, 0);
    let (touched, untouched) = all.split_at(20);
    assert_eq!(undecided(blame(untouched, FAULT, &[webhook()], &method)), Undecided::Untouched);
    assert_eq!(undecided(blame(&[], FAULT, &[webhook()], &method)), Undecided::Untouched);
    assert_eq!(
        undecided(blame(touched, FAULT, &[webhook()], &method)),
        Undecided::AllTouched { treated: 20 }
    );
    let mut unlike = touched.to_vec();
    unlike.extend((0..30).map(|at| request("get pods", &[], &[(Phase::Cache, 10)], at)));
    assert_eq!(
        undecided(blame(&unlike, FAULT, &[webhook()], &method)),
        Undecided::NothingAlike { treated: 20, untouched: 30 }
    );
    assert_eq!(
        undecided(blame(&all[..24], FAULT, &[webhook()], &method)),
        Undecided::TooFew { operation: "create configmaps".into(), treated: 20, controls: 4, least: 5 }
    );
}

#[test]
fn a_fault_that_costs_nothing_is_not_decided() {
    let reason = undecided(blame(&creates(100, 0, 0), FAULT, &[webhook()], &Method::default()));
    assert!(matches!(&reason, Undecided::NoExcess { excess, .. } if excess.contains(0.0)), "{reason:?}");
    assert!(reason.to_string().contains("100 touched requests took"), "{reason}");
}

#[test]
fn a_fault_that_makes_requests_faster_is_not_decided() {
    let mut requests = creates(50, 5_000, 0);
    for request in &mut requests {
        request.faults = if request.faults.is_empty() { vec![FAULT] } else { Vec::new() };
    }
    let reason = undecided(blame(&requests, FAULT, &[webhook()], &Method::default()));
    assert!(matches!(reason, Undecided::NoExcess { excess, .. } if excess.high < 0.0));
}

/// The interval must mean what it says: over many runs it has the true share in it about as often as it says.
#[test]
fn the_interval_has_the_share_about_as_often_as_it_says() {
    const SEED: u64 = 23;
    let mut random = SplitMix64::new(SEED);
    let runs = 100;
    let mut covered = 0;
    for seed in 0..runs {
        let mut one = |at: u64| {
            let slow = at < 60;
            let (faults, more): (&[u32], _) = if slow { (&[FAULT], 1) } else { (&[], 0) };
            let mut time = |base: usize| (base / 2 + random.below(base)) as u64;
            let phases =
                [(webhook(), more * time(3_000)), (Phase::Handler, time(1_000) + more * time(1_000))];
            request("create", faults, &phases, u128::from(at))
        };
        let requests: Vec<_> = (0..120).map(&mut one).collect();
        let bootstrap = Bootstrap { resamples: 600, seed, confidence: 0.95 };
        let finding = decided(blame(&requests, FAULT, &[webhook()], &Method { least: 5, bootstrap }));
        covered += u64::from(finding.share.contains(0.75));
    }
    let coverage = crate::stats::clopper_pearson(covered, runs, 0.999_9);
    assert!(coverage.contains(0.95), "seed {SEED}: {coverage:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_phases_excess_adds_up_to_the_whole(
        times in prop::collection::vec((0..3_usize, any::<bool>(), 0..3_u32, 0..5_000_u64, 0..5_000_u64), 20..120)
    ) {
        let requests: Vec<_> = (0..)
            .zip(times)
            .map(|(at, (operation, touched, other, one, two))| {
                let mut faults: Vec<_> = touched.then_some(FAULT).into_iter().collect();
                faults.extend((other > 0).then_some(FAULT + other));
                let one = one + if touched { 20_000 } else { 0 };
                request(["a", "b", "c"][operation], &faults, &[(webhook(), one), (Phase::Handler, two)], at)
            })
            .collect();
        let bootstrap = Bootstrap { resamples: 50, ..Bootstrap::default() };
        if let Blame::Decided(finding) = blame(&requests, FAULT, &[webhook()], &Method { least: 2, bootstrap }) {
            let sum: f64 = finding.by_phase.iter().map(|(_, nanos)| nanos).sum();
            prop_assert!((sum - finding.excess.value).abs() < 1e-3, "{sum} and {:?}", finding.excess);
            let own = finding.by_phase.iter().find(|(phase, _)| *phase == webhook()).unwrap().1;
            prop_assert!((own / sum - finding.share.value).abs() < 1e-9);
            prop_assert!(finding.by_phase.is_sorted_by(|one, other| one.1 >= other.1));
            prop_assert_eq!(&finding.accused, &finding.by_phase[0].0);
        }
    }
}
