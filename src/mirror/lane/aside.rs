//! Setting aside what is in the way and not ours to destroy.

use crate::ids::{Lsn, NodeId};
use crate::journal::FileNode;
use crate::mirror::lane::carry::Carried;
use crate::mirror::lane::{Batch, Lane};
use crate::mirror::layout;
use crate::mirror::reconcile::aside::{Cause, Item};
use crate::mirror::volume::{Disposition, FileKind, FsKind, Result};
use crate::path::OWN_FOLDER;

/// Things set aside on one drive before the lane leaves what is in its way.
pub(super) const ASIDE_MAX: u64 = 10_000;
/// How far a time stamp may be from what it was set to: FAT keeps even seconds.
const MTIME_SLACK_NS: u64 = 2_000_000_000;

/// How something gets into the aside folder.
enum WayAside {
    Copied,
    Renamed,
}

impl Lane {
    /// Moves a file or folder that the mirror did not write into the aside folder; false where that is full. `lsn`
    /// is that of the mirror's version.
    pub(super) fn set_aside(&mut self, batch: &mut Batch, path: &str, cause: Cause, lsn: Lsn) -> Result<bool> {
        if self.work.aside >= ASIDE_MAX {
            return Ok(false);
        }
        let (item, folder) = loop {
            let item = Item::new(self.arrival, self.drafts, cause, batch.now_ns, lsn).to_string();
            let folder = layout::join(layout::ASIDE_FOLDER, &item);
            self.drafts += 1;
            match self.volume.make_folder(&folder) {
                Ok(()) => break (item, folder),
                Err(error) if error.disposition == Disposition::InTheWay => {}
                Err(error) => return Err(error),
            }
        };
        let folder = self.make_folders_above(batch, folder, was_at(path))?;
        let to = layout::join(&folder, path.rsplit('/').next().unwrap_or(path));
        match self.way_aside(cause) {
            WayAside::Copied if self.carry(&item, path, &to)? == Carried::Copied => {}
            WayAside::Copied | WayAside::Renamed => self.volume.rename(path, &to)?,
        }
        tracing::warn!(drive = %self.side, from = path, to, "set aside: not what the mirror wrote");
        self.work.aside += 1;
        batch.aside.push(item);
        batch.touch(path);
        batch.touch(&to);
        Ok(true)
    }

    fn way_aside(&self, cause: Cause) -> WayAside {
        match (self.volume.kind(), cause) {
            (FsKind::Fat, Cause::Edited | Cause::Found) => WayAside::Copied,
            // Of what is damaged there is a whole copy.
            (FsKind::Fat, Cause::Damaged) | (FsKind::Atomic, _) => WayAside::Renamed,
        }
    }

    /// Makes the folders that `path` was in below `top`, so that what lies there tells where it was; the last of them.
    fn make_folders_above(&self, batch: &mut Batch, top: String, path: &str) -> Result<String> {
        let mut folder = top;
        batch.touch(&folder);
        for name in layout::parent(path).split('/').filter(|name| !name.is_empty()) {
            let below = layout::join(&folder, name);
            self.volume.make_folder(&below)?;
            batch.touch(&below);
            folder = below;
        }
        // FAT keeps no order among names: what is moved must not get to where nothing leads.
        if self.volume.kind() == FsKind::Fat {
            let mut made = folder.as_str();
            while made.len() > layout::ASIDE_FOLDER.len() {
                self.volume.sync_folder(made)?;
                made = layout::parent(made);
            }
            self.volume.sync_folder(layout::ASIDE_FOLDER)?;
        }
        Ok(folder)
    }

    /// What something foreign at a node's place is taken for: as `cause` says, unless the mirror itself was at work there
    /// when the drive left, and what is left of that may be half of it. Only on FAT: elsewhere a name is given in one
    /// step to what was synced before.
    pub(super) fn blamed(&self, id: NodeId, cause: Cause) -> Cause {
        match self.volume.kind() {
            FsKind::Fat if self.shaken.contains(&id) => Cause::Damaged,
            FsKind::Fat | FsKind::Atomic => cause,
        }
    }

    /// Why what lies where a file was is not the file: what still has the size and the time that the mirror gave it
    /// was changed by nobody.
    pub(super) fn cause(&self, path: &str, file: &FileNode) -> Result<Cause> {
        let is_as_written = self.volume.stat(path)?.is_some_and(|meta| {
            meta.kind == FileKind::File
                && meta.observed.size == file.version.size
                && meta.observed.mtime_ns.abs_diff(file.mtime_ns) <= MTIME_SLACK_NS
        });
        Ok(if is_as_written { Cause::Damaged } else { Cause::Edited })
    }
}

/// Where something was in the users' tree: what waited in limbo was nowhere.
fn was_at(path: &str) -> &str {
    let own = path.strip_prefix(OWN_FOLDER).is_some_and(|rest| rest.starts_with('/'));
    if own { path.rsplit('/').next().unwrap_or(path) } else { path }
}
