//! Keys and values of the store.
//!
//! A value is its postcard encoding and a CRC-32 of that; a key is a letter and big-endian numbers,
//! so that keys sort as their numbers do.

use std::ops::RangeInclusive;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Crc32;
use crate::ids::{Lsn, NodeId, RequestId, Side, Ticket};
use crate::journal::record::Place;
use crate::journal::store::StoreError;
use crate::path::Name;

/// Version of the store's layout; a newer one is refused untouched. The first has no write-ahead log, and is this one as
/// soon as it is opened.
pub(super) const FORMAT: u32 = 2;
pub(super) const FORMATS_READ: RangeInclusive<u32> = 1..=FORMAT;

/// What a key's first byte says.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Space {
    /// Single facts of the mirror.
    Meta = b'm',
    /// LSN → entry.
    Entry = b'e',
    /// LSN → completion flags.
    Flags = b'f',
    /// Place → node.
    Node = b'n',
    /// Folder → its place.
    Folder = b'i',
    /// Ticket and page → block digests.
    Page = b'p',
    /// Drive and node → debt.
    Debt = b'd',
    /// Drive, place and node: the node lies, or may lie, there though it belongs elsewhere.
    Claim = b'h',
    /// Request id → its answer.
    Answer = b'r',
    /// LSN → the request id that it answered.
    AnswerOrder = b'q',
    /// Drive and node → the version that the drive installed since its last checkpoint, without an entry that says so.
    Fresh = b'u',
    /// LSN → what its entry threw away, and is kept in the trash.
    Kept = b't',
    /// Path and LSN → the LSN of what was thrown away under that path and, where it is known, the first node that was
    /// made after it.
    KeptPath = b'w',
    /// User → what the files of that owner come to.
    Usage = b'o',
}

/// Single facts under [`Space::Meta`].
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Fact {
    Format = 1,
    Enrolment = 2,
    Epoch = 3,
    /// The last LSN whose changes are all in the catalog; written after them.
    Applied = 4,
    NextNode = 5,
    /// The last checkpointed batch of a drive's lane.
    CheckpointA = 6,
    CheckpointB = 7,
    /// Nonces of all sessions, for telling our stages from strange ones.
    Nonces = 8,
    /// The backfill of a drive, while there is one.
    FillA = 9,
    FillB = 10,
    /// The serial of the last label that a drive was given.
    LabelA = 11,
    LabelB = 12,
    /// How long the mirror has been running, all its runs together.
    Elapsed = 13,
    /// What each user's files come to is on record.
    UsageCounted = 14,
    /// The last scrub that was ordered, and how far each drive is with it.
    ScrubOrder = 20,
    ScrubA = 21,
    ScrubB = 22,
    /// What a drive's file system asks of names, as it was seen last.
    NamespaceA = 30,
    NamespaceB = 31,
    /// A drive that was waived when the journal was rebuilt, until it comes.
    WaivedA = 40,
    WaivedB = 41,
}

pub(super) fn meta(fact: Fact) -> Vec<u8> {
    vec![Space::Meta as u8, fact as u8]
}

pub(super) fn checkpoint(side: Side) -> Vec<u8> {
    meta(match side {
        Side::A => Fact::CheckpointA,
        Side::B => Fact::CheckpointB,
    })
}

pub(super) fn fill(side: Side) -> Vec<u8> {
    meta(match side {
        Side::A => Fact::FillA,
        Side::B => Fact::FillB,
    })
}

pub(super) fn waived(side: Side) -> Vec<u8> {
    meta(match side {
        Side::A => Fact::WaivedA,
        Side::B => Fact::WaivedB,
    })
}

pub(super) fn label(side: Side) -> Vec<u8> {
    meta(match side {
        Side::A => Fact::LabelA,
        Side::B => Fact::LabelB,
    })
}

pub(super) fn scrub(side: Side) -> Vec<u8> {
    meta(match side {
        Side::A => Fact::ScrubA,
        Side::B => Fact::ScrubB,
    })
}

pub(super) fn namespace(side: Side) -> Vec<u8> {
    meta(match side {
        Side::A => Fact::NamespaceA,
        Side::B => Fact::NamespaceB,
    })
}

fn numbered(space: Space, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(9);
    key.push(space as u8);
    key.extend(number.to_be_bytes());
    key
}

pub(super) fn entry(lsn: Lsn) -> Vec<u8> {
    numbered(Space::Entry, lsn.0)
}

pub(super) fn flags(lsn: Lsn) -> Vec<u8> {
    numbered(Space::Flags, lsn.0)
}

/// Whether a key is an entry's, or that of its flags.
pub(super) fn is_entry(key: &[u8]) -> bool {
    key.first().is_some_and(|space| *space == Space::Entry as u8 || *space == Space::Flags as u8)
}

pub(super) fn folder(id: NodeId) -> Vec<u8> {
    numbered(Space::Folder, id.0)
}

pub(super) fn answer_order(lsn: Lsn) -> Vec<u8> {
    numbered(Space::AnswerOrder, lsn.0)
}

pub(super) fn answer(id: &RequestId) -> Vec<u8> {
    let mut key = vec![Space::Answer as u8];
    key.extend(id.as_str().as_bytes());
    key
}

/// The start of the keys of all that lies in a folder.
pub(super) fn children(parent: NodeId) -> Vec<u8> {
    numbered(Space::Node, parent.0)
}

pub(super) fn node(place: &Place) -> Vec<u8> {
    let mut key = children(place.parent);
    key.extend(place.name.as_str().as_bytes());
    key
}

pub(super) fn page(ticket: Ticket, number: u32) -> Vec<u8> {
    let mut key = vec![Space::Page as u8];
    key.extend(ticket.0);
    key.extend(number.to_be_bytes());
    key
}

/// The start of the keys of a drive's debts.
pub(super) fn debts(side: Side) -> Vec<u8> {
    vec![Space::Debt as u8, side.index() as u8]
}

pub(super) fn debt(side: Side, id: NodeId) -> Vec<u8> {
    let mut key = debts(side);
    key.extend(id.0.to_be_bytes());
    key
}

/// The start of the keys of what a drive installed since its last checkpoint, with no entry that says so.
pub(super) fn all_fresh(side: Side) -> Vec<u8> {
    vec![Space::Fresh as u8, side.index() as u8]
}

pub(super) fn fresh(side: Side, id: NodeId) -> Vec<u8> {
    let mut key = all_fresh(side);
    key.extend(id.0.to_be_bytes());
    key
}

/// The start of the keys of all claims to names of a drive.
pub(super) fn claims(side: Side) -> Vec<u8> {
    vec![Space::Claim as u8, side.index() as u8]
}

/// The start of the keys of claims to names in a folder of a drive.
pub(super) fn claims_in(side: Side, parent: NodeId) -> Vec<u8> {
    let mut key = claims(side);
    key.extend(parent.0.to_be_bytes());
    key
}

/// The start of the keys of claims to one name. No name has a NUL in it.
pub(super) fn claims_to(side: Side, place: &Place) -> Vec<u8> {
    let mut key = claims_in(side, place.parent);
    key.extend(place.name.as_str().as_bytes());
    key.push(0);
    key
}

pub(super) fn claim(side: Side, place: &Place, id: NodeId) -> Vec<u8> {
    let mut key = claims_to(side, place);
    key.extend(id.0.to_be_bytes());
    key
}

/// The name in a claim's key.
pub(super) fn claimed_name(key: &[u8]) -> Result<&str, StoreError> {
    let name = key.get(10..).and_then(|rest| rest.split(|byte| *byte == 0).next());
    let name = name.and_then(|name| std::str::from_utf8(name).ok());
    name.ok_or_else(|| corrupt(key, "a claim's key without a name"))
}

/// The key of what an entry threw away.
pub(super) fn kept(lsn: Lsn) -> Vec<u8> {
    numbered(Space::Kept, lsn.0)
}

/// The start of the keys of what was thrown away under paths that start with `prefix`.
pub(super) fn kept_below(prefix: &str) -> Vec<u8> {
    let mut key = vec![Space::KeptPath as u8];
    key.extend(prefix.as_bytes());
    key
}

/// The start of the keys of what was thrown away under one path. No path has a NUL in it.
pub(super) fn kept_of(path: &str) -> Vec<u8> {
    let mut key = kept_below(path);
    key.push(0);
    key
}

pub(super) fn kept_path(path: &str, lsn: Lsn) -> Vec<u8> {
    let mut key = kept_of(path);
    key.extend(lsn.0.to_be_bytes());
    key
}

/// The key of what a user's files come to.
pub(super) fn usage(owner: &str) -> Vec<u8> {
    let mut key = vec![Space::Usage as u8];
    key.extend(owner.as_bytes());
    key
}

/// The user that a usage's key names.
pub(super) fn owner_of(key: &[u8]) -> Result<String, StoreError> {
    let text = key.get(1..).and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.map(str::to_owned).ok_or_else(|| corrupt(key, "a usage's key without a user"))
}

/// The first key after all that start with `prefix`.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![u8::MAX; 32]
}

/// The whole of one space.
pub(super) fn all(space: Space) -> Vec<u8> {
    vec![space as u8]
}

/// The number after a key's first byte.
pub(super) fn number_of(key: &[u8]) -> Result<u64, StoreError> {
    let bytes = key.get(1..9).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| corrupt(key, "a key without its number"))
}

/// The node that a debt's key names.
pub(super) fn debtor(key: &[u8]) -> Result<NodeId, StoreError> {
    let bytes = key.get(2..10).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).map(NodeId).ok_or_else(|| corrupt(key, "a debt's key without its node"))
}

/// The name at the end of a node's key.
pub(super) fn name_of(key: &[u8]) -> Result<Name, StoreError> {
    let text = key.get(9..).and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.and_then(|text| Name::parse(text).ok()).ok_or_else(|| corrupt(key, "a node's key without a name"))
}

/// Encodes a value with its CRC.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "postcard fails only on types that serde cannot size; ours are plain")]
    seal(postcard::to_stdvec(value).expect("a plain record encodes"))
}

/// Ends a value with its CRC.
pub(crate) fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(Crc32::of(&bytes).0.to_le_bytes());
    bytes
}

/// Decodes a value and checks its CRC. What follows behind is passed over: a record may have grown.
pub(super) fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, StoreError> {
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| corrupt(key, "a value shorter than its CRC"))?;
    if Crc32::of(body) != Crc32(u32::from_le_bytes(*crc)) {
        return Err(corrupt(key, "a wrong CRC"));
    }
    postcard::from_bytes(body).map_err(|error| corrupt(key, &error.to_string()))
}

fn corrupt(key: &[u8], what: &str) -> StoreError {
    let space = key.first().map_or('?', |byte| char::from(*byte));
    StoreError::Corrupt(format!("{what} in space {space}, key {key:02x?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_bit_is_noticed() {
        let mut bytes = encode(&Lsn(7));
        assert_eq!(decode::<Lsn>(b"e", &bytes).unwrap(), Lsn(7));
        bytes[0] ^= 1;
        assert!(matches!(decode::<Lsn>(b"e", &bytes), Err(StoreError::Corrupt(_))));
        assert!(matches!(decode::<Lsn>(b"e", &[1, 2]), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn the_end_of_a_prefix_is_after_all_its_keys() {
        assert_eq!(end_of(&[1, 255]), vec![2]);
        assert!(end_of(&[255]) > vec![255, 255, 255]);
    }
}
