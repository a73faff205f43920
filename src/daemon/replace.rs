//! `replace`: enrols a blank stick in place of one that is dead or lost.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::daemon::init::{self, DriveKind, InitError, Resumed};
use crate::ids::{Arrival, DriveId, Epoch, Lsn, PerSide, Side, random};
use crate::journal::store::StoreError;
use crate::journal::{Enrolled, Enrolment};
use crate::mirror::label::{self, Label, LabelError};
use crate::mirror::os_volume::OsVolume;
use crate::mirror::volume::Volume;
use crate::mirror::{Loss, Mirror, ReplaceError as Refused};
use crate::path::OWN_FOLDER;

/// Bytes beside the files themselves that a new stick must have free: for names, logs and the file system.
const MARGIN_BYTES: u64 = 16 << 20;

/// Names that a new stick cannot have, shown at most.
const MISFITS_MAX: usize = 3;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaceRequest {
    pub side: Side,
    /// From the root: the daemon has another working directory.
    pub path: PathBuf,
    /// Gives up versions that the old drive alone has.
    pub accept_loss: bool,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    pub side: Side,
    pub drive: DriveId,
    pub path: PathBuf,
    /// What is to be copied to it.
    pub paths: u64,
    pub bytes: u64,
}

/// Why a drive was not replaced. Nothing was changed but, where it says so, on the new stick.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Inspect(#[from] InitError),
    #[error("{} is the other drive: give the new stick's path", .0.display())]
    TheOther(PathBuf),
    #[error("{} is drive {side} itself: mounted, it is taken up without being asked", path.display())]
    Itself { side: Side, path: PathBuf },
    #[error(
        "{} belongs to a mirror already (it has {OWN_FOLDER}). If nothing on it is needed, remove {} and try again",
        path.display(), path.join(OWN_FOLDER).display()
    )]
    Enrolled { path: PathBuf },
    #[error("{} is not blank ({count} in its root, such as {example:?}): move all elsewhere first", path.display())]
    NotEmpty { path: PathBuf, count: usize, example: String },
    #[error("{} lies on the stick at {}: the journal must be on another disk", state.display(), path.display())]
    StateOnIt { state: PathBuf, path: PathBuf },
    #[error("{} has {free} bytes free, all files need {needed}: take a larger stick", path.display())]
    TooSmall { path: PathBuf, free: u64, needed: u64 },
    #[error(
        "{} cannot have everything that is in the mirror: {misfits}; rename these with fget mv, or take a stick with ext4",
        path.display()
    )]
    Misfits { path: PathBuf, misfits: String },
    #[error("{}: {source}", path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error("labelling {}: {source}; what was made is in its {OWN_FOLDER} folder", path.display())]
    Label { path: PathBuf, source: LabelError },
    #[error("the journal: {0}")]
    Journal(#[from] StoreError),
}

/// Looks at the new stick, labels it, and enrols it.
///
/// The label comes first: cut short in it or behind it, the same command finds the stick again and goes on.
pub async fn replace(mirror: &Mirror, state: &Path, request: &ReplaceRequest) -> Result<Replaced, ReplaceError> {
    let side = request.side;
    let loss = if request.accept_loss { Loss::Accepted } else { Loss::Refused };
    mirror.check_replace(side, loss)?;
    let enrolment = mirror.enrolment();
    let root = inspect(&enrolment, mirror, state, request)?;
    let open = |source| ReplaceError::Open { path: root.clone(), source };
    let volume = OsVolume::open(&root).map_err(open)?;
    let drive = if let Some(drive) = known(&enrolment, side, &root, &volume)? {
        drive
    } else {
        check_blank(side, &root)?;
        DriveId(random())
    };
    check_size(mirror, &root, &volume)?;
    let namespace = volume.namespace();
    let misfits = mirror.misfits(namespace, MISFITS_MAX)?;
    if !misfits.is_empty() {
        return Err(ReplaceError::Misfits { path: root, misfits: misfits.join(", ") });
    }
    let label = |source| ReplaceError::Label { path: root.clone(), source };
    // Again, where an earlier try wrote it: it may not be durable.
    label::create(&volume, &first_label(&enrolment, side, drive)).map_err(label)?;
    drop(volume);
    let enrolled = Enrolled { id: drive, place: root.display().to_string() };
    mirror.replace(side, enrolled, loss).await?;
    mirror.note_names(side, drive, namespace)?;
    let behind = mirror.behind(side);
    Ok(Replaced { side, drive, path: root, paths: behind.paths, bytes: behind.bytes })
}

fn inspect(
    enrolment: &Enrolment,
    mirror: &Mirror,
    state: &Path,
    request: &ReplaceRequest,
) -> Result<PathBuf, ReplaceError> {
    let kind = if enrolment.plain { DriveKind::PlainDirectory } else { DriveKind::MountPoint };
    let found = init::inspect(request.side, &request.path, kind)?;
    let other = mirror.last_place(request.side.other());
    // The other drive need not be there.
    if let Ok(other) = init::inspect(request.side.other(), &other, kind)
        && let Err(error) = init::check_apart(&found, &other, kind)
    {
        return Err(match error {
            InitError::SamePath(path) => ReplaceError::TheOther(path),
            error => error.into(),
        });
    }
    let state = std::path::absolute(state).map_err(|source| ReplaceError::Open { path: state.to_owned(), source })?;
    if state.starts_with(&found.root) {
        return Err(ReplaceError::StateOnIt { state, path: found.root });
    }
    Ok(found.root)
}

/// The id of a stick that an earlier try has labelled for this mirror and that was never in use.
fn known(enrolment: &Enrolment, side: Side, root: &Path, volume: &dyn Volume) -> Result<Option<DriveId>, ReplaceError> {
    let enrolled = || ReplaceError::Enrolled { path: root.to_owned() };
    let label = match label::read(volume) {
        Ok(None) | Err(LabelError::Torn) => return Ok(None),
        Ok(Some(label)) => label,
        Err(LabelError::NewerFormat { .. }) => return Err(enrolled()),
        Err(source) => return Err(ReplaceError::Label { path: root.to_owned(), source }),
    };
    if enrolment.drives.iter().any(|(_, drive)| drive.id == label.drive) {
        return Err(ReplaceError::Itself { side: label.side, path: root.to_owned() });
    }
    let left_by_a_try = label.mirror == enrolment.mirror && label.side == side && label.arrivals == Arrival(0);
    if left_by_a_try { Ok(Some(label.drive)) } else { Err(enrolled()) }
}

fn check_blank(side: Side, root: &Path) -> Result<(), ReplaceError> {
    match init::check_blank(side, root, Resumed::Replace) {
        Err(InitError::NotEmpty { path, count, example, .. }) => Err(ReplaceError::NotEmpty { path, count, example }),
        Err(InitError::Enrolled { path, .. } | InitError::NeverUsed { path, .. }) => {
            Err(ReplaceError::Enrolled { path })
        }
        outcome => Ok(outcome?),
    }
}

fn check_size(mirror: &Mirror, root: &Path, volume: &dyn Volume) -> Result<(), ReplaceError> {
    let label = |source: crate::mirror::volume::VolumeError| source.into();
    let space = volume.space().map_err(|error| ReplaceError::Label { path: root.to_owned(), source: label(error) })?;
    let needed = mirror.total_bytes()? + MARGIN_BYTES;
    if space.free < needed {
        return Err(ReplaceError::TooSmall { path: root.to_owned(), free: space.free, needed });
    }
    Ok(())
}

fn first_label(enrolment: &Enrolment, side: Side, drive: DriveId) -> Label {
    let enrolled = |of: Side| if of == side { drive } else { enrolment.drives.get(of).id };
    Label {
        mirror: enrolment.mirror,
        drive,
        side,
        enrolled: PerSide::new(enrolled),
        epoch: Epoch(0),
        committed: Lsn(0),
        arrivals: Arrival(0),
        serial: 0,
    }
}
