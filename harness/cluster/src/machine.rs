//! Which machine this is: what is ours in Docker may have been made from another one, where `DOCKER_HOST` leads to the same
//! engine.

use std::{fs, path::Path};

/// Its id and its name; `None` where it has neither. Containers and copies of a machine have the same id, or none, and another
/// name.
pub(crate) fn this() -> Option<String> {
    told_in(Path::new("/"))
}

/// What the files below `root` say.
fn told_in(root: &Path) -> Option<String> {
    let files = ["etc/machine-id", "proc/sys/kernel/hostname"];
    let told = files.map(|file| fs::read_to_string(root.join(file)).unwrap_or_default());
    let told: Vec<&str> = told.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
    (!told.is_empty()).then(|| told.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_an_id_has_its_name() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(told_in(root.path()), None);
        fs::create_dir_all(root.path().join("proc/sys/kernel")).unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("proc/sys/kernel/hostname"), "one\n").unwrap();
        assert_eq!(told_in(root.path()).as_deref(), Some("one"));
        fs::write(root.path().join("etc/machine-id"), "0a\n").unwrap();
        assert_eq!(told_in(root.path()).as_deref(), Some("0a one"));
    }
}
