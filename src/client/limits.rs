//! The client's limits and waits.

use std::time::Duration;

/// Where a daemon listens if nobody said otherwise: T-W-I-N on a phone.
pub const PORT: u16 = 8946;

/// How long a connection may take to come about.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the server may be silent while it owes something. Longer than a stick that hangs and is given up.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_mins(2);

/// How often a request is sent again when its connection was lost.
pub(crate) const RETRIES_MAX: u32 = 7;

/// The wait before the first repetition; it doubles with each, to some 13 s in all: a daemon restarts in that time.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A longer wait that the server asks for is for a person to decide on.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);

/// A stream up to this long is read ahead, so that it can be sent again, in bytes.
pub(crate) const SPOOL_BYTES_MAX: usize = 4 << 20;

/// Bytes from which on a transfer shows its progress.
pub(crate) const PROGRESS_BYTES_MIN: u64 = 4 << 20;

/// How long a monitor's `status --check` waits for an answer.
pub(crate) const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two pictures of `status --watch`.
pub(crate) const WATCH_PAUSE: Duration = Duration::from_secs(1);
