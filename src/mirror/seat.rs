//! A drive's seat in the mirror: its state, and its attachment while it is there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use crate::ids::{Arrival, Lsn, NodeId, Side};
use crate::journal::Released;
use crate::mirror::attachment::Attachment;
use crate::mirror::core::Alive;
use crate::mirror::flaps::{Ending, Flaps, Verdict};
use crate::mirror::history::{History, Moment};
use crate::mirror::lane::Stay;
use crate::mirror::os_volume::{MountEntry, Unmounted};
use crate::mirror::reconcile::hints::Unwatched;
use crate::mirror::scan::Scan;
use crate::mirror::state::{DriveEvent, DriveState};
use crate::mirror::status::{AsideStatus, DriveErrors};
use crate::mirror::volume::Space;
use crate::mirror::words;

/// What `status` shows of a drive, and what decides about it.
pub(crate) struct Seat {
    pub(crate) side: Side,
    history: Arc<History>,
    inner: Mutex<Inner>,
    read_errors: AtomicU64,
    write_errors: AtomicU64,
    checksum_errors: AtomicU64,
}

struct Inner {
    state: DriveState,
    reason: Option<String>,
    /// When the state began.
    changed: Moment,
    /// Since when the drive has not been there for good: a look at it that comes to nothing changes that not.
    absent: Option<Moment>,
    /// The stay that the state is about.
    visit: Option<u64>,
    attachment: Option<Arc<Attachment>>,
    path: Option<PathBuf>,
    /// Lives as long as anything of an earlier stay is at work.
    older: Weak<Alive>,
    older_diskseq: Option<u64>,
    /// The stay that begins when that has ended.
    waiting: Option<u64>,
    /// The last one's, until the drive comes again.
    ejection: Option<Ejection>,
    /// What is mounted still of the ejected drive.
    left_mounted: Option<MountEntry>,
    space: Option<Space>,
    scan: Option<Scan>,
    stays: Vec<(NodeId, Stay)>,
    /// Those of them that no drive has whole.
    lost: BTreeMap<NodeId, Lsn>,
    /// Why changes in some of its folders are not told by the kernel.
    unwatched: Option<Unwatched>,
    /// What lies aside on it, as it was last seen.
    aside: AsideStatus,
    /// Stages that lost their use while the drive was verified, which may have counted them already.
    released: Vec<Released>,
    flaps: Flaps,
}

/// A drive that is being let go of for somebody who wants to take it out, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ejection {
    UnderWay { visit: u64 },
    Over { visit: u64, unmounted: Unmounted },
}

/// Whether the other drive is there: one that flaps is better than none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    There,
    Away,
}

/// What becomes of a drive that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Welcome {
    Seated,
    /// The seat is taken.
    Taken,
    /// Calls of its earlier stay have not returned.
    Fenced,
    /// It came too often, and is left alone until then.
    Parked {
        until: Instant,
    },
}

/// A drive's state, with its reason and its beginning.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) state: DriveState,
    pub(crate) reason: Option<String>,
    pub(crate) changed: Moment,
}

impl Seat {
    /// `flaps_max` flaps within an hour park the drive.
    pub(crate) fn new(side: Side, flaps_max: u32, history: Arc<History>, now: Moment) -> Self {
        let inner = Inner {
            state: DriveState::Absent,
            reason: None,
            changed: now,
            absent: Some(now),
            visit: None,
            attachment: None,
            path: None,
            older: Weak::new(),
            older_diskseq: None,
            waiting: None,
            ejection: None,
            left_mounted: None,
            space: None,
            scan: None,
            stays: Vec::new(),
            lost: BTreeMap::new(),
            unwatched: None,
            aside: AsideStatus::default(),
            released: Vec::new(),
            flaps: Flaps::new(flaps_max),
        };
        Self {
            side,
            history,
            inner: Mutex::new(inner),
            read_errors: AtomicU64::new(0),
            write_errors: AtomicU64::new(0),
            checksum_errors: AtomicU64::new(0),
        }
    }

    /// A drive came, plugged in as `diskseq`. `wall_ns` is the time of day at `now`, for people.
    pub(crate) fn arrive(&self, visit: u64, diskseq: Option<u64>, other: Other, now: Instant, wall_ns: i64) -> Welcome {
        let mut inner = self.inner.lock();
        if inner.state.after(DriveEvent::Arrived).is_err() {
            return Welcome::Taken;
        }
        if inner.is_fenced(diskseq) {
            if inner.state == DriveState::Absent {
                let reason = "operations of its earlier stay have not returned yet".to_owned();
                self.enter(&mut inner, DriveEvent::Stalled, Some(reason));
            }
            inner.waiting = Some(visit);
            return Welcome::Fenced;
        }
        inner.waiting = None;
        match (inner.flaps.came(now), other) {
            (Verdict::Welcome, _) | (Verdict::Parked { .. }, Other::Away) => {
                self.enter(&mut inner, DriveEvent::Arrived, None);
                inner.ejection = None;
                inner.visit = Some(visit);
                Welcome::Seated
            }
            (Verdict::Parked { until }, Other::There) => {
                let reason = inner.flaps.describe(until, now, wall_ns);
                self.enter(&mut inner, DriveEvent::Flapped, Some(reason));
                inner.visit = None;
                Welcome::Parked { until }
            }
        }
    }

    /// Somebody has seen to the drive: its flaps are forgotten, and it is taken up again; false where it is not parked.
    pub(crate) fn unpark(&self, reason: &str) -> bool {
        let mut inner = self.inner.lock();
        inner.flaps.forgive();
        inner.ejection = None;
        inner.state == DriveState::Parked && self.enter(&mut inner, DriveEvent::Lost, Some(reason.to_owned()))
    }

    /// The time for which the drive was left alone is over; false where it is not parked, or somebody ejected it.
    pub(crate) fn end_parking(&self, reason: &str) -> bool {
        let mut inner = self.inner.lock();
        inner.state == DriveState::Parked
            && inner.ejection.is_none()
            && self.enter(&mut inner, DriveEvent::Lost, Some(reason.to_owned()))
    }

    /// As [`Seat::apply`], if it is still that stay's.
    pub(crate) fn apply_to(&self, visit: u64, event: DriveEvent, reason: Option<String>) {
        if self.inner.lock().visit == Some(visit) {
            self.apply(event, reason);
        }
    }

    /// A drive left that was not taken up yet, if the state is still about that stay.
    pub(crate) fn leave(&self, visit: u64, why: &str, how: Ending, now: Instant) {
        let mut inner = self.inner.lock();
        // One that hangs while it waits is there still, for all that its watcher knows.
        inner.waiting.take_if(|waiting| *waiting == visit && how != Ending::Stall);
        if inner.visit == Some(visit) {
            self.lose(&mut inner, why, how, now);
        }
    }

    /// A drive's stay has ended.
    pub(crate) fn lost(&self, why: &str, how: Ending, now: Instant) {
        self.lose(&mut self.inner.lock(), why, how, now);
    }

    fn lose(&self, inner: &mut Inner, why: &str, how: Ending, now: Instant) {
        inner.visit = None;
        let event = match how {
            Ending::Orderly | Ending::Failure => DriveEvent::Lost,
            Ending::Stall => DriveEvent::Stalled,
        };
        if self.enter(inner, event, Some(why.to_owned())) {
            inner.flaps.ended(how, now);
        }
        self.drain(inner);
    }

    /// A drive is let go of, to be taken out.
    pub(crate) fn eject(&self, visit: u64) {
        let mut inner = self.inner.lock();
        let reason = "it was ejected, and is being let go of: do not pull it yet";
        if self.enter(&mut inner, DriveEvent::Ejected, Some(reason.to_owned())) {
            inner.visit = None;
            inner.ejection = Some(Ejection::UnderWay { visit });
        }
    }

    /// Nothing is open on an ejected drive any more, and this became of its mount; `left` is what is there of it still.
    pub(crate) fn ejected(&self, visit: u64, unmounted: Unmounted, left: Option<MountEntry>) {
        let mut inner = self.inner.lock();
        if inner.ejection == Some(Ejection::UnderWay { visit }) {
            let reason = match &unmounted {
                Unmounted::Done => "it was ejected, and may be pulled".to_owned(),
                Unmounted::Nothing => "it was ejected, and nothing is open on it".to_owned(),
                Unmounted::Refused(why) => {
                    format!(
                        "it was ejected, and may be pulled once somebody has unmounted it; twinstickd could not: {why}"
                    )
                }
            };
            self.history.add(Moment::now().wall_ns, Some(self.side), reason.clone());
            inner.reason = Some(reason);
            inner.ejection = Some(Ejection::Over { visit, unmounted });
            inner.left_mounted = left;
        }
    }

    /// An ejected drive that could not be unmounted may be pulled once somebody else has done it.
    pub(crate) fn note_unmounted(&self) {
        let Some(left) = self.inner.lock().left_mounted.clone() else { return };
        if left.is_there() {
            return;
        }
        let mut inner = self.inner.lock();
        match inner.ejection {
            Some(Ejection::Over { visit, unmounted: Unmounted::Refused(_) }) if inner.left_mounted == Some(left) => {
                let reason = "it was ejected, somebody has unmounted it since, and it may be pulled".to_owned();
                self.history.add(Moment::now().wall_ns, Some(self.side), reason.clone());
                inner.reason = Some(reason);
                inner.ejection = Some(Ejection::Over { visit, unmounted: Unmounted::Done });
                inner.left_mounted = None;
            }
            Some(_) | None => {}
        }
    }

    pub(crate) fn ejection(&self) -> Option<Ejection> {
        self.inner.lock().ejection.clone()
    }

    /// Opens the fence of a drive on which nothing is at work any more; the stay that has waited for it.
    pub(crate) fn drained(&self) -> Option<u64> {
        let mut inner = self.inner.lock();
        self.drain(&mut inner).then(|| inner.waiting.take()).flatten()
    }

    fn drain(&self, inner: &mut Inner) -> bool {
        let over = inner.state == DriveState::Fenced && inner.older.strong_count() == 0;
        over && self.enter(inner, DriveEvent::Drained, inner.reason.clone())
    }

    /// Takes an event; false where it cannot happen now.
    pub(crate) fn apply(&self, event: DriveEvent, reason: Option<String>) -> bool {
        self.enter(&mut self.inner.lock(), event, reason)
    }

    fn enter(&self, inner: &mut Inner, event: DriveEvent, reason: Option<String>) -> bool {
        let now = Moment::now();
        let from = inner.state;
        match from.after(event) {
            Ok(to) => {
                tracing::info!(drive = %self.side, %from, %to, reason, "drive state");
                inner.enter(to, reason, now);
                let told = words::told(from, to, inner.reason.as_deref(), inner.scan.as_ref(), now.at);
                if let Some(what) = told {
                    self.history.add(now.wall_ns, Some(self.side), what);
                }
                true
            }
            Err(error) => {
                tracing::debug!(drive = %self.side, %error, "event passed over");
                false
            }
        }
    }

    /// Whether something of an earlier stay is still at work on the same plugged-in device.
    #[cfg(test)]
    pub(crate) fn is_fenced(&self, diskseq: Option<u64>) -> bool {
        self.inner.lock().is_fenced(diskseq)
    }

    /// A drive's work begins; `alive` is held by all that works on it.
    pub(crate) fn begin(&self, alive: &Arc<Alive>, path: PathBuf, diskseq: Option<u64>) {
        let mut inner = self.inner.lock();
        inner.older = Arc::downgrade(alive);
        inner.older_diskseq = diskseq;
        inner.released.clear();
        inner.path = Some(path);
    }

    /// Opens the drive to reads and writes, to be replayed to or backfilled; the stages that lost their use meanwhile.
    /// `None` where the drive was lost while it was verified.
    pub(crate) fn attach(&self, attachment: &Arc<Attachment>, verified: DriveEvent) -> Option<Vec<Released>> {
        let mut inner = self.inner.lock();
        if inner.visit != Some(attachment.visit) {
            return None;
        }
        let state = inner.state.after(verified).ok()?;
        tracing::info!(drive = %self.side, from = %inner.state, to = %state, "drive state");
        inner.enter(state, None, Moment::now());
        inner.absent = None;
        inner.scan = None;
        inner.attachment = Some(Arc::clone(attachment));
        Some(std::mem::take(&mut inner.released))
    }

    /// Who lets go of a stage: the attachment, or later the one that is being made. An absent drive is swept when
    /// it comes.
    pub(crate) fn releaser(&self, released: &Released) -> Option<Arc<Attachment>> {
        let mut inner = self.inner.lock();
        if inner.attachment.is_none() && inner.state == DriveState::Verifying {
            inner.released.push(*released);
        }
        inner.attachment.clone()
    }

    pub(crate) fn attachment(&self) -> Option<Arc<Attachment>> {
        self.inner.lock().attachment.clone()
    }

    /// Takes the attachment out if it is this one, or any.
    pub(crate) fn detach(&self, arrival: Option<Arrival>) -> Option<Arc<Attachment>> {
        let mut inner = self.inner.lock();
        let meant = |attachment: &&Arc<Attachment>| arrival.is_none_or(|arrival| attachment.arrival == arrival);
        inner.attachment.as_ref().filter(meant)?;
        inner.attachment.take()
    }

    pub(crate) fn state(&self) -> DriveState {
        self.inner.lock().state
    }

    pub(crate) fn condition(&self) -> Condition {
        let inner = self.inner.lock();
        Condition { state: inner.state, reason: inner.reason.clone(), changed: inner.changed }
    }

    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.inner.lock().path.clone()
    }

    pub(crate) fn space(&self) -> Option<Space> {
        self.inner.lock().space
    }

    /// What was known of a drive that was replaced is not true of the new one.
    pub(crate) fn forget(&self) {
        let mut inner = self.inner.lock();
        inner.space = None;
        inner.scan = None;
        inner.path = None;
        inner.reason = Some("it was replaced by another one".to_owned());
        for errors in [&self.read_errors, &self.write_errors, &self.checksum_errors] {
            errors.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn set_space(&self, space: Space) {
        self.inner.lock().space = Some(space);
    }

    pub(crate) fn scan(&self) -> Option<Scan> {
        self.inner.lock().scan.clone()
    }

    /// Shows a stay's work, as long as that stay lasts.
    pub(crate) fn set_scan(&self, arrival: Arrival, scan: Scan) {
        let mut inner = self.inner.lock();
        if inner.attachment.as_ref().is_some_and(|attachment| attachment.arrival == arrival) {
            inner.scan = Some(scan);
        }
    }

    pub(crate) fn stays(&self) -> Vec<(NodeId, Stay)> {
        self.inner.lock().stays.clone()
    }

    /// Takes over the debts that stay; whether they are others than before.
    pub(crate) fn set_stays(&self, stays: Vec<(NodeId, Stay)>, lost: BTreeMap<NodeId, Lsn>) -> bool {
        let mut inner = self.inner.lock();
        let changed = inner.stays != stays || inner.lost != lost;
        (inner.stays, inner.lost) = (stays, lost);
        changed
    }

    /// What no drive has whole, so that this one cannot get it, and the entry that it is owed for.
    pub(crate) fn losses(&self) -> BTreeMap<NodeId, Lsn> {
        self.inner.lock().lost.clone()
    }

    pub(crate) fn unwatched(&self) -> Option<Unwatched> {
        self.inner.lock().unwatched
    }

    pub(crate) fn set_unwatched(&self, unwatched: Option<Unwatched>) {
        self.inner.lock().unwatched = unwatched;
    }

    pub(crate) fn aside(&self) -> AsideStatus {
        self.inner.lock().aside.clone()
    }

    pub(crate) fn set_aside(&self, aside: AsideStatus) {
        self.inner.lock().aside = aside;
    }

    pub(crate) fn count_read_error(&self) {
        self.read_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_write_error(&self) {
        self.write_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_checksum_error(&self) {
        self.checksum_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn errors(&self) -> DriveErrors {
        DriveErrors {
            read: self.read_errors.load(Ordering::Relaxed),
            write: self.write_errors.load(Ordering::Relaxed),
            checksum: self.checksum_errors.load(Ordering::Relaxed),
        }
    }
}

impl Inner {
    fn is_fenced(&self, diskseq: Option<u64>) -> bool {
        let other_device = diskseq.is_some() && self.older_diskseq.is_some() && diskseq != self.older_diskseq;
        self.older.strong_count() > 0 && !other_device
    }

    fn enter(&mut self, state: DriveState, reason: Option<String>, now: Moment) {
        self.state = state;
        self.reason = reason;
        self.changed = now;
        if matches!(state, DriveState::Absent | DriveState::Fenced) {
            self.changed = *self.absent.get_or_insert(now);
            if let Some(scan) = &mut self.scan {
                scan.break_off(now.at);
            }
        }
    }
}
