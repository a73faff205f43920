//! Whether a drive's manifest can be read: the journal could not be rebuilt from a bad one.

use crate::ids::{Lsn, Side};
use crate::journal::audit::Audit;
use crate::mirror::label::Label;
use crate::mirror::layout::MANIFEST_FOLDER;
use crate::mirror::manifest::{Manifest, Problem, Said, read};
use crate::mirror::os_volume::OsVolume;

use crate::daemon::check::drive::Broken;
use crate::daemon::check::kind::Kind;
use crate::daemon::check::report::Report;

pub(super) fn check(
    audit: &Audit,
    side: Side,
    volume: &OsVolume,
    label: &Label,
    report: &mut Report<'_>,
) -> Result<(), Broken> {
    let mut ahead: Option<Lsn> = None;
    let mut problems = Vec::new();
    let manifest = read(
        volume,
        label.drive,
        |said| match said {
            Said::Node(change) => ahead = ahead.max(Some(change.lsn).filter(|lsn| *lsn > audit.head())),
            Said::Head(_) | Said::Log(_) => {}
        },
        |problem| problems.push(problem),
    )?;
    for problem in &problems {
        tell(side, problem, report);
    }
    if let Some(lsn) = ahead {
        let text = format!("has LSN {lsn}, the journal only LSN {}: the journal is older than the stick", audit.head());
        report.difference(Some(side), Some(MANIFEST_FOLDER), Kind::LogAhead, &text);
    }
    match manifest {
        Manifest::Whole => {}
        Manifest::None => {
            let text = "has no manifest yet: the daemon writes one when there is room";
            report.note(Some(side), Some(MANIFEST_FOLDER), Kind::ManifestPartial, text);
        }
        Manifest::Partial => {
            let text = "lacks changes: the daemon writes a new one when there is room";
            report.note(Some(side), Some(MANIFEST_FOLDER), Kind::ManifestPartial, text);
        }
    }
    Ok(())
}

fn tell(side: Side, problem: &Problem, report: &mut Report<'_>) {
    let side = Some(side);
    let kind = Kind::ManifestDamaged;
    match problem {
        Problem::Damaged { path, offset, part: 0 } => {
            let text = format!("no record can be read from {offset} on: {REMEDY}");
            report.difference(side, Some(path), kind, &text);
        }
        Problem::Damaged { path, offset, .. } | Problem::Torn { path, offset } => {
            let text = format!("a write was cut short at {offset}, as a crash leaves it");
            report.note(side, Some(path), Kind::LogTorn, &text);
        }
        Problem::Unreadable { path, error } => {
            report.difference(side, Some(path), kind, &format!("cannot be read: {error}; {REMEDY}"));
        }
        Problem::OtherDrive { path, drive } => {
            report.difference(side, Some(path), kind, &format!("is that of drive {drive}; {REMEDY}"));
        }
        Problem::Short { path } => {
            report.difference(side, Some(path), kind, &format!("is not whole; {REMEDY}"));
        }
    }
}

const REMEDY: &str = "remove the files of .twinstick/manifest, and the daemon writes them anew";
