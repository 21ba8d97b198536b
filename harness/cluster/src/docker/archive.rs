//! Container images from files, without a daemon: layers, and the archive that `docker load` and
//! `ctr images import` read.
//!
//! The form is that of `docker save` (moby, `image/spec/spec.md`): a tar archive with the layers, a configuration and
//! a manifest. What is made from the same files is the same to the last byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use ring::digest::{Context, SHA256};
use serde_json::json;
use tar::{Builder, EntryType, Header};

use crate::assets::hex;

/// A layer that is complete.
pub(crate) struct Layer {
    file: File,
    size: u64,
    sha256: String,
}

/// A layer that is being written.
pub(crate) struct LayerWriter {
    tar: Builder<Summed>,
    directories: BTreeSet<PathBuf>,
}

/// What an image says of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageConfig {
    /// Its name with its tag.
    pub(crate) name: String,
    /// The processor, in Go's names.
    pub(crate) arch: &'static str,
    /// What it runs.
    pub(crate) entrypoint: Vec<String>,
    /// The environment, as `NAME=value`.
    pub(crate) env: Vec<String>,
    /// What it is told to stop by.
    pub(crate) stop_signal: Option<&'static str>,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
}

/// A file that knows the hash of what was written to it.
struct Summed {
    file: BufWriter<File>,
    sum: Context,
    size: u64,
}

// === impl LayerWriter ===

impl LayerWriter {
    /// Begins a layer in a file without a name in `dir`.
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(dir)?);
        let summed = Summed { file, sum: Context::new(&SHA256), size: 0 };
        Ok(Self { tar: Builder::new(summed), directories: BTreeSet::new() })
    }

    /// An empty directory, and those above it.
    pub(crate) fn directory(&mut self, path: &str) -> io::Result<()> {
        let path = Path::new(path);
        self.parents(path)?;
        if self.directories.insert(path.to_owned()) {
            let mode = if path.ends_with("tmp") { 0o1777 } else { 0o755 };
            self.tar.append_data(&mut header(EntryType::Directory, mode, 0), path, io::empty())?;
        }
        Ok(())
    }

    /// A file with this content.
    pub(crate) fn text(&mut self, path: &str, text: &str, executable: bool) -> io::Result<()> {
        let path = Path::new(path);
        self.parents(path)?;
        let mode = if executable { 0o755 } else { 0o644 };
        self.tar.append_data(&mut header(EntryType::Regular, mode, text.len() as u64), path, text.as_bytes())
    }

    /// A copy of the file `from`, whatever links lead to it.
    pub(crate) fn file(&mut self, path: &str, from: &Path) -> io::Result<()> {
        let path = Path::new(path);
        self.parents(path)?;
        let mut file = File::open(from)?;
        let metadata = file.metadata()?;
        let mode = if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
        self.tar.append_data(&mut header(EntryType::Regular, mode, metadata.len()), path, &mut file)
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        let path = Path::new(path);
        self.parents(path)?;
        self.tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target)
    }

    /// All that is in the directory `from`, below `at`, less what `left_out` names (relative to `from`). Owners, modes
    /// and times are kept; devices and sockets are left out.
    pub(crate) fn tree(&mut self, at: &str, from: &Path, left_out: &[String]) -> io::Result<()> {
        self.parents(&Path::new(at).join("x"))?;
        self.subtree(Path::new(at), from, Path::new(""), left_out)
    }

    fn subtree(&mut self, at: &Path, from: &Path, within: &Path, left_out: &[String]) -> io::Result<()> {
        let mut names = fs::read_dir(from.join(within))?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        for name in names {
            let within = within.join(name);
            if left_out.iter().any(|path| Path::new(path) == within) {
                continue;
            }
            let (source, path) = (from.join(&within), at.join(&within));
            let metadata = fs::symlink_metadata(&source)?;
            let mut header = Header::new_gnu();
            header.set_metadata(&metadata);
            let kind = metadata.file_type();
            if kind.is_dir() {
                self.directories.insert(path.clone());
                self.tar.append_data(&mut header, &path, io::empty())?;
                self.subtree(at, from, &within, left_out)?;
            } else if kind.is_symlink() {
                self.tar.append_link(&mut header, &path, fs::read_link(&source)?)?;
            } else if kind.is_file() {
                self.tar.append_data(&mut header, &path, File::open(&source)?)?;
            }
        }
        Ok(())
    }

    /// The directories above `path`.
    fn parents(&mut self, path: &Path) -> io::Result<()> {
        let mut above = PathBuf::new();
        for component in path.parent().into_iter().flat_map(Path::components) {
            let Component::Normal(name) = component else { continue };
            above.push(name);
            if self.directories.insert(above.clone()) {
                self.tar.append_data(&mut header(EntryType::Directory, 0o755, 0), &above, io::empty())?;
            }
        }
        Ok(())
    }

    /// Ends the layer.
    pub(crate) fn finish(self) -> io::Result<Layer> {
        let Summed { file, sum, size } = self.tar.into_inner()?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Layer { file, size, sha256: hex(sum.finish().as_ref()) })
    }
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.sum.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Writes the image of these layers, the lowest first, to `out`.
pub(crate) fn write(config: &ImageConfig, layers: &mut [Layer], out: impl Write) -> io::Result<()> {
    let digests: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", layer.sha256)).collect();
    let text = json!({
        "architecture": config.arch,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": config.entrypoint,
            "Env": config.env,
            "Labels": config.labels,
            "StopSignal": config.stop_signal,
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": digests},
        "history": digests.iter().map(|_| json!({"created": "1970-01-01T00:00:00Z"})).collect::<Vec<_>>(),
    })
    .to_string();
    let config_name = format!("{}.json", hex(ring::digest::digest(&SHA256, text.as_bytes()).as_ref()));
    let layer_name = |layer: &Layer| format!("{}/layer.tar", layer.sha256);
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": [config.name],
        "Layers": layers.iter().map(layer_name).collect::<Vec<_>>(),
    }])
    .to_string();
    let mut tar = Builder::new(out);
    for (name, text) in [("manifest.json", &manifest), (config_name.as_str(), &text)] {
        let mut header = header(EntryType::Regular, 0o644, text.len() as u64);
        tar.append_data(&mut header, name, text.as_bytes())?;
    }
    for layer in layers {
        let mut header = header(EntryType::Regular, 0o644, layer.size);
        layer.file.seek(SeekFrom::Start(0))?;
        tar.append_data(&mut header, layer_name(layer), (&layer.file).take(layer.size))?;
    }
    tar.into_inner()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer() -> Layer {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("tree");
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::create_dir_all(from.join("gone")).unwrap();
        fs::write(from.join("a/b/tool"), "#!").unwrap();
        std::os::unix::fs::symlink("b/tool", from.join("a/link")).unwrap();
        let mut writer = LayerWriter::new(dir.path()).unwrap();
        writer.directory("tmp").unwrap();
        writer.text("etc/x/config", "text", false).unwrap();
        writer.text("etc/x/run", "#!/bin/sh", true).unwrap();
        writer.link("etc/x/to", "run").unwrap();
        writer.tree("var/lib", &from, &["gone".to_owned()]).unwrap();
        writer.finish().unwrap()
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn a_layer_has_every_directory_once_and_before_what_is_in_it() {
        let mut layer = layer();
        let mut bytes = Vec::new();
        layer.file.seek(SeekFrom::Start(0)).unwrap();
        layer.file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, layer.size);
        let wanted = [
            "tmp",
            "etc",
            "etc/x",
            "etc/x/config",
            "etc/x/run",
            "etc/x/to",
            "var",
            "var/lib",
            "var/lib/a",
            "var/lib/a/b",
            "var/lib/a/b/tool",
            "var/lib/a/link",
        ];
        assert_eq!(names(&bytes), wanted);
        assert_eq!(layer.sha256, hex(ring::digest::digest(&SHA256, &bytes).as_ref()));
    }

    #[test]
    fn an_image_names_its_layers_by_their_hashes() {
        let mut layers = [layer()];
        let mut bytes = Vec::new();
        let config =
            ImageConfig { name: "spangate/test:1".to_owned(), arch: "amd64", ..ImageConfig::default() };
        write(&config, &mut layers, &mut bytes).unwrap();
        let names = names(&bytes);
        assert_eq!(names[0], "manifest.json");
        assert_eq!(names[2], format!("{}/layer.tar", layers[0].sha256));
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut text = String::new();
        archive.entries().unwrap().nth(1).unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert!(text.contains(&format!("sha256:{}", layers[0].sha256)), "{text}");
        assert!(names[1].starts_with(&hex(ring::digest::digest(&SHA256, text.as_bytes()).as_ref())));
    }
}
