//! The command line of etcd, by version.

use std::{net::SocketAddr, path::Path};

use spangate_scenario::model::EtcdTracing;

use crate::version::Version;

/// A setting that this etcd has no flag for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdFlagError {
    /// The sampling rate came with 3.5.11; before, etcd records only calls that arrive sampled.
    #[error(
        "etcd {version} cannot sample on its own (it learnt to in 3.5.11): take etcd 3.5.11 or later, or leave out \
         spec.cluster.etcd.tracing.samplingRatePerMillion"
    )]
    NoSamplingRate {
        /// The version that was to be started.
        version: Version,
    },
    /// Tracing came with 3.5.0.
    #[error(
        "etcd {version} has no tracing (it came with 3.5): take etcd 3.5 or later, or leave out spec.cluster.etcd.tracing"
    )]
    NoTracing {
        /// The version that was to be started.
        version: Version,
    },
}

/// Bytes that the backend may grow to.
const QUOTA: u64 = 8 << 30;

/// What the flags are made from.
#[derive(Debug, Clone, Copy)]
pub struct EtcdFlags<'a> {
    /// The version of the binary.
    pub version: Version,
    /// Where etcd keeps its data.
    pub data_dir: &'a Path,
    /// Where clients connect.
    pub client: SocketAddr,
    /// Where peers would connect; there are none, and etcd insists on an address.
    pub peer: SocketAddr,
    /// etcd's own tracing and the receiver (`host:port`, OTLP/gRPC without TLS) that it exports to.
    pub tracing: Option<(&'a EtcdTracing, &'a str)>,
}

// === impl EtcdFlags ===

impl EtcdFlags<'_> {
    /// The arguments of a single member on loopback.
    ///
    /// Durability is not under test: `--unsafe-no-fsync` keeps the disk of the machine out of the
    /// measurement. Heartbeat and election are shortened since a lone member only waits for itself; it saves
    /// half a second at the start and changes no call that an API server makes. The backend may grow to 8 GiB, the most
    /// that etcd advises: an API server compacts every five minutes only, and some hundred thousand writes before
    /// that would fill the 2 GiB of the default and make each further one fail.
    pub fn args(&self) -> Result<Vec<String>, EtcdFlagError> {
        let (client, peer) = (format!("http://{}", self.client), format!("http://{}", self.peer));
        let mut args = vec![
            "--name=spangate".to_owned(),
            format!("--data-dir={}", self.data_dir.display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=spangate={peer}"),
            "--unsafe-no-fsync=true".to_owned(),
            "--heartbeat-interval=10".to_owned(),
            "--election-timeout=100".to_owned(),
            format!("--quota-backend-bytes={QUOTA}"),
        ];
        if let Some((tracing, endpoint)) = self.tracing {
            let flags = tracing_flags(self.version, tracing, endpoint)?;
            args.extend(flags.into_iter().map(|(name, value)| format!("--{name}={value}")));
        }
        Ok(args)
    }
}

/// The flags of etcd's tracing, which exports to `endpoint`; names without dashes.
///
/// They lost their prefix `experimental-` in 3.6, and 3.7 no longer knows the old names.
pub fn tracing_flags(
    version: Version,
    tracing: &EtcdTracing,
    endpoint: &str,
) -> Result<Vec<(String, String)>, EtcdFlagError> {
    if !version.at_least(3, 5) {
        return Err(EtcdFlagError::NoTracing { version });
    }
    let mut flags = vec![
        ("enable-distributed-tracing", "true".to_owned()),
        ("distributed-tracing-address", endpoint.to_owned()),
        ("distributed-tracing-service-name", "etcd".to_owned()),
        ("distributed-tracing-instance-id", "spangate".to_owned()),
    ];
    // Left out, the rate is 0: calls that arrive sampled are recorded, and no others.
    if let Some(rate) = tracing.sampling_rate_per_million {
        if version < Version::new(3, 5, 11) {
            return Err(EtcdFlagError::NoSamplingRate { version });
        }
        flags.push(("distributed-tracing-sampling-rate", rate.get().to_string()));
    }
    let prefix = if version.at_least(3, 6) { "" } else { "experimental-" };
    Ok(flags.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)).collect())
}

#[cfg(test)]
mod tests {
    use spangate_scenario::units::PerMillion;

    use super::*;

    fn args(version: Version, tracing: Option<&EtcdTracing>) -> Result<Vec<String>, EtcdFlagError> {
        EtcdFlags {
            version,
            data_dir: Path::new("run/etcd"),
            client: ([127, 0, 0, 1], 2379).into(),
            peer: ([127, 0, 0, 1], 2380).into(),
            tracing: tracing.map(|tracing| (tracing, "127.0.0.1:4317")),
        }
        .args()
    }

    fn tracing_args(version: Version, rate: Option<u32>) -> Result<Vec<String>, EtcdFlagError> {
        let tracing = EtcdTracing { sampling_rate_per_million: rate.and_then(PerMillion::new) };
        Ok(args(version, Some(&tracing))?.into_iter().filter(|arg| arg.contains("tracing")).collect())
    }

    #[test]
    fn one_member_listens_on_loopback_only() {
        let args = args(Version::new(3, 7, 3), None).unwrap();
        assert!(args.contains(&"--listen-client-urls=http://127.0.0.1:2379".to_owned()));
        assert!(args.contains(&"--initial-cluster=spangate=http://127.0.0.1:2380".to_owned()));
        assert!(!args.iter().any(|arg| arg.contains("tracing")), "{args:?}");
    }

    #[test]
    fn tracing_flags_have_the_names_of_the_version() {
        for (version, prefix) in [
            (Version::new(3, 5, 21), "--experimental-"),
            (Version::new(3, 6, 0), "--"),
            (Version::new(3, 7, 3), "--"),
        ] {
            let wanted = [
                "enable-distributed-tracing=true",
                "distributed-tracing-address=127.0.0.1:4317",
                "distributed-tracing-service-name=etcd",
                "distributed-tracing-instance-id=spangate",
                "distributed-tracing-sampling-rate=500",
            ]
            .map(|flag| format!("{prefix}{flag}"));
            assert_eq!(tracing_args(version, Some(500)).unwrap(), wanted);
        }
    }

    #[test]
    fn what_a_version_cannot_do_is_an_error() {
        assert!(tracing_args(Version::new(3, 5, 10), None).is_ok());
        let error = tracing_args(Version::new(3, 5, 10), Some(1)).unwrap_err();
        assert_eq!(error, EtcdFlagError::NoSamplingRate { version: Version::new(3, 5, 10) });
        let error = tracing_args(Version::new(3, 4, 30), None).unwrap_err();
        assert_eq!(error, EtcdFlagError::NoTracing { version: Version::new(3, 4, 30) });
    }
}
