//! The traces that Jaeger has, asked for one by one by their ids (jaeger, `cmd/jaeger/internal/extension/jaegerquery`: the
//! JSON API of its UI).

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use http::StatusCode;
use serde::{Deserialize, Serialize};
use spangate_cluster::local;
use spangate_sink::SinkHandle;
use spangate_trace::{SpanId, TraceId};
use tokio::time::sleep;

/// A trace as Jaeger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StoredTrace {
    /// Its id.
    pub trace_id: TraceId,
    /// The ids of its spans, each once; none where Jaeger does not know the trace.
    pub spans: BTreeSet<SpanId>,
}

/// Jaeger's answer to a question for a trace.
#[derive(Debug, Deserialize)]
struct Answer {
    data: Option<Vec<Found>>,
}

#[derive(Debug, Deserialize)]
struct Found {
    spans: Vec<FoundSpan>,
}

#[derive(Debug, Deserialize)]
struct FoundSpan {
    #[serde(rename = "spanID")]
    span_id: SpanId,
}

/// The most traces that are asked for.
pub(crate) const MOST: usize = 5000;
/// How long what was sent to Jaeger may take to be answered.
const PATIENCE: Duration = Duration::from_secs(12);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Asks Jaeger for the traces of a sink that takes nothing any more, in the order of their ids; of more than [`MOST`], for as
/// many, evenly chosen.
///
/// # Errors
///
/// When Jaeger does not answer, or not as it should.
pub(crate) async fn ask(jaeger: SocketAddr, sink: &SinkHandle) -> Result<Vec<StoredTrace>, String> {
    let begun = Instant::now();
    let answered = || sink.passages().iter().map(|it| it.rows.len()).sum::<usize>();
    // Of what is there, and not sent on yet.
    while answered() < sink.store().len() && begun.elapsed() < PATIENCE {
        sleep(LOOK_EVERY).await;
    }
    let traces: BTreeSet<TraceId> = sink.store().snapshot().rows().iter().map(|row| row.trace_id).collect();
    let mut stored = Vec::new();
    for trace_id in chosen(&traces, MOST) {
        let spans = spans(jaeger, trace_id).await?;
        stored.push(StoredTrace { trace_id, spans });
    }
    Ok(stored)
}

/// At most so many of the traces, evenly chosen.
fn chosen(traces: &BTreeSet<TraceId>, most: usize) -> impl Iterator<Item = TraceId> {
    traces.iter().copied().step_by(traces.len().div_ceil(most).max(1))
}

/// The spans of a trace.
async fn spans(jaeger: SocketAddr, trace: TraceId) -> Result<BTreeSet<SpanId>, String> {
    let answer = local::get(jaeger, &format!("/api/traces/{trace}")).await;
    let (status, body) = answer.map_err(|error| format!("Jaeger does not answer: {error}"))?;
    match status {
        StatusCode::NOT_FOUND => Ok(BTreeSet::new()),
        StatusCode::OK => read(&body).map_err(|error| format!("Jaeger's answer is not understood: {error}")),
        status => Err(format!("Jaeger answered {status}")),
    }
}

fn read(body: &str) -> Result<BTreeSet<SpanId>, serde_json::Error> {
    let answer: Answer = serde_json::from_str(body)?;
    let found = answer.data.into_iter().flatten().flat_map(|trace| trace.spans);
    Ok(found.map(|span| span.span_id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_ids_of_spans() {
        let body = r#"{"data":[{"traceID":"0a","spans":[{"traceID":"0a","spanID":"00000000000000ff","x":1},
            {"spanID":"00000000000000ff"}],"processes":{}}],"total":0,"errors":null}"#;
        assert_eq!(read(body).unwrap(), ["00000000000000ff".parse().unwrap()].into());
        assert!(read(r#"{"data":null}"#).unwrap().is_empty());
        assert!(read("<html>").is_err());
    }

    #[test]
    fn of_many_traces_some_are_chosen_evenly() {
        let traces: BTreeSet<TraceId> = (1..=10).map(|id: u8| TraceId::new([id; 16])).collect();
        let first = |most| chosen(&traces, most).map(|trace| trace.as_bytes()[0]).collect::<Vec<_>>();
        assert_eq!(first(4), [1, 4, 7, 10]);
        assert_eq!(first(10).len(), 10);
        assert_eq!(chosen(&BTreeSet::new(), 4).count(), 0);
    }
}
