//! What a cut in the midst of a move leaves on FAT: the new name, and nothing that it leads to.

use std::collections::BTreeSet;

use crate::journal::{Catalog, Place};
use crate::mirror::lane::LaneError;
use crate::mirror::lane::search::Search;
use crate::mirror::layout;
use crate::mirror::volume::{FileKind, FsKind};

impl Search<'_> {
    /// Removes names that a lane was about to give, where nobody wants them any more. They would be taken for somebody's
    /// new, empty files: what clients removed or moved away meanwhile would be back.
    pub(super) fn sweep_halves(&mut self) -> Result<(), LaneError> {
        if self.volume.kind() == FsKind::Atomic {
            return Ok(());
        }
        let places: BTreeSet<Place> = self.doubtful.values().flat_map(|debt| debt.claims()).cloned().collect();
        for place in places {
            // What is wanted there meets it, and knows that it may be half of the mirror's own.
            if self.journal.snapshot().node(&place)?.is_some() {
                continue;
            }
            let Some(folder) = self.folder_path(place.parent)? else { continue };
            let path = layout::join(&folder, place.name.as_str());
            let empty = self.volume.stat(&path)?;
            let is_empty = empty.is_some_and(|meta| meta.kind == FileKind::File && meta.observed.size == 0);
            if is_empty && !self.is_claimed(&path) {
                tracing::info!(drive = %self.side, path, "half a move, from before the power was cut: removed");
                self.volume.remove_file(&path)?;
            }
        }
        Ok(())
    }
}
