//! The stage of a large PUT on one drive: its bytes before they have their name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ids::Ticket;
use crate::journal::Stage;
use crate::mirror::layout;
use crate::mirror::volume::{Attributes, DIRECT_ALIGNMENT, Disposition, Result, Volume, VolumeFile};

/// A stage being written. Left alone it is swept when the drive next comes.
pub(crate) struct StageFile {
    volume: Arc<dyn Volume>,
    file: Arc<dyn VolumeFile>,
    /// Whether the page cache is left out: what is written then is on the medium, so that no heap of it is ahead of the
    /// next small write's sync, and the cache keeps what is read. Ends with the first piece that is not aligned.
    direct: AtomicBool,
}

impl StageFile {
    pub(crate) fn create(volume: Arc<dyn Volume>, ticket: Ticket) -> Result<Self> {
        let path = layout::stage(ticket);
        let file = volume.create(&path)?;
        let direct = AtomicBool::new(file.go_direct(true)?);
        Ok(Self { volume, file, direct })
    }

    /// Writes pieces that follow one another; the bytes of them that are in the page cache, to be synced at some time.
    pub(crate) fn write_at(&self, pieces: &[&[u8]], offset: u64) -> Result<u64> {
        let len: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let written = if self.direct.load(Ordering::Acquire) { self.write_direct(pieces, offset)? } else { 0 };
        if written == len {
            return Ok(0);
        }
        // The last piece's end, as a rule. Pieces that others write at this moment are not aligned any worse for it.
        if self.direct.swap(false, Ordering::AcqRel) {
            self.file.go_direct(false)?;
        }
        self.file.write_pieces_at(&behind(pieces, written), offset + written)?;
        Ok(len - written)
    }

    /// Writes what is aligned at the beginning of pieces past the page cache; how much that is.
    fn write_direct(&self, pieces: &[&[u8]], offset: u64) -> Result<u64> {
        let aligned = aligned_of(pieces, offset);
        let len = aligned.iter().map(|piece| piece.len() as u64).sum();
        if len == 0 {
            return Ok(0);
        }
        match self.file.write_pieces_at(&aligned, offset) {
            Ok(()) => Ok(len),
            // A file system that says yes and asks for more than a page. It has written nothing.
            Err(error) if error.disposition == Disposition::Refused => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Makes the bytes so far durable, so that the last sync is short.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync()
    }

    /// Makes bytes, attributes and name durable.
    pub(crate) fn finish(&self, attributes: Attributes) -> Result<Stage> {
        self.file.set_attributes(attributes)?;
        self.file.sync()?;
        self.volume.sync_folder(layout::STAGE_FOLDER)?;
        Ok(Stage::File)
    }
}

/// What can go past the page cache, up to the first byte that cannot.
fn aligned_of<'a>(pieces: &[&'a [u8]], mut offset: u64) -> Vec<&'a [u8]> {
    let mut aligned = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let is_aligned =
            offset.is_multiple_of(DIRECT_ALIGNMENT as u64) && piece.as_ptr().align_offset(DIRECT_ALIGNMENT) == 0;
        let len = if is_aligned { piece.len() - piece.len() % DIRECT_ALIGNMENT } else { 0 };
        aligned.extend(piece.get(..len).filter(|whole| !whole.is_empty()));
        if len < piece.len() {
            break;
        }
        offset += len as u64;
    }
    aligned
}

/// Pieces without their first `len` bytes.
fn behind<'a>(pieces: &[&'a [u8]], mut len: u64) -> Vec<&'a [u8]> {
    let mut rest = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let gone = len.min(piece.len() as u64);
        len -= gone;
        rest.extend(piece.get(gone as usize..).filter(|rest| !rest.is_empty()));
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(4096))]
    struct Page([u8; 3 * DIRECT_ALIGNMENT]);

    #[test]
    fn what_is_aligned_ends_with_the_first_byte_that_is_not_and_the_rest_follows() {
        let page = &Page([0; 3 * DIRECT_ALIGNMENT]).0;
        let (one, two) = page.split_at(DIRECT_ALIGNMENT);
        let odd = two.get(..DIRECT_ALIGNMENT + 7).unwrap_or_default();
        let shifted = two.get(1..=DIRECT_ALIGNMENT).unwrap_or_default();
        let at = 5 * DIRECT_ALIGNMENT as u64;
        for (pieces, offset, expected) in [
            (&[one, two][..], at, vec![one.len(), two.len()]),
            (&[one, odd, one], at, vec![one.len(), DIRECT_ALIGNMENT]),
            (&[one, shifted], at, vec![one.len()]),
            (&[shifted, one], at, vec![]),
            (&[one], at + 1, vec![]),
            (&[], at, vec![]),
        ] {
            let aligned = aligned_of(pieces, offset);
            assert_eq!(aligned.iter().map(|piece| piece.len()).collect::<Vec<_>>(), expected);
            let (all, whole): (usize, usize) = (pieces.iter().map(|piece| piece.len()).sum(), expected.iter().sum());
            let rest = behind(pieces, whole as u64);
            assert_eq!(rest.iter().map(|piece| piece.len()).sum::<usize>(), all - whole);
            assert!(rest.iter().all(|piece| !piece.is_empty()));
        }
    }
}
