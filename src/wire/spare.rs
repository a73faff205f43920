//! Read buffers that wait for their next connection.
//!
//! A connection that has nothing to read holds no buffer: thousands may be idle at once.

use std::cell::RefCell;

use crate::wire::limits::READ_BYTES;

/// Most buffers that one thread keeps.
const KEPT_MAX: usize = 32;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer of at least [`READ_BYTES`].
pub(crate) fn take() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(READ_BYTES))
}

/// Keeps a buffer for the next connection of this thread, unless it grew or there are enough.
pub(crate) fn give(mut buffer: Vec<u8>) {
    if !(READ_BYTES..=2 * READ_BYTES).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < KEPT_MAX {
            spare.push(buffer);
        }
    });
}
