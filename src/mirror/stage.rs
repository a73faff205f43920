//! The stage of a large PUT on one drive: its bytes before they have their name.

use std::sync::Arc;

use crate::ids::Ticket;
use crate::journal::Stage;
use crate::mirror::layout;
use crate::mirror::volume::{Attributes, Result, Volume, VolumeFile};

/// A stage being written. Left alone it is swept when the drive next comes.
pub(crate) struct StageFile {
    volume: Arc<dyn Volume>,
    file: Arc<dyn VolumeFile>,
}

impl StageFile {
    pub(crate) fn create(volume: Arc<dyn Volume>, ticket: Ticket) -> Result<Self> {
        let path = layout::stage(ticket);
        let file = volume.create(&path)?;
        Ok(Self { volume, file })
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file.write_at(bytes, offset)
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
