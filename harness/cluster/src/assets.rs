//! Binaries of a wanted version: found, downloaded or built, in that order.
//!
//! The first hit wins, and [`Source`] says which it was: the path that the scenario names, the directories
//! `$SPANGATE_ASSETS` and `$KUBEBUILDER_ASSETS`, `PATH`, the cache, a download with a pinned checksum, a Go
//! build of a pinned module. Binaries of the environment and of `PATH` are asked for their version, and
//! passed over when it is another.
//!
//! Everything here blocks; an async caller wraps [`Assets::ensure`] in `spawn_blocking`.

mod build;
pub mod catalogue;
mod download;
mod env;
pub(crate) mod lock;
mod version_of;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use self::{
    build::BuildError, catalogue::Catalogue, download::DownloadError, env::AssetsEnv,
    version_of::VersionOfError,
};
use self::{
    catalogue::{Platform, Release},
    lock::Lock,
};
pub(crate) use self::{download::hex, env::path_directories};
use crate::{
    progress::{Event, Progress},
    version::{ParseVersionError, Version, VersionSpec},
};
use spangate_scenario::model;

/// Why a binary could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssetError {
    /// The binary that the scenario names is not usable.
    #[error("{component} at {}, named explicitly, cannot be used", path.display())]
    Explicit {
        /// What it should be.
        component: Component,
        /// The path that the scenario names.
        path: PathBuf,
        /// The cause.
        #[source]
        source: VersionOfError,
    },
    /// The catalogue does not know the version, and it was found nowhere else.
    #[error(
        "no {component} {spec} was found, and the catalogue knows only {known}: put the binary on PATH or into \
         $SPANGATE_ASSETS, or name it in spec.cluster.binaries{}",
        notes(passed_over)
    )]
    Unknown {
        /// What was wanted.
        component: Component,
        /// The wanted version.
        spec: VersionSpec,
        /// The versions that the catalogue knows.
        known: String,
        /// Binaries that were found and not taken, and why.
        passed_over: Vec<String>,
    },
    /// There is neither a download that works nor a recipe to build.
    #[error(
        "{component} {version} cannot be downloaded ({why}), and there is no recipe to build it: put the binary on \
         PATH or into $SPANGATE_ASSETS, or name it in spec.cluster.binaries{}",
        notes(passed_over)
    )]
    Unavailable {
        /// What was wanted.
        component: Component,
        /// Its version.
        version: Version,
        /// Why it was not downloaded.
        why: String,
        /// Binaries that were found and not taken, and why.
        passed_over: Vec<String>,
    },
    /// The build failed.
    #[error("{component} {version} cannot be built{}", notes(passed_over))]
    Build {
        /// What was wanted.
        component: Component,
        /// Its version.
        version: Version,
        /// Binaries that were found and not taken, and why.
        passed_over: Vec<String>,
        /// The cause.
        #[source]
        source: BuildError,
    },
    /// There is no place for a cache.
    #[error("there is no directory for downloaded and built binaries: set HOME or XDG_CACHE_HOME")]
    NoCache,
    /// The cache cannot be written.
    #[error("cannot use the cache at {}: check that it is writable and the disk not full", path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A program that scenarios start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// The Kubernetes API server.
    KubeApiserver,
    /// Its store.
    Etcd,
    /// The OpenTelemetry Collector.
    Otelcol,
    /// The command line of kind.
    Kind,
    /// A store of traces.
    Jaeger,
    /// A store of metrics.
    Prometheus,
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The program.
    pub component: Component,
    /// Its version. Not compared when `path` is given: the user's own choice is taken as it is.
    pub spec: VersionSpec,
    /// The binary that the user names.
    pub path: Option<PathBuf>,
}

/// Where a binary came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Source {
    /// The path that the scenario names.
    Explicit,
    /// The directory `$SPANGATE_ASSETS`.
    SpangateAssets,
    /// The directory `$KUBEBUILDER_ASSETS`.
    KubebuilderAssets,
    /// A directory on `PATH`.
    Path,
    /// The cache of earlier downloads and builds.
    Cache,
    /// A download, just now.
    Download,
    /// A Go build, just now.
    Build,
}

/// A binary that is at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The program.
    pub component: Component,
    /// The version that it says it has.
    pub version: Version,
    /// The binary.
    pub path: PathBuf,
    /// Where it came from.
    pub source: Source,
}

/// A release of the catalogue, and where it is at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// The program.
    pub component: Component,
    /// Its version.
    pub version: Version,
    /// Whether it is taken when no version is named.
    pub default: bool,
    /// Whether a checksum is pinned for this machine, so that it can be downloaded.
    pub downloadable: bool,
    /// Whether there is a recipe to build it.
    pub buildable: bool,
    /// The binary, if it is at hand.
    pub found: Option<Found>,
}

/// Finds and fetches binaries.
#[derive(Debug, Clone)]
pub struct Assets {
    env: AssetsEnv,
    catalogue: Catalogue,
    platform: Platform,
}

// === impl Assets ===

impl Assets {
    /// Looks in the places of `env`, and fetches what the built-in catalogue knows.
    pub fn new(env: AssetsEnv) -> Self {
        Self::with_catalogue(env, Catalogue::builtin())
    }

    /// Looks in the places of `env`, and fetches what `catalogue` knows.
    pub fn with_catalogue(env: AssetsEnv, catalogue: Catalogue) -> Self {
        Self { env, catalogue, platform: Platform::HOST }
    }

    /// The catalogue of what can be fetched.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The kube-apiserver that a scenario wants.
    pub fn wanted_kube_apiserver(&self, cluster: &model::Cluster) -> Result<Wanted, ParseVersionError> {
        Ok(Wanted {
            component: Component::KubeApiserver,
            spec: cluster.kubernetes.parse()?,
            path: cluster.binaries.kube_apiserver.clone(),
        })
    }

    /// The etcd that a scenario wants: the version that it names, or any patch of the minor that goes with
    /// `kubernetes`.
    pub fn wanted_etcd(
        &self,
        cluster: &model::Cluster,
        kubernetes: Version,
    ) -> Result<Wanted, ParseVersionError> {
        let spec = match &cluster.etcd.version {
            Some(version) => version.parse()?,
            None => self
                .catalogue
                .etcd_for(kubernetes)
                .or_else(|| self.catalogue.default_version(Component::Etcd))
                .map_or(VersionSpec { major: 3, minor: 5, patch: None }, Version::any_patch),
        };
        Ok(Wanted { component: Component::Etcd, spec, path: cluster.binaries.etcd.clone() })
    }

    /// The kind that a scenario wants.
    pub fn wanted_kind(&self, cluster: &model::Cluster) -> Wanted {
        Wanted { path: cluster.binaries.kind.clone(), ..self.wanted_default(Component::Kind) }
    }

    /// What is wanted of a component where nobody says more: any patch of the minor that is known to work.
    ///
    /// # Panics
    ///
    /// Never: a test reads the catalogue, which has one of each.
    pub fn wanted_default(&self, component: Component) -> Wanted {
        let version = self.catalogue.default_version(component).expect("the catalogue has one of each");
        Wanted { component, spec: version.any_patch(), path: None }
    }

    /// Where what is fetched and built is kept.
    pub(crate) fn env(&self) -> &AssetsEnv {
        &self.env
    }

    /// Finds a binary that is on this machine already. Fetches nothing.
    pub fn locate(&self, wanted: &Wanted) -> Option<Found> {
        self.search(wanted, &()).ok()?.0
    }

    /// Finds a binary, or else downloads or builds it into the cache.
    pub fn ensure(&self, wanted: &Wanted, progress: &dyn Progress) -> Result<Found, AssetError> {
        progress.event(Event::Looking { component: wanted.component, spec: wanted.spec });
        let (found, passed_over) = self.search(wanted, progress)?;
        let found = found.map_or_else(|| self.fetch(wanted, passed_over, progress), Ok)?;
        progress.event(Event::Done(found.clone()));
        Ok(found)
    }

    /// Builds a binary from its Go module into the cache, whether or not one is at hand.
    pub fn build(&self, wanted: &Wanted, progress: &dyn Progress) -> Result<Found, AssetError> {
        let release = self.release(wanted, &[])?;
        let (_lock, path) = self.lock(release, progress)?;
        let found = self.compile(release, path, "there is no recipe to build it", Vec::new(), progress)?;
        progress.event(Event::Done(found.clone()));
        Ok(found)
    }

    /// Every release of the catalogue, and where it is at hand.
    pub fn list(&self) -> Vec<Asset> {
        // Asked once each, and not once for every release.
        let at_hand: Vec<Found> = Component::ALL
            .into_iter()
            .flat_map(|component| {
                self.candidates(component).filter_map(move |(source, path, version)| {
                    Some(Found { component, version: version.ok()?, path, source })
                })
            })
            .collect();
        let asset = |release: &Release| {
            let Release { component, version, .. } = *release;
            let download = release.download.as_ref();
            Asset {
                component,
                version,
                default: self.catalogue.default_version(component) == Some(version),
                downloadable: download
                    .and_then(|member| self.catalogue.archive(member, self.platform))
                    .is_some(),
                buildable: release.build.is_some(),
                found: at_hand
                    .iter()
                    .find(|found| (found.component, found.version) == (component, version))
                    .cloned()
                    .or_else(|| self.cached(release)),
            }
        };
        self.catalogue.releases().iter().map(asset).collect()
    }

    /// Looks in every place that needs no network, and notes what was passed over.
    fn search(
        &self,
        wanted: &Wanted,
        progress: &dyn Progress,
    ) -> Result<(Option<Found>, Vec<String>), AssetError> {
        let Wanted { component, spec, .. } = *wanted;
        if let Some(path) = &wanted.path {
            let version = version_of::ask(path).map_err(|source| AssetError::Explicit {
                component,
                path: path.clone(),
                source,
            })?;
            let found = Found { component, version, path: path.clone(), source: Source::Explicit };
            return Ok((Some(found), Vec::new()));
        }
        let mut passed_over = Vec::new();
        for (source, path, version) in self.candidates(component) {
            let why = match version {
                Ok(version) if spec.matches(version) => {
                    return Ok((Some(Found { component, version, path, source }), passed_over));
                }
                Ok(version) => format!("it is version {version}, and {spec} is wanted"),
                Err(error) => full_message(&error),
            };
            passed_over.push(format!("{} ({source}): {why}", path.display()));
            progress.event(Event::PassedOver { path, why });
        }
        let cached = self.catalogue.resolve(component, spec).and_then(|release| self.cached(release));
        Ok((cached, passed_over))
    }

    /// The binaries of the environment's directories, in order, each asked for its version when it is reached.
    fn candidates(
        &self,
        component: Component,
    ) -> impl Iterator<Item = (Source, PathBuf, Result<Version, VersionOfError>)> {
        let binaries = self.env.directories().flat_map(move |(source, dir)| {
            component.names().iter().map(move |name| (source, dir.join(name)))
        });
        binaries.filter(|(_, path)| path.is_file()).map(|(source, path)| {
            let version = version_of::ask(&path);
            (source, path, version)
        })
    }

    /// The binary of `release` in the cache. It is trusted: it was checked before it got there.
    fn cached(&self, release: &Release) -> Option<Found> {
        let Release { component, version, .. } = *release;
        let path = self.cache_dir(release)?.join(component.binary());
        path.is_file().then_some(Found { component, version, path, source: Source::Cache })
    }

    /// Where `release` is cached on this platform.
    fn cache_dir(&self, release: &Release) -> Option<PathBuf> {
        let cache = self.env.cache.as_ref()?;
        let version = release.version.to_string();
        Some(cache.join(release.component.binary()).join(version).join(self.platform.to_string()))
    }

    fn fetch(
        &self,
        wanted: &Wanted,
        passed_over: Vec<String>,
        progress: &dyn Progress,
    ) -> Result<Found, AssetError> {
        let release = self.release(wanted, &passed_over)?;
        let Release { component, version, .. } = *release;
        let (_lock, path) = self.lock(release, progress)?;
        // Whoever held the lock before may have put it there.
        if let Some(found) = self.cached(release) {
            return Ok(found);
        }
        match self.download(release, &path, progress) {
            Ok(()) => Ok(Found { component, version, path, source: Source::Download }),
            Err(why) => self.compile(release, path, &why, passed_over, progress),
        }
    }

    /// The release of the catalogue that is wanted.
    fn release(&self, wanted: &Wanted, passed_over: &[String]) -> Result<&Release, AssetError> {
        let Wanted { component, spec, .. } = *wanted;
        self.catalogue.resolve(component, spec).ok_or_else(|| {
            let known: Vec<String> =
                self.catalogue.versions(component).iter().map(Version::to_string).collect();
            AssetError::Unknown {
                component,
                spec,
                known: known.join(", "),
                passed_over: passed_over.to_vec(),
            }
        })
    }

    /// Keeps other processes from fetching `release`; gives the place for its binary too.
    fn lock(&self, release: &Release, progress: &dyn Progress) -> Result<(Lock, PathBuf), AssetError> {
        let Release { component, version, .. } = *release;
        let dir = self.cache_dir(release).ok_or(AssetError::NoCache)?;
        let at_dir = |source| AssetError::Cache { path: dir.clone(), source };
        fs::create_dir_all(&dir).map_err(at_dir)?;
        let waiting = || progress.event(Event::Waiting { component, version });
        let lock = Lock::take(&dir.join(".lock"), waiting).map_err(at_dir)?;
        remove_leftovers(&dir).map_err(at_dir)?;
        Ok((lock, dir.join(component.binary())))
    }

    /// Builds `release` to `path`; `why` says why it comes to that.
    fn compile(
        &self,
        release: &Release,
        path: PathBuf,
        why: &str,
        passed_over: Vec<String>,
        progress: &dyn Progress,
    ) -> Result<Found, AssetError> {
        let Release { component, version, .. } = *release;
        let Some(recipe) = &release.build else {
            return Err(AssetError::Unavailable { component, version, why: why.to_owned(), passed_over });
        };
        let module = self.catalogue.module(recipe);
        build::Build { release, recipe, module, platform: self.platform, search: self.env.path.as_deref() }
            .run(&path, progress)
            .map_err(|source| AssetError::Build { component, version, passed_over, source })?;
        Ok(Found { component, version, path, source: Source::Build })
    }

    /// Downloads `release` to `path`, or says why not. A failure here is no error yet: a build may follow.
    fn download(&self, release: &Release, path: &Path, progress: &dyn Progress) -> Result<(), String> {
        let Release { component, version, .. } = *release;
        let pinned = release
            .download
            .as_ref()
            .and_then(|member| Some((member, self.catalogue.archive(member, self.platform)?)));
        let Some((member, (url, sha512))) = pinned else {
            let build = if release.build.is_some() { "; building from source" } else { "" };
            let why = format!("no checksum is pinned for {component} {version} on {}", self.platform);
            progress.event(Event::DownloadSkipped { component, version, why: format!("{why}{build}") });
            return Err(why);
        };
        let arrived = |done, total| progress.event(Event::Downloading { component, version, done, total });
        download::Download { url: &url, sha512, member: &member.member, proxy: self.env.proxy_from_process }
            .run(path, &arrived)
            .map_err(|error| {
                let why = full_message(&error);
                progress.event(Event::DownloadFailed { component, version, why: why.clone() });
                why
            })
    }
}

// === impl Component ===

impl Component {
    /// Every component.
    pub const ALL: [Self; 6] =
        [Self::KubeApiserver, Self::Etcd, Self::Otelcol, Self::Kind, Self::Jaeger, Self::Prometheus];

    /// The name of its binary.
    pub const fn binary(self) -> &'static str {
        match self {
            Self::KubeApiserver => "kube-apiserver",
            Self::Etcd => "etcd",
            Self::Otelcol => "otelcol",
            Self::Kind => "kind",
            Self::Jaeger => "jaeger",
            Self::Prometheus => "prometheus",
        }
    }

    /// The names under which it is looked for outside of the cache, the better ones first.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::KubeApiserver => &["kube-apiserver"],
            Self::Etcd => &["etcd"],
            // The distribution that is only called `otelcol` has no tail sampling.
            Self::Otelcol => &["otelcol-contrib", "otelcol"],
            Self::Kind => &["kind"],
            Self::Jaeger => &["jaeger"],
            Self::Prometheus => &["prometheus"],
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.binary())
    }
}

// === impl Source ===

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Explicit => "named explicitly",
            Self::SpangateAssets => "$SPANGATE_ASSETS",
            Self::KubebuilderAssets => "$KUBEBUILDER_ASSETS",
            Self::Path => "PATH",
            Self::Cache => "cache",
            Self::Download => "downloaded",
            Self::Build => "built with go",
        })
    }
}

// === impl Found ===

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {} ({})", self.component, self.version, self.path.display(), self.source)
    }
}

/// Deletes what a fetcher that was killed has left. Only for the holder of the lock.
fn remove_leftovers(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let is = |prefix: &str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
        if is(build::TEMPORARY) {
            fs::remove_dir_all(entry.path())?;
        } else if is(download::TEMPORARY) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// What is added to an error message about binaries that were found and not taken.
fn notes(passed_over: &[String]) -> String {
    passed_over.iter().fold(String::new(), |text, note| text + "\npassed over " + note)
}

/// A message with all its causes.
fn full_message(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}

#[cfg(test)]
mod tests;
