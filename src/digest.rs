//! CRC-32 (IEEE) of whole files and of their blocks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a block; each has a CRC of its own in the catalog.
pub const BLOCK_BYTES: usize = 256 * 1024;

/// CRC-32 (IEEE), written as eight lowercase hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Crc32(pub u32);

impl Crc32 {
    pub fn of(bytes: &[u8]) -> Self {
        Self(crc32fast::hash(bytes))
    }
}

impl fmt::Display for Crc32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Crc32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Crc32 {
    type Err = BadCrc;
    fn from_str(text: &str) -> Result<Self, BadCrc> {
        let digits = text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let value = if digits { u32::from_str_radix(text, 16).ok() } else { None };
        value.map(Self).ok_or_else(|| BadCrc(text.to_owned()))
    }
}

/// Text that is not eight lowercase hex digits.
#[derive(Debug, thiserror::Error)]
#[error("not a CRC-32 of eight lowercase hex digits: {0:?}")]
pub struct BadCrc(String);

/// The digests of one file: of all its bytes and of each block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileDigest {
    pub size: u64,
    pub whole: Crc32,
    /// Invariant: one for each started block of `size`.
    pub blocks: Vec<Crc32>,
}

/// Digests a file as it streams by, in pieces of any length.
#[derive(Clone, Default)]
pub struct Digester {
    size: u64,
    whole: crc32fast::Hasher,
    block: crc32fast::Hasher,
    block_bytes: usize,
    blocks: Vec<Crc32>,
}

impl Digester {
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.block_bytes));
            self.block.update(now);
            self.block_bytes += now.len();
            if self.block_bytes == BLOCK_BYTES {
                self.end_block();
            }
            bytes = rest;
        }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// The CRC-32 of all bytes so far.
    pub fn whole(&self) -> Crc32 {
        let mut whole = self.whole.clone();
        whole.combine(&self.block);
        Crc32(whole.finalize())
    }

    pub fn finish(mut self) -> FileDigest {
        if self.block_bytes > 0 {
            self.end_block();
        }
        FileDigest { size: self.size, whole: Crc32(self.whole.finalize()), blocks: self.blocks }
    }

    // The whole is combined from the blocks, so that each byte is hashed once.
    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        self.whole.combine(&block);
        self.blocks.push(Crc32(block.finalize()));
        self.block_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_the_same_however_the_bytes_are_cut() {
        let bytes: Vec<u8> = (0..BLOCK_BYTES * 2 + 77).map(|i| (i * 31 % 251) as u8).collect();
        for piece in [1000, BLOCK_BYTES, BLOCK_BYTES + 1, bytes.len()] {
            let mut digester = Digester::default();
            bytes.chunks(piece).for_each(|chunk| digester.update(chunk));
            let digest = digester.finish();
            assert_eq!(digest.whole, Crc32::of(&bytes));
            assert_eq!(digest.size, bytes.len() as u64);
            let blocks: Vec<_> = bytes.chunks(BLOCK_BYTES).map(Crc32::of).collect();
            assert_eq!(digest.blocks, blocks);
        }
    }

    #[test]
    fn an_empty_file_has_no_block() {
        assert_eq!(Digester::default().finish(), FileDigest::default());
    }
}
