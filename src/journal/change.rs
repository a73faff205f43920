//! What entries did to nodes, in the form that drives keep for the day when the journal is lost.
//!
//! A change says all of one node from an LSN on, so that changes fold in any order: the highest LSN counts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::{Lsn, NodeId};
use crate::journal::codec::{self, Space};
use crate::journal::record::{Content, Debt, Entry, Held, Node, Place, Version};
use crate::journal::store::StoreError;
use crate::journal::trash::{Cause, Keeping, Kept};
use crate::journal::{Catalog, Snapshot};

/// The LSN of what a node was before all that is told of it: nothing has been committed with it.
pub const BEFORE: Lsn = Lsn(0);

/// What the catalog says of one node from an LSN on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub lsn: Lsn,
    pub node: NodeId,
    /// `None`: it was removed.
    pub now: Option<Listed>,
}

/// A node of the catalog, without what the drives have of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub place: Place,
    pub body: Body,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    Folder {
        mtime_ns: i64,
    },
    File {
        version: Version,
        mtime_ns: i64,
        executable: bool,
        owner: String,
    },
    /// A file in the trash.
    Trashed {
        version: Version,
        mtime_ns: i64,
        executable: bool,
        owner: String,
        origin: Origin,
    },
}

/// What a file in the trash was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub path: String,
    pub cause: Cause,
    pub keeping: Keeping,
}

impl From<Kept> for Origin {
    fn from(Kept { path, cause, keeping, .. }: Kept) -> Self {
        Self { path, cause, keeping }
    }
}

impl Listed {
    /// What tells a node apart by what a drive has of it.
    fn before(held: &Held) -> Self {
        let body = match held.content {
            Content::Folder => Body::Folder { mtime_ns: 0 },
            Content::File { version, .. } => {
                Body::File { version, mtime_ns: 0, executable: false, owner: String::new() }
            }
        };
        Self { place: held.place.clone(), body }
    }

    /// `kept` is the record of what lies in the trash.
    fn of(place: Place, node: &Node, kept: Option<Kept>) -> Self {
        let body = match node {
            Node::Folder(folder) => Body::Folder { mtime_ns: folder.mtime_ns },
            Node::File(file) => {
                let (version, mtime_ns, executable) = (file.version, file.mtime_ns, file.executable);
                let owner = file.owner.clone();
                match kept {
                    None => Body::File { version, mtime_ns, executable, owner },
                    Some(kept) => Body::Trashed { version, mtime_ns, executable, owner, origin: kept.into() },
                }
            }
        };
        Self { place, body }
    }
}

impl Entry {
    /// What the entry did to nodes.
    pub(super) fn changes(&self) -> Result<Vec<Change>, StoreError> {
        let lsn = self.lsn;
        let (mut changes, mut gone, mut kept) = (Vec::new(), BTreeSet::new(), None);
        for op in &self.ops {
            let (Some(value), Some(space)) = (&op.value, op.key.first()) else { continue };
            if *space == Space::Node as u8 {
                let node: Node = codec::decode(&op.key, value)?;
                changes.push((Place::new(NodeId(codec::number_of(&op.key)?), codec::name_of(&op.key)?), node));
            } else if *space == Space::Kept as u8 {
                kept = Some(codec::decode::<Kept>(&op.key, value)?);
            } else if *space == Space::Debt as u8 && codec::decode::<Debt>(&op.key, value)?.want.is_none() {
                // Also of a node beside the entry's own: the version too many of its path.
                gone.insert(codec::debtor(&op.key)?);
            }
        }
        // Of a folder in the trash there is no node.
        if self.place.is_none() && self.node != NodeId::TRASH {
            gone.insert(self.node);
        }
        gone.retain(|id| changes.iter().all(|(_, node)| node.id() != *id));
        let listed = changes.into_iter().map(|(place, node)| {
            let kept = kept.clone().filter(|_| place.parent == NodeId::TRASH);
            Change { lsn, node: node.id(), now: Some(Listed::of(place, &node, kept)) }
        });
        Ok(listed.chain(gone.into_iter().map(|node| Change { lsn, node, now: None })).collect())
    }
}

impl Snapshot<'_> {
    /// A node as the catalog has it now.
    pub fn listing(&self, place: Place, node: &Node) -> Result<Change, StoreError> {
        Ok(Change { lsn: node.lsn(), node: node.id(), now: Some(self.listed(place, node)?) })
    }

    fn listed(&self, place: Place, node: &Node) -> Result<Listed, StoreError> {
        let kept = if place.parent == NodeId::TRASH { self.record(&codec::kept(node.lsn()))? } else { None };
        Ok(Listed::of(place, node, kept))
    }

    /// What a debt is about, as a change.
    pub fn change_of(&self, id: NodeId, debt: &Debt) -> Result<Option<Change>, StoreError> {
        let Some(place) = &debt.want else { return Ok(Some(Change { lsn: debt.lsn, node: id, now: None })) };
        let Some(node) = self.node(place)?.filter(|node| node.id() == id) else { return Ok(None) };
        Ok(Some(Change { lsn: debt.lsn, node: id, now: Some(self.listed(place.clone(), &node)?) }))
    }

    /// What a debt is about that the catalog does not tell: that a node was removed, and what a drive has of it, or may
    /// have, which it was [`BEFORE`].
    pub fn past_of(&self, id: NodeId, debt: &Debt) -> Result<Vec<Change>, StoreError> {
        let now = match &debt.want {
            Some(place) => self.node(place)?.filter(|node| node.id() == id).map(|node| (place, node)),
            None => None,
        };
        let is_now = |held: &Held| match (&now, held.content) {
            (Some((place, Node::File(file))), Content::File { version, .. }) => {
                held.place == **place && version == file.version
            }
            (Some((place, Node::Folder(_))), Content::Folder) => held.place == **place,
            (Some((_, Node::File(_))), Content::Folder)
            | (Some((_, Node::Folder(_))), Content::File { .. })
            | (None, _) => false,
        };
        let removed = debt.want.is_none().then_some(Change { lsn: debt.lsn, node: id, now: None });
        let was =
            debt.have.iter().chain(&debt.maybe).filter(|held| !is_now(held) && held.place.parent != NodeId::LIMBO);
        let was = was.map(|held| Change { lsn: BEFORE, node: id, now: Some(Listed::before(held)) });
        Ok(removed.into_iter().chain(was).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::ids::{PerSide, Side};
    use crate::journal::record::{Deed, Op};

    #[test]
    fn a_node_that_was_removed_beside_the_entrys_own_is_told_once() {
        let debt = Debt { lsn: Lsn(9), want: None, have: None, maybe: Vec::new(), bytes: 0 };
        let op = |side| Op { key: codec::debt(side, NodeId(5)), value: Some(codec::encode(&debt)) };
        let place = Place::new(NodeId::ROOT, crate::path::Name::parse("f").unwrap());
        let deed = Deed::Remove { path: "f".to_owned() };
        let ops = Side::BOTH.map(op).to_vec();
        let entry = Entry { lsn: Lsn(9), deed, node: NodeId(4), place: Some(place), pending: PerSide::default(), ops };
        assert_eq!(entry.changes().unwrap(), [Change { lsn: Lsn(9), node: NodeId(5), now: None }]);
    }
}
