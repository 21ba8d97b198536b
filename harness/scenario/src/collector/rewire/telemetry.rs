//! The Collector's own metrics are read, with names that do not depend on who reads them.

use std::net::SocketAddr;

use super::{Endpoint, Rewiring, Role};
use crate::{
    collector::tree,
    node::{Node, Value},
};

const METRICS: [&str; 2] = ["service", "telemetry"];

pub(super) fn rewire(rewiring: &mut Rewiring<'_, '_>) {
    let address = (rewiring.wiring.listen)(Role::Telemetry);
    rewiring.set(METRICS, &["metrics", "readers"], readers(address));
    // The old form; the Collector does not start with it.
    rewiring.remove(METRICS, &["metrics", "address"]);
    // Without metrics nobody could say what was lost on the way.
    if rewiring.get(METRICS, &["metrics", "level"]).and_then(Node::text) == Some("none") {
        rewiring.remove(METRICS, &["metrics", "level"]);
    }
    rewiring.endpoints.push(Endpoint {
        role: Role::Telemetry,
        component: None,
        address: Some(address),
        file: None,
    });
    rewiring.leave(METRICS, &["traces", "processors"]);
    rewiring.leave(METRICS, &["logs", "processors"]);
}

/// One reader that is scraped (service/telemetry/otelconftelemetry, v0.161.0).
fn readers(address: SocketAddr) -> Node {
    let mut reader = tree::null();
    let prometheus = |key| ["pull", "exporter", "prometheus", key];
    reader.set(&prometheus("host"), tree::text(&address.ip().to_string()));
    reader.set(&prometheus("port"), tree::plain(&address.port().to_string()));
    // The default where no reader is given, but not in every version where one is.
    for key in ["without_type_suffix", "without_units", "without_scope_info"] {
        reader.set(&prometheus(key), tree::plain("true"));
    }
    Node { span: 0..0, value: Value::Sequence(vec![reader]) }
}
