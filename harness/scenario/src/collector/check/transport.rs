//! Where components listen and how exporters connect.

use super::{Checker, cursor::Cursor, said};
use crate::collector::{Rule, Severity};

pub(super) static OLD_TLS: Rule = Rule {
    id: "tls-old-form",
    severity: Severity::Error,
    summary: "TLS settings of an OTLP exporter outside of `tls`.",
    scenario: None,
};
pub(super) static EVERYWHERE: Rule = Rule {
    id: "listens-everywhere",
    severity: Severity::Note,
    summary: "An endpoint that every network of the machine reaches.",
    scenario: None,
};

/// Keys that the exporters had themselves once; config/configgrpc and config/confighttp (core v0.161.0) have
/// them under `tls` alone.
const TLS_KEYS: [&str; 5] = ["insecure", "insecure_skip_verify", "ca_file", "cert_file", "key_file"];

pub(super) fn check(checker: &mut Checker<'_>) {
    for kind in ["otlp", "otlp_grpc", "otlphttp", "otlp_http"] {
        for exporter in checker.components_of("exporters", kind) {
            for (key, value) in exporter.entries().filter(|(key, _)| TLS_KEYS.contains(key)) {
                let text = value.text().unwrap_or("...");
                let said = said(
                    format!("`{key}` belongs under `tls`"),
                    "the Collector refuses keys that it does not know",
                    format!("write `tls: {{{key}: {text}}}`"),
                );
                checker.report(&OLD_TLS, &value.path, value.key_span(), said);
            }
        }
    }
    let root = checker.root();
    let bodies = |section: &str| {
        let section = root.get(section).into_iter();
        section.flat_map(|section| section.entries().map(|(_, body)| body).collect::<Vec<_>>())
    };
    let protocols = bodies("receivers").filter_map(|body| body.get("protocols"));
    let protocols = protocols.flat_map(|body| body.entries().map(|(_, body)| body).collect::<Vec<_>>());
    let exporters = checker.components_of("exporters", "prometheus");
    let all = protocols.chain(bodies("receivers")).chain(bodies("extensions")).chain(exporters);
    let places: Vec<Cursor<'_>> = all.filter_map(|body| body.get("endpoint")).collect();
    for endpoint in places {
        let Some(text) = endpoint.text() else { continue };
        let port = ["0.0.0.0:", "[::]:", ":"].iter().find_map(|host| text.strip_prefix(host));
        if let Some(port) = port {
            let said = said(
                format!("`{text}` is reached from every network"),
                "whoever reaches the machine can use it",
                format!("write `127.0.0.1:{port}` where the API server runs on the same machine"),
            );
            checker.report(&EVERYWHERE, &endpoint.path, endpoint.span(), said);
        }
    }
}
