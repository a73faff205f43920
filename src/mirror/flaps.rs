//! Drives that come and go: when one is left alone for a while.
//!
//! A flap is a stay that ended by a failure and the drive's return soon after, as a loose plug, a weak cable or a weak
//! power supply does it. Somebody who takes a stick out and puts it back minutes later makes none, nor does an
//! unmount.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A drive that dropped off the bus is back and mounted within seconds; a hand takes longer.
pub(crate) const RETURN: Duration = Duration::from_secs(30);
/// How long a flap counts.
pub(crate) const COUNTED: Duration = Duration::from_hours(1);

/// How a drive's stay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Unmounted, or let go of for a reason that is not the drive's.
    Orderly,
    /// Pulled, or dead.
    Failure,
    /// Silent for too long: calls on it may still return, and do what they were to do.
    Stall,
}

/// Whether a drive that comes is taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Welcome,
    /// It came too often, and is left alone until then.
    Parked {
        until: Instant,
    },
}

/// What one drive did lately.
#[derive(Debug)]
pub(crate) struct Flaps {
    /// So many within [`COUNTED`] park the drive.
    max: u32,
    /// Invariant: oldest first, at most `max`.
    times: VecDeque<Instant>,
    /// The end of the last stay, if that was a failure and the drive has not come since.
    failed_at: Option<Instant>,
}

impl Flaps {
    pub(crate) fn new(max: u32) -> Self {
        Self { max, times: VecDeque::new(), failed_at: None }
    }

    /// A stay has ended.
    pub(crate) fn ended(&mut self, how: Ending, now: Instant) {
        self.failed_at = match how {
            Ending::Orderly => None,
            Ending::Failure | Ending::Stall => Some(now),
        };
    }

    /// The drive comes.
    pub(crate) fn came(&mut self, now: Instant) -> Verdict {
        let failed_at = self.failed_at.take();
        if failed_at.is_some_and(|at| now.saturating_duration_since(at) <= RETURN) {
            self.times.push_back(now);
        }
        while self.times.len() > self.max as usize {
            self.times.pop_front();
        }
        while self.times.front().is_some_and(|at| now.saturating_duration_since(*at) >= COUNTED) {
            self.times.pop_front();
        }
        match self.times.front() {
            Some(oldest) if self.times.len() >= self.max as usize => Verdict::Parked { until: *oldest + COUNTED },
            Some(_) | None => Verdict::Welcome,
        }
    }

    /// Somebody has seen to the drive.
    pub(crate) fn forgive(&mut self) {
        self.times.clear();
        self.failed_at = None;
    }

    /// What people are told of a drive that is parked; `wall_ns` is the time of day at `now`.
    pub(crate) fn describe(&self, until: Instant, now: Instant, wall_ns: i64) -> String {
        let wall = UNIX_EPOCH + Duration::from_nanos(u64::try_from(wall_ns).unwrap_or_default());
        let earlier = |at: Instant| wall.checked_sub(now.saturating_duration_since(at)).unwrap_or(UNIX_EPOCH);
        let later = wall + until.saturating_duration_since(now);
        let times: Vec<_> = self.times.iter().map(|at| text(earlier(*at))).collect();
        format!(
            "it failed and came back {} times within an hour, at {}; it is left alone until {}",
            times.len(),
            times.join(", "),
            text(later)
        )
    }
}

fn text(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MINUTE: Duration = Duration::from_mins(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// The drive fails and comes back a second later.
    fn flap(flaps: &mut Flaps, failed_at: Instant) -> Verdict {
        flaps.ended(Ending::Failure, failed_at);
        flaps.came(failed_at + SECOND)
    }

    #[test]
    fn the_third_flap_of_an_hour_parks_a_drive_until_the_first_is_an_hour_old() {
        let (mut flaps, start) = (Flaps::new(3), clock::now() + MINUTE);
        assert_eq!(flaps.came(start), Verdict::Welcome);
        assert_eq!(flap(&mut flaps, start + MINUTE), Verdict::Welcome);
        assert_eq!(flap(&mut flaps, start + 2 * MINUTE), Verdict::Welcome);
        let first = start + MINUTE + SECOND;
        let parked = Verdict::Parked { until: first + COUNTED };
        assert_eq!(flap(&mut flaps, start + 50 * MINUTE), parked);
        // It is there all the time, and is asked again.
        assert_eq!(flaps.came(start + MINUTE + COUNTED), parked);
        assert_eq!(flaps.came(first + COUNTED), Verdict::Welcome);
        // Two are left: one more is the third again.
        let again = Verdict::Parked { until: first + MINUTE + COUNTED };
        assert_eq!(flap(&mut flaps, first + COUNTED), again);
    }

    #[test]
    fn flaps_spread_over_more_than_an_hour_park_nothing() {
        let (mut flaps, start) = (Flaps::new(3), clock::now() + MINUTE);
        for number in 0..20 {
            assert_eq!(flap(&mut flaps, start + number * 31 * MINUTE), Verdict::Welcome);
        }
    }

    #[test]
    fn a_drive_that_stays_away_for_longer_makes_no_flap() {
        let (mut flaps, mut now) = (Flaps::new(3), clock::now());
        for _ in 0..10 {
            flaps.ended(Ending::Failure, now);
            now += RETURN + SECOND;
            assert_eq!(flaps.came(now), Verdict::Welcome);
        }
    }

    #[test]
    fn a_drive_that_is_unmounted_and_mounted_makes_no_flap() {
        let (mut flaps, mut now) = (Flaps::new(3), clock::now());
        for _ in 0..10 {
            flaps.ended(Ending::Orderly, now);
            now += SECOND;
            assert_eq!(flaps.came(now), Verdict::Welcome);
        }
    }

    #[test]
    fn a_drive_that_somebody_has_seen_to_begins_anew() {
        let (mut flaps, start) = (Flaps::new(2), clock::now() + MINUTE);
        assert_eq!(flap(&mut flaps, start), Verdict::Welcome);
        assert!(matches!(flap(&mut flaps, start + MINUTE), Verdict::Parked { .. }));
        flaps.forgive();
        assert_eq!(flaps.came(start + 2 * MINUTE), Verdict::Welcome);
        assert_eq!(flap(&mut flaps, start + 3 * MINUTE), Verdict::Welcome);
    }

    #[test]
    fn what_is_told_has_the_times_of_day() {
        let (mut flaps, start) = (Flaps::new(2), clock::now());
        flap(&mut flaps, start);
        let Verdict::Parked { until } = flap(&mut flaps, start + 10 * MINUTE) else { panic!("two of two") };
        let now = start + 10 * MINUTE + SECOND;
        let wall_ns = 1_800_000_000_000_000_000; // 2027-01-15, 08:00
        assert_eq!(
            flaps.describe(until, now, wall_ns),
            "it failed and came back 2 times within an hour, at 2027-01-15T07:50:00Z, 2027-01-15T08:00:00Z; it is left \
             alone until 2027-01-15T08:50:00Z"
        );
    }
}
