//! What the lane's thread tells of its work, and the states that its drive goes through by it.

use crate::clock;
use crate::journal::DriveFact;
use crate::mirror::committer::Durable;
use crate::mirror::history::Moment;
use crate::mirror::lane::Stay;
use crate::mirror::lane_thread::{Done, Worker};
use crate::mirror::manifest::News;
use crate::mirror::pace::Amount;
use crate::mirror::scan::{Scan, ScanKind};
use crate::mirror::state::{DriveEvent, DriveState};
use crate::mirror::words;

impl Worker<'_> {
    /// The work that lies before the lane now.
    pub(super) fn scan(&self) -> Scan {
        let (side, now) = (self.attachment.side, Moment::now());
        let left = self.left();
        // Nobody knows of a backfill while the journal is closed; the work is the same.
        let fill = self.core.journal.fill(side).ok().flatten();
        let (kind, began_ns, total) = match fill {
            Some(fill) => {
                (ScanKind::Backfill(fill.cause), fill.begun_ns, Amount { paths: fill.paths, bytes: fill.bytes })
            }
            None => (ScanKind::Replay, now.wall_ns, left),
        };
        Scan::begin(kind, began_ns, now, [total, left], self.lane.work(), self.lane.copied())
    }

    fn left(&self) -> Amount {
        let (paths, bytes) = self.core.journal.behind(self.attachment.side);
        Amount { paths, bytes }
    }

    pub(super) fn tell_arrival(&self, scan: &Scan) {
        let seat = self.core.seat(self.attachment.side);
        let what = words::arrival(seat.path().as_deref(), scan, clock::now());
        self.core.history.add(clock::wall_ns(), Some(self.attachment.side), what);
        seat.set_scan(self.attachment.arrival, scan.clone());
    }

    /// Brings state and figures up to date.
    pub(super) fn tell(&mut self, scan: &mut Scan, step: &Done) {
        // What comes after it has caught up is everyday work and no replay.
        if scan.is_running() {
            scan.observe(clock::now(), self.lane.work(), self.left());
        }
        let seat = self.core.seat(self.attachment.side);
        let stays: Vec<_> = self.lane.stays().iter().map(|(node, stay)| (*node, stay.clone())).collect();
        let full = stays.iter().any(|(_, stay)| *stay == Stay::NoRoom);
        if step.seen == 0 && !stays.is_empty() {
            self.attachment.log.refuse_waiting();
        }
        if full {
            self.ask_for_room(&stays);
        }
        if seat.set_stays(stays, self.lane.lost()) {
            self.core.tell_change();
        }
        seat.set_unwatched(self.hints.unwatched());
        self.tell_aside();
        if step.worked {
            let free = || seat.space().map(|space| space.free);
            let before = free();
            self.tell_space();
            self.tell_of_room();
            // The trash made room: what waits for it is tried at once, and asks for more if that is too little. Nobody
            // knows while the journal is closed; it is tried again then.
            if full && free() > before && self.lane.retry_stays().is_ok() {
                self.asked_for_room = false;
            }
        }
        // With room again a drive may have everything at once, and no further step says so.
        while let Some(event) = self.next_event(scan, full) {
            // The event's words are those of the scan.
            seat.set_scan(self.attachment.arrival, scan.clone());
            if self.attachment.is_gone() || !seat.apply(event, None) {
                break;
            }
            self.core.tell_change();
        }
        seat.set_scan(self.attachment.arrival, scan.clone());
    }

    pub(super) fn tell_space(&self) {
        if let Ok(space) = self.attachment.volume.space() {
            self.core.seat(self.attachment.side).set_space(space);
        }
    }

    /// Has the other lane look again if it waits for room.
    fn tell_of_room(&self) {
        let other = self.core.seat(self.attachment.side.other()).attachment();
        if let Some(other) = other.filter(|other| other.errands.refusals().waits_for_room()) {
            other.wake.ring();
        }
    }

    /// What a step means for the drive's state.
    fn next_event(&mut self, scan: &mut Scan, full: bool) -> Option<DriveEvent> {
        let side = self.attachment.side;
        match (self.core.seat(side).state(), full) {
            (DriveState::Replaying | DriveState::Backfilling | DriveState::InSync, true) => Some(DriveEvent::NoRoom),
            (DriveState::Full, false) => {
                if !scan.is_running() {
                    *scan = self.scan();
                }
                Some(self.core.way_back(side))
            }
            (DriveState::Replaying | DriveState::Backfilling, false)
                if !self.core.still_lacks(side, self.replay_head, &mut self.lacking) =>
            {
                scan.catch_up(clock::now());
                // Where this is lost, the next arrival finds that nothing is left to be filled.
                let filled = vec![DriveFact::Filled { side }];
                let _ = self.core.committer.note(self.reporter(), filled, Durable::Later);
                Some(DriveEvent::CaughtUp)
            }
            _ => None,
        }
    }

    /// Says when the drive has no room to tell of the mirror, and when it has again.
    pub(super) fn tell_of_manifest(&mut self) {
        let what = match self.keeper.news() {
            None => return,
            Some(News::NoRoom) => {
                "no room for its manifest: if the boot disk is lost, this drive's files are all that it can tell"
            }
            Some(News::Whole) => "its manifest is whole again",
        };
        tracing::info!(drive = %self.attachment.side, what);
        self.core.history.add(clock::wall_ns(), Some(self.attachment.side), what);
    }
}
