//! Drawing the schedule of a run: a million arrivals, one after the other.
//!
//! The only part is `schedule`.

use std::{hint::black_box, process::ExitCode, time::Instant};

use criterion::{BatchSize, Criterion, Throughput};
use serde_json::json;
use spangate_benches::{Figure, Table, Target, command};
use spangate_load::Schedule;
use spangate_scenario::model::Load;

const ARRIVALS: u64 = 1_000_000;

/// How often the schedule is drawn for the table.
const RUNS: usize = 15;

fn main() -> ExitCode {
    command::run(|command| {
        let loads = [("poisson", load("poisson")?), ("constant", load("constant")?)];
        if command.wants("schedule") {
            let mut table = Table::begin("A schedule of 1M arrivals over a mix of three operations")?;
            for (shape, load) in &loads {
                let millis: Vec<_> = (0..RUNS).map(|_| drawing(load)).collect();
                let figure = Figure::median(format!("{shape} arrivals, drawn in"), "ms", &millis);
                table.row(&figure.target(Target::AtMost(1_000.0)))?;
            }
        }
        let mut criterion = Criterion::default().sample_size(20).configure_from_args();
        let mut group = criterion.benchmark_group("schedule");
        group.throughput(Throughput::Elements(ARRIVALS));
        for (shape, load) in &loads {
            let draw = |seed| {
                Schedule::new(load, seed).arrivals().map(|arrival| arrival.choice).fold(0, u64::wrapping_add)
            };
            group.bench_function(*shape, |bench| bench.iter_batched(|| 7, draw, BatchSize::PerIteration));
        }
        group.finish();
        criterion.final_summary();
        Ok(())
    })
}

/// Milliseconds for one schedule.
fn drawing(load: &Load) -> f64 {
    let began = Instant::now();
    Schedule::new(black_box(load), 7).arrivals().for_each(|arrival| {
        black_box(arrival);
    });
    began.elapsed().as_secs_f64() * 1e3
}

fn load(shape: &str) -> Result<Load, serde_json::Error> {
    serde_json::from_value(json!({
        "arrivals": {"rate": "10000/s", "shape": shape, "for": format!("{}s", ARRIVALS / 10_000)},
        "mix": [
            {"weight": 3, "create": {"resource": "configmaps", "size": "2KiB"}},
            {"weight": 5, "list": {"resource": "configmaps", "limit": 500}},
            {"weight": 1, "kubectl": ["create deployment", "get pods", "scale", "delete"]},
        ],
    }))
}
