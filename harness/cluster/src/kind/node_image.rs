//! The image of a kind node, built on this machine: no container registry, only Debian packages and Go modules.
//!
//! kind asks little of a node image (kind, `pkg/build/nodeimage`): systemd as its init system, containerd with the
//! images of the control plane in its store, kubelet, kubeadm and kubectl, `/kind/version`, and a storage class. The
//! image has three layers: the root file system, our files and the binaries, and containerd's store.
//!
//! Everything here blocks.

mod store;

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Instant,
};

use super::{
    recipe::{GoBuild, Image, Recipe},
    rootfs,
};
use crate::{
    assets::{Assets, catalogue::Platform, lock::Lock, path_directories},
    docker::{
        Docker, DockerError, LABEL, NODE,
        archive::{self, ImageConfig, Layer, LayerWriter},
    },
    process::{self, log_tail, told},
    progress::{Event, Progress},
    version::{Version, VersionSpec},
};

/// Why there is no node image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeImageError {
    /// There is no recipe.
    #[error(
        "there is no recipe for a node image of Kubernetes {spec}, only for {known}: name an image in \
         spec.cluster.kind.image"
    )]
    Unknown {
        /// The wanted version.
        spec: VersionSpec,
        /// The versions that there is a recipe for.
        known: String,
    },
    /// There is no place for a cache.
    #[error("there is no directory to build in: set HOME or XDG_CACHE_HOME")]
    NoCache,
    /// Only root may put a root file system together.
    #[error(
        "a node image can be built by root only, which owns the files in it: run `spangate assets build node-image` once \
         as root, or name an image in spec.cluster.kind.image"
    )]
    NotRoot,
    /// There is no debootstrap.
    #[error("debootstrap is not on PATH: install it (Debian: apt-get install debootstrap)")]
    NoDebootstrap,
    /// There is no Go.
    #[error("go is not on PATH: install Go {needs} or later (https://go.dev/dl/)")]
    NoGo {
        /// The version that the module asks for.
        needs: String,
    },
    /// A program that builds failed.
    #[error("{what} ended with {status}; the last lines of {}:\n{tail}", log.display())]
    Failed {
        /// The program.
        what: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// All that it wrote.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// The recipe has an image that kubeadm does not start.
    #[error("kubeadm {kubernetes} starts no image {name}: the recipe is wrong")]
    NoImage {
        /// The end of its name.
        name: String,
        /// The version.
        kubernetes: Version,
    },
    /// A file could not be read or written, or a program not be started.
    #[error("cannot use {}: check that it is there, and the disk not full", path.display())]
    Io {
        /// The file or program.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Docker did not take it.
    #[error(transparent)]
    Docker(#[from] DockerError),
}

/// The image of a node for one Kubernetes version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeImage {
    /// Its name with its tag, which carries the hash of all its inputs.
    pub name: String,
    /// The version of Kubernetes in it.
    pub kubernetes: Version,
}

/// How many lines of a log an error shows.
const TAIL: usize = 20;
/// How the name of a directory begins in which an image is put together.
const TEMPORARY: &str = ".image-";

// === impl NodeImage ===

impl NodeImage {
    /// The image that `spec` means; whether it is at hand, only Docker knows.
    pub fn wanted(spec: VersionSpec) -> Result<Self, NodeImageError> {
        let recipe = Recipe::builtin();
        let kubernetes = recipe.resolve(spec).ok_or_else(|| {
            let known: Vec<String> = recipe.versions().iter().map(Version::to_string).collect();
            NodeImageError::Unknown { spec, known: known.join(", ") }
        })?;
        let hash = recipe.hash(kubernetes, Platform::HOST);
        Ok(Self { name: format!("spangate/node:v{kubernetes}-{hash}"), kubernetes })
    }

    /// Whether Docker has it.
    pub fn is_at_hand(&self, docker: &Docker) -> bool {
        docker.has_image(&self.name)
    }

    /// Builds it, unless Docker has it. Gives whether it had to be built.
    pub fn ensure(
        &self,
        docker: &Docker,
        assets: &Assets,
        progress: &dyn Progress,
    ) -> Result<bool, NodeImageError> {
        if self.is_at_hand(docker) {
            return Ok(false);
        }
        let cache = assets.env().cache.as_ref().ok_or(NodeImageError::NoCache)?.join("node-image");
        fs::create_dir_all(&cache).map_err(io_error(&cache))?;
        let waiting =
            || progress.event(Event::Noted("waiting for another process that builds a node image".into()));
        let _lock = Lock::take(&cache.join(".lock"), waiting).map_err(io_error(&cache))?;
        // Whoever held the lock before may have built it.
        if self.is_at_hand(docker) {
            return Ok(false);
        }
        remove_leftovers(&cache)?;
        let began = Instant::now();
        let recipe = Recipe::builtin();
        let work = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(&cache).map_err(io_error(&cache))?;
        let build = Build {
            recipe: &recipe,
            kubernetes: self.kubernetes,
            work: work.path(),
            cache: &cache,
            path: assets.env().path.as_deref(),
            progress,
        };
        build.binaries()?;
        let root = rootfs::ensure(&recipe, &cache, build.path, progress)?;
        let mut layers = build.layers(&root)?;
        build.step("node image: handing it to Docker");
        let config = ImageConfig {
            name: self.name.clone(),
            arch: Platform::HOST.arch,
            entrypoint: ["/usr/local/bin/entrypoint", "/sbin/init"].map(str::to_owned).to_vec(),
            // systemd takes it for a sign that it is in a container.
            env: ["container=docker", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
                .map(str::to_owned)
                .to_vec(),
            // What makes systemd shut down in order.
            stop_signal: Some("SIGRTMIN+3"),
            labels: [(LABEL.to_owned(), NODE.to_owned())].into(),
        };
        docker.run_with(&["load", "--quiet"], |out| archive::write(&config, &mut layers, out))?;
        let seconds = began.elapsed().as_secs();
        progress.event(Event::Noted(format!("{} was built in {seconds} s", self.name)));
        Ok(true)
    }
}

impl std::fmt::Display for NodeImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// One build.
struct Build<'a> {
    recipe: &'a Recipe,
    kubernetes: Version,
    work: &'a Path,
    cache: &'a Path,
    path: Option<&'a OsStr>,
    progress: &'a dyn Progress,
}

// === impl Build ===

impl Build<'_> {
    /// Tells of a step that has no lines of its own.
    fn step(&self, what: &str) {
        let (what, last_line) = (what.to_owned(), String::new());
        self.progress.event(Event::Working { what, elapsed: std::time::Duration::ZERO, last_line });
    }

    fn binary(&self, name: &str) -> PathBuf {
        self.work.join("bin").join(name)
    }

    /// Builds every binary into the work directory. Go's own cache makes this quick the second time.
    fn binaries(&self) -> Result<(), NodeImageError> {
        let bin = self.work.join("bin");
        fs::create_dir(&bin).map_err(io_error(&bin))?;
        self.recipe.builds_for(self.kubernetes).try_for_each(|build| self.go(build, &bin))
    }

    fn go(&self, build: &GoBuild, bin: &Path) -> Result<(), NodeImageError> {
        let module = build.module();
        let go = path_directories(self.path).map(|dir| dir.join("go")).find(|go| go.is_file());
        let go = go.ok_or_else(|| NodeImageError::NoGo {
            needs: module.go_version().unwrap_or_default().to_owned(),
        })?;
        let dir = self.work.join(&module.name);
        fs::create_dir(&dir).map_err(io_error(&dir))?;
        for (name, content) in &module.files {
            fs::write(dir.join(name), content).map_err(io_error(&dir))?;
        }
        let output = build.output.as_ref().map_or_else(|| bin.to_owned(), |name| bin.join(name));
        let mut command = Command::new(&go);
        command
            .current_dir(&dir)
            // The same flags as for single binaries, so that what was compiled for those is not compiled again.
            .args(["build", "-v", "-trimpath", "-mod=readonly", "-buildvcs=false"])
            .arg(format!("-tags={}", build.tags.join(",")))
            .arg(format!("-ldflags=-s -w {}", build.ldflags.join(" ")))
            .arg("-o")
            .arg(output)
            .args(&build.packages)
            .envs([("CGO_ENABLED", "0"), ("GOWORK", "off")])
            .envs([("GOOS", Platform::HOST.os), ("GOARCH", Platform::HOST.arch)]);
        let log = self.cache.join("build.log");
        let mut lines = File::create(&log).map_err(io_error(&log))?;
        let what = format!("node image: go builds {}", module.name);
        let report = |elapsed, last_line: &str| {
            let last_line = last_line.to_owned();
            self.progress.event(Event::Working { what: what.clone(), elapsed, last_line });
        };
        process::interrupt_with_parent(&mut command);
        let status = told(&mut command, &mut lines, &report).map_err(io_error(&go))?;
        if !status.success() {
            return Err(NodeImageError::Failed { what: "go build", status, tail: log_tail(&log, TAIL), log });
        }
        fs::remove_file(&log).map_err(io_error(&log))
    }

    /// The layers of the node image, from the root file system at `root`.
    fn layers(&self, root: &Path) -> Result<Vec<Layer>, NodeImageError> {
        let at = io_error(self.work);
        self.step("node image: packing the root file system");
        let debian = || {
            let mut layer = LayerWriter::new(self.work)?;
            layer.tree("", root, &self.recipe.debian.left_out)?;
            layer.finish()
        };
        let debian = debian().map_err(&at)?;
        self.step("node image: packing the images of the control plane");
        let names = self.image_names()?;
        let store = self.store(root, &names)?;
        let own = self.own_files(self.name_of(&names, "pause")?).map_err(&at)?;
        let images = || {
            let mut layer = LayerWriter::new(self.work)?;
            layer.tree("var/lib/containerd", &store, &[])?;
            layer.finish()
        };
        Ok(vec![debian, own, images().map_err(&at)?])
    }

    /// Our files, and the binaries that the node itself runs.
    fn own_files(&self, pause: &str) -> io::Result<Layer> {
        let mut layer = LayerWriter::new(self.work)?;
        for path in self.recipe.directories.iter().flat_map(|directories| &directories.paths) {
            layer.directory(path)?;
        }
        for file in &self.recipe.files {
            let text = file.text().replace("@PAUSE@", pause);
            layer.text(&file.path, &text, file.executable)?;
        }
        layer.text("kind/version", &format!("v{}", self.kubernetes), false)?;
        // Docker fills them in, and needs something to mount over.
        for path in ["etc/hostname", "etc/hosts", "etc/resolv.conf"] {
            layer.text(path, "", false)?;
        }
        for (path, target) in &self.recipe.links {
            layer.link(path, target)?;
        }
        for (binary, place) in self.recipe.builds_for(self.kubernetes).flat_map(|build| &build.places) {
            layer.file(&format!("{place}/{binary}"), &self.binary(binary))?;
        }
        layer.finish()
    }

    /// The names, with tags, of the images that this kubeadm starts.
    fn image_names(&self) -> Result<Vec<String>, NodeImageError> {
        let kubeadm = self.binary("kubeadm");
        let version = format!("v{}", self.kubernetes);
        let mut command = Command::new(&kubeadm);
        command.args(["config", "images", "list", "--kubernetes-version", &version]);
        let output = command.output().map_err(io_error(&kubeadm))?;
        if !output.status.success() {
            return Err(NodeImageError::Failed {
                what: "kubeadm config images list",
                status: output.status,
                log: kubeadm,
                tail: String::from_utf8_lossy(&output.stderr).into_owned(),
            });
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    fn name_of<'n>(&self, names: &'n [String], name: &str) -> Result<&'n str, NodeImageError> {
        let missing = || NodeImageError::NoImage { name: name.to_owned(), kubernetes: self.kubernetes };
        name_of(names, name).ok_or_else(missing)
    }

    /// containerd's store with every image in it.
    fn store(&self, root: &Path, names: &[String]) -> Result<PathBuf, NodeImageError> {
        let store = self.work.join("store");
        let containerd = store::Containerd::start(&self.binary("containerd"), &store, self.work)?;
        for image in &self.recipe.images {
            let archive = self.work.join("image.tar");
            let mut layers = [self.image_layer(image, root)?];
            let config = ImageConfig {
                name: self.name_of(names, &image.name)?.to_owned(),
                arch: Platform::HOST.arch,
                entrypoint: image.entrypoint.clone(),
                env: vec!["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
                ..ImageConfig::default()
            };
            File::create(&archive)
                .and_then(|file| archive::write(&config, &mut layers, io::BufWriter::new(file)))
                .map_err(io_error(&archive))?;
            containerd.import(&self.binary("ctr"), &archive)?;
        }
        containerd.stop()?;
        Ok(store)
    }

    fn image_layer(&self, image: &Image, root: &Path) -> Result<Layer, NodeImageError> {
        let at = io_error(self.work);
        let mut from_root = image.tools.clone();
        if let Some(plugins) = &image.plugins {
            from_root.extend(plugins_in(root, plugins).map_err(&at)?);
        }
        let libraries = if from_root.is_empty() { Vec::new() } else { rootfs::libraries(root, &from_root)? };
        let write = || {
            let mut layer = LayerWriter::new(self.work)?;
            layer.file(&image.path, &self.binary(&image.binary))?;
            for path in from_root.iter().map(String::as_str).chain(libraries.iter().map(|path| &path[1..])) {
                layer.file(path, &root.join(path))?;
            }
            for (path, target) in &image.links {
                layer.link(path, target)?;
            }
            layer.directory("tmp")?;
            layer.text(
                "etc/passwd",
                "root:x:0:0:root:/:/none\nnobody:x:65534:65534:nobody:/:/none\n",
                false,
            )?;
            layer.finish()
        };
        write().map_err(&at)
    }
}

/// The image whose name ends with `name`, with its tag.
fn name_of<'a>(names: &'a [String], name: &str) -> Option<&'a str> {
    let ending = format!("/{name}");
    let is = |full: &&String| full.rsplit_once(':').is_some_and(|(full, _)| full.ends_with(&ending));
    names.iter().find(is).map(String::as_str)
}

/// The libraries in the directory `name` below a root file system's library directories.
fn plugins_in(root: &Path, name: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join("usr/lib"))? {
        let directory = entry?.path().join(name);
        if !directory.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let path = path.strip_prefix(root).map_err(io::Error::other)?;
            found.push(path.display().to_string());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Deletes what a builder that was killed has left. Only for the holder of the lock.
fn remove_leftovers(cache: &Path) -> Result<(), NodeImageError> {
    for entry in fs::read_dir(cache).map_err(io_error(cache))? {
        let entry = entry.map_err(io_error(cache))?;
        let name = entry.file_name();
        if [TEMPORARY, rootfs::TEMPORARY]
            .iter()
            .any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
        {
            fs::remove_dir_all(entry.path()).map_err(io_error(&entry.path()))?;
        }
    }
    Ok(())
}

/// Turns an IO error at `path` into ours.
pub(super) fn io_error(path: &Path) -> impl Fn(io::Error) -> NodeImageError + use<> {
    let path = path.to_owned();
    move |source| NodeImageError::Io { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_carries_version_and_hash() {
        let image = NodeImage::wanted("1.37".parse().unwrap()).unwrap();
        let (name, hash) = image.name.rsplit_once('-').unwrap();
        assert_eq!(name, format!("spangate/node:v{}", image.kubernetes));
        assert_eq!(hash.len(), 12);
        assert_eq!(image, NodeImage::wanted(image.kubernetes.into()).unwrap());
    }

    #[test]
    fn a_version_without_a_recipe_is_told_with_those_that_have_one() {
        let error = NodeImage::wanted("1.20".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("Kubernetes 1.20, only for 1.37."), "{error}");
    }

    #[test]
    fn an_image_is_found_by_the_end_of_its_name() {
        let names =
            ["registry.k8s.io/coredns/coredns:v1.14.3", "registry.k8s.io/pause:3.10.2"].map(str::to_owned);
        assert_eq!(name_of(&names, "pause"), Some(names[1].as_str()));
        assert_eq!(name_of(&names, "coredns/coredns"), Some(names[0].as_str()));
        assert_eq!(name_of(&names, "dns"), None);
    }
}
