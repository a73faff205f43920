//! The world that the model test steps: two sticks, a boot disk, one daemon.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::single_match_else,
    clippy::struct_excessive_bools,
    reason = "tests"
)]

pub(super) mod adopted;
mod checks;
mod comings;
pub(super) mod foreign;
mod media;
mod mutations;
mod rot;
mod trash;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use parking_lot::Mutex;

use crate::elapsed::Elapsed;
use crate::ids::{Arrival, DriveId, MirrorId, Nonce, PerSide, Side};
use crate::journal::mem_store::MemDisk;
use crate::journal::{DriveFact, Enrolled, Enrolment, Journal, Staged, Version, Writer};
use crate::mirror::drive_log::DriveLog;
use crate::mirror::lane::{Finding, Lane, LaneError, Neighbour, Step};
use crate::mirror::limits::AsideMax;
use crate::mirror::manifest::Keeper;
use crate::mirror::model::oracle::Oracle;
use crate::mirror::reconcile::hints::Hint;
use crate::mirror::reconcile::inbox::Job;
use crate::mirror::sim_volume::SimDisk;
use crate::mirror::steps::Steps;
use crate::mirror::volume::{Disposition, FsKind, Volume};

use adopted::Manifests;
pub(super) use media::{Found, Media, Past};

/// Steps of both lanes in which all debts must be worked off.
const STEPS_MAX: usize = 400;
const CAPACITY: u64 = 1 << 30;

/// How a PUT's bytes are staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Log,
    File,
}

struct Drive {
    arrival: Arrival,
    volume: Arc<dyn Volume>,
    log: DriveLog,
    lane: Lane,
    steps: Arc<Steps>,
    /// Where the drives tell of the mirror.
    keeper: Option<Keeper>,
    /// Names that the kernel told the daemon of.
    hints: Vec<Hint>,
    watched: BTreeSet<String>,
}

/// What came of a lane's work on its drive.
enum Worked {
    Step(Step),
    /// The drive was lost by it.
    Lost,
}

/// A PUT whose bytes are staged and not committed.
pub(super) struct Upload {
    path: String,
    bytes: Vec<u8>,
    version: Version,
    stages: PerSide<Option<Staged>>,
}

impl Upload {
    /// As one that began while the drive was away.
    pub(super) fn without(mut self, side: Side) -> Self {
        *self.stages.get_mut(side) = None;
        self
    }
}

/// What a drive is at while something is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum During {
    Step,
    /// It comes back, and what it has is found out.
    Arrival,
}

/// Whether there is a trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trash {
    On,
    Off,
}

/// A mutation that is committed while a lane is at work.
#[derive(Clone, Debug)]
pub(super) enum Amid {
    /// The oldest upload.
    Put,
    Remove(&'static str),
    MakeFolder(&'static str),
    Move(&'static str, &'static str),
    Restore(&'static str),
    /// The oldest in the trash.
    Purge,
}

pub(super) struct World {
    store: MemDisk,
    writer: Arc<Mutex<Writer>>,
    journal: Arc<Journal>,
    disks: PerSide<SimDisk>,
    drives: PerSide<Option<Drive>>,
    kind: FsKind,
    replaced: u8,
    /// Times that the daemon was started.
    sessions: u64,
    arrivals: u64,
    /// The last commit that drives tell of.
    tells_up_to: Arc<AtomicU64>,
    tickets: u64,
    uploads: Vec<Upload>,
    random: u64,
    /// How long the mirror has been running.
    running: Elapsed,
    /// Whether what is removed or overwritten is kept.
    trash: Trash,
    manifests: Manifests,
    /// Whether something was committed that no drive tells of, or is on a drive and was not acknowledged.
    untold: bool,
    /// Whether the journal was rebuilt: it knows no earlier session, whose stages lie aside.
    rebuilt: bool,
    pub(super) oracle: Oracle,
    /// What others wrote on the drives, not in the mirror yet: kept, whatever happens.
    foreign: Vec<Vec<u8>>,
    /// What was taken in of that, by the paths that it got.
    pub(super) taken_in: Vec<String>,
    /// What was taken in though its bytes are no other's in a random history: the mirror had removed it, or moved it away.
    pub(super) came_back: Vec<String>,
    /// What is to be taken in from each drive that is there.
    jobs: PerSide<Vec<Job>>,
    /// What the lanes said of what they found.
    pub(in crate::mirror::model) findings: Vec<Finding>,
    now: Instant,
    /// The wall clock: tells apart what was recorded at different times, and nothing else.
    wall_ns: i64,
    /// Whether reads may fail by themselves: then a present holder may be passed over for a while.
    bad_reads: bool,
    /// Whether copies were damaged: what they are replaced by lies aside.
    rotten: bool,
    /// Whether others gave files other names, or were cut short: what they left may have any bytes.
    untraceable: bool,
    /// How much may lie aside on each drive that comes.
    aside_max: AsideMax,
}

fn drive_id(side: Side) -> DriveId {
    DriveId([side.index() as u8; 16])
}

impl World {
    pub(super) fn new(kind: FsKind, seed: u64) -> Self {
        let mut world = Self::without_drives(kind, seed);
        world.arrive(Side::A);
        world.arrive(Side::B);
        world
    }

    fn without_drives(kind: FsKind, seed: u64) -> Self {
        let store = MemDisk::new();
        let disks = PerSide::new(|_| SimDisk::new(kind, CAPACITY));
        let enrolled = |side| Enrolled { id: drive_id(side), place: String::new() };
        let enrolment = Enrolment { mirror: MirrorId([9; 16]), drives: PerSide::new(enrolled), plain: true };
        let namespace = disks.a.mount().unwrap().namespace();
        Writer::note_names(&store.open(), PerSide::new(|_| namespace)).unwrap();
        Writer::create(&store.open(), &enrolment).unwrap();
        let mut world = Self::opened(kind, Media { store, disks }, Past::default());
        world.random = seed | 1;
        world
    }

    /// A world in which what is removed or overwritten is kept.
    pub(super) fn with_trash(kind: FsKind, seed: u64) -> Self {
        let mut world = Self::new(kind, seed);
        world.trash = Trash::On;
        world
    }

    /// A daemon started on these media, to which no drive has come yet.
    fn opened(kind: FsKind, media: Media, past: Past) -> Self {
        let nonce = Nonce(past.sessions.to_be_bytes());
        let (journal, writer) = Writer::open_session(Arc::new(media.store.open()), nonce).unwrap();
        Self {
            store: media.store,
            writer: Arc::new(Mutex::new(writer)),
            journal,
            disks: media.disks,
            drives: PerSide { a: None, b: None },
            kind,
            replaced: 1,
            sessions: past.sessions + 1,
            arrivals: past.arrivals,
            tells_up_to: Arc::new(AtomicU64::new(u64::MAX)),
            tickets: 0,
            uploads: Vec::new(),
            random: 1,
            running: Elapsed(0),
            trash: Trash::Off,
            manifests: Manifests::Not,
            untold: false,
            rebuilt: false,
            oracle: Oracle::default(),
            foreign: Vec::new(),
            taken_in: Vec::new(),
            came_back: Vec::new(),
            jobs: PerSide::default(),
            findings: Vec::new(),
            now: crate::clock::now(),
            wall_ns: 0,
            bad_reads: false,
            rotten: false,
            untraceable: false,
            aside_max: AsideMax::Bytes(u64::MAX),
        }
    }

    pub(super) fn choose(&mut self) -> impl FnMut(usize) -> usize + use<> {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut state = self.random;
        move |n| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if n == 0 { 0 } else { (state % n as u64) as usize }
        }
    }

    pub(super) fn is_present(&self, side: Side) -> bool {
        self.drives.get(side).is_some()
    }

    // Drives coming and going.

    /// The journal gives up entries past so many.
    pub(super) fn limit(&mut self, entries_max: u64) {
        if self.writer.lock().limit(entries_max, 0).is_err() {
            self.reopen();
        }
    }

    /// A drive that owes nothing ends its backfill.
    fn end_fill(&mut self, side: Side) {
        if self.is_present(side)
            && self.journal.behind(side).0 == 0
            && self.writer.lock().note(&[DriveFact::Filled { side }]).is_err()
        {
            self.reopen();
        }
    }

    fn tick(&mut self) -> i64 {
        self.wall_ns += 1;
        self.wall_ns
    }

    pub(super) fn step(&mut self, side: Side) -> bool {
        match self.work(side) {
            Some(Worked::Step(step)) => self.record(side, step),
            Some(Worked::Lost) => true,
            None => false,
        }
    }

    /// A lane's step, of which the journal does not hear before the other lane has made one too. On FAT one lane at a
    /// time gives names.
    pub(super) fn step_around(&mut self, side: Side) {
        if self.kind == FsKind::Fat {
            self.step(side);
            return;
        }
        let steps = self.drives.get(side).as_ref().map(|drive| (drive.arrival, Arc::clone(&drive.steps)));
        let Some((arrival, steps)) = steps else { return };
        let under_way = steps.begin();
        let Some(Worked::Step(step)) = self.work(side) else { return };
        self.step(side.other());
        if self.drives.get(side).as_ref().is_some_and(|drive| drive.arrival == arrival) {
            self.record(side, step);
        }
        drop(under_way);
    }

    fn neighbour_of(&self, side: Side) -> Option<Neighbour> {
        let other = self.drives.get(side.other()).as_ref()?;
        Some(Neighbour { volume: Arc::clone(&other.volume), steps: Arc::clone(&other.steps) })
    }

    fn work(&mut self, side: Side) -> Option<Worked> {
        let peer = self.neighbour_of(side);
        let now_ns = self.tick();
        let drive = self.drives.get_mut(side).as_mut()?;
        match drive.lane.step(peer, now_ns) {
            Ok(step) => Some(Worked::Step(step)),
            Err(LaneError::Volume(_)) => {
                self.lose(side);
                Some(Worked::Lost)
            }
            Err(LaneError::Store(error)) => panic!("{error}"),
        }
    }

    fn record(&mut self, side: Side, step: Step) -> bool {
        if step.peer_error.as_ref().is_some_and(|error| error.disposition == Disposition::DriveLost) {
            self.lose(side.other());
        }
        let noted = self.writer.lock().note(&step.facts);
        let durable = if step.barrier { self.writer.lock().barrier() } else { Ok(()) };
        let (Ok(released), Ok(())) = (noted, durable) else {
            self.reopen();
            return true;
        };
        self.jobs.get_mut(side).extend(step.aside.into_iter().map(Job::Aside));
        self.release(&released);
        self.reclaim_log(side);
        self.end_fill(side);
        step.seen > 0
    }

    pub(super) fn reclaim_log(&mut self, side: Side) {
        if let Some(drive) = self.drives.get_mut(side)
            && drive.log.reclaim().is_err()
        {
            self.lose(side);
        }
    }

    /// Both lanes to the end of their debts, and a checkpoint of each.
    pub(super) fn rest(&mut self) {
        for _ in 0..STEPS_MAX {
            self.step(Side::A);
            self.step(Side::B);
            if Side::BOTH.into_iter().all(|side| self.journal.behind(side).0 == 0 || !self.is_present(side)) {
                break;
            }
        }
        for side in Side::BOTH {
            self.checkpoint(side);
        }
    }

    pub(super) fn checkpoint(&mut self, side: Side) {
        let Some(drive) = self.drives.get(side) else { return };
        if drive.volume.sync_all().is_err() {
            return self.lose(side);
        }
        self.write_checkpoint(side);
        if !self.is_present(side) {
            return;
        }
        if self.writer.lock().note(&[DriveFact::Checkpoint { side }]).is_err() {
            self.reopen();
        }
    }
}
