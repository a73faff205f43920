//! Setting aside what is in the way and not ours to destroy.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Lsn, NodeId};
use crate::journal::{FileNode, Observed};
use crate::mirror::lane::carry::Carried;
use crate::mirror::lane::{Batch, Lane};
use crate::mirror::layout;
use crate::mirror::limits::AsideMax;
use crate::mirror::reconcile::aside::{Cause, Item};
use crate::mirror::reconcile::shelf::{let_go, measure};
use crate::mirror::reconcile::stock::{Admission, Rest, Stock, Taken, Totals, Worth};
use crate::mirror::volume::{Disposition, FileKind, FsKind, Result};
use crate::path::OWN_FOLDER;

/// How far a time stamp may be from what it was set to: FAT keeps even seconds.
const MTIME_SLACK_NS: u64 = 2_000_000_000;

/// How something gets into the aside folder.
enum WayAside {
    Copied,
    Renamed,
}

impl Lane {
    /// Looks through what lies aside on the drive that came. Before the first step.
    pub(crate) fn take_stock(&mut self, limit: AsideMax) -> Result<()> {
        self.count_aside(limit.of(self.volume.space()?.size))
    }

    fn count_aside(&mut self, bytes_max: u64) -> Result<()> {
        self.stock = Stock::new(bytes_max);
        let volume = self.volume.as_ref();
        let (names, said): (Vec<_>, Vec<_>) =
            volume.list(layout::ASIDE_FOLDER)?.names.into_iter().partition(|name| layout::lies_aside(name));
        let mut replaced: BTreeSet<_> = said.iter().filter_map(|name| layout::replaced_of(name)).collect();
        for name in names {
            let bytes = measure(volume, &layout::join(layout::ASIDE_FOLDER, &name))?;
            let worth = if replaced.remove(name.as_str()) { Worth::Replaced } else { Worth::Kept };
            self.stock.add(name, bytes, worth);
        }
        // Of what has gone.
        replaced.into_iter().try_for_each(|item| volume.remove_file(&layout::replaced(item)))
    }

    /// What lies aside.
    pub(crate) fn stock(&self) -> &Stock {
        &self.stock
    }

    /// Others took some of what lies aside, or all.
    pub(crate) fn note_taken(&mut self, taken: &[Taken]) {
        for taken in taken {
            self.stock.take(taken);
        }
    }

    /// Makes room for so much more in the aside folder, if there is some to be made: what a repair replaced goes, the
    /// oldest first.
    fn has_room_aside(&mut self, batch: &mut Batch, bytes: u64) -> Result<bool> {
        let mut admission = self.stock.admit(bytes);
        if admission == Admission::Full {
            // Its owner may have emptied it by hand.
            let names = self.volume.list(layout::ASIDE_FOLDER)?.names;
            let Totals { items, bytes_max, .. } = self.stock.totals();
            if names.iter().filter(|name| layout::lies_aside(name)).count() as u64 != items {
                self.count_aside(bytes_max)?;
                admission = self.stock.admit(bytes);
            }
        }
        let Admission::After(needless) = admission else { return Ok(false) };
        for name in needless {
            tracing::info!(drive = %self.side, item = name, "lay aside, was replaced, and is let go of for another");
            let mut gone = 0;
            let_go(self.volume.as_ref(), &name, &mut gone)?;
            batch.touch(&layout::join(layout::ASIDE_FOLDER, &name));
            self.stock.take(&Taken { name, bytes: gone, rest: Rest::Nothing });
        }
        Ok(true)
    }

    /// Notes of a damaged copy that a whole one is durably in its place now.
    pub(super) fn note_replaced(&mut self, replaced: &mut BTreeMap<NodeId, String>, node: NodeId) -> Result<()> {
        let Some(item) = replaced.remove(&node) else { return Ok(()) };
        match self.volume.create(&layout::replaced(&item)) {
            Err(error) if error.disposition == Disposition::DriveLost => return Err(error),
            // It is kept then, like all that may be nowhere else.
            Err(error) => tracing::debug!(drive = %self.side, item, %error, "not noted as replaced"),
            Ok(_) => self.stock.is_replaced(&item),
        }
        Ok(())
    }

    /// Moves a file or folder that the mirror did not write into the aside folder; false where that is full. `lsn`
    /// is that of the mirror's version.
    pub(super) fn set_aside(&mut self, batch: &mut Batch, path: &str, cause: Cause, lsn: Lsn) -> Result<bool> {
        batch.ready.clear();
        let bytes = measure(self.volume.as_ref(), path)?;
        if !self.has_room_aside(batch, bytes)? {
            return Ok(false);
        }
        let (item, top) = loop {
            let item = Item::new(self.arrival, self.drafts, cause, batch.now_ns, lsn).to_string();
            let folder = layout::join(layout::ASIDE_FOLDER, &item);
            self.drafts += 1;
            match self.volume.make_folder(&folder) {
                Ok(()) => break (item, folder),
                Err(error) if error.disposition == Disposition::InTheWay => {}
                Err(error) => return Err(error),
            }
        };
        let to = match self.move_aside(batch, &item, &top, path, cause) {
            Ok(to) => to,
            Err(error) => {
                if error.disposition != Disposition::DriveLost {
                    self.remove_empty(batch, &layout::join(&top, layout::parent(was_at(path))));
                    // What says that it is being copied, not before the copy.
                    if self.volume.stat(&top)?.is_some() {
                        self.stock.add(item, measure(self.volume.as_ref(), &top)?, Worth::Kept);
                    } else {
                        let _ = self.volume.remove_file(&layout::part(&item));
                    }
                }
                return Err(error);
            }
        };
        tracing::warn!(drive = %self.side, from = path, to, "set aside: not what the mirror wrote");
        self.stock.add(item.clone(), bytes, Worth::Kept);
        batch.aside.push(item);
        batch.touch(path);
        batch.touch(&to);
        Ok(true)
    }

    /// Moves something into an item's folder; where it lies then.
    fn move_aside(&self, batch: &mut Batch, item: &str, top: &str, path: &str, cause: Cause) -> Result<String> {
        let folder = self.make_folders_above(batch, top.to_owned(), was_at(path))?;
        let to = layout::join(&folder, path.rsplit('/').next().unwrap_or(path));
        match self.way_aside(cause) {
            WayAside::Copied if self.carry(item, path, &to)? == Carried::Copied => {}
            WayAside::Copied | WayAside::Renamed => self.volume.rename(path, &to)?,
        }
        Ok(to)
    }

    /// Removes an item's folders, into which nothing came. What cannot be removed, or has something in it, stays.
    fn remove_empty(&self, batch: &mut Batch, deepest: &str) {
        let mut folder = deepest.trim_end_matches('/');
        while folder.len() > layout::ASIDE_FOLDER.len() {
            let _ = self.volume.remove_folder(folder);
            batch.folders.remove(folder);
            folder = layout::parent(folder);
        }
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
        self.cause_of_change(path, Observed { size: file.version.size, mtime_ns: file.mtime_ns })
    }

    /// The same of an outdated version, of which only its size and time are known; nobody knows what is not.
    pub(super) fn cause_of_old(&self, path: &str, observed: Option<Observed>) -> Result<Cause> {
        observed.map_or(Ok(Cause::Edited), |written| self.cause_of_change(path, written))
    }

    fn cause_of_change(&self, path: &str, written: Observed) -> Result<Cause> {
        let is_as_written = self.volume.stat(path)?.is_some_and(|meta| {
            meta.kind == FileKind::File
                && meta.observed.size == written.size
                && meta.observed.mtime_ns.abs_diff(written.mtime_ns) <= MTIME_SLACK_NS
        });
        Ok(if is_as_written { Cause::Damaged } else { Cause::Edited })
    }
}

/// Where something was in the users' tree: what waited in limbo was nowhere.
fn was_at(path: &str) -> &str {
    let own = path.strip_prefix(OWN_FOLDER).is_some_and(|rest| rest.starts_with('/'));
    if own { path.rsplit('/').next().unwrap_or(path) } else { path }
}
