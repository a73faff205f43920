//! Which of the nodes that a folder can be it is: that which had most of what is in it.

use crate::ids::NodeId;
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Place};
use crate::mirror::lane::LaneError;
use crate::mirror::lane::recognize::{Named, Recognition, Whose, unless_lost};
use crate::mirror::layout;
use crate::mirror::volume::FileKind;

/// Things in a folder by which it is recognized.
const RECOGNIZED_BY: usize = 64;

type Result<T> = std::result::Result<T, LaneError>;

/// How much two folders have in common. Bytes say more than names: another folder may have come to its place since, with
/// such names in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    files: usize,
    folders: usize,
    named: usize,
}

impl Recognition<'_, '_> {
    /// The folder that had most of what is in this one.
    pub(super) fn best_folder(&mut self, named: &Named) -> Result<Whose> {
        let mut folders = self.candidates(&named.place);
        folders.retain(|id| self.is_folder(*id) && !self.is_found(*id));
        if folders.len() < 2 {
            return Ok(folders.pop().map_or(Whose::Done, Whose::Folder));
        }
        let mut ranked = Vec::new();
        for id in folders {
            let lsn = self.search.doubtful.get(&id).map(|debt| debt.lsn);
            let mut things = RECOGNIZED_BY;
            let like = self.likeness(id, &named.path, &mut things)?;
            let only_here = !self.may_be_elsewhere(id, &named.place)?;
            let home = (self.belongs_at(id, &named.place), self.now.contains_key(&id));
            ranked.push((like, (only_here, home, lsn), id));
        }
        ranked.sort_unstable();
        Ok(match ranked.as_slice() {
            [.., (second, ..), (first, _, id)] if second == first => Whose::Undecided(*id),
            [.., (_, _, id)] => Whose::Folder(*id),
            [] => Whose::Done,
        })
    }

    /// Whether there is a folder that is nobody's yet at another place that a node may be at.
    fn may_be_elsewhere(&self, id: NodeId, place: &Place) -> Result<bool> {
        let Some(debt) = self.search.doubtful.get(&id) else { return Ok(false) };
        let held = debt.have.iter().chain(&debt.maybe).map(|held| &held.place);
        for other in held.chain(&debt.want).filter(|other| *other != place && !self.folders.contains(other)) {
            let Some(folder) = self.folder_path(other.parent)? else { continue };
            let meta = unless_lost(self.search.volume.stat(&layout::join(&folder, other.name.as_str())))?.flatten();
            if meta.is_some_and(|meta| meta.kind == FileKind::Folder) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The path of a folder, as far as it is found.
    fn folder_path(&self, id: NodeId) -> Result<Option<String>> {
        if let Some(path) = layout::fixed(id) {
            return Ok(Some(path.to_owned()));
        }
        let place = match self.search.found.get(&id) {
            Some(held) => held.as_ref().map(|held| held.place.clone()),
            None if self.search.doubtful.contains_key(&id) => None,
            None => self.search.journal.snapshot().folder_place(id)?,
        };
        let Some(place) = place else { return Ok(None) };
        Ok(self.folder_path(place.parent)?.map(|folder| layout::join(&folder, place.name.as_str())))
    }

    /// How much of what is in a folder a node had in it, at any depth; no more than so many things are looked at.
    fn likeness(&mut self, id: NodeId, path: &str, things: &mut usize) -> Result<Likeness> {
        let mut like = Likeness::default();
        for thing in self.names_in(id, path)? {
            let Some(left) = things.checked_sub(1) else { break };
            *things = left;
            let inside = self.children(&thing.place)?;
            like.named += usize::from(!inside.is_empty());
            match thing.meta.kind {
                FileKind::Folder => {
                    let mut best = None;
                    for folder in inside {
                        if self.is_folder(folder) {
                            best = best.max(Some(self.likeness(folder, &thing.path, things)?));
                        }
                    }
                    let Some(Likeness { files, folders, named }) = best else { continue };
                    like.files += files;
                    like.folders += folders + 1;
                    like.named += named;
                }
                FileKind::File => like.files += usize::from(self.is_any_of(&inside, &thing)?),
                FileKind::Other => {}
            }
        }
        Ok(like)
    }

    /// Nodes that may be at a place, or are.
    fn children(&self, place: &Place) -> std::result::Result<Vec<NodeId>, StoreError> {
        let mut ids = self.by_place.get(place).cloned().unwrap_or_default();
        ids.extend(self.settled(place)?.map(|node| node.id()));
        Ok(ids)
    }

    /// Whether one of the nodes has, or had, the bytes of a file.
    fn is_any_of(&mut self, ids: &[NodeId], file: &Named) -> Result<bool> {
        let size = file.meta.observed.size;
        if !ids.iter().any(|id| self.versions(*id).any(|version| version.size == size)) {
            return Ok(false);
        }
        let read = match self.digests.get(&file.path) {
            Some(digest) => *digest,
            None => self.digest(&file.path, size)?,
        };
        self.digests.insert(file.path.clone(), read);
        Ok(read.is_some_and(|crc32| ids.iter().any(|id| self.version_like(*id, size, crc32).is_some())))
    }
}
