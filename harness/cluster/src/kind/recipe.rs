//! What a node image is made from (`fixtures/node-image`), compiled in together with the modules that it names.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA256};
use serde::Deserialize;

use crate::{
    assets::catalogue::{Module, Platform},
    version::{Version, VersionSpec},
};

/// What a node image is made from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipe {
    /// The root file system.
    pub(super) debian: Debian,
    /// Directories that are empty at first.
    #[serde(rename = "directory")]
    pub(super) directories: Vec<Directories>,
    /// Own files.
    #[serde(rename = "file")]
    pub(super) files: Vec<OwnFile>,
    /// Symbolic links, from where to what.
    pub(super) links: BTreeMap<String, String>,
    /// What Go builds.
    #[serde(rename = "build")]
    pub(super) builds: Vec<GoBuild>,
    /// The images in the node's store.
    #[serde(rename = "image")]
    pub(super) images: Vec<Image>,
    #[serde(skip)]
    text: &'static str,
}

/// What Go builds for the control plane of an older Kubernetes: a file of its own, so that it changes no other image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Older {
    #[serde(rename = "build")]
    builds: Vec<GoBuild>,
}

/// The root file system: Debian packages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Debian {
    /// The release.
    pub(super) suite: String,
    /// The packages beyond the smallest system.
    pub(super) packages: Vec<String>,
    /// What of it is not copied into the image.
    pub(super) left_out: Vec<String>,
}

/// Directories that are empty at first.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Directories {
    /// Where they are.
    pub(super) paths: Vec<String>,
}

/// A file of `fixtures/node-image/files`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnFile {
    name: String,
    /// Where it goes.
    pub(super) path: String,
    /// Whether it is a program.
    #[serde(default)]
    pub(super) executable: bool,
}

/// Binaries out of one Go module.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GoBuild {
    /// The only Kubernetes version that it is for; all if there is none.
    pub(super) kubernetes: Option<Version>,
    /// The pinned module's name.
    pub(super) module: String,
    /// The packages to build.
    pub(super) packages: Vec<String>,
    /// What the binary is called, where Go would not call it so.
    pub(super) output: Option<String>,
    /// Build tags.
    #[serde(default)]
    pub(super) tags: Vec<String>,
    /// Linker flags that write the version.
    #[serde(default)]
    pub(super) ldflags: Vec<String>,
    /// The node's directories for binaries that the node itself runs.
    #[serde(default)]
    pub(super) places: BTreeMap<String, String>,
}

/// An image that a pod of the control plane runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Image {
    /// How its name ends, before the tag.
    pub(super) name: String,
    /// The binary in it.
    pub(super) binary: String,
    /// Where the binary is.
    pub(super) path: String,
    /// What it runs unless the pod says otherwise.
    #[serde(default)]
    pub(super) entrypoint: Vec<String>,
    /// Programs of the root file system, with all that they are linked with.
    #[serde(default)]
    pub(super) tools: Vec<String>,
    /// A directory of libraries of the root file system that the tools load when they need them.
    pub(super) plugins: Option<String>,
    /// Symbolic links, from where to what.
    #[serde(default)]
    pub(super) links: BTreeMap<String, String>,
}

/// The recipes of older versions.
const OLDER: &[(Version, &str)] =
    &[(Version::new(1, 34, 4), include_str!("../../../../fixtures/node-image/kubernetes-1.34.4.toml"))];

/// Raised when the same inputs make another image, since the code that puts it together has changed.
const REVISION: u32 = 1;

macro_rules! own {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../fixtures/node-image/files/", $name)))),*]
    };
}

/// The own files.
const FILES: &[(&str, &str)] = own![
    "containerd.service",
    "containerd.toml",
    "default-storage.yaml",
    "entrypoint",
    "journald.conf",
    "kubelet.service",
    "kubelet.slice",
];

macro_rules! module {
    ($dir:literal, $name:literal, $($file:literal),*) => {
        Module {
            name: $name.to_owned(),
            files: [$(($file, include_str!(concat!("../../../../fixtures/", $dir, "/", $file)))),*]
                .map(|(file, content)| (file.to_owned(), content.to_owned()))
                .to_vec(),
        }
    };
}

/// The pinned modules.
fn modules() -> Vec<Module> {
    vec![
        module!("modules/kubernetes-1.37.2", "kubernetes-1.37.2", "go.mod", "go.sum"),
        module!("modules/kubernetes-1.34.4", "kubernetes-1.34.4", "go.mod", "go.sum"),
        module!("modules/etcd-3.7.3", "etcd-3.7.3", "go.mod", "go.sum"),
        module!("modules/coredns-1.14.6", "coredns-1.14.6", "go.mod", "go.sum"),
        module!("modules/containerd-2.3.7", "containerd-2.3.7", "go.mod", "go.sum"),
        module!("modules/cni-plugins-1.9.1", "cni-plugins-1.9.1", "go.mod", "go.sum"),
        module!("node-image/pause", "pause", "go.mod", "main.go"),
    ]
}

// === impl Recipe ===

impl Recipe {
    /// The recipe that was compiled in.
    ///
    /// # Panics
    ///
    /// If it does not hold together, which a test rules out.
    pub(super) fn builtin() -> Self {
        let text = include_str!("../../../../fixtures/node-image/recipe.toml");
        let mut recipe: Self = toml::from_str(text).expect("a test reads the recipe that is compiled in");
        for (_, older) in OLDER {
            let older: Older = toml::from_str(older).expect("a test reads the recipes that are compiled in");
            recipe.builds.extend(older.builds);
        }
        Self { text, ..recipe }
    }

    /// The Kubernetes versions that there is a recipe for, newest first.
    pub(super) fn versions(&self) -> Vec<Version> {
        let mut versions: Vec<Version> = self.builds.iter().filter_map(|build| build.kubernetes).collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        versions.dedup();
        versions
    }

    /// The version that `spec` means: the newest that matches.
    pub(super) fn resolve(&self, spec: VersionSpec) -> Option<Version> {
        self.versions().into_iter().find(|version| spec.matches(*version))
    }

    /// What is built for a Kubernetes version.
    pub(super) fn builds_for(&self, kubernetes: Version) -> impl Iterator<Item = &GoBuild> {
        self.builds.iter().filter(move |build| build.kubernetes.is_none_or(|only| only == kubernetes))
    }

    /// The hash of all that goes into the root file system.
    pub(super) fn root_hash(&self, platform: Platform) -> String {
        let Debian { suite, packages, .. } = &self.debian;
        hash([suite.as_str(), platform.arch].into_iter().chain(packages.iter().map(String::as_str)))
    }

    /// The hash of all that goes into the image of a Kubernetes version.
    pub(super) fn hash(&self, kubernetes: Version, platform: Platform) -> String {
        let fixed = [REVISION.to_string(), kubernetes.to_string()];
        let modules: Vec<Module> = self.builds_for(kubernetes).map(GoBuild::module).collect();
        let mut texts: Vec<&str> = fixed.iter().map(String::as_str).collect();
        texts.extend([platform.arch, self.text]);
        texts.extend(OLDER.iter().filter(|(version, _)| *version == kubernetes).map(|(_, text)| *text));
        texts.extend(FILES.iter().flat_map(|(name, text)| [*name, *text]));
        let files = modules.iter().flat_map(|module| &module.files);
        texts.extend(files.flat_map(|(name, text)| [name.as_str(), text.as_str()]));
        hash(texts.into_iter())
    }
}

// === impl GoBuild ===

impl GoBuild {
    /// The module.
    ///
    /// # Panics
    ///
    /// If there is none of that name, which a test rules out.
    pub(super) fn module(&self) -> Module {
        let module = modules().into_iter().find(|module| module.name == self.module);
        module.expect("a test looks every module of the recipe up")
    }
}

// === impl OwnFile ===

impl OwnFile {
    /// Its text.
    ///
    /// # Panics
    ///
    /// If there is none, which a test rules out.
    pub(super) fn text(&self) -> &'static str {
        let file = FILES.iter().find(|(name, _)| *name == self.name);
        file.expect("a test looks every file of the recipe up").1
    }
}

/// A hash over texts, each told apart from the next. Its first twelve digits are enough to tell images apart.
fn hash<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut sum = Context::new(&SHA256);
    for text in texts {
        sum.update(&(text.len() as u64).to_be_bytes());
        sum.update(text.as_bytes());
    }
    super::hex(&sum.finish().as_ref()[..6])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const HERE: Platform = Platform { os: "linux", arch: "amd64" };

    #[test]
    fn the_builtin_recipe_holds_together() {
        let recipe = Recipe::builtin();
        let named: BTreeSet<&str> = recipe.files.iter().map(|file| file.name.as_str()).collect();
        let there: BTreeSet<&str> = FILES.iter().map(|(name, _)| *name).collect();
        assert_eq!(named, there);
        for version in recipe.versions() {
            let mut binaries = BTreeSet::new();
            for build in recipe.builds_for(version) {
                assert!(build.module().go_version().is_some(), "{}", build.module);
                let of_package = |package: &String| package.rsplit('/').next().unwrap().to_owned();
                match &build.output {
                    Some(output) => assert!(binaries.insert(output.clone()), "{output} is built twice"),
                    None => binaries.extend(build.packages.iter().map(of_package)),
                }
                assert!(build.places.keys().all(|name| binaries.contains(name)), "{:?}", build.places);
            }
            for image in &recipe.images {
                assert!(binaries.contains(&image.binary), "{} is not built for {version}", image.binary);
            }
        }
    }

    #[test]
    fn the_version_of_a_module_is_pinned_with_its_sum() {
        for build in Recipe::builtin().builds {
            let module = build.module();
            let Some((name, version)) = module.name.rsplit_once('-') else { continue };
            let file = |name| &module.files.iter().find(|(file, _)| file == name).unwrap().1;
            let pinned = file("go.sum").lines().any(|line| {
                let package = line.split_once(' ').unwrap().0;
                build.packages[0].starts_with(package) && line.contains(&format!(" v{version} h1:"))
            });
            assert!(pinned, "{name} {version}");
        }
    }

    #[test]
    fn every_input_is_in_the_hash() {
        let recipe = Recipe::builtin();
        let version = recipe.resolve("1.37".parse().unwrap()).unwrap();
        let whole = recipe.hash(version, HERE);
        assert_eq!(whole.len(), 12);
        assert_eq!(whole, Recipe::builtin().hash(version, HERE));
        assert_ne!(whole, recipe.hash(version, Platform { arch: "arm64", ..HERE }));
        let other = Recipe { text: "another recipe", ..recipe };
        assert_ne!(whole, other.hash(version, HERE));
        assert_eq!(other.root_hash(HERE), Recipe::builtin().root_hash(HERE));
    }

    #[test]
    fn an_unknown_version_has_no_recipe() {
        assert_eq!(Recipe::builtin().resolve("1.20".parse().unwrap()), None);
    }

    /// Scenario: the recipes of older versions.
    /// Guarantees: each is for the version that it is filed under, and has an image of its own; all else is as in the
    /// newest.
    #[test]
    fn an_older_version_has_an_image_of_its_own() {
        let recipe = Recipe::builtin();
        let newest = recipe.versions()[0];
        for (version, text) in OLDER {
            let older: Older = toml::from_str(text).unwrap();
            assert!(older.builds.iter().all(|build| build.kubernetes == Some(*version)), "{older:?}");
            assert_eq!(recipe.resolve(version.any_patch()), Some(*version));
            assert_ne!(recipe.hash(*version, HERE), recipe.hash(newest, HERE));
            let count = |version| recipe.builds_for(version).count();
            assert_eq!(count(*version), count(newest));
        }
    }
}
