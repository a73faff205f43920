//! What an operator may change of the server's limits. PROTOCOL.md repeats the defaults.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

use crate::mirror::MirrorLimits;
use crate::units;
use crate::wire::Pace;

/// How long to read on, behind an error that closes the connection, so that the client sees the error.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// As [`LINGER`], for those that are sent away because the daemon stops: all of them together, and once.
pub(crate) const LINGER_STOPPING: Duration = Duration::from_millis(300);

/// Most connections over the limit that are told `busy` and waited for at one time; more get the line and are closed.
pub(crate) const BUSY_ANSWERS_MAX: usize = 256;

/// How long connections that the kernel holds in its queue are looked for.
pub(crate) const BACKLOG_LOOK: Duration = Duration::from_millis(20);

/// How long requests that are cut off have to end by themselves.
pub(crate) const HURRY_AT_MOST: Duration = Duration::from_secs(3);

/// How long to wait before the next accept when the machine has no descriptor or memory for one.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a status waits for what the machine says of itself.
pub(crate) const HOST_TIMEOUT: Duration = Duration::from_secs(2);

/// Seconds of silence after which the kernel asks whether the other end is still there.
pub(crate) const KEEPALIVE: Duration = Duration::from_mins(1);

/// Bytes that the kernel keeps of a connection beyond what is on its way to the client. With more its room would come free in
/// pieces so large that a slow client, which reads all the time, looks like one that does not.
pub(crate) const UNSENT_BYTES: u32 = 128 << 10;

/// Connections that the kernel keeps for the daemon to accept.
pub(crate) const BACKLOG: u32 = 4096;

/// Times `edit_idle_timeout` that a connection stays which edits and is silent.
const EDITORS_STAY: u32 = 12;

/// Sentences that one connection edits at one time.
pub(crate) const EDITS_OF_ONE_MAX: usize = 16;

/// Sentences of all texts that are edited at one time: of each a hash is kept, 8 bytes.
pub(crate) const EDITED_SENTENCES_MAX: usize = 1 << 20;

/// Texts that are held in memory at one time, to be taken apart or put together.
pub(crate) const TEXTS_AT_ONCE_MAX: usize = 16;

/// Bytes of all bodies that wait to be committed or appended; `busy` beyond.
pub(crate) const WAITING_BODIES_BYTES_MAX: usize = 32 << 20;

/// Times that a commit begins anew because others stored the file by other means.
pub(crate) const REBASES_MAX: usize = 64;

/// The server's limits. Passing one gets a named error. Times are written as `30s`, `5m`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections open at one time; `busy` beyond.
    pub connections_max: NonZeroUsize,
    /// Of these one user's, or one address's where there are no accounts; `busy` beyond.
    pub user_connections_max: NonZeroUsize,
    /// Requests of one user in a second, twice as many after a rest; `busy` beyond. 0: as many as come.
    pub user_requests_per_second: u32,
    /// Bytes of bodies in memory, of all clients together, half of them one user's; who needs more waits.
    #[serde(deserialize_with = "size")]
    pub buffer_bytes_max: u64,
    /// Bytes of small files that were read lately, kept in memory. 0: none.
    #[serde(deserialize_with = "cache")]
    pub read_cache_bytes_max: u64,
    /// Large files under way at one time, half of them one user's; more wait for their turn.
    pub transfers_max: NonZeroUsize,
    /// From the connection to the end of its hello; `timeout` beyond.
    #[serde(deserialize_with = "duration")]
    pub hello_timeout: Duration,
    /// Between two requests; `timeout` beyond.
    #[serde(deserialize_with = "duration")]
    pub idle_timeout: Duration,
    /// From the first byte of a header to its newline; `timeout` beyond.
    #[serde(deserialize_with = "duration")]
    pub header_timeout: Duration,
    /// Without a byte moving in a body, either way; `timeout` beyond.
    #[serde(deserialize_with = "duration")]
    pub stall_timeout: Duration,
    /// Bytes of a body, either way, in each second that the client is waited for, measured over `stall_timeout`; `timeout`
    /// below. 0: as few as come.
    #[serde(deserialize_with = "rate")]
    pub rate_min: u64,
    /// For requests under way when the daemon stops; cut off beyond.
    #[serde(deserialize_with = "duration")]
    pub drain_timeout: Duration,
    /// Bytes of one body; `too-large` beyond.
    pub body_bytes_max: NonZeroU64,
    /// Bytes of a refused body that are read and dropped, so that the connection can go on; closed beyond.
    pub discard_bytes_max: u64,
    /// Since a sentence was last worked at; others may take it beyond.
    #[serde(deserialize_with = "duration")]
    pub edit_idle_timeout: Duration,
    /// Sentences that are edited at one time, by all; `busy` beyond.
    pub edits_max: NonZeroUsize,
    /// Bytes of a text that is edited by sentences, and of what is committed or appended at once; `too-large` beyond.
    pub edit_bytes_max: NonZeroU64,
    /// Bytes of a file that is appended to, since it is written anew; `too-large` beyond.
    pub append_bytes_max: NonZeroU64,
    /// Names in one folder, files and folders together; `too-large` beyond. 0: as many as come.
    pub folder_entries_max: u64,
    /// Entries of one listing; `too-large` beyond.
    pub list_entries_max: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: NonZeroUsize::MIN.saturating_add(4095),
            user_connections_max: NonZeroUsize::MIN.saturating_add(3071),
            user_requests_per_second: 0,
            buffer_bytes_max: MirrorLimits::default().buffer_bytes_max,
            read_cache_bytes_max: MirrorLimits::default().read_cache_bytes_max,
            transfers_max: NonZeroUsize::MIN.saturating_add(1023),
            hello_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(5),
            header_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_mins(1),
            rate_min: 1 << 10,
            drain_timeout: Duration::from_secs(10),
            body_bytes_max: NonZeroU64::MIN.saturating_add((1 << 40) - 1),
            discard_bytes_max: 16 << 20,
            edit_idle_timeout: Duration::from_mins(10),
            edits_max: NonZeroUsize::MIN.saturating_add(1023),
            edit_bytes_max: NonZeroU64::MIN.saturating_add((1 << 20) - 1),
            append_bytes_max: NonZeroU64::MIN.saturating_add((64 << 20) - 1),
            folder_entries_max: MirrorLimits::default().folder_entries_max,
            list_entries_max: NonZeroUsize::MIN.saturating_add(249_999),
        }
    }
}

impl Limits {
    /// What is asked of whoever sends or reads a body.
    pub(crate) fn pace(&self) -> Pace {
        Pace { stall: self.stall_timeout, rate_min: self.rate_min }
    }

    /// How long whoever edits may be silent: a lease that is over goes on where nobody else wants it.
    pub(crate) fn editors_timeout(&self) -> Duration {
        self.idle_timeout.max(self.edit_idle_timeout.saturating_mul(EDITORS_STAY))
    }
}

/// Least of `buffer_bytes_max`: some pieces for each of a few clients.
const BUFFER_BYTES_MIN: u64 = 4 << 20;

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bad = || D::Error::custom(format!("{text:?} is no size such as \"64MiB\", of at least 4 MiB"));
    units::parse_size(&text).filter(|bytes| *bytes >= BUFFER_BYTES_MIN).ok_or_else(bad)
}

fn cache<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bad = || D::Error::custom(format!("{text:?} is no size such as \"32MiB\", or \"0\" for none"));
    if text == "0" { Ok(0) } else { units::parse_size(&text).ok_or_else(bad) }
}

fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bad = || D::Error::custom(format!("{text:?} is no rate such as \"1KiB\" (a second), or \"0\" for none"));
    if text == "0" { Ok(0) } else { units::parse_size(&text).ok_or_else(bad) }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let duration = humantime::parse_duration(&text).map_err(D::Error::custom)?;
    if duration.is_zero() { Err(D::Error::custom("a time-out of zero would refuse everything")) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_not_said_keeps_its_default() {
        let limits: Limits = toml::from_str("idle_timeout = \"90s\"\nconnections_max = 7").unwrap();
        assert_eq!(limits.idle_timeout, Duration::from_secs(90));
        assert_eq!(limits.connections_max.get(), 7);
        assert_eq!(limits.header_timeout, Limits::default().header_timeout);
        assert_eq!(limits.list_entries_max.get(), 250_000);
    }

    #[test]
    fn a_limit_that_would_refuse_everything_is_refused() {
        for text in ["connections_max = 0", "idle_timeout = \"0s\"", "idle = 5", "stall_timeout = 5"] {
            assert!(toml::from_str::<Limits>(text).is_err(), "{text}");
        }
    }
}
