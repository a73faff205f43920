//! A new version takes the name of an old one, which goes to the trash: whoever reads the stick finds the one or the other
//! under it at every moment.
//!
//! The old version is given its name in the trash beside the one it has, and the new one is renamed over that. A cut between
//! the two leaves the old one with both: it is found under the one that is on record, and the other goes (`lane/sweep`).
//! Without second names, and on FAT, the old version goes in one step, and the new one gets its name in the next. It does
//! not go before the new one can come.

use crate::ids::NodeId;
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Content, Copy, Debt, FileNode, Node, Observed, Place, Stage, Version};
use crate::mirror::content::{Found, compare};
use crate::mirror::lane::converge::{Over, placed};
use crate::mirror::lane::{Batch, Lane, LaneError, Progress, Stay};
use crate::mirror::layout;
use crate::mirror::volume::{Disposition, FsKind};

/// Nodes that claim one name: the version that has it, the one that gets it, and one more.
const CLAIMS_MAX: usize = 3;

type Result<T> = std::result::Result<T, LaneError>;

/// An old version under a name, and its place in the trash.
pub(super) struct Predecessor {
    id: NodeId,
    version: Version,
    observed: Option<Observed>,
    place: Place,
}

impl Lane {
    /// What is under a name that a new version is to get, if it is a version that only has to go to the trash.
    pub(super) fn predecessor(
        &self,
        batch: &Batch,
        id: NodeId,
        place: &Place,
    ) -> std::result::Result<Option<Predecessor>, StoreError> {
        let snapshot = self.journal.snapshot();
        let claims = snapshot.claims_to(self.side, place, CLAIMS_MAX)?;
        let mut others = claims.into_iter().filter(|other| *other != id);
        let (Some(old), None) = (others.next(), others.next()) else { return Ok(None) };
        if batch.placed.contains_key(&old) {
            return Ok(None);
        }
        let Some(Debt { want: Some(trash), have: Some(held), .. }) = snapshot.debt(self.side, old)? else {
            return Ok(None);
        };
        match held.content {
            Content::File { version, observed } if held.place == *place && trash.parent == NodeId::TRASH => {
                Ok(Some(Predecessor { id: old, version, observed, place: trash }))
            }
            Content::File { .. } | Content::Folder => Ok(None),
        }
    }

    /// Gives a new version the name of an old one; `None` where that can't be done in one step.
    pub(super) fn supersede(
        &mut self,
        batch: &mut Batch,
        place: &Place,
        file: &FileNode,
        path: &str,
    ) -> Result<Option<Progress>> {
        let Some(old) = self.predecessor(batch, file.id, place)? else { return Ok(None) };
        if self.waits_for_other(batch, file) {
            return Ok(Some(self.stay(batch, file)));
        }
        if !self.names_twice()
            || batch.vacated.contains(&self.volume.namespace().compared(path))
            || !matches!(compare(self.volume.as_ref(), path, &old.version, old.observed)?, Found::Same(_))
        {
            return Ok(None);
        }
        let Some(bytes) = self.ready(batch, file) else { return Ok(Some(self.stay(batch, file))) };
        let Some(trash) = self.path_at(batch, &old.place)? else { return Ok(None) };
        if self.volume.stat(&bytes)?.is_none() || self.volume.stat(&trash)?.is_some() {
            return Ok(None);
        }
        match self.volume.link(path, &trash) {
            Err(error) if error.disposition == Disposition::Refused => return Ok(None),
            linked => linked?,
        }
        let progress = self.install(batch, place, file, path, Over::Older);
        if matches!(progress, Ok(Progress::There)) {
            batch.touch(&trash);
            placed(batch, old.id, &old.place, Content::File { version: old.version, observed: None });
        } else {
            // The name it has is the one on record. Where the drive is gone, its next arrival sees to it.
            let _ = self.volume.remove_file(&trash);
        }
        progress.map(Some)
    }

    /// What becomes of a version that is to go to the trash, where a new one gets its name first or has to come first;
    /// `None` where it can go by itself.
    pub(super) fn successor_first(
        &mut self,
        batch: &mut Batch,
        debt: &Debt,
        place: &Place,
    ) -> Result<Option<Progress>> {
        let Some(held) = debt.have.as_ref().filter(|_| place.parent == NodeId::TRASH) else { return Ok(None) };
        let Some(Node::File(new)) = self.journal.snapshot().node(&held.place)? else { return Ok(None) };
        if batch.placed.contains_key(&new.id) || batch.under_way.contains(&new.id) {
            return Ok(None);
        }
        if self.waits_for_other(batch, &new) {
            return Ok(Some(Progress::Stays(Stay::HoldsName)));
        }
        if !self.names_twice() {
            return Ok(None);
        }
        let Some(old) = self.predecessor(batch, new.id, &held.place)? else { return Ok(None) };
        let progress = self.converge(batch, new.id)?;
        let is_there =
            batch.placed.get(&old.id).is_some_and(|held| held.as_ref().is_some_and(|held| held.place == *place));
        Ok(match progress {
            Progress::There | Progress::Deferred if is_there => Some(Progress::There),
            Progress::Deferred => Some(Progress::Deferred),
            Progress::Stays(Stay::WaitsFor(_)) => Some(Progress::Stays(Stay::HoldsName)),
            Progress::There | Progress::Stays(_) => None,
        })
    }

    /// Whether a file can have two names on this drive.
    pub(super) fn names_twice(&self) -> bool {
        self.volume.kind() == FsKind::Atomic
    }

    /// Whether a file's bytes can come only with the other drive.
    fn waits_for_other(&self, batch: &Batch, file: &FileNode) -> bool {
        self.ready(batch, file).is_none() && matches!(self.stay(batch, file), Progress::Stays(Stay::WaitsFor(_)))
    }

    /// Where a file's bytes lie, ready to get their name.
    pub(super) fn ready(&self, batch: &Batch, file: &FileNode) -> Option<String> {
        match (batch.drafts.get(&file.version.ticket), file.copies.get(self.side)) {
            (Some(draft), _) => Some(draft.clone()),
            (None, Copy::Staged(Stage::File)) => Some(layout::stage(file.version.ticket)),
            (None, Copy::Missing | Copy::Staged(Stage::Log { .. }) | Copy::Installed { .. }) => None,
        }
    }
}
