//! Moving on FAT without ever renaming a folder, or a last copy.
//!
//! A power cut in a rename leaves on vfat no name at all, or one that leads nowhere and makes the kernel turn the whole
//! file system read-only (`fat_validate_dir`); on exfat both names, each with the same clusters. Of a file the other
//! drive has another copy; of a folder that would be everything in it. So a folder is made anew, its files are moved one
//! by one, and what remains of the old one is removed.

use crate::ids::NodeId;
use crate::journal::{Catalog, Content, Debt, DriveFact, FileNode, Held, Node, Place, Version};
use crate::mirror::content::{Found, compare_bytes, pour};
use crate::mirror::lane::{Batch, Lane, LaneError, Progress};
use crate::mirror::layout;
use crate::mirror::volume::{Attributes, FsKind};

/// Nodes that one step takes out of the way of a folder that cannot be made before they are.
const CHILDREN_MAX: usize = 256;

type Result<T> = std::result::Result<T, LaneError>;

impl Lane {
    /// Whether folders are taken apart here, not renamed.
    pub(super) fn takes_apart(&self) -> bool {
        match self.volume.kind() {
            FsKind::Fat => true,
            FsKind::Atomic => false,
        }
    }

    /// Lets what is in a folder be owed from where it is; from the next step on it moves.
    pub(super) fn take_apart(&self, batch: &mut Batch, id: NodeId, at: &Place) -> Progress {
        batch.facts.push(DriveFact::TakenApart { side: self.side, folder: id, at: at.clone() });
        batch.deferred.insert(id);
        Progress::Deferred
    }

    /// Takes a folder out of another's place: that of a removed one, or of one taken apart, is free once all in it is
    /// gone; what waits for the place itself goes to limbo meanwhile.
    pub(super) fn evict_folder(&mut self, batch: &mut Batch, id: NodeId, debt: &Debt, held: &Held) -> Result<()> {
        if debt.want.is_some() {
            self.take_apart(batch, id, &held.place);
            return Ok(());
        }
        let children = self.journal.snapshot().claims_in(self.side, id, CHILDREN_MAX)?;
        for child in children {
            if batch.placed.contains_key(&child) || batch.deferred.contains(&child) {
                continue;
            }
            let Some(owed) = self.journal.snapshot().debt(self.side, child)? else { continue };
            let waits = match &owed.want {
                // Also where what is in its way may wait for this place in turn, or is this folder.
                Some(home) => self.folder_path(batch, home.parent)?.is_none() || self.is_claimed(child, home)?,
                // A folder in it that is empty but for such.
                None => true,
            };
            if let Some(held) = owed.have.filter(|held| waits && held.place.parent == id) {
                self.evict(batch, child, &held.place)?;
            }
        }
        Ok(())
    }

    /// Whether others have a place, or may have it.
    fn is_claimed(&self, id: NodeId, place: &Place) -> Result<bool> {
        let claims = self.journal.snapshot().claims_to(self.side, place, 2)?;
        Ok(claims.into_iter().any(|other| other != id))
    }

    /// Moves a file to limbo, by a copy where it is the last one; where that lies then. `None` where the copy is bad.
    pub(super) fn leave_for_limbo(
        &self,
        batch: &Batch,
        id: NodeId,
        debt: &Debt,
        content: Content,
        path: &str,
    ) -> Result<Option<String>> {
        let limbo = layout::limbo(id);
        // Left over from a copy that was cut short.
        if self.takes_apart() && self.volume.stat(&limbo)?.is_some() {
            self.volume.remove_file(&limbo)?;
        }
        if let Some((file, version)) = self.last_copy(batch, id, debt, content)? {
            if !self.copy(path, &limbo, &file, version)? {
                self.volume.remove_file(&limbo)?;
                return Ok(None);
            }
            self.volume.remove_file(path)?;
        } else {
            self.volume.rename(path, &limbo)?;
        }
        Ok(Some(limbo))
    }

    /// The node of what is held, and its version, if that is current and on FAT the last copy.
    fn last_copy(
        &self,
        batch: &Batch,
        id: NodeId,
        debt: &Debt,
        content: Content,
    ) -> Result<Option<(FileNode, Version)>> {
        let (Content::File { version, .. }, Some(place)) = (content, &debt.want) else { return Ok(None) };
        let node = self.journal.snapshot().node(place)?.filter(|node| node.id() == id);
        let Some(Node::File(file)) = node else { return Ok(None) };
        let last = version == file.version && self.is_last_on_fat(batch, place, &file);
        Ok(last.then_some((file, version)))
    }

    /// Makes a durable copy; whether it is right, read back from the medium.
    fn copy(&self, from: &str, to: &str, file: &FileNode, version: Version) -> Result<bool> {
        let source = self.volume.open(from)?;
        let made = self.volume.create(to)?;
        pour(&source, 0, version.size, |bytes, at| made.write_at(bytes, at))?;
        made.set_attributes(Attributes { mtime_ns: file.mtime_ns, executable: file.executable })?;
        made.sync()?;
        self.volume.sync_folder(layout::parent(to))?;
        Ok(matches!(compare_bytes(self.volume.as_ref(), to, &version)?, Found::Same(_)))
    }
}
