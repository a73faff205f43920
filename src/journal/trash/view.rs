//! Looking into the trash.

use std::sync::atomic::Ordering;

use crate::ids::{Lsn, NodeId};
use crate::journal::catalog::Catalog;
use crate::journal::codec;
use crate::journal::reader::{Journal, Snapshot};
use crate::journal::record::{FileNode, Node, Place};
use crate::journal::store::StoreError;
use crate::journal::trash::record::{Kept, Remains};
use crate::path::RelPath;

impl Snapshot<'_> {
    /// What is in the trash, oldest first, from the entry behind `after` on; at most `limit`.
    pub fn trash(&self, after: Option<Lsn>, limit: usize) -> Result<Vec<Kept>, StoreError> {
        let from = codec::kept(after.map_or(Lsn(0), Lsn::next));
        let end = codec::end_of(&codec::all(codec::Space::Kept));
        let pairs = self.store()?.scan(&from, &end).take(limit);
        pairs.map(|pair| pair.and_then(|(key, value)| codec::decode(&key, &value))).collect()
    }

    /// What is in the trash of exactly this path, oldest first.
    pub fn trash_of(&self, path: &RelPath) -> Result<Vec<Kept>, StoreError> {
        self.kept_under(&codec::kept_of(&path.to_string()), None, usize::MAX)
    }

    /// What is in the trash of paths below a folder, by path, from behind `after` on; at most `limit`.
    pub fn trash_below(&self, folder: &RelPath, after: Option<&Kept>, limit: usize) -> Result<Vec<Kept>, StoreError> {
        let prefix = if folder.is_root() { String::new() } else { format!("{folder}/") };
        self.kept_under(&codec::kept_below(&prefix), after, limit)
    }

    fn kept_under(&self, prefix: &[u8], after: Option<&Kept>, limit: usize) -> Result<Vec<Kept>, StoreError> {
        let from = match after {
            Some(kept) => [codec::kept_path(&kept.path, kept.lsn).as_slice(), &[0]].concat(),
            None => prefix.to_vec(),
        };
        let mut found = Vec::new();
        for pair in self.store()?.scan(&from, &codec::end_of(prefix)).take(limit) {
            let (key, value) = pair?;
            let lsn: Lsn = codec::decode(&key, &value)?;
            found.extend(self.record::<Kept>(&codec::kept(lsn))?);
        }
        Ok(found)
    }

    /// Where a file went that was thrown away under this path, while it is in the trash.
    pub fn thrown_away(&self, path: &RelPath, id: NodeId) -> Result<Option<(Place, FileNode)>, StoreError> {
        for kept in self.trash_of(path)?.into_iter().rev() {
            let Remains::File { node, name, .. } = kept.remains else { continue };
            let place = Place::new(NodeId::TRASH, name);
            if node == id
                && let Some(Node::File(file)) = self.node(&place)?
            {
                return Ok(Some((place, file)));
            }
        }
        Ok(None)
    }
}

impl Journal {
    /// Things in the trash, and their bytes on each drive.
    pub fn trash_size(&self) -> (u64, u64) {
        let count = |count: &std::sync::atomic::AtomicI64| count.load(Ordering::Acquire).max(0).cast_unsigned();
        (count(&self.counts.kept_items), count(&self.counts.kept_bytes))
    }
}
