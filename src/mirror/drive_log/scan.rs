//! Reading a segment of a drive log record by record, to check it.

use crate::ids::{Arrival, DriveId};
use crate::mirror::drive_log::{FRAME_BYTES, MAGIC, Record, crc};

/// What a part of a segment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A record, from this offset on, and where its payload begins.
    Record { offset: u64, record: Record, payload: u64 },
    /// Bytes that are no record, though records come after them.
    Damage { offset: u64, until: u64 },
    /// Bytes that are no record, and none after them: what a crash leaves of the last write.
    Torn { offset: u64 },
}

/// Takes a segment apart. What was preallocated and never written is no part of it.
pub(crate) fn scan(bytes: &[u8], drive: DriveId, arrival: Arrival, mut take: impl FnMut(Part)) {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.iter().any(|byte| *byte != 0)) {
        if let Some((record, payload, len)) = decode(rest, drive, arrival) {
            take(Part::Record { offset: at as u64, record, payload: (at + payload) as u64 });
            at += len;
            continue;
        }
        let Some(skipped) = next(rest, drive, arrival) else {
            take(Part::Torn { offset: at as u64 });
            return;
        };
        take(Part::Damage { offset: at as u64, until: (at + skipped) as u64 });
        at += skipped;
    }
}

/// Where the next record begins that is whole.
fn next(bytes: &[u8], drive: DriveId, arrival: Arrival) -> Option<usize> {
    let magic = MAGIC.to_le_bytes();
    let starts = bytes.windows(magic.len()).enumerate().skip(1).filter(|(_, window)| *window == magic);
    starts.map(|(at, _)| at).find(|at| bytes.get(*at..).is_some_and(|rest| decode(rest, drive, arrival).is_some()))
}

/// The record that `bytes` begin with, where its payload begins, and the length of both.
fn decode(bytes: &[u8], drive: DriveId, arrival: Arrival) -> Option<(Record, usize, usize)> {
    let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let (head_len, payload_len) = (number(4)? as usize, number(8)? as usize);
    let head = bytes.get(FRAME_BYTES..FRAME_BYTES.checked_add(head_len)?)?;
    let end = (FRAME_BYTES + head_len).checked_add(payload_len)?;
    let payload = bytes.get(FRAME_BYTES + head_len..end)?;
    if number(0)? != MAGIC || number(12)? != crc(head, payload, drive, arrival).0 {
        return None;
    }
    postcard::from_bytes(head).ok().map(|record| (record, FRAME_BYTES + head_len, end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]

    use super::*;
    use crate::ids::Lsn;
    use crate::journal::Deed;
    use crate::mirror::drive_log::{Append, encode};

    const DRIVE: DriveId = DriveId([7; 16]);
    const ARRIVAL: Arrival = Arrival(3);

    /// A segment with records of these LSNs and room behind them, and where each begins.
    fn segment(lsns: &[u64]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for lsn in lsns {
            starts.push(bytes.len());
            let record = Record::Committed { lsn: Lsn(*lsn), deed: Deed::Remove { path: format!("f{lsn}") } };
            encode(&mut bytes, &Append { record, payload: bytes::Bytes::from_static(b"payload") }, DRIVE, ARRIVAL);
        }
        bytes.resize(bytes.len() + 4096, 0);
        (bytes, starts)
    }

    /// The LSNs of records, and what is between them.
    fn parts(bytes: &[u8], drive: DriveId, arrival: Arrival) -> (Vec<u64>, Vec<Part>) {
        let (mut lsns, mut others) = (Vec::new(), Vec::new());
        scan(bytes, drive, arrival, |part| match part {
            Part::Record { record: Record::Committed { lsn, .. }, .. } => lsns.push(lsn.0),
            Part::Record { .. } | Part::Damage { .. } | Part::Torn { .. } => others.push(part),
        });
        (lsns, others)
    }

    #[test]
    fn a_whole_segment_has_its_records_and_nothing_else() {
        let (bytes, _) = segment(&[1, 2, 3]);
        assert_eq!(parts(&bytes, DRIVE, ARRIVAL), (vec![1, 2, 3], vec![]));
        assert_eq!(parts(&[0; 100], DRIVE, ARRIVAL), (vec![], vec![]));
    }

    #[test]
    fn any_changed_byte_of_a_record_before_others_is_damage_and_the_others_are_read() {
        let (bytes, starts) = segment(&[1, 2, 3]);
        for at in starts[1]..starts[2] {
            // The payload's length is told by the CRC of what it leads to.
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let damage = Part::Damage { offset: starts[1] as u64, until: starts[2] as u64 };
            assert_eq!(parts(&bytes, DRIVE, ARRIVAL), (vec![1, 3], vec![damage]), "{at}");
        }
    }

    #[test]
    fn half_a_record_at_the_end_is_what_a_crash_leaves() {
        let (bytes, starts) = segment(&[1, 2]);
        for end in starts[1] + 1..bytes.len() - 4097 {
            let mut bytes = bytes.clone();
            bytes[end..].fill(0);
            assert_eq!(
                parts(&bytes, DRIVE, ARRIVAL),
                (vec![1], vec![Part::Torn { offset: starts[1] as u64 }]),
                "{end}"
            );
        }
    }

    #[test]
    fn records_of_another_drive_or_arrival_are_none() {
        let (bytes, _) = segment(&[1, 2]);
        let torn = vec![Part::Torn { offset: 0 }];
        assert_eq!(parts(&bytes, DriveId([8; 16]), ARRIVAL), (vec![], torn.clone()));
        assert_eq!(parts(&bytes, DRIVE, Arrival(4)), (vec![], torn));
    }
}
