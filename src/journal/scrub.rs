//! How far a scrub is, on record: what was ordered, and how far each drive is with it.
//!
//! Two owners that never wait for each other: whoever orders writes the order, each drive's scrub its own progress.
//! No record is kept of a single file that was found right: that follows from its key, its LSN and the position, so
//! that a scrub of a hundred thousand files writes a few records to the boot disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::elapsed::Elapsed;
use crate::ids::{Lsn, NodeId, Side, Ticket};
use crate::journal::catalog::Catalog;
use crate::journal::codec;
use crate::journal::reader::{Journal, Snapshot};
use crate::journal::record::{Copy, FileNode, Node, Place};
use crate::journal::store::{Pair, StoreError};

/// Files named one by one that a scrub did not find right, or could not look at.
const UNVERIFIED_MAX: usize = 100;
/// Nodes read at once.
const PAGE: usize = 1024;

/// Why a scrub was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScrubCause {
    Asked,
    Scheduled,
}

/// What is to be done, by every drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubOrder {
    /// Counts orders; a drive's progress says which one it is about.
    pub number: u64,
    pub cause: ScrubCause,
    pub paused: bool,
    /// Nanoseconds since 1970; for people.
    pub ordered_ns: i64,
    /// The running time then: schedules go by it.
    pub ordered: Elapsed,
}

/// Where a drive's scrub goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubPosition {
    /// All nodes up to this one, in the catalog's order, are done.
    pub after: Option<Place>,
    /// The file behind it, as far as it was read.
    pub within: Option<ScrubPart>,
}

/// The part of a file that was found right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubPart {
    pub place: Place,
    pub ticket: Ticket,
    pub bytes: u64,
}

/// Files and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubAmount {
    pub files: u64,
    pub bytes: u64,
}

/// How far a drive is with the last order that it took up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubProgress {
    pub number: u64,
    /// Nanoseconds since 1970; for people.
    pub began_ns: i64,
    /// `None` while it goes on.
    pub ended_ns: Option<i64>,
    /// The journal's head when it began: a file of a later version is not known to have been read.
    pub head: Lsn,
    pub position: ScrubPosition,
    /// How long it has been at it, pauses apart.
    pub seconds: u64,
    pub done: ScrubAmount,
    pub total: ScrubAmount,
    /// Copies that were damaged or gone.
    pub damaged: u64,
    /// Those of them that are whole again.
    pub repaired: u64,
    pub repaired_bytes: u64,
    /// Files whose copy was not found right, and is not whole again; the first of them.
    pub unverified: BTreeMap<NodeId, Place>,
    /// Whether there are more.
    pub unverified_more: bool,
    /// The scrub before, which went through everything.
    pub last: Option<ScrubPassed>,
}

/// A scrub that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubPassed {
    pub began_ns: i64,
    pub head: Lsn,
}

impl ScrubProgress {
    /// The next scrub of the same drive, from the beginning.
    #[must_use]
    pub fn next(&self, number: u64, now_ns: i64, head: Lsn) -> Self {
        // Of one that left something out nobody can say what it found right.
        let whole = self.ended_ns.is_some() && self.unverified.is_empty() && !self.unverified_more;
        let passed = whole.then_some(ScrubPassed { began_ns: self.began_ns, head: self.head });
        Self { number, began_ns: now_ns, head, last: passed.or(self.last), ..Self::default() }
    }

    /// Notes a copy that was not found right.
    pub fn leave_out(&mut self, node: NodeId, place: Place) {
        if self.unverified.len() < UNVERIFIED_MAX {
            self.unverified.insert(node, place);
        } else {
            self.unverified_more = true;
        }
    }

    /// A moment at which an installed copy was right, if a scrub tells one: that of its beginning, since what is found
    /// right later was right then. `installed_ns` is when the copy was written.
    pub fn verified_ns(&self, place: &Place, file: &FileNode, installed_ns: i64) -> Option<i64> {
        let after = self.position.after.as_ref();
        let passed = self.ended_ns.is_some() || after.is_some_and(|after| codec::node(place) <= codec::node(after));
        let here = passed && !self.unverified_more && !self.unverified.contains_key(&file.id);
        let now = here.then_some(ScrubPassed { began_ns: self.began_ns, head: self.head });
        let known = |passed: &ScrubPassed| file.lsn <= passed.head && installed_ns <= passed.began_ns;
        now.filter(known).or(self.last.filter(known)).map(|passed| passed.began_ns)
    }
}

impl Snapshot<'_> {
    /// Nodes in the catalog's order behind a place; at most `limit`.
    pub fn nodes_after(&self, after: Option<&Place>, limit: usize) -> Result<Vec<(Place, Node)>, StoreError> {
        let space = codec::all(codec::Space::Node);
        let from = after.map_or_else(|| space.clone(), |place| [codec::node(place).as_slice(), &[0]].concat());
        let pairs = self.store()?.scan(&from, &codec::end_of(&space)).take(limit);
        let node = |(key, value): Pair| {
            let place = Place::new(NodeId(codec::number_of(&key)?), codec::name_of(&key)?);
            Ok((place, codec::decode(&key, &value)?))
        };
        pairs.map(|pair| pair.and_then(node)).collect()
    }
}

impl Journal {
    /// The last scrub that was ordered.
    pub fn scrub_order(&self) -> Result<Option<ScrubOrder>, StoreError> {
        self.snapshot().record(&codec::meta(codec::Fact::ScrubOrder))
    }

    /// How far a drive is with the last scrub that it took up.
    pub fn scrub_progress(&self, side: Side) -> Result<Option<ScrubProgress>, StoreError> {
        self.snapshot().record(&codec::scrub(side))
    }

    /// What a drive has of what lies behind a place in the catalog's order.
    pub fn held_after(&self, side: Side, after: Option<&Place>) -> Result<ScrubAmount, StoreError> {
        let (mut amount, mut after) = (ScrubAmount::default(), after.cloned());
        loop {
            let page = self.snapshot().nodes_after(after.as_ref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(amount) };
            after = Some(last.clone());
            for (_, node) in page {
                match node {
                    Node::File(file) if *file.copies.get(side) != Copy::Missing => {
                        amount.files += 1;
                        amount.bytes += file.version.size;
                    }
                    Node::File(_) | Node::Folder(_) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::digest::Crc32;
    use crate::ids::PerSide;
    use crate::journal::record::{Blocks, Version};
    use crate::path::Name;

    const BEGAN_NS: i64 = 1000;

    fn place(name: &str) -> Place {
        Place::new(NodeId::ROOT, Name::parse(name).unwrap())
    }

    fn file(id: u64, lsn: u64) -> FileNode {
        FileNode {
            id: NodeId(id),
            lsn: Lsn(lsn),
            version: Version { ticket: Ticket([0; 16]), size: 1, crc32: Crc32(0) },
            blocks: Blocks::One,
            mtime_ns: 0,
            executable: false,
            owner: String::new(),
            copies: PerSide::default(),
        }
    }

    /// A scrub that is through with all up to `m`.
    fn half() -> ScrubProgress {
        let position = ScrubPosition { after: Some(place("m")), within: None };
        ScrubProgress { position, ..ScrubProgress::default().next(1, BEGAN_NS, Lsn(10)) }
    }

    #[test]
    fn what_a_scrub_has_passed_was_right_when_it_began() {
        let scrub = half();
        assert_eq!(scrub.verified_ns(&place("a"), &file(5, 10), 1), Some(BEGAN_NS));
        assert_eq!(scrub.verified_ns(&place("m"), &file(5, 10), 1), Some(BEGAN_NS));
        assert_eq!(scrub.verified_ns(&place("z"), &file(5, 10), 1), None, "it has not come to it");
        assert_eq!(scrub.verified_ns(&place("a"), &file(5, 11), 1), None, "another version, or moved there");
        assert_eq!(scrub.verified_ns(&place("a"), &file(5, 10), BEGAN_NS + 1), None, "written again since");
    }

    #[test]
    fn what_a_scrub_left_out_is_not_said_to_be_right() {
        let mut scrub = half();
        scrub.leave_out(NodeId(5), place("a"));
        assert_eq!(scrub.verified_ns(&place("a"), &file(5, 10), 1), None);
        assert_eq!(scrub.verified_ns(&place("b"), &file(6, 10), 1), Some(BEGAN_NS));
        for node in 100..=100 + UNVERIFIED_MAX as u64 {
            scrub.leave_out(NodeId(node), place("x"));
        }
        assert_eq!(scrub.unverified.len(), UNVERIFIED_MAX);
        assert_eq!(scrub.verified_ns(&place("b"), &file(6, 10), 1), None, "nobody knows which the others are");
    }

    #[test]
    fn the_scrub_before_counts_until_the_next_one_has_come_so_far() {
        let first = ScrubProgress { ended_ns: Some(BEGAN_NS + 5), ..half() };
        let second = first.next(2, 2 * BEGAN_NS, Lsn(20));
        assert_eq!(second.verified_ns(&place("a"), &file(5, 10), 1), Some(BEGAN_NS));
        assert_eq!(second.verified_ns(&place("a"), &file(5, 11), 1), None);
        let mut broken = first.clone();
        broken.leave_out(NodeId(9), place("c"));
        assert_eq!(broken.next(2, 2 * BEGAN_NS, Lsn(20)).last, None);
    }

    #[test]
    fn a_record_of_the_position_is_small() {
        let scrub = ScrubProgress {
            done: ScrubAmount { files: 100_000, bytes: 64 << 30 },
            total: ScrubAmount { files: 200_000, bytes: 128 << 30 },
            began_ns: 1_790_000_000_000_000_000,
            position: ScrubPosition {
                after: Some(Place::new(NodeId(99_999), Name::parse("IMG_20260203_040506.jpg").unwrap())),
                within: None,
            },
            seconds: 3600,
            ..half()
        };
        let bytes = codec::encode(&scrub).len();
        assert!(bytes < 100, "{bytes}");
    }
}
