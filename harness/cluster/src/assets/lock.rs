//! One fetcher at a time for each binary, across processes.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

/// A lock on a file, held until dropped. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

// === impl Lock ===

impl Lock {
    /// Takes the lock. Calls `waiting` once if another holds it, and then waits for as long as it takes.
    pub(crate) fn take(path: &Path, waiting: impl FnOnce()) -> io::Result<Self> {
        let file = File::options().create(true).write(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                file.lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn the_second_waits_for_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let first = Lock::take(&path, || panic!("nobody else holds it")).unwrap();
        let (sender, waits) = mpsc::channel();
        let second = thread::spawn(move || {
            let taken = sender.clone();
            let lock = Lock::take(&path, || sender.send("waits").unwrap()).unwrap();
            taken.send("has it").unwrap();
            lock
        });
        assert_eq!(waits.recv().unwrap(), "waits");
        assert!(waits.try_recv().is_err());
        drop(first);
        assert_eq!(waits.recv().unwrap(), "has it");
        second.join().unwrap();
    }
}
