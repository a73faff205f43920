//! One drive's way through the catalog: reads copies and says which are right. Changes nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::digest::{BLOCK_BYTES, Crc32};
use crate::ids::{NodeId, Side};
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Copy, FileNode, Journal, Node, Place, ScrubPart, ScrubPosition};
use crate::mirror::lane::LaneError;
use crate::mirror::places::{self, Source};
use crate::mirror::volume::{Disposition, FileKind, Volume, VolumeError, VolumeFile};

/// Bytes that one turn reads at most.
const TURN_BYTES_MAX: u64 = 1 << 20;
/// Places read from the catalog at once.
const PAGE: usize = 256;
/// Turns for which a file is waited for that a lane is moving.
const HELD_UP_MAX: u32 = 50;

/// What is wrong with a copy.
#[derive(Debug)]
pub(crate) enum Flaw {
    /// A block has other bytes than were stored, while size and time are those that were read back: the medium.
    WrongBytes,
    /// Other bytes, and another size or time: somebody wrote it.
    Changed,
    Vanished,
    Unreadable(VolumeError),
}

/// What one turn came to.
#[derive(Debug)]
pub(crate) enum Turn {
    /// So many bytes of a file are right, and there are more.
    Read(u64),
    /// A file is right; bytes read in this turn.
    Right(u64),
    /// There is nothing to look at: the drive owes it.
    Owed,
    Bad {
        place: Place,
        file: Box<FileNode>,
        flaw: Flaw,
    },
    /// A lane is moving the file: in a moment again.
    Moving,
    /// It could not be looked at.
    LeftOut(NodeId, Place),
    End,
}

pub(crate) struct Pass {
    side: Side,
    journal: Arc<Journal>,
    volume: Arc<dyn Volume>,
    position: ScrubPosition,
    /// Files that come next, as the catalog had them.
    page: VecDeque<Place>,
    reading: Option<Reading>,
    held_up: u32,
}

/// A file that is being read.
struct Reading {
    place: Place,
    file: FileNode,
    digests: Vec<Crc32>,
    source: Source,
    handle: Arc<dyn VolumeFile>,
    block: u64,
}

impl Pass {
    pub(crate) fn new(side: Side, journal: Arc<Journal>, volume: Arc<dyn Volume>, position: ScrubPosition) -> Self {
        Self { side, journal, volume, position, page: VecDeque::new(), reading: None, held_up: 0 }
    }

    /// The way through one file alone; what comes behind it is not to be asked for.
    pub(crate) fn of_file(side: Side, journal: Arc<Journal>, volume: Arc<dyn Volume>, place: Place) -> Self {
        Self { page: VecDeque::from([place]), ..Self::new(side, journal, volume, ScrubPosition::default()) }
    }

    pub(crate) fn position(&self) -> &ScrubPosition {
        &self.position
    }

    /// Does a little of the work. Errors are those of the journal, of a drive that is gone, and the daemon's own shortage:
    /// after that the same turn is taken again.
    pub(crate) fn turn(&mut self) -> Result<Turn, LaneError> {
        let (place, next) = match self.reading.take() {
            Some(reading) => (reading.place.clone(), Next::File(reading)),
            None => match self.next_place()? {
                Some(place) => (place.clone(), self.begin(&place)?),
                None => return Ok(Turn::End),
            },
        };
        match next {
            Next::File(reading) => self.read(reading),
            Next::Nothing => {
                self.pass_over(place);
                Ok(Turn::Owed)
            }
            Next::Bad(file, source, flaw) => self.judge(place, *file, &source, flaw),
        }
    }

    /// The next file's place; it stays the next until it is done.
    fn next_place(&mut self) -> Result<Option<Place>, StoreError> {
        while self.page.is_empty() {
            let nodes = self.journal.snapshot().nodes_after(self.position.after.as_ref(), PAGE)?;
            let Some((last, _)) = nodes.last() else { return Ok(None) };
            let last = last.clone();
            for (place, node) in nodes {
                match node {
                    Node::File(_) => self.page.push_back(place),
                    Node::Folder(_) => {}
                }
            }
            if self.page.is_empty() {
                self.position.after = Some(last);
            }
        }
        Ok(self.page.front().cloned())
    }

    /// A place is done, whatever came of it.
    fn pass_over(&mut self, place: Place) {
        self.page.pop_front();
        self.held_up = 0;
        self.position = ScrubPosition { after: Some(place), within: None };
    }

    fn begin(&self, place: &Place) -> Result<Next, LaneError> {
        let snapshot = self.journal.snapshot();
        let Some(Node::File(file)) = snapshot.node(place)? else { return Ok(Next::Nothing) };
        let Some(source) = places::source(&snapshot, self.side, place, &file)? else { return Ok(Next::Nothing) };
        let digests = snapshot.block_digests(&file)?;
        drop(snapshot);
        let handle = self.volume.open(&source.path).and_then(|handle| handle.forget_cached().map(|()| handle));
        let handle = match handle {
            Ok(handle) => handle,
            Err(error) => return Ok(Next::Bad(Box::new(file), source, flaw_of(error)?)),
        };
        let done = self.position.within.as_ref();
        let done = done.filter(|part| part.place == *place && part.ticket == file.version.ticket);
        let block = done.map_or(0, |part| part.bytes / BLOCK_BYTES as u64);
        Ok(Next::File(Reading { place: place.clone(), file, digests, source, handle, block }))
    }

    fn read(&mut self, mut reading: Reading) -> Result<Turn, LaneError> {
        let mut bytes = 0;
        let mut buffer = vec![0; BLOCK_BYTES.min(reading.file.version.size as usize)];
        while bytes < TURN_BYTES_MAX {
            let Some(digest) = reading.digests.get(reading.block as usize) else {
                return self.end(reading, bytes);
            };
            let at = reading.block * BLOCK_BYTES as u64;
            let len = (reading.file.version.size - at).min(BLOCK_BYTES as u64) as usize;
            let block = buffer.get_mut(..len).unwrap_or_default();
            let flaw = match reading.handle.read_at(block, reading.source.offset + at) {
                Ok(read) if read == len && Crc32::of(block) == *digest => None,
                Ok(_) => Some(self.wrong_bytes(&reading)?),
                Err(error) => Some(flaw_of(error)?),
            };
            if let Some(flaw) = flaw {
                let Reading { place, file, source, .. } = reading;
                return self.judge(place, file, &source, flaw);
            }
            reading.block += 1;
            bytes += len as u64;
        }
        if reading.block as usize == reading.digests.len() {
            return self.end(reading, bytes);
        }
        let done = reading.block * BLOCK_BYTES as u64;
        let ticket = reading.file.version.ticket;
        self.position.within = Some(ScrubPart { place: reading.place.clone(), ticket, bytes: done });
        self.reading = Some(reading);
        Ok(Turn::Read(bytes))
    }

    /// All blocks are right; and nothing may come behind them.
    fn end(&mut self, reading: Reading, bytes: u64) -> Result<Turn, LaneError> {
        // What clients did not ask for does not stay in their way.
        reading.handle.forget_cached()?;
        let whole = match reading.file.copies.get(self.side) {
            Copy::Installed { .. } => reading.handle.meta().map(|meta| meta.observed.size == reading.file.version.size),
            Copy::Missing | Copy::Staged(_) => Ok(true),
        };
        let flaw = match whole {
            Ok(true) => {
                self.pass_over(reading.place);
                return Ok(Turn::Right(bytes));
            }
            Ok(false) => Flaw::Changed,
            Err(error) => flaw_of(error)?,
        };
        let Reading { place, file, source, .. } = reading;
        self.judge(place, file, &source, flaw)
    }

    fn wrong_bytes(&self, reading: &Reading) -> Result<Flaw, LaneError> {
        let Copy::Installed { observed, .. } = reading.file.copies.get(self.side) else { return Ok(Flaw::WrongBytes) };
        match reading.handle.meta() {
            Ok(meta) if meta.kind == FileKind::File && meta.observed == *observed => Ok(Flaw::WrongBytes),
            Ok(_) => Ok(Flaw::Changed),
            Err(error) => flaw_of(error),
        }
    }

    /// A flaw is one only if nothing has moved meanwhile.
    fn judge(&mut self, place: Place, file: FileNode, source: &Source, flaw: Flaw) -> Result<Turn, LaneError> {
        let snapshot = self.journal.snapshot();
        let same = match snapshot.node(&place)? {
            Some(Node::File(now)) => {
                // Not a copy that was made whole meanwhile: what is read here is what it replaced.
                now.id == file.id
                    && now.version == file.version
                    && now.copies.get(self.side) == file.copies.get(self.side)
                    && places::source(&snapshot, self.side, &place, &now)?.as_ref() == Some(source)
            }
            Some(Node::Folder(_)) | None => false,
        };
        let moving = match (file.copies.get(self.side), &flaw) {
            (Copy::Installed { .. }, _) => snapshot.owes_way(self.side, file.id, &place)?,
            // The lane has just given it its name.
            (Copy::Staged(_), Flaw::Vanished) => true,
            (Copy::Missing | Copy::Staged(_), _) => false,
        };
        drop(snapshot);
        if !same || moving {
            self.held_up += 1;
            if self.held_up < HELD_UP_MAX {
                return Ok(Turn::Moving);
            }
            self.pass_over(place.clone());
            return Ok(Turn::LeftOut(file.id, place));
        }
        match flaw {
            // An unplugged vfat says that nothing is there.
            Flaw::Vanished | Flaw::Unreadable(_) => self.volume.probe()?,
            Flaw::WrongBytes | Flaw::Changed => {}
        }
        self.pass_over(place.clone());
        Ok(Turn::Bad { place, file: Box::new(file), flaw })
    }
}

/// What comes next.
enum Next {
    File(Reading),
    /// Nothing to be looked at.
    Nothing,
    Bad(Box<FileNode>, Source, Flaw),
}

/// What an error says of one copy; those of the whole drive go on, and those that say nothing of any.
fn flaw_of(error: VolumeError) -> Result<Flaw, LaneError> {
    match error.disposition {
        Disposition::DriveLost | Disposition::Shortage => Err(error.into()),
        Disposition::NotFound => Ok(Flaw::Vanished),
        // A folder under the name.
        Disposition::InTheWay => Ok(Flaw::Changed),
        Disposition::BadRead | Disposition::NoSpace | Disposition::Refused => Ok(Flaw::Unreadable(error)),
    }
}
