//! Writing a manifest: appending changes, and a new snapshot beside it.

use std::sync::Arc;

use crate::journal::Change;
use crate::mirror::drive_log::Position;
use crate::mirror::layout::MANIFEST_FOLDER;
use crate::mirror::manifest::frame::{Context, Head, Item, encode};
use crate::mirror::manifest::names::{Kind, newest};
use crate::mirror::volume::{Disposition, Result, Volume, VolumeError, VolumeFile};

/// Bytes of changes up to which no new snapshot is made, however small the last one is.
const DELTA_BYTES_MIN: u64 = 64 << 20;
/// What changes may take of the free space before that, and at least.
const FREE_SHARE: u64 = 8;
const DELTA_BYTES_FLOOR: u64 = 1 << 20;
/// Parts of a generation before a new snapshot.
const PARTS_MAX: u64 = 64;
/// Free bytes below which no snapshot is begun, beside twice its size: the room is for the users' files.
const FREE_MIN: u64 = 8 << 20;
/// Bytes of a snapshot that wait to be synced at most.
const UNSYNCED_MAX: u64 = 1 << 20;

/// The manifest of a drive that is there. Single owner: its drive's thread.
#[derive(Debug)]
pub(super) struct Writer {
    volume: Arc<dyn Volume>,
    head: Head,
    current: Option<Generation>,
    /// A snapshot in the making.
    snapshot: Option<Snapshot>,
    next_generation: u64,
}

#[derive(Debug)]
struct Generation {
    number: u64,
    snapshot_bytes: u64,
    /// Bytes of the later parts.
    delta_bytes: u64,
    next_part: u64,
    gap: bool,
    /// This arrival's part: a late write of an earlier one hits none that is appended to.
    part: Option<Part>,
}

#[derive(Debug)]
struct Snapshot {
    part: Part,
    nodes: u64,
    unsynced: u64,
}

struct Part {
    file: Arc<dyn VolumeFile>,
    context: Context,
    end: u64,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} up to {}", self.context, self.end)
    }
}

impl Part {
    fn create(volume: &dyn Volume, head: &Head, path: &str, context: Context) -> Result<Self> {
        let mut part = Self { file: volume.create(path)?, context, end: 0 };
        part.append(&[Item::Head(head.clone())])?;
        Ok(part)
    }

    fn append(&mut self, items: &[Item]) -> Result<u64> {
        let mut buffer = Vec::new();
        for item in items {
            encode(&mut buffer, item, self.context);
        }
        self.file.write_at(&buffer, self.end)?;
        self.end += buffer.len() as u64;
        Ok(buffer.len() as u64)
    }
}

impl Writer {
    /// Goes on with what an earlier arrival left; snapshots that were not ended go.
    pub(super) fn open(volume: Arc<dyn Volume>, head: Head) -> Result<Self> {
        let kinds = kinds(volume.as_ref())?;
        let newest = newest(&kinds);
        let mut current = newest.map(|number| Generation {
            number,
            snapshot_bytes: 0,
            delta_bytes: 0,
            next_part: 1,
            gap: false,
            part: None,
        });
        let mut next_generation = 1;
        for kind in kinds {
            next_generation = next_generation.max(kind.generation() + 1);
            let Some(generation) = current.as_mut().filter(|current| current.number == kind.generation()) else {
                volume.remove_file(&kind.path())?;
                continue;
            };
            match kind {
                Kind::Part { part, .. } => {
                    let bytes = volume.stat(&kind.path())?.map_or(0, |meta| meta.observed.size);
                    generation.next_part = generation.next_part.max(part + 1);
                    if part == 0 {
                        generation.snapshot_bytes = bytes;
                    } else {
                        generation.delta_bytes += bytes;
                    }
                }
                Kind::Gap { .. } => generation.gap = true,
                Kind::New { .. } | Kind::Half { .. } => volume.remove_file(&kind.path())?,
            }
        }
        Ok(Self { volume, head, current, snapshot: None, next_generation })
    }

    /// Whether what is appended is of use.
    pub(super) fn is_kept(&self) -> bool {
        self.current.is_some() || self.snapshot.is_some()
    }

    pub(super) fn is_snapshotting(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Whether there is a manifest, and it lacks nothing.
    pub(super) fn is_whole(&self) -> bool {
        self.current.as_ref().is_some_and(|current| !current.gap)
    }

    /// Whether a new snapshot is due, on a drive with so many bytes free.
    pub(super) fn wants_snapshot(&self, free: u64) -> bool {
        let Some(current) = &self.current else { return free >= FREE_MIN };
        let room = free >= FREE_MIN + 2 * current.snapshot_bytes;
        let delta_max = DELTA_BYTES_MIN.min(free / FREE_SHARE).max(DELTA_BYTES_FLOOR).max(current.snapshot_bytes / 2);
        room && (current.gap || current.delta_bytes > delta_max || current.next_part > PARTS_MAX)
    }

    /// Appends changes. Not durable before [`Writer::sync`] or a sync of all.
    ///
    /// After `NoSpace` the manifest lacks them, and says so.
    pub(super) fn append(&mut self, changes: &[Change]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let items: Vec<_> = changes.iter().cloned().map(Item::Node).collect();
        if let Some(snapshot) = &mut self.snapshot
            && let Err(error) = snapshot.append(&items)
        {
            self.give_up_snapshot()?;
            only_full(error)?;
        }
        match self.append_to_current(&items) {
            Err(error) if error.disposition == Disposition::NoSpace => {
                self.mark_gap()?;
                Err(error)
            }
            outcome => outcome,
        }
    }

    fn append_to_current(&mut self, items: &[Item]) -> Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if current.part.is_none() {
            let context = Context { drive: self.head.drive, generation: current.number, part: current.next_part };
            let path = Kind::Part { generation: current.number, part: current.next_part }.path();
            // One that found no room for its beginning has a name that is not used again.
            current.next_part += 1;
            current.part = Some(Part::create(self.volume.as_ref(), &self.head, &path, context)?);
        }
        if let Some(part) = &mut current.part {
            current.delta_bytes += part.append(items)?;
        }
        Ok(())
    }

    /// Notes that changes are missing; where there is no room for that either, the manifest goes.
    pub(super) fn mark_gap(&mut self) -> Result<()> {
        let Some(current) = self.current.as_mut().filter(|current| !current.gap) else { return Ok(()) };
        current.gap = true;
        let path = Kind::Gap { generation: current.number }.path();
        let made = self.volume.create(&path).and_then(|file| {
            file.sync()?;
            self.volume.sync_folder(MANIFEST_FOLDER)
        });
        match made {
            Err(error) => {
                only_full(error)?;
                self.current = None;
                self.remove_others(None)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Makes what was appended durable.
    pub(super) fn sync(&mut self) -> Result<()> {
        let Some(part) = self.current.as_ref().and_then(|current| current.part.as_ref()) else { return Ok(()) };
        part.file.sync()?;
        self.volume.sync_folder(MANIFEST_FOLDER)
    }

    /// Begins a snapshot with the log at `position`: what is appended from now on goes into it too.
    pub(super) fn begin_snapshot(&mut self, position: Position) -> Result<()> {
        let generation = self.next_generation;
        self.next_generation += 1;
        let context = Context { drive: self.head.drive, generation, part: 0 };
        let path = Kind::New { generation }.path();
        let part = Part::create(self.volume.as_ref(), &self.head, &path, context);
        match part.and_then(|mut part| part.append(&[Item::Log(position)]).map(|_| part)) {
            Ok(part) => self.snapshot = Some(Snapshot { part, nodes: 0, unsynced: 0 }),
            Err(error) => {
                only_full(error)?;
                self.remove_if_there(Kind::New { generation })?;
            }
        }
        Ok(())
    }

    /// Adds nodes of the catalog to the snapshot. One that finds no room is given up.
    pub(super) fn add_nodes(&mut self, nodes: &[Change]) -> Result<()> {
        let Some(snapshot) = &mut self.snapshot else { return Ok(()) };
        let items: Vec<_> = nodes.iter().cloned().map(Item::Node).collect();
        snapshot.nodes += nodes.len() as u64;
        let added = snapshot.append(&items);
        added.or_else(|error| {
            self.give_up_snapshot()?;
            only_full(error)
        })
    }

    /// Ends the snapshot, which holds every node: it takes the place of what was before.
    pub(super) fn end_snapshot(&mut self) -> Result<()> {
        let Some(mut snapshot) = self.snapshot.take() else { return Ok(()) };
        let generation = snapshot.part.context.generation;
        let (new, whole) = (Kind::New { generation }.path(), Kind::Part { generation, part: 0 }.path());
        let end = Item::End { nodes: snapshot.nodes };
        if let Err(error) = snapshot.part.append(&[end]) {
            self.remove_if_there(Kind::New { generation })?;
            return only_full(error);
        }
        snapshot.part.file.sync()?;
        self.volume.sync_folder(MANIFEST_FOLDER)?;
        self.volume.rename(&new, &whole)?;
        // vfat: the file first, then its folder; the other order loses the name.
        snapshot.part.file.sync()?;
        self.volume.sync_folder(MANIFEST_FOLDER)?;
        self.current = Some(Generation {
            number: generation,
            snapshot_bytes: snapshot.part.end,
            delta_bytes: 0,
            next_part: 1,
            gap: false,
            part: None,
        });
        self.remove_others(Some(generation))
    }

    pub(super) fn give_up_snapshot(&mut self) -> Result<()> {
        let Some(snapshot) = self.snapshot.take() else { return Ok(()) };
        self.remove_if_there(Kind::New { generation: snapshot.part.context.generation })
    }

    fn remove_others(&self, generation: Option<u64>) -> Result<()> {
        for kind in kinds(self.volume.as_ref())? {
            if Some(kind.generation()) != generation {
                self.volume.remove_file(&kind.path())?;
            }
        }
        Ok(())
    }

    fn remove_if_there(&self, kind: Kind) -> Result<()> {
        match self.volume.remove_file(&kind.path()) {
            Err(error) if error.disposition == Disposition::NotFound => Ok(()),
            outcome => outcome,
        }
    }
}

impl Snapshot {
    fn append(&mut self, items: &[Item]) -> Result<()> {
        self.unsynced += self.part.append(items)?;
        // Little that is dirty: clients write too.
        if self.unsynced > UNSYNCED_MAX {
            self.unsynced = 0;
            self.part.file.sync()?;
        }
        Ok(())
    }
}

/// What lies in the manifest's folder; names that are none of a manifest's are left alone.
pub(super) fn kinds(volume: &dyn Volume) -> Result<Vec<Kind>> {
    let mut kinds: Vec<_> = volume.list(MANIFEST_FOLDER)?.names.iter().filter_map(|name| Kind::parse(name)).collect();
    for kind in &mut kinds {
        if let Kind::Part { generation, part: 0 } = *kind
            && volume.stat(&kind.path())?.is_some_and(|meta| meta.observed.size == 0)
        {
            *kind = Kind::Half { generation };
        }
    }
    kinds.sort_unstable();
    Ok(kinds)
}

/// Says that the manifest lacks changes, whoever makes them: a new snapshot is made when the drive next comes.
pub(crate) fn outdate(volume: &dyn Volume) -> Result<()> {
    let kinds = match kinds(volume) {
        Err(error) if error.disposition == Disposition::NotFound => return Ok(()),
        kinds => kinds?,
    };
    let Some(generation) = newest(&kinds) else { return Ok(()) };
    if kinds.contains(&(Kind::Gap { generation })) {
        return Ok(());
    }
    volume.create(&Kind::Gap { generation }.path())?.sync()?;
    volume.sync_folder(MANIFEST_FOLDER)
}

/// Removes all of a manifest.
pub(crate) fn remove(volume: &dyn Volume) -> Result<()> {
    let kinds = match kinds(volume) {
        Err(error) if error.disposition == Disposition::NotFound => return Ok(()),
        kinds => kinds?,
    };
    for kind in kinds {
        volume.remove_file(&kind.path())?;
    }
    volume.sync_folder(MANIFEST_FOLDER)
}

/// Passes over a drive without room.
fn only_full(error: VolumeError) -> Result<()> {
    if error.disposition == Disposition::NoSpace { Ok(()) } else { Err(error) }
}
