//! A file's bytes: sparse, and shared between copies until one of them is written.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes that a power cut keeps or loses as one.
pub(super) const SECTOR_BYTES: u64 = 512;

const BLOCK_BYTES: u64 = 4096;

type Block = [u8; BLOCK_BYTES as usize];

/// Bytes that were never written are zeros and take no memory.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Content {
    len: u64,
    /// Invariant: every byte at or past `len` is zero.
    blocks: BTreeMap<u64, Arc<Block>>,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buf` from `offset` on, as far as the file goes; the number of bytes.
    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let count = self.len.saturating_sub(offset).min(buf.len() as u64);
        for (block, at, in_buf) in pieces(offset, count) {
            let Some(to) = buf.get_mut(in_buf.clone()) else { continue };
            match self.blocks.get(&block).and_then(|bytes| bytes.get(at..at + to.len())) {
                Some(from) => to.copy_from_slice(from),
                None => to.fill(0),
            }
        }
        count as usize
    }

    /// Writes all of `bytes`; the file grows where they end past it.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        for (block, at, in_bytes) in pieces(offset, bytes.len() as u64) {
            let Some(from) = bytes.get(in_bytes) else { continue };
            let to = Arc::make_mut(self.blocks.entry(block).or_insert_with(|| Arc::new([0; BLOCK_BYTES as usize])));
            if let Some(to) = to.get_mut(at..at + from.len()) {
                to.copy_from_slice(from);
            }
        }
        if !bytes.is_empty() {
            self.len = self.len.max(offset + bytes.len() as u64);
        }
    }

    /// Cuts the file, or lengthens it with zeros.
    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let last = len / BLOCK_BYTES;
            drop(self.blocks.split_off(&(last + 1)));
            if let Some(block) = self.blocks.get_mut(&last) {
                Arc::make_mut(block).iter_mut().skip((len % BLOCK_BYTES) as usize).for_each(|byte| *byte = 0);
            }
        }
        self.len = len;
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.read(&mut bytes, 0);
        bytes
    }
}

/// Cuts a span of a file into (block, first byte in the block, range in the span).
fn pieces(offset: u64, count: u64) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let end = offset + count;
    let mut position = offset;
    std::iter::from_fn(move || {
        if position >= end {
            return None;
        }
        let block = position / BLOCK_BYTES;
        let until = end.min((block + 1) * BLOCK_BYTES);
        let piece = (block, (position % BLOCK_BYTES) as usize, (position - offset) as usize..(until - offset) as usize);
        position = until;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]

    use super::*;

    #[test]
    fn what_was_never_written_or_was_cut_reads_as_zeros() {
        let mut content = Content::default();
        content.write(b"0123456789", BLOCK_BYTES - 5);
        assert_eq!(content.len(), BLOCK_BYTES + 5);
        let copy = content.clone();
        content.set_len(BLOCK_BYTES + 1);
        content.set_len(BLOCK_BYTES + 8);
        let mut buf = [9; 20];
        assert_eq!(content.read(&mut buf, BLOCK_BYTES - 7), 15);
        assert_eq!(&buf[..15], b"\x00\x00012345\0\0\0\0\0\0\0");
        assert_eq!(copy.to_vec()[BLOCK_BYTES as usize - 5..], *b"0123456789");
    }
}
