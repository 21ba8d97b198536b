//! Images that are each made of one program of this machine: no registry has a part in it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use ring::digest::{Context, SHA256};

use super::{
    Docker, DockerError, LABEL,
    archive::{self, ImageConfig, LayerWriter},
};
use crate::assets::{Found, catalogue::Platform, hex};

/// An image with a statically linked program in it, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramImage {
    /// Its name with its tag, which has the hash of the program.
    pub name: String,
    program: PathBuf,
    /// Where it is in the image.
    path: String,
}

/// How much of a program is read at once.
const BLOCK: usize = 1 << 20;

// === impl ProgramImage ===

impl ProgramImage {
    /// The image of a binary, which it runs under the name `process`. Reads it whole, and blocks.
    pub fn of(binary: &Found, process: &str) -> io::Result<Self> {
        let hash = hash(&binary.path)?;
        Ok(Self {
            name: format!("spangate/{process}:{}-{}", binary.version, &hash[..12]),
            program: binary.path.clone(),
            path: process.to_owned(),
        })
    }

    /// What the program is called.
    pub(crate) fn process(&self) -> &str {
        &self.path
    }

    /// Writes it to the file `archive`. Blocks.
    pub(crate) fn write(&self, archive: &Path) -> io::Result<()> {
        let dir = archive.parent().unwrap_or(Path::new("."));
        self.write_to(dir, BufWriter::new(File::create(archive)?))
    }

    /// Gives it to Docker, unless Docker has it; `dir` has room for a layer. Blocks.
    pub fn ensure(&self, docker: &Docker, dir: &Path) -> Result<(), DockerError> {
        if docker.has_image(&self.name) {
            return Ok(());
        }
        docker.run_with(&["load", "--quiet"], |out| self.write_to(dir, out)).map(drop)
    }

    fn write_to(&self, dir: &Path, out: impl Write) -> io::Result<()> {
        let mut layer = LayerWriter::new(dir)?;
        layer.file(&self.path, &self.program)?;
        layer.directory("tmp")?;
        let config = ImageConfig {
            name: self.name.clone(),
            arch: Platform::HOST.arch,
            entrypoint: vec![format!("/{}", self.path)],
            labels: BTreeMap::from([(LABEL.to_owned(), "program".to_owned())]),
            ..ImageConfig::default()
        };
        archive::write(&config, &mut [layer.finish()?], out)
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
    use std::fs;

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
        let one = ProgramImage::of(&binary("one"), "otelcol").unwrap();
        assert!(one.name.starts_with("spangate/otelcol:0.161.0-"), "{}", one.name);
        let archive = dir.path().join("image.tar");
        one.write(&archive).unwrap();
        let text = String::from_utf8_lossy(&fs::read(&archive).unwrap()).into_owned();
        assert!(text.contains(&one.name) && text.contains(r#""Entrypoint":["/otelcol"]"#), "{text}");
        assert_ne!(ProgramImage::of(&binary("two"), "otelcol").unwrap().name, one.name);
    }
}
