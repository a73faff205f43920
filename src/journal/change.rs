//! What entries did to nodes, in the form that drives keep for the day when the journal is lost.
//!
//! A change says all of one node from an LSN on, so that changes fold in any order: the highest LSN counts.

use serde::{Deserialize, Serialize};

use crate::ids::{Lsn, NodeId};
use crate::journal::codec::{self, Space};
use crate::journal::record::{Debt, Entry, Node, Place, Version};
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Snapshot};

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
    Folder { mtime_ns: i64 },
    File { version: Version, mtime_ns: i64, executable: bool, owner: String },
}

impl Listed {
    pub fn of(place: Place, node: &Node) -> Self {
        let body = match node {
            Node::Folder(folder) => Body::Folder { mtime_ns: folder.mtime_ns },
            Node::File(file) => Body::File {
                version: file.version,
                mtime_ns: file.mtime_ns,
                executable: file.executable,
                owner: file.owner.clone(),
            },
        };
        Self { place, body }
    }
}

impl Change {
    /// A node as the catalog has it now.
    pub fn listing(place: Place, node: &Node) -> Self {
        Self { lsn: node.lsn(), node: node.id(), now: Some(Listed::of(place, node)) }
    }
}

impl Entry {
    /// What the entry did to nodes.
    pub(super) fn changes(&self) -> Result<Vec<Change>, StoreError> {
        let mut changes = Vec::new();
        for op in &self.ops {
            let (Some(value), Some(space)) = (&op.value, op.key.first()) else { continue };
            if *space != Space::Node as u8 {
                continue;
            }
            let node: Node = codec::decode(&op.key, value)?;
            let place = Place::new(NodeId(codec::number_of(&op.key)?), codec::name_of(&op.key)?);
            changes.push(Change { lsn: self.lsn, node: node.id(), now: Some(Listed::of(place, &node)) });
        }
        if self.place.is_none() && !changes.iter().any(|change| change.node == self.node) {
            changes.push(Change { lsn: self.lsn, node: self.node, now: None });
        }
        Ok(changes)
    }
}

impl Snapshot<'_> {
    /// What a debt is about, as a change.
    pub fn change_of(&self, id: NodeId, debt: &Debt) -> Result<Option<Change>, StoreError> {
        let Some(place) = &debt.want else { return Ok(Some(Change { lsn: debt.lsn, node: id, now: None })) };
        let node = self.node(place)?.filter(|node| node.id() == id);
        Ok(node.map(|node| Change { lsn: debt.lsn, node: id, now: Some(Listed::of(place.clone(), &node)) }))
    }
}
