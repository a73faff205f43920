//! What lies in twinstick's own folder on a drive, apart from labels, log and limbo.

use crate::ids::Side;
use crate::journal::audit::Audit;
use crate::mirror::label::SLOT_PATHS;
use crate::mirror::layout;
use crate::mirror::os_volume::{LOCK_PATH, OsVolume};
use crate::mirror::volume::Disposition;
use crate::path::OWN_FOLDER;
use crate::units::count;

use crate::daemon::check::drive::Broken;
use crate::daemon::check::kind::Kind;
use crate::daemon::check::report::Report;

/// Checks that nothing lies there that the daemon did not make, and counts what it set aside.
pub(super) fn check(audit: &Audit, side: Side, volume: &OsVolume, report: &mut Report<'_>) -> Result<(), Broken> {
    for name in names(volume, OWN_FOLDER)? {
        let path = layout::join(OWN_FOLDER, &name);
        let own = layout::OWN_FOLDERS.iter().chain(&SLOT_PATHS).chain([&LOCK_PATH, &layout::PROOF]);
        if !own.into_iter().any(|own| *own == path) {
            let text = "is not twinstick's: move it elsewhere";
            report.difference(Some(side), Some(&path), Kind::OwnUnknown, text);
        }
    }
    let aside = names(volume, layout::ASIDE_FOLDER)?.iter().filter(|name| layout::lies_aside(name)).count();
    if aside > 0 {
        let things = count(aside as u64, "thing");
        let text = format!("{things} set aside: 'fget aside' lists them, 'fget aside drop' removes what nobody needs");
        report.note(Some(side), Some(layout::ASIDE_FOLDER), Kind::Aside, &text);
    }
    check_stages(audit, side, volume, report)
}

/// A stage of a ticket that this journal gave out is needed, which is checked with the debt, or was never
/// acknowledged: then the daemon removes it.
fn check_stages(audit: &Audit, side: Side, volume: &OsVolume, report: &mut Report<'_>) -> Result<(), Broken> {
    for name in names(volume, layout::STAGE_FOLDER)? {
        if !layout::staged(&name).is_some_and(|(ticket, _)| audit.knows(ticket)) {
            let path = layout::join(layout::STAGE_FOLDER, &name);
            let text = "is no stage of this mirror: the daemon sets it aside when the drive next comes";
            report.difference(Some(side), Some(&path), Kind::StageUnknown, text);
        }
    }
    Ok(())
}

/// Names in a folder of the drive's own; none where it was never made.
pub(super) fn names(volume: &OsVolume, path: &str) -> Result<Vec<String>, Broken> {
    match volume.names(path) {
        Ok(names) => Ok(names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect()),
        Err(error) if error.disposition == Disposition::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}
