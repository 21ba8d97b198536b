//! Docker with the image of a node, for what the command does on kind.

#[path = "../../../../tests/e2e/skipped.rs"]
mod skipped;

use std::process::Command;

use spangate_cluster::{Docker, NodeImage};
use spangate_scenario::model::Cluster;

/// The image of a node, where Docker has it; else a loud word on what is missing.
pub(crate) fn node_image(test: &str) -> Option<NodeImage> {
    let found = found();
    match &found {
        Ok(_) => skipped::runs(test),
        Err(why) => skipped::skipped(test, "SPANGATE_REQUIRE_KIND", why),
    }
    found.ok()
}

fn found() -> Result<NodeImage, String> {
    let docker = Docker::find(std::env::var_os("PATH").as_deref()).map_err(|error| error.to_string())?;
    let image = NodeImage::wanted(Cluster::DEFAULT_KUBERNETES.parse().unwrap()).unwrap();
    let missing = || format!("Docker has no image {}", image.name);
    image.is_at_hand(&docker).then_some(()).ok_or_else(missing)?;
    Ok(image)
}

/// What Docker prints.
pub(crate) fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
