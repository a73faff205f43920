//! How many names folders have, and whether one more fits.
//!
//! A folder is counted when it gets a new name for the first time, and from then on with each change as it is planned, by the
//! one who puts all changes in their order: so a count is exact whoever comes at once, and a journal that is opened has nothing
//! to count. Of a folder that is full no more is counted than tells that, and nobody's names are counted again for each refusal.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::ids::NodeId;
use crate::journal::draft::Draft;
use crate::journal::plan::{PlanError, Planner, above};
use crate::journal::precondition::Precondition;
use crate::journal::record::Place;
use crate::journal::store::StoreError;
use crate::path::RelPath;

/// Folders whose counts are kept, about 40 bytes each; with one more all are counted anew as they are needed.
const FOLDERS_MAX: usize = 1 << 16;

/// What is known of folders' names. Changed by the writer alone; anybody may look.
#[derive(Debug, Default)]
pub(super) struct NameCounts(Mutex<HashMap<NodeId, Known>>);

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Invariant: the folder has so many names or more, with what is planned.
    names: u64,
    /// They are all.
    all: bool,
}

impl NameCounts {
    /// Whether a folder is known to have no room for one more. Only so that a client need not send in vain: what decides is
    /// the commit.
    pub(super) fn is_full(&self, folder: NodeId, most: u64) -> bool {
        self.0.lock().get(&folder).is_some_and(|known| known.names >= most)
    }

    /// Whether a folder has room for one more name. Nobody else reads the draft meanwhile, nor changes the counts.
    fn has_room(&self, draft: &Draft<'_>, folder: NodeId, most: u64) -> Result<bool, StoreError> {
        let known = self.0.lock().get(&folder).copied();
        match known {
            Some(known) if known.names >= most => return Ok(false),
            Some(Known { all: true, .. }) => return Ok(true),
            Some(Known { all: false, .. }) | None => {}
        }
        // Some more than the limit, so that not each name that goes is a reason to count again.
        let look_at = most.saturating_add(most / 8 + 1);
        let names = draft.count_names(folder, look_at)?;
        let mut counts = self.0.lock();
        if counts.len() >= FOLDERS_MAX {
            counts.clear();
        }
        counts.insert(folder, Known { names, all: names < look_at });
        Ok(names < most)
    }

    fn change(&self, folder: NodeId, change: impl FnOnce(u64) -> u64) {
        if let Some(known) = self.0.lock().get_mut(&folder) {
            known.names = change(known.names);
        }
    }

    /// What was planned may not have been done.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }
}

impl Planner<'_, '_> {
    /// Refuses a new name in the folder `parent`, that has the first `depth` names of `path`, where it has as many as it may
    /// have. A node that moves within its folder needs no room.
    pub(in crate::journal) fn check_room(
        &self,
        path: &RelPath,
        parent: NodeId,
        depth: usize,
        leaving: Option<&Place>,
    ) -> Result<(), PlanError> {
        let Some(most) = self.names_max else { return Ok(()) };
        if leaving.is_some_and(|place| place.parent == parent) || self.names.has_room(self.draft, parent, most)? {
            return Ok(());
        }
        Err(Precondition::FolderFull { folder: above(path, depth), most }.into())
    }

    /// A new name is planned.
    pub(in crate::journal) fn name_comes(&self, place: &Place) {
        self.names.change(place.parent, |names| names + 1);
        self.folded.come(place);
    }

    /// A name that there was is planned to be there no more.
    pub(in crate::journal) fn name_goes(&self, place: &Place) {
        self.names.change(place.parent, |names| names.saturating_sub(1));
        self.folded.go(place);
    }
}

#[cfg(test)]
mod tests;
