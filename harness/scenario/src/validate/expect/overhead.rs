//! Rules for what processes may use.

use super::{needs, needs_collector};
use crate::{
    model::Overhead,
    path::Path,
    units::Comparison,
    validate::{
        Findings, Parts,
        bounds::{self, Purpose},
    },
};

pub(super) fn check(expected: &Overhead, parts: &Parts<'_>, at: &Path, findings: &mut Findings) {
    needs(
        expected.api_server.is_some() || expected.collector.is_some(),
        at,
        "`apiServer` or `collector`",
        findings,
    );
    if let Some(api_server) = &expected.api_server {
        let at = at.key("apiServer");
        let any = api_server.cpu_per_request.is_some() || api_server.rss.is_some();
        needs(any, &at, "`cpuPerRequest` or `rss`", findings);
        if let Some(bound) = &api_server.cpu_per_request {
            let at = at.key("cpuPerRequest");
            bounds::duration(bound, Comparison::Less, Purpose::Check, &at, findings);
        }
        if let Some(bound) = &api_server.rss {
            bounds::size(bound, &at.key("rss"), findings);
        }
    }
    if let Some(collector) = &expected.collector {
        let at = at.key("collector");
        needs_collector(parts, &at, findings);
        let any = collector.cpu_per_span.is_some() || collector.rss.is_some();
        needs(any, &at, "`cpuPerSpan` or `rss`", findings);
        if let Some(bound) = &collector.cpu_per_span {
            let at = at.key("cpuPerSpan");
            bounds::duration(bound, Comparison::Less, Purpose::Check, &at, findings);
        }
        if let Some(bound) = &collector.rss {
            bounds::size(bound, &at.key("rss"), findings);
        }
    }
}
