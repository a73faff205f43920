//! Looks at one place or drive. Blocks as long as the drive does: never called on an async worker.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ids::Side;
use crate::mirror::label::{self, Label, LabelError};
use crate::mirror::os_volume::{DriveLock, Identity, LockError, OsVolume};
use crate::mirror::volume::{Disposition, Volume, VolumeError};
use crate::watcher::attendance::{Judgement, Outcome, Roll};
use crate::watcher::sighting::{Departure, RefusedLabel};

/// What was found at a place.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) place: PathBuf,
    pub(super) seen: Option<Identity>,
    pub(super) outcome: Outcome,
    /// Invariant: there if and only if the outcome is `Ours`.
    pub(super) catch: Option<Catch>,
}

#[derive(Debug)]
pub(super) struct Catch {
    pub(super) label: Label,
    pub(super) volume: Arc<OsVolume>,
    pub(super) lock: DriveLock,
}

/// Looks for a drive at `place`. `known` is what was there when a look was in vain for good.
pub(super) fn look(place: PathBuf, roll: &Roll, holder: &str, known: Option<Identity>) -> Looked {
    let seen = Identity::of_place(&place).ok();
    let found = match seen {
        None => Err(Outcome::Nothing),
        Some(_) if seen == known => Err(Outcome::Unchanged),
        Some(_) => open(&place, roll, holder),
    };
    match found {
        Err(outcome) => Looked { place, seen, outcome, catch: None },
        Ok((side, catch)) => {
            let outcome = Outcome::Ours { side, identity: catch.volume.identity() };
            Looked { place, seen, outcome, catch: Some(catch) }
        }
    }
}

fn open(place: &Path, roll: &Roll, holder: &str) -> Result<(Side, Catch), Outcome> {
    let volume = OsVolume::open(place).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Outcome::Nothing,
        _ => unusable(&error),
    })?;
    let label = match label::read(&volume) {
        Ok(Some(label)) => label,
        // A bare mount point, or somebody's folder.
        Ok(None) | Err(LabelError::Missing) => return Err(Outcome::Nothing),
        Err(LabelError::Torn) => return Err(Outcome::Refused(RefusedLabel::Damaged)),
        Err(LabelError::NewerFormat { found }) => {
            return Err(Outcome::Refused(RefusedLabel::NewerFormat { found }));
        }
        Err(error @ (LabelError::OtherDrive { .. } | LabelError::Volume(_))) => return Err(unusable(&error)),
    };
    let side = match roll.judge(&label, volume.identity()) {
        Judgement::Take(side) => side,
        Judgement::Ignore => return Err(Outcome::Ignored),
        Judgement::Refuse(why) => return Err(Outcome::Refused(why)),
    };
    // The label may have come from the page cache of a drive that is gone.
    volume.probe().map_err(|error| unusable(&error))?;
    let lock = volume.lock(holder).map_err(|error| match error {
        // Something of the last visit is still under way.
        LockError::Held { holder: other } if other == holder => Outcome::Ignored,
        LockError::Held { holder } => Outcome::Refused(RefusedLabel::InUse { holder }),
        LockError::Volume(error) => unusable(&error),
    })?;
    Ok((side, Catch { label, volume: Arc::new(volume), lock }))
}

fn unusable(error: &dyn std::error::Error) -> Outcome {
    Outcome::Refused(RefusedLabel::Unusable(error.to_string()))
}

/// Whether a present drive is where it was and answers.
pub(super) fn probe(volume: &OsVolume) -> Result<(), Departure> {
    let failed = |departure: fn(VolumeError) -> Departure| {
        move |error: VolumeError| match error.disposition {
            Disposition::DriveLost => Err(departure(error)),
            Disposition::NoSpace
            | Disposition::NotFound
            | Disposition::InTheWay
            | Disposition::BadRead
            | Disposition::Refused => {
                tracing::warn!(%error, "the probe of a drive said nothing of it");
                Ok(())
            }
        }
    };
    volume.check_place().or_else(failed(|_| Departure::Moved))?;
    volume.probe_medium().or_else(failed(Departure::ProbeFailed))
}
