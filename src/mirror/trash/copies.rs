//! Whether what is to be brought back is still there: others may have emptied a drive's trash.

use std::sync::Arc;
use std::time::Duration;

use crate::ids::{Lsn, Side};
use crate::journal::store::StoreError;
use crate::journal::{Catalog, FileNode, Kept, Node, Place};
use crate::mirror::attachment::Attachment;
use crate::mirror::core::Core;
use crate::mirror::fair::{Class, Flow};
use crate::mirror::mirror::Mirror;
use crate::mirror::mutate::unreadable;
use crate::mirror::places::{self, Source};
use crate::mirror::refusal::Refusal;
use crate::mirror::volume::{FileKind, Volume};
use crate::path::RelPath;

/// A file that a lane may be moving is looked for so often, so far apart.
const MOVING_MAX: u32 = 20;
const MOVING_PAUSE: Duration = Duration::from_millis(50);

/// What a look at a drive said of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    There,
    Missing,
    /// Nobody knows: the drive has left, or it did not tell.
    Unknown,
}

impl Mirror {
    /// Refuses to bring back a file of which no drive that is there has a copy. A look at its name, size and kind: its
    /// bytes are for whoever reads it.
    pub(super) async fn check_copies(&self, path: &RelPath, lsn: Option<Lsn>) -> Result<(), Refusal> {
        let versions = self.versions(path)?;
        let kept = match lsn {
            None => versions.last(),
            Some(lsn) => versions.iter().find(|kept| kept.lsn == lsn),
        };
        // Of what is not there the commit tells.
        let Some((place, file)) = kept.map(|kept| self.kept_file(kept)).transpose()?.flatten() else { return Ok(()) };
        let attachments = self.core.attachments();
        if attachments.is_empty() {
            return Ok(());
        }
        for attachment in &attachments {
            match look(&self.core, attachment, &place, &file).await? {
                Looked::There | Looked::Unknown => return Ok(()),
                Looked::Missing => {}
            }
        }
        let is_away = |side: &Side| attachments.iter().all(|attachment| attachment.side != *side);
        let holder = Side::BOTH.into_iter().find(|side| is_away(side) && file.copies.get(*side).is_durable());
        let message = match holder {
            Some(holder) => format!(
                "the old version of {path} is only on drive {holder}, which is not there: plug in and mount drive \
                 {holder}, then bring it back"
            ),
            None => format!(
                "no drive has the old version of {path} any more: somebody took it out of .twinstick/trash; 'fget trash \
                 {path}' lists other versions"
            ),
        };
        Err(Refusal::Unavailable { drive: holder, message })
    }

    fn kept_file(&self, kept: &Kept) -> Result<Option<(Place, FileNode)>, Refusal> {
        let Some(place) = kept.remains.place() else { return Ok(None) };
        match self.core.journal.snapshot().node(&place).map_err(unreadable)? {
            Some(Node::File(file)) => Ok(Some((place, file))),
            Some(Node::Folder(_)) | None => Ok(None),
        }
    }
}

/// Looks for a drive's copy where it is recorded, and where its lane may have moved it since.
async fn look(core: &Core, attachment: &Arc<Attachment>, place: &Place, file: &FileNode) -> Result<Looked, Refusal> {
    for _ in 0..MOVING_MAX {
        // Before the look: what is not owed then stays where it is.
        let (sources, owes) = sources(core, attachment.side, place, file.clone()).map_err(unreadable)?;
        let (volume, size) = (Arc::clone(&attachment.volume), file.version.size);
        let looked = attachment
            .io
            .run(Flow::own(Class::Interactive).call(), move || look_at(volume.as_ref(), &sources, size))
            .await;
        match (looked.unwrap_or(Looked::Unknown), owes) {
            (Looked::Missing, true) => tokio::time::sleep(MOVING_PAUSE).await,
            (looked, _) => return Ok(looked),
        }
    }
    Ok(Looked::Missing)
}

/// Where a drive may have it, and whether its lane has something to do with it.
fn sources(core: &Core, side: Side, place: &Place, file: FileNode) -> Result<(Vec<Source>, bool), StoreError> {
    let snapshot = core.journal.snapshot();
    let file = match snapshot.node(place)? {
        Some(Node::File(now)) if now.id == file.id => now,
        Some(_) | None => file,
    };
    let owes = snapshot.owes_node(side, file.id)?;
    let mut sources: Vec<_> = places::doubtful(&snapshot, side, &file)?.into_iter().collect();
    sources.extend(places::source(&snapshot, side, place, &file)?);
    if owes && file.copies.get(side).is_durable() {
        let home = places::path_at(&snapshot, side, place)?;
        sources.extend(home.map(|path| Source { path, offset: 0 }));
    }
    Ok((sources, owes))
}

fn look_at(volume: &dyn Volume, sources: &[Source], size: u64) -> Looked {
    let mut looked = Looked::Missing;
    for source in sources {
        match volume.stat(&source.path) {
            // A log has other bytes behind it.
            Ok(Some(meta)) if meta.kind == FileKind::File && meta.observed.size >= source.offset + size => {
                return Looked::There;
            }
            Ok(Some(_) | None) => {}
            Err(_) => looked = Looked::Unknown,
        }
    }
    looked
}
