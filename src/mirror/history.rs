//! What happened to the mirror since the daemon's start, for people. In memory, and bounded.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::Mutex;

use crate::ids::Side;
use crate::mirror::status::Since;

/// Events that are kept.
const EVENTS_MAX: usize = 20;

/// A moment on both clocks: the machine's for people, the monotonic one to measure from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) wall_ns: i64,
    pub(crate) at: Instant,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { wall_ns: crate::clock::wall_ns(), at: crate::clock::now() }
    }

    pub(crate) fn since(self, now: Instant) -> Since {
        Since { wall_ns: self.wall_ns, seconds: now.saturating_duration_since(self.at).as_secs() }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds since 1970.
    pub wall_ns: i64,
    /// The drive that it happened to, where it was one.
    pub drive: Option<Side>,
    pub what: String,
}

/// The last events, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History {
    events: Mutex<VecDeque<Event>>,
    /// Since when the journal has not been writable.
    journal_closed: Mutex<Option<Moment>>,
}

impl History {
    /// Adds an event. One that only says again what the last one of that drive said is left out: a stick that is
    /// tried and turned away each second must not push everything else out.
    pub(crate) fn add(&self, wall_ns: i64, drive: Option<Side>, what: impl Into<String>) {
        let what = what.into();
        let mut events = self.events.lock();
        if events.iter().rev().find(|event| event.drive == drive).is_some_and(|event| event.what == what) {
            return;
        }
        if events.len() == EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(Event { wall_ns, drive, what });
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().iter().cloned().collect()
    }

    /// The journal failed; told as often as anybody finds that.
    pub(crate) fn journal_closed(&self, now: Moment) {
        let mut closed = self.journal_closed.lock();
        if closed.is_none() {
            *closed = Some(now);
            self.add(now.wall_ns, None, "the journal cannot be written: nothing new is acknowledged");
        }
    }

    pub(crate) fn journal_opened(&self, now: Moment) {
        if self.journal_closed.lock().take().is_some() {
            self.add(now.wall_ns, None, "the journal is open again");
        }
    }

    pub(crate) fn journal_closed_since(&self) -> Option<Moment> {
        *self.journal_closed.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_are_kept_and_repetitions_left_out() {
        let history = History::default();
        for number in 0..100 {
            history.add(number, Some(Side::B), "lost: again");
        }
        history.add(100, Some(Side::A), "lost: again");
        assert_eq!(history.events().iter().map(|event| event.wall_ns).collect::<Vec<_>>(), [0, 100]);
        for number in 0..50 {
            history.add(number, None, number.to_string());
        }
        let events = history.events();
        assert_eq!(events.len(), EVENTS_MAX);
        assert_eq!(events.last().map(|event| event.what.as_str()), Some("49"));
    }

    #[test]
    fn a_journal_that_fails_is_told_once_and_its_return_too() {
        let (history, now) = (History::default(), Moment::now());
        history.journal_opened(now);
        history.journal_closed(now);
        history.journal_closed(Moment::now());
        assert!(history.journal_closed_since().is_some_and(|closed| closed.at == now.at));
        history.journal_opened(now);
        assert!(history.journal_closed_since().is_none());
        assert_eq!(history.events().len(), 2);
    }
}
