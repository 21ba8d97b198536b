//! The duet on a real API server: what tracing adds to a request is found, in one process.

#![expect(clippy::print_stdout, reason = "what cargo shows of a test that fails")]

use std::time::Duration;

use spangate::{
    bench::{self, Design, DuetOptions, Operation, analysis::Row, report::Said},
    event::Events,
    run::{self, directory::RunDirectory},
};
use tokio_util::sync::CancellationToken;

use crate::harness::{alone, root};

/// How often is measured in all when the machine is too busy to say anything.
const ATTEMPTS: usize = 3;

/// What a duet of reads says, if it says anything.
fn measured(design: &Design) -> Option<Row> {
    let options = DuetOptions { out: root().join(RunDirectory::ROOT), repeat: "cargo test duet".to_owned() };
    let (events, _stream) = Events::channel();
    let cancel = CancellationToken::new();
    let each = async |_, plan, options: &_| {
        let (events, _stream) = Events::channel();
        Box::pin(run::run(plan, options, events, CancellationToken::new())).await
    };
    let duet = bench::run(design, &[Operation::Get], &options, &cancel, each, &events);
    let (report, _) = alone(Box::pin(duet)).unwrap();
    println!("{}{}", report.text(), report.directory);
    match report.rows.into_iter().next() {
        Some(Said::Row(row)) => Some(*row),
        Some(Said::Nothing { .. }) | None => None,
    }
}

/// Scenario: sixteen pairs of short blocks of reads, traced and not.
/// Guarantees: most of the pairs count, a traced read has the spans of one, and it costs more than one that is not.
#[test]
fn tracing_a_read_costs_cpu() {
    let design = Design {
        rate: 150.0,
        block: Duration::from_secs(1),
        pairs: Design::FEWEST_PAIRS,
        warm_up: Duration::from_secs(5),
        seed: 1,
        kubernetes: "1.37".to_owned(),
    };
    let row = (0..ATTEMPTS).find_map(|_| measured(&design)).expect("a quiet time was found");
    assert!(row.spans_per_request > 5.0, "{row:#?}");
    assert!(row.adds.value > 0.0 && row.traced.value > row.plain.value, "{row:#?}");
}
