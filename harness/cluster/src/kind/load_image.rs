//! How a cluster gets an image that no registry has: `kind load image-archive` imports it into the store of every node.

use std::{fs, io};

use super::{
    cluster::KindCluster,
    error::{KindError, write_error},
};
use crate::{docker::ProgramImage, progress::Progress};

// === impl KindCluster ===

impl KindCluster {
    /// Gives the image to every node.
    pub async fn load(&self, image: &ProgramImage, progress: &dyn Progress) -> Result<(), KindError> {
        let archive = self.config.dir.join(format!("{}.tar", image.process()));
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
