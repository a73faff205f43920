//! An allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::Sub;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, with a count of what is asked of it; for `#[global_allocator]`.
#[derive(Debug, Default)]
pub struct Counting {
    times: AtomicUsize,
    bytes: AtomicUsize,
}

/// What was allocated since the process began: given back or not, and again where it grew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocated {
    pub times: usize,
    pub bytes: usize,
}

impl Counting {
    #[must_use]
    pub const fn new() -> Self {
        Self { times: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    pub fn allocated(&self) -> Allocated {
        Allocated { times: self.times.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    fn count(&self, bytes: usize) {
        self.times.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Sub for Allocated {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { times: self.times - before.times, bytes: self.bytes - before.bytes }
    }
}

#[allow(unsafe_code, reason = "an allocator's own calls are unsafe; all are passed on as they are")]
// SAFETY: `System` keeps the contract, and gets what was given.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.count(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        self.count(bytes.saturating_sub(layout.size()));
        // SAFETY: the caller's.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}
