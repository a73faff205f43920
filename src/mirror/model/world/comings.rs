//! Drives come and go, the daemon and its journal fail and come back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::single_match_else, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::ids::{Arrival, DriveId, Lsn, NodeId, Nonce, PerSide, Side};
use crate::journal::mem_store::{BarrierError, BarrierFault};
use crate::journal::{Attached, DriveFact, Enrolled, Writer};
use crate::mirror::drive_log::DriveLog;
use crate::mirror::lane::{Known, Lane, LaneError, Telling, look_again, reclaim};
use crate::mirror::limits::AsideMax;
use crate::mirror::model::world::{CAPACITY, Drive, World};
use crate::mirror::reconcile::inbox::Job;
use crate::mirror::reconcile::intake;
use crate::mirror::reconcile::survey::Depth;
use crate::mirror::sim_volume::{CallKind, Fault, SimDisk};
use crate::mirror::volume::{Disposition, Volume};

/// A drive that tells of commits up to some one.
#[derive(Debug)]
struct Tells(Arc<AtomicU64>);

impl Telling for Tells {
    fn tell(&self, lsn: Lsn) -> Option<Lsn> {
        (lsn.0 <= self.0.load(Ordering::Relaxed)).then_some(lsn)
    }
}

impl World {
    /// From now on drives tell of no more than what is committed by now, or of all again.
    pub(in crate::mirror::model) fn tell_no_more(&mut self, no_more: bool) {
        let last = if no_more { self.journal.head().0 } else { u64::MAX };
        self.tells_up_to.store(last, Ordering::Relaxed);
    }

    pub(in crate::mirror::model) fn pull(&mut self, side: Side) {
        self.disks.get(side).pull();
        self.lose(side);
    }

    pub(in crate::mirror::model) fn lose(&mut self, side: Side) {
        self.disks.get(side).pull();
        *self.drives.get_mut(side) = None;
        self.writer.lock().detach(side);
    }

    pub(in crate::mirror::model) fn bring_back(&mut self, side: Side) {
        if self.disks.get(side).is_pulled() {
            let mut choice = self.choose();
            self.disks.get(side).reinsert(&mut choice);
        }
        if !self.is_present(side) {
            self.arrive(side);
        }
    }

    pub(in crate::mirror::model) fn arrive(&mut self, side: Side) {
        let exposed = self.writer.lock().detach(side);
        self.arrivals += 1;
        let arrival = Arrival(self.arrivals);
        let volume: Arc<dyn Volume> = Arc::new(self.disks.get(side).mount().unwrap());
        let now_ns = self.tick();
        let arrived = self.welcome(side, &volume).and_then(|known| {
            let mut arrived = reclaim(&self.journal, volume.as_ref(), side, (known, exposed), now_ns)?;
            match known {
                Known::Recorded => {}
                Known::Maybe => arrived.facts.push(DriveFact::Returned { side }),
            }
            Ok(arrived)
        });
        let arrived = match arrived {
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
        let telling = Box::new(Tells(Arc::clone(&self.tells_up_to)));
        let mut lane = Lane::new(side, arrival, Arc::clone(&self.journal), Arc::clone(&volume), telling);
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
        let (steps, hints, watched) = (Arc::default(), Vec::new(), BTreeSet::new());
        *self.drives.get_mut(side) = Some(Drive { arrival, volume, log, lane, steps, keeper, hints, watched });
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
    pub(in crate::mirror::model) fn limit_aside(&mut self, bytes: u64) {
        self.aside_max = AsideMax::Bytes(bytes);
        for side in Side::BOTH {
            if let Some(drive) = self.drives.get_mut(side) {
                drive.lane.take_stock(self.aside_max).unwrap();
            }
        }
    }

    pub(in crate::mirror::model) fn forget_stays(&mut self) {
        for side in Side::BOTH {
            if let Some(drive) = self.drives.get_mut(side) {
                drive.lane.forget_stays();
            }
        }
    }

    /// The lanes have been idle for a while.
    pub(in crate::mirror::model) fn retry_stays(&mut self) {
        for side in Side::BOTH {
            if let Some(drive) = self.drives.get_mut(side) {
                drive.lane.retry_stays().unwrap();
            }
        }
    }

    /// The journal failed: it is opened again, and what the lanes did meanwhile is found out anew.
    pub(in crate::mirror::model) fn reopen(&mut self) {
        self.writer.lock().close();
        self.store.clear_fault();
        let mut choice = self.choose();
        self.store.crash(&mut choice);
        self.writer.lock().reopen(Arc::new(self.store.open())).unwrap();
        self.come_again();
    }

    pub(in crate::mirror::model) fn come_again(&mut self) {
        self.drives = PerSide { a: None, b: None };
        for side in Side::BOTH {
            self.writer.lock().detach(side);
            if !self.disks.get(side).is_pulled() {
                self.arrive(side);
            }
        }
    }

    /// kill -9: what the store had not flushed is gone, the sticks keep what they were told.
    pub(in crate::mirror::model) fn kill(&mut self) {
        let mut choice = self.choose();
        self.store.crash(&mut choice);
        self.start();
    }

    pub(in crate::mirror::model) fn cut_power(&mut self) {
        for side in Side::BOTH {
            let mut choice = self.choose();
            self.disks.get(side).crash(&mut choice);
        }
        self.kill();
    }

    pub(in crate::mirror::model) fn start(&mut self) {
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

    pub(in crate::mirror::model) fn fail_next(&mut self, side: Side, nth: u64, kind: CallKind) {
        let disposition = match kind {
            CallKind::Read | CallKind::Look => Disposition::BadRead,
            CallKind::Write | CallKind::Name | CallKind::Sync | CallKind::Probe => Disposition::DriveLost,
        };
        self.bad_reads |= disposition == Disposition::BadRead;
        self.disks.get(side).fail_nth(nth, Some(kind), Fault::Once(disposition));
    }

    pub(in crate::mirror::model) fn pull_within(&mut self, side: Side, nth: u64) {
        self.disks.get(side).fail_nth(nth, None, Fault::Pull);
    }

    /// The stick goes and its file system does not notice.
    pub(in crate::mirror::model) fn die_within(&mut self, side: Side, nth: u64) {
        self.disks.get(side).fail_nth(nth, None, Fault::Dead);
    }

    /// Steps a lane that is killed with the daemon before one of its calls; what it did is in the page cache.
    pub(in crate::mirror::model) fn kill_within(&mut self, side: Side, nth: u64) {
        self.store.clear_fault();
        self.disks.get(side).clear_faults();
        self.disks.get(side).fail_nth(nth, None, Fault::Kill);
        let peer = self.neighbour_of(side);
        let now_ns = self.tick();
        if let Some(drive) = self.drives.get_mut(side) {
            // Where it ended before the call, only the record of it is lost.
            let _unrecorded = drive.lane.step(peer, now_ns);
        }
        self.kill();
    }

    pub(in crate::mirror::model) fn fail_barrier(&mut self, survivors: usize) {
        self.store.fail_barrier(BarrierFault { error: BarrierError::Io, survivors, after: 0 });
    }

    /// Enrols a blank stick in place of a drive, unless that has something alone. `fault` is the barrier that fails
    /// on the way, and what survives it.
    pub(in crate::mirror::model) fn replace(&mut self, side: Side, fault: Option<(u64, usize)>) {
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
}
