//! What the search for binaries takes from the environment, as a value.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use super::Source;

/// The places where binaries may lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssetsEnv {
    /// `$SPANGATE_ASSETS`: a directory with binaries.
    pub spangate_assets: Option<PathBuf>,
    /// `$KUBEBUILDER_ASSETS`: a directory with binaries, as `setup-envtest` makes it.
    pub kubebuilder_assets: Option<PathBuf>,
    /// `$PATH`, for binaries and for `go`.
    pub path: Option<OsString>,
    /// Where downloads and builds are kept: `spangate/assets` below `$XDG_CACHE_HOME` or `~/.cache`.
    pub cache: Option<PathBuf>,
    /// Whether downloads go through the proxy that the variables of this process name (`HTTPS_PROXY`,
    /// `ALL_PROXY`, less `NO_PROXY`).
    pub proxy_from_process: bool,
}

// === impl AssetsEnv ===

impl AssetsEnv {
    /// The environment of this process.
    pub fn from_process() -> Self {
        Self { proxy_from_process: true, ..Self::from_vars(|name| env::var_os(name)) }
    }

    /// The environment that `var` answers for. Empty variables count as unset.
    pub fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Self {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        // A relative path in an XDG variable is to be ignored (XDG Base Directory Specification).
        let cache = var("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || var("HOME").map(|home| PathBuf::from(home).join(".cache"));
        Self {
            spangate_assets: var("SPANGATE_ASSETS").map(PathBuf::from),
            kubebuilder_assets: var("KUBEBUILDER_ASSETS").map(PathBuf::from),
            path: var("PATH"),
            cache: cache.or_else(home).map(|cache| cache.join("spangate").join("assets")),
            proxy_from_process: false,
        }
    }

    /// The directories to look in, in order.
    pub(super) fn directories(&self) -> impl Iterator<Item = (Source, PathBuf)> {
        let named = [
            (Source::SpangateAssets, &self.spangate_assets),
            (Source::KubebuilderAssets, &self.kubebuilder_assets),
        ];
        named
            .into_iter()
            .filter_map(|(source, dir)| Some((source, dir.clone()?)))
            .chain(path_directories(self.path.as_deref()).map(|dir| (Source::Path, dir)))
    }
}

/// The directories of a `PATH`, without the empty ones that mean the working directory.
pub(crate) fn path_directories(path: Option<&OsStr>) -> impl Iterator<Item = PathBuf> {
    env::split_paths(path.unwrap_or_default()).filter(|dir| !dir.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn env(vars: &[(&str, &str)]) -> AssetsEnv {
        let vars: BTreeMap<String, OsString> =
            vars.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect();
        AssetsEnv::from_vars(|name| vars.get(name).cloned())
    }

    #[test]
    fn the_cache_follows_xdg() {
        let cache = |vars: &[_]| env(vars).cache.map(|path| path.display().to_string());
        assert_eq!(cache(&[("HOME", "/h")]).as_deref(), Some("/h/.cache/spangate/assets"));
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]).as_deref(), Some("/x/spangate/assets"));
        for ignored in ["", "relative"] {
            let vars = [("HOME", "/h"), ("XDG_CACHE_HOME", ignored)];
            assert_eq!(cache(&vars).as_deref(), Some("/h/.cache/spangate/assets"), "{ignored:?}");
        }
        assert_eq!(cache(&[]), None);
    }

    #[test]
    fn named_directories_come_before_path() {
        let env = env(&[("PATH", "/a::/b"), ("KUBEBUILDER_ASSETS", "/k"), ("SPANGATE_ASSETS", "/s")]);
        let found: Vec<(Source, String)> =
            env.directories().map(|(source, dir)| (source, dir.display().to_string())).collect();
        let wanted = [
            (Source::SpangateAssets, "/s"),
            (Source::KubebuilderAssets, "/k"),
            (Source::Path, "/a"),
            (Source::Path, "/b"),
        ];
        assert_eq!(found, wanted.map(|(source, dir)| (source, dir.to_owned())));
    }
}
