//! Which nodes the files and folders of a drive are that the journal was rebuilt without.
//!
//! Its debts say what it may have, in which a name can be any of several nodes'; what each name is, its bytes tell, and
//! of a folder what is in it. That is how a rebuilt catalog is compared with the drives that were there (`adopt/tree`).
//! What is none of all this was never the mirror's, or is not known to be superseded: it stays, and is taken in later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::digest::Crc32;
use crate::ids::NodeId;
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Content, Debt, Held, Node, Observed, Place, Version};
use crate::mirror::content::crc_of;
use crate::mirror::lane::LaneError;
use crate::mirror::lane::search::Search;
use crate::mirror::layout;
use crate::mirror::volume::{Disposition, FileKind, Meta, VolumeError};
use crate::path::{Name, is_reserved};

/// Files of the same bytes that are given to others for one that is nobody's yet.
const ASKED_MAX: usize = 64;

type Result<T> = std::result::Result<T, LaneError>;

/// A name on the drive that can be a node's.
pub(super) struct Named {
    pub(super) place: Place,
    pub(super) path: String,
    pub(super) meta: Meta,
}

/// Whose a name is.
pub(super) enum Whose {
    /// That of a folder, which is to be looked into.
    Folder(NodeId),
    /// As well as another's that of this folder.
    Undecided(NodeId),
    /// A file's or nobody's: nothing more is to be done.
    Done,
}

/// A file on the drive.
struct FileSeen {
    place: Place,
    observed: Observed,
    crc32: Crc32,
}

impl FileSeen {
    fn of(held: Held) -> Option<Self> {
        match held.content {
            Content::File { version, observed: Some(observed) } => {
                Some(Self { place: held.place, observed, crc32: version.crc32 })
            }
            Content::File { observed: None, .. } | Content::Folder => None,
        }
    }
}

pub(super) struct Recognition<'s, 'a> {
    pub(super) search: &'s mut Search<'a>,
    /// Nodes that may be at a place, or belong there.
    pub(super) by_place: BTreeMap<Place, Vec<NodeId>>,
    /// What nodes are by now; of one that was removed there is nothing.
    pub(super) now: BTreeMap<NodeId, Content>,
    /// Of files that were read to recognize a folder.
    pub(super) digests: BTreeMap<String, Option<Crc32>>,
    /// Places of folders that were found.
    pub(super) folders: BTreeSet<Place>,
}

impl Search<'_> {
    /// Finds where the doubtful nodes are, by all that the drive has.
    pub(super) fn recognize(&mut self) -> Result<()> {
        let (mut by_place, mut now) = (BTreeMap::<Place, Vec<NodeId>>::new(), BTreeMap::new());
        for (id, debt) in &self.doubtful {
            let held = debt.have.iter().chain(&debt.maybe).map(|held| &held.place);
            for place in held.chain(&debt.want) {
                let there = by_place.entry(place.clone()).or_default();
                if !there.contains(id) {
                    there.push(*id);
                }
            }
            let Some(place) = &debt.want else { continue };
            let content = match self.journal.snapshot().node(place)?.filter(|node| node.id() == *id) {
                Some(Node::Folder(_)) => Content::Folder,
                Some(Node::File(file)) => Content::File { version: file.version, observed: None },
                None => continue,
            };
            now.insert(*id, content);
        }
        let folders = BTreeSet::new();
        let mut recognition = Recognition { search: self, by_place, now, digests: BTreeMap::new(), folders };
        recognition.look_through()?;
        for id in self.doubtful.keys() {
            self.found.entry(*id).or_insert(None);
        }
        Ok(())
    }
}

impl Recognition<'_, '_> {
    /// Looks at all names, each folder's before those in it.
    fn look_through(&mut self) -> Result<()> {
        let mut folders = Vec::new();
        for own in [NodeId::LIMBO, NodeId::TRASH, NodeId::ROOT] {
            folders.extend(layout::fixed(own).map(|path| (own, path.to_owned())));
        }
        let mut undecided = VecDeque::new();
        loop {
            while let Some((folder, path)) = folders.pop() {
                for named in self.names_in(folder, &path)? {
                    match self.recognize_one(&named)? {
                        Whose::Folder(id) => folders.push((id, named.path)),
                        Whose::Undecided(_) => undecided.push_back(named),
                        Whose::Done => {}
                    }
                }
            }
            // What is found elsewhere by now may leave but one that it can be.
            let Some(named) = undecided.pop_front() else { return Ok(()) };
            match self.best_folder(&named)? {
                Whose::Folder(id) | Whose::Undecided(id) => {
                    self.note_folder(id, &named);
                    folders.push((id, named.path));
                }
                Whose::Done => {}
            }
        }
    }

    /// Finds out whose a name is.
    fn recognize_one(&mut self, named: &Named) -> Result<Whose> {
        if let Some(node) = self.settled(&named.place)? {
            // Where it belongs, as is on record.
            return Ok(match node {
                Node::Folder(folder) if named.meta.kind == FileKind::Folder => Whose::Folder(folder.id),
                Node::Folder(_) | Node::File(_) => Whose::Done,
            });
        }
        match named.meta.kind {
            FileKind::Folder => {
                let whose = self.best_folder(named)?;
                if let Whose::Folder(id) = whose {
                    self.note_folder(id, named);
                }
                Ok(whose)
            }
            FileKind::File => {
                self.recognize_file(named)?;
                Ok(Whose::Done)
            }
            FileKind::Other => Ok(Whose::Done),
        }
    }

    fn note_folder(&mut self, id: NodeId, named: &Named) {
        self.search.found.insert(id, Some(Held { place: named.place.clone(), content: Content::Folder }));
        self.folders.insert(named.place.clone());
    }

    /// The nodes that may be what is at a place.
    pub(super) fn candidates(&self, place: &Place) -> Vec<NodeId> {
        let mut ids = self.by_place.get(place).cloned().unwrap_or_default();
        if place.parent == NodeId::LIMBO {
            ids.extend(place.name.as_str().parse().ok().map(NodeId));
        }
        ids.retain(|id| self.search.doubtful.contains_key(id));
        ids
    }

    pub(super) fn is_found(&self, id: NodeId) -> bool {
        self.search.found.contains_key(&id)
    }

    /// Finds out whose a file is: that of a node that has these bytes, or had.
    fn recognize_file(&mut self, named: &Named) -> Result<()> {
        let size = named.meta.observed.size;
        // Nothing is read for what differs in its size.
        let candidates = self.candidates(&named.place);
        if !candidates.iter().any(|id| self.versions(*id).any(|version| version.size == size)) {
            return Ok(());
        }
        let read = match self.digests.remove(&named.path) {
            Some(digest) => digest,
            None => self.digest(&named.path, size)?,
        };
        let Some(crc32) = read else { return Ok(()) };
        let file = FileSeen { place: named.place.clone(), observed: named.meta.observed, crc32 };
        self.give(&file, &mut BTreeSet::new());
        Ok(())
    }

    /// Gives a file to a node that it can be, a current version where it belongs before others. Where all have one of the
    /// same bytes already, one of them gives that to another.
    fn give(&mut self, file: &FileSeen, asked: &mut BTreeSet<NodeId>) -> bool {
        let like = |id: &NodeId| Some((*id, self.version_like(*id, file.observed.size, file.crc32)?));
        let mut matches: Vec<_> = self.candidates(&file.place).iter().filter_map(like).collect();
        matches.sort_by_key(|(id, version)| {
            let is_current = self.current(*id) == Some(*version);
            std::cmp::Reverse((is_current, self.belongs_at(*id, &file.place), self.now.contains_key(id)))
        });
        let free = matches.iter().find(|(id, _)| !self.is_found(*id)).copied();
        let given = free.or_else(|| {
            matches.into_iter().find(|(id, _)| {
                let has = self.search.found.get(id).cloned().flatten().and_then(FileSeen::of);
                asked.len() < ASKED_MAX && asked.insert(*id) && has.is_some_and(|has| self.give(&has, asked))
            })
        });
        let Some((id, version)) = given else { return false };
        let content = Content::File { version, observed: Some(file.observed) };
        self.search.found.insert(id, Some(Held { place: file.place.clone(), content }));
        true
    }

    /// The node that is where it belongs, and for which nothing is owed.
    pub(super) fn settled(&self, place: &Place) -> std::result::Result<Option<Node>, StoreError> {
        let Some(node) = self.search.journal.snapshot().node(place)? else { return Ok(None) };
        Ok((!self.search.owes(node.id())?).then_some(node))
    }

    pub(super) fn is_folder(&self, id: NodeId) -> bool {
        self.contents(id).any(|content| content == Content::Folder)
    }

    fn current(&self, id: NodeId) -> Option<Version> {
        self.now.get(&id).copied().and_then(version)
    }

    pub(super) fn version_like(&self, id: NodeId, size: u64, crc32: Crc32) -> Option<Version> {
        self.versions(id).find(|version| version.size == size && version.crc32 == crc32)
    }

    /// The versions that a file has and may have, the current one first.
    pub(super) fn versions(&self, id: NodeId) -> impl Iterator<Item = Version> {
        self.contents(id).filter_map(version)
    }

    fn contents(&self, id: NodeId) -> impl Iterator<Item = Content> {
        let debt: Option<&Debt> = self.search.doubtful.get(&id);
        let held = debt.into_iter().flat_map(|debt| debt.have.iter().chain(&debt.maybe));
        self.now.get(&id).copied().into_iter().chain(held.map(|held| held.content))
    }

    pub(super) fn belongs_at(&self, id: NodeId, place: &Place) -> bool {
        self.search.doubtful.get(&id).is_some_and(|debt| debt.want.as_ref() == Some(place))
    }

    /// The names in a folder that can be the mirror's, in their order.
    pub(super) fn names_in(&self, folder: NodeId, path: &str) -> Result<Vec<Named>> {
        let listing = unless_lost(self.search.volume.list(path))?;
        let mut names = listing.map(|listing| listing.names).unwrap_or_default();
        names.sort_unstable();
        let mut found = Vec::new();
        for text in names {
            if folder == NodeId::ROOT && is_reserved(&text) {
                continue;
            }
            let Some(name) = Name::parse(&text).ok().filter(|name| name.as_str() == text) else { continue };
            let path = layout::join(path, &text);
            if let Some(meta) = unless_lost(self.search.volume.stat(&path))?.flatten() {
                found.push(Named { place: Place::new(folder, name), path, meta });
            }
        }
        Ok(found)
    }

    /// The CRC-32 of a file as the medium has it; nothing where it cannot be read.
    pub(super) fn digest(&self, path: &str, size: u64) -> Result<Option<Crc32>> {
        let read = || {
            let file = self.search.volume.open(path)?;
            file.forget_cached()?;
            crc_of(&file, 0, size)
        };
        unless_lost(read())
    }
}

fn version(content: Content) -> Option<Version> {
    match content {
        Content::Folder => None,
        Content::File { version, .. } => Some(version),
    }
}

/// Passes over what cannot be looked at on a drive that is there: it is none that is known.
pub(super) fn unless_lost<T>(result: std::result::Result<T, VolumeError>) -> Result<Option<T>> {
    match result {
        Err(error) if error.disposition == Disposition::DriveLost => Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "not recognized");
            Ok(None)
        }
        Ok(value) => Ok(Some(value)),
    }
}
