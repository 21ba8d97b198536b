//! How to reach the API server of a cluster, and as whom.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::StatusCode;
use spangate_scenario::{document, model::Cluster};
use tokio::time::{sleep, timeout};

use super::{error::KindError, network::KindNetwork};
use crate::{
    kubeconfig::Access,
    pki::{ADMIN, CLUSTER_ADMIN, Identity, PRIVILEGED_GROUP, USER},
    probe::Probe,
    version::Version,
};

/// How long the API server may take to say that it is ready when its pod is.
const LIMIT: Duration = Duration::from_mins(1);
/// How often it is asked.
const TICK: Duration = Duration::from_millis(100);

impl KindNetwork {
    /// Where this machine publishes the API server, as kind has it: this stays when the node gets another address.
    pub(super) fn published(&self) -> Result<String, KindError> {
        let node = self.node();
        let ports = self.docker.run(["port", &node, "6443/tcp"])?;
        let published: Option<SocketAddr> = ports.lines().find_map(|line| line.trim().parse().ok());
        let unclear = KindError::Unclear { what: "the published port of the API server", node };
        published.map(|address| format!("https://{address}")).ok_or(unclear)
    }

    /// Where the API server is, and three clients of it. Blocks.
    ///
    /// It is reached at the node's own address: through the published port every byte would pass Docker's proxy.
    /// kubeadm signs the certificates on the node, so that the key of the cluster's authority stays there.
    pub(super) fn access(&self) -> Result<(SocketAddr, Access), KindError> {
        let node = self.node();
        let unclear = |what| KindError::Unclear { what, node: node.clone() };
        let format = format!("{{{{(index .NetworkSettings.Networks {:?}).IPAddress}}}}", self.name());
        let ip = self.docker.run(["inspect", "--format", &format, &node])?;
        let ip: IpAddr = ip.parse().map_err(|_| unclear("the address of the API server"))?;
        let address = SocketAddr::new(ip, 6443);
        let ca_pem = self.docker.run(["exec", &node, "cat", "/etc/kubernetes/pki/ca.crt"])?;
        let client = |name: &str, group: Option<&str>| {
            let mut args = vec!["exec", &node, "kubeadm", "kubeconfig", "user"];
            args.extend(["--config", "/kind/kubeadm.conf", "--client-name", name]);
            args.extend(group.iter().flat_map(|group| ["--org", group]));
            let text = self.docker.run(args)?;
            identity(&text).ok_or_else(|| unclear("the client certificate"))
        };
        let access = Access {
            endpoint: format!("https://{address}"),
            ca_pem,
            admin: client(ADMIN, Some(PRIVILEGED_GROUP))?,
            user: client(USER, None)?,
            cluster_admin: Some(client(CLUSTER_ADMIN, Some(Cluster::CLUSTER_ADMINS))?),
        };
        Ok((address, access))
    }
}

/// Asks the API server until it says that it is ready; gives its version.
pub(super) async fn ready(access: &Access, address: SocketAddr) -> Result<Version, KindError> {
    let mut probe = Probe::privileged(address, access).map_err(KindError::Probe)?;
    let mut answer = "none".to_owned();
    let asking = async {
        loop {
            match probe.get("/readyz").await {
                Ok((StatusCode::OK, _)) => return,
                Ok((status, body)) => {
                    answer = format!("{status}, {}", body.lines().last().unwrap_or_default());
                }
                Err(error) => answer = error.to_string(),
            }
            sleep(TICK).await;
        }
    };
    let asked = timeout(LIMIT, asking).await;
    asked.map_err(|_| KindError::NotReady { limit: LIMIT, answer })?;
    let (_, body) = probe.get("/version").await.map_err(KindError::Probe)?;
    version(&body).ok_or(KindError::NoVersion { answer: body })
}

/// The version in the answer to `/version`.
fn version(body: &str) -> Option<Version> {
    let answer: serde_json::Value = serde_json::from_str(body).ok()?;
    answer["gitVersion"].as_str()?.parse().ok()
}

/// The client certificate and key in a kubeconfig that kubeadm printed, after whatever it warned of.
fn identity(text: &str) -> Option<Identity> {
    let start = text.find("apiVersion:")?;
    let config = document::read(&text[start..]).ok()?;
    let user = &config["users"][0]["user"];
    let pem = |key: &str| String::from_utf8(STANDARD.decode(user[key].as_str()?).ok()?).ok();
    Some(Identity { cert_pem: pem("client-certificate-data")?, key_pem: pem("client-key-data")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_read_from_what_kubeadm_prints() {
        let text = "W1128 initconfiguration.go:363] ignored\napiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n    \
                    client-certificate-data: Y2VydA==\n    client-key-data: a2V5\n";
        let found = identity(text).unwrap();
        assert_eq!((found.cert_pem.as_str(), found.key_pem.as_str()), ("cert", "key"));
        assert_eq!(identity("Error: no"), None);
    }

    #[test]
    fn the_version_is_read_from_what_the_api_server_answers() {
        let answer = r#"{"major": "1", "minor": "34", "gitVersion": "v1.34.4"}"#;
        assert_eq!(version(answer), Some(Version::new(1, 34, 4)));
        assert_eq!(version("Forbidden"), None);
    }
}
