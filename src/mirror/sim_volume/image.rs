//! One state of a file system: inodes, and the names that lead to them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use rustix::io::Errno;

use super::content::Content;
use crate::mirror::volume::{Attributes, FsKind, VolumePath};
use crate::namespace::folded;

/// Longest name in bytes, as on every file system that Linux has.
const NAME_BYTES_MAX: usize = 255;

/// An inode: what a name leads to, and what an open handle keeps. Never used again on one medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ino(pub(super) u64);

impl Ino {
    pub(super) const ROOT: Self = Self(0);
}

#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    pub(super) content: Content,
    pub(super) attributes: Attributes,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FolderNode {
    pub(super) entries: BTreeMap<String, Ino>,
}

impl FolderNode {
    /// What a name leads to, and how that is spelled.
    fn entry(&self, name: &str, kind: FsKind) -> Option<(&str, Ino)> {
        let exact = self.entries.get_key_value(name);
        let any = || match kind {
            FsKind::Atomic => None,
            FsKind::Fat => self.entries.iter().find(|(spelled, _)| folded(spelled) == folded(name)),
        };
        exact.or_else(any).map(|(spelled, ino)| (spelled.as_str(), *ino))
    }
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(FileNode),
    Folder(FolderNode),
}

/// A place for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) folder: Ino,
    pub(super) name: String,
}

/// A change of names that happens wholly or not at all.
#[derive(Clone, Debug)]
pub(super) enum NameOp {
    Create {
        place: Place,
        ino: Ino,
        node: Node,
    },
    /// A second name for a file.
    Link {
        place: Place,
        ino: Ino,
    },
    Remove {
        place: Place,
        ino: Ino,
    },
    Move {
        from: Place,
        to: Place,
        ino: Ino,
        replaced: Option<Ino>,
    },
}

impl NameOp {
    /// Whether a sync of `folder` has to make this durable: it changes the folder's names, or made the folder.
    pub(super) fn touches(&self, folder: Ino) -> bool {
        match self {
            Self::Create { place, ino, .. } => place.folder == folder || *ino == folder,
            Self::Link { place, .. } | Self::Remove { place, .. } => place.folder == folder,
            Self::Move { from, to, .. } => from.folder == folder || to.folder == folder,
        }
    }

    /// Whether `ino` gets or loses a name by this.
    pub(super) fn names(&self, other: Ino) -> bool {
        match self {
            Self::Create { ino, .. } | Self::Link { ino, .. } | Self::Remove { ino, .. } => *ino == other,
            Self::Move { ino, replaced, .. } => *ino == other || *replaced == Some(other),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Image {
    /// Invariant: holds `Ino::ROOT`, a folder.
    pub(super) nodes: BTreeMap<Ino, Node>,
    /// How many names files have beside their first.
    more_names: BTreeMap<Ino, u64>,
    /// FAT finds a name in any spelling.
    kind: FsKind,
}

impl Image {
    pub(super) fn new(kind: FsKind) -> Self {
        Self {
            nodes: BTreeMap::from([(Ino::ROOT, Node::Folder(FolderNode::default()))]),
            more_names: BTreeMap::new(),
            kind,
        }
    }

    pub(super) fn folder(&self, ino: Ino) -> Result<&FolderNode, Errno> {
        match self.nodes.get(&ino) {
            Some(Node::Folder(folder)) => Ok(folder),
            Some(Node::File(_)) => Err(Errno::NOTDIR),
            None => Err(Errno::NOENT),
        }
    }

    pub(super) fn file(&self, ino: Ino) -> Result<&FileNode, Errno> {
        match self.nodes.get(&ino) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Folder(_)) => Err(Errno::ISDIR),
            None => Err(Errno::NOENT),
        }
    }

    pub(super) fn file_mut(&mut self, ino: Ino) -> Result<&mut FileNode, Errno> {
        match self.nodes.get_mut(&ino) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Folder(_)) => Err(Errno::ISDIR),
            None => Err(Errno::NOENT),
        }
    }

    pub(super) fn resolve(&self, path: &VolumePath) -> Result<Ino, Errno> {
        if path.is_empty() {
            return Ok(Ino::ROOT);
        }
        path.split('/').try_fold(Ino::ROOT, |ino, name| self.child(ino, checked(name)?))
    }

    /// Where the last name of `path` is or would be. The root has no such place.
    pub(super) fn place(&self, path: &VolumePath) -> Result<Place, Errno> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if path.is_empty() {
            return Err(Errno::EXIST);
        }
        let folder = self.resolve(folder)?;
        let found = self.folder(folder)?.entry(checked(name)?, self.kind);
        let name = found.map_or(name, |(spelled, _)| spelled);
        Ok(Place { folder, name: name.to_owned() })
    }

    /// What is at a place.
    pub(super) fn at(&self, place: &Place) -> Result<Ino, Errno> {
        self.child(place.folder, &place.name)
    }

    fn child(&self, folder: Ino, name: &str) -> Result<Ino, Errno> {
        self.folder(folder)?.entry(name, self.kind).map(|(_, ino)| ino).ok_or(Errno::NOENT)
    }

    /// Carries out a change of names. Whoever calls has checked that it can be done; what it unlinks is given back.
    pub(super) fn apply(&mut self, op: &NameOp) -> Option<Ino> {
        match op {
            NameOp::Create { place, ino, node } => {
                // A file that was synced before its folder is here already, without a name.
                self.nodes.entry(*ino).or_insert_with(|| node.clone());
                self.link(place, *ino);
                None
            }
            NameOp::Link { place, ino } => {
                self.link(place, *ino);
                *self.more_names.entry(*ino).or_default() += 1;
                None
            }
            NameOp::Remove { place, ino } => {
                self.unlink(place);
                self.without_name(*ino)
            }
            NameOp::Move { from, to, ino, replaced } => {
                self.unlink(from);
                self.link(to, *ino);
                replaced.and_then(|replaced| self.without_name(replaced))
            }
        }
    }

    /// An inode that has lost a name, if that was its last.
    fn without_name(&mut self, ino: Ino) -> Option<Ino> {
        let Some(more) = self.more_names.get_mut(&ino) else { return Some(ino) };
        *more -= 1;
        if *more == 0 {
            self.more_names.remove(&ino);
        }
        None
    }

    fn link(&mut self, place: &Place, ino: Ino) {
        if let Some(Node::Folder(folder)) = self.nodes.get_mut(&place.folder) {
            folder.entries.insert(place.name.clone(), ino);
        }
    }

    fn unlink(&mut self, place: &Place) {
        if let Some(Node::Folder(folder)) = self.nodes.get_mut(&place.folder) {
            folder.entries.remove(&place.name);
        }
    }

    /// All that has a name: path and inode, parents before what is in them.
    pub(super) fn walk(&self) -> Vec<(String, Ino)> {
        let mut found = Vec::new();
        let mut folders = vec![(String::new(), Ino::ROOT)];
        while let Some((path, ino)) = folders.pop() {
            let Ok(folder) = self.folder(ino) else { continue };
            for (name, child) in &folder.entries {
                let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                if self.folder(*child).is_ok() {
                    folders.push((path.clone(), *child));
                }
                found.push((path, *child));
            }
        }
        found
    }

    /// All names with their attributes and bytes, whatever the inodes' numbers.
    pub(super) fn hash_tree(&self, hasher: &mut impl Hasher) {
        for (path, ino) in self.walk() {
            path.hash(hasher);
            match self.file(ino) {
                Ok(file) => {
                    (1, file.attributes.mtime_ns, file.attributes.executable).hash(hasher);
                    file.content.hash(hasher);
                }
                Err(_) => 0.hash(hasher),
            }
        }
    }

    /// Drops every inode that no name leads to: what a file system check does after a power cut.
    pub(super) fn drop_orphans(&mut self) {
        let named: BTreeSet<Ino> = self.walk().into_iter().map(|(_, ino)| ino).collect();
        self.nodes.retain(|ino, _| *ino == Ino::ROOT || named.contains(ino));
    }

    /// Whether `inner` is `outer` or lies in it.
    pub(super) fn lies_in(&self, outer: Ino, inner: Ino) -> bool {
        outer == inner
            || self.folder(outer).is_ok_and(|folder| folder.entries.values().any(|child| self.lies_in(*child, inner)))
    }

    /// Bytes of all files.
    pub(super) fn used(&self) -> u64 {
        self.nodes.values().map(Node::len).sum()
    }
}

impl Node {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.content.len(),
            Self::Folder(_) => 0,
        }
    }
}

fn checked(name: &str) -> Result<&str, Errno> {
    if name.is_empty() || name == "." || name == ".." || name.contains('\0') {
        return Err(Errno::INVAL);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    Ok(name)
}
