//! What an operator may change of the mirror's limits.

use std::time::Duration;

/// The mirror's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorLimits {
    /// Entries that the journal keeps for a drive that is behind, about 1 KiB of boot disk each; past it the drive is
    /// backfilled from its debts, one record a path, and no entry waits for it.
    pub journal_entries_max: u64,
    /// A drive that fails and comes back so often within an hour is parked.
    pub flaps_max: u32,
    /// How long a drive may do nothing at all while calls on it are under way, before it counts as gone.
    pub stall_after: Duration,
    /// How long what was removed or overwritten is kept; `None`: not at all.
    pub trash_for: Option<Duration>,
}

impl Default for MirrorLimits {
    fn default() -> Self {
        Self { journal_entries_max: 200_000, flaps_max: 3, stall_after: Duration::from_secs(5), trash_for: None }
    }
}
