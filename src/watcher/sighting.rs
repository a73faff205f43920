//! What the watcher tells its owner.

use std::path::PathBuf;
use std::sync::Arc;

use crate::ids::{DriveId, MirrorId, Side};
use crate::mirror::Ending;
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
    /// What was refused there is gone, or is refused no more.
    Cleared { place: PathBuf },
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
    #[error("it was unplugged")]
    Unplugged,
    #[error("it is mounted read-only now")]
    ReadOnly,
    #[error("its path leads elsewhere now")]
    Moved,
    #[error("it does not answer: {0}")]
    ProbeFailed(VolumeError),
}

impl Departure {
    /// What it says of the drive.
    pub fn ending(&self) -> Ending {
        match self {
            // Somebody did that; a drive does not mount itself.
            Self::Unmounted | Self::Moved | Self::ReadOnly => Ending::Orderly,
            Self::Unplugged | Self::ProbeFailed(_) => Ending::Failure,
        }
    }
}

/// Why a drive is none that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedLabel {
    #[error("it belongs to another mirror, {mirror}")]
    OtherMirror { mirror: MirrorId, drive: DriveId },
    #[error("it is drive {drive} of this mirror, which is not enrolled (any more)")]
    NotEnrolled { drive: DriveId },
    #[error("it is a copy of drive {side}, which is present")]
    Copy { side: Side },
    #[error("it is an older copy of drive {side}: the drive's own label was written more often")]
    Older { side: Side },
    #[error("it is none of this mirror's: it has no label")]
    NoLabel,
    #[error("it has drive {side}'s label, but is a folder of the disk around it: nothing is mounted there")]
    NotMounted { side: Side },
    #[error("it is drive {side}, mounted read-only")]
    ReadOnly { side: Side },
    #[error("its label is damaged in both slots")]
    Damaged,
    #[error("its label has format {found}: use a newer twinstickd")]
    NewerFormat { found: u16 },
    #[error("{holder} is using it")]
    InUse { holder: String },
    #[error("it cannot be used: {0}")]
    Unusable(String),
}

impl RefusedLabel {
    /// The enrolled drive that it is, but for how it is there; `None` for another one.
    pub fn side(&self) -> Option<Side> {
        match self {
            Self::NotMounted { side } | Self::ReadOnly { side } => Some(*side),
            Self::OtherMirror { .. }
            | Self::NotEnrolled { .. }
            | Self::Copy { .. }
            | Self::Older { .. }
            | Self::NoLabel
            | Self::Damaged
            | Self::NewerFormat { .. }
            | Self::InUse { .. }
            | Self::Unusable(_) => None,
        }
    }

    /// What helps.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::OtherMirror { .. } | Self::NotEnrolled { .. } | Self::NoLabel => {
                "unplug it, or put in the enrolled stick; nothing on it was changed"
            }
            Self::Copy { .. } => "unplug the copy: two sticks with one label cannot be told apart; it was not changed",
            Self::Older { .. } => {
                "put in the drive itself; if there is only the copy, empty it and enrol it with 'twinstickd replace'; \
                 it was not changed"
            }
            Self::NotMounted { .. } => {
                "mount the stick there; if the files in the folder are a copy of it, move them elsewhere first"
            }
            Self::ReadOnly { .. } => {
                "unmount it, check its file system (fsck), and mount it writable; it is taken up by itself then"
            }
            Self::Damaged => "check its file system (fsck); nothing on it was changed",
            Self::NewerFormat { .. } => "use a newer twinstickd; nothing on it was changed",
            Self::InUse { .. } => "stop the other one; two daemons cannot use one stick",
            Self::Unusable(_) => "check the stick and how it is mounted; it is looked at again by itself",
        }
    }
}
