//! Time that the mirror has been running, all its runs together: what ages and schedules are measured in.
//!
//! A Pi has no clock of its own, so that the wall's may stand at any year when it starts. What passes while the daemon
//! does not run is not counted: a trashed file is kept for a week of running.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A moment, as seconds that the mirror had been running. Never goes back, but for what a crash took from the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Elapsed(pub u64);

impl Elapsed {
    /// The moment that comes `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// The time since an earlier moment; none since a later one.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

/// Counts on, from what is on record of earlier runs.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    before: Elapsed,
    started: Instant,
}

impl Stopwatch {
    /// Starts at `now`, with what was on record.
    pub fn start(before: Elapsed, now: Instant) -> Self {
        Self { before, started: now }
    }

    pub fn at(&self, now: Instant) -> Elapsed {
        self.before.after(now.saturating_duration_since(self.started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_counts_on_from_the_one_before() {
        let start = crate::clock::now();
        let week = Duration::from_hours(24 * 7);
        let first = Stopwatch::start(Elapsed::default(), start);
        assert_eq!(first.at(start), Elapsed(0));
        let second = Stopwatch::start(first.at(start + week), start);
        let later = second.at(start + Duration::from_millis(1500));
        assert_eq!(later, Elapsed(7 * 24 * 3600 + 1));
        assert_eq!(later.since(Elapsed(1)), week);
        assert_eq!(Elapsed(1).since(later), Duration::ZERO);
    }
}
