//! Changes of names on vfat and exfat, in an order that no power cut can turn into two names for the same clusters.
//!
//! FAT has no journal: names, the table of clusters and data reach the medium each for itself. Four things follow, all
//! seen in cuts of Linux 6.1 that were replayed with and without lost write caches:
//!
//! - **A name must not point to clusters that the table has free.** The next file gets them, and whoever removes
//!   the first one frees the second one's. The sync of a file writes its name's pointer *before* the table; that of
//!   a folder writes the table, and of a new file's name only the letters. So: folder first, then the file.
//! - **A name must be gone from the medium before its clusters are free.** The kernel frees them when the last
//!   handle of the file is closed. So: remove the name while a handle is held, sync the folder, close.
//! - **A moved file must lose its old name before it gets the new one.** The kernel gives the new name its pointer
//!   when the file itself is written. So: rename, sync the old folder, the new folder, then the file. A cut between
//!   them leaves no name: the version is lost here, and its clusters to fsck. That is why a last copy is never
//!   renamed, nor a folder of the mirror's, and only one drive at a time does such things. exfat writes the pointer at
//!   once, and both folders in one go.
//! - **A folder's new cluster must be written before the table says that it is the folder's** ([`Syncs`]). Else what lay
//!   there last counts as names: those of a removed folder, or rubbish that makes the kernel give up the folder. So a
//!   folder that grew is synced first of all. A moved file then has both names for a moment; the new one leads nowhere
//!   yet.
//!
//! [`Syncs`]: super::syncs::Syncs

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};

use crate::mirror::layout;
use crate::mirror::os_volume::errno::Act;
use crate::mirror::os_volume::{OsVolume, PLAIN, READ};
use crate::mirror::volume::{Result, VolumePath};

impl OsVolume {
    /// Renames, and makes durable that the old name is gone before the new one leads anywhere.
    pub(super) fn rename_on_fat(&self, from: &VolumePath, to: &VolumePath) -> Result<()> {
        let moved = self
            .open_below(from, READ, Mode::empty(), ResolveFlags::empty())
            .map_err(Act::Change.of("open to rename", from))?;
        // Before anything is changed: what lacks a descriptor can be done again as a whole.
        let left = self.folder_of(from)?;
        let entered = (layout::parent(from) != layout::parent(to)).then(|| self.folder_of(to)).transpose()?;
        let rename = || self.rename_free(from, to);
        self.syncs.enter(entered.as_ref().unwrap_or(&left), rename).map_err(Act::Change.of("rename", from))?;
        self.sync_folder_of(from, left)?;
        if let Some(entered) = entered {
            self.sync_folder_of(to, entered)?;
        }
        self.syncs.fsync(moved).map_err(Act::Sync.of("sync", to))
    }

    /// Removes a name, and lets go of what it led to when that is durable.
    pub(super) fn unlink_on_fat(&self, op: &'static str, path: &VolumePath, flags: AtFlags) -> Result<()> {
        // A folder, if a file is to be removed, is refused by the call below.
        let held = self.keep(path).map_err(Act::Change.of(op, path))?;
        let folder = self.folder_of(path)?;
        self.unlink(path, flags).map_err(Act::Change.of(op, path))?;
        self.sync_folder_of(path, folder)?;
        drop(held);
        Ok(())
    }

    /// Makes a folder whose cluster is taken in the table before its name leads there.
    pub(super) fn make_folder_on_fat(&self, path: &VolumePath) -> Result<()> {
        let (parent, name) = self.parent(path).map_err(Act::Change.of("make folder", path))?;
        let folder = self.folder_of(path)?;
        let change = || rustix::fs::mkdirat(&parent, name, super::FOLDER_MODE);
        // A folder that grew for it has its name in the new cluster, which comes with the table.
        self.syncs.enter(&folder, change).map_err(Act::Change.of("make folder", path))?;
        // Its descriptor is the next one's.
        drop(parent);
        // The sync of a folder that has nothing of its own to be written writes the table. It is made already: without
        // this it cannot be made again, and the drive is out.
        let made = self.open_folder(path).map_err(Act::Sync.of("open folder to sync", path))?;
        self.syncs.fsync(made).map_err(Act::Sync.of("sync folder", path))?;
        self.sync_folder_of(path, folder)
    }

    /// Writes the table first, so that no name written by the sync of all leads to what is free in it.
    pub(super) fn sync_all_on_fat(&self) -> Result<()> {
        self.syncs.fsync(&self.root).map_err(Act::Sync.of("sync folder", ""))?;
        self.syncs.syncfs(&self.root).map_err(Act::Sync.of("sync all", ""))
    }

    /// A handle that keeps a name's clusters taken.
    fn keep(&self, path: &VolumePath) -> rustix::io::Result<OwnedFd> {
        self.open_below(path, PLAIN | OFlags::PATH, Mode::empty(), ResolveFlags::empty())
    }

    /// The folder that a name is in, to be synced.
    fn folder_of(&self, path: &VolumePath) -> Result<OwnedFd> {
        let above = layout::parent(path);
        self.open_folder(above).map_err(Act::Change.of("open folder to sync", above))
    }

    fn sync_folder_of(&self, path: &VolumePath, folder: OwnedFd) -> Result<()> {
        self.syncs.fsync(folder).map_err(Act::Sync.of("sync folder", layout::parent(path)))
    }
}
