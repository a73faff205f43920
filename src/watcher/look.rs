//! Looks at one place or drive. Blocks as long as the drive does: never called on an async worker.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ids::Side;
use crate::mirror::label::{self, Label, LabelError};
use crate::mirror::os_volume::{DriveLock, Identity, LockError, OsVolume};
use crate::mirror::volume::{Disposition, Volume, VolumeError};
use crate::watcher::attendance::{Judgement, Outcome, Roll};
use crate::watcher::mounts;
use crate::watcher::sighting::{Departure, RefusedLabel};
use crate::watcher::watch::Ground;

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

/// What a place is to this mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaceKind {
    /// A drive's own: whatever is mounted there is meant for the mirror.
    Known,
    /// One that a pattern names: other people's sticks are none of our business.
    Matched,
}

/// What is looked for, the same at all places.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) roll: Roll,
    pub(super) ground: Ground,
    /// Written into the drives' locks.
    pub(super) holder: String,
}

/// Looks for a drive at `place`. `known` is what was there when a look was in vain for good.
pub(super) fn look(place: PathBuf, kind: PlaceKind, search: &Search, known: Option<Identity>) -> Looked {
    let seen = Identity::of_place(&place).ok();
    let found = match seen {
        None => Err(Outcome::Nothing),
        Some(_) if seen == known => Err(Outcome::Unchanged),
        Some(_) => open(&place, kind, search),
    };
    match found {
        Err(outcome) => Looked { place, seen, outcome, catch: None },
        Ok((side, catch)) => {
            let outcome = Outcome::Ours { side, identity: catch.volume.identity() };
            Looked { place, seen, outcome, catch: Some(catch) }
        }
    }
}

fn open(place: &Path, kind: PlaceKind, search: &Search) -> Result<(Side, Catch), Outcome> {
    let volume = OsVolume::open(place).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Outcome::Nothing,
        _ => unusable(&error),
    })?;
    let label = match label::read(&volume) {
        Ok(Some(label)) => label,
        Ok(None) | Err(LabelError::Missing) => {
            return Err(match kind {
                PlaceKind::Known if is_mounted(&volume) => Outcome::Refused(RefusedLabel::NoLabel),
                // A bare mount point, or somebody's folder.
                PlaceKind::Known | PlaceKind::Matched => Outcome::Nothing,
            });
        }
        Err(LabelError::Torn) => return Err(Outcome::Refused(RefusedLabel::Damaged)),
        Err(LabelError::NewerFormat { found }) => {
            return Err(Outcome::Refused(RefusedLabel::NewerFormat { found }));
        }
        Err(error @ (LabelError::OtherDrive { .. } | LabelError::Volume(_))) => return Err(unusable(&error)),
    };
    let side = match search.roll.judge(&label, volume.identity()) {
        Judgement::Take(side) => side,
        Judgement::Ignore => return Err(Outcome::Ignored),
        Judgement::LeaveAlone => return Err(Outcome::LeftAlone),
        Judgement::Refuse(why) => return Err(Outcome::Refused(why)),
    };
    match search.ground {
        // Somebody copied a stick into its bare mount point, say: the next stick mounted there hides it.
        Ground::FileSystems if !is_mounted(&volume) => {
            return Err(Outcome::Refused(RefusedLabel::NotMounted { side }));
        }
        Ground::FileSystems | Ground::AnyFolder => {}
    }
    if volume.is_read_only().map_err(|error| unusable(&error))? {
        return Err(Outcome::Refused(RefusedLabel::ReadOnly { side }));
    }
    // The label may have come from the page cache of a drive that is gone.
    volume.probe().map_err(|error| unusable(&error))?;
    let holder = search.holder.as_str();
    let lock = volume.lock(holder).map_err(|error| match error {
        // Something of the last visit is still under way.
        LockError::Held { holder: other } if other == holder => Outcome::Ignored,
        LockError::Held { holder } => Outcome::Refused(RefusedLabel::InUse { holder }),
        // What statfs does not say of a file system that met an error (ext4 since Linux 6.15).
        LockError::Volume(error) if error.source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            Outcome::Refused(RefusedLabel::ReadOnly { side })
        }
        LockError::Volume(error) => unusable(&error),
    })?;
    Ok((side, Catch { label, volume: Arc::new(volume), lock }))
}

/// Whether a file system of its own begins there. A bind mount of the disk around it is none: it leaves with no stick.
fn is_mounted(volume: &OsVolume) -> bool {
    let own = volume.identity();
    // The root of all has itself above it.
    Identity::of_place(&volume.place().join("..")).is_ok_and(|above| above.dev != own.dev || above.ino == own.ino)
}

fn is_listed_read_only(volume: Identity) -> bool {
    let Some((table, mount)) = mounts::read().zip(volume.mount) else { return false };
    table.get(mount).is_some_and(|mount| mount.is_read_only)
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
            | Disposition::Refused
            | Disposition::Shortage => {
                tracing::warn!(%error, "the probe of a drive said nothing of it");
                Ok(())
            }
        }
    };
    volume.check_place().or_else(failed(|_| Departure::Moved))?;
    // A file system that met an error turns read-only by itself (errors=remount-ro).
    let said = volume.is_read_only().or_else(|error| failed(Departure::ProbeFailed)(error).map(|()| false))?;
    if said || is_listed_read_only(volume.identity()) {
        return Err(Departure::ReadOnly);
    }
    volume.probe_medium().or_else(failed(Departure::ProbeFailed))
}
