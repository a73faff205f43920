//! What each user's files come to: a record per owner, changed by the same entry that changes a file.
//!
//! The fold of the catalog: the current versions of all files that a user put last, wherever they lie. What is in the
//! trash counts for nobody, nor do files without an owner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::journal::catalog::{Catalog, Resolved};
use crate::journal::codec::{self, Fact, Space};
use crate::journal::plan::{PlanError, Planner};
use crate::journal::precondition::Precondition;
use crate::journal::record::{FileNode, Node, Place};
use crate::journal::store::{Store, StoreError};
use crate::path::RelPath;

/// What a user's files come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub files: u64,
    pub bytes: u64,
}

impl Usage {
    fn with(self, size: u64) -> Self {
        Self { files: self.files + 1, bytes: self.bytes.saturating_add(size) }
    }

    fn without(self, size: u64) -> Self {
        Self { files: self.files.saturating_sub(1), bytes: self.bytes.saturating_sub(size) }
    }
}

/// The most that users' files may come to, in bytes; of those who are not in it as much as the drives take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas(pub Arc<BTreeMap<String, u64>>);

impl Quotas {
    pub fn of(&self, owner: &str) -> Option<u64> {
        self.0.get(owner).copied()
    }
}

/// Refuses what would take an owner past the limit. Whoever is past it already may still put what is smaller.
pub fn check_limit(owner: &str, limit: u64, (before, after): (u64, u64), needed: u64) -> Result<(), Precondition> {
    if after <= limit || after <= before {
        return Ok(());
    }
    Err(Precondition::Quota { owner: owner.to_owned(), limit, used: before, needed })
}

impl Planner<'_, '_> {
    /// Refuses a file of `owner` with `size` bytes at `path` if that is more than the owner's limit allows. Nothing is changed.
    pub(in crate::journal) fn check_quota(
        &self,
        quotas: &Quotas,
        path: &RelPath,
        (owner, size): (&str, u64),
    ) -> Result<(), PlanError> {
        let Some(limit) = quotas.of(owner) else { return Ok(()) };
        let before = self.draft.usage(owner)?;
        let replaced = match self.draft.resolve(path)? {
            Resolved::Found(_, Node::File(file)) if file.owner == owner => before.without(file.version.size),
            Resolved::Found(..) | Resolved::Root | Resolved::Missing { .. } | Resolved::BelowAFile { .. } => before,
        };
        Ok(check_limit(owner, limit, (before.bytes, replaced.with(size).bytes), size)?)
    }

    /// Counts that one file is not current any more, and another one is, as a part of the entry that is being planned.
    pub(in crate::journal) fn count(
        &mut self,
        gone: Option<(&str, u64)>,
        come: Option<(&str, u64)>,
    ) -> Result<(), StoreError> {
        let owners: BTreeSet<_> = gone.iter().chain(&come).map(|(owner, _)| *owner).collect();
        for owner in owners.into_iter().filter(|owner| !owner.is_empty()) {
            let before = self.draft.usage(owner)?;
            let left = gone.filter(|gone| gone.0 == owner).map_or(before, |(_, size)| before.without(size));
            let after = come.filter(|come| come.0 == owner).map_or(left, |(_, size)| left.with(size));
            match after {
                after if after == before => {}
                after if after == Usage::default() => self.draft.remove(codec::usage(owner)),
                after => self.draft.set(codec::usage(owner), &after),
            }
        }
        Ok(())
    }
}

/// A file as it counts.
pub(in crate::journal) fn counted(file: &FileNode) -> (&str, u64) {
    (&file.owner, file.version.size)
}

/// Adds a node to what its owner's files come to.
pub(in crate::journal) fn fold(usages: &mut BTreeMap<String, Usage>, place: &Place, node: &Node) {
    if let Node::File(file) = node
        && place.parent != NodeId::TRASH
        && !file.owner.is_empty()
    {
        let usage = usages.entry(file.owner.clone()).or_default();
        *usage = usage.with(file.version.size);
    }
}

/// Counts the files of a journal whose writer did not; from then on each entry does.
pub(in crate::journal) fn count_once(store: &dyn Store) -> Result<(), StoreError> {
    let marker = codec::meta(Fact::UsageCounted);
    if store.get(&marker)?.is_some() {
        return Ok(());
    }
    let mut usages = BTreeMap::new();
    let space = codec::all(Space::Node);
    for pair in store.scan(&space, &codec::end_of(&space)) {
        let (key, value) = pair?;
        let place = Place::new(NodeId(codec::number_of(&key)?), codec::name_of(&key)?);
        fold(&mut usages, &place, &codec::decode(&key, &value)?);
    }
    for (owner, usage) in &usages {
        store.insert(&codec::usage(owner), &codec::encode(usage))?;
    }
    // Last: cut short before that, they are counted again.
    store.insert(&marker, &codec::encode(&()))
}

/// What all users' files come to, as it is on record.
pub(in crate::journal) fn all(store: &dyn Store) -> Result<BTreeMap<String, Usage>, StoreError> {
    let space = codec::all(Space::Usage);
    let pairs = store.scan(&space, &codec::end_of(&space));
    pairs.map(|pair| pair.and_then(|(key, value)| Ok((codec::owner_of(&key)?, codec::decode(&key, &value)?)))).collect()
}

#[cfg(test)]
mod tests;
