//! Whether a lane is at work: what is read on its drive meanwhile may be elsewhere than the journal says, because names
//! are given before that is on record.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A lane's steps, for those who read on its drive.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// Begun and ended ones: odd while one is under way.
    turns: AtomicU64,
    /// Whether the other lane waits for the end of one.
    is_awaited: AtomicBool,
}

/// A step from its first work on the drive until what it did is on record.
#[derive(Debug)]
pub(crate) struct UnderWay<'a>(&'a Steps);

/// A moment before something was looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(u64);

impl Steps {
    /// Begins a step; it ends when the answer is dropped.
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        self.turns.fetch_add(1, Ordering::SeqCst);
        UnderWay(self)
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.turns.load(Ordering::SeqCst))
    }

    /// Whether no step was under way at any time since: what was looked up then was true until now.
    pub(crate) fn were_at_rest_since(&self, then: Moment) -> bool {
        then.0.is_multiple_of(2) && self.now().0 == then.0
    }

    pub(crate) fn are_at_rest(&self) -> bool {
        self.were_at_rest_since(self.now())
    }

    /// Asks to be woken when the step under way has ended; whether there is one.
    pub(crate) fn await_end(&self) -> bool {
        self.is_awaited.store(true, Ordering::SeqCst);
        !self.are_at_rest()
    }

    /// Whether the other lane asked for the end of a step, which has come.
    pub(crate) fn take_awaited(&self) -> bool {
        self.is_awaited.swap(false, Ordering::SeqCst)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.turns.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_at_rest_only_where_no_step_began_or_ended() {
        let steps = Steps::default();
        let before = steps.now();
        assert!(steps.were_at_rest_since(before) && steps.are_at_rest());
        let step = steps.begin();
        let amid = steps.now();
        assert!(!steps.were_at_rest_since(before), "one has begun");
        assert!(!steps.were_at_rest_since(amid) && !steps.are_at_rest(), "one is under way");
        drop(step);
        assert!(!steps.were_at_rest_since(before) && !steps.were_at_rest_since(amid), "one has ended");
        assert!(steps.were_at_rest_since(steps.now()));
    }

    #[test]
    fn who_asks_for_the_end_of_a_step_is_woken_once() {
        let steps = Steps::default();
        let step = steps.begin();
        assert!(!steps.take_awaited(), "nobody has asked");
        assert!(steps.await_end());
        drop(step);
        assert!(steps.take_awaited() && !steps.take_awaited());
        assert!(!steps.await_end(), "there is none to wait for");
    }
}
