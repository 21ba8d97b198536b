//! Measurements for tests.

use std::collections::BTreeMap;

use super::{Arm, Key, Measured, Metric, Unit};

/// A unit with one figure: CPU time for a request.
pub(crate) fn unit(arm: &str, round: u32, cpu: f64) -> Unit {
    Unit {
        arm: arm.to_owned(),
        round,
        began_ms: 1_000 * u64::from(round),
        n: 3_000,
        figures: BTreeMap::from([(Metric::CpuPerRequest, cpu)]),
        ..Unit::default()
    }
}

/// Two arms, `base` and `head`, whose CPU time for a request in each round is what `cpu` says.
pub(crate) fn measured(rounds: u32, mut cpu: impl FnMut(u32) -> (f64, f64)) -> Measured {
    let arm = |name: &str| Arm { name: name.to_owned(), description: format!("the {name}") };
    let units = (0..rounds).flat_map(|round| {
        let (base, head) = cpu(round);
        [unit("base", round, base), unit("head", round, head)]
    });
    Measured {
        key: key(),
        reference: "base".to_owned(),
        pairing: None,
        arms: vec![arm("base"), arm("head")],
        units: units.collect(),
    }
}

/// A machine.
pub(crate) fn key() -> Key {
    Key {
        experiment: "tracing".to_owned(),
        hash: "0123456789abcdef".to_owned(),
        versions: BTreeMap::from([("kube-apiserver".to_owned(), "1.37.2".to_owned())]),
        cpu: "AMD EPYC".to_owned(),
        cores: 2,
        kernel: "6.18.0".to_owned(),
    }
}
