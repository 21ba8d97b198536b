//! The command line of kube-apiserver, by version.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use spangate_scenario::model::ApiServer;

use crate::{pki::PkiFiles, tracing_config, version::Version};

/// What the flags are made from.
#[derive(Debug, Clone, Copy)]
pub struct ApiServerFlags<'a> {
    /// The version of the binary.
    pub version: Version,
    /// Where clients connect, over TLS.
    pub secure: SocketAddr,
    /// The etcd, or the proxy in front of it.
    pub etcd_url: &'a str,
    /// Certificates and keys.
    pub pki: &'a PkiFiles,
    /// The `TracingConfiguration` file; `None` leaves tracing off.
    pub tracing_config: Option<&'a Path>,
    /// What the scenario sets.
    pub settings: &'a ApiServer,
}

// === impl ApiServerFlags ===

impl ApiServerFlags<'_> {
    /// The arguments of a single server on loopback.
    ///
    /// Everything that has to do with requests and their spans is left at the upstream default: API priority
    /// and fairness, the watch cache, anonymous access, and the admission plugins. Only `ServiceAccount` is
    /// off: no controller makes the default accounts that it asks for, so pods could not be created. No
    /// endpoint of the server itself is kept up to date (`none`), as nothing connects through the service.
    ///
    /// Flags of the scenario replace ours of the same name; its feature gates are added to ours, and win.
    pub fn args(&self) -> Vec<String> {
        let mut flags = self.own();
        let mut gates: BTreeMap<&str, bool> = BTreeMap::new();
        if self.tracing_config.is_some() {
            gates.extend(tracing_config::feature_gate(self.version));
        }
        gates.extend(self.settings.feature_gates.iter().map(|(name, on)| (name.as_str(), *on)));
        if !gates.is_empty() {
            let gates: Vec<String> = gates.iter().map(|(name, on)| format!("{name}={on}")).collect();
            flags.insert("feature-gates", gates.join(","));
        }
        for (name, value) in &self.settings.extra_args {
            flags.insert(name.trim_start_matches('-'), value.clone());
        }
        flags.into_iter().map(|(name, value)| format!("--{name}={value}")).collect()
    }

    fn own(&self) -> BTreeMap<&str, String> {
        let path = |path: &PathBuf| path.display().to_string();
        let mut flags = BTreeMap::from([
            ("bind-address", self.secure.ip().to_string()),
            // Without it the server looks for the address of a default route, and exits where there is none.
            ("advertise-address", self.secure.ip().to_string()),
            ("secure-port", self.secure.port().to_string()),
            ("etcd-servers", self.etcd_url.to_owned()),
            ("authorization-mode", "RBAC".to_owned()),
            ("client-ca-file", path(&self.pki.ca)),
            ("tls-cert-file", path(&self.pki.api_server.cert)),
            ("tls-private-key-file", path(&self.pki.api_server.key)),
            ("service-account-issuer", "https://kubernetes.default.svc".to_owned()),
            ("service-account-key-file", path(&self.pki.service_account_public)),
            ("service-account-signing-key-file", path(&self.pki.service_account_key)),
            ("service-cluster-ip-range", "10.0.0.0/24".to_owned()),
            ("disable-admission-plugins", "ServiceAccount".to_owned()),
            ("endpoint-reconciler-type", "none".to_owned()),
            ("allow-privileged", "true".to_owned()),
            ("v", "2".to_owned()),
        ]);
        if let Some(config) = self.tracing_config {
            flags.insert("tracing-config-file", config.display().to_string());
        }
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(version: Version, tracing: bool, settings: &ApiServer) -> Vec<String> {
        ApiServerFlags {
            version,
            secure: ([127, 0, 0, 1], 6443).into(),
            etcd_url: "http://127.0.0.1:2379",
            pki: &PkiFiles::within(Path::new("run/pki")),
            tracing_config: tracing.then_some(Path::new("run/tracing.yaml")),
            settings,
        }
        .args()
    }

    fn value<'a>(args: &'a [String], flag: &str) -> Option<&'a str> {
        let mut values = args.iter().filter_map(|arg| arg.strip_prefix(&format!("--{flag}=")));
        let value = values.next();
        assert_eq!(values.next(), None, "--{flag} is given twice");
        value
    }

    #[test]
    fn requests_are_served_as_upstream_does() {
        let args = args(Version::new(1, 37, 2), true, &ApiServer::default());
        assert_eq!(value(&args, "secure-port"), Some("6443"));
        assert_eq!(value(&args, "bind-address"), Some("127.0.0.1"));
        assert_eq!(value(&args, "tracing-config-file"), Some("run/tracing.yaml"));
        for untouched in ["enable-priority-and-fairness", "anonymous-auth", "watch-cache", "feature-gates"] {
            assert_eq!(value(&args, untouched), None);
        }
    }

    #[test]
    fn the_tracing_gate_is_named_before_1_27_only() {
        let settings = ApiServer::default();
        let gates = |minor, tracing| {
            let args = args(Version::new(1, minor, 0), tracing, &settings);
            value(&args, "feature-gates").map(str::to_owned)
        };
        assert_eq!(gates(26, true).as_deref(), Some("APIServerTracing=true"));
        assert_eq!(gates(26, false), None);
        assert_eq!((gates(27, true), gates(34, true), gates(37, true)), (None, None, None));
    }

    #[test]
    fn the_scenario_wins() {
        let settings = ApiServer {
            extra_args: [("v", "4"), ("--authorization-mode", "AlwaysAllow"), ("goaway-chance", "0.01")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            feature_gates: [("APIServerTracing".to_owned(), false), ("WatchList".to_owned(), true)].into(),
            ..ApiServer::default()
        };
        let args = args(Version::new(1, 26, 0), true, &settings);
        assert_eq!(value(&args, "v"), Some("4"));
        assert_eq!(value(&args, "authorization-mode"), Some("AlwaysAllow"));
        assert_eq!(value(&args, "goaway-chance"), Some("0.01"));
        assert_eq!(value(&args, "feature-gates"), Some("APIServerTracing=false,WatchList=true"));
    }
}
