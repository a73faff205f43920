//! The thread of a drive's scrub, as long as the drive is there. It sleeps until something is ordered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::ids::{Lsn, NodeId};
use crate::journal::store::StoreError;
use crate::journal::{Copy, DriveFact, FileNode, Place, ScrubAmount, ScrubOrder};
use crate::mirror::attachment::Attachment;
use crate::mirror::committer::{Durable, Reporter};
use crate::mirror::core::Core;
use crate::mirror::fair::{Class, Flow};
use crate::mirror::lane::LaneError;
use crate::mirror::scrub::desk::Desk;
use crate::mirror::scrub::pass::{Flaw, Pass, Turn};
use crate::mirror::state::DriveState;
use crate::mirror::volume::Disposition;
use crate::mirror::words;

/// Read between two records of the position: what an interruption repeats at most.
const RECORD_EVERY_BYTES: u64 = 64 << 20;
/// Time between two records, where files are small and many.
const RECORD_EVERY: Duration = Duration::from_mins(1);
/// Read in one go; small files are taken together.
const PIECE_BYTES: u64 = 1 << 20;
const PIECE_FILES: usize = 64;
/// Rest between two pieces, in which others come first. With it a fast stick gives at most 50 MiB/s.
const REST: Duration = Duration::from_millis(20);
/// A drive that is always busy gives a piece so often all the same.
const GIVE_WAY_AT_MOST: Duration = Duration::from_secs(1);

/// Starts the thread of a drive that came.
pub(crate) fn start(core: &Arc<Core>, attachment: &Arc<Attachment>, reporter: Reporter) -> std::io::Result<()> {
    let scrub = Scrub { core: Arc::clone(core), attachment: Arc::clone(attachment), reporter };
    std::thread::Builder::new().name(format!("{}-scrub", attachment.side)).spawn(move || scrub.run()).map(drop)
}

struct Scrub {
    core: Arc<Core>,
    attachment: Arc<Attachment>,
    reporter: Reporter,
}

/// Why a drive's scrub stops for now.
enum Halt {
    /// It is through, or paused, or something else was ordered.
    Rest,
    /// The drive is gone, or the journal is closed: this thread has nothing more to do.
    Over,
}

/// What a piece of work came to.
#[derive(Default)]
struct Piece {
    done: ScrubAmount,
    bad: Vec<(Place, FileNode, Flaw)>,
    left_out: Vec<(NodeId, Place)>,
    moving: bool,
    end: bool,
}

impl Scrub {
    fn desk(&self) -> &Desk {
        self.core.scrubs.get(self.attachment.side)
    }

    fn run(self) {
        while !self.is_over() {
            let halt = match self.ordered() {
                Ok(Some(order)) => self.scrub(order),
                Ok(None) => self.wait_for_news(),
                Err(_) => Halt::Over,
            };
            match halt {
                Halt::Rest => {}
                Halt::Over => break,
            }
        }
        self.desk().rest(self.attachment.arrival);
    }

    fn is_over(&self) -> bool {
        self.attachment.is_gone() || self.attachment.wake.is_closing()
    }

    /// What there is to do for this drive.
    fn ordered(&self) -> Result<Option<ScrubOrder>, StoreError> {
        let order = self.core.journal.scrub_order()?.filter(|order| !order.paused);
        let progress = self.desk().progress();
        Ok(order.filter(|order| progress.number != order.number || progress.ended_ns.is_none()))
    }

    fn wait_for_news(&self) -> Halt {
        self.desk().wait(None);
        if self.desk().take_news() { self.record(Vec::new()) } else { Halt::Rest }
    }

    fn scrub(&self, order: ScrubOrder) -> Halt {
        let side = self.attachment.side;
        if !self.is_caught_up() {
            // What the drive lacks comes first, and would be looked at in vain.
            self.desk().wait(Some(GIVE_WAY_AT_MOST));
            return Halt::Rest;
        }
        let before = self.desk().progress();
        let new = before.number != order.number;
        let progress = if new { before.next(order.number, clock::wall_ns(), self.core.journal.head()) } else { before };
        let Ok(mut left) = self.core.journal.held_after(side, progress.position.after.as_ref()) else {
            return Halt::Over;
        };
        left.bytes -= progress.position.within.as_ref().map_or(0, |part| part.bytes).min(left.bytes);
        if new {
            self.core.history.add(clock::wall_ns(), Some(side), words::scrub_begins(left));
            // The scrub reads what the catalog has; what others made or took away is found by the lane.
            self.attachment.errands.look_everywhere();
            self.attachment.wake.ring();
        }
        let volume = Arc::clone(&self.attachment.volume);
        let mut pass = Pass::new(side, Arc::clone(&self.core.journal), volume, progress.position.clone());
        self.desk().begin(self.attachment.arrival, clock::now(), progress, left);
        let halt = self.go_through(&mut pass, order.number);
        self.desk().rest(self.attachment.arrival);
        halt
    }

    fn go_through(&self, pass: &mut Pass, number: u64) -> Halt {
        let (mut unrecorded, mut recorded) = (0, clock::now());
        let mut seen = self.activity();
        loop {
            seen = self.give_way(seen);
            let wanted = matches!(self.ordered(), Ok(Some(order)) if order.number == number);
            if !wanted || self.is_over() || !self.is_caught_up() {
                // On its way out the daemon may be faster than this.
                return self.record(Vec::new());
            }
            self.desk().begin_piece();
            let piece = match self.piece(pass) {
                Ok(piece) => piece,
                Err(LaneError::Store(error)) => {
                    // An end of the drive's, or a journal that the committer opens anew, where it is not worse.
                    tracing::warn!(drive = %self.attachment.side, %error, "scrub stops");
                    return Halt::Over;
                }
                Err(LaneError::Volume(error)) => {
                    self.core.complain(&self.attachment, &error);
                    return Halt::Over;
                }
            };
            seen = seen.map(|count| count + 1);
            unrecorded += piece.done.bytes;
            let (end, found) = (piece.end, !piece.bad.is_empty());
            let facts = self.tell(pass, piece);
            let now = clock::now();
            let due = unrecorded + PIECE_BYTES > RECORD_EVERY_BYTES
                || now.saturating_duration_since(recorded) >= RECORD_EVERY;
            if end || found || due {
                match self.record(facts) {
                    Halt::Rest => {}
                    Halt::Over => return Halt::Over,
                }
                (unrecorded, recorded) = (0, now);
            }
            if end {
                let progress = self.desk().progress();
                tracing::info!(drive = %self.attachment.side, damaged = progress.damaged, "scrub done");
                let what = words::scrub_ended(&progress);
                self.core.history.add(clock::wall_ns(), Some(self.attachment.side), what);
                return Halt::Rest;
            }
        }
    }

    /// Reads a little, on one of the drive's own threads: it is waited for as all else that is done on it.
    fn piece(&self, pass: &mut Pass) -> Result<Piece, LaneError> {
        let side = self.attachment.side;
        let gone = || LaneError::Store(StoreError::Dead);
        let volume = Arc::clone(&self.attachment.volume);
        let taken =
            std::mem::replace(pass, Pass::new(side, Arc::clone(&self.core.journal), volume, pass.position().clone()));
        let work = move || {
            let mut pass = taken;
            let read = read_piece(&mut pass);
            (pass, read)
        };
        let answer =
            self.attachment.io.start_job(Flow::own(Class::Background).moving(PIECE_BYTES), work).map_err(|_| gone())?;
        // A drive that leaves drops its jobs; one that hangs holds this thread alone.
        let (back, read) = answer.blocking_recv().map_err(|_| gone())?;
        *pass = back;
        read
    }

    /// Counts what was found; what is to be noted of it.
    fn tell(&self, pass: &Pass, piece: Piece) -> Vec<DriveFact> {
        let side = self.attachment.side;
        let Piece { done, bad, left_out, moving, end } = piece;
        let mut facts = Vec::new();
        for (place, file, flaw) in &bad {
            let path = self.core.journal.path_of(place).ok().flatten().map(|path| path.to_string());
            tracing::warn!(drive = %side, path, ?flaw, "scrub: damaged copy");
            match flaw {
                Flaw::WrongBytes => self.core.seat(side).count_checksum_error(),
                Flaw::Unreadable(error) => self.core.complain(&self.attachment, error),
                Flaw::Changed | Flaw::Vanished => {}
            }
            match file.copies.get(side) {
                // A stage is kept until the lane has made a whole file of it.
                Copy::Missing | Copy::Staged(_) => {}
                Copy::Installed { .. } => {
                    facts.push(DriveFact::Damaged { side, place: place.clone(), file: file.clone() });
                }
            }
        }
        let position = pass.position().clone();
        let found = bad.iter().map(|(place, file, _)| (file.id, place.clone())).chain(left_out);
        self.desk().tell(clock::now(), done, found, |progress| {
            progress.position = position;
            progress.damaged += bad.len() as u64;
            if end {
                progress.ended_ns = Some(clock::wall_ns());
            }
        });
        if moving {
            self.desk().wait(Some(REST));
        }
        facts
    }

    /// Puts the position on record, with what was found up to there.
    fn record(&self, mut facts: Vec<DriveFact>) -> Halt {
        let (side, found) = (self.attachment.side, !facts.is_empty());
        facts.push(DriveFact::Scrubbed { side, progress: self.desk().record(clock::now()) });
        match self.core.committer.note(self.reporter, facts, Durable::Now) {
            Ok(_) if found => {
                self.core.wake_lanes();
                Halt::Rest
            }
            Ok(_) => Halt::Rest,
            Err(_) => Halt::Over,
        }
    }

    fn is_caught_up(&self) -> bool {
        match self.core.seat(self.attachment.side).state() {
            DriveState::InSync | DriveState::Full => true,
            DriveState::Absent
            | DriveState::Verifying
            | DriveState::Replaying
            | DriveState::Backfilling
            | DriveState::Faulted
            | DriveState::Fenced
            | DriveState::Parked => false,
        }
    }

    /// Whether the lane has something to do that it can do.
    fn is_lane_busy(&self) -> bool {
        let side = self.attachment.side;
        self.core.journal.behind(side).0 > self.core.seat(side).stays().len() as u64
    }

    /// What clients have done on the drive so far, and the journal's head.
    fn activity(&self) -> Activity {
        Activity { jobs: self.attachment.io.started(), head: self.core.journal.head() }
    }

    /// Rests a moment, and longer while others are at work on the drive. `seen` is what they had done before.
    fn give_way(&self, mut seen: Activity) -> Activity {
        let until = clock::now() + GIVE_WAY_AT_MOST;
        loop {
            self.desk().wait(Some(REST));
            let now = self.activity();
            let calm = now == seen && self.attachment.io.depth() == 0 && !self.is_lane_busy();
            if calm || self.is_over() || is_past(until) {
                return now;
            }
            seen = now;
        }
    }
}

fn is_past(until: Instant) -> bool {
    clock::now() >= until
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Activity {
    jobs: u64,
    head: Lsn,
}

impl Activity {
    fn map(self, jobs: impl FnOnce(u64) -> u64) -> Self {
        Self { jobs: jobs(self.jobs), ..self }
    }
}

fn read_piece(pass: &mut Pass) -> Result<Piece, LaneError> {
    let mut piece = Piece::default();
    for _ in 0..PIECE_FILES {
        let turn = match pass.turn() {
            // It is taken again after a rest.
            Err(LaneError::Volume(error)) if error.disposition == Disposition::Shortage => Turn::Moving,
            turn => turn?,
        };
        match turn {
            Turn::Read(bytes) => piece.done.bytes += bytes,
            Turn::Right(bytes) => {
                piece.done.files += 1;
                piece.done.bytes += bytes;
            }
            Turn::Owed => {}
            Turn::Bad { place, file, flaw } => {
                piece.done.files += 1;
                piece.bad.push((place, *file, flaw));
                // Told at once: readers and the other drive's scrub may be about to find it too.
                break;
            }
            Turn::Moving => {
                piece.moving = true;
                break;
            }
            Turn::LeftOut(node, place) => {
                piece.done.files += 1;
                piece.left_out.push((node, place));
            }
            Turn::End => {
                piece.end = true;
                break;
            }
        }
        if piece.done.bytes >= PIECE_BYTES {
            break;
        }
    }
    Ok(piece)
}
