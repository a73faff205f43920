//! Keeps a drive's manifest up with the journal, in the drive's own thread and in small pieces.

use std::sync::Arc;

use crate::ids::{DriveId, Lsn, NodeId, Side};
use crate::journal::{Change, Journal, Place};
use crate::mirror::drive_log::scan::{Part, scan};
use crate::mirror::drive_log::{Position, Record};
use crate::mirror::lane::LaneError;
use crate::mirror::layout;
use crate::mirror::log_thread::Taken;
use crate::mirror::manifest::frame::Head;
use crate::mirror::manifest::writer::Writer;
use crate::mirror::volume::{Disposition, Result, Volume, VolumeError};

/// Nodes that one turn adds to a snapshot.
const PAGE: usize = 512;
/// Debts read at once.
const DEBTS_PAGE: usize = 1024;

/// Whether there is more to be done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    More,
    Done,
}

/// What there is to be said of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Whole,
    /// There is none, or it lacks changes, and no room for a new one.
    NoRoom,
}

/// Where a snapshot goes on.
#[derive(Clone, Debug)]
enum Cursor {
    /// Behind this place of the catalog.
    Nodes(Option<Place>),
    /// With the drives' debts from this node on: what was removed is in no catalog, and what was moved or overwritten was
    /// something else before. Without that nobody would know what a drive is that comes when the journal was lost.
    Debts(Side, NodeId),
}

/// A drive's manifest while it is there.
///
/// Invariant: before a debt is settled in the journal, what it was about is durable in the manifest or the drive log.
#[derive(Debug)]
pub(crate) struct Keeper {
    side: Side,
    drive: DriveId,
    volume: Arc<dyn Volume>,
    writer: Writer,
    /// All changes up to here that concern the drive are in what was appended, or in the snapshot to come.
    covered: Lsn,
    /// Where the snapshot goes on.
    cursor: Cursor,
    /// Whether to look if a snapshot is due: something was appended since the last look.
    look: bool,
    /// What was last said of it.
    told: News,
}

impl Keeper {
    /// `covered` is what the label says: all up to there is in the manifest, if there is one.
    pub(crate) fn open(volume: Arc<dyn Volume>, side: Side, head: Head, covered: Lsn) -> Result<Self> {
        let drive = head.drive;
        let writer = Writer::open(Arc::clone(&volume), head)?;
        Ok(Self { side, drive, volume, writer, covered, cursor: Cursor::Nodes(None), look: true, told: News::Whole })
    }

    /// The head up to which the drive's manifest and log say everything.
    pub(crate) fn covered(&self) -> Lsn {
        self.covered
    }

    /// Takes in what segments of earlier arrivals say of commits, before they are removed.
    pub(crate) fn take_segments(&mut self) -> std::result::Result<(), LaneError> {
        if !self.writer.is_kept() {
            return Ok(());
        }
        let covered = self.covered;
        for name in self.volume.list(layout::LOG_FOLDER)?.names {
            let Some((arrival, _)) = layout::segment_of(&name) else { continue };
            let path = layout::join(layout::LOG_FOLDER, &name);
            let Some(bytes) = unless_bad(read_segment(self.volume.as_ref(), &path))? else { continue };
            let mut changes = Vec::new();
            scan(&bytes, self.drive, arrival, |part| match part {
                Part::Record { record: Record::Changed(change), .. } if change.lsn > covered => changes.push(change),
                Part::Record { .. } | Part::Damage { .. } | Part::Torn { .. } => {}
            });
            self.append(&changes)?;
        }
        Ok(self.writer.sync()?)
    }

    /// Takes in what was committed while the drive was away, up to `head`: its debts say it.
    pub(crate) fn take_debts(&mut self, journal: &Journal, head: Lsn) -> std::result::Result<(), LaneError> {
        let after = self.covered;
        self.covered = after.max(head);
        if !self.writer.is_kept() || head <= after {
            return Ok(());
        }
        let mut at = NodeId::ROOT;
        loop {
            let mut changes = Vec::new();
            {
                let snapshot = journal.snapshot();
                let page = snapshot.debts(self.side, at, DEBTS_PAGE)?;
                let Some((last, _)) = page.last() else { break };
                at = last.next();
                for (id, debt) in page.iter().filter(|(_, debt)| debt.lsn > after) {
                    changes.extend(snapshot.change_of(*id, debt)?);
                }
            }
            self.append(&changes)?;
        }
        Ok(self.writer.sync()?)
    }

    /// Takes in what the log said of commits. Durable after the next sync of all, or of the manifest.
    pub(crate) fn take(&mut self, taken: &Taken) -> Result<()> {
        if let Some(last) = taken.changes.last() {
            self.covered = self.covered.max(last.lsn);
        }
        if taken.omitted > 0 {
            self.writer.mark_gap()?;
            // A snapshot in the making may lack them.
            self.writer.give_up_snapshot()?;
            self.look = true;
        }
        self.append(&taken.changes)
    }

    pub(crate) fn sync(&mut self) -> Result<()> {
        self.writer.sync()
    }

    /// Does the next piece of a snapshot, where one is due. `position` is asked where the drive's log is then.
    pub(crate) fn turn(
        &mut self,
        journal: &Journal,
        position: impl FnOnce() -> Option<Position>,
    ) -> std::result::Result<Turn, LaneError> {
        if !self.writer.is_snapshotting() {
            if !std::mem::take(&mut self.look) || !self.writer.wants_snapshot(self.volume.space()?.free) {
                return Ok(Turn::Done);
            }
            let Some(position) = position() else { return Ok(Turn::Done) };
            self.writer.begin_snapshot(position)?;
            self.cursor = Cursor::Nodes(None);
            return Ok(if self.writer.is_snapshotting() { Turn::More } else { Turn::Done });
        }
        let snapshot = journal.snapshot();
        let (changes, cursor) = match &self.cursor {
            Cursor::Nodes(after) => {
                let page = snapshot.nodes(after.as_ref(), PAGE)?;
                let next = page.last().map(|(last, _)| Cursor::Nodes(Some(last.clone())));
                let listing = |(place, node)| snapshot.listing(place, &node);
                let nodes = page.into_iter().map(listing).collect::<std::result::Result<Vec<_>, _>>()?;
                (nodes, next.or(Some(Cursor::Debts(Side::A, NodeId::ROOT))))
            }
            Cursor::Debts(side, from) => {
                let page = snapshot.debts(*side, *from, PAGE)?;
                let next = match (page.last(), side) {
                    (Some((last, _)), side) => Some(Cursor::Debts(*side, last.next())),
                    (None, Side::A) => Some(Cursor::Debts(Side::B, NodeId::ROOT)),
                    (None, Side::B) => None,
                };
                let past = page.iter().map(|(id, debt)| snapshot.past_of(*id, debt));
                (past.collect::<std::result::Result<Vec<_>, _>>()?.concat(), next)
            }
        };
        drop(snapshot);
        if !changes.is_empty() {
            self.writer.add_nodes(&changes)?;
        }
        let Some(cursor) = cursor else {
            self.writer.end_snapshot()?;
            tracing::info!(drive = %self.side, "the manifest has a new snapshot");
            return Ok(Turn::Done);
        };
        self.cursor = cursor;
        Ok(if self.writer.is_snapshotting() { Turn::More } else { Turn::Done })
    }

    /// What is new since the last call, if anything is.
    pub(crate) fn news(&mut self) -> Option<News> {
        let now = match (self.writer.is_whole(), self.writer.is_snapshotting() || self.look) {
            (true, _) => News::Whole,
            // It may have one in a moment.
            (false, true) => return None,
            (false, false) => News::NoRoom,
        };
        (std::mem::replace(&mut self.told, now) != now).then_some(now)
    }

    fn append(&mut self, changes: &[Change]) -> Result<()> {
        self.look |= !changes.is_empty();
        match self.writer.append(changes) {
            Err(error) if error.disposition == Disposition::NoSpace => {
                tracing::debug!(drive = %self.side, %error, "the manifest lacks changes");
                Ok(())
            }
            outcome => outcome,
        }
    }
}

/// The bytes of a segment, as far as anything was written.
pub(crate) fn read_segment(volume: &dyn Volume, path: &str) -> Result<Vec<u8>> {
    let file = volume.open(path)?;
    let size = file.meta()?.observed.size;
    let mut content = Vec::new();
    // Behind the last record there are zeros up to the end, and no record has so many in a row.
    let mut zeros = false;
    crate::mirror::content::pour(&file, 0, size, |bytes, _| {
        zeros = zeros || (bytes.len() == crate::digest::BLOCK_BYTES && bytes.iter().all(|byte| *byte == 0));
        if !zeros {
            content.extend_from_slice(bytes);
        }
        Ok::<_, VolumeError>(())
    })?;
    Ok(content)
}

/// Passes over what cannot be read on a drive that is there.
fn unless_bad<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if error.disposition == Disposition::DriveLost => Err(error),
        Err(error) => {
            tracing::warn!(%error, "a log segment of an earlier arrival");
            Ok(None)
        }
        Ok(value) => Ok(Some(value)),
    }
}
