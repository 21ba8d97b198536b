//! Somebody's configuration with its endpoints replaced, and nothing else.
//!
//! Receivers, the Prometheus exporter, extensions and the Collector's own metrics listen where they are told to; trace
//! exporters send to a sink; files are written below a directory. What is left as it is although it names an
//! address is listed, so that whoever runs the result knows what may reach out.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{Config, Id, Section, emit};
use crate::node::Node;

mod exporters;
mod extensions;
mod receivers;
mod telemetry;

/// Where a configuration is pointed to.
pub struct Wiring<'a> {
    /// Where trace exporters send OTLP by gRPC.
    pub sink_grpc: SocketAddr,
    /// Where trace exporters send OTLP by HTTP.
    pub sink_http: SocketAddr,
    /// Hands out an address for each thing that listens.
    pub listen: &'a mut dyn FnMut(Role) -> SocketAddr,
    /// The directory of the files that are written.
    pub directory: &'a Path,
    /// What becomes of extensions that listen.
    pub extensions: ExtensionWiring,
}

/// What becomes of the extensions `health_check`, `zpages` and `pprof`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtensionWiring {
    /// They listen.
    Keep,
    /// They are taken out: the Collector that runs this was built without them.
    Remove,
}

/// A configuration with its endpoints replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewired {
    /// The configuration, to be read by the Collector. Comments and anchors are gone.
    pub yaml: String,
    /// What was replaced.
    pub changes: Vec<Change>,
    /// What listens now, and which files are written.
    pub endpoints: Vec<Endpoint>,
    /// What still names an address and was left: `exporters::zipkin::endpoint`.
    pub left: Vec<String>,
}

/// One replaced value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The component, by section and id, such as `receivers::otlp`; or a part of the service.
    pub component: String,
    /// The key within it: `protocols::grpc::endpoint`.
    pub key: String,
    /// What was there, as YAML on one line. `None` if nothing was.
    pub from: Option<String>,
    /// What is there now, as YAML on one line. `None` if it was taken out.
    pub to: Option<String>,
}

/// Where something of the configuration is found when it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// What it is.
    pub role: Role,
    /// The component; `None` for the Collector's own metrics.
    pub component: Option<Id>,
    /// Where it listens; `None` for a file.
    pub address: Option<SocketAddr>,
    /// The path of a file. With `group_by` it holds a `*`.
    pub file: Option<PathBuf>,
}

/// What is found at an [`Endpoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// An OTLP receiver, by gRPC.
    OtlpGrpc,
    /// An OTLP receiver, by HTTP.
    OtlpHttp,
    /// Another receiver.
    Receiver,
    /// A Prometheus exporter, to be scraped at `/metrics`.
    Prometheus,
    /// A file exporter.
    File,
    /// The extension `health_check`.
    Health,
    /// The extension `zpages`.
    Zpages,
    /// The extension `pprof`.
    Pprof,
    /// The Collector's own metrics, to be scraped at `/metrics`.
    Telemetry,
}

/// Replaces the endpoints of a configuration.
///
/// The result is made of the configuration as it is written, mistakes included: whether it can run is for
/// [`check`](fn@super::check) and the Collector to say.
pub fn rewire(config: &Config, wiring: &mut Wiring<'_>) -> Rewired {
    let mut rewiring = Rewiring {
        root: config.root.clone(),
        wiring,
        changes: Vec::new(),
        endpoints: Vec::new(),
        left: Vec::new(),
    };
    receivers::rewire(&mut rewiring);
    exporters::rewire(&mut rewiring);
    extensions::rewire(&mut rewiring);
    telemetry::rewire(&mut rewiring);
    Rewired {
        yaml: emit::document(&rewiring.root),
        changes: rewiring.changes,
        endpoints: rewiring.endpoints,
        left: rewiring.left,
    }
}

/// A configuration that is being rewired.
struct Rewiring<'a, 'w> {
    root: Node,
    wiring: &'a mut Wiring<'w>,
    changes: Vec<Change>,
    endpoints: Vec<Endpoint>,
    left: Vec<String>,
}

// === impl Rewired ===

impl Rewired {
    /// The address of the first thing with a role.
    pub fn address(&self, role: Role) -> Option<SocketAddr> {
        self.endpoints.iter().find(|endpoint| endpoint.role == role)?.address
    }
}

// === impl Rewiring ===

impl Rewiring<'_, '_> {
    /// The keys of a section as they are written, with the ids they stand for.
    fn ids(&self, section: Section) -> Vec<(String, Id)> {
        let entries = self.root.value_at(&[section.key()]).and_then(Node::entries).unwrap_or_default();
        let ids = entries.iter().filter_map(|entry| Some((entry.key.clone(), Id::parse(&entry.key).ok()?)));
        ids.collect()
    }

    /// What is written below a key of a component.
    fn get(&self, component: [&str; 2], keys: &[&str]) -> Option<&Node> {
        self.root.value_at(&join(component, keys))
    }

    /// Sets a key of a component and notes it, unless it was so before.
    fn set(&mut self, component: [&str; 2], keys: &[&str], value: Node) {
        let all = join(component, keys);
        let from = self.root.value_at(&all).map(emit::inline);
        let to = emit::inline(&value);
        self.root.set(&all, value);
        self.note(component, keys, from, Some(to));
    }

    /// Takes a key of a component away, if it is there.
    fn remove(&mut self, component: [&str; 2], keys: &[&str]) {
        if let Some(value) = self.root.remove(&join(component, keys)) {
            self.note(component, keys, Some(emit::inline(&value)), None);
        }
    }

    fn note(&mut self, component: [&str; 2], keys: &[&str], from: Option<String>, to: Option<String>) {
        if from != to {
            self.changes.push(Change { component: component.join("::"), key: keys.join("::"), from, to });
        }
    }

    /// Notes what names an address and is left.
    fn leave(&mut self, component: [&str; 2], keys: &[&str]) {
        if self.get(component, keys).is_some_and(|value| !value.is_null()) {
            self.left.push(join(component, keys).join("::"));
        }
    }

    /// Lets a component listen at an address of its own.
    fn listen(&mut self, component: [&str; 2], keys: &[&str], role: Role) {
        let address = (self.wiring.listen)(role);
        self.set(component, keys, super::tree::text(&address.to_string()));
        let component = Id::parse(component[1]).ok();
        self.endpoints.push(Endpoint { role, component, address: Some(address), file: None });
    }
}

fn join<'k>(component: [&'k str; 2], keys: &[&'k str]) -> Vec<&'k str> {
    component.iter().chain(keys).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::parse;

    const TEXT: &str = "\
receivers:
  otlp: {protocols: {grpc: , http: {endpoint: '0.0.0.0:4318', cors: {max_age: 7200}}}}
  zipkin: {endpoint: 'x:9411'}
processors:
  tail_sampling: {decision_wait: 10s, policies: [{name: '1', type: latency, latency: {threshold_ms: 1000}}]}
exporters:
  otlp/jaeger: {endpoint: '${env:JAEGER}', tls: {ca_file: /ca.pem}, headers: {x-tenant: \"007\"}}
  otlphttp: {endpoint: https://x, traces_endpoint: https://x/t, proxy_url: http://p}
  prometheus: {endpoint: 0.0.0.0:8889, metric_expiration: 5m}
  file/out: {path: /tmp/out.json}
  loki: {endpoint: http://loki}
extensions: {health_check: , zpages: {endpoint: 'localhost:55679'}, basicauth: }
service:
  extensions: [health_check, basicauth, zpages]
  telemetry: {logs: {level: debug}, metrics: {level: detailed, address: ':8888'}}
  pipelines:
    traces: {receivers: [otlp, zipkin], processors: [tail_sampling], exporters: [otlp/jaeger]}
";

    fn rewired(text: &str, extensions: ExtensionWiring) -> Rewired {
        let mut next = 1000;
        let mut listen = |_| {
            next += 1;
            SocketAddr::from(([127, 0, 0, 1], next))
        };
        let mut wiring = Wiring {
            sink_grpc: SocketAddr::from(([127, 0, 0, 1], 1)),
            sink_http: SocketAddr::from(([127, 0, 0, 1], 2)),
            listen: &mut listen,
            directory: Path::new("/run"),
            extensions,
        };
        rewire(&parse("c.yaml", text).unwrap(), &mut wiring)
    }

    #[test]
    fn a_compression_that_the_sink_does_not_take_is_replaced() {
        let text = "exporters:\n  otlp/a: {compression: snappy}\n  otlp/b: {compression: zstd}\n  \
                    otlp_http: {compression: lz4}\n";
        let changes = rewired(text, ExtensionWiring::Keep).changes.into_iter();
        let changes = changes.filter(|change| change.key == "compression");
        let changes: Vec<_> = changes.map(|it| (it.component, it.from.unwrap(), it.to.unwrap())).collect();
        let gzip =
            |id: &str, from: &str| (format!("exporters::{id}"), from.to_owned(), "\"gzip\"".to_owned());
        assert_eq!(changes, [gzip("otlp/a", "snappy"), gzip("otlp_http", "lz4")]);
    }

    #[test]
    fn endpoints_are_replaced_and_all_else_stays() {
        insta::assert_snapshot!(rewired(TEXT, ExtensionWiring::Keep).yaml);
    }

    #[test]
    fn every_replacement_is_listed() {
        let rewired = rewired(TEXT, ExtensionWiring::Keep);
        let changes = rewired.changes.iter().map(|change| {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            format!("{} {}: {} -> {}\n", change.component, change.key, shown(&change.from), shown(&change.to))
        });
        insta::assert_snapshot!(changes.collect::<String>());
        assert_eq!(rewired.left, ["exporters::loki::endpoint"]);
        assert_eq!(rewired.address(Role::OtlpGrpc).map(|address| address.port()), Some(1001));
        assert_eq!(rewired.address(Role::OtlpHttp).map(|address| address.port()), Some(1002));
        assert!(rewired.address(Role::Telemetry).is_some());
        let file = rewired.endpoints.iter().find_map(|endpoint| endpoint.file.clone());
        assert_eq!(file, Some(PathBuf::from("/run/file-out.out")));
    }

    #[test]
    fn extensions_can_be_taken_out() {
        let rewired = rewired(TEXT, ExtensionWiring::Remove);
        let config = parse("c.yaml", &rewired.yaml).unwrap();
        let ids: Vec<String> =
            config.section(Section::Extensions).map(|each| each.id().to_string()).collect();
        assert_eq!(ids, ["basicauth"]);
        let started: Vec<String> =
            config.service_extensions().iter().map(|each| each.id().to_string()).collect();
        assert_eq!(started, ["basicauth"]);
        assert_eq!(rewired.address(Role::Health), None);
    }

    #[test]
    fn a_file_without_a_service_gets_what_it_lacks() {
        let rewired = rewired("receivers: {otlp: }\n", ExtensionWiring::Keep);
        let config = parse("c.yaml", &rewired.yaml).unwrap();
        assert!(config.key_span(&["service", "telemetry", "metrics", "readers"]).is_some());
        assert_eq!(rewired.changes.len(), 1);
    }

    #[test]
    fn rewiring_twice_changes_nothing() {
        let once = rewired(TEXT, ExtensionWiring::Keep);
        let twice = rewired(&once.yaml, ExtensionWiring::Keep);
        assert_eq!(once.yaml, twice.yaml);
        let again: Vec<&str> = twice.changes.iter().map(|change| change.key.as_str()).collect();
        assert!(again.is_empty(), "{again:?}");
    }
}
