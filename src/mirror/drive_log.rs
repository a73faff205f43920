//! The drive log: on each drive, what happened to the mirror, and the bytes of small PUTs.
//!
//! Segments are preallocated files that are only appended to. Each arrival of the drive starts new
//! ones, so that a late write through an older handle never hits what is trusted. One write and one
//! sync serve all who wait. A segment goes when no current version is staged in it any more, and the drive's
//! manifest has what it says of commits. On a drive
//! that is nearly full segments are small: what is left is for the users' files.

pub(crate) mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::Crc32;
use crate::ids::{Arrival, DriveId, Lsn, Ticket};
use crate::journal::{Body, Change, Deed, Stage, Version};
use crate::mirror::layout;
use crate::mirror::volume::{Disposition, Result, Volume, VolumeError, VolumeFile};

/// Bytes of a segment where there is room; a larger record gets a segment of its own size.
pub(crate) const SEGMENT_BYTES: u64 = 8 << 20;
/// A new segment takes at most this part of what is free, if what it is for fits.
const SEGMENT_SHARE: u64 = 8;
/// Bytes of all segments of a drive before small PUTs have to wait for its lane: between these, this part of what was
/// free when the drive came.
pub(crate) const LOG_BYTES_MAX: u64 = 64 << 20;
const LOG_BYTES_MOST: u64 = 256 << 20;
const LOG_SHARE: u64 = 8;
/// A file system with a journal writes more for the first bytes of a block that was only preallocated than the bytes.
/// Where a small append comes to such blocks, zeros are written with it up to the next multiple of this, so that those
/// after it overwrite.
const FILL_BYTES: u64 = 256 << 10;
/// A larger append has its share of that cost anyway.
const FILL_BELOW: usize = 32 << 10;
const MAGIC: u32 = u32::from_le_bytes(*b"twL1");
/// Magic, head length, payload length, CRC-32.
const FRAME_BYTES: usize = 16;

/// One record of the log. A CRC over it, the drive and the arrival goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// A PUT's bytes, which follow, before its commit.
    Payload { path: String, owner: String, version: Version, mtime_ns: i64, executable: bool },
    /// A committed mutation, as earlier versions of this program wrote it.
    Committed { lsn: Lsn, deed: Deed },
    /// A PUT whose bytes are in a stage file, before its commit.
    Staged { path: String, owner: String, version: Version, mtime_ns: i64, executable: bool },
    /// What a commit made of a node.
    Changed(Change),
}

/// A record with the bytes that follow it.
#[derive(Clone, Debug)]
pub(crate) struct Append {
    pub(crate) record: Record,
    pub(crate) payload: bytes::Bytes,
}

impl Append {
    /// Bytes it takes in the log, at most.
    pub(crate) fn cost(&self) -> u64 {
        let text = match &self.record {
            Record::Payload { path, owner, .. } | Record::Staged { path, owner, .. } => path.len() + owner.len(),
            Record::Changed(change) => change.now.as_ref().map_or(0, |now| match &now.body {
                Body::Folder { .. } => now.place.name.as_str().len(),
                Body::File { owner, .. } => now.place.name.as_str().len() + owner.len(),
                Body::Trashed { owner, origin, .. } => now.place.name.as_str().len() + owner.len() + origin.path.len(),
            }),
            Record::Committed { deed, .. } => match deed {
                Deed::Put { path, owner, .. } => path.len() + owner.len(),
                Deed::Remove { path }
                | Deed::MakeFolder { path }
                | Deed::Restore { path, .. }
                | Deed::Purge { path, .. } => path.len(),
                Deed::Move { from, to } => from.len() + to.len(),
            },
        };
        (self.payload.len() + text + FRAME_BYTES + 128) as u64
    }
}

/// A moment of a log: of the payloads before it only some are still needed, committed or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    arrival: Arrival,
    segment: u32,
    end: u64,
    staged: Vec<Ticket>,
}

impl Position {
    /// Whether a payload's PUT had been committed and superseded by then, or given up.
    pub(crate) fn is_past(&self, at: (Arrival, u32, u64), ticket: Ticket) -> bool {
        at < (self.arrival, self.segment, self.end) && !self.staged.contains(&ticket)
    }
}

/// The log of one arrival of a drive, with what older arrivals left in use.
#[derive(Debug)]
pub(crate) struct DriveLog {
    volume: Arc<dyn Volume>,
    drive: DriveId,
    arrival: Arrival,
    segments: BTreeMap<(Arrival, u32), Segment>,
    active: Option<Active>,
    next: u32,
    bytes_max: u64,
    /// Bytes of segments up to which its payloads may wait for their names.
    hold_max: u64,
}

#[derive(Debug)]
struct Segment {
    bytes: u64,
    /// Versions whose only bytes on this drive are in here. By name: a release may come twice, or for a
    /// version that an earlier arrival staged and nobody committed.
    staged: BTreeSet<Ticket>,
    listing: Listing,
}

/// How far what a segment says of commits is in the manifest. It does not go before all of it is.
#[derive(Clone, Copy, Debug, Default)]
struct Listing {
    records: u64,
    /// Those that were handed out to be listed.
    taken: u64,
    listed: u64,
}

impl Segment {
    fn new(bytes: u64, staged: BTreeSet<Ticket>) -> Self {
        Self { bytes, staged, listing: Listing::default() }
    }

    /// Whether nothing in it is needed any more.
    fn is_free(&self) -> bool {
        self.staged.is_empty() && self.listing.listed == self.listing.records
    }
}

struct Active {
    number: u32,
    file: Arc<dyn VolumeFile>,
    end: u64,
    /// Bytes that were written at least once.
    filled: u64,
    /// Bytes that were preallocated.
    size: u64,
}

impl Active {
    fn fits(&self, bytes: u64) -> bool {
        self.end + bytes <= self.size
    }

    /// Up to where an append of `len` bytes that ends at `end` writes, zeros included.
    fn filled_by(&self, end: u64, len: usize) -> u64 {
        if end <= self.filled || len >= FILL_BELOW {
            return end;
        }
        end.next_multiple_of(FILL_BYTES).min(self.size).max(end)
    }
}

impl std::fmt::Debug for Active {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "segment {} up to {}", self.number, self.end)
    }
}

impl DriveLog {
    /// Begins a new arrival. `staged` has the current versions in each older segment; the others are removed.
    pub(crate) fn begin(
        volume: Arc<dyn Volume>,
        drive: DriveId,
        arrival: Arrival,
        mut staged: BTreeMap<(Arrival, u32), BTreeSet<Ticket>>,
    ) -> Result<Self> {
        let mut segments = BTreeMap::new();
        for name in volume.list(layout::LOG_FOLDER)?.names {
            let Some(key) = layout::segment_of(&name) else { continue };
            let path = layout::join(layout::LOG_FOLDER, &name);
            match staged.remove(&key) {
                Some(staged) => {
                    let bytes = volume.stat(&path)?.map_or(0, |meta| meta.observed.size);
                    segments.insert(key, Segment::new(bytes, staged));
                }
                None => volume.remove_file(&path)?,
            }
        }
        let free = volume.space()?.free;
        let bytes_max = (free / LOG_SHARE).clamp(LOG_BYTES_MAX, LOG_BYTES_MOST);
        let hold_max = bytes_max / 4 * 3;
        Ok(Self { volume, drive, arrival, segments, active: None, next: 0, bytes_max, hold_max })
    }

    /// Bytes free on the drive, for those who are told that there is no room.
    pub(crate) fn free(&self) -> u64 {
        self.volume.space().map_or(0, |space| space.free)
    }

    /// Whether the log may grow by `bytes` now, if the drive has room.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.active.as_ref().is_some_and(|active| active.fits(bytes))
            || self.bytes() + SEGMENT_BYTES.max(bytes) <= self.bytes_max
    }

    /// Whether its payloads can wait for their names, as far as the log and the drive have room.
    pub(crate) fn may_hold(&self) -> bool {
        self.bytes() < self.hold_max
    }

    fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }

    /// Appends records and makes them durable; where each payload lies. After `NoSpace` nothing was appended and
    /// the log is as good as before; after any other error it is not used again.
    pub(crate) fn append(&mut self, records: &[Append]) -> Result<Vec<Stage>> {
        let need: u64 = records.iter().map(Append::cost).sum();
        let (arrival, drive) = (self.arrival, self.drive);
        let active = self.make_room(need)?;
        let (start, segment) = (active.end, active.number);
        let mut buffer = Vec::with_capacity(need as usize);
        let mut stages = Vec::with_capacity(records.len());
        let mut tickets = Vec::new();
        let mut listable = 0;
        for append in records {
            encode(&mut buffer, append, drive, arrival);
            let offset = start + (buffer.len() - append.payload.len()) as u64;
            stages.push(Stage::Log { arrival, segment, offset });
            match &append.record {
                Record::Payload { version, .. } => tickets.push(version.ticket),
                Record::Staged { .. } | Record::Changed(_) => listable += 1,
                Record::Committed { .. } => {}
            }
        }
        let end = start + buffer.len() as u64;
        let filled = active.filled_by(end, buffer.len());
        buffer.resize((filled - start) as usize, 0);
        // What a write that found no room leaves behind the end, the next one writes over.
        active.file.write_at(&buffer, start)?;
        active.file.sync_bytes().map_err(as_lost)?;
        (active.end, active.filled) = (end, active.filled.max(filled));
        if let Some(segment) = self.segments.get_mut(&(arrival, segment)) {
            segment.staged.extend(tickets);
            segment.listing.records += listable;
        }
        Ok(stages)
    }

    /// The segment to append to. Without room for a new one the log gives up what it can spare and tries again;
    /// the one in use stays in use for smaller records.
    fn make_room(&mut self, bytes: u64) -> Result<&mut Active> {
        let active = match self.active.take() {
            Some(active) if active.fits(bytes) => active,
            previous => match self.add_segment(bytes) {
                Ok(active) => active,
                Err(error) if error.disposition == Disposition::NoSpace => {
                    self.active = previous.filter(|active| self.is_needed(active.number));
                    self.reclaim()?;
                    self.add_segment(bytes)?
                }
                Err(error) => return Err(error),
            },
        };
        Ok(self.active.insert(active))
    }

    fn is_needed(&self, number: u32) -> bool {
        self.segments.get(&(self.arrival, number)).is_some_and(|segment| !segment.is_free())
    }

    fn add_segment(&mut self, bytes: u64) -> Result<Active> {
        let number = self.next;
        self.next += 1;
        let path = layout::segment(self.arrival, number);
        let share = self.volume.space()?.free / SEGMENT_SHARE;
        self.hold_max = (self.bytes_max / 4 * 3).min(share);
        let size = share.min(SEGMENT_BYTES).max(bytes);
        let made = self.volume.create(&path).and_then(|file| file.preallocate(size).map(|()| file));
        let file = made.inspect_err(|error| {
            if error.disposition == Disposition::NoSpace {
                self.discard(&path);
            }
        })?;
        file.sync().map_err(as_lost)?;
        self.volume.sync_folder(layout::LOG_FOLDER).map_err(as_lost)?;
        self.segments.insert((self.arrival, number), Segment::new(size, BTreeSet::new()));
        Ok(Active { number, file, end: 0, filled: 0, size })
    }

    /// Removes a segment that found no room. One that stays is swept when the drive next comes.
    fn discard(&self, path: &str) {
        match self.volume.remove_file(path) {
            Err(error) if error.disposition != Disposition::NotFound => tracing::warn!(%error, "a log segment stays"),
            Ok(()) | Err(_) => {}
        }
    }

    /// Forgets a staged version: it is installed, or no longer current.
    pub(crate) fn release(&mut self, arrival: Arrival, segment: u32, ticket: Ticket) {
        if let Some(segment) = self.segments.get_mut(&(arrival, segment)) {
            segment.staged.remove(&ticket);
        }
    }

    /// Where the log is, and what is still needed of it.
    pub(crate) fn position(&self) -> Position {
        let end = self.active.as_ref().map_or(0, |active| active.end);
        let segment = self.active.as_ref().map_or(self.next, |active| active.number);
        let staged = self.segments.values().flat_map(|segment| segment.staged.iter().copied()).collect();
        Position { arrival: self.arrival, segment, end, staged }
    }

    /// All that was appended so far is handed out to be put into the manifest.
    pub(crate) fn take_records(&mut self) {
        for segment in self.segments.values_mut() {
            segment.listing.taken = segment.listing.records;
        }
    }

    /// What was taken last is durable in the manifest.
    pub(crate) fn listed(&mut self) {
        for segment in self.segments.values_mut() {
            segment.listing.listed = segment.listing.taken;
        }
    }

    /// Whether a segment stays for no other reason than that the manifest lacks what it says.
    pub(crate) fn waits_for_manifest(&self) -> bool {
        let active = self.active.as_ref().map(|active| (self.arrival, active.number));
        let waits = |(key, segment): (&(Arrival, u32), &Segment)| {
            Some(*key) != active && segment.staged.is_empty() && !segment.is_free()
        };
        self.segments.iter().any(waits)
    }

    /// Removes the segments of which nothing is needed, but for the one in use.
    pub(crate) fn reclaim(&mut self) -> Result<()> {
        let active = self.active.as_ref().map(|active| (self.arrival, active.number));
        let free = |(key, segment): &(&(Arrival, u32), &Segment)| segment.is_free() && Some(**key) != active;
        let keys: Vec<_> = self.segments.iter().filter(free).map(|(key, _)| *key).collect();
        for key in keys {
            self.volume.remove_file(&layout::segment(key.0, key.1))?;
            self.segments.remove(&key);
        }
        Ok(())
    }
}

/// A failed sync says that written bytes may be lost, whatever the reason.
fn as_lost(error: VolumeError) -> VolumeError {
    VolumeError { disposition: Disposition::DriveLost, ..error }
}

/// Adds a record with its bytes.
pub(crate) fn encode(buffer: &mut Vec<u8>, append: &Append, drive: DriveId, arrival: Arrival) {
    #[expect(clippy::expect_used, reason = "postcard fails only on types that serde cannot size; ours are plain")]
    let head = postcard::to_stdvec(&append.record).expect("a plain record encodes");
    seal(buffer, &head, &append.payload, drive, arrival);
}

/// Adds a record with this head and payload, and its CRC.
pub(crate) fn seal(buffer: &mut Vec<u8>, head: &[u8], payload: &[u8], drive: DriveId, arrival: Arrival) {
    buffer.extend(MAGIC.to_le_bytes());
    buffer.extend((head.len() as u32).to_le_bytes());
    buffer.extend((payload.len() as u32).to_le_bytes());
    buffer.extend(crc(head, payload, drive, arrival).0.to_le_bytes());
    buffer.extend(head);
    buffer.extend(payload);
}

fn crc(head: &[u8], payload: &[u8], drive: DriveId, arrival: Arrival) -> Crc32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&drive.0);
    hasher.update(&arrival.0.to_le_bytes());
    hasher.update(&(head.len() as u32).to_le_bytes());
    hasher.update(head);
    hasher.update(payload);
    Crc32(hasher.finalize())
}
