//! The medium and its page cache: what is live, what is durable, and what lies between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustix::io::Errno;

use super::fault::{CallKind, Calls, Fault, Faults, Interlude};
use super::image::{FileNode, FolderNode, Image, Ino, NameOp, Node, Place};
use crate::mirror::volume::{Attributes, FileKind, FsKind, Listing, Meta, Observed, Space, VolumePath};

/// Between two readings of the clock: even FAT can tell them apart.
const TICK_NS: i64 = 2_000_000_000;
/// FAT keeps times in steps of two seconds.
const FAT_TIME_NS: i64 = 2_000_000_000;
const CLOCK_START_NS: i64 = 1_600_000_000_000_000_000;

/// A change of a file that no sync has made durable yet.
#[derive(Clone, Debug)]
pub(super) enum DataOp {
    Write { bytes: Arc<[u8]>, offset: u64, mtime_ns: i64 },
    Length(u64),
    Attributes(Attributes),
}

impl DataOp {
    pub(super) fn apply(&self, file: &mut FileNode) {
        match self {
            Self::Write { bytes, offset, mtime_ns } => {
                file.content.write(bytes, *offset);
                file.attributes.mtime_ns = *mtime_ns;
            }
            Self::Length(len) => file.content.set_len(*len),
            Self::Attributes(attributes) => file.attributes = *attributes,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    In,
    /// Gone, and its file system has not noticed.
    Dead,
    Pulled,
}

/// One mount of the medium; handles of an earlier one are dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(pub(super) u64);

#[derive(Clone, Debug)]
pub(super) struct Medium {
    pub(super) kind: FsKind,
    pub(super) capacity: u64,
    pub(super) generation: Generation,
    pub(super) presence: Presence,
    pub(super) faults: Faults,
    pub(super) calls: Calls,
    pub(super) interlude: Interlude,
    pub(super) live: Image,
    pub(super) durable: Image,
    /// Changes of names that are live and not durable, in order. `durable` with all of them has the names of `live`.
    pub(super) names: Vec<NameOp>,
    /// How many of `names` a file's sync has covered on the way: a journal takes all that is before it. Only a death
    /// that nobody noticed counts on that; a power cut may lose them all the same.
    journaled: usize,
    /// How many of `names`, and which of `data`, were there when it died: nothing of what came after reached it.
    pub(super) death: Option<(usize, BTreeMap<Ino, Vec<DataOp>>)>,
    /// Changes of files that are live and not durable, in order, for each file.
    pub(super) data: BTreeMap<Ino, Vec<DataOp>>,
    /// Open handles of this generation.
    open: BTreeMap<Ino, u64>,
    /// Files without a name that a handle keeps.
    unlinked: BTreeSet<Ino>,
    /// Files that were read or written since the mount.
    warm: BTreeSet<Ino>,
    /// Bytes of files whose name a cut in the midst of a move took.
    pub(super) torn: Vec<Vec<u8>>,
    /// Invariant: the bytes of all files in `live`.
    used: u64,
    pub(super) next_ino: u64,
    clock_ns: i64,
}

impl Medium {
    pub(super) fn new(kind: FsKind, capacity: u64) -> Self {
        Self {
            kind,
            capacity,
            generation: Generation(0),
            presence: Presence::In,
            faults: Faults::default(),
            calls: Calls::default(),
            interlude: Interlude::default(),
            live: Image::new(kind),
            durable: Image::new(kind),
            names: Vec::new(),
            journaled: 0,
            death: None,
            data: BTreeMap::new(),
            open: BTreeMap::new(),
            unlinked: BTreeSet::new(),
            warm: BTreeSet::new(),
            torn: Vec::new(),
            used: 0,
            next_ino: 1,
            clock_ns: CLOCK_START_NS,
        }
    }

    /// Lets a handle's call begin, and counts it; the fault it meets, where one was ordered.
    pub(super) fn begin(&mut self, kind: CallKind, generation: Generation) -> Result<Option<Fault>, Errno> {
        if self.presence == Presence::Pulled || self.generation != generation {
            return Err(Errno::NODEV);
        }
        self.calls.count(kind);
        Ok(self.faults.due(kind))
    }

    /// Whether a file's sync has something to do.
    pub(super) fn is_dirty(&self, ino: Ino) -> bool {
        self.data.contains_key(&ino) || self.names.iter().any(|op| op.names(ino))
    }

    pub(super) fn open(&mut self, path: &VolumePath) -> Result<Ino, Errno> {
        let ino = self.live.resolve(path)?;
        self.live.file(ino)?;
        *self.open.entry(ino).or_default() += 1;
        Ok(ino)
    }

    pub(super) fn is_warm(&self, ino: Ino) -> bool {
        self.warm.contains(&ino)
    }

    /// Ends one open handle; the last one of a file without a name ends the file.
    pub(super) fn release(&mut self, ino: Ino) {
        let Some(handles) = self.open.get_mut(&ino) else { return };
        *handles -= 1;
        if *handles == 0 {
            self.open.remove(&ino);
            if self.unlinked.remove(&ino) {
                self.free(ino);
            }
        }
    }

    pub(super) fn create(&mut self, path: &VolumePath) -> Result<Ino, Errno> {
        let attributes = Attributes { mtime_ns: self.tick(), executable: false };
        let ino = self.add(path, Node::File(FileNode { attributes, ..FileNode::default() }))?;
        *self.open.entry(ino).or_default() += 1;
        self.warm.insert(ino);
        Ok(ino)
    }

    pub(super) fn make_folder(&mut self, path: &VolumePath) -> Result<(), Errno> {
        self.add(path, Node::Folder(FolderNode::default())).map(drop)
    }

    fn add(&mut self, path: &VolumePath, node: Node) -> Result<Ino, Errno> {
        let place = self.free_place(path)?;
        let ino = Ino(self.next_ino);
        self.next_ino += 1;
        self.rename_names(NameOp::Create { place, ino, node });
        Ok(ino)
    }

    fn free_place(&self, path: &VolumePath) -> Result<Place, Errno> {
        let place = self.live.place(path)?;
        match self.live.at(&place) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => Ok(place),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn rename(&mut self, from: &VolumePath, to: &VolumePath) -> Result<(), Errno> {
        let from = self.live.place(from)?;
        let ino = self.live.at(&from)?;
        let to = self.free_place(to)?;
        if self.live.lies_in(ino, to.folder) {
            return Err(Errno::INVAL);
        }
        self.rename_names(NameOp::Move { from, to, ino, replaced: None });
        Ok(())
    }

    pub(super) fn replace(&mut self, from: &VolumePath, to: &VolumePath) -> Result<(), Errno> {
        let (from, to) = (self.live.place(from)?, self.live.place(to)?);
        let ino = self.live.at(&from)?;
        let replaced = self.live.at(&to)?;
        self.live.file(ino)?;
        self.live.file(replaced)?;
        if ino != replaced {
            self.rename_names(NameOp::Move { from, to, ino, replaced: Some(replaced) });
        }
        Ok(())
    }

    pub(super) fn link(&mut self, path: &VolumePath, second: &VolumePath) -> Result<(), Errno> {
        let ino = self.live.resolve(path)?;
        self.live.file(ino)?;
        let place = self.free_place(second)?;
        self.rename_names(NameOp::Link { place, ino });
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &VolumePath) -> Result<(), Errno> {
        let place = self.live.place(path)?;
        let ino = self.live.at(&place)?;
        self.live.file(ino)?;
        self.rename_names(NameOp::Remove { place, ino });
        Ok(())
    }

    pub(super) fn remove_folder(&mut self, path: &VolumePath) -> Result<(), Errno> {
        let place = self.live.place(path)?;
        let ino = self.live.at(&place)?;
        if !self.live.folder(ino)?.entries.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.rename_names(NameOp::Remove { place, ino });
        Ok(())
    }

    fn rename_names(&mut self, op: NameOp) {
        let unlinked = self.live.apply(&op);
        self.names.push(op);
        match unlinked {
            Some(ino) if self.open.contains_key(&ino) => {
                self.unlinked.insert(ino);
            }
            Some(ino) => self.free(ino),
            None => {}
        }
    }

    fn free(&mut self, ino: Ino) {
        if let Some(node) = self.live.nodes.remove(&ino) {
            self.used -= node.len();
        }
        self.warm.remove(&ino);
        // As long as a power cut can bring the file back, it can bring back its bytes.
        if !self.durable.nodes.contains_key(&ino) && !self.names.iter().any(|op| op.names(ino)) {
            self.data.remove(&ino);
        }
    }

    pub(super) fn read(&mut self, ino: Ino, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        self.warm.insert(ino);
        Ok(self.live.file(ino)?.content.read(buf, offset))
    }

    pub(super) fn write(&mut self, ino: Ino, bytes: &[u8], offset: u64) -> Result<(), Errno> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
        self.grow(ino, end)?;
        self.warm.insert(ino);
        let mtime_ns = self.tick();
        self.change(ino, DataOp::Write { bytes: bytes.into(), offset, mtime_ns })
    }

    pub(super) fn preallocate(&mut self, ino: Ino, len: u64) -> Result<(), Errno> {
        self.grow(ino, len)?;
        let len = len.max(self.live.file(ino)?.content.len());
        self.change(ino, DataOp::Length(len))
    }

    pub(super) fn set_attributes(&mut self, ino: Ino, attributes: Attributes) -> Result<(), Errno> {
        let attributes = match self.kind {
            FsKind::Atomic => attributes,
            FsKind::Fat => Attributes {
                mtime_ns: attributes.mtime_ns - attributes.mtime_ns.rem_euclid(FAT_TIME_NS),
                executable: false,
            },
        };
        self.change(ino, DataOp::Attributes(attributes))
    }

    fn change(&mut self, ino: Ino, op: DataOp) -> Result<(), Errno> {
        op.apply(self.live.file_mut(ino)?);
        self.data.entry(ino).or_default().push(op);
        Ok(())
    }

    fn grow(&mut self, ino: Ino, len: u64) -> Result<(), Errno> {
        let more = len.saturating_sub(self.live.file(ino)?.content.len());
        if more > self.space().free {
            return Err(Errno::NOSPC);
        }
        self.used += more;
        Ok(())
    }

    pub(super) fn meta(&self, ino: Ino) -> Result<Meta, Errno> {
        match self.live.nodes.get(&ino).ok_or(Errno::NOENT)? {
            Node::File(file) => Ok(Meta {
                kind: FileKind::File,
                observed: Observed { size: file.content.len(), mtime_ns: file.attributes.mtime_ns },
                executable: file.attributes.executable,
            }),
            Node::Folder(_) => Ok(Meta { kind: FileKind::Folder, observed: Observed::default(), executable: false }),
        }
    }

    pub(super) fn stat(&self, path: &VolumePath) -> Result<Option<Meta>, Errno> {
        match self.live.resolve(path) {
            Ok(ino) => self.meta(ino).map(Some),
            // As the real one says: behind a file there is nothing.
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// A simulated drive has UTF-8 names alone.
    pub(super) fn list(&self, path: &VolumePath) -> Result<Listing, Errno> {
        let names = self.live.folder(self.live.resolve(path)?)?.entries.keys().cloned().collect();
        Ok(Listing { names, not_utf8: Vec::new() })
    }

    pub(super) fn space(&self) -> Space {
        Space { free: self.capacity.saturating_sub(self.used), size: self.capacity }
    }

    /// Makes a file's bytes, length and attributes durable; of its name nothing.
    pub(super) fn sync_file(&mut self, ino: Ino) {
        self.journaled = self.names.len();
        let Some(ops) = self.data.remove(&ino) else { return };
        if !self.durable.nodes.contains_key(&ino) {
            // Its name is not durable yet: the bytes wait for it. A file that has lost its name needs nothing.
            let created = self.names.iter().find_map(|op| match op {
                NameOp::Create { ino: made, node, .. } if *made == ino => Some(node.clone()),
                NameOp::Create { .. } | NameOp::Link { .. } | NameOp::Remove { .. } | NameOp::Move { .. } => None,
            });
            let Some(node) = created else { return };
            self.durable.nodes.insert(ino, node);
        }
        if let Ok(file) = self.durable.file_mut(ino) {
            for op in &ops {
                op.apply(file);
            }
        }
    }

    /// As a metadata journal does: the last change of the folder's names becomes durable, with all before it.
    pub(super) fn sync_folder(&mut self, path: &VolumePath) -> Result<(), Errno> {
        let folder = self.live.resolve(path)?;
        self.live.folder(folder)?;
        let count = self.names.iter().rposition(|op| op.touches(folder)).map_or(0, |last| last + 1);
        self.commit_names(count);
        Ok(())
    }

    pub(super) fn sync_all(&mut self) {
        self.commit_names(self.names.len());
        for ino in self.data.keys().copied().collect::<Vec<_>>() {
            self.sync_file(ino);
        }
    }

    /// Makes the first `count` changes of names durable.
    pub(super) fn commit_names(&mut self, count: usize) {
        self.journaled = self.journaled.saturating_sub(count);
        for op in self.names.drain(..count) {
            if let Some(gone) = self.durable.apply(&op) {
                self.durable.nodes.remove(&gone);
                if !self.live.nodes.contains_key(&gone) {
                    self.data.remove(&gone);
                }
            }
        }
    }

    /// The stick goes, unnoticed by its file system.
    pub(super) fn die(&mut self) {
        if self.presence == Presence::In {
            if self.kind == FsKind::Atomic {
                self.commit_names(self.journaled.min(self.names.len()));
            }
            self.death = Some((self.names.len(), self.data.clone()));
        }
        self.presence = Presence::Dead;
    }

    /// Bytes of the files whose names a cut could take now, in the midst of a move.
    pub(super) fn moving(&self) -> impl Iterator<Item = Vec<u8>> {
        let moved = self.names.iter().filter_map(|op| match (self.kind, op) {
            (FsKind::Fat, NameOp::Move { ino, .. }) => self.live.file(*ino).ok(),
            (FsKind::Fat, NameOp::Create { .. } | NameOp::Link { .. } | NameOp::Remove { .. })
            | (FsKind::Atomic, _) => None,
        });
        moved.map(|file| file.content.to_vec())
    }

    /// Goes on from `live` alone, with no handle of before.
    pub(super) fn renew(&mut self) {
        self.live.drop_orphans();
        self.open.clear();
        self.unlinked.clear();
        self.warm.clear();
        self.used = self.live.used();
        self.generation = Generation(self.generation.0 + 1);
    }

    fn tick(&mut self) -> i64 {
        self.clock_ns += TICK_NS;
        self.clock_ns
    }
}
