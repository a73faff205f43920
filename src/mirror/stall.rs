//! When a drive counts as standing still: a call on it has been under way for too long, and in that time nothing moved.
//!
//! What moves is told by the block device's own counters. That other calls return says nothing: many are answered from
//! the kernel's caches while the stick hangs. Only where there is no block device (FUSE, network file systems) are the
//! calls that returned all there is to go by.

use std::time::{Duration, Instant};

/// Between two looks at a drive on which calls are under way; so much later than `stall_after` a client may be told.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What the time between two looks counts for at most. Longer means that this process itself stood still (stopped,
/// suspended, starved), in which nobody looked.
const LOOK_COUNTS_AT_MOST: Duration = Duration::from_millis(400);

/// What a drive has done up to one moment, to compare only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// What its block device completed.
    Device(u64),
    /// Calls that returned.
    Calls(u64),
}

/// What to think of a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// To be looked at again after this time at the latest.
    Waits(Duration),
    Stalled,
}

/// Looks at one drive for as long as calls on it are under way.
#[derive(Debug)]
pub(crate) struct Judge {
    looked: Instant,
    seen: Progress,
    /// How long `seen` has been the same.
    still: Duration,
}

impl Judge {
    pub(crate) fn new(now: Instant, progress: Progress) -> Self {
        Self { looked: now, seen: progress, still: Duration::ZERO }
    }

    /// `oldest` is when the oldest call under way began.
    pub(crate) fn look(&mut self, now: Instant, oldest: Instant, progress: Progress, stall_after: Duration) -> Verdict {
        let passed = now.saturating_duration_since(self.looked).min(LOOK_COUNTS_AT_MOST);
        self.looked = now;
        if progress == self.seen {
            self.still += passed;
        } else {
            (self.seen, self.still) = (progress, Duration::ZERO);
        }
        let age = now.saturating_duration_since(oldest);
        let left = stall_after.saturating_sub(self.still.min(age));
        if left.is_zero() { Verdict::Stalled } else { Verdict::Waits(left.min(LOOK_EVERY)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const STALL_AFTER: Duration = Duration::from_secs(5);

    /// Looks as often as it is told to, at a call that began at the start; how long until the verdict, if it comes
    /// within a minute. `progress` is by the time since the start.
    fn verdict(progress: impl Fn(Duration) -> Progress) -> Option<Duration> {
        let start = clock::now();
        let mut judge = Judge::new(start, progress(Duration::ZERO));
        let mut passed = Duration::ZERO;
        while passed < Duration::from_mins(1) {
            match judge.look(start + passed, start, progress(passed), STALL_AFTER) {
                Verdict::Stalled => return Some(passed),
                Verdict::Waits(wait) => passed += wait,
            }
        }
        None
    }

    #[test]
    fn a_drive_on_which_nothing_moves_is_stalled_when_its_time_is_over() {
        assert_eq!(verdict(|_| Progress::Device(7)), Some(STALL_AFTER));
        assert_eq!(verdict(|_| Progress::Calls(7)), Some(STALL_AFTER));
    }

    #[test]
    fn a_slow_drive_whose_device_moves_now_and_then_is_not() {
        assert_eq!(verdict(|passed| Progress::Device(passed.as_secs() / 4)), None);
    }

    #[test]
    fn the_time_counts_from_the_last_movement() {
        let stops = Duration::from_secs(9);
        let found = verdict(|passed| Progress::Device(passed.min(stops).as_secs())).unwrap();
        assert!(found >= stops + STALL_AFTER && found <= stops + STALL_AFTER + LOOK_EVERY, "{found:?}");
    }

    #[test]
    fn a_young_call_on_a_device_that_had_nothing_to_do_has_all_of_its_time() {
        let start = clock::now();
        let mut judge = Judge::new(start, Progress::Device(7));
        let mut at = start;
        // Always some call under way, each answered from a cache.
        while at < start + 2 * STALL_AFTER {
            at += LOOK_EVERY;
            assert_ne!(judge.look(at, at, Progress::Device(7), STALL_AFTER), Verdict::Stalled);
        }
        let late = at + Duration::from_millis(4999);
        assert_ne!(judge.look(late, at, Progress::Device(7), STALL_AFTER), Verdict::Stalled);
        assert_eq!(judge.look(at + STALL_AFTER, at, Progress::Device(7), STALL_AFTER), Verdict::Stalled);
    }

    #[test]
    fn the_time_in_which_nobody_looked_does_not_count() {
        let start = clock::now();
        let mut judge = Judge::new(start, Progress::Device(7));
        let woken = start + 10 * STALL_AFTER;
        assert_ne!(judge.look(woken, start, Progress::Device(7), STALL_AFTER), Verdict::Stalled);
    }
}
