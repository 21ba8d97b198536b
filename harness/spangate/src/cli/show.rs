//! `spangate show`: a trace of a saved run as a waterfall, and why a Collector kept it or not.

use clap::Args;
use serde_json::json;
use spangate_trace::{TraceId, joint::joints, waterfall};

use super::{From, Output, Session, print, print_json};
use crate::{collector::explain::explain, error::CommandError, evidence::Case, exit::Exit, saved};

/// Columns where the terminal does not tell its width.
const WIDTH: usize = 120;

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The trace id, or as many of its first digits as tell it apart.
    #[arg(value_name = "TRACE")]
    trace: String,
    #[command(flatten)]
    from: From,
    /// Leave out events.
    #[arg(long)]
    no_events: bool,
}

pub(super) fn run(args: &ShowArgs, session: &Session) -> Result<Exit, CommandError> {
    let directory = saved::open(args.from.from.as_deref())?;
    let evidence = saved::read(&directory, None)?;
    let case = Case::new(&evidence);
    let index = &case.index;
    let prefix = args.trace.to_ascii_lowercase();
    let found: Vec<TraceId> =
        index.traces().map(|trace| trace.id()).filter(|id| id.to_string().starts_with(&prefix)).collect();
    let id = match found.as_slice() {
        [one] => *one,
        [] => {
            return Err(CommandError::usage(format!(
                "no trace of {} begins with {prefix:?}",
                directory.path().display()
            ))
            .help("the trace ids are in its requests.jsonl or traces.jsonl; name another run with --from"));
        }
        many => {
            let few: Vec<String> = many.iter().take(5).map(ToString::to_string).collect();
            return Err(CommandError::usage(format!("{} traces begin with {prefix:?}", many.len()))
                .help(format!("give more digits: {} ...", few.join(", "))));
        }
    };
    let trace = index.by_trace(id).expect("the id is one of the index");
    let explained = explain(&case, id);
    if session.global.output == Output::Json {
        let spans: Vec<_> = trace.rows().map(|row| evidence.capture.span(row)).collect();
        let shown = json!({"traceId": id, "explained": explained, "spans": spans});
        return print_json(&shown).map(|()| Exit::Pass);
    }
    let width = usize::from(console::Term::stdout().size_checked().map_or(0, |(_, columns)| columns));
    let width = if width == 0 { WIDTH } else { width };
    let options = waterfall::Options { events: !args.no_events, ..waterfall::Options::default() };
    let drawn = waterfall::render(&trace, width, options);
    let joints = joints(&trace).into_iter().map(|joint| format!("{}\n", joint.line(&evidence.capture, id)));
    let parts: Vec<String> = explained.into_iter().chain([drawn + &joints.collect::<String>()]).collect();
    print(&parts.join("\n")).map(|()| Exit::Pass)
}
