//! A control plane of a test's own, by the command that users have.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

pub(crate) fn spangate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_spangate"))
}

pub(crate) fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A control plane of the test's own, which ends with it.
pub(crate) struct ControlPlane {
    name: String,
    /// What `XDG_STATE_HOME` is for it.
    pub(crate) state: tempfile::TempDir,
    /// The kubeconfig of its administrator.
    pub(crate) kubeconfig: PathBuf,
}

impl ControlPlane {
    /// Starts one with these options; nobody listens for its traces unless they say so.
    pub(crate) fn up(options: &[&str]) -> Self {
        Self::named("play", options)
    }

    /// The same by another name: those of clusters in Docker are the machine's.
    pub(crate) fn named(name: &str, options: &[&str]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut command = spangate();
        command
            .env("XDG_STATE_HOME", state.path())
            .args(["cluster", "up", name, "--output", "json"])
            .args(options);
        // That of kind is one that nobody else has.
        if !options.contains(&"--otlp-endpoint") && !options.contains(&"kind") {
            command.args(["--otlp-endpoint", "127.0.0.1:9"]);
        }
        let output = output(&mut command);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let view: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        // A cluster in Docker has no processes, and so no state of them.
        let kubeconfig = view["kubeconfig"].as_str().or(view["state"]["kubeconfig"].as_str());
        Self { name: name.to_owned(), state, kubeconfig: PathBuf::from(kubeconfig.unwrap()) }
    }

    /// A client of its administrator.
    pub(crate) async fn client(&self) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        config.proxy_url = None;
        Client::try_from(config).unwrap()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let mut down = spangate();
        down.env("XDG_STATE_HOME", self.state.path()).args(["cluster", "down", &self.name]);
        let down = output(&mut down);
        assert!(std::thread::panicking() || down.status.success(), "{}", text(&down));
    }
}
