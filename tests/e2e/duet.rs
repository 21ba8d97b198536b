//! The duet on a real API server: what tracing adds to a request is found, in one process.

use std::time::Duration;

use spangate::{
    bench::{self, Design, DuetOptions, Operation, report::Said},
    event::Events,
    run::directory::RunDirectory,
};
use tokio_util::sync::CancellationToken;

use crate::harness::{alone, root};

/// Scenario: ten pairs of short blocks of reads, traced and not.
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
    let options = DuetOptions { out: root().join(RunDirectory::ROOT), repeat: "cargo test duet".to_owned() };
    let (events, _stream) = Events::channel();
    let cancel = CancellationToken::new();
    let each = async |_, plan, options: &_| {
        let (events, _stream) = Events::channel();
        bench::carry_out(plan, options, events, CancellationToken::new()).await
    };
    let duet = bench::run(&design, &[Operation::Get], &options, &cancel, each, &events);
    let (report, _) = alone(Box::pin(duet)).unwrap();
    println!("{}{}", report.text(), report.directory);
    let [Said::Row(row)] = report.rows.as_slice() else { panic!("{:#?}", report.rows) };
    assert!(row.spans_per_request > 5.0, "{row:#?}");
    assert!(row.adds.value > 0.0 && row.traced.value > row.plain.value, "{row:#?}");
}
