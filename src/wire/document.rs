//! The document that `status` answers with. Keys are added, never renamed.

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Lsn};
use crate::wire::{AsideLine, Time, TotalsDocument};

/// The version of every JSON document that people's scripts read.
pub const OUTPUT_VERSION: u32 = 1;

/// The mirror at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusDocument {
    pub output_version: u32,
    pub state: HealthState,
    #[serde(default)]
    pub epoch: Epoch,
    pub journal: JournalDocument,
    /// What happened and what to do. A healthy mirror's are warnings.
    #[serde(default)]
    pub notices: Vec<NoticeDocument>,
    pub drives: Vec<DriveDocument>,
    /// What was removed or overwritten and is kept.
    #[serde(default)]
    pub trash: TrashDocument,
    /// What clients cannot have now because the one drive that has it is away.
    #[serde(default)]
    pub unavailable: Vec<UnavailableDocument>,
    /// What happened since the daemon started, oldest first; the last of it.
    #[serde(default)]
    pub events: Vec<EventDocument>,
    /// The machine below the mirror, where it could be asked.
    #[serde(default)]
    pub host: Option<HostDocument>,
    /// What somebody else changed on the drives since the daemon started.
    #[serde(default)]
    pub foreign: ForeignDocument,
    /// What was asked for; absent where nobody counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<TotalsDocument>,
    /// What people write now.
    #[serde(default)]
    pub editing: EditingDocument,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    Healthy,
    Degraded,
    Unusable,
}

/// How much is in the trash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashDocument {
    pub items: u64,
    /// On each drive.
    pub bytes: u64,
}

/// What is edited and appended to at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditingDocument {
    /// That somebody has to edit.
    pub sentences: u64,
    /// That these are in, or that are being appended to.
    pub texts: u64,
    /// Of what was sent and waits to be stored.
    pub body_bytes: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JournalDocument {
    pub entries: u64,
    pub head_lsn: Lsn,
    pub writable: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NoticeDocument {
    pub what: String,
    pub action: String,
    /// The drive that it is about, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drive: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// How long ago that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDocument {
    pub time: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drive: Option<String>,
    pub what: String,
}

/// What somebody else did to the drives' files, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignDocument {
    /// Files that were changed, and have the mirror's version again where anything has it.
    pub changed: u64,
    /// Files and folders that were taken away, and restored.
    pub missing: u64,
    /// New files and folders, which are the mirror's now.
    pub new: u64,
    /// Files that were set aside, and are kept in the mirror under another name.
    pub kept: u64,
    /// What stays where it is.
    pub refused: u64,
    /// The last of it, oldest first.
    #[serde(default)]
    pub last: Vec<ForeignItemDocument>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignItemDocument {
    pub time: Time,
    pub drive: String,
    pub path: String,
    /// `changed`, `missing`, `new`, `kept`, `refused`.
    pub what: String,
    /// Where it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
    /// Why it is refused, or cannot be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A search for what others changed on a drive, and what was found so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchDocument {
    /// Still to be looked into, as far as they are known.
    pub folders: u64,
    /// Names that differ, and must have stayed as they are for a while before anything follows from it.
    pub settling: u64,
    /// What is being taken in, or waits for it.
    pub taking_in: u64,
}

/// Files whose current version only a drive has that is away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnavailableDocument {
    /// The drive that has them.
    #[serde(rename = "for")]
    pub holder: String,
    pub count: u64,
    /// Whether there are more than were counted.
    #[serde(default)]
    pub at_least: bool,
    /// The first of them.
    pub paths: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DriveDocument {
    pub name: String,
    pub id: String,
    /// `absent`, `verifying`, `replaying`, `backfilling`, `in-sync`, `fenced`, `faulted`, `full`, `parked`.
    pub state: String,
    /// Why, where that is not plain.
    pub reason: Option<String>,
    /// When that state began.
    #[serde(default)]
    pub since: Option<Time>,
    /// Where it is mounted; none while it is absent.
    pub path: Option<String>,
    pub used: u64,
    pub size: u64,
    pub behind: Backlog,
    pub errors: ErrorCounts,
    /// Damaged or vanished copies that were made whole again since the daemon started.
    #[serde(default)]
    pub repaired: u64,
    /// Paths whose only copy is on another drive that is away.
    #[serde(default)]
    pub waiting: Vec<WaitingDocument>,
    /// How many there are; more than are named above, it may be.
    #[serde(default)]
    pub waiting_count: u64,
    /// Paths that no drive has whole, so that this one cannot get them.
    #[serde(default)]
    pub lost: u64,
    /// The work since the drive last came back.
    #[serde(default)]
    pub replay: Option<ReplayDocument>,
    /// How far that is, or a backfill that waits for the drive.
    #[serde(default)]
    pub scan: Option<ScanDocument>,
    /// The last scrub that was ordered; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<ScrubDocument>,
    /// Things set aside because they were not what the mirror had written.
    #[serde(default)]
    pub aside: u64,
    #[serde(default)]
    pub aside_bytes: u64,
    /// How much may lie aside.
    #[serde(default)]
    pub aside_bytes_max: u64,
    /// The newest of it, newest first.
    #[serde(default)]
    pub aside_newest: Vec<AsideLine>,
    /// Absent while nobody looks for what others changed there, and nothing is taken in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchDocument>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    pub paths: u64,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCounts {
    pub read: u64,
    pub write: u64,
    pub checksum: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingDocument {
    pub path: String,
    /// The drive that has it.
    #[serde(rename = "for")]
    pub holder: String,
}

/// What was done since the drive came back. Paths are counted once, however often they changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayDocument {
    pub running: bool,
    /// Since it began, or that it took.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanDocument {
    /// `replay`, `backfill`.
    pub kind: String,
    /// `away`, `replaced`, `outgrown`.
    pub cause: String,
    pub running: bool,
    /// When it began; a backfill's is that of its decision, however often the drive has left since.
    pub began: Time,
    /// Since the drive last came, or that it took.
    pub seconds: u64,
    pub paths_total: u64,
    pub paths_done: u64,
    pub bytes_total: u64,
    pub bytes_done: u64,
    /// Of the last seconds; of all of it when it has ended.
    pub bytes_per_second: u64,
    /// Absent while nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// How long nothing has moved, where that is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub still_seconds: Option<u64>,
}

/// A scrub of one drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubDocument {
    /// `running`, `waiting` (for the drive, or until it is in sync), `paused`, `done`.
    pub state: String,
    /// `asked`, `scheduled`.
    pub cause: String,
    pub began: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// At work, pauses apart.
    pub seconds: u64,
    pub files_total: u64,
    pub files_done: u64,
    pub bytes_total: u64,
    pub bytes_done: u64,
    pub bytes_per_second: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// Copies that were damaged or gone.
    pub damaged: u64,
    /// Those of them that are whole again.
    pub repaired: u64,
    pub repaired_bytes: u64,
}

/// The machine below the mirror. Bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostDocument {
    pub memory_total: u64,
    pub memory_available: u64,
    /// Resident memory of the daemon.
    pub process_memory: u64,
    pub disks: Vec<DiskDocument>,
    pub uptime_seconds: u64,
    /// Mean length of the run queue over one, five and fifteen minutes.
    #[serde(default)]
    pub load: Option<[f64; 3]>,
}

/// A file system that the mirror uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskDocument {
    pub mount: String,
    pub file_system: String,
    /// `ssd`, `hdd`, `unknown`.
    pub kind: String,
    pub size: u64,
    pub available: u64,
    pub removable: bool,
    /// What of the mirror is on it: `state`, and drives by their names.
    #[serde(default)]
    pub holds: Vec<String>,
}
