//! The media of a world, apart from the daemon that works on them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::digest::Crc32;
use crate::ids::{NodeId, PerSide, Side};
use crate::journal::mem_store::MemDisk;
use crate::journal::{Copy, FileNode, Node, Resolved};
use crate::mirror::model::oracle::Thing;
use crate::mirror::model::world::World;
use crate::mirror::sim_volume::SimDisk;
use crate::mirror::volume::FsKind;

/// A boot disk and two sticks. Clones are the same ones.
#[derive(Clone, Debug)]
pub(in crate::mirror::model) struct Media {
    pub(in crate::mirror::model) store: MemDisk,
    pub(in crate::mirror::model) disks: PerSide<SimDisk>,
}

/// What must never come again on media: session nonces and arrivals.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::mirror::model) struct Past {
    pub(super) sessions: u64,
    pub(super) arrivals: u64,
}

/// Paths of a catalog with the size and CRC-32 of files, and who holds these; `None` is a folder.
pub(in crate::mirror::model) type Found = BTreeMap<String, Option<(u64, Crc32, PerSide<bool>)>>;

impl Media {
    /// Other media with the same contents and the same unsynced changes.
    pub(in crate::mirror::model) fn fork(&self) -> Self {
        Self { store: self.store.fork(), disks: PerSide::new(|side| self.disks.get(side).fork()) }
    }

    /// Lets `act` happen just before each sync and barrier.
    pub(in crate::mirror::model) fn watch(&self, act: &Arc<dyn Fn() + Send + Sync>) {
        self.store.watch_barriers(Arc::clone(act));
        for side in Side::BOTH {
            self.disks.get(side).watch_syncs(Arc::clone(act));
        }
    }

    pub(in crate::mirror::model) fn unwatch(&self) {
        self.store.unwatch();
        for side in Side::BOTH {
            self.disks.get(side).unwatch();
        }
    }
}

impl World {
    pub(in crate::mirror::model) fn media(&self) -> Media {
        Media { store: self.store.clone(), disks: self.disks.clone() }
    }

    /// Whether a drive has a file for sure: acknowledged there, and not in the midst of a move that a cut can end.
    pub(in crate::mirror::model) fn holds(&self, side: Side, path: &str) -> bool {
        match self.oracle.tree.get(path) {
            Some(Thing::File(bytes, holders, _)) => {
                *holders.get(side) && !self.disks.get(side).torn_or_moving().contains(bytes)
            }
            Some(Thing::Folder) | None => false,
        }
    }

    /// Whether a drive has something that the other one has not for sure.
    pub(in crate::mirror::model) fn has_only_on(&self, side: Side) -> bool {
        let only = |(path, thing): (&String, &Thing)| match thing {
            Thing::File(_, holders, _) => *holders.get(side) && !self.holds(side.other(), path),
            Thing::Folder => false,
        };
        self.oracle.tree.iter().any(only)
    }

    /// What a cut on FAT took of a drive that has come back: one file for each move that it was in the midst of, and none
    /// that the other drive does not hold.
    pub(super) fn note_torn(&mut self, side: Side) {
        for torn in self.disks.get(side).take_torn() {
            let is_gone = |(path, thing): &(&String, &Thing)| {
                matches!(thing, Thing::File(bytes, holders, _) if *bytes == torn && *holders.get(side))
                    && matches!(self.resolve(path), Resolved::Found(_, Node::File(file)) if *file.copies.get(side) == Copy::Missing)
            };
            let Some((path, _)) = self.oracle.tree.iter().find(is_gone) else { continue };
            let path = path.clone();
            assert!(self.holds(side.other(), &path), "a cut took the last copy of {path}, on {side}");
            self.oracle.lose_copy(side, &path);
        }
    }

    pub(in crate::mirror::model) fn past(&self) -> Past {
        Past { sessions: self.sessions, arrivals: self.arrivals }
    }

    /// The daemon started again on what a power cut left, the drives that are in come back.
    pub(in crate::mirror::model) fn recover(kind: FsKind, media: Media, past: Past) -> Self {
        let mut world = Self::opened(kind, media, past);
        world.come_again();
        world
    }

    /// What the catalog says.
    pub(in crate::mirror::model) fn catalog(&self) -> Found {
        let mut found = Found::new();
        self.add_below(NodeId::ROOT, "", &mut found);
        found
    }

    fn add_below(&self, folder: NodeId, path: &str, found: &mut Found) {
        let children = self.journal.snapshot().children(folder, None, 1000).unwrap();
        for (name, node) in children {
            let path = crate::mirror::layout::join(path, name.as_str());
            match node {
                Node::Folder(folder) => {
                    self.add_below(folder.id, &path, found);
                    found.insert(path, None);
                }
                Node::File(file) => drop(found.insert(path, Some(summary(&file)))),
            }
        }
    }
}

fn summary(file: &FileNode) -> (u64, Crc32, PerSide<bool>) {
    (file.version.size, file.version.crc32, PerSide::new(|side| file.copies.get(side).is_durable()))
}

/// Equal for media on which a power cut left the same.
impl Hash for Media {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.store.contents().hash(hasher);
        for side in Side::BOTH {
            self.disks.get(side).hash_durable(hasher);
        }
    }
}
