//! Setting aside what is in the way and not ours to destroy.

use crate::mirror::lane::{Batch, Lane};
use crate::mirror::layout;
use crate::mirror::volume::{Disposition, Result};

/// Things set aside on one drive before the lane leaves what is in its way.
pub(super) const ASIDE_MAX: u64 = 10_000;

impl Lane {
    /// Moves a file or folder that the mirror did not write into the aside folder; false where that is full.
    pub(super) fn set_aside(&mut self, batch: &mut Batch, path: &str) -> Result<bool> {
        if self.work.aside >= ASIDE_MAX {
            return Ok(false);
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        let folder = loop {
            let folder = layout::join(layout::ASIDE_FOLDER, &format!("{}.{}", self.arrival, self.drafts));
            self.drafts += 1;
            match self.volume.make_folder(&folder) {
                Ok(()) => break folder,
                Err(error) if error.disposition == Disposition::InTheWay => {}
                Err(error) => return Err(error),
            }
        };
        let to = layout::join(&folder, name);
        self.volume.rename(path, &to)?;
        tracing::warn!(drive = %self.side, from = path, to, "set aside: not what the mirror wrote");
        self.work.aside += 1;
        batch.touch(path);
        batch.touch(&to);
        batch.touch(&folder);
        Ok(true)
    }
}
