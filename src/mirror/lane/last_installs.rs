//! Whether what a drive was given before it left is whole. On FAT a power cut can hurt it, and its neighbours too.

use std::collections::BTreeSet;

use crate::ids::NodeId;
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Copy, Debt, DriveFact, FileNode, Fresh, Node, Place};
use crate::mirror::content::{Found, compare, compare_bytes};
use crate::mirror::lane::LaneError;
use crate::mirror::lane::reclaim::Arrived;
use crate::mirror::lane::search::Search;
use crate::mirror::layout;
use crate::mirror::volume::FsKind;

/// Children of a folder read at once.
const PAGE: usize = 1024;

/// The folders that a debt may have a lane change the names of.
pub(super) fn folders_of(debt: &Debt) -> impl Iterator<Item = NodeId> {
    let held = debt.have.iter().chain(&debt.maybe).map(|held| &held.place);
    held.chain(&debt.want).map(|place| place.parent)
}

impl Search<'_> {
    /// Reads back all that was installed since the last checkpoint, and on FAT looks at what lies beside it and in
    /// `folders`, whose names may have been changing when the drive left: a sector of a folder holds the entries of
    /// several files. Of these the entry must be what was read back after their install, else the bytes decide; that a
    /// file's entry is whole and its bytes are not, the digests of its blocks tell before it is served.
    pub(super) fn verify_last_installs(
        &mut self,
        arrived: &mut Arrived,
        mut folders: BTreeSet<NodeId>,
    ) -> Result<(), LaneError> {
        let unsettled = self.journal.snapshot().unsettled(self.side)?;
        let mut seen = BTreeSet::new();
        for (node, fresh) in unsettled {
            folders.insert(fresh.place.parent);
            let Some((place, file)) = self.installed(node, fresh)? else { continue };
            seen.insert(node);
            let Some(folder) = self.folder_path(place.parent)? else { continue };
            let path = layout::join(&folder, place.name.as_str());
            let found = compare_bytes(self.volume, &path, &file.version)?;
            arrived.files += 1;
            arrived.bytes += file.version.size;
            self.judge(arrived, &path, place, file, found);
        }
        match self.volume.kind() {
            FsKind::Atomic => Ok(()),
            FsKind::Fat => folders.into_iter().try_for_each(|folder| self.verify_neighbours(arrived, folder, &seen)),
        }
    }

    /// The file that was installed, if it is still current and nothing is owed for it.
    fn installed(&self, node: NodeId, fresh: Fresh) -> Result<Option<(Place, FileNode)>, StoreError> {
        let Some(file) = self.journal.file(&fresh.place, node)? else { return Ok(None) };
        let owed = self.journal.snapshot().debt(self.side, node)?.is_some();
        Ok((file.lsn == fresh.lsn && !owed).then_some((fresh.place, file)))
    }

    fn verify_neighbours(
        &mut self,
        arrived: &mut Arrived,
        parent: NodeId,
        seen: &BTreeSet<NodeId>,
    ) -> Result<(), LaneError> {
        let Some(folder) = self.folder_path(parent)? else { return Ok(()) };
        let mut after = None;
        loop {
            let page = self.journal.snapshot().children(parent, after.as_ref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (name, node) in page {
                let Node::File(file) = node else { continue };
                let Copy::Installed { observed, .. } = *file.copies.get(self.side) else { continue };
                if seen.contains(&file.id) || self.owes(file.id)? {
                    continue;
                }
                let path = layout::join(&folder, name.as_str());
                let found = compare(self.volume, &path, &file.version, Some(observed))?;
                self.judge(arrived, &path, Place::new(parent, name), file, found);
            }
        }
    }

    fn judge(&self, arrived: &mut Arrived, path: &str, place: Place, file: FileNode, found: Found) {
        match found {
            Found::Same(_) => {}
            Found::Nothing | Found::Other => {
                tracing::warn!(drive = %self.side, path, "damaged since the last checkpoint");
                arrived.shaken.insert(file.id);
                arrived.facts.push(DriveFact::Damaged { side: self.side, place, file });
            }
        }
    }
}
