//! The store's own file, message by message, as sled 0.34 writes it.
//!
//! sled takes the first message that it cannot read for the end of what was written, and silently forgets all behind
//! it. So a look is taken at whether there is something behind it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a segment of the file, sled's default.
const SEGMENT_BYTES: usize = 512 << 10;
/// A segment begins with a CRC-32 (4), its position in the log (8), and what was stable then (8).
const HEADER_BYTES: usize = 20;
/// Longest header of a message: CRC-32 (4), kind (1), length, number of its segment, page.
const MESSAGE_HEADER_BYTES_MAX: usize = 32;
/// Kinds of messages, but for 0, which is nothing; 2 fills up a segment.
const KINDS: std::ops::RangeInclusive<u8> = 1..=11;
const KIND_CAP: u8 = 2;

/// Bytes of the file that should be messages, and are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Looks for gaps in a store's file; nothing where there is no such file.
pub(super) fn gaps(path: &Path, found: &mut dyn FnMut(Gap)) -> io::Result<()> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut base = 0;
    loop {
        let mut segment = Vec::with_capacity(SEGMENT_BYTES);
        if Read::by_ref(&mut file).take(SEGMENT_BYTES as u64).read_to_end(&mut segment)? == 0 {
            return Ok(());
        }
        gaps_in(&segment, |from, to| found(Gap { from: base + from as u64, to: base + to as u64 }));
        base += segment.len() as u64;
    }
}

fn gaps_in(segment: &[u8], mut found: impl FnMut(usize, usize)) {
    let Some((header, _)) = segment.split_first_chunk::<HEADER_BYTES>() else { return };
    // A free one, or one that sled gave up after a crash.
    if header.iter().all(|byte| *byte == 0) {
        return;
    }
    let Some(number) = segment_number(header) else {
        let begun = (HEADER_BYTES..segment.len()).find(|at| message(segment, *at, None).is_some());
        if let Some(at) = begun {
            found(0, at);
        }
        return;
    };
    let mut at = HEADER_BYTES;
    while at + MESSAGE_HEADER_BYTES_MAX <= segment.len() {
        match message(segment, at, Some(number)) {
            Some((KIND_CAP, _)) => return,
            Some((_, end)) => at = end,
            // What is left of the segment's earlier use has another number.
            None => match (at + 1..segment.len()).find(|at| message(segment, *at, Some(number)).is_some()) {
                Some(next) => {
                    found(at, next);
                    at = next;
                }
                None => return,
            },
        }
    }
}

/// The number of a segment whose header is whole.
fn segment_number(header: &[u8; HEADER_BYTES]) -> Option<u64> {
    let (crc, rest) = header.split_first_chunk::<4>()?;
    let position = u64::from_le_bytes(*rest.first_chunk::<8>()?) ^ (u64::MAX >> 1);
    (u32::from_le_bytes(*crc) == !crc32fast::hash(rest)).then_some(position / SEGMENT_BYTES as u64)
}

/// Kind and end of the message at a position, if there is a whole one, and of the segment with this number.
fn message(segment: &[u8], at: usize, number: Option<u64>) -> Option<(u8, usize)> {
    let bytes = segment.get(at..)?;
    let (crc, rest) = bytes.split_first_chunk::<4>()?;
    let kind = *rest.first().filter(|kind| KINDS.contains(kind))?;
    let mut cursor = rest.get(1..)?;
    let (len, own) = (varint(&mut cursor)?, varint(&mut cursor)?);
    if number.is_some_and(|number| number != own) {
        return None;
    }
    varint(&mut cursor)?;
    let body = cursor.get(..usize::try_from(len).ok()?)?;
    let header = rest.get(..rest.len() - cursor.len())?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(header);
    let end = at + 4 + header.len() + body.len();
    (u32::from_le_bytes(*crc) == !hasher.finalize()).then_some((kind, end))
}

/// sled's numbers: up to 240 one byte, then two, three, and a byte that says how many follow.
fn varint(cursor: &mut &[u8]) -> Option<u64> {
    let (first, rest) = cursor.split_first()?;
    let byte = |at: usize| rest.get(at).copied().map(u64::from);
    let (value, used) = match *first {
        small @ 0..=240 => (u64::from(small), 0),
        two @ 241..=248 => (240 + 256 * (u64::from(two) - 241) + byte(0)?, 1),
        249 => (2288 + 256 * byte(0)? + byte(1)?, 2),
        more => {
            let count = usize::from(more) - 247;
            let mut all = [0; 8];
            all.iter_mut().zip(rest.get(..count)?).for_each(|(to, from)| *to = *from);
            (u64::from_le_bytes(all), count)
        }
    };
    *cursor = rest.get(used..)?;
    Some(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use super::*;
    use crate::journal::sled_store::SledStore;
    use crate::journal::store::Store;

    fn all_gaps(path: &Path) -> Vec<Gap> {
        let mut all = Vec::new();
        gaps(path, &mut |gap| all.push(gap)).unwrap();
        all
    }

    /// A store of several segments, opened and closed a few times, with much that was overwritten and removed.
    fn store(dir: &Path) {
        for round in 0..4_u32 {
            let store = SledStore::open(dir).unwrap();
            for n in 0..3000_u32 {
                store.insert(&(n % 700).to_be_bytes(), &vec![round as u8; (n % 300) as usize]).unwrap();
                if n % 5 == 0 {
                    store.remove(&(n % 99).to_be_bytes()).unwrap();
                }
                if n % 10 == 0 {
                    store.barrier().unwrap();
                }
            }
        }
    }

    #[test]
    fn what_sled_wrote_has_no_gaps() {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path());
        let path = dir.path().join("db");
        assert!(std::fs::metadata(&path).unwrap().len() > 2 * SEGMENT_BYTES as u64);
        assert_eq!(all_gaps(&path), []);
    }

    #[test]
    fn a_changed_byte_of_a_message_before_others_is_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let journal = SledStore::open(dir.path()).unwrap();
        for n in 0..50_u32 {
            journal.insert(&n.to_be_bytes(), &[7; 40]).unwrap();
            journal.barrier().unwrap();
        }
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        let number = segment_number(whole.first_chunk().unwrap()).unwrap();
        let mut ends = vec![HEADER_BYTES];
        while let Some((_, end)) = message(&whole, *ends.last().unwrap(), Some(number)) {
            ends.push(end);
        }
        assert!(ends.len() > 50, "{}", ends.len());
        let last = ends[ends.len() - 2];
        for at in 0..last {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let mut found = Vec::new();
            gaps_in(&bytes, |from, to| found.push((from, to)));
            assert_eq!(found.len(), 1, "{at}: {found:?}");
            let (from, to) = found[0];
            assert!(from <= at && at < to.max(HEADER_BYTES), "{at}: {found:?}");
        }
    }

    #[test]
    fn a_file_that_ends_in_mid_message_has_no_gap() {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path());
        let bytes = std::fs::read(dir.path().join("db")).unwrap();
        for len in [0, 1, 19, 20, 21, 100, 5000] {
            let mut found = 0;
            gaps_in(&bytes[..len], |_, _| found += 1);
            assert_eq!(found, 0, "{len}");
        }
    }
}
