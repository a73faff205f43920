//! Whose a file is that no history knows: of the one in whose home it lies, as a running mirror has it too.

use std::collections::BTreeSet;

use crate::digest::Crc32;
use crate::ids::NodeId;
use crate::journal::Place;
use crate::mirror::adopt::outcome::Rebuild;
use crate::path::{ACCOUNTS_FILE, Name};

/// Who has a home, as far as documents of accounts tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Homes {
    /// Of those that lie on the drives: by size and CRC-32, since only the one that the history knows counts.
    pub(crate) by_document: Vec<((u64, Crc32), BTreeSet<String>)>,
    /// Where none of them is it.
    pub(crate) otherwise: BTreeSet<String>,
}

impl Rebuild {
    /// Whose a file is in this folder.
    pub(super) fn owner_in(&self, mut folder: NodeId, name: &Name) -> String {
        let mut first = name;
        // What is in the root itself is in nobody's home. The way up has an end, as orphans are dropped.
        let mut is_below = false;
        while folder != NodeId::ROOT {
            let Some(node) = self.nodes.get(&folder) else { return String::new() };
            (first, folder) = (&node.place.name, node.place.parent);
            is_below = true;
        }
        let is_home = is_below && self.users().contains(first.as_str());
        if is_home { first.to_string() } else { String::new() }
    }

    fn users(&self) -> &BTreeSet<String> {
        let version = || {
            let place = Place::new(NodeId::ROOT, Name::parse(ACCOUNTS_FILE).ok()?);
            self.nodes.get(self.places.get(&place)?)?.version()
        };
        let known = version().map(|version| (version.size, version.crc32));
        let document = self.homes.by_document.iter().find(|(document, _)| Some(*document) == known);
        document.map_or(&self.homes.otherwise, |(_, users)| users)
    }
}
