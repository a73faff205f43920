//! Small files that were read lately, in memory: a GET of one needs no system call on a drive.
//!
//! What is kept is a version's whole bytes, by its ticket, which no other version ever has: so it cannot be older than what
//! was asked for. It is checked again each time that it is given out. Nothing is given out of here that no drive
//! present holds.

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::digest::Crc32;
use crate::ids::Ticket;
use crate::journal::Version;

/// Larger files cost more to send than to open.
const FILE_BYTES_MAX: u64 = 16 << 10;
/// Of each file, beside its bytes.
const OVERHEAD_BYTES: u64 = 128;
/// For how many files the tables are made at first.
const FILES_AT_FIRST: usize = 1024;

#[derive(Debug)]
pub(crate) struct Hot {
    files: Cache<Ticket, Bytes, Weight>,
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Ticket, Bytes> for Weight {
    fn weight(&self, _: &Ticket, bytes: &Bytes) -> u64 {
        bytes.len() as u64 + OVERHEAD_BYTES
    }
}

impl Hot {
    /// For so many bytes in all; 0: nothing is kept.
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { files: Cache::with_weighter(FILES_AT_FIRST, bytes_max, Weight) }
    }

    pub(crate) fn get(&self, version: &Version) -> Option<Bytes> {
        if version.size > FILE_BYTES_MAX {
            return None;
        }
        let bytes = self.files.get(&version.ticket)?;
        if bytes.len() as u64 == version.size && Crc32::of(&bytes) == version.crc32 {
            return Some(bytes);
        }
        tracing::error!(ticket = %version.ticket, "a file kept in memory has changed there: look after this machine's memory");
        self.files.remove(&version.ticket);
        None
    }

    /// Keeps what was just read whole and verified.
    pub(crate) fn keep(&self, version: &Version, bytes: &[u8]) {
        if version.size <= FILE_BYTES_MAX && bytes.len() as u64 == version.size {
            self.files.insert(version.ticket, Bytes::copy_from_slice(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Nonce;

    fn version(count: u64, bytes: &[u8]) -> Version {
        Version { ticket: Ticket::new(Nonce([7; 8]), count), size: bytes.len() as u64, crc32: Crc32::of(bytes) }
    }

    #[test]
    fn what_was_kept_is_given_and_nothing_else() {
        let hot = Hot::new(1 << 20);
        let (one, two) = (version(1, b"one"), version(2, b"two"));
        hot.keep(&one, b"one");
        assert_eq!(hot.get(&one).as_deref(), Some(b"one".as_slice()));
        assert_eq!(hot.get(&two), None);
    }

    #[test]
    fn parts_and_large_files_are_not_kept() {
        let hot = Hot::new(1 << 20);
        hot.keep(&version(1, b"whole"), b"who");
        assert_eq!(hot.get(&version(1, b"whole")), None);
        let large = vec![7; FILE_BYTES_MAX as usize + 1];
        hot.keep(&version(2, &large), &large);
        assert_eq!(hot.get(&version(2, &large)), None);
    }

    #[test]
    fn what_changed_in_memory_is_not_given_out() {
        let hot = Hot::new(1 << 20);
        let good = version(1, b"good");
        hot.keep(&good, b"goof");
        assert_eq!(hot.get(&good), None);
        assert_eq!(hot.files.len(), 0);
    }

    #[test]
    fn it_never_has_more_than_its_bytes() {
        for bytes_max in [0, 10_000, 1 << 20] {
            let hot = Hot::new(bytes_max);
            for count in 0..5000 {
                let bytes = vec![count as u8; 1000];
                hot.keep(&version(count, &bytes), &bytes);
                assert!(hot.files.weight() <= bytes_max, "{} of {bytes_max}", hot.files.weight());
            }
        }
    }
}
