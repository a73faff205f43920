//! Files that no history knows: new ones are taken in, those that differ are kept beside each other.

use crate::ids::{NodeId, Side};
use crate::journal::{Body, Content, Copy, Held, Version};
use crate::mirror::adopt::outcome::{Alive, Rebuild};
use crate::mirror::adopt::tree::Stray;
use crate::path::is_accounts_name;

impl Rebuild {
    pub(super) fn settle(&mut self) {
        for side in Side::BOTH {
            for stray in std::mem::take(self.strays.get_mut(side)) {
                self.take_stray(side, stray);
            }
        }
    }

    fn take_stray(&mut self, side: Side, stray: Stray) {
        // Accounts are those that the history knows: anybody could have put others there.
        if stray.place.parent == NodeId::ROOT && is_accounts_name(stray.place.name.as_str()) {
            self.report.strange_accounts = true;
            return;
        }
        self.revive(stray.place.parent, side);
        let there = self.places.get(&stray.place).copied();
        let node = there.and_then(|id| Some((id, self.nodes.get(&id)?)));
        let id = match node {
            Some((id, node)) if is_same(node, &stray) && node.have.get(side).is_none() => id,
            // No drive has what is on record: what lies under its name is it from now on.
            Some((id, node)) if node.version().is_some() && !node.is_held() && node.have.get(side).is_none() => {
                self.renew(id, &stray);
                id
            }
            Some(_) => {
                let id = self.add_file(side, &stray);
                self.tell_kept(id);
                id
            }
            None => {
                self.report.taken_in += 1;
                self.add_file(side, &stray)
            }
        };
        let now_ns = self.now_ns;
        if let Some(node) = self.nodes.get_mut(&id)
            && let Some(version) = node.version()
        {
            let observed = stray.observed;
            *node.copies.get_mut(side) = Copy::Installed { observed, verified_ns: now_ns };
            node.blocks = Some(stray.digest.blocks);
            let content = Content::File { version, observed: Some(observed) };
            *node.have.get_mut(side) = Some(Held { place: stray.place, content });
        }
    }

    fn add_file(&mut self, side: Side, stray: &Stray) -> NodeId {
        let body = self.body_of(stray);
        self.add(stray.place.clone(), body, side)
    }

    fn renew(&mut self, id: NodeId, stray: &Stray) {
        let (body, lsn) = (self.body_of(stray), self.next_lsn());
        if let Some(node) = self.nodes.get_mut(&id) {
            node.body = body;
            node.lsn = lsn;
        }
        self.report.taken_in += 1;
    }

    fn body_of(&mut self, stray: &Stray) -> Body {
        let version = Version { ticket: self.next_ticket(), size: stray.digest.size, crc32: stray.digest.whole };
        let mtime_ns = stray.observed.mtime_ns;
        let owner = self.owner_in(stray.place.parent, &stray.place.name);
        Body::File { version, mtime_ns, executable: stray.executable, owner }
    }
}

/// Whether a file's bytes are those of the node's current version.
fn is_same(node: &Alive, stray: &Stray) -> bool {
    let same = |version: Version| version.size == stray.digest.size && version.crc32 == stray.digest.whole;
    // Small files have one checksum, large ones one a block as well.
    node.version().is_some_and(same) && node.blocks.as_ref().is_none_or(|blocks| *blocks == stray.digest.blocks)
}
