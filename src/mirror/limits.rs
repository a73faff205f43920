//! What an operator may change of the mirror's limits.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::units::parse_size;

/// What the read cache takes where nothing else is said: this part of the machine's memory, and not more than that.
const READ_CACHE_PART: u64 = 32;
const READ_CACHE_BYTES_MOST: u64 = 64 << 20;

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
    pub aside_max: AsideMax,
    /// Bytes of bodies on their way, for all clients together.
    pub buffer_bytes_max: u64,
    /// Bytes of small files that were read lately, kept in memory; 0: none.
    pub read_cache_bytes_max: u64,
    /// Large files under way at one time, for all clients together.
    pub transfers_max: usize,
    /// Names that a folder gets at most; 0: any number. What is found on a drive is taken in all the same.
    pub folder_entries_max: u64,
}

/// How much may lie aside on a drive. What a repair replaced goes when it would be more, and nothing else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsideMax {
    Bytes(u64),
    /// Of the drive's size.
    Percent(u8),
}

/// Why a text is no [`AsideMax`].
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither a share of the drive such as \"10%\" nor a size such as \"500MiB\" or \"2GiB\"")]
pub struct BadAsideMax(String);

impl AsideMax {
    /// The bytes of it on a drive of this size; no limit where that is not known.
    pub(crate) fn of(self, drive_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(_) if drive_bytes == 0 => u64::MAX,
            Self::Percent(percent) => drive_bytes / 100 * u64::from(percent),
        }
    }
}

impl FromStr for AsideMax {
    type Err = BadAsideMax;

    fn from_str(text: &str) -> Result<Self, BadAsideMax> {
        let bad = || BadAsideMax(text.to_owned());
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent));
            return percent.map(Self::Percent).ok_or_else(bad);
        }
        parse_size(text).map(Self::Bytes).ok_or_else(bad)
    }
}

impl<'de> Deserialize<'de> for AsideMax {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A small part of this machine's memory.
fn read_cache_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    let memory = info.totalram.saturating_mul(u64::from(info.mem_unit));
    (memory / READ_CACHE_PART).min(READ_CACHE_BYTES_MOST)
}

impl Default for MirrorLimits {
    fn default() -> Self {
        Self {
            journal_entries_max: 200_000,
            flaps_max: 3,
            stall_after: Duration::from_secs(5),
            trash_for: None,
            aside_max: AsideMax::Percent(10),
            buffer_bytes_max: 64 << 20,
            read_cache_bytes_max: read_cache_bytes(),
            transfers_max: 1024,
            // As many as one listing has.
            folder_entries_max: 250_000,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_may_lie_aside_is_a_share_or_a_size() {
        let of = |text: &str, size| text.parse::<AsideMax>().unwrap().of(size);
        assert_eq!(of("10%", 64 << 30), (64 << 30) / 100 * 10);
        assert_eq!(of("10%", 0), u64::MAX, "a drive that does not tell its size");
        assert_eq!(of("500MiB", 7), 500 << 20);
        assert_eq!(of("2 GiB", 7), 2 << 30);
        for bad in ["", "10", "0%", "101%", "0KiB", "-1MiB", "10 %", "99999999999GiB", "10GB"] {
            assert!(bad.parse::<AsideMax>().is_err(), "{bad:?}");
        }
    }
}
