//! Reading and comparing the bytes of a version on a drive.

use std::sync::Arc;

use crate::digest::{BLOCK_BYTES, Crc32};
use crate::journal::{Observed, Version};
use crate::mirror::volume::{Disposition, FileKind, Result, Volume, VolumeError, VolumeFile};

/// What lies under a name, compared with what should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Same(Observed),
    Other,
}

/// Compares a file with what was observed of it; where that is not known, or is not what is seen now, with its
/// bytes: a time stamp alone makes no other file.
pub(crate) fn compare(volume: &dyn Volume, path: &str, version: &Version, observed: Option<Observed>) -> Result<Found> {
    match (observed, volume.stat(path)?) {
        (_, None) => Ok(Found::Nothing),
        (Some(observed), Some(meta)) if meta.kind == FileKind::File && meta.observed == observed => {
            Ok(Found::Same(observed))
        }
        (_, Some(_)) => compare_bytes(volume, path, version),
    }
}

/// Compares a file with a version by its length and the CRC-32 of its bytes.
pub(crate) fn compare_bytes(volume: &dyn Volume, path: &str, version: &Version) -> Result<Found> {
    let Some(meta) = volume.stat(path)? else { return Ok(Found::Nothing) };
    if meta.kind != FileKind::File || meta.observed.size != version.size {
        return Ok(Found::Other);
    }
    let file = match volume.open(path) {
        Ok(file) => file,
        Err(error) if error.disposition == Disposition::BadRead => return Ok(Found::Other),
        Err(error) => return Err(error),
    };
    file.forget_cached()?;
    match crc_of(&file, 0, version.size) {
        Ok(crc) if crc == version.crc32 => Ok(Found::Same(meta.observed)),
        Ok(_) => Ok(Found::Other),
        Err(error) if error.disposition == Disposition::BadRead => Ok(Found::Other),
        Err(error) => Err(error),
    }
}

/// The CRC-32 of `size` bytes of a file from `offset` on, or of as many as there are.
pub(crate) fn crc_of(file: &Arc<dyn VolumeFile>, offset: u64, size: u64) -> Result<Crc32> {
    let mut hasher = crc32fast::Hasher::new();
    let read = |bytes: &[u8], _: u64| {
        hasher.update(bytes);
        Ok(())
    };
    pour(file, offset, size, read)?;
    Ok(Crc32(hasher.finalize()))
}

/// Reads `size` bytes from `offset` on, block by block, into `take`, which gets each block and its position.
/// Ends early where the file does.
pub(crate) fn pour<E: From<VolumeError>>(
    file: &Arc<dyn VolumeFile>,
    offset: u64,
    size: u64,
    mut take: impl FnMut(&[u8], u64) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut buffer = vec![0; BLOCK_BYTES.min(size as usize)];
    let mut done = 0;
    while done < size {
        let want = (size - done).min(BLOCK_BYTES as u64) as usize;
        let part = buffer.get_mut(..want).unwrap_or_default();
        let read = file.read_at(part, offset + done)?;
        take(part.get(..read).unwrap_or_default(), done)?;
        if read < want {
            return Ok(());
        }
        done += read as u64;
    }
    Ok(())
}
