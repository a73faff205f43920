//! What is adopted: the drives by their labels. Refuses what does not belong together.

use std::path::{Path, PathBuf};

use crate::daemon::adopt::enrolment_of;
use crate::daemon::adopt::error::AdoptError;
use crate::daemon::init::{self, DriveKind, InitError};
use crate::ids::{PerSide, Side};
use crate::journal::Enrolment;
use crate::mirror::adopt::Diverged;
use crate::mirror::label::{self, Label};
use crate::mirror::os_volume::{DriveLock, OsVolume};
use crate::mirror::volume::Volume as _;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct AdoptRequest {
    pub drives: Vec<PathBuf>,
    /// A drive that is not to be had, or not to be believed.
    pub without: Option<Side>,
    pub kind: DriveKind,
}

/// What may be adopted.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) drives: PerSide<Option<Found>>,
    pub(super) without: Option<Side>,
    pub(super) enrolment: Enrolment,
}

/// A drive that was opened.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) root: PathBuf,
    pub(super) volume: OsVolume,
    pub(super) label: Option<Label>,
    /// Nobody else writes to it meanwhile.
    _lock: Option<DriveLock>,
}

impl Found {
    /// A drive that is in no mirror yet.
    pub(super) fn without_label(side: Side, root: &Path) -> Result<Self, AdoptError> {
        let open = |source| AdoptError::Open { path: root.to_owned(), source };
        let volume = OsVolume::open(root).map_err(open)?;
        volume.sync_all().map_err(|source| AdoptError::Drive { side, source })?;
        Ok(Self { root: root.to_owned(), volume, label: None, _lock: None })
    }
}

/// Opens the drives, and refuses what must not be adopted together.
pub(super) fn plan(request: &AdoptRequest, state: &Path) -> Result<Plan, AdoptError> {
    check_paths(&request.drives)?;
    let mut opened = Vec::new();
    for path in &request.drives {
        opened.push(open(path, request.kind, state)?);
    }
    let mut opened = opened.into_iter();
    let (Some(first), second, None) = (opened.next(), opened.next(), opened.next()) else {
        return Err(AdoptError::Drives);
    };
    let (label, newest) = match &second {
        None => (first.1.clone(), first.1.clone()),
        Some(second) => {
            check_together(&first, second)?;
            let age = |label: &Label| (label.epoch, label.committed);
            let newest = if age(&second.1) > age(&first.1) { &second.1 } else { &first.1 };
            (first.1.clone(), newest.clone())
        }
    };
    let mut drives = PerSide::default();
    let mut places = PerSide::<String>::default();
    for (found, label) in std::iter::once(first).chain(second) {
        places.get_mut(label.side).clone_from(&found.root.display().to_string());
        *drives.get_mut(label.side) = Some(found);
    }
    check_without(&drives, request.without)?;
    let plain = matches!(request.kind, DriveKind::PlainDirectory);
    let enrolment = enrolment_of(label.mirror, newest.enrolled, &places, plain);
    check_enrolled(&drives, &newest)?;
    Ok(Plan { drives, without: request.without, enrolment })
}

fn check_paths(paths: &[PathBuf]) -> Result<(), AdoptError> {
    if paths.len() > Side::BOTH.len() {
        return Err(AdoptError::Drives);
    }
    let canonical =
        |path: &PathBuf| std::fs::canonicalize(path).map_err(|source| AdoptError::Open { path: path.clone(), source });
    let roots = paths.iter().map(canonical).collect::<Result<Vec<_>, _>>()?;
    match roots.as_slice() {
        [a, b] if a == b => Err(InitError::SamePath(a.clone()).into()),
        _ => Ok(()),
    }
}

fn open(path: &Path, kind: DriveKind, state: &Path) -> Result<(Found, Label), AdoptError> {
    let open = |source| AdoptError::Open { path: path.to_owned(), source };
    let volume = OsVolume::open(path).map_err(open)?;
    let label = label::read(&volume).map_err(|source| AdoptError::Label { path: path.to_owned(), source })?;
    let Some(label) = label else { return Err(AdoptError::NoLabel(path.to_owned())) };
    let side = label.side;
    let root = init::inspect(side, path, kind)?.root;
    let state = std::fs::canonicalize(state).map_err(open)?;
    if state.starts_with(&root) {
        return Err(AdoptError::StateOnDrive { side, state });
    }
    let holder = format!("twinstickd adopt, process {}", std::process::id());
    let lock = volume.lock(&holder).map_err(|source| AdoptError::Lock { path: root.clone(), source })?;
    // What a killed daemon wrote may be in the page cache alone: nothing is believed before it is durable.
    volume.sync_all().map_err(|source| AdoptError::Drive { side, source })?;
    Ok((Found { root, volume, label: Some(label.clone()), _lock: Some(lock) }, label))
}

fn check_together(first: &(Found, Label), second: &(Found, Label)) -> Result<(), AdoptError> {
    let (a, b) = (&first.1, &second.1);
    if a.mirror != b.mirror {
        let paths = (first.0.root.clone(), second.0.root.clone());
        return Err(AdoptError::TwoMirrors { a: paths.0, a_mirror: a.mirror, b: paths.1, b_mirror: b.mirror });
    }
    if a.side == b.side {
        return Err(AdoptError::Twice(a.side));
    }
    Ok(())
}

fn check_without(drives: &PerSide<Option<Found>>, without: Option<Side>) -> Result<(), AdoptError> {
    for side in Side::BOTH {
        let other = side.other();
        match (drives.get(side), without == Some(side)) {
            (Some(_), true) => return Err(AdoptError::GivenAndWaived(side)),
            (None, false) => return Err(AdoptError::OneAlone { given: other, other: side }),
            (Some(_), false) | (None, true) => {}
        }
    }
    Ok(())
}

fn check_enrolled(drives: &PerSide<Option<Found>>, newest: &Label) -> Result<(), AdoptError> {
    for (side, found) in drives.iter() {
        let Some((found, label)) = found.as_ref().and_then(|found| Some((found, found.label.as_ref()?))) else {
            continue;
        };
        let enrolled = *newest.enrolled.get(side);
        if label.drive != enrolled {
            let other = drives.get(side.other()).as_ref().map(|other| other.root.clone()).unwrap_or_default();
            return Err(AdoptError::Replaced { side, path: found.root.clone(), found: label.drive, enrolled, other });
        }
    }
    Ok(())
}

impl Plan {
    /// Why diverged drives are not adopted together, and how to choose.
    pub(super) fn diverged(&self, diverged: Diverged) -> AdoptError {
        let path = |side: Side| self.drives.get(side).as_ref().map(|found| found.root.display().to_string());
        let choice = |side: Side| {
            let (path, other) = (path(side).unwrap_or_default(), side.other());
            format!("twinstickd adopt --drive {path} --without {other}")
        };
        let why = format!(
            "{diverged}: two daemons have written to them apart from each other, such as from two boot disks. Look at \
             both and choose whose history goes on: {} or {}. When the other one is plugged in again, its files are \
             compared: what differs is kept",
            choice(Side::A),
            choice(Side::B)
        );
        AdoptError::Diverged { why }
    }
}
