//! The document that `status` answers with. Keys are added, never renamed.

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, Lsn};

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
    /// What happened and what to do; empty when healthy.
    #[serde(default)]
    pub notices: Vec<NoticeDocument>,
    pub drives: Vec<DriveDocument>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    Healthy,
    Degraded,
    Unusable,
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
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DriveDocument {
    pub name: String,
    pub id: String,
    /// `absent`, `verifying`, `replaying`, `backfilling`, `in-sync`, `fenced`, `faulted`, `full`, `parked`.
    pub state: String,
    /// Why, where that is not plain.
    pub reason: Option<String>,
    /// Where it is mounted; none while it is absent.
    pub path: Option<String>,
    pub used: u64,
    pub size: u64,
    pub behind: Backlog,
    pub errors: ErrorCounts,
    /// Paths whose only copy is on another drive that is away.
    #[serde(default)]
    pub waiting: Vec<WaitingDocument>,
    /// The work since the drive last came back.
    #[serde(default)]
    pub replay: Option<ReplayDocument>,
    /// Files set aside because somebody else had written them.
    #[serde(default)]
    pub aside: u64,
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
