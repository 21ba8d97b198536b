//! The latencies of a load as a table: response and service time side by side.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use spangate_load::{Ending, Latencies, Latency};

use crate::text;

/// One line for each operation, by how it ended; ends in a newline. Empty when nothing was sent.
///
/// Response time counts from the intended start, service time from the handing over to the connection: where they
/// part, requests waited for the generator or for those before them.
pub fn table(latencies: &Latencies) -> String {
    let mut rows: BTreeMap<(String, String), Latency> = BTreeMap::new();
    for (series, latency) in latencies.iter() {
        let mut what = format!("{} {}", series.verb, series.resource);
        if let Some(subresource) = &series.subresource {
            let _ = write!(what, "/{subresource}");
        }
        let ending = match series.ending {
            Ending::Status(status) => status.to_string(),
            Ending::Error => "no answer".to_owned(),
            Ending::Timeout => "timeout".to_owned(),
        };
        rows.entry((what, ending)).or_default().merge(latency);
    }
    if rows.is_empty() {
        return String::new();
    }
    let width = rows.keys().map(|(what, _)| what.trim_end().len()).max().unwrap_or(0).max("requests".len());
    let heads = ["p50", "p90", "p99", "max", "service p50", "p99"];
    let mut out = format!("{:width$}  {:9}  {:>7}", "requests", "ended", "n");
    for head in heads {
        let _ = write!(out, "  {head:>11}");
    }
    out.push('\n');
    for ((what, ending), latency) in &rows {
        let _ = write!(out, "{:width$}  {ending:9}  {:>7}", what.trim_end(), latency.count());
        let times = [
            latency.response.percentile(50.0),
            latency.response.percentile(90.0),
            latency.response.percentile(99.0),
            latency.response.max(),
            latency.service.percentile(50.0),
            latency.service.percentile(99.0),
        ];
        for time in times {
            let _ = write!(out, "  {:>11}", text::duration(time.unwrap_or(Duration::ZERO)));
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use spangate_load::Outcome;

    use super::*;
    use crate::testing;

    #[test]
    fn stages_are_added_up_and_endings_are_not() {
        let mut latencies = Latencies::default();
        for (stage, outcome, wait, millis) in [
            (0, Outcome::Status(201), 0, 10),
            (1, Outcome::Status(201), 90, 10),
            (1, Outcome::Timeout, 0, 1_000),
        ] {
            let mut request = testing::request();
            (request.stage, request.outcome) = (stage, outcome);
            request.started = request.intended + Duration::from_millis(wait);
            request.ended = request.started + Duration::from_millis(millis);
            latencies.record(&request);
        }
        insta::assert_snapshot!(table(&latencies), @r"
        requests           ended            n          p50          p90          p99          max  service p50          p99
        create configmaps  201              2       10.0ms        100ms        100ms        100ms       10.0ms       10.0ms
        create configmaps  timeout          1        1.00s        1.00s        1.00s        1.00s        1.00s        1.00s
        ");
        assert_eq!(table(&Latencies::default()), "");
    }
}
