//! One drive, from its label to the last stage.

use crate::ids::Side;
use crate::journal::audit::Audit;
use crate::journal::store::StoreError;
use crate::journal::{Copy, FileNode};
use crate::mirror::os_volume::OsVolume;
use crate::mirror::volume::{Volume as _, VolumeError};

use crate::daemon::check::debts;
use crate::daemon::check::find::Located;
use crate::daemon::check::kind::Kind;
use crate::daemon::check::labels;
use crate::daemon::check::log;
use crate::daemon::check::manifest;
use crate::daemon::check::own;
use crate::daemon::check::report::{Coverage, Report};
use crate::daemon::check::tree;

/// Why a look at a drive was broken off.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Compares one drive with the journal. Where it goes away meanwhile that is said.
pub(super) fn check(audit: &Audit, side: Side, located: &Located, report: &mut Report<'_>) {
    report.begin(side, audit.totals().bytes);
    match look_through(audit, side, located, report) {
        Ok(()) => report.covered(side, Coverage::Checked, &located.place),
        Err(error) => {
            report.covered(side, Coverage::NotCompared, &located.place);
            report.obstacle(Some(side), Kind::Lost, &format!("could not be looked through to the end: {error}"));
        }
    }
}

fn look_through(audit: &Audit, side: Side, located: &Located, report: &mut Report<'_>) -> Result<(), Broken> {
    let volume: &OsVolume = &located.volume;
    // What a killed daemon wrote may be in the page cache alone: only what is clean there can be forgotten and read
    // from the medium.
    volume.sync_all()?;
    labels::check(audit, side, volume, report)?;
    let seen = tree::walk(audit, side, volume, report)?;
    debts::check(audit, side, volume, &seen, report)?;
    own::check(audit, side, volume, report)?;
    log::check(audit, side, volume, &located.label, report)?;
    manifest::check(audit, side, volume, &located.label, report)?;
    volume.probe()?;
    Ok(())
}

/// What becomes of a damaged or missing copy.
pub(super) fn remedy(side: Side, file: &FileNode) -> String {
    let other = side.other();
    match file.copies.get(other) {
        Copy::Installed { .. } | Copy::Staged(_) => {
            format!("the daemon repairs it from {other} when it is read")
        }
        Copy::Missing => format!("drive {other} does not have this version: store it again from elsewhere"),
    }
}
