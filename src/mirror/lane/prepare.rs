//! Making the bytes of versions ready, under names of the lane's own, before anything is renamed.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::ids::{NodeId, Side};
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Content, Copy, Debt, DriveFact, FileNode, Node, Place, Stage};
use crate::mirror::content::{Found, compare_bytes};
use crate::mirror::lane::gather::{Spoiled, Standing, Supply, gather};
use crate::mirror::lane::{Batch, Lane, LaneError, Stay};
use crate::mirror::layout;
use crate::mirror::places;
use crate::mirror::steps::Moment;
use crate::mirror::volume::{Attributes, Disposition, FsKind, Result as VolumeResult, Volume, VolumeError, VolumeFile};

/// Bytes of a draft in the page cache that the kernel is not yet told to write.
const CACHED_BYTES_MAX: usize = 4 << 20;

/// What a draft is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Install,
    /// To give this drive's own copy another name.
    Move,
}

/// What a draft is made of.
struct Sources {
    purpose: Purpose,
    supplies: Vec<Supply>,
    /// Before they were looked up.
    then: Option<Moment>,
}

/// A draft, and the drives whose copy of it had bad blocks.
struct Gathered {
    draft: Arc<dyn VolumeFile>,
    bad: BTreeSet<Side>,
}

impl Batch {
    /// A drive log's segment, opened once for all that lies in it.
    fn segment(&mut self, supply: &Supply) -> VolumeResult<Arc<dyn VolumeFile>> {
        let key = (supply.side, supply.source.path.clone());
        match self.segments.entry(key) {
            Entry::Occupied(opened) => Ok(Arc::clone(opened.get())),
            Entry::Vacant(entry) => Ok(Arc::clone(entry.insert(supply.volume.open(&supply.source.path)?))),
        }
    }
}

impl Lane {
    /// Makes drafts for the debts that need bytes, and makes the drafts durable; how many debts to take.
    pub(super) fn prepare(&mut self, batch: &mut Batch, debts: &[(NodeId, Debt)]) -> Result<usize, LaneError> {
        let (mut bytes, mut taken) = (0, 0);
        for (id, debt) in debts {
            if bytes >= self.reach.bytes {
                break;
            }
            taken += 1;
            let then = batch.peer.as_ref().map(|peer| peer.steps.now());
            let (purpose, needed) = match self.lacking(batch, *id, debt)? {
                Some((place, file)) => {
                    let supplies = self.supplies(batch, &place, &file)?;
                    (Purpose::Install, Some((place, file, supplies)).filter(|(_, _, supplies)| !supplies.is_empty()))
                }
                None => (Purpose::Move, self.last_to_move(batch, *id, debt)?),
            };
            let Some((place, file, supplies)) = needed else { continue };
            bytes += file.version.size;
            self.draft(batch, &place, &file, &Sources { purpose, supplies, then })?;
        }
        match batch.drafts.len() {
            0 => {}
            1 => self.volume.sync_folder(layout::STAGE_FOLDER)?,
            _ => self.volume.sync_all()?,
        }
        Ok(taken)
    }

    /// The file that a debt wants bytes for, if its name can be given in this step.
    fn lacking(&self, batch: &Batch, id: NodeId, debt: &Debt) -> Result<Option<(Place, FileNode)>, StoreError> {
        let Some(place) = &debt.want else { return Ok(None) };
        let snapshot = self.journal.snapshot();
        let Some(Node::File(file)) = snapshot.node(place)?.filter(|node| node.id() == id) else { return Ok(None) };
        // What lies elsewhere, or in the way, goes first, in a step of its own.
        let elsewhere = debt.displaced().is_some();
        let taken = snapshot.claims_to(self.side, place, 2)?.into_iter().any(|other| other != id);
        drop(snapshot);
        let free = !taken || (self.names_twice() && self.predecessor(batch, id, place)?.is_some());
        Ok((!elsewhere && free).then(|| (place.clone(), file)))
    }

    /// A file that is to be moved and that no other drive here has: on FAT a cut during a rename can lose it, so it is
    /// copied to its new name first.
    fn last_to_move(
        &self,
        batch: &Batch,
        id: NodeId,
        debt: &Debt,
    ) -> Result<Option<(Place, FileNode, Vec<Supply>)>, StoreError> {
        let Some((place, held)) = debt.want.as_ref().zip(debt.have.as_ref()) else { return Ok(None) };
        let node = self.journal.snapshot().node(place)?.filter(|node| node.id() == id);
        let (Some(Node::File(file)), Content::File { version, .. }) = (node, held.content) else { return Ok(None) };
        if held.place == *place || version != file.version || !self.is_last_on_fat(batch, place, &file) {
            return Ok(None);
        }
        let Some(path) = self.path_at(batch, &held.place)? else { return Ok(None) };
        let source = places::Source { path, offset: 0 };
        let (side, standing) = (self.side, Standing::Recorded);
        let supply = Supply { side, standing, source, volume: Arc::clone(&self.volume), file: None };
        Ok(Some((place.clone(), file, vec![supply])))
    }

    /// Whether a file's only copy here is on this drive, and may not be renamed. What goes to the trash is current no
    /// more, and must find its place on a full drive too.
    pub(super) fn is_last_on_fat(&self, batch: &Batch, place: &Place, file: &FileNode) -> bool {
        let alone = batch.peer.is_none() || !file.copies.get(self.side.other()).is_durable();
        alone && place.parent != NodeId::TRASH && self.volume.kind() == FsKind::Fat
    }

    /// The copies that a draft can be made of, the best first; none where there is nothing to make one of yet.
    fn supplies(&self, batch: &mut Batch, place: &Place, file: &FileNode) -> Result<Vec<Supply>, StoreError> {
        let snapshot = self.journal.snapshot();
        let other = self.side.other();
        let recorded = |side: Side, volume: &Arc<dyn Volume>| {
            let source = places::source(&snapshot, side, place, file)?;
            Ok::<_, StoreError>(source.map(|source| Supply {
                side,
                standing: Standing::Recorded,
                source,
                volume: Arc::clone(volume),
                file: None,
            }))
        };
        let own = match file.copies.get(self.side) {
            Copy::Installed { .. } => return Ok(Vec::new()),
            Copy::Staged(Stage::Log { .. }) => recorded(self.side, &self.volume)?,
            // FAT: a cut during a rename can lose the file; the last copy is copied instead.
            Copy::Staged(Stage::File) => {
                if !self.is_last_on_fat(batch, place, file) {
                    return Ok(Vec::new());
                }
                recorded(self.side, &self.volume)?
            }
            Copy::Missing => None,
        };
        let peers = match &batch.peer {
            Some(peer) => recorded(other, &peer.volume)?,
            None => None,
        };
        let mut supplies: Vec<_> = own.into_iter().chain(peers).collect();
        if !supplies.is_empty() {
            // What is left of a damaged copy has the blocks that the other one lacks, it may be.
            let source = places::doubtful(&snapshot, self.side, file)?;
            let (side, standing, volume) = (self.side, Standing::Doubtful, &self.volume);
            let volume = Arc::clone(volume);
            supplies.extend(source.map(|source| Supply { side, standing, source, volume, file: None }));
        }
        drop(snapshot);
        for supply in &mut supplies {
            let in_log = matches!(file.copies.get(supply.side), Copy::Staged(Stage::Log { .. }));
            if in_log && supply.standing == Standing::Recorded {
                // What cannot be opened is told when it is read.
                supply.file = batch.segment(supply).ok();
            }
        }
        Ok(supplies)
    }

    fn draft(&mut self, batch: &mut Batch, place: &Place, file: &FileNode, sources: &Sources) -> Result<(), LaneError> {
        let supplies = &sources.supplies;
        let path = layout::draft(file.version.ticket, self.arrival, self.drafts);
        self.drafts += 1;
        let copies = supplies.first().is_some_and(|supply| supply.side != self.side);
        if copies {
            tracing::debug!(drive = %self.side, node = %file.id, lsn = %file.lsn, bytes = file.version.size, "copies");
        }
        let written = self.write_draft(&path, file, supplies);
        let in_motion = match &written {
            Ok(_) | Err(Spoiled::Write(_) | Spoiled::Journal(_)) => false,
            Err(Spoiled::Read(_, error)) if error.disposition == Disposition::DriveLost => false,
            Err(Spoiled::Block(_) | Spoiled::Whole | Spoiled::Read(..)) => {
                self.has_moved(batch, place, file, sources)?
            }
        };
        match written {
            Err(_) if in_motion => {
                self.in_motion.insert(file.id);
                batch.deferred.insert(file.id);
            }
            Ok(Gathered { draft, bad }) => {
                if copies {
                    self.work.copied_files += 1;
                    self.work.copied_bytes += file.version.size;
                    self.copied.add_file();
                }
                for side in bad {
                    tracing::warn!(drive = %side, node = %file.id, "bad copy: made whole from both");
                    if side == self.side {
                        batch.mended.insert(file.id);
                    } else {
                        batch.bad_copies.insert(file.id, (place.clone(), file.clone()));
                    }
                }
                batch.drafts.insert(file.version.ticket, path);
                // One file is synced alone, several by one sync of them all.
                return if batch.drafts.len() == 1 { Ok(draft.sync()?) } else { Ok(()) };
            }
            // A cut in a rename can lose it; there is nothing whole to lose, and what comes in its place must not wait.
            Err(Spoiled::Block(_) | Spoiled::Whole) if sources.purpose == Purpose::Move => {
                tracing::warn!(drive = %self.side, node = %file.id, "the only copy is damaged: moved as it is");
                batch.moved_damaged.insert(file.id);
            }
            Err(Spoiled::Block(number)) => {
                tracing::warn!(drive = %self.side, node = %file.id, block = number, "no copy has this block whole");
                self.keep_pieces(batch, file, supplies);
            }
            Err(Spoiled::Whole) => {
                tracing::warn!(drive = %self.side, node = %file.id, expected = %file.version.crc32, "bad copy");
                self.keep_pieces(batch, file, supplies);
            }
            Err(Spoiled::Write(error)) if error.disposition == Disposition::NoSpace => {
                self.stays.insert(file.id, Stay::NoRoom);
            }
            Err(Spoiled::Write(error)) => return Err(error.into()),
            Err(Spoiled::Journal(error)) => return Err(error.into()),
            Err(Spoiled::Read(side, error)) => self.spoiled_read(batch, place, file, side, error)?,
        }
        match self.volume.remove_file(&path) {
            Err(error) if error.disposition != Disposition::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Whether the other lane may have put something else where this version was looked for, or it elsewhere.
    fn has_moved(&self, batch: &Batch, place: &Place, file: &FileNode, sources: &Sources) -> Result<bool, StoreError> {
        let other = self.side.other();
        let supply = sources.supplies.iter().find(|supply| supply.side == other);
        let Some(((peer, then), supply)) = batch.peer.as_ref().zip(sources.then).zip(supply) else { return Ok(false) };
        if !peer.steps.were_at_rest_since(then) {
            return Ok(true);
        }
        let snapshot = self.journal.snapshot();
        match snapshot.node(place)? {
            Some(Node::File(now)) if now.id == file.id && now.version == file.version => {
                Ok(places::source(&snapshot, other, place, &now)?.as_ref() != Some(&supply.source))
            }
            Some(_) | None => Ok(true),
        }
    }

    /// No present drive has every block: nothing of the version is given up meanwhile.
    fn keep_pieces(&mut self, batch: &mut Batch, file: &FileNode, supplies: &[Supply]) {
        let other = self.side.other();
        batch.deferred.insert(file.id);
        if batch.peer.is_none() && file.copies.get(other).is_durable() {
            self.stays.insert(file.id, Stay::WaitsFor(other));
            return;
        }
        self.stays.insert(file.id, Stay::Damaged(supplies.first().map_or(self.side, |supply| supply.side)));
        self.hopeless.insert(file.id);
    }

    fn spoiled_read(
        &mut self,
        batch: &mut Batch,
        place: &Place,
        file: &FileNode,
        from: Side,
        error: VolumeError,
    ) -> Result<(), LaneError> {
        if from != self.side {
            batch.deferred.insert(file.id);
            // What is not on a drive that is there, nor being moved, nobody has. An unplugged vfat says so of everything.
            let is_there = || batch.peer.as_ref().is_some_and(|peer| peer.volume.probe().is_ok());
            if error.disposition == Disposition::NotFound && is_there() {
                self.stays.insert(file.id, Stay::Lost);
                self.hopeless.insert(file.id);
                return Ok(());
            }
            // The other drive is for its own people to judge; without it this waits.
            self.stays.insert(file.id, Stay::WaitsFor(from));
            batch.peer_error = Some(error);
            batch.peer = None;
            return Ok(());
        }
        if error.disposition == Disposition::DriveLost {
            return Err(error.into());
        }
        self.volume.probe()?;
        if error.disposition != Disposition::NotFound {
            // A stage that cannot be read now is kept: it may have what the other copy lacks.
            self.keep_pieces(batch, file, &[]);
        } else if !self.has_its_name(batch, place, file)? {
            self.report_missing_stage(batch, place, file);
        }
        Ok(())
    }

    /// Whether a version lies under its name, though only its stage is on record: the record of the install was lost, and
    /// the file could not be read when the drive came.
    fn has_its_name(&self, batch: &Batch, place: &Place, file: &FileNode) -> Result<bool, LaneError> {
        let Some(path) = self.path_at(batch, place)? else { return Ok(false) };
        Ok(matches!(compare_bytes(self.volume.as_ref(), &path, &file.version)?, Found::Same(_)))
    }

    /// A stage is gone: the other copy takes its place. Where there is none it stays, and says so.
    pub(super) fn report_missing_stage(&mut self, batch: &mut Batch, place: &Place, file: &FileNode) {
        batch.deferred.insert(file.id);
        let side = self.side;
        if file.copies.get(side.other()).is_durable() {
            batch.facts.push(DriveFact::Damaged { side, place: place.clone(), file: file.clone() });
        } else {
            self.stays.insert(file.id, Stay::Damaged(side));
        }
    }

    fn write_draft(&self, path: &str, file: &FileNode, supplies: &[Supply]) -> Result<Gathered, Spoiled> {
        let digests = self.journal.block_digests(file).map_err(Spoiled::Journal)?;
        let draft = self.volume.create(path).map_err(Spoiled::Write)?;
        let copies = supplies.first().is_some_and(|supply| supply.side != self.side);
        let mut cached = 0;
        let bad = gather(self.side, file.version, &digests, supplies, |bytes, at| {
            if copies {
                self.copied.add_bytes(bytes.len());
            }
            draft.write_at(bytes, at).map_err(Spoiled::Write)?;
            cached += bytes.len();
            if cached >= CACHED_BYTES_MAX {
                cached = 0;
                // The kernel begins to write it to the medium while the next blocks are read, and the sync finds little left.
                draft.forget_cached().map_err(Spoiled::Write)?;
            }
            Ok(())
        })?;
        let attributes = Attributes { mtime_ns: file.mtime_ns, executable: file.executable };
        draft.set_attributes(attributes).map_err(Spoiled::Write)?;
        Ok(Gathered { draft, bad })
    }
}
