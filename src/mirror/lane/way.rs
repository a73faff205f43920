//! Freeing a name for a node that is to have it.

use crate::ids::NodeId;
use crate::journal::{Catalog, Content, FileNode, Held, Node, Place};
use crate::mirror::content::{Found, compare, compare_bytes};
use crate::mirror::lane::converge::aside_is_full;
use crate::mirror::lane::{Batch, Lane, LaneError, Progress};
use crate::mirror::reconcile::aside::Cause;
use crate::mirror::volume::FileKind;
use crate::path::Name;

/// Nodes that may be in one name's way, looked at in one step.
const CLAIMS_MAX: usize = 16;

type Result<T> = std::result::Result<T, LaneError>;

/// What a name is to be freed for.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// These bytes, which may be there already.
    File(&'a FileNode),
    /// A folder that the drive does not have: what is there will do.
    NewFolder,
    /// What lies elsewhere on the drive, and will be renamed.
    Moved,
}

/// Whether a name can be used.
pub(super) enum Way {
    Free,
    /// What is wanted is there.
    Already,
    Not(Progress),
}

impl Lane {
    /// Frees a name for a node: what the mirror knows goes its way or to limbo, anything else is set aside.
    pub(super) fn make_way(
        &mut self,
        batch: &mut Batch,
        id: NodeId,
        place: &Place,
        path: &str,
        wanted: Wanted<'_>,
    ) -> Result<Way> {
        // What left this name is not recorded yet: after a crash the newcomer would be taken for it.
        if batch.vacated.contains(&self.volume.namespace().compared(path)) {
            return Ok(Way::Not(Progress::Deferred));
        }
        let snapshot = self.journal.snapshot();
        // The catalog went on: whose place this is by now has no claim to it, and may have been here all the time.
        if snapshot.debt(self.side, id)?.is_none_or(|debt| debt.want.as_ref() != Some(place)) {
            return Ok(Way::Not(Progress::Deferred));
        }
        let claims = snapshot.claims_to(self.side, place, CLAIMS_MAX)?;
        drop(snapshot);
        let others: Vec<_> = claims.into_iter().filter(|other| *other != id).collect();
        if !others.is_empty() {
            for other in others {
                // One that this batch has placed is on record here still.
                if !batch.placed.contains_key(&other) {
                    self.evict(batch, other, place)?;
                }
            }
            batch.vacated.insert(self.volume.namespace().compared(path));
            return Ok(Way::Not(Progress::Deferred));
        }
        let Some(meta) = self.volume.stat(path)? else { return Ok(Way::Free) };
        let already = match wanted {
            Wanted::File(file) => matches!(compare_bytes(self.volume.as_ref(), path, &file.version)?, Found::Same(_)),
            Wanted::NewFolder => meta.kind == FileKind::Folder && self.is_folder(id, place)?,
            // It is elsewhere still: whatever lies here is another.
            Wanted::Moved => false,
        };
        if already {
            return Ok(Way::Already);
        }
        // Nothing says that the mirror ever wrote here: whatever its size and time are.
        let lsn = match wanted {
            Wanted::File(file) => file.lsn,
            Wanted::NewFolder | Wanted::Moved => self.journal.head(),
        };
        let cause = self.blamed(id, Cause::Found);
        Ok(if self.set_aside(batch, path, cause, lsn)? { Way::Free } else { Way::Not(aside_is_full(path)) })
    }

    fn is_folder(&self, id: NodeId, place: &Place) -> Result<bool> {
        let node = self.journal.snapshot().node(place)?;
        Ok(matches!(node, Some(Node::Folder(folder)) if folder.id == id))
    }

    /// Takes a known node out of another's place: away or to the trash if it was removed, else to limbo.
    pub(super) fn evict(&mut self, batch: &mut Batch, id: NodeId, place: &Place) -> Result<()> {
        let Some(debt) = self.journal.snapshot().debt(self.side, id)? else { return Ok(()) };
        if !self.is_told(debt.lsn) {
            return Ok(());
        }
        batch.ready.clear();
        let Some(held) = debt.have.clone().filter(|held| held.place.is_same_to(self.volume.namespace(), place)) else {
            // It only may have been there. This lane knows that it is not: that is to be recorded.
            batch.placed.insert(id, debt.have);
            return Ok(());
        };
        // On FAT its name may have other cases.
        let Some(path) = self.path_at(batch, &held.place)? else { return Ok(()) };
        let path = path.as_str();
        // Neither way can lead to the place that is to be freed.
        let leaves = debt.want.as_ref().is_none_or(|want| want.parent == NodeId::TRASH);
        if leaves && self.converge(batch, id)? == Progress::There {
            return Ok(());
        }
        if self.volume.stat(path)?.is_none() {
            batch.placed.insert(id, None);
            return Ok(());
        }
        if let Content::File { version, observed } = held.content
            && compare(self.volume.as_ref(), path, &version, observed)? == Found::Other
        {
            let wanted = match &debt.want {
                Some(want) => self.journal.snapshot().node(want)?,
                None => None,
            };
            let cause = match wanted {
                Some(Node::File(file)) if file.version == version => self.cause(path, &file)?,
                Some(Node::File(_) | Node::Folder(_)) | None => self.cause_of_old(path, observed)?,
            };
            self.set_aside(batch, path, self.blamed(id, cause), debt.lsn)?;
            batch.placed.insert(id, None);
            return Ok(());
        }
        if held.content == Content::Folder && self.takes_apart() {
            return self.evict_folder(batch, id, &debt, &held);
        }
        let Some(limbo) = self.leave_for_limbo(batch, id, &debt, held.content, path)? else { return Ok(()) };
        batch.touch(path);
        batch.touch(&limbo);
        if let Ok(name) = Name::parse(&id.to_string()) {
            let content = match held.content {
                Content::Folder => Content::Folder,
                Content::File { version, .. } => Content::File { version, observed: None },
            };
            batch.placed.insert(id, Some(Held { place: Place::new(NodeId::LIMBO, name), content }));
        }
        Ok(())
    }
}
