//! What the watcher tells its owner.

use std::path::PathBuf;
use std::sync::Arc;

use crate::ids::{DriveId, MirrorId, Side};
use crate::mirror::label::Label;
use crate::mirror::os_volume::{Device, DriveLock, OsVolume};
use crate::mirror::volume::VolumeError;

/// One stay of a drive, from its arrival to its departure. Counted from the watcher's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Visit(pub u64);

/// News of the drives.
#[derive(Debug)]
pub enum Sighting {
    /// An enrolled drive is there, verified and locked.
    Arrived(Box<Found>),
    /// A drive that had arrived is gone, or is not where it was. Its lock is free for its next arrival only when
    /// the owner has dropped the one it was given.
    Departed { side: Side, visit: Visit, why: Departure },
    /// A probe has not returned for longer than `probe_timeout`; told once a probe. Whether the drive counts as
    /// gone is the owner's decision, who sees the drive's other operations too.
    Stalled { side: Side, visit: Visit },
    /// A place holds a drive that cannot be used; told once, until what is found there changes.
    Refused { place: PathBuf, why: RefusedLabel },
}

/// An enrolled drive, opened.
#[derive(Debug)]
pub struct Found {
    /// By the drive's id in the mirror's own records.
    pub side: Side,
    pub visit: Visit,
    pub label: Label,
    pub volume: Arc<OsVolume>,
    pub lock: DriveLock,
    pub path: PathBuf,
    pub device: Device,
}

/// Why a drive is no longer there.
#[derive(Debug, thiserror::Error)]
pub enum Departure {
    #[error("it was unmounted")]
    Unmounted,
    #[error("its path leads elsewhere now")]
    Moved,
    #[error("it does not answer: {0}")]
    ProbeFailed(VolumeError),
}

/// Why a labelled drive is none that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedLabel {
    #[error("it belongs to another mirror, {mirror}")]
    OtherMirror { mirror: MirrorId, drive: DriveId },
    #[error("it is drive {drive} of this mirror, which is not enrolled (any more)")]
    NotEnrolled { drive: DriveId },
    #[error("it is a copy of drive {side}, which is present")]
    Copy { side: Side },
    #[error("its label is damaged in both slots")]
    Damaged,
    #[error("its label has format {found}: use a newer twinstickd")]
    NewerFormat { found: u16 },
    #[error("{holder} is using it")]
    InUse { holder: String },
    #[error("it cannot be used: {0}")]
    Unusable(String),
}
