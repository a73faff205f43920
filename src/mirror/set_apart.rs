//! What a drive brings that was waived when the journal was rebuilt: its log and manifest tell of a history that this
//! journal does not go on with.

use crate::mirror::layout::{ASIDE_FOLDER, LOG_FOLDER, join};
use crate::mirror::manifest;
use crate::mirror::volume::{Disposition, Result, Volume};

/// Sets the log's segments aside, which may hold the only bytes of small files, and removes the manifest. The stages
/// are set aside like all that a journal does not know, and the tree is compared by the lane.
pub(super) fn set_apart(volume: &dyn Volume) -> Result<()> {
    let names = match volume.list(LOG_FOLDER) {
        Err(error) if error.disposition == Disposition::NotFound => return Ok(()),
        listing => listing?.names,
    };
    if !names.is_empty() && volume.stat(ASIDE_FOLDER)?.is_none() {
        volume.make_folder(ASIDE_FOLDER)?;
    }
    for name in names {
        let (from, mut to) = (join(LOG_FOLDER, &name), join(ASIDE_FOLDER, &format!("log-{name}")));
        while volume.stat(&to)?.is_some() {
            to.push('+');
        }
        tracing::warn!(from, to, "set aside: a log of before the journal was rebuilt without this drive");
        volume.rename(&from, &to)?;
    }
    volume.sync_folder(ASIDE_FOLDER)?;
    volume.sync_folder(LOG_FOLDER)?;
    manifest::remove(volume)
}
