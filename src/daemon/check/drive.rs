//! One drive, from its label to the last stage.

use crate::ids::Side;
use crate::journal::audit::Audit;
use crate::journal::store::StoreError;
use crate::mirror::os_volume::OsVolume;
use crate::mirror::volume::{Volume as _, VolumeError};

use crate::daemon::check::debts;
use crate::daemon::check::find::Located;
use crate::daemon::check::kind::Kind;
use crate::daemon::check::labels;
use crate::daemon::check::left::Drives;
use crate::daemon::check::log;
use crate::daemon::check::manifest;
use crate::daemon::check::own;
use crate::daemon::check::report::{Coverage, Report};
use crate::daemon::check::tree::{self, Seen};

/// Why a look at a drive was broken off.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Compares one of the drives with the journal; what was seen on it. Where it goes away meanwhile that is said.
pub(super) fn check(audit: &Audit, drives: &Drives, side: Side, report: &mut Report<'_>) -> Option<Seen> {
    let located = drives.get(side).as_ref()?;
    report.covered(side, Coverage::NotCompared, &located.place);
    report.begin(side, audit.totals().bytes);
    match look_through(audit, drives, side, located, report) {
        Ok(seen) => {
            report.covered(side, Coverage::Checked, &located.place);
            Some(seen)
        }
        Err(error) => {
            report.obstacle(Some(side), Kind::Lost, &format!("could not be looked through to the end: {error}"));
            None
        }
    }
}

fn look_through(
    audit: &Audit,
    drives: &Drives,
    side: Side,
    located: &Located,
    report: &mut Report<'_>,
) -> Result<Seen, Broken> {
    let volume: &OsVolume = &located.volume;
    // What a killed daemon wrote may be in the page cache alone: only what is clean there can be forgotten and read
    // from the medium.
    volume.sync_all()?;
    labels::check(audit, side, volume, report)?;
    let seen = tree::walk(audit, drives, side, volume, report)?;
    debts::check(audit, drives, side, volume, &seen, report)?;
    own::check(audit, side, volume, report)?;
    log::check(audit, side, volume, &located.label, report)?;
    manifest::check(audit, side, volume, &located.label, report)?;
    volume.probe()?;
    Ok(seen)
}
