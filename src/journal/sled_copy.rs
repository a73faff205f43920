//! New files for the store's contents, after its disk failed to write the old ones.
#![allow(clippy::disallowed_methods, reason = "the journal lives on the boot disk, never on a drive")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

/// Makes a synced copy of the folder beside it. A store that has failed writes to it no more.
pub(super) fn copy(dir: &Path) -> io::Result<()> {
    let copy = copy_of(dir);
    match fs::remove_dir_all(&copy) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    copy_folder(dir, &copy)?;
    sync_parent(dir)
}

/// Puts the copy in the folder's place, in one step.
pub(super) fn put_in_place(dir: &Path) -> io::Result<()> {
    rustix::fs::renameat_with(CWD, copy_of(dir), CWD, dir, RenameFlags::EXCHANGE)?;
    sync_parent(dir)?;
    tracing::info!(dir = %dir.display(), "the journal goes on in new files: its disk failed to write the old ones");
    Ok(())
}

/// Fails unless the disk takes a new file and makes it durable.
pub(super) fn try_disk(dir: &Path) -> io::Result<()> {
    let trial = dir.with_extension("trial");
    let mut file = File::create(&trial)?;
    let tried = file.write_all(b"twinstick\n").and_then(|()| file.sync_all());
    fs::remove_file(&trial)?;
    tried
}

/// Fails unless all that is in the folder can be read.
pub(super) fn try_reading(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            try_reading(&entry.path())?;
        } else {
            io::copy(&mut File::open(entry.path())?, &mut io::sink())?;
        }
    }
    Ok(())
}

/// Removes what an earlier copying left. Whatever moment it was cut short at, nobody needs that.
pub(super) fn remove_left_over(dir: &Path) {
    match fs::remove_dir_all(copy_of(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "an old copy of the journal stays");
        }
        Ok(()) | Err(_) => {}
    }
}

fn copy_of(dir: &Path) -> PathBuf {
    dir.with_extension("copy")
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
            File::open(&to)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}

fn sync_parent(dir: &Path) -> io::Result<()> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
