//! The catalogue of releases (`fixtures/assets.toml`), compiled in together with the module files it names.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

use super::Component;
use crate::version::{Version, VersionSpec};

/// A catalogue that does not hold together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// The text is not the TOML that is wanted.
    #[error("the catalogue of binaries cannot be read")]
    Syntax(#[from] toml::de::Error),
    /// A name leads nowhere.
    #[error("the catalogue names the {kind} {name:?} for {component} {version}, and has none")]
    Dangling {
        /// `archive` or `module`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The release that names it.
        component: Component,
        /// Its version.
        version: Version,
    },
}

/// All releases that can be fetched.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    defaults: BTreeMap<Component, Version>,
    #[serde(rename = "release")]
    releases: Vec<Release>,
    #[serde(rename = "archive", default)]
    archives: Vec<Archive>,
    #[serde(skip)]
    modules: Vec<Module>,
}

/// One version of one component.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// What it is.
    pub component: Component,
    /// Its version.
    pub version: Version,
    /// For kube-apiserver: the etcd that goes with it.
    pub etcd: Option<Version>,
    /// How to download it, where a checksum is pinned.
    pub download: Option<Member>,
    /// How to build it.
    pub build: Option<Recipe>,
}

/// A file within an archive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The archive's name in the catalogue.
    pub archive: String,
    /// The path within the archive.
    pub member: String,
}

/// A gzipped tar archive with pinned checksums.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// What releases call it.
    pub name: String,
    /// Where it lies; `{os}` and `{arch}` stand for the platform's names.
    pub url: String,
    /// SHA-512 in hexadecimal, by platform (`linux-amd64`).
    pub sha512: BTreeMap<String, String>,
}

/// How to build a binary with Go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The pinned module's name.
    pub module: String,
    /// The package to build.
    pub package: String,
    /// Build tags, such as those that leave out what is not needed.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Linker flags, such as those that write the version.
    #[serde(default)]
    pub ldflags: Vec<String>,
    /// Arguments of `go` that write sources into the module before the build; none where it needs no more.
    #[serde(default)]
    pub generate: Vec<String>,
}

/// The files of a pinned Go module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// What recipes call it.
    pub name: String,
    /// Names and contents of its files; `go.mod` is one.
    pub files: Vec<(String, String)>,
}

/// An operating system and a processor, in Go's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: &'static str,
    /// `amd64`, `arm64`.
    pub arch: &'static str,
}

/// The files of a pinned module, compiled in.
macro_rules! module {
    ($name:literal $(, $more:literal)*) => {
        Module {
            name: $name.to_owned(),
            files: [
                ("go.mod", include_str!(concat!("../../../../fixtures/modules/", $name, "/go.mod"))),
                ("go.sum", include_str!(concat!("../../../../fixtures/modules/", $name, "/go.sum"))),
                $(($more, include_str!(concat!("../../../../fixtures/modules/", $name, "/", $more))),)*
            ]
            .map(|(file, content)| (file.to_owned(), content.to_owned()))
            .to_vec(),
        }
    };
}

// === impl Catalogue ===

impl Catalogue {
    /// The catalogue that was compiled in.
    ///
    /// # Panics
    ///
    /// If it does not hold together, which a test rules out.
    pub fn builtin() -> Self {
        let modules = vec![
            module!("kube-apiserver-1.37.2"),
            module!("kube-apiserver-1.34.4"),
            module!("etcd-3.7.3"),
            module!("otelcol-0.161.0", "manifest.yaml"),
            module!("kind-0.33.0"),
            module!("jaeger-2.13.0"),
            module!("prometheus-3.15.1"),
        ];
        Self::parse(include_str!("../../../../fixtures/assets.toml"), modules)
            .expect("a test reads the catalogue that is compiled in")
    }

    /// Reads a catalogue and checks that every name in it leads somewhere.
    pub fn parse(text: &str, modules: Vec<Module>) -> Result<Self, CatalogueError> {
        let catalogue = Self { modules, ..toml::from_str(text)? };
        for release in &catalogue.releases {
            let dangling = |kind, name: &str| CatalogueError::Dangling {
                kind,
                name: name.to_owned(),
                component: release.component,
                version: release.version,
            };
            if let Some(Member { archive, .. }) = &release.download
                && !catalogue.archives.iter().any(|known| known.name == *archive)
            {
                return Err(dangling("archive", archive));
            }
            if let Some(Recipe { module, .. }) = &release.build
                && !catalogue.modules.iter().any(|known| known.name == *module)
            {
                return Err(dangling("module", module));
            }
        }
        Ok(catalogue)
    }

    /// All releases, in the catalogue's order.
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }

    /// The release that `spec` means: the newest that matches.
    pub fn resolve(&self, component: Component, spec: VersionSpec) -> Option<&Release> {
        self.releases
            .iter()
            .filter(|release| release.component == component && spec.matches(release.version))
            .max_by_key(|release| release.version)
    }

    /// The version that is taken when none is named.
    pub fn default_version(&self, component: Component) -> Option<Version> {
        self.defaults.get(&component).copied()
    }

    /// The etcd that goes with a Kubernetes version: that of the same minor, or else of the nearest older
    /// minor, or else of the oldest that is known.
    pub fn etcd_for(&self, kubernetes: Version) -> Option<Version> {
        let known = || {
            self.releases
                .iter()
                .filter(|release| release.component == Component::KubeApiserver)
                .filter_map(|release| Some((release.version, release.etcd?)))
        };
        let same_or_older = known().filter(|(version, _)| version.any_patch() <= kubernetes.any_patch());
        let chosen = same_or_older.max_by_key(|(version, _)| *version).or_else(|| known().min());
        chosen.map(|(_, etcd)| etcd)
    }

    /// The archive of a download, and its checksum for `platform` where one is pinned.
    pub(super) fn archive(&self, member: &Member, platform: Platform) -> Option<(String, &str)> {
        let archive = self.archives.iter().find(|archive| archive.name == member.archive)?;
        let sha512 = archive.sha512.get(&platform.to_string())?;
        let url = archive.url.replace("{os}", platform.os).replace("{arch}", platform.arch);
        Some((url, sha512))
    }

    /// The module of a recipe.
    pub(super) fn module(&self, recipe: &Recipe) -> &Module {
        let module = self.modules.iter().find(|module| module.name == recipe.module);
        module.expect("`parse` checked that every recipe's module is there")
    }

    /// The versions of a component, newest first, for error messages.
    pub(super) fn versions(&self, component: Component) -> Vec<Version> {
        let mut versions: Vec<Version> = self
            .releases
            .iter()
            .filter_map(|release| (release.component == component).then_some(release.version))
            .collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        versions
    }
}

// === impl Module ===

impl Module {
    /// The Go version that `go.mod` asks for.
    pub fn go_version(&self) -> Option<&str> {
        let (_, go_mod) = self.files.iter().find(|(name, _)| name == "go.mod")?;
        go_mod.lines().find_map(|line| line.strip_prefix("go ")).map(str::trim)
    }
}

// === impl Platform ===

impl Platform {
    /// The platform of this program.
    pub const HOST: Self = Self {
        os: std::env::consts::OS,
        arch: match std::env::consts::ARCH.as_bytes() {
            b"x86_64" => "amd64",
            b"aarch64" => "arm64",
            _ => std::env::consts::ARCH,
        },
    };
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.os, self.arch)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_builtin_catalogue_holds_together() {
        let catalogue = Catalogue::builtin();
        let mut seen = BTreeSet::new();
        for release in catalogue.releases() {
            assert!(seen.insert((release.component, release.version)), "{release:?} is listed twice");
            assert!(release.download.is_some() || release.build.is_some(), "{release:?} cannot be had");
            assert_eq!(release.etcd.is_some(), release.component == Component::KubeApiserver, "{release:?}");
            if let Some(etcd) = release.etcd {
                assert!(catalogue.resolve(Component::Etcd, etcd.into()).is_some(), "etcd {etcd}");
            }
        }
        for component in Component::ALL {
            let version = catalogue.default_version(component).unwrap();
            assert!(catalogue.resolve(component, version.into()).is_some(), "{component} {version}");
        }
    }

    #[test]
    fn every_checksum_is_a_sha512_and_every_url_names_the_platform() {
        for archive in Catalogue::builtin().archives {
            for sum in archive.sha512.values() {
                assert!(sum.len() == 128 && sum.bytes().all(|b| b.is_ascii_hexdigit()), "{}", archive.name);
            }
            assert!(
                archive.url.starts_with("https://") && archive.url.contains("{os}-{arch}"),
                "{}",
                archive.url
            );
        }
    }

    #[test]
    fn pinned_modules_pin_the_release_and_every_sum() {
        let catalogue = Catalogue::builtin();
        for release in catalogue.releases() {
            let Some(recipe) = &release.build else { continue };
            let module = catalogue.module(recipe);
            let file = |name| &module.files.iter().find(|(file, _)| file == name).unwrap().1;
            let version = release.version;
            let (package, version) = match release.component {
                Component::KubeApiserver => ("k8s.io/kubernetes", version.to_string()),
                Component::Etcd | Component::Kind => (recipe.package.as_str(), version.to_string()),
                // The package is our own; this one gives the version.
                Component::Otelcol => ("go.opentelemetry.io/collector/otelcol", version.to_string()),
                // These two have modules with versions of their own.
                Component::Jaeger => {
                    ("github.com/jaegertracing/jaeger", format!("1.{}.{}", version.minor + 63, version.patch))
                }
                Component::Prometheus => {
                    let minor = 100 * version.major + version.minor;
                    ("github.com/prometheus/prometheus", format!("0.{minor}.{}", version.patch))
                }
            };
            assert!(file("go.mod").contains(&format!("{package} v{version}")), "{package}");
            assert!(file("go.sum").contains(&format!("{package} v{version} h1:")), "{package}");
            assert!(module.go_version().is_some());
        }
    }

    #[test]
    fn a_minor_means_its_newest_patch() {
        let catalogue = Catalogue::builtin();
        let resolve = |component, spec: &str| {
            catalogue.resolve(component, spec.parse().unwrap()).map(|release| release.version.to_string())
        };
        assert_eq!(resolve(Component::KubeApiserver, "1.37").as_deref(), Some("1.37.2"));
        assert_eq!(resolve(Component::Etcd, "3.5").as_deref(), Some("3.5.21"));
        assert_eq!(resolve(Component::KubeApiserver, "1.37.1"), None);
    }

    #[test]
    fn etcd_follows_kubernetes() {
        let catalogue = Catalogue::builtin();
        for (kubernetes, etcd) in [
            (Version::new(1, 37, 2), "3.7.3"),
            (Version::new(1, 37, 0), "3.7.3"),
            (Version::new(1, 36, 9), "3.6.8"),
            (Version::new(1, 33, 4), "3.5.21"),
            (Version::new(1, 99, 0), "3.7.3"),
            (Version::new(1, 20, 0), "3.5.6"),
        ] {
            assert_eq!(catalogue.etcd_for(kubernetes).unwrap().to_string(), etcd, "{kubernetes}");
        }
    }

    #[test]
    fn a_name_that_leads_nowhere_is_an_error() {
        let release = "defaults = {}\n[[release]]\ncomponent = \"etcd\"\nversion = \"3.7.3\"\n";
        for (rest, kind) in [
            ("download = { archive = \"none\", member = \"etcd\" }", "archive"),
            ("build = { module = \"none\", package = \".\" }", "module"),
        ] {
            let error = Catalogue::parse(&format!("{release}{rest}"), Vec::new()).unwrap_err();
            assert!(error.to_string().contains(kind), "{error}");
        }
    }
}
