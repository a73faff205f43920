//! The label: who a drive is, in two slots written alternately.
//!
//! A slot is 4096 bytes: magic (8), format version (u16), length of the body (u16), the body (postcard), CRC-32 of
//! all before it (u32), zeros; numbers are little-endian. All formats to come keep this frame, so that a newer one
//! is known from a damaged one. Of two valid slots the one with the higher serial counts; its parity is its slot.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::digest::Crc32;
use crate::ids::{Arrival, DriveId, Epoch, Lsn, MirrorId, PerSide, Side};
use crate::mirror::volume::{Disposition, Result as VolumeResult, Volume, VolumeError, VolumePath};
use crate::path::OWN_FOLDER;

/// Bytes of a slot: one sector of the largest kind, so that one write replaces it.
pub const SLOT_BYTES: usize = 4096;
/// Where the slots are on a drive; a label's serial, modulo 2, is the index.
pub const SLOT_PATHS: [&VolumePath; 2] = [".twinstick/label.0", ".twinstick/label.1"];
/// The format that this program writes and the newest it reads.
pub const FORMAT: u16 = 1;

const MAGIC: [u8; 8] = *b"TWINSTK\n";
const HEAD_BYTES: usize = 12;
const CRC_BYTES: usize = 4;
const BODY_BYTES_MAX: usize = SLOT_BYTES - HEAD_BYTES - CRC_BYTES;

/// Who a drive is and what it had seen at the last checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    pub mirror: MirrorId,
    pub drive: DriveId,
    pub side: Side,
    /// All drives of the mirror.
    pub enrolled: PerSide<DriveId>,
    /// The highest epoch of the daemon that this drive has seen.
    pub epoch: Epoch,
    /// The highest committed LSN at the last checkpoint.
    pub committed: Lsn,
    /// How often the drive has arrived.
    pub arrivals: Arrival,
    /// Counts the writes of this label. Given by [`write()`].
    pub serial: u64,
}

/// The serials of the last labels that the drives were given: one far behind is an older copy's.
#[derive(Debug, Default)]
pub struct Serials(PerSide<Mutex<Option<(DriveId, u64)>>>);

impl Serials {
    /// Whether a label is one that its drive had long ago. One behind may be the newest slot gone bad.
    pub fn is_outlived(&self, side: Side, label: &Label) -> bool {
        let last = *self.0.get(side).lock();
        last.is_some_and(|(drive, serial)| drive == label.drive && label.serial + 1 < serial)
    }

    pub(crate) fn set(&self, side: Side, drive: DriveId, serial: u64) {
        *self.0.get(side).lock() = Some((drive, serial));
    }
}

/// Why a drive has no label that can be used.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    #[error("the drive's label is damaged in both slots")]
    Torn,
    #[error("the drive's label has format {found}, this program reads up to {FORMAT}: use a newer twinstickd")]
    NewerFormat { found: u16 },
    #[error("the drive has no label")]
    Missing,
    #[error("the drive is {found}, not {expected}")]
    OtherDrive { found: DriveId, expected: DriveId },
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

/// Reads a drive's label; `None` where there is none at all.
pub fn read(volume: &dyn Volume) -> Result<Option<Label>, LabelError> {
    newest(read_slot(volume, 0)?, read_slot(volume, 1)?)
}

/// Writes the next label of a drive that has one, into the slot that does not hold the newest; the serial it got.
///
/// `label.serial` is not looked at. Whatever moment the power fails, the newest label of before stays readable.
pub fn write(volume: &dyn Volume, label: &Label) -> Result<u64, LabelError> {
    let newest = read(volume)?.ok_or(LabelError::Missing)?;
    if newest.drive != label.drive {
        return Err(LabelError::OtherDrive { found: newest.drive, expected: label.drive });
    }
    let next = Label { serial: newest.serial + 1, ..label.clone() };
    write_slot(volume, &next)?;
    Ok(next.serial)
}

/// Writes the first label of a drive that has none, a damaged one that the caller was told to give up, or this very
/// one, which may not be durable.
pub fn create(volume: &dyn Volume, label: &Label) -> Result<(), LabelError> {
    let first = Label { serial: 0, ..label.clone() };
    match read(volume) {
        Ok(None) | Err(LabelError::Torn) => {}
        Ok(Some(found)) if found == first => {}
        Ok(Some(found)) => return Err(LabelError::OtherDrive { found: found.drive, expected: label.drive }),
        Err(error) => return Err(error),
    }
    match volume.make_folder(OWN_FOLDER) {
        Err(error) if error.disposition != Disposition::InTheWay => return Err(error.into()),
        Ok(()) | Err(_) => volume.sync_folder("")?,
    }
    write_slot(volume, &first)?;
    Ok(())
}

/// What one slot holds.
#[derive(Debug)]
pub enum Slot {
    Missing,
    Damaged,
    Unreadable(VolumeError),
    Newer { format: u16 },
    Valid(Label),
}

fn newest(first: Slot, second: Slot) -> Result<Option<Label>, LabelError> {
    match (first, second) {
        // A newer program has begun to use the drive: what it left in the old format is not the truth.
        (Slot::Newer { format: found }, _) | (_, Slot::Newer { format: found }) => {
            Err(LabelError::NewerFormat { found })
        }
        (Slot::Valid(a), Slot::Valid(b)) => Ok(Some(if a.serial > b.serial { a } else { b })),
        (Slot::Valid(label), _) | (_, Slot::Valid(label)) => Ok(Some(label)),
        (Slot::Unreadable(error), _) | (_, Slot::Unreadable(error)) => Err(error.into()),
        (Slot::Missing, Slot::Missing) => Ok(None),
        (Slot::Damaged, _) | (_, Slot::Damaged) => Err(LabelError::Torn),
    }
}

/// Reads one of the two slots.
pub fn read_slot(volume: &dyn Volume, index: usize) -> VolumeResult<Slot> {
    let mut bytes = [0; SLOT_BYTES];
    let read = volume.open(slot_path(index)).and_then(|file| file.read_at(&mut bytes, 0));
    match read {
        Ok(SLOT_BYTES) => Ok(decode(&bytes, index)),
        Ok(_) => Ok(Slot::Damaged),
        Err(error) => match error.disposition {
            Disposition::NotFound => Ok(Slot::Missing),
            Disposition::InTheWay => Ok(Slot::Damaged),
            Disposition::BadRead => Ok(Slot::Unreadable(error)),
            Disposition::DriveLost | Disposition::NoSpace | Disposition::Refused | Disposition::Shortage => Err(error),
        },
    }
}

fn write_slot(volume: &dyn Volume, label: &Label) -> VolumeResult<()> {
    let path = slot_path((label.serial % 2) as usize);
    let file = match volume.open_write(path) {
        Err(error) if error.disposition == Disposition::NotFound => volume.create(path)?,
        opened => opened?,
    };
    file.write_at(&encode(label), 0)?;
    // vfat: the file first, then its folder; the other order loses the name.
    file.sync()?;
    volume.sync_folder(OWN_FOLDER)
}

fn slot_path(index: usize) -> &'static VolumePath {
    let [even, odd] = SLOT_PATHS;
    if index == 0 { even } else { odd }
}

pub(crate) fn encode(label: &Label) -> [u8; SLOT_BYTES] {
    #[expect(clippy::expect_used, reason = "a label of numbers alone is 150 bytes at most")]
    let body = postcard::to_stdvec(label).expect("a label can be written");
    seal(&body)
}

/// A slot with this body, or as much of it as fits, and its CRC.
pub(crate) fn seal(body: &[u8]) -> [u8; SLOT_BYTES] {
    let body = body.get(..BODY_BYTES_MAX).unwrap_or(body);
    let mut framed = Vec::with_capacity(HEAD_BYTES + body.len() + CRC_BYTES);
    framed.extend_from_slice(&MAGIC);
    framed.extend_from_slice(&FORMAT.to_le_bytes());
    framed.extend_from_slice(&(body.len() as u16).to_le_bytes());
    framed.extend_from_slice(body);
    framed.extend_from_slice(&Crc32::of(&framed).0.to_le_bytes());
    let mut slot = [0; SLOT_BYTES];
    slot.iter_mut().zip(framed).for_each(|(to, from)| *to = from);
    slot
}

/// Reads the bytes of one of the two slots.
pub(crate) fn decode(bytes: &[u8; SLOT_BYTES], index: usize) -> Slot {
    match unframe(bytes) {
        Some((FORMAT, body)) => match postcard::from_bytes::<Label>(body) {
            // In the other slot it would be a copy made by hand, and the next write might destroy the newest.
            Ok(label) if (label.serial % 2) as usize == index => Slot::Valid(label),
            Ok(_) | Err(_) => Slot::Damaged,
        },
        Some((format, _)) if format > FORMAT => Slot::Newer { format },
        Some(_) | None => Slot::Damaged,
    }
}

/// The format and body of a slot whose CRC is right.
fn unframe(bytes: &[u8; SLOT_BYTES]) -> Option<(u16, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let (magic, numbers) = head.split_first_chunk::<8>()?;
    let (format, len) = numbers.split_first_chunk::<2>()?;
    let len = usize::from(u16::from_le_bytes(len.try_into().ok()?));
    let (body, tail) = rest.split_at_checked(len)?;
    let crc = u32::from_le_bytes(*tail.first_chunk::<CRC_BYTES>()?);
    let framed = bytes.get(..HEAD_BYTES + len)?;
    (*magic == MAGIC && Crc32::of(framed).0 == crc).then_some((u16::from_le_bytes(*format), body))
}

#[cfg(test)]
mod tests;
