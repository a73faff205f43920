//! What a drive may have that was not looked through: all that the other one's history tells of a node up to what it is
//! now. When the drive comes, what it has is known by that (`lane/recognize`), so that nothing comes back that was
//! removed, moved or overwritten while it was away.

use crate::ids::{Lsn, NodeId, Side};
use crate::journal::{Content, Held, Version};
use crate::mirror::adopt::outcome::{Alive, Gone, Rebuild};
use crate::mirror::adopt::past::Known;

/// Things that one node may be, the newest: what is older is kept, as nobody's.
const MAYBE_MAX: usize = 64;

impl Rebuild {
    /// What a drive that was not seen may have of a node of the catalog.
    pub(super) fn maybe(&self, side: Side, id: NodeId, node: &Alive) -> Vec<Held> {
        if !*self.unseen.get(side) {
            return Vec::new();
        }
        let content = node.version().map_or(Content::Folder, |version| Content::File { version, observed: None });
        let now = Held { place: node.place.clone(), content };
        let mut maybe = self.past.nodes.get(&id).map(|known| known.up_to(node.version())).unwrap_or_default();
        maybe.retain(|held| *held != now);
        maybe.push(now);
        newest(maybe)
    }

    /// Notes what a drive that was not seen may have of nodes that were removed.
    pub(super) fn note_removed(&mut self) {
        for (id, known) in self.past.nodes.iter().filter(|(_, known)| known.newest.now.is_none()) {
            let maybe = newest(known.up_to(None));
            if self.nodes.contains_key(id) || maybe.is_empty() {
                continue;
            }
            for side in Side::BOTH.into_iter().filter(|side| *self.unseen.get(*side)) {
                let gone = self.gone.entry(*id).or_insert_with(|| Gone { lsn: known.newest.lsn, ..Gone::default() });
                gone.maybe.get_mut(side).clone_from(&maybe);
            }
        }
    }
}

impl Known {
    /// What the node was up to its last time in this version, the oldest first; `None`: all. What is newer than the
    /// version that was found is not superseded by it, nor is anything by a version that no history tells of.
    fn up_to(&self, version: Option<Version>) -> Vec<Held> {
        let is_it = |held: &Held| match (held.content, version) {
            (Content::File { version: held, .. }, Some(version)) => held == version,
            (Content::Folder | Content::File { .. }, _) => false,
        };
        let last = match version {
            Some(_) => self.was.iter().filter(|(_, held)| is_it(held)).map(|(lsn, _)| *lsn).max(),
            None => Some(Lsn(u64::MAX)),
        };
        // Of two that are told of as being before all the rest nobody knows which was first.
        let is_past = |lsn: Lsn, held: &Held| last.is_some_and(|last| lsn < last || is_it(held));
        let mut was: Vec<_> = self.was.iter().filter(|(lsn, held)| is_past(*lsn, held)).collect();
        was.sort_by_key(|(lsn, _)| *lsn);
        was.into_iter().map(|(_, held)| held.clone()).collect()
    }
}

fn newest(mut maybe: Vec<Held>) -> Vec<Held> {
    maybe.split_off(maybe.len().saturating_sub(MAYBE_MAX))
}
