//! Folders that a drive takes apart: file by file they come to their new place, where a rename of the whole could lose
//! them all.
//!
//! The folder's old place becomes that of a *husk*, a node of its own that is to be removed; the folder itself is to be
//! made anew, and each node in it is owed, from the husk to the folder. From there on the lane needs to know nothing of
//! it: these are moves of files, and the removal of a folder that is emptied first.

use std::collections::BTreeSet;

use crate::ids::{NodeId, Side};
use crate::journal::catalog::Catalog;
use crate::journal::codec::{self, Fact};
use crate::journal::fact::FactPlanner;
use crate::journal::plan::held;
use crate::journal::record::{Content, Debt, Held, Node, Place};
use crate::journal::store::StoreError;

impl FactPlanner<'_, '_> {
    /// The folder's own debt comes last: cut short before that, the folder is still found where it was, and all in it
    /// where it belongs.
    pub(super) fn take_apart(&mut self, side: Side, folder: NodeId, at: &Place) -> Result<(), StoreError> {
        let Some(debt) = self.draft.debt(side, folder)?.filter(|debt| debt.want.is_some()) else { return Ok(()) };
        let Some(old) = debt.have.clone().filter(|held| held.place == *at && held.content == Content::Folder) else {
            return Ok(());
        };
        let husk = *self.next_node;
        *self.next_node = husk.next();
        self.draft.set(codec::meta(Fact::NextNode), self.next_node);
        let left = Debt { lsn: debt.lsn, want: None, have: Some(old), maybe: Vec::new(), bytes: 0 };
        self.draft.set_debt(side, husk, None, Some(&left));
        let mut inside = BTreeSet::new();
        for (key, value) in self.draft.pairs(&codec::children(folder))? {
            let place = Place::new(folder, codec::name_of(&key)?);
            let node: Node = codec::decode(&key, &value)?;
            inside.insert(node.id());
            if self.draft.debt(side, node.id())?.is_none() {
                let have = held(&node, &place, side);
                let owed = Debt { lsn: node.lsn(), want: Some(place), have: Some(have), maybe: Vec::new(), bytes: 0 };
                self.leave_in(side, node.id(), None, &owed, folder, husk);
            }
        }
        for (key, value) in self.draft.pairs(&codec::claims_in(side, folder))? {
            inside.insert(codec::decode(&key, &value)?);
        }
        for id in inside {
            if let Some(owed) = self.draft.debt(side, id)? {
                self.leave_in(side, id, Some(&owed), &owed, folder, husk);
            }
        }
        let anew = Debt { have: None, maybe: Vec::new(), ..debt.clone() };
        self.draft.set_debt(side, folder, Some(&debt), Some(&anew));
        Ok(())
    }

    /// Records that what a node has in `folder` lies in `husk`.
    fn leave_in(&mut self, side: Side, id: NodeId, old: Option<&Debt>, owed: &Debt, folder: NodeId, husk: NodeId) {
        let moved = |held: &Held| {
            let parent = if held.place.parent == folder { husk } else { held.place.parent };
            Held { place: Place::new(parent, held.place.name.clone()), content: held.content }
        };
        let have = owed.have.as_ref().map(moved);
        let new = Debt { have, maybe: owed.maybe.iter().map(moved).collect(), ..owed.clone() };
        if old != Some(&new) {
            self.draft.set_debt(side, id, old, Some(&new));
        }
    }
}
