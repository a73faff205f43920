//! What the mirror is asked and what it answers.

use serde::Serialize;

use crate::digest::Crc32;
use crate::ids::{DriveId, Epoch, Lsn, PerSide, Side};
pub use crate::ids::{REQUEST_ID_BYTES_MAX, RequestId};
pub use crate::journal::{Cause, FillCause, Overwrite, Receipt, ScrubCause};
pub use crate::mirror::history::Event;
pub use crate::mirror::reconcile::ledger::{Counts as ForeignCounts, Deed as ForeignDeed, Remark as ForeignRemark};
pub use crate::mirror::reconcile::stock::Worth as AsideWorth;
pub use crate::mirror::scan::ScanKind;
use crate::mirror::state::DriveState;
use crate::mirror::volume::VolumeError;
use crate::path::RelPath;

/// Whether a request is for a folder with all that is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recurse {
    Yes,
    No,
}

/// The head of a PUT.
#[derive(Clone, Debug)]
pub struct PutRequest {
    pub path: RelPath,
    pub overwrite: Overwrite,
    /// Bytes of the body; `None` where the client does not know yet.
    pub len: Option<u64>,
    /// Nanoseconds since 1970; `None`: the daemon's time at commit.
    pub mtime_ns: Option<i64>,
    pub executable: bool,
    pub id: Option<RequestId>,
}

/// Bytes of a file: all from `offset` on, or `count` of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub offset: u64,
    pub count: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    File,
    Folder,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListEntry {
    /// Relative to the folder listed; a path where the listing is recursive.
    pub name: String,
    pub kind: NodeKind,
    /// Bytes; 0 for a folder.
    pub size: u64,
    pub mtime_ns: i64,
    pub lsn: Lsn,
    pub crc32: Option<Crc32>,
}

/// One file or folder, with where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub path: RelPath,
    pub kind: NodeKind,
    pub size: u64,
    pub mtime_ns: i64,
    pub executable: bool,
    pub owner: String,
    pub lsn: Lsn,
    pub crc32: Option<Crc32>,
    pub drives: PerSide<InfoDrive>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Copied {
    /// This version is under its name.
    Installed,
    /// This version is durable on the drive, not yet under its name.
    Staged,
    /// The drive lacks this version.
    Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfoDrive {
    pub present: bool,
    pub copy: Copied,
    /// When the copy was last read back and found right, nanoseconds since 1970.
    pub verified_ns: Option<i64>,
    /// How often the copy was damaged or gone and was made whole again, since the daemon's start.
    pub repaired: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Healthy,
    Degraded,
    Unusable,
}

/// One thing in the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashItem {
    /// Where it was.
    pub path: String,
    pub kind: NodeKind,
    /// Bytes; 0 for a folder.
    pub size: u64,
    pub cause: Cause,
    /// What names it: the mutation that threw it away.
    pub lsn: Lsn,
    /// When that was, nanoseconds since 1970 as the machine believed then.
    pub wall_ns: i64,
}

/// How much is in the trash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrashStatus {
    pub items: u64,
    /// On each drive.
    pub bytes: u64,
}

/// What an undo brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The last mutation of it.
    pub receipt: Receipt,
    /// Files and folders.
    pub restored: u64,
}

/// What `fget status` shows.
#[derive(Clone, Debug)]
pub struct Status {
    pub health: Health,
    pub epoch: Epoch,
    pub journal: JournalStatus,
    /// What happened and what to do, for people; empty when healthy.
    pub notices: Vec<Notice>,
    pub drives: Vec<DriveStatus>,
    pub trash: TrashStatus,
    /// What clients cannot have now, for each drive that is away and has it alone.
    pub unavailable: Vec<Unavailable>,
    /// What happened since the daemon's start, oldest first; the last of it.
    pub events: Vec<Event>,
    /// What others changed on the drives since then.
    pub foreign: Foreign,
}

/// What somebody else did to the drives' files: how often, and the last of it, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Foreign {
    pub counts: ForeignCounts,
    pub last: Vec<ForeignRemark>,
}

/// Something that lies aside on a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsideItem {
    pub side: Side,
    /// Its name for [`crate::mirror::Mirror::drop_aside`].
    pub id: String,
    /// Where it was on the drive: a file, or the folder that all its files were in.
    pub path: String,
    /// `edited`, `found`, `damaged`, or `unknown`.
    pub cause: &'static str,
    pub worth: AsideWorth,
    /// When it was set aside, in UTC, as the machine believed then.
    pub day: Option<String>,
    pub lsn: Option<Lsn>,
    pub files: u64,
    pub bytes: u64,
}

/// A search for what others changed on a drive, and what was found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchStatus {
    /// Still to be looked into, as far as they are known.
    pub folders: u64,
    /// Names that differ: nothing follows from it before nobody has touched them for a while.
    pub settling: u64,
    /// What is being taken in, or waits for it.
    pub taking_in: u64,
}

/// How much lies aside on a drive, and the newest of it.
#[derive(Clone, Debug, Default)]
pub struct AsideStatus {
    pub items: u64,
    pub bytes: u64,
    /// The oldest of what a repair replaced goes when it would be more.
    pub bytes_max: u64,
    pub newest: Vec<AsideItem>,
}

/// What happened, and what the user can do.
#[derive(Clone, Debug)]
pub struct Notice {
    pub what: String,
    pub action: String,
    /// The drive that it is about, where it is one.
    pub drive: Option<Side>,
    pub since: Option<Since>,
}

impl Notice {
    pub fn new(what: impl Into<String>, action: impl Into<String>) -> Self {
        Self { what: what.into(), action: action.into(), drive: None, since: None }
    }
}

/// A moment, and how long ago it was by a clock that nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// Nanoseconds since 1970, as the machine believed then.
    pub wall_ns: i64,
    pub seconds: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct JournalStatus {
    pub entries: u64,
    pub head_lsn: Lsn,
    pub writable: bool,
}

#[derive(Clone, Debug)]
pub struct DriveStatus {
    pub side: Side,
    pub id: DriveId,
    pub state: DriveState,
    /// Why it is in that state, where that is not plain.
    pub reason: Option<String>,
    /// What to do, where the state alone does not say.
    pub advice: Option<String>,
    /// Since when it is.
    pub since: Since,
    pub path: Option<String>,
    pub used: u64,
    pub size: u64,
    pub behind: Behind,
    /// Paths that wait for another drive's copy; the first of them.
    pub waiting: Vec<Waiting>,
    /// How many there are.
    pub waiting_count: u64,
    /// Paths that no drive has whole, so that this one cannot get them.
    pub lost: u64,
    pub errors: DriveErrors,
    /// Damaged or vanished copies that were made whole again since the daemon's start.
    pub repaired: u64,
    /// The work since the drive last came back.
    pub replay: Option<ReplayStatus>,
    /// How far that is, or a backfill that waits for the drive.
    pub scan: Option<ScanStatus>,
    /// The last scrub.
    pub scrub: Option<ScrubStatus>,
    /// What was set aside because it was not what the mirror had written; as it was last seen.
    pub aside: AsideStatus,
    /// `None` while nobody looks for what others changed there, and nothing is taken in.
    pub search: Option<SearchStatus>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    pub paths: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug)]
pub struct Waiting {
    pub path: String,
    pub holder: Side,
}

/// Files whose current version only a drive has that is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    pub holder: Side,
    pub count: u64,
    /// Whether there are more than were counted.
    pub at_least: bool,
    /// The first of them.
    pub paths: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DriveErrors {
    pub read: u64,
    pub write: u64,
    pub checksum: u64,
}

/// What a drive's lane did since the drive came back. Paths are counted once, however often they changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplayStatus {
    pub running: bool,
    /// Seconds since it began, or that it took.
    pub seconds: u64,
    pub paths: u64,
    pub copied_files: u64,
    pub copied_bytes: u64,
    pub moved: u64,
    pub removed: u64,
    pub made_folders: u64,
    /// Found to be right already.
    pub unchanged: u64,
}

/// A replay or backfill: how far, how fast, how long still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanStatus {
    pub kind: ScanKind,
    pub running: bool,
    /// Nanoseconds since 1970; a backfill may have begun many stays ago.
    pub began_ns: i64,
    /// How long this stay has been at it, or was.
    pub seconds: u64,
    pub paths_total: u64,
    pub paths_done: u64,
    pub bytes_total: u64,
    pub bytes_done: u64,
    /// Of the last seconds; of all of it when it has ended.
    pub bytes_per_second: u64,
    /// `None` while nobody knows.
    pub seconds_left: Option<u64>,
    /// How long nothing has moved, where that is too long.
    pub still_seconds: Option<u64>,
}

/// Whether a drive's scrub goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubState {
    Running,
    /// The drive is away, or has to catch up first.
    Waiting,
    Paused,
    Done,
}

/// The last scrub that was ordered, on one drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubStatus {
    pub state: ScrubState,
    pub cause: ScrubCause,
    /// Nanoseconds since 1970; when it was ordered, while the drive has not begun.
    pub began_ns: i64,
    pub ended_ns: Option<i64>,
    /// Time at work.
    pub seconds: u64,
    pub files_total: u64,
    pub files_done: u64,
    pub bytes_total: u64,
    pub bytes_done: u64,
    pub bytes_per_second: u64,
    /// `None` while nobody knows.
    pub seconds_left: Option<u64>,
    /// Copies that were damaged or gone.
    pub damaged: u64,
    /// Those of them that are whole again, and their bytes.
    pub repaired: u64,
    pub repaired_bytes: u64,
}

/// Whether a comparison reads the bytes, or looks at names and sizes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    Compared,
    NotRead,
}

/// What a drive has under a name, against the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    Same,
    /// In the catalog, and not on the drive.
    Missing,
    /// On the drive, and not in the catalog.
    Extra,
    Differs,
    /// It could not be looked at.
    Failed,
}

/// One line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyLine {
    /// `drive` is missing where all that are there are alike.
    Found {
        path: String,
        drive: Option<Side>,
        verified: Verified,
        why: Option<String>,
    },
    Progress {
        files: u64,
        bytes: u64,
    },
}

/// Why the mirror did not do what it was asked. Nothing was changed, save where it says so.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("no such file: {0}")]
    NotFound(String),
    #[error("{0} is not in the trash: 'fget trash' lists what is")]
    NotInTrash(String),
    #[error("{0} exists: choose another name or remove it first")]
    Exists(String),
    #[error("{0} is a folder")]
    IsAFolder(String),
    #[error("{0} is a file, not a folder")]
    NotAFolder(String),
    #[error("{0} is not empty: rm -r removes a folder with all in it")]
    NotEmpty(String),
    #[error("{0}")]
    BadRequest(String),
    #[error("{what} is {size}, at most {limit} are taken")]
    TooLarge { what: &'static str, size: u64, limit: u64 },
    /// An enrolled drive cannot have the name.
    #[error("{message}")]
    BadName { drive: Side, message: String },
    #[error("drive {drive} has {file_system}, where a file has at most {limit} bytes: split it")]
    TooLargeForDrive { drive: Side, file_system: &'static str, limit: u64 },
    #[error("the bytes have CRC-32 {actual}, the trailer says {expected}: nothing was stored, send it again")]
    BadChecksum { expected: Crc32, actual: Crc32 },
    #[error("{}", no_space(*drive, *free, *needed))]
    NoSpace { drive: Side, free: u64, needed: u64 },
    /// No present drive holds it; `drive` names the one that does, where one does.
    #[error("{message}")]
    Unavailable { drive: Option<Side>, message: String },
    #[error("{0} was changed while it was read, and no copy of the older version is left: start again")]
    Superseded(String),
    /// The outcome of the mutation is open until the journal works again; its id tells.
    #[error("the journal cannot be written: {0}; reads go on, see twinstickd's log for the boot disk's state")]
    JournalUnavailable(String),
    #[error("the journal cannot be read: {0}; it goes on by itself when the boot disk does, see twinstickd's log")]
    JournalUnreadable(String),
    /// The daemon lacks descriptors or memory for now.
    #[error("twinstickd has too much to do at the moment ({0}): try again")]
    Busy(String),
    /// It can be done, and something could not be had then.
    #[error("{message}")]
    NeedsForce { drive: Side, message: String },
}

fn no_space(drive: Side, free: u64, needed: u64) -> String {
    if free < needed {
        return format!(
            "drive {drive} has {free} bytes free, {needed} are needed: remove something or put in a larger stick"
        );
    }
    // A file system can be out of inodes, or have a quota.
    format!("drive {drive} has no room for another file, though {free} bytes are free: remove something there")
}

impl Refusal {
    /// For the daemon's own shortage, met by an operation on a drive.
    pub(crate) fn busy(error: &VolumeError) -> Self {
        Self::Busy(error.source.to_string())
    }

    /// The stable name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotFound(_) | Self::NotInTrash(_) => "not-found",
            Self::Exists(_) => "exists",
            Self::IsAFolder(_) => "is-a-directory",
            Self::NotAFolder(_) => "not-a-directory",
            Self::NotEmpty(_) => "not-empty",
            Self::BadRequest(_) => "bad-request",
            Self::TooLarge { .. } | Self::TooLargeForDrive { .. } => "too-large",
            Self::BadName { .. } => "bad-path",
            Self::BadChecksum { .. } => "bad-checksum",
            Self::NoSpace { .. } => "no-space",
            Self::Unavailable { .. } => "unavailable",
            Self::Superseded(_) => "superseded",
            Self::JournalUnavailable(_) | Self::JournalUnreadable(_) => "journal-unavailable",
            Self::Busy(_) => "busy",
            Self::NeedsForce { .. } => "needs-force",
        }
    }

    /// The drive that holds what was asked for, or that lacks room.
    pub fn drive(&self) -> Option<Side> {
        match self {
            Self::NoSpace { drive, .. } | Self::BadName { drive, .. } | Self::TooLargeForDrive { drive, .. } => {
                Some(*drive)
            }
            Self::Unavailable { drive, .. } => *drive,
            Self::NeedsForce { drive, .. } => Some(*drive),
            Self::NotFound(_)
            | Self::NotInTrash(_)
            | Self::Exists(_)
            | Self::IsAFolder(_)
            | Self::NotAFolder(_)
            | Self::NotEmpty(_)
            | Self::BadRequest(_)
            | Self::TooLarge { .. }
            | Self::BadChecksum { .. }
            | Self::Superseded(_)
            | Self::JournalUnavailable(_)
            | Self::JournalUnreadable(_)
            | Self::Busy(_) => None,
        }
    }
}
