//! Files that say themselves whether they are whole.

use crate::random::Random;

/// Bytes of the head that names the content.
const HEAD_BYTES: usize = 16;

/// The content of a file: `len` bytes that follow from the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub seed: u64,
    pub len: usize,
}

impl Content {
    /// Shortest content that [`Content::of`] can tell from half of another.
    pub const LEN_CHECKED_MIN: usize = HEAD_BYTES;

    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len + 8);
        bytes.extend_from_slice(&self.seed.to_le_bytes());
        bytes.extend_from_slice(&(self.len as u64).to_le_bytes());
        let mut random = Random::new(self.seed);
        while bytes.len() < self.len {
            bytes.extend_from_slice(&random.number().to_le_bytes());
        }
        bytes.truncate(self.len);
        bytes
    }

    /// The content that these bytes are, if they are all of one.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (seed, rest) = bytes.split_first_chunk::<8>()?;
        let (len, _) = rest.split_first_chunk::<8>()?;
        let content = Self { seed: u64::from_le_bytes(*seed), len: u64::from_le_bytes(*len) as usize };
        (content.len == bytes.len() && content.bytes() == bytes).then_some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_content_is_none() {
        let bytes = Content { seed: 7, len: 1000 }.bytes();
        assert_eq!(Content::of(&bytes), Some(Content { seed: 7, len: 1000 }));
        assert_eq!(Content::of(&bytes[..999]), None);
        let mut mixed = bytes.clone();
        mixed[500..].copy_from_slice(&Content { seed: 8, len: 1000 }.bytes()[500..]);
        assert_eq!(Content::of(&mixed), None);
    }
}
