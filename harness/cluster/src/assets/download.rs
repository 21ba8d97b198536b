//! Downloads one file out of an archive whose checksum is pinned.

use std::{
    fs::Permissions,
    io::{self, Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use flate2::read::GzDecoder;
use tempfile::NamedTempFile;

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// The server could not be reached, or answered with an error.
    #[error("cannot fetch {url}")]
    Fetch {
        /// The archive's address.
        url: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The archive is not the one that was pinned.
    #[error("{url} has the sha512 {got}, and {wanted} is pinned; it was thrown away")]
    Checksum {
        /// The archive's address.
        url: String,
        /// The pinned checksum.
        wanted: String,
        /// The checksum of what arrived.
        got: String,
    },
    /// The archive does not hold the file.
    #[error("{url} holds no file {member}")]
    Member {
        /// The archive's address.
        url: String,
        /// The path within the archive.
        member: String,
    },
    /// A file could not be written, or the archive not be unpacked.
    #[error("cannot unpack {url} into {}", path.display())]
    Unpack {
        /// The archive's address.
        url: String,
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// How the name of a file begins that is being unpacked.
pub(super) const TEMPORARY: &str = ".download-";

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(15);
/// How long the server may take to answer, and then between any two pieces of the body.
const ANSWER: Duration = Duration::from_secs(30);
/// No archive of ours is this large; a server that sends more is wrong.
const LARGEST: u64 = 1 << 30;
/// Progress is reported this often, in bytes.
const STEP: u64 = 1 << 20;

/// What to download.
pub(super) struct Download<'a> {
    /// The archive's address: a gzipped tar file.
    pub(super) url: &'a str,
    /// Its pinned checksum, in hexadecimal.
    pub(super) sha512: &'a str,
    /// The file within it.
    pub(super) member: &'a str,
    /// Whether to go through the proxy that the environment names.
    pub(super) proxy: bool,
}

// === impl Download ===

impl Download<'_> {
    /// Downloads the file to `path`, executable. Nothing is at `path` unless all of it is, and is right.
    ///
    /// `arrived` is told the bytes so far and, if the server said so, in all.
    pub(super) fn run(&self, path: &Path, arrived: &dyn Fn(u64, Option<u64>)) -> Result<(), DownloadError> {
        let dir = path.parent().unwrap_or(Path::new("."));
        let unpack =
            |source| DownloadError::Unpack { url: self.url.to_owned(), path: dir.to_owned(), source };
        // Nameless, so that nothing is left behind however this ends.
        let mut archive = tempfile::tempfile_in(dir).map_err(unpack)?;
        self.fetch(&mut archive, arrived)?;
        archive.rewind().map_err(unpack)?;
        let mut binary = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(dir).map_err(unpack)?;
        if !self.extract(archive, &mut binary).map_err(unpack)? {
            return Err(DownloadError::Member { url: self.url.to_owned(), member: self.member.to_owned() });
        }
        binary.as_file().set_permissions(Permissions::from_mode(0o755)).map_err(unpack)?;
        binary.as_file().sync_all().map_err(unpack)?;
        binary.persist(path).map_err(|error| unpack(error.error))?;
        Ok(())
    }

    /// Fetches the archive and compares its checksum.
    fn fetch(
        &self,
        archive: &mut impl Write,
        arrived: &dyn Fn(u64, Option<u64>),
    ) -> Result<(), DownloadError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| DownloadError::Fetch {
            url: self.url.to_owned(),
            source,
        };
        let mut response = self.agent().get(self.url).call().map_err(|error| failed(error.into()))?;
        let total = response.body().content_length();
        let mut body = response.body_mut().with_config().limit(LARGEST).reader();
        let mut sum = ring::digest::Context::new(&ring::digest::SHA512);
        let mut buffer = vec![0; 64 << 10];
        let (mut done, mut reported) = (0, 0);
        arrived(done, total);
        loop {
            let count = body.read(&mut buffer).map_err(|error| failed(error.into()))?;
            if count == 0 {
                break;
            }
            sum.update(&buffer[..count]);
            archive.write_all(&buffer[..count]).map_err(|error| failed(error.into()))?;
            done += count as u64;
            if done - reported >= STEP {
                reported = done;
                arrived(done, total);
            }
        }
        arrived(done, total);
        let got = hex(sum.finish().as_ref());
        if !got.eq_ignore_ascii_case(self.sha512) {
            return Err(DownloadError::Checksum {
                url: self.url.to_owned(),
                wanted: self.sha512.to_owned(),
                got,
            });
        }
        Ok(())
    }

    fn agent(&self) -> ureq::Agent {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ureq::tls::TlsConfig::builder()
            .provider(ureq::tls::TlsProvider::Rustls)
            .root_certs(ureq::tls::RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        ureq::Agent::config_builder()
            .tls_config(tls)
            .proxy(self.proxy.then(ureq::Proxy::try_from_env).flatten())
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_per_read(Some(ANSWER))
            .user_agent(concat!("spangate/", env!("CARGO_PKG_VERSION")))
            .build()
            .into()
    }

    /// Writes the member to `binary`; `false` when the archive has no such member.
    fn extract(&self, archive: impl Read, binary: &mut NamedTempFile) -> io::Result<bool> {
        let mut archive = tar::Archive::new(GzDecoder::new(archive));
        for entry in archive.entries()? {
            let mut entry = entry?;
            // Some archives were made with absolute or `./` names.
            let name = entry.path()?;
            let name = name.strip_prefix("/").or_else(|_| name.strip_prefix("./")).unwrap_or(&name);
            if name == Path::new(self.member) && entry.header().entry_type().is_file() {
                io::copy(&mut entry, binary)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
