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

    /// Writes a piece; the bytes of it that are in the page cache, to be synced at some time.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<u64> {
        let written = if self.direct.load(Ordering::Acquire) { self.write_direct(bytes, offset)? } else { 0 };
        let rest = bytes.get(written..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(0);
        }
        // The last piece's end, as a rule. Pieces that others write at this moment are not aligned any worse for it.
        if self.direct.swap(false, Ordering::AcqRel) {
            self.file.go_direct(false)?;
        }
        self.file.write_at(rest, offset + written as u64)?;
        Ok(rest.len() as u64)
    }

    /// Writes what is aligned of a piece past the page cache; how much that is.
    fn write_direct(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        let is_aligned =
            offset.is_multiple_of(DIRECT_ALIGNMENT as u64) && bytes.as_ptr().align_offset(DIRECT_ALIGNMENT) == 0;
        let whole = if is_aligned { bytes.len() - bytes.len() % DIRECT_ALIGNMENT } else { 0 };
        match self.file.write_at(bytes.get(..whole).unwrap_or_default(), offset) {
            Ok(()) => Ok(whole),
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
