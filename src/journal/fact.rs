//! Facts that the drives report, folded into catalog and debts.

use std::collections::BTreeSet;

use crate::ids::{Lsn, NodeId, PerSide, Side};
use crate::journal::catalog::Catalog;
use crate::journal::codec::{self, Fact};
use crate::journal::draft::Draft;
use crate::journal::plan::Released;
use crate::journal::record::{Content, Copy, Debt, FileNode, Fill, Fresh, Held, Mark, Node, Observed, Place};
use crate::journal::scrub::{ScrubOrder, ScrubProgress};
use crate::journal::store::StoreError;
use crate::namespace::Namespace;

/// What is durably true of a drive now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriveFact {
    /// The drive has a node that it owed, like this: nowhere, or somewhere with some content.
    Holds {
        side: Side,
        node: NodeId,
        held: Option<Held>,
        /// When it was synced or read back, nanoseconds since 1970.
        verified_ns: i64,
    },
    /// As `Holds`, of a drive that is coming: found out while the node's debt was like this, and worth nothing if
    /// where the node may be has changed since.
    Found { side: Side, node: NodeId, held: Option<Held>, verified_ns: i64, was: Debt },
    /// The installed copy of this file version is not what it should be.
    Damaged { side: Side, place: Place, file: FileNode },
    /// The drive has this node no longer: somebody changed it or took it away while nothing was owed for it. Unlike
    /// a damaged copy even an only one is given up, since it was looked at and is known not to be there.
    Strayed { side: Side, place: Place, node: Node },
    /// The installed copy has its bytes, and another time stamp than was read back.
    Restamped { side: Side, place: Place, file: FileNode, observed: Observed, verified_ns: i64 },
    /// The drive's folder is not moved as a whole: where it is becomes a husk's place, and all in it is owed from there.
    TakenApart { side: Side, folder: NodeId, at: Place },
    /// All that the drive installed is synced, and so recorded.
    Checkpoint { side: Side },
    /// The drive has a label with this serial.
    Labelled { side: Side, serial: u64 },
    /// The drive's file system asks this of names.
    Names { side: Side, namespace: Namespace },
    /// The drive is there, and its backfill goes on, if one is on record.
    Fills { side: Side, paths: u64, bytes: u64 },
    /// A drive that was waived has come: what it has of the mirror is known, as the facts before this one say.
    Returned { side: Side },
    /// The drive has everything: its backfill, if one is on record, has ended.
    Filled { side: Side },
    /// A scrub of all drives is ordered, paused or resumed.
    ScrubOrdered(ScrubOrder),
    /// How far a drive's scrub is.
    Scrubbed { side: Side, progress: ScrubProgress },
}

pub(super) struct FactPlanner<'d, 'a> {
    pub(super) draft: &'d mut Draft<'a>,
    pub(super) batches: &'d mut PerSide<u64>,
    pub(super) checkpoints: &'d mut PerSide<u64>,
    pub(super) unsettled: &'d mut PerSide<BTreeSet<Lsn>>,
    pub(super) next_node: &'d mut NodeId,
    pub(super) released: Vec<Released>,
}

impl FactPlanner<'_, '_> {
    pub(super) fn plan(&mut self, fact: &DriveFact) -> Result<(), StoreError> {
        match fact {
            DriveFact::Holds { side, node, held, verified_ns } => {
                self.holds(*side, *node, held.as_ref(), *verified_ns)?;
            }
            DriveFact::Found { side, node, held, verified_ns, was } => {
                let debt = self.draft.debt(*side, *node)?;
                if debt.is_some_and(|debt| debt.have == was.have && debt.maybe == was.maybe) {
                    self.holds(*side, *node, held.as_ref(), *verified_ns)?;
                }
            }
            DriveFact::Damaged { side, place, file } => self.damaged(*side, place, file)?,
            DriveFact::Strayed { side, place, node } => self.strayed(*side, place, node)?,
            DriveFact::Restamped { side, place, file, observed, verified_ns } => {
                self.restamped(*side, place, file, Copy::Installed { observed: *observed, verified_ns: *verified_ns })?;
            }
            DriveFact::TakenApart { side, folder, at } => self.take_apart(*side, *folder, at)?,
            DriveFact::Checkpoint { side } => self.checkpoint(*side)?,
            DriveFact::Labelled { side, serial } => self.draft.set(codec::label(*side), serial),
            DriveFact::Names { side, namespace } => self.draft.set(codec::namespace(*side), namespace),
            DriveFact::Fills { side, paths, bytes } => self.fills(*side, *paths, *bytes)?,
            DriveFact::Returned { side } => self.draft.remove(codec::waived(*side)),
            DriveFact::Filled { side } => {
                if self.draft.value(&codec::fill(*side))?.is_some() {
                    self.draft.remove(codec::fill(*side));
                }
            }
            DriveFact::ScrubOrdered(order) => self.draft.set(codec::meta(Fact::ScrubOrder), order),
            DriveFact::Scrubbed { side, progress } => self.draft.set(codec::scrub(*side), progress),
        }
        self.draft.end_facts();
        Ok(())
    }

    fn holds(&mut self, side: Side, id: NodeId, held: Option<&Held>, verified_ns: i64) -> Result<(), StoreError> {
        let Some(debt) = self.draft.debt(side, id)? else { return Ok(()) };
        let node = match &debt.want {
            Some(place) => self.draft.node(place)?.filter(|node| node.id() == id).map(|node| (place.clone(), node)),
            None => None,
        };
        let current = match (&node, held) {
            (Some((_, Node::File(file))), Some(Held { content: Content::File { version, observed }, .. })) => {
                (file.version == *version).then_some(*observed).flatten()
            }
            (Some(_) | None, _) => None,
        };
        if let Some((place, Node::File(file))) = &node {
            match (current, file.copies.get(side)) {
                (Some(observed), _) => self.set_copy(side, place, file, Copy::Installed { observed, verified_ns }),
                (None, Copy::Installed { .. }) => self.set_copy(side, place, file, Copy::Missing),
                (None, Copy::Missing | Copy::Staged(_)) => {}
            }
        }
        let at_home = match (&debt.want, held) {
            (None, None) => true,
            (Some(want), Some(held)) if held.place == *want => match held.content {
                Content::Folder => true,
                Content::File { .. } => current.is_some(),
            },
            (Some(_) | None, _) => false,
        };
        if at_home {
            let batch = *self.batches.get(side);
            let checkpoints = *self.checkpoints;
            // The flag before the debt goes: cut short between the two, the lane finds the work done and says so again.
            let marked = self.draft.mark(side, (debt.lsn, id), Mark::Done { batch }, &checkpoints)?;
            if let (false, Some((place, node))) = (marked, &node) {
                self.draft.set(codec::fresh(side, id), &Fresh { place: place.clone(), lsn: node.lsn() });
            }
            self.draft.set_debt(side, id, Some(&debt), None);
            return Ok(());
        }
        let bytes = match &node {
            Some((_, Node::File(file))) if !self.has_copy(side, file)? => file.version.size,
            Some(_) | None => 0,
        };
        let left = Debt { have: held.cloned(), maybe: Vec::new(), bytes, ..debt.clone() };
        self.draft.set_debt(side, id, Some(&debt), Some(&left));
        Ok(())
    }

    fn has_copy(&self, side: Side, file: &FileNode) -> Result<bool, StoreError> {
        let debt = self.draft.debt(side, file.id)?;
        let node = debt.and_then(|debt| debt.want).map(|place| self.draft.node(&place)).transpose()?.flatten();
        Ok(matches!(node, Some(Node::File(file)) if file.copies.get(side).is_durable()))
    }

    fn set_copy(&mut self, side: Side, place: &Place, file: &FileNode, copy: Copy) {
        if let Copy::Staged(stage) = *file.copies.get(side) {
            self.released.push(Released { side, ticket: file.version.ticket, stage });
        }
        let mut file = file.clone();
        *file.copies.get_mut(side) = copy;
        self.draft.set(codec::node(place), &Node::File(file));
    }

    fn damaged(&mut self, side: Side, place: &Place, bad: &FileNode) -> Result<(), StoreError> {
        let Some(Node::File(file)) = self.draft.node(place)? else { return Ok(()) };
        // Reported late, after the copy was replaced.
        let same_copy = file.copies.get(side) == bad.copies.get(side);
        if file.id != bad.id || file.version != bad.version || !same_copy {
            return Ok(());
        }
        // The only copy stays what it is known as: doubtful is better than given up.
        if !file.copies.get(side.other()).is_durable() {
            return Ok(());
        }
        let old = self.draft.debt(side, file.id)?;
        let doubtful = |held: Held| Held { content: Content::File { version: file.version, observed: None }, ..held };
        let new = match (&old, file.copies.get(side)) {
            (_, Copy::Missing) => return Ok(()),
            // The stage is bad; what is installed, if anything, is another version.
            (Some(debt), Copy::Staged(_)) => Debt { bytes: file.version.size, ..debt.clone() },
            (Some(debt), Copy::Installed { .. }) => {
                Debt { have: debt.have.clone().map(doubtful), bytes: file.version.size, ..debt.clone() }
            }
            (None, Copy::Staged(_) | Copy::Installed { .. }) => Debt {
                lsn: file.lsn,
                want: Some(place.clone()),
                have: Some(doubtful(Held { place: place.clone(), content: Content::Folder })),
                maybe: Vec::new(),
                bytes: file.version.size,
            },
        };
        self.draft.set_debt(side, file.id, old.as_ref(), Some(&new));
        self.set_copy(side, place, &file, Copy::Missing);
        Ok(())
    }

    fn strayed(&mut self, side: Side, place: &Place, seen: &Node) -> Result<(), StoreError> {
        let Some(node) = self.unowed(side, place, seen)? else { return Ok(()) };
        let (have, bytes) = match &node {
            Node::File(file) => {
                self.set_copy(side, place, file, Copy::Missing);
                // Should the bytes be put back they are recognised.
                let content = Content::File { version: file.version, observed: None };
                (Some(Held { place: place.clone(), content }), file.version.size)
            }
            Node::Folder(_) => (None, 0),
        };
        let debt = Debt { lsn: node.lsn(), want: Some(place.clone()), have, maybe: Vec::new(), bytes };
        self.draft.set_debt(side, node.id(), None, Some(&debt));
        Ok(())
    }

    fn restamped(&mut self, side: Side, place: &Place, seen: &FileNode, copy: Copy) -> Result<(), StoreError> {
        match self.unowed(side, place, &Node::File(seen.clone()))? {
            Some(Node::File(file)) => self.set_copy(side, place, &file, copy),
            Some(Node::Folder(_)) | None => {}
        }
        Ok(())
    }

    /// The node at a place, if it is still the one that was seen there, in that version, and the drive owes nothing
    /// for it.
    fn unowed(&self, side: Side, place: &Place, seen: &Node) -> Result<Option<Node>, StoreError> {
        let Some(node) = self.draft.node(place)?.filter(|node| node.id() == seen.id()) else { return Ok(None) };
        let same = match (&node, seen) {
            (Node::File(file), Node::File(seen)) => file.version == seen.version,
            (Node::Folder(_), Node::Folder(_)) => true,
            (Node::File(_), Node::Folder(_)) | (Node::Folder(_), Node::File(_)) => false,
        };
        Ok((same && self.draft.debt(side, node.id())?.is_none()).then_some(node))
    }

    /// Progress is measured against the most that the drive ever lacked.
    fn fills(&mut self, side: Side, paths: u64, bytes: u64) -> Result<(), StoreError> {
        if let Some(fill) = self.draft.record::<Fill>(&codec::fill(side))? {
            let (paths, bytes) = (fill.paths.max(paths), fill.bytes.max(bytes));
            if (paths, bytes) != (fill.paths, fill.bytes) {
                self.draft.set(codec::fill(side), &Fill { paths, bytes, ..fill });
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, side: Side) -> Result<(), StoreError> {
        for key in self.draft.fresh(side)? {
            self.draft.remove(key.to_vec());
        }
        if self.unsettled.get(side).is_empty() {
            return Ok(());
        }
        let batch = self.batches.get_mut(side);
        *self.checkpoints.get_mut(side) = *batch;
        self.draft.set(codec::checkpoint(side), batch);
        *batch += 1;
        let checkpoints = *self.checkpoints;
        for lsn in std::mem::take(self.unsettled.get_mut(side)) {
            self.draft.settle(lsn, &checkpoints)?;
        }
        Ok(())
    }
}
