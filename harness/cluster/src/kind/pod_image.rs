//! Images for pods, each made of one program of this machine, and how a cluster gets them.
//!
//! No registry has a part in it: the archive is written here and handed over by `kind load image-archive`, which imports
//! it into the store of every node.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Read},
    path::{Path, PathBuf},
};

use ring::digest::{Context, SHA256};

use super::{
    LABEL,
    archive::{self, ImageConfig, LayerWriter},
    cluster::KindCluster,
    error::{KindError, write_error},
    hex,
};
use crate::{
    assets::{Found, catalogue::Platform},
    progress::Progress,
};

/// An image with a statically linked program in it, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodImage {
    /// Its name with its tag, which has the hash of the program.
    pub name: String,
    program: PathBuf,
    /// Where it is in the image.
    path: String,
}

/// How much of a program is read at once.
const BLOCK: usize = 1 << 20;

// === impl PodImage ===

impl PodImage {
    /// The image of a binary, which it runs under the name `process`. Reads it whole, and blocks.
    pub fn of(binary: &Found, process: &str) -> io::Result<Self> {
        let hash = hash(&binary.path)?;
        Ok(Self {
            name: format!("spangate/{process}:{}-{}", binary.version, &hash[..12]),
            program: binary.path.clone(),
            path: process.to_owned(),
        })
    }

    /// Writes it to the file `archive`. Blocks.
    fn write(&self, archive: &Path) -> io::Result<()> {
        let dir = archive.parent().unwrap_or(Path::new("."));
        let mut layer = LayerWriter::new(dir)?;
        layer.file(&self.path, &self.program)?;
        layer.directory("tmp")?;
        let config = ImageConfig {
            name: self.name.clone(),
            arch: Platform::HOST.arch,
            entrypoint: vec![format!("/{}", self.path)],
            labels: BTreeMap::from([(LABEL.to_owned(), "pod".to_owned())]),
            ..ImageConfig::default()
        };
        archive::write(&config, &mut [layer.finish()?], BufWriter::new(File::create(archive)?))
    }
}

// === impl KindCluster ===

impl KindCluster {
    /// Gives the image to every node.
    pub async fn load(&self, image: &PodImage, progress: &dyn Progress) -> Result<(), KindError> {
        let archive = self.config.dir.join(format!("{}.tar", image.path));
        let (this, to) = (image.clone(), archive.clone());
        let written = tokio::task::spawn_blocking(move || this.write(&to)).await;
        written.map_err(io::Error::other).flatten().map_err(write_error(&archive))?;
        let file = archive.display().to_string();
        let loaded = self.network.kind(["load", "image-archive", &file], &self.config, progress).await;
        // It is as large as the program, and a run may have several.
        fs::remove_file(&archive).map_err(write_error(&archive))?;
        loaded
    }
}

fn hash(path: &Path) -> io::Result<String> {
    let (mut file, mut sum, mut block) = (File::open(path)?, Context::new(&SHA256), vec![0; BLOCK]);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hex(sum.finish().as_ref())),
            count => sum.update(&block[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::{Component, Source};

    #[test]
    fn the_tag_changes_with_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let binary = |text: &str| {
            let path = dir.path().join("program");
            fs::write(&path, text).unwrap();
            let version = "0.161.0".parse().unwrap();
            Found { component: Component::Otelcol, version, path, source: Source::Cache }
        };
        let one = PodImage::of(&binary("one"), "otelcol").unwrap();
        assert!(one.name.starts_with("spangate/otelcol:0.161.0-"), "{}", one.name);
        let archive = dir.path().join("image.tar");
        one.write(&archive).unwrap();
        let text = String::from_utf8_lossy(&fs::read(&archive).unwrap()).into_owned();
        assert!(text.contains(&one.name) && text.contains(r#""Entrypoint":["/otelcol"]"#), "{text}");
        assert_ne!(PodImage::of(&binary("two"), "otelcol").unwrap().name, one.name);
    }
}
