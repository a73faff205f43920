//! Every record by itself: does its value decode, and does it say what its key says?

use crate::digest::Crc32;
use crate::elapsed::Elapsed;
use crate::ids::{Epoch, Lsn, NodeId, Nonce, RequestId, Side, Ticket};
use crate::journal::audit::flaw::Flaw;
use crate::journal::codec::{self, Fact, Space};
use crate::journal::record::{Answered, Debt, Enrolment, Entry, Fill, Flags, Fresh, Node, Place};
use crate::journal::scrub::{ScrubOrder, ScrubProgress};
use crate::journal::store::{Store, StoreError};
use crate::journal::trash::Kept;
use crate::journal::usage::Usage;
use crate::namespace::Namespace;

/// After all keys that there can be: a name is 255 bytes long at most, and no space is 255.
const END: [u8; 1] = [u8::MAX];

/// Decodes every record of a store; how many are damaged. An error is the store's own: it has nothing more to say.
pub(super) fn decode_all(store: &dyn Store, found: &mut dyn FnMut(Flaw)) -> Result<u64, StoreError> {
    let mut damaged = 0;
    for pair in store.scan(&[], &END) {
        let (key, value) = pair?;
        if let Err(why) = decode(&key, &value) {
            damaged += 1;
            found(Flaw::Damaged { record: describe(&key), why });
        }
    }
    Ok(damaged)
}

/// Decodes one record; why it is damaged.
pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<(), String> {
    let decoded = match space(key) {
        Some(Space::Meta) => decode_fact(key, value),
        Some(Space::Entry) => codec::decode::<Entry>(key, value)
            .and_then(|entry| if Lsn(codec::number_of(key)?) == entry.lsn { Ok(()) } else { Err(disagrees()) }),
        Some(Space::Flags) => codec::number_of(key).and_then(|_| codec::decode::<Flags>(key, value).map(drop)),
        Some(Space::Node) => codec::name_of(key).and_then(|_| codec::decode::<Node>(key, value).map(drop)),
        Some(Space::Folder) => codec::number_of(key).and_then(|_| codec::decode::<Place>(key, value).map(drop)),
        Some(Space::Page) => codec::decode::<Vec<Crc32>>(key, value).map(drop),
        Some(Space::Debt) => codec::debtor(key).and_then(|_| codec::decode::<Debt>(key, value).map(drop)),
        Some(Space::Fresh) => codec::debtor(key).and_then(|_| codec::decode::<Fresh>(key, value).map(drop)),
        Some(Space::Claim) => codec::decode::<NodeId>(key, value)
            .and_then(|id| if key.ends_with(&id.0.to_be_bytes()) { Ok(()) } else { Err(disagrees()) }),
        Some(Space::Answer) => codec::decode::<Answered>(key, value).map(drop),
        Some(Space::AnswerOrder) => codec::decode::<RequestId>(key, value).map(drop),
        Some(Space::Kept) => codec::decode::<Kept>(key, value)
            .and_then(|kept| if Lsn(codec::number_of(key)?) == kept.lsn { Ok(()) } else { Err(disagrees()) }),
        Some(Space::KeptPath) => codec::decode::<Lsn>(key, value)
            .and_then(|lsn| if key.ends_with(&lsn.0.to_be_bytes()) { Ok(()) } else { Err(disagrees()) }),
        Some(Space::Usage) => codec::owner_of(key).and_then(|_| codec::decode::<Usage>(key, value).map(drop)),
        // What another version keeps has a CRC as well.
        None => codec::decode::<()>(key, value),
    };
    decoded.map_err(|error| match error {
        // The key is in it already, as bytes.
        StoreError::Corrupt(why) => why.split(" in space ").next().unwrap_or(&why).to_owned(),
        error @ (StoreError::Io(_) | StoreError::Unreadable(_) | StoreError::NoSpace | StoreError::Dead) => {
            error.to_string()
        }
    })
}

fn disagrees() -> StoreError {
    StoreError::Corrupt("it is not the record that its key names".to_owned())
}

fn decode_fact(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    match fact(key) {
        Some(Fact::Format) => codec::decode::<u32>(key, value).map(drop),
        Some(Fact::Enrolment) => codec::decode::<Enrolment>(key, value).map(drop),
        Some(Fact::Epoch) => codec::decode::<Epoch>(key, value).map(drop),
        Some(Fact::Applied) => codec::decode::<Lsn>(key, value).map(drop),
        Some(Fact::NextNode) => codec::decode::<NodeId>(key, value).map(drop),
        Some(Fact::CheckpointA | Fact::CheckpointB | Fact::LabelA | Fact::LabelB) => {
            codec::decode::<u64>(key, value).map(drop)
        }
        Some(Fact::Nonces) => codec::decode::<Vec<Nonce>>(key, value).map(drop),
        Some(Fact::Elapsed) => codec::decode::<Elapsed>(key, value).map(drop),
        Some(Fact::ScrubOrder) => codec::decode::<ScrubOrder>(key, value).map(drop),
        Some(Fact::ScrubA | Fact::ScrubB) => codec::decode::<ScrubProgress>(key, value).map(drop),
        Some(Fact::NamespaceA | Fact::NamespaceB) => codec::decode::<Namespace>(key, value).map(drop),
        Some(Fact::FillA | Fact::FillB) => codec::decode::<Fill>(key, value).map(drop),
        Some(Fact::WaivedA | Fact::WaivedB | Fact::UsageCounted) | None => codec::decode::<()>(key, value),
    }
}

fn space(key: &[u8]) -> Option<Space> {
    const ALL: [Space; 14] = [
        Space::Meta,
        Space::Entry,
        Space::Flags,
        Space::Node,
        Space::Folder,
        Space::Page,
        Space::Debt,
        Space::Claim,
        Space::Answer,
        Space::AnswerOrder,
        Space::Fresh,
        Space::Kept,
        Space::KeptPath,
        Space::Usage,
    ];
    let first = key.first()?;
    ALL.into_iter().find(|space| *space as u8 == *first)
}

fn fact(key: &[u8]) -> Option<Fact> {
    const ALL: [Fact; 21] = [
        Fact::Format,
        Fact::Enrolment,
        Fact::Epoch,
        Fact::Applied,
        Fact::NextNode,
        Fact::CheckpointA,
        Fact::CheckpointB,
        Fact::Nonces,
        Fact::FillA,
        Fact::FillB,
        Fact::LabelA,
        Fact::LabelB,
        Fact::Elapsed,
        Fact::UsageCounted,
        Fact::ScrubOrder,
        Fact::ScrubA,
        Fact::ScrubB,
        Fact::NamespaceA,
        Fact::NamespaceB,
        Fact::WaivedA,
        Fact::WaivedB,
    ];
    ALL.into_iter().find(|fact| codec::meta(*fact) == key)
}

/// A record in words, from its key alone.
pub(super) fn describe(key: &[u8]) -> String {
    let number = codec::number_of(key).unwrap_or(0);
    let drive = key.get(1).and_then(|index| Side::BOTH.into_iter().find(|side| side.index() == usize::from(*index)));
    let drive = drive.map_or("?", Side::name);
    let text = |from: usize| String::from_utf8_lossy(key.get(from..).unwrap_or_default()).into_owned();
    match space(key) {
        Some(Space::Meta) => describe_fact(fact(key)).to_owned(),
        Some(Space::Entry) => format!("the entry of LSN {number}"),
        Some(Space::Flags) => format!("the flags of LSN {number}"),
        Some(Space::Node) => format!("the node {:?} in folder {number}", text(9)),
        Some(Space::Folder) => format!("the place of folder {number}"),
        Some(Space::Page) => {
            let ticket = key.get(1..).and_then(|bytes| bytes.first_chunk::<16>()).copied().unwrap_or_default();
            format!("a page of block checksums of ticket {}", Ticket(ticket))
        }
        Some(Space::Debt) => {
            let node = codec::debtor(key).map_or_else(|_| "?".to_owned(), |id| id.to_string());
            format!("what drive {drive} owes for node {node}")
        }
        Some(Space::Fresh) => {
            let node = codec::debtor(key).map_or_else(|_| "?".to_owned(), |id| id.to_string());
            format!("what drive {drive} installed last of node {node}")
        }
        Some(Space::Claim) => format!("a name on drive {drive} that is kept for a node"),
        Some(Space::Answer) => format!("the answer to request {:?}", text(1)),
        Some(Space::AnswerOrder) => format!("the request that LSN {number} answered"),
        Some(Space::Kept) => format!("what LSN {number} put into the trash"),
        Some(Space::KeptPath) => "a path in the index of the trash".to_owned(),
        Some(Space::Usage) => format!("what the files of {:?} come to", text(1)),
        None => format!("a record of a kind that this program does not know, key {key:02x?}"),
    }
}

fn describe_fact(fact: Option<Fact>) -> &'static str {
    match fact {
        Some(Fact::Format) => "the journal's format",
        Some(Fact::Enrolment) => "the mirror's enrolment",
        Some(Fact::Epoch) => "the epoch",
        Some(Fact::Applied) => "the last LSN that is in the catalog",
        Some(Fact::NextNode) => "the next node's id",
        Some(Fact::CheckpointA) => "the last checkpoint of drive a",
        Some(Fact::CheckpointB) => "the last checkpoint of drive b",
        Some(Fact::Nonces) => "the nonces of tickets",
        Some(Fact::FillA) => "the backfill of drive a",
        Some(Fact::FillB) => "the backfill of drive b",
        Some(Fact::LabelA) => "the last label of drive a",
        Some(Fact::LabelB) => "the last label of drive b",
        Some(Fact::Elapsed) => "the running time",
        Some(Fact::UsageCounted) => "that what each user's files come to is on record",
        Some(Fact::ScrubOrder) => "the last order to scrub",
        Some(Fact::ScrubA) => "how far the scrub of drive a is",
        Some(Fact::ScrubB) => "how far the scrub of drive b is",
        Some(Fact::NamespaceA) => "what drive a asks of names",
        Some(Fact::NamespaceB) => "what drive b asks of names",
        Some(Fact::WaivedA) => "that drive a was waived",
        Some(Fact::WaivedB) => "that drive b was waived",
        None => "a fact that this program does not know",
    }
}
