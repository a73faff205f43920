//! Carrying out what `init` planned: labels on both drives, then the journal.
#![allow(clippy::disallowed_methods, reason = "the state directory lies on the boot disk, never on a drive")]

use std::path::Path;

use crate::daemon::adopt::{self, AdoptError};
use crate::daemon::begun::Begun;
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
    #[error("labelling {path}: {source}; run init again when that is mended, it goes on here")]
    Label { path: String, source: LabelError },
    #[error("{path}: {source}")]
    State { path: String, source: std::io::Error },
    #[error("{path}: another init has been here meanwhile: run init again")]
    Overtaken { path: String },
    #[error(transparent)]
    Locked(#[from] StateLockError),
    #[error("{0}")]
    Journal(#[from] StoreError),
    #[error(transparent)]
    Adopt(#[from] AdoptError),
}

/// Labels the drives and begins the journal. Cut short anywhere, the same command goes on with the same ids.
pub fn enrol(plan: &Plan) -> Result<Enrolment, EnrolError> {
    let _lock = lock(&plan.state)?;
    let Begun { mirror, drives: ids } = begin(plan)?;
    let taken_in = match plan.files {
        Files::Refused => None,
        Files::TakenIn => Some(adopt::take_in(&plan.drives)?),
    };
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
    Begun::end(&plan.state).map_err(failed(&plan.state))?;
    Ok(enrolment)
}

/// Makes the state directory and takes it: nobody else begins a journal there.
fn lock(state: &Path) -> Result<StateLock, EnrolError> {
    std::fs::create_dir_all(state).map_err(failed(state))?;
    Ok(StateLock::take_for_init(state, "init")?)
}

/// The ids to give: new ones, or those of an init that was cut short, whose journal is begun anew.
fn begin(plan: &Plan) -> Result<Begun, EnrolError> {
    let state = plan.state.as_path();
    if Begun::find(state).map_err(failed(state))? != plan.begun {
        return Err(EnrolError::Overtaken { path: state.display().to_string() });
    }
    if let Some(begun) = plan.begun {
        let journal = Mirror::journal_folder(state);
        if journal.exists() {
            std::fs::remove_dir_all(&journal).map_err(failed(&journal))?;
        }
        return Ok(begun);
    }
    let begun = Begun { mirror: MirrorId(random()), drives: PerSide::new(|_| DriveId(random())) };
    begun.write(state).map_err(failed(state))?;
    Ok(begun)
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> EnrolError + '_ {
    move |source| EnrolError::State { path: path.display().to_string(), source }
}

/// Writes a drive's label; what the drive asks of names.
fn write_label(place: &Path, label: &Label) -> Result<Namespace, EnrolError> {
    let path = || place.display().to_string();
    let volume = OsVolume::open(place).map_err(|source| EnrolError::Open { path: path(), source })?;
    let volume: &dyn Volume = &volume;
    label::create(volume, label).map_err(|source| EnrolError::Label { path: path(), source })?;
    Ok(volume.namespace())
}
