//! The thread that closes what was open on a drive.
//!
//! Closing can block for as long as the drive does: the last one to hold a removed file frees its blocks. So nobody
//! else does it. What is read often is opened and closed often, and to wake a thread for each costs more than the
//! closing: it gathers for a moment what comes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::nice::give_way;

/// What is to be closed.
type Closing = Box<dyn Any + Send>;

/// How long what nobody waits for may stay open.
const GATHER: Duration = Duration::from_millis(5);
/// So many are closed at once, however soon they came: each is a descriptor.
const GATHER_MAX: usize = 64;

/// To the thread, which ends with this when it has closed everything.
pub(super) struct Closer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Closing>,
    /// Somebody waits for it.
    is_urgent: bool,
    has_ended: bool,
}

impl Closer {
    pub(super) fn start(name: &str) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let closer = Self(Arc::clone(&shared));
        // It does nothing to the drive but close: it holds no fence.
        thread::Builder::new().name(format!("{name}-close")).spawn(move || {
            give_way();
            shared.run();
        })?;
        Ok(closer)
    }

    /// Closes it within a moment.
    pub(super) fn close(&self, what: impl Send + 'static) {
        self.0.add(Box::new(what), false);
    }

    /// Closes everything now; it may be under way when this returns.
    pub(super) fn close_all(&self, last: impl Send + 'static) {
        self.0.add(Box::new(last), true);
    }

    /// Returns when all that came until now is closed.
    pub(super) fn settle(&self) {
        let (told, tells) = mpsc::channel::<()>();
        // Dropped when its turn comes, and then nobody tells any more.
        self.close_all(told);
        let _ = tells.recv();
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.queue.lock().has_ended = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn add(&self, what: Closing, is_urgent: bool) {
        let mut queue = self.queue.lock();
        queue.waiting.push(what);
        queue.is_urgent |= is_urgent || queue.waiting.len() >= GATHER_MAX;
        // In between the thread comes by itself.
        let is_told = queue.waiting.len() == 1 || queue.is_urgent;
        drop(queue);
        if is_told {
            self.changed.notify_one();
        }
    }

    fn run(&self) {
        while let Some(closing) = self.gather() {
            for what in closing {
                // A defect in one was logged where it happened; the others are closed, and who waits for that is told.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(what)));
            }
        }
    }

    /// What is to be closed next, in its order; `None` at the end.
    fn gather(&self) -> Option<Vec<Closing>> {
        let mut queue = self.queue.lock();
        self.changed.wait_while(&mut queue, |queue| queue.waiting.is_empty() && !queue.has_ended);
        let is_early = |queue: &mut Queue| !queue.is_urgent && !queue.has_ended;
        self.changed.wait_while_for(&mut queue, is_early, GATHER);
        queue.is_urgent = false;
        let closing = std::mem::take(&mut queue.waiting);
        (!closing.is_empty() || !queue.has_ended).then_some(closing)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    /// Tells its number when it is closed.
    struct Told(usize, mpsc::Sender<usize>);

    impl Drop for Told {
        fn drop(&mut self) {
            self.1.send(self.0).unwrap();
        }
    }

    #[test]
    fn all_is_closed_in_its_order() {
        let (told, tells) = mpsc::channel();
        let closer = Closer::start("test").unwrap();
        for number in 0..3 * GATHER_MAX {
            closer.close(Told(number, told.clone()));
        }
        closer.settle();
        assert_eq!(tells.try_iter().collect::<Vec<_>>(), (0..3 * GATHER_MAX).collect::<Vec<_>>());
    }

    #[test]
    fn what_nobody_waits_for_is_closed_too() {
        let (told, tells) = mpsc::channel();
        let closer = Closer::start("test").unwrap();
        for number in 0..3 {
            closer.close(Told(number, told.clone()));
            assert_eq!(tells.recv_timeout(Duration::from_mins(1)), Ok(number));
        }
    }

    #[test]
    fn what_is_left_at_the_end_is_closed() {
        let (told, tells) = mpsc::channel();
        let closer = Closer::start("test").unwrap();
        closer.close(Told(0, told.clone()));
        closer.close(Told(1, told));
        drop(closer);
        assert_eq!(tells.iter().collect::<Vec<_>>(), [0, 1]);
    }

    /// Panics when it is closed, behind its word.
    struct Defective(mpsc::Sender<usize>);

    impl Drop for Defective {
        fn drop(&mut self) {
            self.0.send(0).unwrap();
            panic!("a defect");
        }
    }

    #[test]
    fn nobody_waits_for_ever_behind_a_defect() {
        let (told, tells) = mpsc::channel();
        let closer = Closer::start("test").unwrap();
        closer.close(Defective(told.clone()));
        assert_eq!(tells.recv_timeout(Duration::from_mins(1)), Ok(0));
        closer.close(Told(1, told.clone()));
        closer.close_all(Defective(told.clone()));
        closer.close(Told(2, told));
        let (settled, settles) = mpsc::channel();
        thread::spawn(move || {
            closer.settle();
            settled.send(closer).unwrap();
        });
        settles.recv_timeout(Duration::from_mins(1)).unwrap();
        assert_eq!(tells.try_iter().collect::<Vec<_>>(), [1, 0, 2]);
    }
}
