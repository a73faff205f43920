//! The bytes of one version against what lies on a drive.

use std::sync::Arc;

use crate::digest::{BLOCK_BYTES, Crc32};
use crate::ids::Side;
use crate::journal::audit::Audit;
use crate::journal::store::StoreError;
use crate::journal::{Catalog, FileNode};
use crate::mirror::content::pour;
use crate::mirror::volume::{Disposition, FileKind, Volume, VolumeError, VolumeFile};

use crate::daemon::check::drive::Broken;
use crate::daemon::check::kind::Kind;
use crate::daemon::check::report::Report;

/// Where the bytes of a version should lie.
pub(super) struct Range<'a> {
    pub(super) path: &'a str,
    pub(super) offset: u64,
    pub(super) extent: Extent,
}

/// Whether a file is all of a version, or has it somewhere in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    Part,
}

/// What was found instead of a version.
#[derive(Debug)]
pub(super) enum Wrong {
    Missing,
    Kind(FileKind),
    Size {
        actual: u64,
        expected: u64,
    },
    Block {
        offset: u64,
        actual: Crc32,
        expected: Crc32,
    },
    /// The blocks are right and the whole is not: the catalog contradicts itself.
    Whole {
        actual: Crc32,
        expected: Crc32,
    },
    Unreadable {
        offset: u64,
        error: VolumeError,
    },
}

impl Wrong {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Missing => Kind::Missing,
            Self::Kind(_) => Kind::Mistyped,
            Self::Size { .. } => Kind::WrongSize,
            Self::Block { .. } => Kind::WrongBytes,
            Self::Whole { .. } => Kind::CatalogBroken,
            Self::Unreadable { .. } => Kind::Unreadable,
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Missing => "is missing".to_owned(),
            Self::Kind(FileKind::Folder) => "is a folder, the catalog says a file".to_owned(),
            Self::Kind(FileKind::File | FileKind::Other) => "is no plain file".to_owned(),
            Self::Size { actual, expected } => format!("has {actual} bytes, the catalog says {expected}"),
            Self::Block { offset, actual, expected } => {
                format!("bytes differ at {offset} (CRC-32 {actual}, catalog says {expected})")
            }
            Self::Whole { actual, expected } => {
                format!("CRC-32 of the whole is {actual}, the catalog says {expected}, and says so of no block")
            }
            Self::Unreadable { offset, error } => format!("cannot be read at {offset} ({error})"),
        }
    }
}

/// Compares a range with a version, block by block; nothing where all is right.
pub(super) fn compare(
    audit: &Audit,
    volume: &dyn Volume,
    report: &mut Report<'_>,
    side: Side,
    range: &Range<'_>,
    file: &FileNode,
) -> Result<Option<Wrong>, Broken> {
    let Some(meta) = volume.stat(range.path)? else { return Ok(Some(Wrong::Missing)) };
    if meta.kind != FileKind::File {
        return Ok(Some(Wrong::Kind(meta.kind)));
    }
    let (actual, expected) = (meta.observed.size, file.version.size);
    if range.extent == Extent::Whole && actual != expected {
        return Ok(Some(Wrong::Size { actual, expected }));
    }
    let digests = match audit.block_digests(file) {
        Ok(digests) => digests,
        // Told as the catalog's own; the whole can be compared all the same.
        Err(StoreError::Corrupt(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    report.count_file(side);
    match open(volume, range.path)? {
        Ok(handle) => read(report, side, handle.as_ref(), range.offset, file, &digests),
        Err(error) => Ok(Some(Wrong::Unreadable { offset: 0, error })),
    }
}

fn read(
    report: &mut Report<'_>,
    side: Side,
    handle: &dyn VolumeFile,
    start: u64,
    file: &FileNode,
    digests: &[Crc32],
) -> Result<Option<Wrong>, Broken> {
    let len = file.version.size;
    let mut whole = crc32fast::Hasher::new();
    let mut buffer = vec![0; BLOCK_BYTES.min(len as usize)];
    let mut at = 0;
    while at < len {
        let want = (len - at).min(BLOCK_BYTES as u64) as usize;
        let block = buffer.get_mut(..want).unwrap_or_default();
        let count = match handle.read_at(block, start + at) {
            Ok(count) => count,
            Err(error) if error.disposition == Disposition::BadRead => {
                return Ok(Some(Wrong::Unreadable { offset: at, error }));
            }
            Err(error) => return Err(error.into()),
        };
        report.count_bytes(side, count as u64);
        if count < want {
            return Ok(Some(Wrong::Size { actual: at + count as u64, expected: len }));
        }
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(block);
        whole.combine(&hasher);
        let actual = Crc32(hasher.finalize());
        if let Some(expected) = digests.get((at / BLOCK_BYTES as u64) as usize).filter(|digest| **digest != actual) {
            return Ok(Some(Wrong::Block { offset: at, actual, expected: *expected }));
        }
        at += want as u64;
    }
    let (actual, expected) = (Crc32(whole.finalize()), file.version.crc32);
    Ok((actual != expected).then_some(Wrong::Whole { actual, expected }))
}

/// The CRC-32 of a whole file as the medium has it; nothing where it cannot be read in full.
pub(super) fn crc_of(
    volume: &dyn Volume,
    report: &mut Report<'_>,
    side: Side,
    path: &str,
    len: u64,
) -> Result<Option<Crc32>, Broken> {
    report.count_file(side);
    let Ok(handle) = open(volume, path)? else { return Ok(None) };
    let mut hasher = crc32fast::Hasher::new();
    let mut count = 0;
    let poured = pour::<VolumeError>(&handle, 0, len, |bytes, _| {
        hasher.update(bytes);
        count += bytes.len() as u64;
        Ok(())
    });
    report.count_bytes(side, count);
    match poured {
        Ok(()) => Ok((count == len).then(|| Crc32(hasher.finalize()))),
        Err(error) if error.disposition == Disposition::BadRead => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens a file so that what is read next is the medium's; the inner error is about this file alone.
pub(super) fn open(volume: &dyn Volume, path: &str) -> Result<Result<Arc<dyn VolumeFile>, VolumeError>, Broken> {
    match volume.open(path).and_then(|file| file.forget_cached().map(|()| file)) {
        Ok(file) => Ok(Ok(file)),
        Err(error) => match error.disposition {
            Disposition::DriveLost | Disposition::Shortage => Err(error.into()),
            Disposition::NoSpace
            | Disposition::NotFound
            | Disposition::InTheWay
            | Disposition::BadRead
            | Disposition::Refused => Ok(Err(error)),
        },
    }
}
