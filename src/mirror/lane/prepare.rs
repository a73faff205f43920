//! Making the bytes of versions ready, under names of the lane's own, before anything is renamed.

use std::sync::Arc;

use crate::digest::{Crc32, Digester};
use crate::ids::{NodeId, Side};
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Copy, Debt, DriveFact, FileNode, Node, Place, Stage};
use crate::mirror::content::pour;
use crate::mirror::lane::{BATCH_BYTES_MAX, Batch, Lane, LaneError, Stay};
use crate::mirror::layout;
use crate::mirror::places::{self, Source};
use crate::mirror::volume::{Attributes, Disposition, FsKind, Volume, VolumeError, VolumeFile};

/// Where a lane gets a version's bytes.
struct Supply {
    side: Side,
    source: Source,
    volume: Arc<dyn Volume>,
}

/// Why a draft was not made.
enum Spoiled {
    Read(VolumeError),
    Write(VolumeError),
    Crc(Crc32),
}

impl From<VolumeError> for Spoiled {
    fn from(error: VolumeError) -> Self {
        Self::Read(error)
    }
}

impl Lane {
    /// Makes drafts for the debts that need bytes, and makes the drafts durable; how many debts to take.
    pub(super) fn prepare(&mut self, batch: &mut Batch, debts: &[(NodeId, Debt)]) -> Result<usize, LaneError> {
        let (mut bytes, mut taken) = (0, 0);
        for (id, debt) in debts {
            if bytes >= BATCH_BYTES_MAX {
                break;
            }
            taken += 1;
            let Some((place, file)) = self.lacking(*id, debt)? else { continue };
            let Some(supply) = self.supply(batch, &place, &file)? else { continue };
            bytes += file.version.size;
            self.draft(batch, &place, &file, &supply)?;
        }
        match batch.drafts.len() {
            0 => {}
            1 => self.volume.sync_folder(layout::STAGE_FOLDER)?,
            _ => self.volume.sync_all()?,
        }
        Ok(taken)
    }

    /// The file that a debt wants bytes for, if its name can be given in this step.
    fn lacking(&self, id: NodeId, debt: &Debt) -> Result<Option<(Place, FileNode)>, StoreError> {
        let Some(place) = &debt.want else { return Ok(None) };
        let snapshot = self.journal.snapshot();
        let Some(Node::File(file)) = snapshot.node(place)?.filter(|node| node.id() == id) else { return Ok(None) };
        // What lies elsewhere, or in the way, goes first, in a step of its own.
        let elsewhere = debt.displaced().is_some();
        let taken = snapshot.claims_to(self.side, place, 2)?.into_iter().any(|other| other != id);
        Ok((!elsewhere && !taken).then(|| (place.clone(), file)))
    }

    fn supply(&self, batch: &Batch, place: &Place, file: &FileNode) -> Result<Option<Supply>, StoreError> {
        let snapshot = self.journal.snapshot();
        let other = self.side.other();
        let from = |side: Side, volume: Option<&Arc<dyn Volume>>| {
            let Some(volume) = volume else { return Ok(None) };
            let source = places::source(&snapshot, side, place, file)?;
            Ok(source.map(|source| Supply { side, source, volume: Arc::clone(volume) }))
        };
        match file.copies.get(self.side) {
            Copy::Installed { .. } => Ok(None),
            Copy::Staged(Stage::Log { .. }) => from(self.side, Some(&self.volume)),
            // FAT: a cut during a rename can lose the file; the last copy is copied instead.
            Copy::Staged(Stage::File) => {
                let last = batch.peer.is_none() || !file.copies.get(other).is_durable();
                let copy = last && self.volume.kind() == FsKind::Fat;
                from(self.side, Some(&self.volume).filter(|_| copy))
            }
            Copy::Missing => from(other, batch.peer.as_ref()),
        }
    }

    fn draft(&mut self, batch: &mut Batch, place: &Place, file: &FileNode, supply: &Supply) -> Result<(), LaneError> {
        let path = layout::draft(file.version.ticket, self.arrival, self.drafts);
        self.drafts += 1;
        if supply.side != self.side {
            tracing::debug!(drive = %self.side, node = %file.id, lsn = %file.lsn, bytes = file.version.size, "copies");
        }
        match self.write_draft(&path, file, supply) {
            Ok(draft) => {
                if supply.side != self.side {
                    self.work.copied_files += 1;
                    self.work.copied_bytes += file.version.size;
                    self.copied.add_file();
                }
                batch.drafts.insert(file.version.ticket, path);
                // One file is synced alone, several by one sync of them all.
                return if batch.drafts.len() == 1 { Ok(draft.sync()?) } else { Ok(()) };
            }
            Err(Spoiled::Crc(actual)) => {
                tracing::warn!(drive = %supply.side, node = %file.id, expected = %file.version.crc32, %actual, "bad copy");
                self.report_damage(batch, supply.side, place, file);
            }
            Err(Spoiled::Write(error)) if error.disposition == Disposition::NoSpace => {
                self.stays.insert(file.id, Stay::NoRoom);
            }
            Err(Spoiled::Write(error)) => return Err(error.into()),
            Err(Spoiled::Read(error)) => self.spoiled_read(batch, place, file, supply.side, error)?,
        }
        match self.volume.remove_file(&path) {
            Err(error) if error.disposition != Disposition::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn spoiled_read(
        &mut self,
        batch: &mut Batch,
        place: &Place,
        file: &FileNode,
        from: Side,
        error: VolumeError,
    ) -> Result<(), LaneError> {
        if error.disposition == Disposition::DriveLost && from == self.side {
            return Err(error.into());
        }
        if error.disposition != Disposition::DriveLost && from == self.side {
            self.volume.probe()?;
            self.report_damage(batch, from, place, file);
        } else {
            // The other drive is for its own people to judge; without it this waits.
            self.stays.insert(file.id, Stay::WaitsFor(from));
            batch.peer_error = Some(error);
            batch.peer = None;
        }
        batch.deferred.insert(file.id);
        Ok(())
    }

    /// A copy is damaged: the other one mends it. Where there is none it stays, and says so.
    pub(super) fn report_damage(&mut self, batch: &mut Batch, side: Side, place: &Place, file: &FileNode) {
        batch.deferred.insert(file.id);
        if file.copies.get(side.other()).is_durable() {
            batch.facts.push(DriveFact::Damaged { side, place: place.clone(), file: file.clone() });
        } else {
            self.stays.insert(file.id, Stay::Damaged(side));
        }
    }

    fn write_draft(&self, path: &str, file: &FileNode, supply: &Supply) -> Result<Arc<dyn VolumeFile>, Spoiled> {
        let from = supply.volume.open(&supply.source.path)?;
        let draft = self.volume.create(path).map_err(Spoiled::Write)?;
        let mut digester = Digester::default();
        pour(&from, supply.source.offset, file.version.size, |bytes, at| {
            digester.update(bytes);
            if supply.side != self.side {
                self.copied.add_bytes(bytes.len());
            }
            draft.write_at(bytes, at).map_err(Spoiled::Write)
        })?;
        let digest = digester.finish();
        if digest.size != file.version.size || digest.whole != file.version.crc32 {
            return Err(Spoiled::Crc(digest.whole));
        }
        let attributes = Attributes { mtime_ns: file.mtime_ns, executable: file.executable };
        draft.set_attributes(attributes).map_err(Spoiled::Write)?;
        Ok(draft)
    }
}
