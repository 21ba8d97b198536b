//! Whether Docker starts containers as kind wants them, found out by starting one.
//!
//! Every kind node is a privileged container. An engine that lacks `CAP_SYS_RESOURCE` itself, as in some virtual
//! machines and containers, can start none (`unable to apply caps: operation not permitted`), though a node does not
//! need that capability. There kind gets a client of ours, first on its `PATH`, that asks for everything else.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use crate::docker::{Docker, DockerError};

/// What containers may be given here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privileges {
    /// Everything.
    Full,
    /// Everything but `CAP_SYS_RESOURCE`.
    WithoutSysResource,
}

/// What takes the place of `--privileged` where one capability is missing. Beside capabilities it means every device,
/// and system paths without masks (docker-run(1)).
const ALMOST_PRIVILEGED: [&str; 5] = [
    "--cap-add=ALL",
    "--cap-drop=SYS_RESOURCE",
    "--security-opt=systempaths=unconfined",
    "--device-cgroup-rule=a *:* rwm",
    // The kubelet watches it for processes that the kernel killed.
    "--device=/dev/kmsg",
];

// === impl Privileges ===

impl Privileges {
    /// Starts `image` with all privileges, and else with almost all of them. Blocks for about a second.
    pub fn try_out(docker: &Docker, image: &str) -> Result<Self, DockerError> {
        let start = |privileges: &[&str]| {
            let before = ["run", "--rm", "--network=none", "--entrypoint=/bin/true"];
            docker.run(before.iter().chain(privileges).chain(&[image]))
        };
        match start(&["--privileged"]) {
            Ok(_) => Ok(Self::Full),
            // Of no concern here: kind would meet it too.
            Err(error) => match (start(&ALMOST_PRIVILEGED), error) {
                (Ok(_), _) => Ok(Self::WithoutSysResource),
                (Err(_), DockerError::Failed { said, .. }) => Err(DockerError::NoPrivileges { said }),
                (Err(_), error) => Err(error),
            },
        }
    }
}

/// Writes our client to `dir`, which is to be first on kind's `PATH`.
pub(super) fn write_client(docker: &Docker, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let path = dir.join("docker");
    fs::write(&path, client(&docker.client().display().to_string()))?;
    fs::set_permissions(&path, Permissions::from_mode(0o755))
}

fn client(real: &str) -> String {
    let quoted = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
    let options = ALMOST_PRIVILEGED.map(quoted).join(" ");
    format!(
        "#!/bin/sh\n\
         # Docker for kind, written by spangate: the engine of this machine may not give CAP_SYS_RESOURCE away.\n\
         verb=$1\n\
         for word do\n  \
           shift\n  \
           case $verb:$word in\n    \
             run:--privileged) set -- \"$@\" {options} ;;\n    \
             exec:--privileged) ;;\n    \
             *) set -- \"$@\" \"$word\" ;;\n  \
           esac\n\
         done\n\
         exec {} \"$@\"\n",
        quoted(real)
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What the real client is called with when ours is called with `args`.
    fn called(args: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("it's docker");
        fs::write(&real, "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").unwrap();
        fs::set_permissions(&real, Permissions::from_mode(0o755)).unwrap();
        let ours = dir.path().join("ours");
        fs::write(&ours, client(&real.display().to_string())).unwrap();
        let output = Command::new("/bin/sh").arg(&ours).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_privileged_is_replaced() {
        let run = called(&["run", "--name=a b", "--privileged", "image", "*"]);
        assert_eq!(run[..2], ["run", "--name=a b"]);
        assert_eq!(run[2..7], ALMOST_PRIVILEGED);
        assert_eq!(run[7..], ["image", "*"]);
        assert_eq!(called(&["exec", "--privileged", "-i", "node", "cat"]), ["exec", "-i", "node", "cat"]);
        assert_eq!(called(&["ps", "--privileged"]), ["ps", "--privileged"]);
    }
}
