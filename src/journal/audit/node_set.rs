//! A set of node ids. They are given out one after the other, so a bit each is enough.

use std::collections::BTreeMap;

use crate::ids::NodeId;

/// Bits of one word.
const WORD_BITS: u64 = 64;
/// Words that lie together: ids of 4096 nodes in 512 bytes.
const CHUNK_WORDS: u64 = 64;

/// Node ids, about a bit each.
#[derive(Debug, Default)]
pub struct NodeSet(BTreeMap<u64, [u64; CHUNK_WORDS as usize]>);

impl NodeSet {
    /// Adds a node; false where it is in the set already.
    pub fn insert(&mut self, id: NodeId) -> bool {
        let (chunk, word, bit) = position(id);
        let words = self.0.entry(chunk).or_insert([0; CHUNK_WORDS as usize]);
        let Some(word) = words.get_mut(word) else { return false };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub fn contains(&self, id: NodeId) -> bool {
        let (chunk, word, bit) = position(id);
        self.0.get(&chunk).and_then(|words| words.get(word)).is_some_and(|word| word & bit != 0)
    }
}

fn position(id: NodeId) -> (u64, usize, u64) {
    let word = id.0 / WORD_BITS;
    (word / CHUNK_WORDS, (word % CHUNK_WORDS) as usize, 1 << (id.0 % WORD_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_and_nothing_else_is_in_the_set() {
        let mut set = NodeSet::default();
        let ids = [0, 1, 63, 64, 4095, 4096, 1 << 40, u64::MAX].map(NodeId);
        for id in ids {
            assert!(!set.contains(id), "{id}");
            assert!(set.insert(id), "{id}");
            assert!(!set.insert(id), "{id}");
        }
        assert!(ids.iter().all(|id| set.contains(*id)));
        assert!(!set.contains(NodeId(2)) && !set.contains(NodeId(4097)));
    }
}
