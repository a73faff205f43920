//! What the journal keeps, as types. `codec` gives them their bytes.

use serde::{Deserialize, Serialize};

use crate::digest::{BLOCK_BYTES, Crc32};
use crate::ids::{Arrival, DriveId, Lsn, MirrorId, NodeId, PerSide, RequestId, Side, Ticket};
use crate::journal::trash::Keeping;
use crate::journal::usage::Quotas;
use crate::namespace::Namespace;
use crate::path::{Name, RelPath};

/// Block digests up to here lie in the file's node, more in pages of their own: 4 MiB of file.
pub(super) const INLINE_BLOCKS_MAX: usize = 16;
/// Block digests in one page: 256 MiB of file, 4 KiB of page.
pub(super) const PAGE_BLOCKS: usize = 1024;

/// Where a node is: its name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    pub parent: NodeId,
    pub name: Name,
}

impl Place {
    pub fn new(parent: NodeId, name: Name) -> Self {
        Self { parent, name }
    }

    /// Whether two places are one to a file system.
    pub fn is_same_to(&self, namespace: Namespace, other: &Self) -> bool {
        let compared = |place: &Self| namespace.compared(place.name.as_str());
        self.parent == other.parent && compared(self) == compared(other)
    }
}

/// Identity of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub ticket: Ticket,
    pub size: u64,
    pub crc32: Crc32,
}

/// Size and time of an installed file as its drive told them after the sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    pub size: u64,
    /// Nanoseconds since 1970, as the file system rounds them.
    pub mtime_ns: i64,
}

/// Where a version's bytes lie durably before they have their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// In a segment of the drive log; `offset` is that of the payload.
    Log { arrival: Arrival, segment: u32, offset: u64 },
    /// In the file of the version's ticket.
    File,
}

/// What a drive has of a file's current version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Copy {
    #[default]
    Missing,
    Staged(Stage),
    /// Under its name: the debt's `have` where there is one, else the catalog's place.
    Installed {
        observed: Observed,
        /// When it was last read back or synced, nanoseconds since 1970; for people, never for order.
        verified_ns: i64,
    },
}

impl Copy {
    pub fn is_durable(self) -> bool {
        match self {
            Self::Missing => false,
            Self::Staged(_) | Self::Installed { .. } => true,
        }
    }
}

/// The digests of a file's blocks of 256 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Blocks {
    /// At most one block: the version's own CRC-32 is its digest.
    One,
    Inline(Vec<Crc32>),
    /// In this many pages under keys of their own.
    Paged(u32),
}

impl Blocks {
    pub fn of(blocks: &[Crc32]) -> Self {
        if blocks.len() <= 1 {
            Self::One
        } else if blocks.len() <= INLINE_BLOCKS_MAX {
            Self::Inline(blocks.to_vec())
        } else {
            Self::Paged(blocks.len().div_ceil(PAGE_BLOCKS) as u32)
        }
    }
}

/// Blocks that a file of `size` bytes has.
pub fn block_count(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES as u64)
}

/// A file as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileNode {
    pub id: NodeId,
    pub lsn: Lsn,
    pub version: Version,
    pub blocks: Blocks,
    pub mtime_ns: i64,
    pub executable: bool,
    pub owner: String,
    pub copies: PerSide<Copy>,
}

/// A folder as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderNode {
    pub id: NodeId,
    pub lsn: Lsn,
    pub mtime_ns: i64,
}

/// A record of the catalog, keyed by its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    File(FileNode),
    Folder(FolderNode),
}

impl Node {
    pub fn id(&self) -> NodeId {
        match self {
            Self::File(file) => file.id,
            Self::Folder(folder) => folder.id,
        }
    }

    pub fn lsn(&self) -> Lsn {
        match self {
            Self::File(file) => file.lsn,
            Self::Folder(folder) => folder.lsn,
        }
    }
}

/// What lies, or may lie, under a name on a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    Folder,
    /// `observed` is missing where the bytes are in doubt.
    File {
        version: Version,
        observed: Option<Observed>,
    },
}

/// A node as a drive has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub place: Place,
    pub content: Content,
}

impl Held {
    /// What a drive has of a version that goes. Whether the copy is damaged makes no difference any more: it is told by
    /// the size and time that it was given from what somebody else put there.
    pub(super) fn outdated(self, was: Option<&Node>) -> Self {
        match (self.content, was) {
            (Content::File { version, observed: None }, Some(Node::File(file))) if version == file.version => {
                let observed = Some(Observed { size: version.size, mtime_ns: file.mtime_ns });
                Self { content: Content::File { version, observed }, ..self }
            }
            (Content::File { .. } | Content::Folder, _) => self,
        }
    }
}

/// What one drive is behind with one node.
///
/// Invariant: there is one exactly as long as what the drive durably has differs from what the catalog says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debt {
    /// The latest entry that made it; its flag is set when the debt is worked off.
    pub lsn: Lsn,
    /// Where the node belongs now; `None`: nowhere, it was removed (a tombstone).
    pub want: Option<Place>,
    /// What the drive has of it, as last recorded.
    pub have: Option<Held>,
    /// What it may have instead: goals given up while a lane may have been at work on them.
    pub maybe: Vec<Held>,
    /// Bytes that the drive lacks.
    pub bytes: u64,
}

impl Debt {
    /// Whether the node lies under another name than the catalog's.
    pub fn displaced(&self) -> Option<&Place> {
        self.have.as_ref().map(|held| &held.place).filter(|place| self.want.as_ref() != Some(place))
    }

    /// Names that the node has, or may have, beside the one where it belongs. No other node is given one of
    /// them before it is durably recorded that this one has left it.
    pub fn claims(&self) -> std::collections::BTreeSet<&Place> {
        let held = self.have.iter().chain(&self.maybe);
        held.map(|held| &held.place).filter(|place| self.want.as_ref() != Some(place)).collect()
    }
}

/// What was asked of the mirror and checked at commit.
#[derive(Clone, Debug)]
pub enum Mutation {
    Put(Put),
    /// A file or an empty folder.
    Remove {
        path: RelPath,
    },
    MakeFolder {
        path: RelPath,
        parents: Parents,
        mtime_ns: i64,
    },
    Move {
        from: RelPath,
        to: RelPath,
    },
    /// Brings back from the trash what was removed or overwritten.
    Restore {
        path: RelPath,
        /// The entry that threw it away; `None`: the last one.
        lsn: Option<Lsn>,
        /// Of folders that are missing above it.
        mtime_ns: i64,
    },
    /// Lets go of what an entry threw away.
    Purge {
        lsn: Lsn,
    },
}

/// Whether missing folders above are made too, and an existing one is fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parents {
    Make,
    MustExist,
}

/// Whether a PUT may take the place of a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    Yes,
    No,
    /// Only this version of it: whoever made another meanwhile is not overwritten.
    Version(Lsn),
}

/// A file whose bytes are durable on the drives that have a stage.
#[derive(Clone, Debug)]
pub struct Put {
    pub path: RelPath,
    pub overwrite: Overwrite,
    pub version: Version,
    pub blocks: Vec<Crc32>,
    pub mtime_ns: i64,
    pub executable: bool,
    pub owner: String,
    pub stages: PerSide<Option<Staged>>,
}

/// A stage made during one arrival of its drive; of no use in a later one, which sweeps what nobody committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged {
    pub arrival: Arrival,
    pub stage: Stage,
}

/// A mutation with what travels beside it.
#[derive(Clone, Debug)]
pub struct Request {
    pub mutation: Mutation,
    pub id: Option<RequestId>,
    /// The drives that are named in the answer to anything but a PUT.
    pub present: PerSide<bool>,
    /// What is removed or overwritten goes to the trash; `None`: it is gone.
    pub keeping: Option<Keeping>,
    /// What users' files may come to by it.
    pub quotas: Quotas,
    /// Names that a folder may get by it; `None`: any number. What it has beyond stays.
    pub names_max: Option<u64>,
}

impl Mutation {
    /// What a request id stands for: the same id for something else is a mistake of the client's.
    pub fn fingerprint(&self) -> Crc32 {
        match self {
            Self::Put(put) => put_fingerprint(&put.path, put.version.crc32),
            Self::Remove { path } => fingerprint("rm", path, ""),
            Self::MakeFolder { path, .. } => fingerprint("mkdir", path, ""),
            Self::Move { from, to } => fingerprint("mv", from, &to.to_string()),
            Self::Restore { path, lsn, .. } => {
                fingerprint("undo", path, &lsn.map_or_else(String::new, |lsn| lsn.to_string()))
            }
            Self::Purge { lsn } => fingerprint("purge", &RelPath::ROOT, &lsn.to_string()),
        }
    }
}

/// The fingerprint of a PUT of bytes with this CRC-32.
pub fn put_fingerprint(path: &RelPath, crc32: Crc32) -> Crc32 {
    fingerprint("put", path, &crc32.to_string())
}

fn fingerprint(what: &str, path: &RelPath, more: &str) -> Crc32 {
    Crc32::of(format!("{what}\0{path}\0{more}").as_bytes())
}

/// A remembered answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    pub receipt: Receipt,
    /// The fingerprint of the mutation that it answered.
    pub fingerprint: Crc32,
}

/// The answer to a mutation: it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub lsn: Lsn,
    /// CRC-32 of a PUT's body.
    pub crc32: Option<Crc32>,
    /// The drives on which it is durable now (a PUT), or which will apply it now (others).
    pub drives: Vec<Side>,
}

/// What an entry did, for drive logs and people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    Put {
        path: String,
        owner: String,
        version: Version,
        mtime_ns: i64,
        executable: bool,
    },
    Remove {
        path: String,
    },
    MakeFolder {
        path: String,
    },
    Move {
        from: String,
        to: String,
    },
    /// What entry `from` threw away is back; a file with this version.
    Restore {
        path: String,
        from: Lsn,
        version: Option<Version>,
    },
    /// What entry `from` threw away is gone for good.
    Purge {
        path: String,
        from: Lsn,
    },
}

/// One change to the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    pub key: Vec<u8>,
    /// `None` removes the key.
    pub value: Option<Vec<u8>>,
}

/// A committed mutation. Redone by inserting `ops` again, in order of LSN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub lsn: Lsn,
    pub deed: Deed,
    pub node: NodeId,
    /// Where the node was after it; nowhere after a removal.
    pub place: Option<Place>,
    /// The drives that had to do something for it.
    pub pending: PerSide<bool>,
    pub ops: Vec<Op>,
}

impl Entry {
    /// Its flags as long as no drive has said anything.
    pub(super) fn flags(&self) -> Flags {
        let mark = |side: Side| if *self.pending.get(side) { Mark::Pending } else { Mark::Settled };
        Flags { marks: PerSide::new(mark) }
    }
}

/// How far a drive is with an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    #[default]
    Pending,
    /// Applied and synced, in this batch of the drive's lane; settled by a checkpoint that covers the batch.
    Done { batch: u64 },
    /// Nothing is left to do: superseded, never needed, or checkpointed.
    Settled,
}

/// What a drive installed since its last checkpoint, where no entry is left to say so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fresh {
    pub place: Place,
    /// That of the version.
    pub lsn: Lsn,
}

/// Completion flags of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    pub marks: PerSide<Mark>,
}

/// An enrolled drive as the journal remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    pub id: DriveId,
    /// Where it was mounted at `init`.
    pub place: String,
}

/// Why a drive is filled rather than replayed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FillCause {
    /// It was enrolled in place of another one.
    Replaced,
    /// It was away for more entries than the journal keeps.
    Outgrown,
}

/// A backfill on record, from its decision until the drive has everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    pub cause: FillCause,
    /// The drive that is filled. Where the enrolment names another one, that is still to be changed, and the other
    /// one's marks are still to be cleared.
    pub drive: Enrolled,
    /// Nanoseconds since 1970; for people, never for order.
    pub begun_ns: i64,
    /// What the drive lacked at most so far: what progress is measured against.
    pub paths: u64,
    pub bytes: u64,
}

/// The mirror's identity, written by `init`; a drive's part anew when it is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    pub mirror: MirrorId,
    pub drives: PerSide<Enrolled>,
    /// Whether the drives may be plain directories.
    pub plain: bool,
}
