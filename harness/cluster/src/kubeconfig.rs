//! How to reach an API server, and the kubeconfig that says so to kubectl.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::pki::{ADMIN, CLUSTER_ADMIN, Identity, Pki, USER};

/// What a client needs to talk to an API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `https://127.0.0.1:PORT`.
    pub endpoint: String,
    /// The authority that signed the server's certificate, PEM.
    pub ca_pem: String,
    /// The privileged client, whose trace context is followed.
    pub admin: Identity,
    /// The unprivileged client, whose trace context becomes a link.
    pub user: Identity,
    /// The administrator that kubeadm makes, whose trace context becomes a link; only where kubeadm was.
    pub cluster_admin: Option<Identity>,
}

// === impl Access ===

impl Access {
    /// Access to the server at `endpoint` with the certificates of `pki`.
    pub fn new(endpoint: String, pki: &Pki) -> Self {
        let (ca_pem, admin, user) = (pki.ca_pem.clone(), pki.admin.clone(), pki.user.clone());
        Self { endpoint, ca_pem, admin, user, cluster_admin: None }
    }

    /// A kubeconfig with everything inlined: the context `spangate` is the privileged client, the context
    /// `spangate-user` the other; `spangate-cluster-admin` is kubeadm's administrator, if there is one.
    ///
    /// It is JSON, which is YAML too: kubectl and every client library read it.
    pub fn kubeconfig(&self) -> String {
        let user = |name: &str, identity: &Identity| {
            json!({"name": name, "user": {
                "client-certificate-data": STANDARD.encode(&identity.cert_pem),
                "client-key-data": STANDARD.encode(&identity.key_pem),
            }})
        };
        let context =
            |name: &str, user: &str| json!({"name": name, "context": {"cluster": "spangate", "user": user}});
        let all = [
            (ADMIN, Some(&self.admin)),
            (USER, Some(&self.user)),
            (CLUSTER_ADMIN, self.cluster_admin.as_ref()),
        ];
        let all = all.into_iter().filter_map(|(name, identity)| Some((name, identity?)));
        let named = |name| if name == ADMIN { "spangate" } else { name };
        let contexts: Vec<_> = all.clone().map(|(name, _)| context(named(name), name)).collect();
        let users: Vec<_> = all.map(|(name, identity)| user(name, identity)).collect();
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "spangate",
            "clusters": [{"name": "spangate", "cluster": {
                "server": self.endpoint,
                "certificate-authority-data": STANDARD.encode(&self.ca_pem),
            }}],
            "contexts": contexts,
            "users": users,
        });
        format!("{config:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_context_leads_to_the_privileged_client() {
        let pki = Pki::generate().unwrap();
        let text = Access::new("https://127.0.0.1:6443".to_owned(), &pki).kubeconfig();
        let config: serde_json::Value = serde_json::from_str(&text).unwrap();
        let named = |list: &str, name: &serde_json::Value| {
            config[list].as_array().unwrap().iter().find(|entry| &entry["name"] == name).unwrap().clone()
        };
        let context = named("contexts", &config["current-context"]);
        let cluster = named("clusters", &context["context"]["cluster"]);
        let user = named("users", &context["context"]["user"]);
        assert_eq!(cluster["cluster"]["server"], "https://127.0.0.1:6443");
        let cert = STANDARD.decode(user["user"]["client-certificate-data"].as_str().unwrap()).unwrap();
        assert_eq!(cert, pki.admin.cert_pem.as_bytes());
    }
}
