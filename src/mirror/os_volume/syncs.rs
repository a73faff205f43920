//! Syncs of a drive, and on FAT the names that must be synced before any of them.

use std::os::fd::AsFd;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::mirror::volume::FsKind;

/// On FAT every sync, of whatever, writes the whole table of clusters. One that came between a folder's growth and the
/// write of its new cluster would leave a folder whose names are those of what lay there last.
#[derive(Clone, Debug)]
pub(super) struct Syncs {
    /// Shared by those who sync, taken alone by who may give a folder a cluster. `None` where there is a journal.
    table: Option<Arc<RwLock<()>>>,
}

impl Syncs {
    pub(super) fn of(kind: FsKind) -> Self {
        let table = match kind {
            FsKind::Atomic => None,
            FsKind::Fat => Some(Arc::default()),
        };
        Self { table }
    }

    /// Whether a sync would begin at once.
    #[cfg(test)]
    pub(super) fn is_free(&self) -> bool {
        self.table.as_ref().is_none_or(|table| table.try_read().is_some())
    }

    pub(super) fn fsync(&self, handle: impl AsFd) -> rustix::io::Result<()> {
        let _shared = self.table.as_ref().map(|table| table.read());
        rustix::fs::fsync(handle)
    }

    pub(super) fn syncfs(&self, root: impl AsFd) -> rustix::io::Result<()> {
        let _shared = self.table.as_ref().map(|table| table.read());
        rustix::fs::syncfs(root)
    }

    /// Does what adds a name to `folder`. If the folder took a cluster for it, that is written before anybody's sync
    /// says in the table that it is the folder's: the sync of a folder writes its names first, then the table.
    pub(super) fn enter<T>(
        &self,
        folder: impl AsFd,
        change: impl FnOnce() -> rustix::io::Result<T>,
    ) -> rustix::io::Result<T> {
        let Some(table) = &self.table else { return change() };
        let _alone = table.write();
        // A folder's size on FAT is that of its clusters.
        let before = rustix::fs::fstat(&folder)?.st_size;
        let done = change()?;
        if rustix::fs::fstat(&folder)?.st_size != before {
            rustix::fs::fsync(&folder)?;
        }
        Ok(done)
    }
}
