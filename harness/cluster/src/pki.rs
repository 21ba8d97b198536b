//! The certificates and keys of one run: made anew, used once, readable by their owner only.
//!
//! One authority signs all: the API server's serving certificate, the one of the admission webhooks, and two
//! client certificates. Who the clients are decides what the API server does with their `traceparent`: it
//! follows that of `system:masters`, and of everyone else only records a link
//! (`apiserver/pkg/endpoints/filters/traces.go`).

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::private;

mod etcd;

pub use etcd::EtcdPki;

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// A key or a certificate could not be made.
    #[error("cannot make the {what}")]
    Make {
        /// What was to be made.
        what: &'static str,
        /// The cause.
        #[source]
        source: rcgen::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: check that the run directory is writable and the disk not full", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A certificate with its key, both as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate.
    pub cert_pem: String,
    /// The private key, PKCS #8.
    pub key_pem: String,
}

/// All certificates and keys of a run, as PEM.
#[derive(Clone)]
pub struct Pki {
    /// The authority that signed all others.
    pub ca_pem: String,
    /// The API server's serving certificate.
    pub api_server: Identity,
    /// The serving certificate of webhooks on 127.0.0.1, and where else they are reached.
    pub webhook: Identity,
    /// The client `spangate-admin` of the group `system:masters`: its trace context is followed.
    pub admin: Identity,
    /// The client `spangate-user` of no group: its trace context becomes a link, and RBAC lets it do nothing
    /// beyond what everyone may.
    pub user: Identity,
    /// The key that signs service account tokens, PKCS #8.
    pub service_account_key_pem: String,
    /// The public half of it, which checks tokens. On its own, since the API server does not read public keys
    /// out of PKCS #8 (`client-go/util/keyutil/key.go`).
    pub service_account_public_pem: String,
}

/// Where a certificate and its key lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Where a [`Pki`] lies on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PkiFiles {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The API server's serving certificate.
    pub api_server: IdentityFiles,
    /// The webhooks' serving certificate.
    pub webhook: IdentityFiles,
    /// The privileged client.
    pub admin: IdentityFiles,
    /// The unprivileged client.
    pub user: IdentityFiles,
    /// The key that signs service account tokens.
    pub service_account_key: PathBuf,
    /// The key that checks them.
    pub service_account_public: PathBuf,
}

/// The common name of the privileged client.
pub const ADMIN: &str = "spangate-admin";
/// The common name of the unprivileged client.
pub const USER: &str = "spangate-user";
/// Name of the client in `kubeadm:cluster-admins`, which only kubeadm gives rights to.
pub const CLUSTER_ADMIN: &str = "spangate-cluster-admin";
/// The group whose trace context the API server follows and whom RBAC allows everything.
pub const PRIVILEGED_GROUP: &str = "system:masters";

// === impl Pki ===

impl Pki {
    /// Makes all keys and certificates: ECDSA P-256, valid from yesterday (clocks differ) for a year.
    pub fn generate() -> Result<Self, PkiError> {
        Self::generate_for(&[])
    }

    /// As [`generate`](Self::generate), with webhooks that are reached at the addresses and names `webhooks` too.
    pub fn generate_for(webhooks: &[&str]) -> Result<Self, PkiError> {
        let authority = Authority::generate()?;
        let service_account = key("service account key")?;
        let serving = &[ExtendedKeyUsagePurpose::ServerAuth];
        let client = &[ExtendedKeyUsagePurpose::ClientAuth];
        let api_server_names = [
            "127.0.0.1",
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            // The first address of the service range, which the `kubernetes` service gets.
            "10.0.0.1",
        ];
        Ok(Self {
            api_server: authority.issue(
                "API server certificate",
                "kube-apiserver",
                None,
                &api_server_names,
                serving,
            )?,
            webhook: authority.issue(
                "webhook certificate",
                "spangate-webhook",
                None,
                &[&["127.0.0.1", "localhost"], webhooks].concat(),
                serving,
            )?,
            admin: authority.issue("admin certificate", ADMIN, Some(PRIVILEGED_GROUP), &[], client)?,
            user: authority.issue("user certificate", USER, None, &[], client)?,
            service_account_key_pem: service_account.serialize_pem(),
            service_account_public_pem: service_account.public_key_pem(),
            ca_pem: authority.pem,
        })
    }

    /// Writes every file into `dir` (mode 0700), each with mode 0600.
    pub fn write(&self, dir: &Path) -> Result<PkiFiles, PkiError> {
        let files = PkiFiles::within(dir);
        let at = |path: &Path| {
            let path = path.to_owned();
            |source| PkiError::Write { path, source }
        };
        private::create_dir(dir).map_err(at(dir))?;
        for (path, pem) in [
            (&files.ca, &self.ca_pem),
            (&files.service_account_key, &self.service_account_key_pem),
            (&files.service_account_public, &self.service_account_public_pem),
        ] {
            private::write(path, pem).map_err(at(path))?;
        }
        for (paths, identity) in [
            (&files.api_server, &self.api_server),
            (&files.webhook, &self.webhook),
            (&files.admin, &self.admin),
            (&files.user, &self.user),
        ] {
            private::write(&paths.cert, &identity.cert_pem).map_err(at(&paths.cert))?;
            private::write(&paths.key, &identity.key_pem).map_err(at(&paths.key))?;
        }
        Ok(files)
    }
}

impl std::fmt::Debug for Pki {
    /// Leaves out the keys, so that no log holds them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki").field("ca_pem", &self.ca_pem).finish_non_exhaustive()
    }
}

// === impl PkiFiles ===

impl PkiFiles {
    /// The paths of all files within `dir`.
    pub fn within(dir: &Path) -> Self {
        let identity = |name: &str| IdentityFiles {
            cert: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}-key.pem")),
        };
        Self {
            ca: dir.join("ca.pem"),
            api_server: identity("apiserver"),
            webhook: identity("webhook"),
            admin: identity("admin"),
            user: identity("user"),
            service_account_key: dir.join("service-account-key.pem"),
            service_account_public: dir.join("service-account-public.pem"),
        }
    }
}

// === impl Identity ===

impl std::fmt::Debug for Identity {
    /// Leaves out the key, so that no log holds it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

// === Authority ===

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn generate() -> Result<Self, PkiError> {
        const WHAT: &str = "certificate authority";
        let mut params = params(WHAT, "spangate-ca", None, &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = key(WHAT)?;
        let cert = params.self_signed(&key).map_err(|source| PkiError::Make { what: WHAT, source })?;
        Ok(Self { pem: cert.pem(), issuer: Issuer::new(params, key) })
    }

    fn issue(
        &self,
        what: &'static str,
        name: &str,
        group: Option<&str>,
        hosts: &[&str],
        usage: &[ExtendedKeyUsagePurpose],
    ) -> Result<Identity, PkiError> {
        let mut params = params(what, name, group, hosts)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usage.to_vec();
        params.use_authority_key_identifier_extension = true;
        let key = key(what)?;
        let cert = params.signed_by(&key, &self.issuer).map_err(|source| PkiError::Make { what, source })?;
        Ok(Identity { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }
}

fn key(what: &'static str) -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|source| PkiError::Make { what, source })
}

fn params(
    what: &'static str,
    name: &str,
    group: Option<&str>,
    hosts: &[&str],
) -> Result<CertificateParams, PkiError> {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).map_err(|source| PkiError::Make { what, source })?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        // Kubernetes takes the organization of a client certificate for its group.
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let part = |number: i8| u8::try_from(number).expect("months and days are positive");
    let midnight = |date: Date| date_time_ymd(date.year().into(), part(date.month()), part(date.day()));
    params.not_before = midnight(today.saturating_sub(1.day()));
    params.not_after = midnight(today.saturating_add(1.year()));
    Ok(params)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

    use rustls::{
        RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
        server::WebPkiClientVerifier,
    };

    use super::*;

    fn roots(pki: &Pki) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pki.ca_pem.as_bytes()).unwrap()).unwrap();
        Arc::new(roots)
    }

    fn certificate(identity: &Identity) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(identity.cert_pem.as_bytes()).unwrap()
    }

    #[test]
    fn clients_are_trusted_through_the_authority_and_no_other() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (pki, other) = (Pki::generate().unwrap(), Pki::generate().unwrap());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(&pki), provider).build().unwrap();
        for identity in [&pki.admin, &pki.user] {
            verifier.verify_client_cert(&certificate(identity), &[], UnixTime::now()).unwrap();
        }
        for stranger in [&other.admin, &pki.webhook] {
            assert!(verifier.verify_client_cert(&certificate(stranger), &[], UnixTime::now()).is_err());
        }
    }

    #[test]
    fn servers_are_valid_for_their_names_and_no_others() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pki = Pki::generate().unwrap();
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(roots(&pki), provider.clone())
                .build()
                .unwrap();
        let verify = |identity: &Identity, name: &'static str| {
            use rustls::client::danger::ServerCertVerifier;
            let name = ServerName::try_from(name).unwrap();
            verifier.verify_server_cert(&certificate(identity), &[], &name, &[], UnixTime::now())
        };
        for name in ["127.0.0.1", "localhost", "kubernetes.default.svc"] {
            verify(&pki.api_server, name).unwrap();
        }
        verify(&pki.webhook, "127.0.0.1").unwrap();
        assert!(verify(&pki.webhook, "kubernetes.default.svc").is_err());
        assert!(verify(&pki.admin, "127.0.0.1").is_err());
        // The key belongs to the certificate: rustls compares them.
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate(&pki.webhook)],
                PrivateKeyDer::from_pem_slice(pki.webhook.key_pem.as_bytes()).unwrap(),
            )
            .unwrap();
    }

    #[test]
    fn every_file_is_readable_by_its_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("pki");
        let pki = Pki::generate().unwrap();
        let files = pki.write(&dir).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        let written: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(written.len(), 11);
        for path in written {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        assert_eq!(fs::read_to_string(&files.admin.key).unwrap(), pki.admin.key_pem);
    }

    #[test]
    fn debug_output_holds_no_key() {
        let pki = Pki::generate().unwrap();
        assert!(!format!("{pki:?} {:?}", pki.admin).contains("PRIVATE"));
    }
}
