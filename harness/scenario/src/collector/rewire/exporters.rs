//! Trace exporters send to the sink, the Prometheus exporter listens where it is told to, files go below a directory.

use super::{Endpoint, Rewiring, Role};
use crate::{
    collector::{Id, Section, tree},
    node::{Entry, Node, Value},
};

/// Keys of exporters that are not known here which may name an address.
const ADDRESSES: [&str; 6] = ["endpoint", "endpoints", "brokers", "url", "host", "addr"];

pub(super) fn rewire(rewiring: &mut Rewiring<'_, '_>) {
    for (key, id) in rewiring.ids(Section::Exporters) {
        let component = ["exporters", key.as_str()];
        match id.kind() {
            "otlp" | "otlp_grpc" => grpc(rewiring, component),
            "otlphttp" | "otlp_http" => http(rewiring, component),
            "prometheus" => rewiring.listen(component, &["endpoint"], Role::Prometheus),
            "file" => file(rewiring, component, &id),
            _ => ADDRESSES.iter().for_each(|key| rewiring.leave(component, &[key])),
        }
    }
}

/// Compressions that the sink takes; an empty one is none.
const COMPRESSIONS: [&str; 4] = ["gzip", "zstd", "none", ""];

/// Replaces a compression that the sink does not take by the default one.
fn compression(rewiring: &mut Rewiring<'_, '_>, component: [&str; 2]) {
    let given = rewiring.get(component, &["compression"]).and_then(Node::text);
    if given.is_some_and(|given| !COMPRESSIONS.contains(&given)) {
        rewiring.set(component, &["compression"], tree::text("gzip"));
        rewiring.remove(component, &["compression_params"]);
    }
}

fn grpc(rewiring: &mut Rewiring<'_, '_>, component: [&str; 2]) {
    compression(rewiring, component);
    let sink = rewiring.wiring.sink_grpc.to_string();
    rewiring.set(component, &["endpoint"], tree::text(&sink));
    rewiring.set(component, &["tls"], insecure());
}

fn http(rewiring: &mut Rewiring<'_, '_>, component: [&str; 2]) {
    compression(rewiring, component);
    let sink = format!("http://{}", rewiring.wiring.sink_http);
    rewiring.set(component, &["endpoint"], tree::text(&sink));
    // Where a signal has an endpoint of its own, that one wins.
    for (key, path) in [
        ("traces_endpoint", "v1/traces"),
        ("metrics_endpoint", "v1/metrics"),
        ("logs_endpoint", "v1/logs"),
        ("profiles_endpoint", "v1development/profiles"),
    ] {
        if rewiring.get(component, &[key]).is_some() {
            rewiring.set(component, &[key], tree::text(&format!("{sink}/{path}")));
        }
    }
    // A proxy would be asked for an address that only this machine knows.
    rewiring.remove(component, &["proxy_url"]);
    rewiring.set(component, &["tls"], insecure());
}

/// `tls: {insecure: true}`, whatever it was: the certificates of the real backend prove nothing here.
fn insecure() -> Node {
    let entry = Entry { key: "insecure".to_owned(), key_span: 0..0, value: tree::plain("true") };
    Node { span: 0..0, value: Value::Mapping(vec![entry]) }
}

fn file(rewiring: &mut Rewiring<'_, '_>, component: [&str; 2], id: &Id) {
    let letters = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = id.to_string().chars().map(letters).collect();
    // With `group_by`, the star stands for the value that files are grouped by (exporter/fileexporter,
    // contrib v0.161.0).
    let grouped = rewiring.get(component, &["group_by", "enabled"]).and_then(Node::text) == Some("true");
    let name = if grouped { format!("{name}-*.out") } else { format!("{name}.out") };
    let path = rewiring.wiring.directory.join(name);
    rewiring.set(component, &["path"], tree::text(&path.display().to_string()));
    rewiring.endpoints.push(Endpoint {
        role: Role::File,
        component: Some(id.clone()),
        address: None,
        file: Some(path),
    });
}
