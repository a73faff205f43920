//! The lock on a state directory: one process at a time, and the next one is told which.
#![allow(clippy::disallowed_methods, reason = "the state directory lies on the boot disk, never on a drive")]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::daemon::begun::Begun;

/// The file that is locked; its text names who holds it.
pub const LOCK_FILE: &str = "lock";
/// Longest text that is read from it, in bytes.
const HOLDER_BYTES_MAX: u64 = 200;

/// A state directory is ours until this is dropped, or the process ends however it ends.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// Why a state directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum StateLockError {
    #[error("{holder} is using {}: stop it first", state.display())]
    Held { holder: String, state: PathBuf },
    #[error(
        "{}: an init was cut short here: run the same twinstickd init again, it goes on where that one ended",
        .0.display()
    )]
    InitCutShort(PathBuf),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl StateLock {
    /// Takes an existing state directory of a mirror. `command` is told to others, with the process's number.
    pub fn take(state: &Path, command: &str) -> Result<Self, StateLockError> {
        let lock = Self::take_for_init(state, command)?;
        if Begun::is_left(state) { Err(StateLockError::InitCutShort(state.to_owned())) } else { Ok(lock) }
    }

    /// The same for the one that may find what an init began and did not end.
    pub(super) fn take_for_init(state: &Path, command: &str) -> Result<Self, StateLockError> {
        let path = state.join(LOCK_FILE);
        let failed = |source| StateLockError::Io { path: path.clone(), source };
        let options = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(StateLockError::Held { holder: holder(&mut file), state: state.to_owned() });
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        let text = format!("twinstickd {command}, process {}", std::process::id());
        // On a full disk nobody is named; the lock holds all the same.
        if let Err(error) = file.set_len(0).and_then(|()| file.write_all(text.as_bytes())) {
            tracing::debug!(%error, "the lock of the state directory names nobody");
        }
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(HOLDER_BYTES_MAX).read_to_string(&mut text) {
        Ok(count) if count > 0 => text.trim().to_owned(),
        Ok(_) | Err(_) => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_state_directory_that_is_taken_names_its_holder_and_is_free_again_when_the_lock_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let lock = StateLock::take(dir.path(), "serve").unwrap();
        let refused = StateLock::take(dir.path(), "check").unwrap_err().to_string();
        assert!(
            refused.starts_with(&format!("twinstickd serve, process {} is using", std::process::id())),
            "{refused}"
        );
        drop(lock);
        StateLock::take(dir.path(), "check").unwrap();
        assert!(matches!(StateLock::take(&dir.path().join("none"), "serve"), Err(StateLockError::Io { .. })));
    }
}
