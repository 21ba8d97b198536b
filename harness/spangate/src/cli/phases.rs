//! `spangate phases`: where the API server spent the time of the requests.

use std::{fmt::Write, time::Duration};

use clap::{Args, builder::PossibleValuesParser};
use serde_json::json;
use spangate_scenario::{model::RequestFilter, validate::VERBS};
use spangate_trace::PhaseSummary;

use super::{From, Output, Session, print, print_json};
use crate::{error::CommandError, exit::Exit, saved, text, verdict};

#[derive(Debug, Args)]
pub(super) struct PhasesArgs {
    #[command(flatten)]
    from: From,
    /// Only requests with this verb.
    #[arg(long, value_name = "VERB", value_parser = PossibleValuesParser::new(VERBS))]
    verb: Option<String>,
    /// Only requests for this resource.
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
}

pub(super) fn run(args: &PhasesArgs, session: &Session) -> Result<Exit, CommandError> {
    let evidence = saved::read(&saved::open(args.from.from.as_deref())?, None)?;
    let filter = RequestFilter {
        verb: args.verb.clone(),
        resource: args.resource.clone(),
        ..RequestFilter::default()
    };
    let tables = verdict::phase_table(&evidence, &filter);
    if session.global.output == Output::Json {
        let view: Vec<_> = tables
            .iter()
            .map(|table| json!({"operation": table.operation, "n": table.n, "phases": rows(&table.phases)}))
            .collect();
        return print_json(&view).map(|()| Exit::Pass);
    }
    let mut out = String::new();
    for table in &tables {
        let _ = writeln!(out, "{} (n={})", table.operation, table.n);
        let _ = writeln!(
            out,
            "  {:32} {:>8} {:>8} {:>8} {:>8} {:>7}",
            "phase", "mean", "p50", "p90", "p99", "share"
        );
        for phase in &table.phases {
            let _ = writeln!(
                out,
                "  {:32} {:>8} {:>8} {:>8} {:>8} {:>7}",
                phase.phase.to_string(),
                text::duration(phase.mean),
                text::duration(phase.p50),
                text::duration(phase.p90),
                text::duration(phase.p99),
                text::percent(phase.share),
            );
        }
        out.push('\n');
    }
    if tables.is_empty() {
        out.push_str("no request of this kind was traced\n");
    }
    print(&out).map(|()| Exit::Pass)
}

/// The phases of one operation; times in nanoseconds.
fn rows(phases: &[PhaseSummary]) -> Vec<serde_json::Value> {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    phases
        .iter()
        .map(|phase| {
            json!({
                "phase": phase.phase,
                "n": phase.n,
                "meanNanos": nanos(phase.mean),
                "p50Nanos": nanos(phase.p50),
                "p90Nanos": nanos(phase.p90),
                "p99Nanos": nanos(phase.p99),
                "share": phase.share,
            })
        })
        .collect()
}
