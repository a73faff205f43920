//! Reading the catalog: the namespace that clients see, and what each drive has of it.

use serde::de::DeserializeOwned;

use crate::digest::Crc32;
use crate::ids::{NodeId, Side};
use crate::journal::codec;
use crate::journal::record::{Blocks, Debt, FileNode, Node, PAGE_BLOCKS, Place, block_count};
use crate::journal::store::{IVec, StoreError};
use crate::journal::usage::Usage;
use crate::path::{Name, RelPath};

/// Something that has the catalog's keys: the store, or a draft of what the store will be.
pub trait Catalog {
    fn value(&self, key: &[u8]) -> Result<Option<IVec>, StoreError>;

    fn record<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.value(key)?.map(|bytes| codec::decode(key, &bytes)).transpose()
    }

    fn node(&self, place: &Place) -> Result<Option<Node>, StoreError> {
        self.record(&codec::node(place))
    }

    /// Where a folder belongs; `None` for the root and for one that was removed.
    fn folder_place(&self, id: NodeId) -> Result<Option<Place>, StoreError> {
        self.record(&codec::folder(id))
    }

    fn debt(&self, side: Side, id: NodeId) -> Result<Option<Debt>, StoreError> {
        self.record(&codec::debt(side, id))
    }

    /// What the files of an owner come to.
    fn usage(&self, owner: &str) -> Result<Usage, StoreError> {
        Ok(self.record(&codec::usage(owner))?.unwrap_or_default())
    }

    /// Whether a drive owes anything at all, where that is known without a look.
    fn may_owe(&self, _side: Side) -> bool {
        true
    }

    /// Follows a path through the folders.
    fn resolve(&self, path: &RelPath) -> Result<Resolved, StoreError> {
        let mut parent = NodeId::ROOT;
        let mut found = Resolved::Root;
        for (depth, name) in path.names().iter().enumerate() {
            match found {
                Resolved::Found(_, Node::Folder(folder)) => parent = folder.id,
                Resolved::Found(_, Node::File(_)) => return Ok(Resolved::BelowAFile { depth }),
                Resolved::Root => {}
                Resolved::Missing { .. } | Resolved::BelowAFile { .. } => return Ok(found),
            }
            let place = Place::new(parent, name.clone());
            found = match self.node(&place)? {
                Some(node) => Resolved::Found(place, node),
                None => return Ok(Resolved::Missing { parent, depth }),
            };
        }
        Ok(found)
    }

    /// The digests of all blocks of a file.
    fn block_digests(&self, file: &FileNode) -> Result<Vec<Crc32>, StoreError> {
        match &file.blocks {
            Blocks::One if file.version.size == 0 => Ok(Vec::new()),
            Blocks::One => Ok(vec![file.version.crc32]),
            Blocks::Inline(blocks) => Ok(blocks.clone()),
            Blocks::Paged(pages) => self.paged_digests(file, *pages),
        }
    }

    fn paged_digests(&self, file: &FileNode, pages: u32) -> Result<Vec<Crc32>, StoreError> {
        let mut blocks = Vec::with_capacity(pages as usize * PAGE_BLOCKS);
        for page in 0..pages {
            let key = codec::page(file.version.ticket, page);
            let missing = || StoreError::Corrupt(format!("page {page} of ticket {} is missing", file.version.ticket));
            blocks.extend(self.record::<Vec<Crc32>>(&key)?.ok_or_else(missing)?);
        }
        if blocks.len() as u64 != block_count(file.version.size) {
            return Err(StoreError::Corrupt(format!("ticket {} has {} blocks", file.version.ticket, blocks.len())));
        }
        Ok(blocks)
    }
}

/// Where following a path ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    Root,
    Found(Place, Node),
    /// The name at `depth` is not in the folder `parent`.
    Missing {
        parent: NodeId,
        depth: usize,
    },
    /// The name before `depth` is a file.
    BelowAFile {
        depth: usize,
    },
}

/// A child of a folder.
pub type Child = (Name, Node);
