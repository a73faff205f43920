//! What wakes a lane, and what it may sleep through.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Wakes a lane.
#[derive(Default)]
pub(crate) struct Wake {
    rings: Mutex<Rings>,
    bell: Condvar,
    retry: AtomicBool,
    closing: AtomicBool,
    ejecting: AtomicBool,
}

#[derive(Default)]
struct Rings {
    /// The loudest that nobody has heard.
    rung: Option<Ring>,
    /// Somebody waits for what the lane owes.
    hurried: bool,
    dozing: bool,
    /// When something last came that can wait for its name.
    busy_at: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ring {
    Soft,
    /// A dozing lane gets up for it.
    Loud,
}

impl Wake {
    pub(crate) fn ring(&self) {
        self.ring_as(|_| ());
    }

    /// Somebody waits for what the lane owes, or may.
    pub(crate) fn hurry(&self) {
        self.ring_as(|rings| rings.hurried = true);
    }

    /// There is work that can wait while more of its kind comes.
    pub(crate) fn ring_softly(&self, now: Instant) {
        let mut rings = self.rings.lock();
        rings.rung = rings.rung.max(Some(Ring::Soft));
        rings.busy_at = Some(now);
        if !rings.dozing {
            self.bell.notify_one();
        }
    }

    fn ring_as(&self, how: impl FnOnce(&mut Rings)) {
        let mut rings = self.rings.lock();
        rings.rung = Some(Ring::Loud);
        how(&mut rings);
        self.bell.notify_one();
    }

    /// Something came that may help debts that stay.
    pub(crate) fn ring_for_retry(&self) {
        self.retry.store(true, Ordering::Release);
        self.ring();
    }

    /// The daemon stops: the lane makes a checkpoint and ends.
    pub(crate) fn ring_for_close(&self) {
        self.closing.store(true, Ordering::Release);
        self.ring();
    }

    /// Somebody wants to take the drive out: as for the daemon's end, but the drive stays out.
    pub(crate) fn ring_for_eject(&self) {
        self.ejecting.store(true, Ordering::Release);
        self.ring();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire) || self.ejecting.load(Ordering::Acquire)
    }

    /// Whether it is the drive that ends, and not the daemon.
    pub(crate) fn is_ejecting(&self) -> bool {
        self.ejecting.load(Ordering::Acquire) && !self.closing.load(Ordering::Acquire)
    }

    pub(crate) fn take_retry(&self) -> bool {
        self.retry.swap(false, Ordering::AcqRel)
    }

    /// Whether somebody has hurried since this was last asked.
    pub(crate) fn take_hurry(&self) -> bool {
        std::mem::take(&mut self.rings.lock().hurried)
    }

    /// When something last came that can wait.
    pub(crate) fn busy_at(&self) -> Option<Instant> {
        self.rings.lock().busy_at
    }

    /// Waits for a ring, at most so long; whether there was one.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        let mut rings = self.rings.lock();
        if rings.rung.is_none() {
            self.bell.wait_for(&mut rings, at_most);
        }
        rings.rung.take().is_some()
    }

    /// Waits until then, or for a ring that is not soft. All are kept for the next `wait`.
    pub(crate) fn doze(&self, until: Instant) {
        let mut rings = self.rings.lock();
        rings.dozing = true;
        while rings.rung != Some(Ring::Loud) && !self.bell.wait_until(&mut rings, until).timed_out() {}
        rings.dozing = false;
        // What is loud was heard, and there may be work by it.
        rings.rung = rings.rung.and(Some(Ring::Soft));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock;

    const LONG: Duration = Duration::from_mins(10);

    #[test]
    fn a_soft_ring_is_slept_through_and_not_forgotten() {
        let wake = Wake::default();
        wake.ring_softly(clock::now());
        // A past moment: it returns at once, and not because of the ring.
        wake.doze(clock::now());
        assert!(wake.wait(LONG), "the ring was lost");
        assert!(!wake.wait(Duration::ZERO));
        assert!(wake.busy_at().is_some());
    }

    #[test]
    fn any_other_ring_ends_a_doze_whenever_it_comes() {
        for ring in [Wake::ring, Wake::hurry, Wake::ring_for_retry, Wake::ring_for_close, Wake::ring_for_eject] {
            let wake = Arc::new(Wake::default());
            ring(&wake);
            wake.doze(clock::now() + LONG);
            let dozer = Arc::clone(&wake);
            let dozing = std::thread::spawn(move || dozer.doze(clock::now() + LONG));
            while !wake.rings.lock().dozing {
                std::thread::yield_now();
            }
            wake.ring_softly(clock::now());
            assert!(!dozing.is_finished());
            ring(&wake);
            assert!(dozing.join().is_ok());
            assert!(wake.wait(LONG), "the ring was lost");
        }
    }

    #[test]
    fn a_hurry_is_taken_once() {
        let wake = Wake::default();
        assert!(!wake.take_hurry());
        wake.hurry();
        assert!(wake.take_hurry() && !wake.take_hurry());
    }
}
