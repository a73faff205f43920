//! Which calls are under way on a drive, and since when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

#[derive(Debug, Default)]
struct Book {
    begun: u64,
    returned: u64,
    /// By number: in the order of their beginning.
    under_way: BTreeMap<u64, Instant>,
    /// Whether the watch sleeps until a call begins.
    asleep: bool,
    ended: bool,
}

/// The calls on one drive.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    book: Mutex<Book>,
    stirred: Condvar,
}

/// A call on a drive; dropped when it has returned.
pub(super) struct UnderWay {
    ledger: Arc<Ledger>,
    number: u64,
}

impl Ledger {
    /// Records a call from `now` until what this gives is dropped.
    pub(super) fn begin(self: &Arc<Self>, now: Instant) -> UnderWay {
        let mut book = self.book.lock();
        let number = book.begun;
        book.begun += 1;
        book.under_way.insert(number, now);
        let asleep = std::mem::take(&mut book.asleep);
        drop(book);
        // Behind the lock: it asks the kernel, and all calls on the drive pass here.
        if asleep {
            self.stirred.notify_all();
        }
        UnderWay { ledger: Arc::clone(self), number }
    }

    /// When the oldest call that is under way began.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let book = self.book.lock();
        book.under_way.first_key_value().filter(|_| !book.ended).map(|(_, began)| *began)
    }

    /// How many there were so far.
    pub(super) fn begun(&self) -> u64 {
        self.book.lock().begun
    }

    pub(super) fn returned(&self) -> u64 {
        self.book.lock().returned
    }

    /// Sleeps until a call is under way; false once nobody is to watch any more.
    pub(super) fn wait_for_call(&self) -> bool {
        let mut book = self.book.lock();
        while !book.ended && book.under_way.is_empty() {
            book.asleep = true;
            self.stirred.wait(&mut book);
        }
        !book.ended
    }

    /// Waits until nobody is to watch any more, at most so long.
    pub(super) fn wait_for_end(&self, at_most: Duration) {
        let mut book = self.book.lock();
        if !book.ended {
            self.stirred.wait_for(&mut book, at_most);
        }
    }

    /// Ends the watch.
    pub(super) fn end(&self) {
        self.book.lock().ended = true;
        self.stirred.notify_all();
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut book = self.ledger.book.lock();
        book.under_way.remove(&self.number);
        book.returned += 1;
    }
}
