//! When a lane lets clients go first.
//!
//! Small uploads that come one after another are durable in the drives' logs, and served from there. To give each its name
//! at once would cost more than to take it, at the expense of those that come next. So while they come their names
//! wait, for a bounded time and within a part of the log, and are then given to many together.

use std::time::{Duration, Instant};

/// After the last one it counts as over after so many times as long as the log took for it …
const QUIET_FACTOR: u32 = 3;
/// … but not sooner, and not later.
const QUIET_LEAST: Duration = Duration::from_millis(20);
const QUIET_MOST: Duration = Duration::from_millis(300);
/// How long a name waits, before the work for those before it.
const HOLD_MOST: Duration = Duration::from_secs(3);

/// What a lane knows of it.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// Since when names wait; until nothing is owed any more.
    since: Option<Instant>,
    /// Somebody waits for what is owed.
    hurried: bool,
}

/// What comes from clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    /// When the last small upload was committed.
    pub(super) last: Option<Instant>,
    /// How long the log took for one.
    pub(super) pace: Duration,
}

impl Hold {
    /// Until when the lane leaves alone what it owes; `None`: it goes to work.
    pub(super) fn until(&mut self, now: Instant, stream: Stream) -> Option<Instant> {
        let quiet = (stream.pace * QUIET_FACTOR).clamp(QUIET_LEAST, QUIET_MOST);
        let over = stream.last.map(|last| last + quiet).filter(|over| *over > now)?;
        if self.hurried {
            return None;
        }
        let end = *self.since.get_or_insert(now) + HOLD_MOST;
        (end > now).then_some(end.min(over))
    }

    /// Somebody waits for what is owed now.
    pub(super) fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Nothing is owed.
    pub(super) fn rest(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MS: Duration = Duration::from_millis(1);

    fn stream(last: Instant, pace: Duration) -> Stream {
        Stream { last: Some(last), pace }
    }

    #[test]
    fn without_uploads_nothing_waits() {
        let now = clock::now();
        assert_eq!(Hold::default().until(now, Stream { last: None, pace: MS }), None);
        assert_eq!(Hold::default().until(now + QUIET_LEAST, stream(now, MS)), None);
        assert_eq!(Hold::default().until(now + QUIET_MOST, stream(now, 1000 * MS)), None);
    }

    #[test]
    fn names_wait_while_uploads_come_and_no_longer_than_their_time() {
        let begin = clock::now();
        let mut hold = Hold::default();
        for ms in 0..3000 {
            let now = begin + ms * MS;
            let until = hold.until(now, stream(now, MS));
            assert_eq!(until, Some((now + QUIET_LEAST).min(begin + HOLD_MOST)), "{ms}");
        }
        // Behind that it works until nothing is owed, whatever comes.
        for ms in 3000..9000 {
            let now = begin + ms * MS;
            assert_eq!(hold.until(now, stream(now, MS)), None, "{ms}");
        }
        hold.rest();
        let now = begin + 9000 * MS;
        assert_eq!(hold.until(now, stream(now, MS)), Some(now + QUIET_LEAST));
    }

    #[test]
    fn a_slow_stick_has_longer_pauses_that_are_none() {
        let now = clock::now();
        let until = Hold::default().until(now + 50 * MS, stream(now, 40 * MS));
        assert_eq!(until, Some(now + 120 * MS));
    }

    #[test]
    fn who_waits_is_not_kept_waiting_until_all_is_there() {
        let now = clock::now();
        let mut hold = Hold::default();
        hold.hurry();
        assert_eq!(hold.until(now, stream(now, MS)), None);
        hold.rest();
        assert!(hold.until(now, stream(now, MS)).is_some());
    }
}
