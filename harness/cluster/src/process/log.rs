//! The end of a log file, for error messages.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// How much of a log is looked at.
const WINDOW: u64 = 64 << 10;

/// The last `lines` lines of the file at `path`, or of its last 64 KiB. When it cannot be read, the text says
/// so: it goes into an error message that must not get lost.
pub fn log_tail(path: &Path, lines: usize) -> String {
    match end_of(path, 0) {
        Ok(text) => {
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        }
        Err(error) => format!("(cannot be read: {error})"),
    }
}

/// What the file holds after the byte `from`, or its last 64 KiB if that is more.
pub(crate) fn end_of(path: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(WINDOW))))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_lines_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(log_tail(&path, 2), "two\nthree");
        assert_eq!(log_tail(&path, 9), "one\ntwo\nthree");
        assert_eq!(end_of(&path, 4).unwrap(), "two\nthree\n");
    }

    #[test]
    fn a_long_log_is_not_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "x".repeat(200_000) + "\nlast").unwrap();
        assert_eq!(log_tail(&path, 1), "last");
        assert_eq!(log_tail(&path, 2).len() as u64, WINDOW);
    }

    #[test]
    fn a_missing_log_is_said_to_be_missing() {
        assert!(log_tail(Path::new("no/such/log"), 5).contains("cannot be read"));
    }
}
