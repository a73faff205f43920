//! The copies that a GET can read from, and how one is opened.

use std::sync::Arc;

use crate::ids::Side;
use crate::journal::store::StoreError;
use crate::journal::{FileNode, Place};
use crate::mirror::attachment::Attachment;
use crate::mirror::core::Core;
use crate::mirror::fair::Flow;
use crate::mirror::places::{self, Source};
use crate::mirror::volume::{Disposition, VolumeError, VolumeFile};

/// What is known of a copy. Its blocks are checked either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// The drive has this version.
    Recorded,
    /// It was found damaged, and may have a block that the other copy lacks.
    Doubtful,
}

/// Why a block did not come from a copy.
pub(super) enum Failure {
    Gone,
    Error(VolumeError),
    WrongBytes,
    /// The other drive is asked instead.
    Late,
}

async fn open_source(
    attachment: &Arc<Attachment>,
    source: &Source,
    flow: &Flow,
) -> Result<Arc<dyn VolumeFile>, Failure> {
    if attachment.is_gone() {
        return Err(Failure::Gone);
    }
    match attachment.volume.open_cached(&source.path) {
        Ok(Some(file)) => return Ok(file),
        Ok(None) => {}
        Err(error) => return Err(Failure::Error(error)),
    }
    let (volume, path) = (Arc::clone(&attachment.volume), source.path.clone());
    let opened = attachment.io.run(flow.call(), move || volume.open(&path)).await.map_err(|_| Failure::Gone)?;
    opened.map_err(Failure::Error)
}

/// The copy on one drive, before it is opened.
pub(super) struct Candidate {
    pub(super) attachment: Arc<Attachment>,
    pub(super) standing: Standing,
    pub(super) sources: Vec<Source>,
}

pub(super) async fn open_first(
    candidate: &Candidate,
    place: &Place,
    flow: &Flow,
) -> Result<(Arc<dyn VolumeFile>, Source), Failure> {
    let mut last = Failure::Error(VolumeError {
        op: "open",
        path: place.name.to_string(),
        disposition: Disposition::NotFound,
        source: std::io::Error::from(std::io::ErrorKind::NotFound),
    });
    for source in &candidate.sources {
        match open_source(&candidate.attachment, source, flow).await {
            Ok(file) => return Ok((file, source.clone())),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// Where a copy may be: where it is recorded, and where a lane may have moved it since.
pub(super) fn sources(
    core: &Core,
    side: Side,
    place: &Place,
    file: &FileNode,
) -> Result<(Standing, Vec<Source>), StoreError> {
    let snapshot = core.journal.snapshot();
    if !file.copies.get(side).is_durable() {
        let source = places::doubtful(&snapshot, side, file)?;
        return Ok((Standing::Doubtful, source.into_iter().collect()));
    }
    let mut sources = Vec::new();
    sources.extend(places::source(&snapshot, side, place, file)?);
    if snapshot.owes(side) {
        let home = places::path_at(&snapshot, side, place)?;
        sources.extend(home.map(|path| Source { path, offset: 0 }));
        // Where a lane may have put it since.
        let wanted = snapshot.path_of(place)?;
        sources.extend(wanted.map(|path| Source { path: path.to_string(), offset: 0 }));
    }
    sources.dedup();
    Ok((Standing::Recorded, sources))
}
