//! Which nodes the files and folders of a drive are.

use crate::digest::{Crc32, FileDigest};
use crate::ids::{NodeId, Side};
use crate::journal::{Body, Content, Copy, Held, Observed, Place, Version};
use crate::mirror::adopt::is_own;
use crate::mirror::adopt::outcome::{Alive, Gone, Rebuild};
use crate::mirror::adopt::survey::{Above, Seen, SeenKind};
use crate::path::Name;

/// Things in a folder by which it is recognized.
const RECOGNIZED_BY: usize = 64;

/// A file that is none that the history knows.
#[derive(Clone, Debug)]
pub(super) struct Stray {
    pub(super) place: Place,
    pub(super) digest: FileDigest,
    pub(super) observed: Observed,
    pub(super) executable: bool,
}

impl Rebuild {
    /// Takes in what a drive has, each folder before what is in it.
    pub(super) fn take_tree(&mut self, side: Side, tree: Vec<Seen>) {
        let inside = things_inside(&tree);
        let mut ids: Vec<Option<NodeId>> = Vec::with_capacity(tree.len());
        for (seen, inside) in tree.into_iter().zip(inside) {
            let parent = match seen.above {
                Above::Root => Some(NodeId::ROOT),
                Above::Limbo => Some(NodeId::LIMBO),
                Above::Trash => Some(NodeId::TRASH),
                Above::Folder(number) => ids.get(number).copied().flatten(),
            };
            let Some(parent) = parent else {
                ids.push(None);
                continue;
            };
            let place = Place::new(parent, seen.name);
            ids.push(match seen.what {
                SeenKind::Folder { mtime_ns } => self.take_folder(side, place, mtime_ns, &inside),
                SeenKind::File { digest, observed, executable } => {
                    self.take_file(side, Stray { place, digest, observed, executable });
                    None
                }
            });
        }
    }

    fn take_folder(&mut self, side: Side, place: Place, mtime_ns: i64, inside: &[Inside]) -> Option<NodeId> {
        let candidates = self.candidates(side, &place).into_iter().filter(|id| self.is_folder(*id));
        let best = candidates.max_by_key(|id| {
            let known = self.past.nodes.get(id);
            // Bytes say more than names: another folder may have come to its place since, with such names in it.
            let same = inside.iter().filter(|thing| self.has_had(*id, thing)).count();
            let named = inside.iter().filter(|thing| self.has_child(*id, &thing.name)).count();
            let own = known.and_then(|known| known.own.get(side).clone());
            let last_here = own.is_some_and(|(_, at)| at.as_ref() == Some(&place));
            (same, named, last_here, self.places.get(&place) == Some(id), known.map(|known| known.newest.lsn))
        });
        let held = Held { place: place.clone(), content: Content::Folder };
        let id = match best {
            Some(id) => id,
            // What somebody put there by hand stays there.
            None if is_own(place.parent) => return None,
            None => {
                self.revive(place.parent, side);
                self.add(place, Body::Folder { mtime_ns }, side)
            }
        };
        self.note(side, id, held);
        Some(id)
    }

    fn take_file(&mut self, side: Side, stray: Stray) {
        let candidates = self.candidates(side, &stray.place);
        let matches = candidates.into_iter().filter_map(|id| Some((id, self.version_of(id, &stray.digest)?)));
        let best = matches.max_by_key(|(id, version)| {
            let node = self.nodes.get(id);
            let current = node.is_some_and(|node| node.version() == Some(*version));
            (current, node.is_some_and(|node| node.place == stray.place), node.is_some())
        });
        let Some((id, version)) = best else {
            // What somebody put there by hand stays there.
            if !is_own(stray.place.parent) {
                self.strays.get_mut(side).push(stray);
            }
            return;
        };
        if let Some(known) = self.past.nodes.get_mut(&id) {
            known.blocks.insert(version.ticket, stray.digest.blocks.clone());
        }
        let (observed, now_ns) = (stray.observed, self.now_ns);
        if let Some(node) = self.nodes.get_mut(&id).filter(|node| node.version() == Some(version)) {
            node.blocks = Some(stray.digest.blocks);
            *node.copies.get_mut(side) = Copy::Installed { observed, verified_ns: now_ns };
        }
        let content = Content::File { version, observed: Some(observed) };
        self.note(side, id, Held { place: stray.place, content });
    }

    /// Nodes that were at a place at any time, and that the drive was not yet seen to have.
    fn candidates(&self, side: Side, place: &Place) -> Vec<NodeId> {
        let mut ids = if place.parent == NodeId::LIMBO {
            place.name.as_str().parse().map(NodeId).into_iter().collect()
        } else {
            self.past.places.get(place).cloned().unwrap_or_default()
        };
        if let Some(id) = self.places.get(place).filter(|id| !ids.contains(id)) {
            ids.push(*id);
        }
        ids.retain(|id| self.past.nodes.contains_key(id) || self.nodes.contains_key(id));
        ids.retain(|id| !self.is_seen(side, *id));
        ids
    }

    fn is_seen(&self, side: Side, id: NodeId) -> bool {
        let alive = self.nodes.get(&id).is_some_and(|node| node.have.get(side).is_some());
        alive || self.gone.get(&id).is_some_and(|gone| gone.have.get(side).is_some())
    }

    fn is_folder(&self, id: NodeId) -> bool {
        match self.nodes.get(&id) {
            Some(Alive { body: Body::Folder { .. }, .. }) => true,
            Some(_) => false,
            None => self.past.nodes.get(&id).is_some_and(|known| known.versions.is_empty()),
        }
    }

    /// Whether a thing like this was in a folder at any time.
    fn has_had(&self, id: NodeId, thing: &Inside) -> bool {
        let place = Place::new(id, thing.name.clone());
        let past = self.past.places.get(&place).into_iter().flatten();
        past.chain(self.places.get(&place)).any(|child| match thing.is {
            Is::Folder => self.is_folder(*child),
            Is::File { size, crc32 } => {
                self.versions_of(*child).any(|version| (version.size, version.crc32) == (size, crc32))
            }
        })
    }

    fn has_child(&self, id: NodeId, name: &Name) -> bool {
        let place = Place::new(id, name.clone());
        self.past.places.contains_key(&place) || self.places.contains_key(&place)
    }

    /// The version of a node that bytes are: the current one before others.
    fn version_of(&self, id: NodeId, digest: &FileDigest) -> Option<Version> {
        self.versions_of(id).find(|version| version.size == digest.size && version.crc32 == digest.whole)
    }

    fn versions_of(&self, id: NodeId) -> impl Iterator<Item = Version> {
        let current = self.nodes.get(&id).and_then(Alive::version);
        let known = self.past.nodes.get(&id).into_iter().flat_map(|known| known.versions.iter().copied());
        current.into_iter().chain(known)
    }

    /// Notes that a drive has a node.
    fn note(&mut self, side: Side, id: NodeId, held: Held) {
        if let Some(node) = self.nodes.get_mut(&id) {
            *node.have.get_mut(side) = Some(held);
            return;
        }
        let lsn = self.past.nodes.get(&id).map(|known| known.newest.lsn).unwrap_or_default();
        let gone = self.gone.entry(id).or_insert_with(|| Gone { lsn, ..Gone::default() });
        *gone.have.get_mut(side) = Some(held);
    }
}

/// Something in a folder, as far as folders are told apart by it.
struct Inside {
    name: Name,
    is: Is,
}

enum Is {
    Folder,
    File { size: u64, crc32: Crc32 },
}

/// Some things in each folder of a tree; none where it is a file.
fn things_inside(tree: &[Seen]) -> Vec<Vec<Inside>> {
    let mut inside: Vec<Vec<Inside>> = tree.iter().map(|_| Vec::new()).collect();
    for seen in tree {
        if let Above::Folder(number) = seen.above
            && let Some(things) = inside.get_mut(number)
            && things.len() < RECOGNIZED_BY
        {
            let is = match &seen.what {
                SeenKind::Folder { .. } => Is::Folder,
                SeenKind::File { digest, .. } => Is::File { size: digest.size, crc32: digest.whole },
            };
            things.push(Inside { name: seen.name.clone(), is });
        }
    }
    inside
}
