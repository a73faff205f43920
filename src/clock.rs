//! The one place that reads the clocks.
#![allow(clippy::disallowed_methods, reason = "this is the seam that the ban protects")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time, for schedules and durations.
pub fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds since 1970 as the machine believes; for people, never for order.
pub fn wall_ns() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        // A Pi without a clock battery may start before 1970.
        Err(before) => -i64::try_from(before.duration().as_nanos()).unwrap_or(i64::MAX),
    }
}
