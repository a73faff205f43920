//! Throwing away, bringing back, letting go.

use crate::ids::{Lsn, NodeId, PerSide, Side};
use crate::journal::catalog::{Catalog, Resolved};
use crate::journal::codec;
use crate::journal::draft::Draft;
use crate::journal::plan::{PlanError, Planner, above};
use crate::journal::precondition::Precondition;
use crate::journal::record::{Deed, FileNode, FolderNode, Node, Overwrite, Place, Receipt, Version};
use crate::journal::store::StoreError;
use crate::journal::trash::record::{Cause, Keeping, Kept, OVERWRITTEN_EVERY, Remains, VERSIONS_MAX, name_in_trash};
use crate::journal::usage::{Quotas, counted};
use crate::path::RelPath;

/// What is asked to come back, and what becomes of what has its place now.
pub(in crate::journal) struct Wanted<'a> {
    pub(in crate::journal) path: &'a RelPath,
    /// The entry that threw it away; `None`: the newest of that path.
    pub(in crate::journal) lsn: Option<Lsn>,
    /// Of folders that are missing above it.
    pub(in crate::journal) mtime_ns: i64,
    pub(in crate::journal) keeping: Option<Keeping>,
    pub(in crate::journal) quotas: &'a Quotas,
}

impl Planner<'_, '_> {
    /// Whether a version that is about to be overwritten is kept.
    pub(in crate::journal) fn keeps(
        &self,
        path: &RelPath,
        old: &FileNode,
        new: &Version,
        keeping: Option<Keeping>,
    ) -> Result<Option<Keeping>, StoreError> {
        let Some(keeping) = keeping else { return Ok(None) };
        let same = old.version.size == new.size && old.version.crc32 == new.crc32;
        if same || !is_held(old) {
            return Ok(None);
        }
        let Some(last) = self.draft.kept_of(path)?.pop() else { return Ok(Some(keeping)) };
        let soon = keeping.at.since(last.keeping.at) < OVERWRITTEN_EVERY;
        // What a move or an undo brought here may be as old as it likes.
        let young = self.draft.is_made_since(&last, old.id)?;
        Ok((!(soon && young)).then_some(keeping))
    }

    /// Moves a file into the trash, as a part of entry `lsn`. Its record at `place` is the caller's to replace or
    /// remove, behind this: cut short between the two, a node has two places rather than none.
    pub(in crate::journal) fn throw_away(
        &mut self,
        lsn: Lsn,
        path: &RelPath,
        place: &Place,
        file: FileNode,
        (cause, keeping): (Cause, Keeping),
    ) -> Result<Place, StoreError> {
        let name = name_in_trash(lsn, &place.name);
        let remains = Remains::File { node: file.id, name: name.clone(), size: file.version.size };
        let to = Place::new(NodeId::TRASH, name);
        self.relocate(lsn, &Node::File(file.clone()), place, &to)?;
        self.draft.set(codec::node(&to), &Node::File(FileNode { lsn, ..file }));
        self.note_kept(&Kept { lsn, path: path.to_string(), cause, remains, keeping })?;
        Ok(to)
    }

    /// Remembers an empty folder that is removed.
    pub(in crate::journal) fn remember_folder(
        &mut self,
        lsn: Lsn,
        path: &RelPath,
        folder: &FolderNode,
        keeping: Keeping,
    ) -> Result<(), StoreError> {
        let remains = Remains::Folder { mtime_ns: folder.mtime_ns };
        self.note_kept(&Kept { lsn, path: path.to_string(), cause: Cause::Removed, remains, keeping })
    }

    fn note_kept(&mut self, kept: &Kept) -> Result<(), StoreError> {
        self.draft.add_kept(kept, Some(self.counters.next_node));
        if let Ok(path) = RelPath::parse(&kept.path) {
            let versions = self.draft.kept_of(&path)?;
            for oldest in versions.iter().take(versions.len().saturating_sub(VERSIONS_MAX)) {
                self.let_go(kept.lsn, oldest)?;
            }
        }
        Ok(())
    }

    /// Brings something back; what has its place goes to the trash by the same entry.
    pub(in crate::journal) fn restore(
        &mut self,
        wanted: &Wanted<'_>,
        present: PerSide<bool>,
        answered: impl FnOnce(&mut Self, &Receipt),
    ) -> Result<Receipt, PlanError> {
        let nothing = || Precondition::NotInTrash(wanted.path.clone());
        let versions = self.draft.kept_of(wanted.path)?;
        let kept = match wanted.lsn {
            None => versions.last(),
            Some(lsn) => versions.iter().find(|kept| kept.lsn == lsn),
        };
        let kept = kept.cloned().ok_or_else(nothing)?;
        match kept.remains.place() {
            Some(place) => match self.draft.node(&place)? {
                Some(Node::File(file)) => self.restore_file(wanted, &kept, &place, file, present, answered),
                Some(Node::Folder(_)) | None => Err(nothing().into()),
            },
            None => self.restore_folder(wanted, &kept, present, answered),
        }
    }

    fn restore_file(
        &mut self,
        wanted: &Wanted<'_>,
        kept: &Kept,
        from: &Place,
        file: FileNode,
        present: PerSide<bool>,
        answered: impl FnOnce(&mut Self, &Receipt),
    ) -> Result<Receipt, PlanError> {
        self.check_quota(wanted.quotas, wanted.path, counted(&file))?;
        let (to, now) = self.place_for_file(wanted.path, Overwrite::Yes, wanted.mtime_ns)?;
        self.count(now.as_ref().map(counted), Some(counted(&file)))?;
        if now.is_none() {
            self.name_comes(&to);
        }
        let (lsn, id, version) = (self.next_lsn(), file.id, file.version);
        // First, so that it is not the version too many of its path.
        self.draft.remove_kept(kept);
        if let Some(now) = now {
            match wanted.keeping.filter(|_| is_held(&now)) {
                Some(keeping) => {
                    self.throw_away(lsn, wanted.path, &to, now, (Cause::Overwritten, keeping))?;
                }
                None => drop(self.vanish(lsn, &Node::File(now), &to)?),
            }
        }
        self.relocate(lsn, &Node::File(file.clone()), from, &to)?;
        self.draft.set(codec::node(&to), &Node::File(FileNode { lsn, ..file }));
        self.draft.remove(codec::node(from));
        let receipt = crate::journal::plan::receipt(lsn, present);
        answered(self, &receipt);
        let deed = Deed::Restore { path: wanted.path.to_string(), from: kept.lsn, version: Some(version) };
        self.end(lsn, deed, id, Some(to), PerSide::new(|_| true));
        Ok(receipt)
    }

    fn restore_folder(
        &mut self,
        wanted: &Wanted<'_>,
        kept: &Kept,
        present: PerSide<bool>,
        answered: impl FnOnce(&mut Self, &Receipt),
    ) -> Result<Receipt, PlanError> {
        let path = wanted.path;
        let Remains::Folder { mtime_ns } = kept.remains else { return Err(Precondition::Root.into()) };
        match self.draft.resolve(path)? {
            Resolved::Root => Err(Precondition::Root.into()),
            Resolved::Found(_, Node::File(_)) => Err(Precondition::NotAFolder(path.clone()).into()),
            Resolved::BelowAFile { depth } => Err(Precondition::NotAFolder(above(path, depth)).into()),
            Resolved::Found(place, Node::Folder(folder)) => {
                let lsn = self.next_lsn();
                self.draft.remove_kept(kept);
                let receipt = crate::journal::plan::receipt(lsn, present);
                answered(self, &receipt);
                let deed = Deed::Restore { path: path.to_string(), from: kept.lsn, version: None };
                self.end(lsn, deed, folder.id, Some(place), PerSide::default());
                Ok(receipt)
            }
            Resolved::Missing { parent, depth } => {
                self.check_names(path, parent, depth, None)?;
                let parent = self.make_missing(path, parent, depth, wanted.mtime_ns);
                let (_, name) = path.split_last().ok_or(Precondition::Root)?;
                let kept = kept.clone();
                let answered = |planner: &mut Self, lsn| {
                    planner.draft.remove_kept(&kept);
                    answered(planner, &crate::journal::plan::receipt(lsn, present));
                };
                let (lsn, _) = self.add_folder(path, parent, name, mtime_ns, answered);
                Ok(crate::journal::plan::receipt(lsn, present))
            }
        }
    }

    /// Lets go of one thing in the trash for good.
    pub(in crate::journal) fn purge(&mut self, lsn: Lsn, present: PerSide<bool>) -> Result<Receipt, PlanError> {
        let Some(kept) = self.draft.kept(lsn)? else { return Err(Precondition::NotKept(lsn).into()) };
        let purged = self.next_lsn();
        let pending = self.let_go(purged, &kept)?;
        let node = match kept.remains {
            Remains::File { node, .. } => node,
            Remains::Folder { .. } => NodeId::TRASH,
        };
        self.end(purged, Deed::Purge { path: kept.path, from: lsn }, node, None, pending);
        Ok(crate::journal::plan::receipt(purged, present))
    }

    /// Removes something from the trash, as a part of entry `lsn`; the drives that have something to do for it.
    fn let_go(&mut self, lsn: Lsn, kept: &Kept) -> Result<PerSide<bool>, StoreError> {
        self.draft.remove_kept(kept);
        let Some(place) = kept.remains.place() else { return Ok(PerSide::default()) };
        let Some(node) = self.draft.node(&place)? else { return Ok(PerSide::default()) };
        let pending = self.vanish(lsn, &node, &place)?;
        self.draft.remove(codec::node(&place));
        Ok(pending)
    }
}

/// Whether any drive has the bytes.
pub(in crate::journal) fn is_held(file: &FileNode) -> bool {
    Side::BOTH.into_iter().any(|side| file.copies.get(side).is_durable())
}

impl Draft<'_> {
    /// What the entry `lsn` threw away.
    pub(in crate::journal) fn kept(&self, lsn: Lsn) -> Result<Option<Kept>, StoreError> {
        self.record(&codec::kept(lsn))
    }

    /// What is in the trash of a path, oldest first: [`VERSIONS_MAX`] and one at most.
    pub(in crate::journal) fn kept_of(&self, path: &RelPath) -> Result<Vec<Kept>, StoreError> {
        let mut all = Vec::new();
        for (key, value) in self.pairs(&codec::kept_of(&path.to_string()))? {
            let lsn: Lsn = codec::decode(&key, &value)?;
            all.extend(self.kept(lsn)?);
        }
        Ok(all)
    }

    /// Whether a node was made after something was thrown away; false where that is not on record.
    fn is_made_since(&self, kept: &Kept, node: NodeId) -> Result<bool, StoreError> {
        let key = codec::kept_path(&kept.path, kept.lsn);
        let Some(value) = self.value(&key)? else { return Ok(false) };
        // One without the second number decodes as an LSN alone.
        Ok(codec::decode::<(Lsn, NodeId)>(&key, &value).is_ok_and(|(_, next)| node >= next))
    }

    /// Remembers what was thrown away; `next_node` is the first node that is made after it, where anybody knows.
    pub(in crate::journal) fn add_kept(&mut self, kept: &Kept, next_node: Option<NodeId>) {
        self.tally.kept_items += 1;
        self.tally.kept_bytes += kept.remains.bytes().cast_signed();
        self.set(codec::kept(kept.lsn), kept);
        let key = codec::kept_path(&kept.path, kept.lsn);
        match next_node {
            Some(next_node) => self.set(key, &(kept.lsn, next_node)),
            None => self.set(key, &kept.lsn),
        }
    }

    pub(in crate::journal) fn remove_kept(&mut self, kept: &Kept) {
        self.tally.kept_items -= 1;
        self.tally.kept_bytes -= kept.remains.bytes().cast_signed();
        self.remove(codec::kept_path(&kept.path, kept.lsn));
        self.remove(codec::kept(kept.lsn));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::elapsed::Elapsed;
    use crate::journal::mem_store::MemDisk;

    #[test]
    fn a_record_that_does_not_say_what_was_made_after_it_makes_no_node_young() {
        let store = MemDisk::new().open();
        let mut draft = Draft::new(&store);
        let keeping = Keeping { at: Elapsed(1), ..Keeping::default() };
        let remains = Remains::Folder { mtime_ns: 0 };
        let kept = Kept { lsn: Lsn(7), path: "f".to_owned(), cause: Cause::Removed, remains, keeping };
        // As it was recorded before there was more to say.
        draft.add_kept(&kept, None);
        let all = |draft: &Draft<'_>| draft.kept_of(&RelPath::parse("f").unwrap()).unwrap();
        assert_eq!(all(&draft), std::slice::from_ref(&kept));
        assert!(!draft.is_made_since(&kept, NodeId(u64::MAX)).unwrap());
        draft.remove_kept(&kept);
        draft.add_kept(&kept, Some(NodeId(3)));
        assert_eq!(all(&draft), std::slice::from_ref(&kept));
        assert!(draft.is_made_since(&kept, NodeId(3)).unwrap() && !draft.is_made_since(&kept, NodeId(2)).unwrap());
    }
}
