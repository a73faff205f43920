//! How far a drive's scrub is, for those who look on, and the bell that wakes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::ids::{Arrival, NodeId};
use crate::journal::{Place, ScrubAmount, ScrubProgress};
use crate::mirror::pace::{Amount, Outlook, Pace};

/// A drive's scrub as the daemon knows it, whether the drive is there or not.
#[derive(Debug)]
pub(crate) struct Desk {
    inner: Mutex<Inner>,
    bell: Condvar,
}

#[derive(Debug)]
struct Inner {
    rung: bool,
    progress: ScrubProgress,
    /// Files whose copy was found damaged and is not whole again; the record has only the first of them.
    pending: BTreeSet<NodeId>,
    /// Copies that became whole since the piece under way began: what it found of them is of the past.
    mended: BTreeMap<NodeId, u64>,
    /// While the drive is at it.
    live: Option<Live>,
    /// Copies became whole again that the record counts as damaged.
    news: bool,
}

#[derive(Debug)]
struct Live {
    arrival: Arrival,
    since: Instant,
    pace: Pace,
    read: Amount,
    left: Amount,
}

/// A scrub's figures at one moment.
pub(crate) struct ScrubFigures {
    pub(crate) progress: ScrubProgress,
    pub(crate) at_work: bool,
    pub(crate) seconds: u64,
    pub(crate) total: ScrubAmount,
    pub(crate) bytes_per_second: u64,
    pub(crate) outlook: Outlook,
}

impl Desk {
    pub(crate) fn new(progress: ScrubProgress) -> Self {
        let pending = progress.unverified.keys().copied().collect();
        let inner = Inner { rung: false, progress, pending, mended: BTreeMap::new(), live: None, news: false };
        Self { inner: Mutex::new(inner), bell: Condvar::new() }
    }

    pub(crate) fn ring(&self) {
        self.inner.lock().rung = true;
        self.bell.notify_all();
    }

    /// Waits for a ring, at most so long where a time is given.
    pub(crate) fn wait(&self, at_most: Option<Duration>) {
        let mut inner = self.inner.lock();
        if !inner.rung {
            match at_most {
                Some(at_most) => drop(self.bell.wait_for(&mut inner, at_most)),
                None => self.bell.wait(&mut inner),
            }
        }
        inner.rung = false;
    }

    pub(crate) fn progress(&self) -> ScrubProgress {
        self.inner.lock().progress.clone()
    }

    /// Another drive was enrolled: nothing of it was looked at.
    pub(crate) fn forget(&self) {
        let mut inner = self.inner.lock();
        inner.progress = ScrubProgress::default();
        inner.pending.clear();
        inner.news = false;
    }

    /// The lane made copies whole, whatever was at their places before.
    pub(crate) fn made_whole(&self, nodes: &[(NodeId, u64)]) {
        let mut inner = self.inner.lock();
        if inner.live.is_some() {
            inner.mended.extend(nodes.iter().copied());
        }
        for (node, bytes) in nodes {
            if inner.pending.remove(node) {
                inner.progress.unverified.remove(node);
                inner.progress.repaired += 1;
                inner.progress.repaired_bytes += bytes;
                inner.news = true;
            }
        }
        if inner.news {
            inner.rung = true;
            self.bell.notify_all();
        }
    }

    /// Whether there is something to be recorded that the scrub itself did not do.
    pub(super) fn take_news(&self) -> bool {
        std::mem::take(&mut self.inner.lock().news)
    }

    /// The drive goes to work; `left` is what lies before it.
    pub(super) fn begin(&self, arrival: Arrival, now: Instant, progress: ScrubProgress, left: ScrubAmount) {
        let mut pace = Pace::default();
        pace.observe(now, Amount::default());
        let left = Amount { paths: left.files, bytes: left.bytes };
        let mut inner = self.inner.lock();
        if inner.progress.number != progress.number {
            inner.pending.clear();
        }
        inner.progress = progress;
        inner.live = Some(Live { arrival, since: now, pace, read: Amount::default(), left });
    }

    /// Brings the figures up to date.
    pub(super) fn tell(
        &self,
        now: Instant,
        done: ScrubAmount,
        pending: impl IntoIterator<Item = (NodeId, Place)>,
        change: impl FnOnce(&mut ScrubProgress),
    ) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        change(&mut inner.progress);
        for (node, place) in pending {
            if let Some(bytes) = inner.mended.remove(&node) {
                inner.progress.repaired += 1;
                inner.progress.repaired_bytes += bytes;
            } else {
                inner.pending.insert(node);
                inner.progress.leave_out(node, place);
            }
        }
        inner.progress.done.files += done.files;
        inner.progress.done.bytes += done.bytes;
        if let Some(live) = &mut inner.live {
            live.read.paths += done.files;
            live.read.bytes += done.bytes;
            live.left.paths = live.left.paths.saturating_sub(done.files);
            live.left.bytes = live.left.bytes.saturating_sub(done.bytes);
            live.pace.observe(now, live.read);
            let left = ScrubAmount { files: live.left.paths, bytes: live.left.bytes };
            let done = inner.progress.done;
            inner.progress.total = ScrubAmount { files: done.files + left.files, bytes: done.bytes + left.bytes };
        }
    }

    /// Another piece begins.
    pub(super) fn begin_piece(&self) {
        self.inner.lock().mended.clear();
    }

    /// The record as it is now; the time at work counts from here anew.
    pub(super) fn record(&self, now: Instant) -> ScrubProgress {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        if let Some(live) = &mut inner.live {
            let seconds = now.saturating_duration_since(live.since).as_secs();
            inner.progress.seconds += seconds;
            live.since += Duration::from_secs(seconds);
        }
        inner.progress.clone()
    }

    /// The drive is not at it any more.
    pub(super) fn rest(&self, arrival: Arrival) {
        let mut inner = self.inner.lock();
        // The next stay's may be at work already.
        inner.live = inner.live.take().filter(|live| live.arrival != arrival);
    }

    pub(crate) fn figures(&self, now: Instant) -> ScrubFigures {
        let inner = self.inner.lock();
        let progress = inner.progress.clone();
        match &inner.live {
            Some(live) => {
                let pace = live.pace.as_of(now, live.read);
                ScrubFigures {
                    at_work: true,
                    seconds: progress.seconds + now.saturating_duration_since(live.since).as_secs(),
                    total: progress.total,
                    bytes_per_second: pace.bytes_per_second(),
                    outlook: pace.outlook(now, live.left),
                    progress,
                }
            }
            None => ScrubFigures {
                at_work: false,
                seconds: progress.seconds,
                total: progress.total,
                bytes_per_second: progress.done.bytes.checked_div(progress.seconds).unwrap_or(0),
                outlook: Outlook::Unknown,
                progress,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::path::Name;

    #[test]
    fn what_is_done_and_what_is_left_are_the_total_and_the_record_says_so() {
        let (desk, now) = (Desk::new(ScrubProgress::default()), crate::clock::now());
        desk.begin(Arrival(1), now, ScrubProgress::default(), ScrubAmount { files: 3, bytes: 300 });
        desk.tell(now, ScrubAmount { files: 1, bytes: 120 }, [], |_| {});
        let record = desk.record(now);
        assert_eq!(record.done, ScrubAmount { files: 1, bytes: 120 });
        assert_eq!(record.total, ScrubAmount { files: 3, bytes: 300 });
    }

    #[test]
    fn a_copy_that_is_repaired_before_it_is_told_damaged_counts_as_both() {
        let (desk, now) = (Desk::new(ScrubProgress::default()), crate::clock::now());
        let place = Place::new(NodeId::ROOT, Name::parse("f").unwrap());
        desk.begin(Arrival(1), now, ScrubProgress::default(), ScrubAmount::default());
        for early in [true, false] {
            desk.begin_piece();
            if early {
                desk.made_whole(&[(NodeId(5), 70)]);
            }
            desk.tell(now, ScrubAmount::default(), [(NodeId(5), place.clone())], |progress| progress.damaged += 1);
            assert_eq!(desk.progress().unverified.is_empty(), early);
            if !early {
                desk.made_whole(&[(NodeId(5), 70)]);
            }
        }
        let progress = desk.progress();
        assert_eq!((progress.damaged, progress.repaired, progress.repaired_bytes), (2, 2, 140));
        assert!(progress.unverified.is_empty());
    }
}
