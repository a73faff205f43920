//! What the files have in them: bytes that no file system makes smaller, and that an answer can be compared with.

use std::sync::LazyLock;

use twinstick_rig::Random;

/// What goes over a connection at once.
pub(crate) const PIECE: usize = 256 << 10;

/// A file: its bytes follow from its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    pub(crate) number: usize,
    pub(crate) len: u64,
}

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random::new(1);
    (0..2 * PIECE / 8).flat_map(|_| random.number().to_le_bytes()).collect()
});

impl File {
    /// Its bytes in pieces.
    pub(crate) fn pieces(self) -> impl Iterator<Item = &'static [u8]> {
        let first = self.number * 64 % PIECE;
        let whole = (0..self.len / PIECE as u64).map(move |_| PIECE);
        let rest = Some((self.len % PIECE as u64) as usize).filter(|rest| *rest > 0);
        whole.chain(rest).map(move |len| &BYTES[first..first + len])
    }

    pub(crate) fn crc32(self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        self.pieces().for_each(|piece| hasher.update(piece));
        hasher.finalize()
    }
}
