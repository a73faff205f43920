//! From a mutation to its entry: preconditions, the catalog's changes, and what each drive then owes.
//!
//! Pure over the draft: nothing here writes to the store.

use crate::ids::{Arrival, Lsn, NodeId, PerSide, Side};
use crate::journal::catalog::{Catalog, Resolved};
use crate::journal::codec::{self, Fact};
use crate::journal::draft::{Draft, bytes_of};
use crate::journal::folded::FoldedNames;
use crate::journal::names;
use crate::journal::precondition::Precondition;
use crate::journal::record::{
    Answered, Blocks, Content, Copy, Debt, Deed, Entry, FileNode, FolderNode, Held, Mark, Mutation, Node, Overwrite,
    PAGE_BLOCKS, Parents, Place, Put, Receipt, Request, Stage,
};
use crate::journal::room::NameCounts;
use crate::journal::store::StoreError;
use crate::journal::trash::{Cause, Keeping, Wanted, is_held};
use crate::journal::usage::counted;
use crate::path::{Name, RelPath};

/// Goals given up that a debt remembers, beside what it began with; past it the oldest goes, and its leftovers are set
/// aside, not deleted.
const MAYBE_MAX: usize = 8;

const EVERY_DRIVE: PerSide<bool> = PerSide { a: true, b: true };

/// The superseded entry of a drive, what it has of the node, and what it may have.
type Owed = (Option<Debt>, Option<Held>, Vec<Held>);

#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    #[error(transparent)]
    Precondition(#[from] Precondition),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a committed mutation left without use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    pub side: Side,
    pub ticket: crate::ids::Ticket,
    pub stage: Stage,
}

/// Numbers that go on from batch to batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    pub(super) head: Lsn,
    pub(super) next_node: NodeId,
    pub(super) checkpoints: PerSide<u64>,
    /// The head when a drive was last present; the highest LSN while it is.
    pub(super) exposed: PerSide<Lsn>,
    /// The arrivals that the lanes and new stages belong to.
    pub(super) attached: PerSide<Option<Arrival>>,
    /// Drives that are filled: no entry waits for their flags.
    pub(super) filling: PerSide<bool>,
}

/// Plans the mutations of one batch, one after the other.
pub(super) struct Planner<'d, 'a> {
    pub(super) draft: &'d mut Draft<'a>,
    pub(super) counters: &'d mut Counters,
    pub(super) names: &'d NameCounts,
    pub(super) folded: &'d FoldedNames,
    /// Of the request that is being planned.
    pub(super) names_max: Option<u64>,
    pub(super) released: Vec<Released>,
}

impl Planner<'_, '_> {
    pub(super) fn plan(&mut self, request: &Request) -> Result<Receipt, PlanError> {
        self.names_max = request.names_max;
        let answered = |planner: &mut Self, receipt: &Receipt| planner.remember(request, receipt);
        match &request.mutation {
            Mutation::Put(put) => {
                if self.stages(put) == PerSide::default() {
                    return Err(Precondition::NoStage.into());
                }
                self.check_quota(&request.quotas, &put.path, (&put.owner, put.version.size))?;
                let (place, old) = self.place_for_file(&put.path, put.overwrite, put.mtime_ns)?;
                let keeping = match &old {
                    Some(old) => self.keeps(&put.path, old, &put.version, request.keeping)?,
                    None => None,
                };
                self.put(put, place, (old, keeping), answered)
            }
            Mutation::Remove { path } => self.remove(path, request, answered),
            Mutation::Restore { path, lsn, mtime_ns } => {
                let (keeping, quotas) = (request.keeping, &request.quotas);
                let wanted = Wanted { path, lsn: *lsn, mtime_ns: *mtime_ns, keeping, quotas };
                self.restore(&wanted, request.present, answered)
            }
            Mutation::Purge { lsn } => self.purge(*lsn, request.present),
            Mutation::MakeFolder { path, parents, mtime_ns } => {
                self.make_folder(path, *parents, *mtime_ns, request.present, answered)
            }
            Mutation::Move { from, to } => self.move_to(from, to, request.present, answered),
        }
    }

    /// The stages that lie on drives which did not leave since.
    fn stages(&self, put: &Put) -> PerSide<Option<Stage>> {
        PerSide::new(|side| {
            let attached = *self.counters.attached.get(side);
            put.stages.get(side).filter(|staged| Some(staged.arrival) == attached).map(|staged| staged.stage)
        })
    }

    fn remember(&mut self, request: &Request, receipt: &Receipt) {
        if let Some(id) = &request.id {
            let fingerprint = request.mutation.fingerprint();
            self.draft.set(codec::answer(id), &Answered { receipt: receipt.clone(), fingerprint });
            self.draft.set(codec::answer_order(receipt.lsn), id);
        }
    }

    pub(super) fn next_lsn(&mut self) -> Lsn {
        self.counters.head = self.counters.head.next();
        self.counters.head
    }

    fn next_node(&mut self) -> NodeId {
        let id = self.counters.next_node;
        self.counters.next_node = id.next();
        self.draft.set(codec::meta(Fact::NextNode), &self.counters.next_node);
        id
    }

    /// The place of a file to be written, with its folders made, and what is there now.
    pub(super) fn place_for_file(
        &mut self,
        path: &RelPath,
        overwrite: Overwrite,
        mtime_ns: i64,
    ) -> Result<(Place, Option<FileNode>), PlanError> {
        match self.draft.resolve(path)? {
            Resolved::Root | Resolved::Found(_, Node::Folder(_)) => Err(Precondition::IsAFolder(path.clone()).into()),
            Resolved::Found(place, Node::File(file)) => match overwrite {
                Overwrite::Yes => Ok((place, Some(file))),
                Overwrite::Version(lsn) if file.lsn == lsn => Ok((place, Some(file))),
                Overwrite::Version(wanted) => {
                    Err(Precondition::OtherVersion { path: path.clone(), wanted, now: Some(file.lsn) }.into())
                }
                Overwrite::No => Err(Precondition::Exists(path.clone()).into()),
            },
            Resolved::BelowAFile { depth } => Err(Precondition::NotAFolder(above(path, depth)).into()),
            Resolved::Missing { parent, depth } => {
                if let Overwrite::Version(wanted) = overwrite {
                    return Err(Precondition::OtherVersion { path: path.clone(), wanted, now: None }.into());
                }
                self.check_names(path, parent, depth, None)?;
                let parent = self.make_missing(path, parent, depth, mtime_ns);
                let (_, name) = path.split_last().ok_or(Precondition::Root)?;
                Ok((Place::new(parent, name.clone()), None))
            }
        }
    }

    /// Refuses new names that an enrolled drive cannot have, or the folder has no room for, before anything is made.
    pub(super) fn check_names(
        &self,
        path: &RelPath,
        parent: NodeId,
        depth: usize,
        leaving: Option<&Place>,
    ) -> Result<(), PlanError> {
        let from_here = leaving.filter(|place| place.parent == parent).map(|place| &place.name);
        let alike = |name: &Name| self.folded.find(self.draft, parent, name, from_here);
        match names::refuse(self.draft, path, depth, alike)? {
            Some(reason) => Err(reason.into()),
            None => self.check_room(path, parent, depth, leaving),
        }
    }

    /// Makes the folders of `path` from `depth` on, all but the last name; the last one's id.
    pub(super) fn make_missing(&mut self, path: &RelPath, parent: NodeId, depth: usize, mtime_ns: i64) -> NodeId {
        let mut parent = parent;
        let folders = path.names().len().saturating_sub(1);
        for (at, name) in path.names().iter().enumerate().take(folders).skip(depth) {
            parent = self.add_folder(&above(path, at + 1), parent, name, mtime_ns, |_, _| ()).1;
        }
        parent
    }

    pub(super) fn add_folder(
        &mut self,
        path: &RelPath,
        parent: NodeId,
        name: &Name,
        mtime_ns: i64,
        answered: impl FnOnce(&mut Self, Lsn),
    ) -> (Lsn, NodeId) {
        let (lsn, id) = (self.next_lsn(), self.next_node());
        let place = Place::new(parent, name.clone());
        for side in Side::BOTH {
            let debt = Debt { lsn, want: Some(place.clone()), have: None, maybe: Vec::new(), bytes: 0 };
            self.draft.set_debt(side, id, None, Some(&debt));
        }
        self.draft.set(codec::folder(id), &place);
        self.draft.set(codec::node(&place), &Node::Folder(FolderNode { id, lsn, mtime_ns }));
        self.name_comes(&place);
        answered(self, lsn);
        let deed = Deed::MakeFolder { path: path.to_string() };
        self.end(lsn, deed, id, Some(place), EVERY_DRIVE);
        (lsn, id)
    }

    fn put(
        &mut self,
        put: &Put,
        place: Place,
        old: (Option<FileNode>, Option<Keeping>),
        answered: impl FnOnce(&mut Self, &Receipt),
    ) -> Result<Receipt, PlanError> {
        let stages = self.stages(put);
        let lsn = self.next_lsn();
        self.count(old.0.as_ref().map(counted), Some((&put.owner, put.version.size)))?;
        if old.0.is_none() {
            self.name_comes(&place);
        }
        let old = match old {
            // A node of its own for each that is kept: the old one goes its way to the trash.
            (Some(file), Some(keeping)) => {
                self.throw_away(lsn, &put.path, &place, file, (Cause::Overwritten, keeping))?;
                None
            }
            (old, _) => old,
        };
        let id = match &old {
            Some(file) => file.id,
            None => self.next_node(),
        };
        let content = Content::File { version: put.version, observed: None };
        for side in Side::BOTH {
            let was = old.clone().map(Node::File);
            let (old_debt, have, maybe) = self.owed(side, id, was.as_ref(), &place)?;
            let have = have.map(|have| have.outdated(was.as_ref()));
            let bytes = if stages.get(side).is_some() { 0 } else { bytes_of(&content) };
            let debt = Debt { lsn, want: Some(place.clone()), have, maybe, bytes };
            self.draft.set_debt(side, id, old_debt.as_ref(), Some(&debt));
        }
        if let Some(old) = &old {
            self.release(old);
        }
        self.add_pages(put);
        let copies = PerSide::new(|side| stages.get(side).map_or(Copy::Missing, Copy::Staged));
        let node = FileNode {
            id,
            lsn,
            version: put.version,
            blocks: Blocks::of(&put.blocks),
            mtime_ns: put.mtime_ns,
            executable: put.executable,
            owner: put.owner.clone(),
            copies,
        };
        self.draft.set(codec::node(&place), &Node::File(node));
        let drives = Side::BOTH.into_iter().filter(|side| stages.get(*side).is_some()).collect();
        let receipt = Receipt { lsn, crc32: Some(put.version.crc32), drives };
        answered(self, &receipt);
        let deed = Deed::Put {
            path: put.path.to_string(),
            owner: put.owner.clone(),
            version: put.version,
            mtime_ns: put.mtime_ns,
            executable: put.executable,
        };
        self.end(lsn, deed, id, Some(place), EVERY_DRIVE);
        Ok(receipt)
    }

    fn remove(
        &mut self,
        path: &RelPath,
        request: &Request,
        answered: impl FnOnce(&mut Self, &Receipt),
    ) -> Result<Receipt, PlanError> {
        let (place, node) = self.existing(path)?;
        if let Node::Folder(folder) = &node
            && self.draft.has_children(folder.id)?
        {
            return Err(Precondition::NotEmpty(path.clone()).into());
        }
        let (lsn, id) = (self.next_lsn(), node.id());
        if let Node::File(file) = &node {
            self.count(Some(counted(file)), None)?;
        }
        let (to, pending) = match (node, request.keeping) {
            (Node::File(file), Some(keeping)) if is_held(&file) => {
                (Some(self.throw_away(lsn, path, &place, file, (Cause::Removed, keeping))?), EVERY_DRIVE)
            }
            (node, keeping) => {
                if let (Node::Folder(folder), Some(keeping)) = (&node, keeping) {
                    self.remember_folder(lsn, path, folder, keeping)?;
                }
                (None, self.vanish(lsn, &node, &place)?)
            }
        };
        self.draft.remove(codec::node(&place));
        self.name_goes(&place);
        let receipt = receipt(lsn, request.present);
        answered(self, &receipt);
        self.end(lsn, Deed::Remove { path: path.to_string() }, id, to, pending);
        Ok(receipt)
    }

    /// Lets a node be nowhere from entry `lsn` on; the drives that have something to do for it. Its record is the
    /// caller's to replace or remove.
    pub(super) fn vanish(&mut self, lsn: Lsn, node: &Node, place: &Place) -> Result<PerSide<bool>, StoreError> {
        let id = node.id();
        let mut pending = PerSide::default();
        for side in Side::BOTH {
            let (old_debt, have, maybe) = self.owed(side, id, Some(node), place)?;
            let have = have.map(|have| have.outdated(Some(node)));
            *pending.get_mut(side) = have.is_some() || !maybe.is_empty();
            let debt = Debt { lsn, want: None, have, maybe, bytes: 0 };
            self.draft.set_debt(side, id, old_debt.as_ref(), Some(&debt).filter(|_| *pending.get(side)));
        }
        match node {
            Node::File(file) => self.release(file),
            Node::Folder(folder) => self.draft.remove(codec::folder(folder.id)),
        }
        Ok(pending)
    }

    /// Has every drive move a node, as a part of entry `lsn`.
    pub(super) fn relocate(&mut self, lsn: Lsn, node: &Node, from: &Place, to: &Place) -> Result<(), StoreError> {
        let id = node.id();
        for side in Side::BOTH {
            let (old_debt, have, maybe) = self.owed(side, id, Some(node), from)?;
            let bytes = old_debt.as_ref().map_or(0, |debt| debt.bytes);
            let debt = Debt { lsn, want: Some(to.clone()), have, maybe, bytes };
            self.draft.set_debt(side, id, old_debt.as_ref(), Some(&debt));
        }
        Ok(())
    }

    fn make_folder(
        &mut self,
        path: &RelPath,
        parents: Parents,
        mtime_ns: i64,
        present: PerSide<bool>,
        answered: impl FnOnce(&mut Self, &Receipt),
    ) -> Result<Receipt, PlanError> {
        match (self.draft.resolve(path)?, parents) {
            (Resolved::Root, Parents::Make) => Ok(receipt(Lsn(0), present)),
            (Resolved::Found(_, Node::Folder(folder)), Parents::Make) => Ok(receipt(folder.lsn, present)),
            (Resolved::Root, Parents::MustExist) | (Resolved::Found(..), _) => {
                Err(Precondition::Exists(path.clone()).into())
            }
            (Resolved::BelowAFile { depth }, _) => Err(Precondition::NotAFolder(above(path, depth)).into()),
            (Resolved::Missing { depth, .. }, Parents::MustExist) if depth + 1 < path.names().len() => {
                Err(Precondition::NotFound(above(path, depth + 1)).into())
            }
            (Resolved::Missing { parent, depth }, _) => {
                self.check_names(path, parent, depth, None)?;
                let parent = self.make_missing(path, parent, depth, mtime_ns);
                let (_, name) = path.split_last().ok_or(Precondition::Root)?;
                let answered = |planner: &mut Self, lsn| answered(planner, &receipt(lsn, present));
                let (lsn, _) = self.add_folder(path, parent, name, mtime_ns, answered);
                Ok(receipt(lsn, present))
            }
        }
    }

    fn move_to(
        &mut self,
        from: &RelPath,
        to: &RelPath,
        present: PerSide<bool>,
        answered: impl FnOnce(&mut Self, &Receipt),
    ) -> Result<Receipt, PlanError> {
        let (old_place, node) = self.existing(from)?;
        if to.starts_with(from) && to != from {
            return Err(Precondition::IntoItself(from.clone()).into());
        }
        let new_place = match self.draft.resolve(to)? {
            Resolved::Root | Resolved::Found(..) => return Err(Precondition::Exists(to.clone()).into()),
            Resolved::BelowAFile { depth } => return Err(Precondition::NotAFolder(above(to, depth)).into()),
            Resolved::Missing { depth, .. } if depth + 1 < to.names().len() => {
                return Err(Precondition::NotFound(above(to, depth + 1)).into());
            }
            Resolved::Missing { parent, depth } => {
                self.check_names(to, parent, depth, Some(&old_place))?;
                let (_, name) = to.split_last().ok_or(Precondition::Root)?;
                Place::new(parent, name.clone())
            }
        };
        let (lsn, id) = (self.next_lsn(), node.id());
        self.relocate(lsn, &node, &old_place, &new_place)?;
        let node = match node {
            Node::File(file) => Node::File(FileNode { lsn, ..file }),
            Node::Folder(folder) => {
                self.draft.set(codec::folder(id), &new_place);
                Node::Folder(FolderNode { lsn, ..folder })
            }
        };
        // The new place first: cut short between the two, a node has two places rather than none.
        self.draft.set(codec::node(&new_place), &node);
        self.draft.remove(codec::node(&old_place));
        self.name_goes(&old_place);
        self.name_comes(&new_place);
        let receipt = receipt(lsn, present);
        answered(self, &receipt);
        let deed = Deed::Move { from: from.to_string(), to: to.to_string() };
        self.end(lsn, deed, id, Some(new_place), EVERY_DRIVE);
        Ok(receipt)
    }

    fn existing(&self, path: &RelPath) -> Result<(Place, Node), PlanError> {
        match self.draft.resolve(path)? {
            Resolved::Root => Err(Precondition::Root.into()),
            Resolved::Found(place, node) => Ok((place, node)),
            Resolved::Missing { .. } => Err(Precondition::NotFound(path.clone()).into()),
            Resolved::BelowAFile { depth } => Err(Precondition::NotAFolder(above(path, depth)).into()),
        }
    }

    /// What a drive has, and may have, of a node whose goal is about to change. The older entry is superseded.
    fn owed(&mut self, side: Side, id: NodeId, was: Option<&Node>, place: &Place) -> Result<Owed, StoreError> {
        let goal = was.map(|node| held(node, place, side));
        let Some(debt) = self.draft.debt(side, id)? else {
            return Ok((None, goal, Vec::new()));
        };
        let mut maybe = debt.maybe.clone();
        // A goal that no lane can have worked on leaves nothing behind.
        if let Some(goal) = goal
            && debt.lsn <= *self.counters.exposed.get(side)
            && !maybe.contains(&goal)
            && debt.have.as_ref() != Some(&goal)
        {
            if maybe.len() >= MAYBE_MAX {
                maybe.remove(0);
            }
            maybe.push(goal);
        }
        let checkpoints = self.counters.checkpoints;
        self.draft.mark(side, (debt.lsn, id), Mark::Settled, &checkpoints)?;
        let have = debt.have.clone();
        Ok((Some(debt), have, maybe))
    }

    /// Lets go of a version that is no longer current: its stages and its digest pages.
    fn release(&mut self, file: &FileNode) {
        for (side, copy) in file.copies.iter() {
            if let Copy::Staged(stage) = copy {
                self.released.push(Released { side, ticket: file.version.ticket, stage: *stage });
            }
        }
        self.draft.release_pages(file);
    }

    fn add_pages(&mut self, put: &Put) {
        if let Blocks::Paged(_) = Blocks::of(&put.blocks) {
            for (number, blocks) in put.blocks.chunks(PAGE_BLOCKS).enumerate() {
                let key = codec::page(put.version.ticket, number as u32);
                let value = Some(codec::encode(&blocks));
                self.draft.pages.push(crate::journal::record::Op { key, value });
            }
        }
    }

    /// Ends a mutation that `owing` drives have something to do for.
    pub(super) fn end(&mut self, lsn: Lsn, deed: Deed, node: NodeId, place: Option<Place>, owing: PerSide<bool>) {
        let pending = PerSide::new(|side| *owing.get(side) && !*self.counters.filling.get(side));
        self.draft.end_entry(|ops| Entry { lsn, deed, node, place, pending, ops });
    }
}

/// A node as a drive without debts has it.
pub(super) fn held(node: &Node, place: &Place, side: Side) -> Held {
    let content = match node {
        Node::Folder(_) => Content::Folder,
        Node::File(file) => {
            let observed = match file.copies.get(side) {
                Copy::Installed { observed, .. } => Some(*observed),
                Copy::Missing | Copy::Staged(_) => None,
            };
            Content::File { version: file.version, observed }
        }
    };
    Held { place: place.clone(), content }
}

pub(super) fn receipt(lsn: Lsn, present: PerSide<bool>) -> Receipt {
    let drives = Side::BOTH.into_iter().filter(|side| *present.get(*side)).collect();
    Receipt { lsn, crc32: None, drives }
}

/// The first `names` names of a path.
pub(super) fn above(path: &RelPath, names: usize) -> RelPath {
    path.names().iter().take(names).fold(RelPath::ROOT, |path, name| path.join(name.clone()))
}
