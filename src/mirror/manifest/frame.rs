//! The records of a manifest's files, each with a CRC over drive, generation and part as well.

use serde::{Deserialize, Serialize};

use crate::digest::Crc32;
use crate::ids::{DriveId, Epoch};
use crate::journal::{Change, Enrolment};
use crate::mirror::drive_log::Position;

const MAGIC: [u8; 4] = *b"twM1";
/// Magic, length of the body, CRC-32.
const FRAME_BYTES: usize = 12;
/// Above what a record with the longest name and owner takes.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;

/// What each part begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) drive: DriveId,
    /// Where the other drive is to be looked for, too.
    pub(crate) enrolment: Enrolment,
    /// That of the daemon that wrote it.
    pub(crate) epoch: Epoch,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Item {
    Head(Head),
    Node(Change),
    /// The snapshot is whole.
    End {
        nodes: u64,
    },
    /// Where the drive's log was when the snapshot was begun: what was superseded before is not on record.
    Log(Position),
}

/// Which file records belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) drive: DriveId,
    pub(crate) generation: u64,
    pub(crate) part: u64,
}

pub(super) fn encode(buffer: &mut Vec<u8>, item: &Item, context: Context) {
    #[expect(clippy::expect_used, reason = "postcard fails only on types that serde cannot size; ours are plain")]
    seal(buffer, &postcard::to_stdvec(item).expect("a plain record encodes"), context);
}

/// Adds a record with this body, and its CRC.
pub(crate) fn seal(buffer: &mut Vec<u8>, body: &[u8], context: Context) {
    buffer.extend(MAGIC);
    buffer.extend((body.len() as u32).to_le_bytes());
    buffer.extend(crc(body, context).0.to_le_bytes());
    buffer.extend(body);
}

/// What bytes begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Item(Item, usize),
    /// As far as these bytes go it could be a record.
    Short,
    Bad,
}

pub(super) fn decode(bytes: &[u8], context: Context) -> Next {
    let Some((head, rest)) = bytes.split_first_chunk::<FRAME_BYTES>() else { return Next::Short };
    let [m0, m1, m2, m3, l0, l1, l2, l3, c0, c1, c2, c3] = *head;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if [m0, m1, m2, m3] != MAGIC || len > BODY_BYTES_MAX {
        return Next::Bad;
    }
    let Some(body) = rest.get(..len) else { return Next::Short };
    if crc(body, context).0 != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Next::Bad;
    }
    postcard::from_bytes(body).map_or(Next::Bad, |item| Next::Item(item, FRAME_BYTES + len))
}

/// Where the next record could begin, behind the first byte.
pub(super) fn resync(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MAGIC.len()).skip(1).position(|window| window == MAGIC).map(|at| at + 1)
}

fn crc(body: &[u8], context: Context) -> Crc32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&context.drive.0);
    hasher.update(&context.generation.to_le_bytes());
    hasher.update(&context.part.to_le_bytes());
    hasher.update(body);
    Crc32(hasher.finalize())
}
