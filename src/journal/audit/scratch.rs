//! A copy of a journal's folder, to be looked into: sled writes whenever it is opened.
#![allow(clippy::disallowed_methods, reason = "the journal lives on the boot disk, never on a drive")]

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::journal::audit::flaw::Flaw;
use crate::journal::audit::log_file;
use crate::journal::buffered::BufferedStore;
use crate::journal::sled_store::SPACE_FLOOR_BYTES;
use crate::journal::store::StoreError;

/// Free bytes that must be left beside the copy: what the store wants at its opening, and what it may then write.
const SPARE_BYTES: u64 = 2 * SPACE_FLOOR_BYTES;
/// sled's threads may still make files when its handle is gone: so often the copy is removed …
const REMOVE_TRIES: u32 = 100;
/// … and so long between.
const REMOVE_PAUSE: Duration = Duration::from_millis(10);

/// A copy of a journal; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
}

/// Why a journal cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    #[error("{} is in use by another process: stop it first", .0.display())]
    InUse(PathBuf),
    #[error("copying the journal needs {needed} free bytes beside {}, there are {free}: make room", folder.display())]
    NoRoom { folder: PathBuf, needed: u64, free: u64 },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Scratch {
    /// Copies the folder `journal` to `folder`, which is removed first: only a look that was killed leaves one.
    /// Whoever calls holds the lock of the state directory.
    pub fn copy(journal: &Path, folder: &Path) -> Result<Self, ScratchError> {
        let _data = hold(&journal.join("db"))?;
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io_error(folder)(error)),
            Ok(()) | Err(_) => {}
        }
        check_room(journal)?;
        fs::create_dir(folder).map_err(io_error(folder))?;
        let scratch = Self { folder: folder.to_owned() };
        copy_folder(journal, folder)?;
        Ok(scratch)
    }

    /// Tells what the store itself would pass over: parts of its file that are damaged, with something behind them.
    /// To be asked before [`Scratch::open`], which lets go of what comes after the first of them.
    pub fn check_file(&self, found: &mut dyn FnMut(Flaw)) -> Result<(), ScratchError> {
        let path = self.folder.join("db");
        let gap = |gap: log_file::Gap| found(Flaw::Gap { from: gap.from, to: gap.to });
        log_file::gaps(&path, &mut { gap }).map_err(io_error(&path))
    }

    /// Opens the copy.
    pub fn open(&self) -> Result<BufferedStore, StoreError> {
        BufferedStore::open(&self.folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for _ in 1..REMOVE_TRIES {
            match fs::remove_dir_all(&self.folder) {
                Ok(()) => return,
                Err(error) if error.kind() == ErrorKind::NotFound => return,
                Err(_) => std::thread::sleep(REMOVE_PAUSE),
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "a copy of the journal stays until the next look");
        }
    }
}

/// Holds sled's own lock, so that nobody writes to what is copied.
fn hold(data: &Path) -> Result<Option<File>, ScratchError> {
    let file = match File::open(data) {
        Ok(file) => file,
        // Opening the copy will say what that means.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(data)(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Err(ScratchError::InUse(data.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(io_error(data)(error)),
    }
}

fn check_room(journal: &Path) -> Result<(), ScratchError> {
    let needed = size_of(journal)?.saturating_add(SPARE_BYTES);
    let space = rustix::fs::statvfs(journal).map_err(|errno| io_error(journal)(errno.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free < needed { Err(ScratchError::NoRoom { folder: journal.to_owned(), needed, free }) } else { Ok(()) }
}

fn size_of(folder: &Path) -> Result<u64, ScratchError> {
    let mut bytes = 0_u64;
    for entry in fs::read_dir(folder).map_err(io_error(folder))? {
        let path = entry.map_err(io_error(folder))?.path();
        let meta = fs::symlink_metadata(&path).map_err(io_error(&path))?;
        bytes = bytes.saturating_add(if meta.is_dir() { size_of(&path)? } else { meta.len() });
    }
    Ok(bytes)
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), ScratchError> {
    for entry in fs::read_dir(from).map_err(io_error(from))? {
        let entry = entry.map_err(io_error(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(io_error(&path))?.is_dir() {
            fs::create_dir(&target).map_err(io_error(&target))?;
            copy_folder(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(io_error(&path))?;
        }
    }
    Ok(())
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ScratchError {
    let path = path.to_owned();
    move |source| ScratchError::Io { path, source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::journal::store::Store;

    #[test]
    fn a_copy_is_read_and_written_while_the_original_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, folder) = (dir.path().join("journal"), dir.path().join("copy"));
        let store = BufferedStore::open(&journal).unwrap();
        store.insert(b"a", b"1").unwrap();
        store.barrier().unwrap();
        assert!(matches!(Scratch::copy(&journal, &folder), Err(ScratchError::InUse(_))));
        drop(store);
        let before = fs::read(journal.join("db")).unwrap();
        fs::create_dir_all(folder.join("left by a look that was killed")).unwrap();
        let scratch = Scratch::copy(&journal, &folder).unwrap();
        let copy = scratch.open().unwrap();
        assert_eq!(copy.get(b"a").unwrap(), Some("1".into()));
        copy.insert(b"a", b"2").unwrap();
        copy.barrier().unwrap();
        drop(copy);
        drop(scratch);
        assert!(!folder.exists());
        assert_eq!(fs::read(journal.join("db")).unwrap(), before);
    }
}
