//! What the names in folders fold to, for drives that take names for one that differ in case alone.
//!
//! A folder is read whole when it gets a new name for the first time, and from then on its table goes along with each change
//! as it is planned, by the one who puts all changes in their order: a new name asks the table and not the catalog. It has
//! hashes alone. One that is not there is no name's; one that is says too little, and the catalog is asked as at first.
//! Nothing is kept where no drive folds case, since then nobody asks.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher as _;

use parking_lot::Mutex;

use crate::ids::NodeId;
use crate::journal::catalog::Catalog;
use crate::journal::record::Place;
use crate::journal::store::StoreError;
use crate::namespace::folded;
use crate::path::Name;

/// Of all folders together; those that have not got a new name for the longest time go first. A folder that needs more
/// alone is read for each new name.
const BYTES_MAX: usize = 8 << 20;
/// Of each folder, beside its names.
const FOLDER_BYTES: usize = 256;
/// Of a name: a hash, and its share of the tree's nodes.
const NAME_BYTES: usize = 16;

/// A catalog whose folders can be listed.
pub(super) trait Folders: Catalog {
    /// The names in a folder, in no order.
    fn child_names(
        &self,
        parent: NodeId,
    ) -> Result<impl Iterator<Item = Result<Name, StoreError>> + use<'_, Self>, StoreError>;
}

/// What is known of folders' names. Changed by the writer alone; anybody may look.
#[derive(Debug, Default)]
pub(super) struct FoldedNames {
    /// Keyed anew in each process, so that nobody can choose names that meet.
    hasher: RandomState,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    folders: HashMap<NodeId, Folder>,
    /// Folders by their last use.
    order: BTreeMap<u64, NodeId>,
    uses: u64,
    /// Invariant: what all folders come to.
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Folder {
    /// Invariant: it has the hash of each name in the folder, with what is planned.
    hashes: BTreeSet<u64>,
    /// Hashes that two names had at a time. They stay, whichever of the two goes.
    shared: BTreeSet<u64>,
    used: u64,
}

impl FoldedNames {
    /// Another name in a folder that is one with `name` where case is folded. The name `leaving` is about to go from there.
    ///
    /// For the writer: the catalog is its draft, which nobody changes meanwhile.
    pub(super) fn find(
        &self,
        catalog: &impl Folders,
        folder: NodeId,
        name: &Name,
        leaving: Option<&Name>,
    ) -> Result<Option<Name>, StoreError> {
        let wanted = folded(name.as_str());
        let leaves = leaving.is_some_and(|leaving| folded(leaving.as_str()) == wanted);
        let names_max = {
            let mut table = self.table.lock();
            table.touch(folder);
            if table.lacks(folder, self.hasher.hash_one(&wanted), leaves) {
                return Ok(None);
            }
            table.names_max()
        };
        let (mut hashes, mut other) = (Vec::new(), None);
        for sibling in catalog.child_names(folder)? {
            let sibling = sibling?;
            let compared = folded(sibling.as_str());
            // One more than there is room for tells that there is none.
            if hashes.len() <= names_max {
                hashes.push(self.hasher.hash_one(&compared));
            }
            if other.is_none() && compared == wanted && leaving != Some(&sibling) {
                other = Some(sibling);
            }
        }
        // Freed when the lock is not held any more.
        let _gone = self.table.lock().keep(folder, hashes);
        Ok(other)
    }

    /// As `find`, for anybody, of what is published: changes may be planned of which the one who looks knows nothing. So
    /// nothing is learnt, and what decides is the commit.
    pub(super) fn look(&self, catalog: &impl Folders, folder: NodeId, name: &Name) -> Result<Option<Name>, StoreError> {
        let wanted = folded(name.as_str());
        if self.table.lock().lacks(folder, self.hasher.hash_one(&wanted), false) {
            return Ok(None);
        }
        let is_same = |name: &Name| folded(name.as_str()) == wanted;
        catalog.child_names(folder)?.find(|name| name.as_ref().map_or(true, is_same)).transpose()
    }

    /// A new name is planned.
    pub(super) fn come(&self, place: &Place) {
        let _gone = self.change(place, Folder::add);
    }

    /// A name that there was is planned to be there no more.
    pub(super) fn go(&self, place: &Place) {
        let _gone = self.change(place, Folder::remove);
    }

    fn change(&self, place: &Place, change: impl FnOnce(&mut Folder, u64)) -> Vec<Folder> {
        let mut table = self.table.lock();
        let Some(folder) = table.folders.get_mut(&place.parent) else { return Vec::new() };
        let before = folder.bytes();
        change(folder, self.hasher.hash_one(folded(place.name.as_str())));
        let after = folder.bytes();
        table.bytes = table.bytes - before + after;
        table.make_room()
    }

    /// What was planned may not have been done, or nobody asks any more.
    pub(super) fn forget(&self) {
        let _gone = self.table.lock().clear();
    }
}

impl Default for Table {
    fn default() -> Self {
        let (folders, order) = (HashMap::new(), BTreeMap::new());
        Self { folders, order, uses: 0, bytes: 0, bytes_max: BYTES_MAX }
    }
}

impl Table {
    /// Whether a folder is known to have no name with this hash but one that `leaves`.
    fn lacks(&self, folder: NodeId, hash: u64, leaves: bool) -> bool {
        self.folders.get(&folder).is_some_and(|known| {
            let is_alone = || leaves && !known.shared.contains(&hash);
            !known.hashes.contains(&hash) || is_alone()
        })
    }

    fn names_max(&self) -> usize {
        self.bytes_max.saturating_sub(FOLDER_BYTES) / NAME_BYTES
    }

    fn touch(&mut self, folder: NodeId) {
        if let Some(known) = self.folders.get_mut(&folder) {
            self.uses += 1;
            self.order.remove(&known.used);
            self.order.insert(self.uses, folder);
            known.used = self.uses;
        }
    }

    /// Keeps a folder that was read, in place of what was known of it, if there is room; what goes for it.
    fn keep(&mut self, id: NodeId, hashes: Vec<u64>) -> Vec<Folder> {
        let mut gone: Vec<_> = self.remove(id).into_iter().collect();
        let folder = Folder::new(hashes, self.uses + 1);
        if folder.bytes() > self.bytes_max {
            gone.push(folder);
            return gone;
        }
        self.uses += 1;
        self.bytes += folder.bytes();
        self.order.insert(self.uses, id);
        self.folders.insert(id, folder);
        gone.extend(self.make_room());
        gone
    }

    fn make_room(&mut self) -> Vec<Folder> {
        let mut gone = Vec::new();
        while self.bytes > self.bytes_max
            && let Some((_, oldest)) = self.order.first_key_value()
        {
            gone.extend(self.remove(*oldest));
        }
        gone
    }

    fn remove(&mut self, id: NodeId) -> Option<Folder> {
        let folder = self.folders.remove(&id)?;
        self.order.remove(&folder.used);
        self.bytes -= folder.bytes();
        Some(folder)
    }

    fn clear(&mut self) -> HashMap<NodeId, Folder> {
        self.order.clear();
        self.bytes = 0;
        std::mem::take(&mut self.folders)
    }
}

impl Folder {
    fn new(mut hashes: Vec<u64>, used: u64) -> Self {
        hashes.sort_unstable();
        let shared = hashes.array_windows().filter(|[one, next]| one == next).map(|[one, _]| *one).collect();
        Self { hashes: hashes.into_iter().collect(), shared, used }
    }

    fn add(&mut self, hash: u64) {
        if !self.hashes.insert(hash) {
            self.shared.insert(hash);
        }
    }

    fn remove(&mut self, hash: u64) {
        if !self.shared.contains(&hash) {
            self.hashes.remove(&hash);
        }
    }

    fn bytes(&self) -> usize {
        FOLDER_BYTES + (self.hashes.len() + self.shared.len()) * NAME_BYTES
    }
}

#[cfg(test)]
mod tests;
