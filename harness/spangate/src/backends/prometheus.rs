//! The series that Prometheus has of a Collector, read by its query API (its docs, `querying/api.md`).

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use spangate_cluster::{Prometheus, local};
use tokio::time::{sleep, timeout};

use crate::collector::facts::Series;

#[derive(Debug, Deserialize)]
struct Answer {
    data: Vector,
}

#[derive(Debug, Deserialize)]
struct Vector {
    result: Vec<Sample>,
}

#[derive(Debug, Deserialize)]
struct Sample {
    metric: BTreeMap<String, String>,
    /// The time, and the value as text.
    value: (f64, String),
}

/// The label that has the name of a metric.
const NAME: &str = "__name__";
/// How long Prometheus may take to read the exporter once more.
const PATIENCE: Duration = Duration::from_secs(15);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What Prometheus has of the Collector's exporter, read once more from now on.
///
/// # Errors
///
/// When it does not answer, or does not come to read the exporter.
pub(crate) async fn series(prometheus: SocketAddr) -> Result<Vec<Series>, String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let job = Prometheus::JOB;
    let reading = async {
        loop {
            let read = query(prometheus, &format!("timestamp(up{{job=\"{job}\"}} == 1)")).await?;
            if read.iter().any(|series| series.value > now) {
                return query(prometheus, &format!("{{job=\"{job}\"}}")).await;
            }
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(PATIENCE, reading).await.unwrap_or_else(|_| {
        Err(format!("Prometheus did not read the exporter within {} s", PATIENCE.as_secs()))
    })
}

async fn query(prometheus: SocketAddr, query: &str) -> Result<Vec<Series>, String> {
    let answer = local::get(prometheus, &question(query)).await;
    let (status, body) = answer.map_err(|error| format!("Prometheus does not answer: {error}"))?;
    if !status.is_success() {
        return Err(format!("Prometheus answered {status}"));
    }
    read(&body).map_err(|error| format!("Prometheus' answer is not understood: {error}"))
}

/// The path that asks it, with all of the query but letters and digits escaped.
fn question(query: &str) -> String {
    format!("/api/v1/query?query={}", utf8_percent_encode(query, NON_ALPHANUMERIC))
}

fn read(body: &str) -> Result<Vec<Series>, serde_json::Error> {
    let answer: Answer = serde_json::from_str(body)?;
    let series = |Sample { metric: mut labels, value: (_, value) }: Sample| {
        let name = labels.remove(NAME).unwrap_or_default();
        // As Go writes numbers, `NaN` and `+Inf` among them, which Rust reads too.
        Series { name, labels, value: value.parse().unwrap_or(f64::NAN) }
    };
    Ok(answer.data.result.into_iter().map(series).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_series() {
        let body = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"calls_total","job":"collector"},"value":[1435781451.781,"12"]},
            {"metric":{},"value":[1435781451,"+Inf"]}]}}"#;
        let series = read(body).unwrap();
        assert_eq!((series[0].name.as_str(), series[0].labels.len()), ("calls_total", 1));
        assert!((series[0].value - 12.0).abs() < f64::EPSILON && series[1].value.is_infinite());
        assert!(read("{}").is_err());
    }

    #[test]
    fn a_query_is_escaped() {
        assert_eq!(question("up{job=\"a\"}"), "/api/v1/query?query=up%7Bjob%3D%22a%22%7D");
    }
}
