//! How a worker reaches an API server that is there already, and as whom.

use std::{
    fs,
    path::{Path, PathBuf},
};

use k8s_openapi::ByteString;
use kube::config::{AuthInfo, Kubeconfig};
use serde_json::{Value, json};
use spangate_load::{ClientIdentity, Endpoint, client::Credential};

use crate::error::CommandError;

/// How a worker reaches the API server, as the command line says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// By a context of a kubeconfig.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context; the current one unless given.
        context: Option<String>,
        /// The context of the user who has no privileged group.
        unprivileged: Option<String>,
    },
    /// By what is in files.
    Files {
        /// The API server.
        endpoint: Endpoint,
        /// Certificates that the server's may be signed by, in PEM.
        ca: PathBuf,
        /// What says who the worker is.
        credential: CredentialFiles,
    },
}

/// Files that say who a worker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialFiles {
    /// A certificate, in PEM.
    Certificate {
        /// The certificate, and those between it and the server's CA.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// A bearer token, such as that of a service account.
    Token(PathBuf),
}

/// The API server, and who a worker is.
#[derive(Debug, Clone)]
pub struct Access {
    /// The API server.
    pub endpoint: Endpoint,
    /// Certificates that the server's may be signed by, in PEM.
    pub ca_pem: String,
    /// Who sends as `admin`, prepares and cleans up.
    pub admin: ClientIdentity,
    /// Who sends as `unprivileged`.
    pub unprivileged: Option<ClientIdentity>,
}

/// What a user of a kubeconfig, or the command line, is called where no name is given.
const NAMELESS: &str = "admin";

// === impl Access ===

impl Access {
    /// Reads everything that `reach` names.
    pub fn read(reach: &Reach) -> Result<Self, CommandError> {
        match reach {
            Reach::Kubeconfig { path, context, unprivileged } => {
                Self::by_kubeconfig(Some(path), context.as_deref(), unprivileged.as_deref())
                    .map(|(access, _)| access)
            }
            Reach::Files { endpoint, ca, credential } => {
                let admin = match credential {
                    CredentialFiles::Certificate { certificate, key } => {
                        ClientIdentity::certificate(NAMELESS, text(certificate)?, text(key)?)
                    }
                    CredentialFiles::Token(token) => ClientIdentity::token(NAMELESS, text(token)?),
                };
                Ok(Self { endpoint: endpoint.clone(), ca_pem: text(ca)?, admin, unprivileged: None })
            }
        }
    }
}

impl Access {
    /// Reads a context of a kubeconfig, the current one unless named, and gives its name too. Without a file it is the
    /// kubeconfig that kubectl would take: `$KUBECONFIG`, or else `~/.kube/config`.
    pub fn by_kubeconfig(
        path: Option<&Path>,
        context: Option<&str>,
        unprivileged: Option<&str>,
    ) -> Result<(Self, String), CommandError> {
        let config = Config::read(path)?;
        let (server, user) = config.context(context)?;
        let unprivileged = unprivileged.map(|name| config.context(Some(name))?.1.identity());
        let name = context.or(config.config.current_context.as_deref()).unwrap_or_default().to_owned();
        let access = Self {
            endpoint: server.endpoint()?,
            ca_pem: server.ca()?,
            admin: user.identity()?,
            unprivileged: unprivileged.transpose()?,
        };
        Ok((access, name))
    }

    /// A kubeconfig with all of it but the unprivileged user, for a client library.
    pub fn kubeconfig(&self) -> String {
        let encoded = |pem: &str| ByteString(pem.as_bytes().to_vec());
        let user = match &self.admin.credential {
            Credential::Certificate { certificate_pem, key_pem } => json!({
                "client-certificate-data": encoded(certificate_pem),
                "client-key-data": encoded(key_pem),
            }),
            Credential::Token(token) => json!({"token": token.trim()}),
            Credential::None => json!({}),
        };
        let cluster = json!({
            "server": format!("https://{}", self.endpoint),
            "certificate-authority-data": encoded(&self.ca_pem),
        });
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": cluster}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "users": [{"name": "it", "user": user}],
        });
        config.to_string()
    }
}

fn text(path: &Path) -> Result<String, CommandError> {
    fs::read_to_string(path)
        .map_err(|error| CommandError::usage(format!("cannot read {}", path.display())).because(error))
}

/// A kubeconfig, and where it came from.
struct Config {
    path: String,
    config: Kubeconfig,
}

/// A cluster or a user of a kubeconfig, by the keys that the file has.
struct Entry<'c> {
    config: &'c Config,
    what: &'static str,
    name: &'c str,
    keys: Value,
}

// === impl Config ===

impl Config {
    /// Reads a file, or else what kubectl would read.
    fn read(path: Option<&Path>) -> Result<Self, CommandError> {
        let (named, config) = match path {
            Some(path) => (path.display().to_string(), Kubeconfig::read_from(path)),
            None => ("that kubectl takes".to_owned(), Kubeconfig::read()),
        };
        let config = config.map_err(|error| {
            CommandError::usage(format!("cannot use the kubeconfig {named}"))
                .because(error)
                .help("name one with --kubeconfig")
        })?;
        Ok(Self { path: named, config })
    }

    /// Cluster and user of a context; of the current one without a name.
    fn context<'c>(&'c self, name: Option<&'c str>) -> Result<(Entry<'c>, Entry<'c>), CommandError> {
        let name = name
            .or(self.config.current_context.as_deref())
            .ok_or_else(|| self.wrong("it has no current context").help("name one with --context"))?;
        let found = self.config.contexts.iter().find(|context| context.name == name);
        let context = found.and_then(|found| found.context.as_ref()).ok_or_else(|| {
            let known: Vec<_> = self.config.contexts.iter().map(|context| context.name.as_str()).collect();
            self.wrong(&format!("it has no context {name:?}")).help(format!("it has {}", known.join(", ")))
        })?;
        let cluster = self.config.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let cluster = cluster
            .and_then(|found| found.cluster.as_ref())
            .ok_or_else(|| self.wrong(&format!("it has no cluster {:?}", context.cluster)))?;
        let user = context.user.as_deref().unwrap_or_default();
        let auth = self.config.auth_infos.iter().find(|auth| auth.name == user);
        let auth = auth
            .and_then(|found| found.auth_info.as_ref())
            .ok_or_else(|| self.wrong(&format!("it has no user {user:?}")))?;
        if let Some(unsupported) = unsupported(auth) {
            return Err(self
                .wrong(&format!("its user {user:?} needs {unsupported}, which is not supported"))
                .help("take a context with a certificate or a token; `kubectl create token` makes one"));
        }
        let entry = |what, name, keys: Result<Value, serde_json::Error>| {
            let keys = keys.map_err(|error| {
                CommandError::bug(format!("a {what} of a kubeconfig cannot be written as JSON"))
                    .because(error)
            })?;
            Ok(Entry { config: self, what, name, keys })
        };
        let cluster = entry("cluster", context.cluster.as_str(), serde_json::to_value(cluster))?;
        Ok((cluster, entry("user", user, serde_json::to_value(auth))?))
    }

    fn wrong(&self, message: &str) -> CommandError {
        CommandError::usage(format!("cannot use the kubeconfig {}: {message}", self.path))
    }
}

/// What else than a certificate or a token says who the user is.
fn unsupported(auth: &AuthInfo) -> Option<&'static str> {
    if auth.exec.is_some() {
        Some("a program for its credentials")
    } else if auth.auth_provider.is_some() {
        Some("an auth provider")
    } else if auth.username.is_some() {
        Some("a password")
    } else if auth.impersonate.is_some() {
        Some("impersonation")
    } else {
        None
    }
}

// === impl Entry ===

impl Entry<'_> {
    fn endpoint(&self) -> Result<Endpoint, CommandError> {
        let server = self.keys["server"].as_str().unwrap_or_default();
        server.parse().map_err(|error| self.lacks("a server that can be used").because(error))
    }

    fn ca(&self) -> Result<String, CommandError> {
        if self.keys["insecure-skip-tls-verify"] == true {
            return Err(self.lacks("a certificate authority (insecure-skip-tls-verify is not supported)"));
        }
        self.pem("certificate-authority")?.ok_or_else(|| self.lacks("a certificate authority"))
    }

    fn identity(&self) -> Result<ClientIdentity, CommandError> {
        if let (Some(certificate), Some(key)) = (self.pem("client-certificate")?, self.pem("client-key")?) {
            return Ok(ClientIdentity::certificate(self.name, certificate, key));
        }
        let token = match self.keys["token"].as_str() {
            Some(token) => token.to_owned(),
            None => match self.keys["tokenFile"].as_str() {
                Some(path) => text(Path::new(path))?,
                None => return Err(self.lacks("a certificate with its key, or a token")),
            },
        };
        Ok(ClientIdentity::token(self.name, token))
    }

    /// What stands in `KEY-data`, or else in the file that `KEY` names.
    fn pem(&self, key: &str) -> Result<Option<String>, CommandError> {
        let data = &self.keys[format!("{key}-data")];
        if data.is_string() {
            let bytes: Result<ByteString, _> = serde_json::from_value(data.clone());
            let pem = bytes.ok().and_then(|ByteString(bytes)| String::from_utf8(bytes).ok());
            return pem.map(Some).ok_or_else(|| self.lacks(&format!("a {key}-data that is PEM in base64")));
        }
        self.keys[key].as_str().map(|path| text(Path::new(path))).transpose()
    }

    fn lacks(&self, what: &str) -> CommandError {
        self.config.wrong(&format!("its {} {:?} has not got {what}", self.what, self.name))
    }
}

#[cfg(test)]
mod tests {
    use spangate_cluster::{Access as Made, Pki};

    use super::*;

    fn kubeconfig(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn by(path: &Path, context: Option<&str>, unprivileged: Option<&str>) -> Result<Access, CommandError> {
        let (context, unprivileged) = (context.map(str::to_owned), unprivileged.map(str::to_owned));
        Access::read(&Reach::Kubeconfig { path: path.to_owned(), context, unprivileged })
    }

    #[test]
    fn the_kubeconfig_of_a_local_control_plane_has_both_users() {
        let pki = Pki::generate().unwrap();
        let (_dir, path) = kubeconfig(&Made::new("https://127.0.0.1:6443".to_owned(), &pki).kubeconfig());
        let access = by(&path, None, Some(spangate_cluster::pki::USER)).unwrap();
        assert_eq!(access.endpoint.to_string(), "127.0.0.1:6443");
        assert_eq!(access.ca_pem, pki.ca_pem);
        let unprivileged = access.unprivileged.unwrap();
        assert_eq!(access.admin.user, spangate_cluster::pki::ADMIN);
        assert_eq!(unprivileged.user, spangate_cluster::pki::USER);
        for (identity, of) in [(access.admin, &pki.admin), (unprivileged, &pki.user)] {
            let Credential::Certificate { certificate_pem, key_pem } = identity.credential else {
                panic!("{identity:?}")
            };
            assert_eq!((certificate_pem, key_pem), (of.cert_pem.clone(), of.key_pem.clone()));
        }
    }

    #[test]
    fn files_beside_a_kubeconfig_are_found() {
        let (dir, path) = kubeconfig(
            r#"{"current-context": "a", "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": "https://x:1", "certificate-authority": "ca.pem"}}],
                "users": [{"name": "u", "user": {"tokenFile": "token"}}]}"#,
        );
        let told = by(&path, None, None).unwrap_err().to_string();
        assert!(told.contains("ca.pem"), "{told}");
        fs::write(dir.path().join("ca.pem"), "PEM").unwrap();
        fs::write(dir.path().join("token"), "secret").unwrap();
        let access = by(&path, Some("a"), None).unwrap();
        assert_eq!(access.ca_pem, "PEM");
        assert!(matches!(access.admin.credential, Credential::Token(token) if token == "secret"));
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        let config = |cluster: &str, user: &str| {
            format!(
                r#"{{"contexts": [{{"name": "a", "context": {{"cluster": "c", "user": "u"}}}}],
                    "clusters": [{{"name": "c", "cluster": {cluster}}}], "users": [{{"name": "u", "user": {user}}}]}}"#
            )
        };
        let good = r#"{"server": "https://x:1", "certificate-authority-data": "UEVN"}"#;
        for (cluster, user, context, message) in [
            (good, r#"{"token": "t"}"#, None, "it has no current context"),
            (good, r#"{"token": "t"}"#, Some("b"), "it has no context \"b\""),
            (good, "{}", Some("a"), "its user \"u\" has not got a certificate with its key, or a token"),
            (good, r#"{"username": "x", "password": "y"}"#, Some("a"), "needs a password"),
            (
                r#"{"server": "https://x:1"}"#,
                r#"{"token": "t"}"#,
                Some("a"),
                "has not got a certificate authority",
            ),
            (
                r#"{"server": "http://x:1"}"#,
                r#"{"token": "t"}"#,
                Some("a"),
                "has not got a server that can be used",
            ),
        ] {
            let (_dir, path) = kubeconfig(&config(cluster, user));
            let told = by(&path, context, None).unwrap_err().to_string();
            assert!(told.contains(message), "{told}");
        }
        let (_dir, path) = kubeconfig(&config(good, r#"{"token": "t"}"#));
        assert!(by(&path, Some("a"), None).is_ok());
    }
}
