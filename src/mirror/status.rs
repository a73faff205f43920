//! What the mirror tells of itself, its drives and their work.

use serde::Serialize;

use crate::ids::{DriveId, Epoch, Lsn, Side};
pub use crate::journal::{FillCause, ScrubCause};
pub use crate::mirror::history::Event;
pub use crate::mirror::reconcile::ledger::{
    Backing, Counts as ForeignCounts, Deed as ForeignDeed, Remark as ForeignRemark,
};
use crate::mirror::request::AsideItem;
pub use crate::mirror::scan::ScanKind;
use crate::mirror::state::DriveState;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Healthy,
    Degraded,
    Unusable,
}

/// How much is in the trash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrashStatus {
    pub items: u64,
    /// On each drive.
    pub bytes: u64,
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
