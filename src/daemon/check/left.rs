//! What is left of a file on both drives together.

use crate::digest::{BLOCK_BYTES, Crc32};
use crate::ids::{NodeId, PerSide, Side};
use crate::journal::audit::Audit;
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Copy, FileNode, Place, Stage};
use crate::mirror::places::{self, Source};
use crate::mirror::volume::{Disposition, FileKind, Volume as _};

use crate::daemon::check::bytes;
use crate::daemon::check::drive::Broken;
use crate::daemon::check::find::Located;
use crate::daemon::check::report::Report;

/// The drives that are there.
pub(super) type Drives = PerSide<Option<Located>>;

/// What the drives that are there have of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Each block is right on one of them at least.
    Whole,
    /// Blocks are right on none of them.
    Part,
    /// A drive that is away may have it, or it cannot be told what is right.
    Unknown,
}

/// What becomes of a damaged or missing copy.
pub(super) fn remedy(
    audit: &Audit,
    drives: &Drives,
    side: Side,
    place: &Place,
    file: &FileNode,
    report: &mut Report<'_>,
) -> Result<String, Broken> {
    let other = side.other();
    let repaired = format!("the daemon repairs it from {other} when it is read");
    Ok(match (left(audit, drives, place, file, report)?, file.copies.get(other).is_durable()) {
        (Left::Whole, _) | (Left::Unknown, true) => repaired,
        (Left::Part, true) => {
            let path = audit.path_of(place)?.map_or_else(|| place.name.to_string(), |path| path.to_string());
            format!(
                "no whole copy is left, {other} does not have the right bytes either: put it again, or 'fget rm {path}'"
            )
        }
        (Left::Part | Left::Unknown, false) => {
            format!("drive {other} does not have this version: store it again from elsewhere")
        }
    })
}

/// Whether a drive that is there lacks a folder.
pub(super) fn is_without_folder(audit: &Audit, drives: &Drives, side: Side, id: NodeId) -> Result<bool, Broken> {
    let Some(located) = drives.get(side) else { return Ok(false) };
    match places::folder_path(audit, side, id) {
        // Told where that drive itself is looked through, if it cannot be read.
        Ok(Some(path)) => Ok(matches!(located.volume.stat(&path), Ok(None))),
        Ok(None) => Ok(true),
        Err(StoreError::Corrupt(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Reads what both drives have of a version, block by block.
fn left(
    audit: &Audit,
    drives: &Drives,
    place: &Place,
    file: &FileNode,
    report: &mut Report<'_>,
) -> Result<Left, Broken> {
    let mut digests = match audit.block_digests(file) {
        Ok(digests) => digests,
        Err(StoreError::Corrupt(_)) => return Ok(Left::Unknown),
        Err(error) => return Err(error.into()),
    };
    if digests.is_empty() {
        // Of an empty file there is a name alone.
        digests.push(Crc32::default());
    }
    let mut lacking: Vec<_> = digests.into_iter().map(Some).collect();
    for (side, located) in drives.iter() {
        let source = match recorded(audit, side, place, file) {
            Ok(Some(source)) => source,
            Ok(None) => continue,
            Err(StoreError::Corrupt(_)) => return Ok(Left::Unknown),
            Err(error) => return Err(error.into()),
        };
        let Some(located) = located else { return Ok(Left::Unknown) };
        match strike(located, side, &source, file, &mut lacking, report) {
            Ok(()) => {}
            // Told where that drive itself is looked through.
            Err(Broken::Volume(_)) => return Ok(Left::Unknown),
            Err(error @ Broken::Store(_)) => return Err(error),
        }
    }
    Ok(if lacking.iter().all(Option::is_none) { Left::Whole } else { Left::Part })
}

fn recorded(audit: &Audit, side: Side, place: &Place, file: &FileNode) -> Result<Option<Source>, StoreError> {
    match places::source(audit, side, place, file)? {
        Some(source) => Ok(Some(source)),
        None => places::doubtful(audit, side, file),
    }
}

/// Strikes out the blocks that a drive has right.
fn strike(
    located: &Located,
    side: Side,
    source: &Source,
    file: &FileNode,
    lacking: &mut [Option<Crc32>],
    report: &mut Report<'_>,
) -> Result<(), Broken> {
    let (volume, len) = (&located.volume, file.version.size);
    let Some(meta) = volume.stat(&source.path)? else { return Ok(()) };
    let is_in_log = matches!(file.copies.get(side), Copy::Staged(Stage::Log { .. }));
    if meta.kind != FileKind::File || (!is_in_log && meta.observed.size != len) {
        return Ok(());
    }
    let Ok(handle) = bytes::open(volume, &source.path)? else { return Ok(()) };
    let mut buffer = vec![0; BLOCK_BYTES.min(len as usize)];
    for (number, lacked) in lacking.iter_mut().enumerate() {
        let Some(digest) = *lacked else { continue };
        let at = (number * BLOCK_BYTES) as u64;
        let want = len.saturating_sub(at).min(BLOCK_BYTES as u64) as usize;
        let block = buffer.get_mut(..want).unwrap_or_default();
        let count = match handle.read_at(block, source.offset + at) {
            Ok(count) => count,
            Err(error) if error.disposition == Disposition::BadRead => continue,
            Err(error) => return Err(error.into()),
        };
        report.count_bytes(side, count as u64);
        if count == want && Crc32(crc32fast::hash(block)) == digest {
            *lacked = None;
        }
    }
    Ok(())
}
