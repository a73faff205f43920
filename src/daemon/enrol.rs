//! Carrying out what `init` planned: labels on both drives, then the journal.
#![allow(clippy::disallowed_methods, reason = "the state directory lies on the boot disk, never on a drive")]

use std::path::Path;

use crate::daemon::adopt::{self, AdoptError};
use crate::daemon::init::{DriveKind, Files, Plan};
use crate::daemon::state_lock::{StateLock, StateLockError};
use crate::ids::{Arrival, DriveId, Epoch, Lsn, MirrorId, PerSide, Side, random};
use crate::journal::store::StoreError;
use crate::journal::{Enrolled, Enrolment};
use crate::mirror::Mirror;
use crate::mirror::label::{self, Label, LabelError};
use crate::mirror::os_volume::OsVolume;
use crate::mirror::volume::Volume;
use crate::namespace::Namespace;

#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error("{path}: {source}")]
    Open { path: String, source: std::io::Error },
    #[error("labelling {path}: {source}; what init made is in its .twinstick folder, remove that before trying again")]
    Label { path: String, source: LabelError },
    #[error("{path}: {source}")]
    State { path: String, source: std::io::Error },
    #[error(transparent)]
    Locked(#[from] StateLockError),
    #[error("{0}")]
    Journal(#[from] StoreError),
    #[error(transparent)]
    Adopt(#[from] AdoptError),
}

/// Labels the drives and begins the journal, which comes last: without it the labels mean nothing yet.
pub fn enrol(plan: &Plan) -> Result<Enrolment, EnrolError> {
    let _lock = lock(&plan.state)?;
    let taken_in = match plan.files {
        Files::Refused => None,
        Files::TakenIn => Some(adopt::take_in(&plan.drives)?),
    };
    let mirror = MirrorId(random());
    let ids = PerSide::new(|_| DriveId(random()));
    let mut namespaces = PerSide::default();
    for side in Side::BOTH {
        let label = Label {
            mirror,
            drive: *ids.get(side),
            side,
            enrolled: ids,
            epoch: Epoch(0),
            committed: Lsn(0),
            arrivals: Arrival(0),
            serial: 0,
        };
        *namespaces.get_mut(side) = write_label(plan.drives.get(side), &label)?;
    }
    let enrolled = |side: Side| Enrolled { id: *ids.get(side), place: plan.drives.get(side).display().to_string() };
    let enrolment =
        Enrolment { mirror, drives: PerSide::new(enrolled), plain: matches!(plan.kind, DriveKind::PlainDirectory) };
    match taken_in {
        None => Mirror::create_for(&plan.state, &enrolment, namespaces)?,
        Some(outcome) => adopt::begin(&plan.state, &outcome, enrolment.clone(), namespaces)?,
    }
    Ok(enrolment)
}

/// Makes the state directory and takes it: nobody else begins a journal there.
fn lock(state: &Path) -> Result<StateLock, EnrolError> {
    let failed = |source| EnrolError::State { path: state.display().to_string(), source };
    std::fs::create_dir_all(state).map_err(failed)?;
    Ok(StateLock::take(state, "init")?)
}

/// Writes a drive's label; what the drive asks of names.
fn write_label(place: &Path, label: &Label) -> Result<Namespace, EnrolError> {
    let path = || place.display().to_string();
    let volume = OsVolume::open(place).map_err(|source| EnrolError::Open { path: path(), source })?;
    let volume: &dyn Volume = &volume;
    label::create(volume, label).map_err(|source| EnrolError::Label { path: path(), source })?;
    Ok(volume.namespace())
}
