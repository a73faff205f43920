//! Why nothing was adopted.

use std::path::PathBuf;

use crate::daemon::init::InitError;
use crate::daemon::state_lock::StateLockError;
use crate::ids::{DriveId, MirrorId, Side};
use crate::journal::store::StoreError;
use crate::mirror::label::LabelError;
use crate::mirror::os_volume::LockError;
use crate::mirror::volume::VolumeError;

/// Why nothing was adopted. Each says what to do; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    #[error("give one drive or both, each once, as --drive PATH")]
    Drives,
    #[error(
        "drive {given} alone is given: give drive {other} too with another --drive PATH; if it is dead or lost, say so \
         with --without {other}"
    )]
    OneAlone { given: Side, other: Side },
    #[error("drive {0} is both given and waived: leave out its --drive or the --without")]
    GivenAndWaived(Side),
    #[error("both paths lead to drive {0}: give the other one's path")]
    Twice(Side),
    #[error(transparent)]
    Inspect(#[from] InitError),
    #[error("{}: {source}", path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error(
        "{} is no drive of a mirror (it has no label): give the folder where the stick is mounted; a mirror is begun \
         from drives with files by twinstickd init --adopt", .0.display()
    )]
    NoLabel(PathBuf),
    #[error("{}: {source}", path.display())]
    Label { path: PathBuf, source: LabelError },
    #[error("{}: {source}", path.display())]
    Lock { path: PathBuf, source: LockError },
    #[error(
        "the drives belong to two mirrors: {} to {a_mirror}, {} to {b_mirror}. Adopt each with its own other drive; \
         or adopt one with --without, then enrol the other, emptied, with twinstickd replace", a.display(), b.display()
    )]
    TwoMirrors { a: PathBuf, a_mirror: MirrorId, b: PathBuf, b_mirror: MirrorId },
    #[error(
        "drive {side} at {} is {found}, but its mirror has {enrolled} in its place: it was replaced. Give that one's \
         path, or adopt without it: twinstickd adopt --drive {} --without {side}", path.display(), other.display()
    )]
    Replaced { side: Side, path: PathBuf, found: DriveId, enrolled: DriveId, other: PathBuf },
    #[error("{why}")]
    Diverged { why: String },
    #[error("the state folder {} lies on drive {side}: the journal must be on another disk", state.display())]
    StateOnDrive { side: Side, state: PathBuf },
    #[error("drive {side}: {source}; run the same command again")]
    Drive { side: Side, source: VolumeError },
    #[error("{}: {source}", path.display())]
    State { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Locked(#[from] StateLockError),
    #[error("the new journal: {0}")]
    Journal(#[from] StoreError),
}
