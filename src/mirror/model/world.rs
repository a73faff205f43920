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
pub(super) mod foreign;
mod media;
mod mutations;
mod rot;
mod trash;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::elapsed::Elapsed;
use crate::ids::{Arrival, DriveId, MirrorId, NodeId, Nonce, PerSide, Side};
use crate::journal::mem_store::{BarrierError, BarrierFault, MemDisk};
use crate::journal::{Attached, DriveFact, Enrolled, Enrolment, Journal, Staged, Version, Writer};
use crate::mirror::drive_log::DriveLog;
use crate::mirror::lane::{Lane, LaneError, look_again, reclaim};
use crate::mirror::limits::AsideMax;
use crate::mirror::manifest::Keeper;
use crate::mirror::model::oracle::Oracle;
use crate::mirror::reconcile::hints::Hint;
use crate::mirror::reconcile::inbox::Job;
use crate::mirror::reconcile::intake;
use crate::mirror::reconcile::survey::Depth;
use crate::mirror::sim_volume::{CallKind, Fault, SimDisk};
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
    /// Where the drives tell of the mirror.
    keeper: Option<Keeper>,
    /// Names that the kernel told the daemon of.
    hints: Vec<Hint>,
    watched: BTreeSet<String>,
}

/// A PUT whose bytes are staged and not committed.
pub(super) struct Upload {
    path: String,
    bytes: Vec<u8>,
    version: Version,
    stages: PerSide<Option<Staged>>,
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
    /// What is to be taken in from each drive that is there.
    jobs: PerSide<Vec<Job>>,
    now: Instant,
    /// The wall clock: tells apart what was recorded at different times, and nothing else.
    wall_ns: i64,
    /// Whether reads may fail by themselves: then a present holder may be passed over for a while.
    bad_reads: bool,
    /// Whether copies were damaged: what they are replaced by lies aside.
    rotten: bool,
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
            jobs: PerSide::default(),
            now: crate::clock::now(),
            wall_ns: 0,
            bad_reads: false,
            rotten: false,
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

    pub(super) fn pull(&mut self, side: Side) {
        self.disks.get(side).pull();
        self.lose(side);
    }

    pub(super) fn lose(&mut self, side: Side) {
        self.disks.get(side).pull();
        *self.drives.get_mut(side) = None;
        self.writer.lock().detach(side);
    }

    pub(super) fn bring_back(&mut self, side: Side) {
        if self.disks.get(side).is_pulled() {
            let mut choice = self.choose();
            self.disks.get(side).reinsert(&mut choice);
        }
        if !self.is_present(side) {
            self.arrive(side);
        }
    }

    pub(super) fn arrive(&mut self, side: Side) {
        let exposed = self.writer.lock().detach(side);
        self.arrivals += 1;
        let arrival = Arrival(self.arrivals);
        let volume: Arc<dyn Volume> = Arc::new(self.disks.get(side).mount().unwrap());
        let now_ns = self.tick();
        let arrived = match reclaim(&self.journal, volume.as_ref(), side, exposed, now_ns) {
            Ok(arrived) => arrived,
            Err(LaneError::Volume(_)) => return self.lose(side),
            Err(LaneError::Store(error)) => panic!("{error}"),
        };
        let mut keeper = match self.open_manifest(side, &volume) {
            Ok(keeper) => keeper,
            Err(LaneError::Volume(_)) => return self.lose(side),
            Err(LaneError::Store(error)) => panic!("{error}"),
        };
        let noted = self.writer.lock().note(&arrived.facts);
        let durable = self.writer.lock().barrier();
        let (Ok(released), Ok(())) = (noted, durable) else { return self.reopen() };
        let (paths, bytes) = self.journal.behind(side);
        if self.writer.lock().note(&[DriveFact::Fills { side, paths, bytes }]).is_err() {
            return self.reopen();
        }
        let id = self.journal.enrolment().drives.get(side).id;
        let log = DriveLog::begin(Arc::clone(&volume), id, arrival, arrived.staged);
        let Ok(log) = log else { return self.lose(side) };
        let mut lane = Lane::new(side, arrival, Arc::clone(&self.journal), Arc::clone(&volume));
        lane.set_shaken(arrived.shaken);
        lane.search(NodeId::ROOT, Depth::WithAllBelow);
        loop {
            let now_ns = self.tick();
            let facts = match look_again(&self.journal, volume.as_ref(), side, now_ns) {
                Ok(facts) => facts,
                Err(LaneError::Volume(_)) => return self.lose(side),
                Err(LaneError::Store(error)) => panic!("{error}"),
            };
            if self.writer.lock().note(&facts).is_err() || self.writer.lock().barrier().is_err() {
                return self.reopen();
            }
            match self.writer.lock().attach(side, id, arrival) {
                Attached::Yes => break,
                Attached::InDoubt => {}
                Attached::Replaced => panic!("another drive"),
            }
        }
        if let Some(keeper) = &mut keeper
            && keeper.take_debts(&self.journal, self.journal.head()).is_err()
        {
            return self.lose(side);
        }
        *self.drives.get_mut(side) =
            Some(Drive { arrival, volume, log, lane, keeper, hints: Vec::new(), watched: BTreeSet::new() });
        self.take_snapshot(side);
        if !self.is_present(side) {
            return;
        }
        let limit = self.aside_max;
        if self.drives.get_mut(side).as_mut().is_none_or(|drive| drive.lane.take_stock(limit).is_err()) {
            return self.lose(side);
        }
        let items = self.drives.get(side).as_ref().map(|drive| intake::items(drive.volume.as_ref()));
        match items {
            Some(Ok(items)) => *self.jobs.get_mut(side) = items.into_iter().map(Job::Aside).collect(),
            Some(Err(_)) | None => return self.lose(side),
        }
        self.release(&released);
        self.reclaim_log(side);
        self.forget_stays();
        self.note_torn(side);
    }

    /// From now on no more than this may lie aside on each drive.
    pub(super) fn limit_aside(&mut self, bytes: u64) {
        self.aside_max = AsideMax::Bytes(bytes);
        for side in Side::BOTH {
            if let Some(drive) = self.drives.get_mut(side) {
                drive.lane.take_stock(self.aside_max).unwrap();
            }
        }
    }

    pub(super) fn forget_stays(&mut self) {
        for side in Side::BOTH {
            if let Some(drive) = self.drives.get_mut(side) {
                drive.lane.forget_stays();
            }
        }
    }

    /// The journal failed: it is opened again, and what the lanes did meanwhile is found out anew.
    pub(super) fn reopen(&mut self) {
        self.writer.lock().close();
        self.store.clear_fault();
        let mut choice = self.choose();
        self.store.crash(&mut choice);
        self.writer.lock().reopen(Arc::new(self.store.open())).unwrap();
        self.come_again();
    }

    pub(super) fn come_again(&mut self) {
        self.drives = PerSide { a: None, b: None };
        for side in Side::BOTH {
            self.writer.lock().detach(side);
            if !self.disks.get(side).is_pulled() {
                self.arrive(side);
            }
        }
    }

    /// kill -9: what the store had not flushed is gone, the sticks keep what they were told.
    pub(super) fn kill(&mut self) {
        let mut choice = self.choose();
        self.store.crash(&mut choice);
        self.start();
    }

    pub(super) fn cut_power(&mut self) {
        for side in Side::BOTH {
            let mut choice = self.choose();
            self.disks.get(side).crash(&mut choice);
        }
        self.kill();
    }

    pub(super) fn start(&mut self) {
        self.store.clear_fault();
        self.uploads.clear();
        for side in Side::BOTH {
            self.disks.get(side).clear_faults();
        }
        let nonce = Nonce(self.sessions.to_be_bytes());
        self.sessions += 1;
        let (journal, writer) = Writer::open_session(Arc::new(self.store.open()), nonce).unwrap();
        self.journal = journal;
        self.writer = Arc::new(Mutex::new(writer));
        self.come_again();
    }

    pub(super) fn fail_next(&mut self, side: Side, nth: u64, kind: CallKind) {
        let disposition = match kind {
            CallKind::Read | CallKind::Look => Disposition::BadRead,
            CallKind::Write | CallKind::Name | CallKind::Sync | CallKind::Probe => Disposition::DriveLost,
        };
        self.bad_reads |= disposition == Disposition::BadRead;
        self.disks.get(side).fail_nth(nth, Some(kind), Fault::Once(disposition));
    }

    pub(super) fn pull_within(&mut self, side: Side, nth: u64) {
        self.disks.get(side).fail_nth(nth, None, Fault::Pull);
    }

    /// The stick goes and its file system does not notice.
    pub(super) fn die_within(&mut self, side: Side, nth: u64) {
        self.disks.get(side).fail_nth(nth, None, Fault::Dead);
    }

    /// Steps a lane that is killed with the daemon before one of its calls; what it did is in the page cache.
    pub(super) fn kill_within(&mut self, side: Side, nth: u64) {
        self.store.clear_fault();
        self.disks.get(side).clear_faults();
        self.disks.get(side).fail_nth(nth, None, Fault::Kill);
        let peer = self.drives.get(side.other()).as_ref().map(|drive| Arc::clone(&drive.volume));
        let now_ns = self.tick();
        if let Some(drive) = self.drives.get_mut(side) {
            // Where it ended before the call, only the record of it is lost.
            let _unrecorded = drive.lane.step(peer, now_ns);
        }
        self.kill();
    }

    pub(super) fn fail_barrier(&mut self, survivors: usize) {
        self.store.fail_barrier(BarrierFault { error: BarrierError::Io, survivors, after: 0 });
    }

    /// Enrols a blank stick in place of a drive, unless that has something alone. `fault` is the barrier that fails
    /// on the way, and what survives it.
    pub(super) fn replace(&mut self, side: Side, fault: Option<(u64, usize)>) {
        self.lose(side);
        // What the mirror asks before it lets a drive go.
        if !self.journal.only_on(side, 1).unwrap().is_empty() || self.has_only_on(side) {
            return;
        }
        if let Some((after, survivors)) = fault {
            self.store.fail_barrier(BarrierFault { error: BarrierError::Io, survivors, after });
        }
        self.replaced += 2;
        let id = DriveId([self.replaced; 16]);
        let done = self.writer.lock().replace(side, Enrolled { id, place: String::new() }, 0);
        self.store.clear_fault();
        let old = std::mem::replace(self.disks.get_mut(side), SimDisk::new(self.kind, CAPACITY));
        if done.is_err() {
            self.disks.get(side).pull();
            self.reopen();
        }
        if self.journal.enrolment().drives.get(side).id == id {
            self.oracle.forget(side);
            self.forget_foreign();
            self.forget_lost_trash(side);
        } else {
            *self.disks.get_mut(side) = old;
        }
    }

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
        let peer = self.drives.get(side.other()).as_ref().map(|drive| Arc::clone(&drive.volume));
        let now_ns = self.tick();
        let Some(drive) = self.drives.get_mut(side) else { return false };
        let step = match drive.lane.step(peer, now_ns) {
            Ok(step) => step,
            Err(LaneError::Volume(_)) => {
                self.lose(side);
                return true;
            }
            Err(LaneError::Store(error)) => panic!("{error}"),
        };
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
