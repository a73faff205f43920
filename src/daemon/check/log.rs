//! The segments of a drive's log, record by record.

use crate::ids::{Arrival, Lsn, Side};
use crate::journal::Change;
use crate::journal::audit::Audit;
use crate::mirror::drive_log::scan::{Part, scan};
use crate::mirror::drive_log::{LOG_BYTES_MAX, Record};
use crate::mirror::label::Label;
use crate::mirror::layout;
use crate::mirror::os_volume::OsVolume;
use crate::mirror::volume::{Disposition, FileKind, Volume as _};

use crate::daemon::check::bytes;
use crate::daemon::check::drive::Broken;
use crate::daemon::check::kind::Kind;
use crate::daemon::check::own;
use crate::daemon::check::report::Report;

/// Checks every record's CRC and LSN. The bytes that a version still needs are checked with its debt.
pub(super) fn check(
    audit: &Audit,
    side: Side,
    volume: &OsVolume,
    label: &Label,
    report: &mut Report<'_>,
) -> Result<(), Broken> {
    let mut names = own::names(volume, layout::LOG_FOLDER)?;
    names.sort_unstable();
    for name in names {
        let path = layout::join(layout::LOG_FOLDER, &name);
        let meta = volume.stat(&path)?;
        let is_segment = meta.is_some_and(|meta| meta.kind == FileKind::File && meta.observed.size <= LOG_BYTES_MAX);
        if let Some((arrival, _)) = layout::segment_of(&name).filter(|_| is_segment) {
            check_segment(audit, side, volume, &Segment { path: &path, arrival, label }, report)?;
        } else {
            let text = "is no segment of the drive log: move it elsewhere";
            report.difference(Some(side), Some(&path), Kind::OwnUnknown, text);
        }
    }
    Ok(())
}

struct Segment<'a> {
    path: &'a str,
    arrival: Arrival,
    label: &'a Label,
}

fn check_segment(
    audit: &Audit,
    side: Side,
    volume: &OsVolume,
    segment: &Segment<'_>,
    report: &mut Report<'_>,
) -> Result<(), Broken> {
    let Segment { path, arrival, label } = *segment;
    let content = match read(volume, path)? {
        Ok(content) => content,
        Err(error) => {
            report.difference(Some(side), Some(path), Kind::Unreadable, &format!("cannot be read: {error}"));
            return Ok(());
        }
    };
    report.count_bytes(side, content.len() as u64);
    let mut ahead: Option<Lsn> = None;
    scan(&content, label.drive, arrival, |part| match part {
        Part::Record { record: Record::Committed { lsn, .. } | Record::Changed(Change { lsn, .. }), .. } => {
            ahead = ahead.max(Some(lsn).filter(|lsn| *lsn > audit.head()));
        }
        Part::Record { record: Record::Payload { .. } | Record::Staged { .. }, .. } => {}
        Part::Damage { offset, until } => {
            let text = format!(
                "no record can be read from {offset} to {until}: what a file still needs of it is named with that \
                 file; the daemon removes the segment when nothing does"
            );
            report.difference(Some(side), Some(path), Kind::LogDamaged, &text);
        }
        Part::Torn { offset } => {
            let text = format!("the last write was cut short at {offset}, as a crash leaves it");
            report.note(Some(side), Some(path), Kind::LogTorn, &text);
        }
    });
    if let Some(lsn) = ahead {
        let text = format!(
            "has LSN {lsn}, the journal only LSN {}: the journal is older than the stick; put back the newer state \
             directory, or see twinstickd adopt",
            audit.head()
        );
        report.difference(Some(side), Some(path), Kind::LogAhead, &text);
    }
    Ok(())
}

/// A segment's bytes; the inner error is about this file alone.
fn read(volume: &OsVolume, path: &str) -> Result<Result<Vec<u8>, crate::mirror::volume::VolumeError>, Broken> {
    let file = match bytes::open(volume, path)? {
        Ok(file) => file,
        Err(error) => return Ok(Err(error)),
    };
    let mut content = vec![0; file.meta()?.observed.size as usize];
    match file.read_at(&mut content, 0) {
        Ok(count) => {
            content.truncate(count);
            Ok(Ok(content))
        }
        Err(error) if error.disposition == Disposition::BadRead => Ok(Err(error)),
        Err(error) => Err(error.into()),
    }
}
