#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and plays the hand that damages a stick"
)]

use std::fs;
use std::path::Path;

use super::*;
use crate::mirror::os_volume::OsVolume;
use crate::mirror::sim_volume::{Fault, SimDisk};
use crate::mirror::volume::FsKind;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/labels");

fn healthy() -> Label {
    Label {
        mirror: MirrorId([0x11; 16]),
        drive: DriveId([0xa1; 16]),
        side: Side::A,
        enrolled: PerSide { a: DriveId([0xa1; 16]), b: DriveId([0xb1; 16]) },
        epoch: Epoch(7),
        committed: Lsn(123_456),
        arrivals: Arrival(3),
        serial: 41,
    }
}

struct Drive {
    folder: tempfile::TempDir,
    volume: OsVolume,
}

impl Drive {
    fn blank() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let volume = OsVolume::open(folder.path()).unwrap();
        Self { folder, volume }
    }

    fn with_slots(slots: [Option<&[u8]>; 2]) -> Self {
        let drive = Self::blank();
        fs::create_dir(drive.folder.path().join(OWN_FOLDER)).unwrap();
        for (index, bytes) in slots.into_iter().enumerate() {
            if let Some(bytes) = bytes {
                fs::write(drive.slot(index), bytes).unwrap();
            }
        }
        drive
    }

    fn slot(&self, index: usize) -> std::path::PathBuf {
        self.folder.path().join(SLOT_PATHS[index])
    }

    fn read(&self) -> Result<Option<Label>, LabelError> {
        read(&self.volume)
    }
}

fn fixture(name: &str) -> Result<Option<Label>, LabelError> {
    read(&OsVolume::open(&Path::new(FIXTURES).join(name)).unwrap())
}

#[test]
fn a_label_comes_back_as_it_was_written() {
    let drive = Drive::blank();
    assert!(drive.read().unwrap().is_none());
    create(&drive.volume, &healthy()).unwrap();
    assert_eq!(drive.read().unwrap(), Some(Label { serial: 0, ..healthy() }));
    for serial in 1..5 {
        let label = Label { committed: Lsn(serial * 10), ..healthy() };
        assert_eq!(write(&drive.volume, &label).unwrap(), serial);
        assert_eq!(drive.read().unwrap(), Some(Label { serial, ..label }));
        assert_eq!(fs::metadata(drive.slot((serial % 2) as usize)).unwrap().len(), SLOT_BYTES as u64);
    }
}

#[test]
fn a_write_cut_anywhere_leaves_the_label_of_before() {
    let old = Label { serial: 8, ..healthy() };
    let new = encode(&Label { serial: 9, committed: Lsn(9), ..healthy() });
    let before = encode(&Label { serial: 7, committed: Lsn(7), ..healthy() });
    let ends = unframe(&new).map(|(_, body)| HEAD_BYTES + body.len() + CRC_BYTES).unwrap();
    for cut in 1..ends {
        let mut torn = before;
        torn[..cut].copy_from_slice(&new[..cut]);
        if torn == new || torn == before {
            continue;
        }
        let drive = Drive::with_slots([Some(&encode(&old)), Some(&torn)]);
        assert_eq!(drive.read().unwrap(), Some(old.clone()), "cut after {cut} bytes");
    }
}

#[test]
fn the_next_write_goes_to_the_damaged_slot() {
    let drive = Drive::with_slots([Some(&encode(&Label { serial: 8, ..healthy() })), Some(b"rubbish")]);
    assert_eq!(write(&drive.volume, &healthy()).unwrap(), 9);
    assert_eq!(fs::read(drive.slot(0)).unwrap(), encode(&Label { serial: 8, ..healthy() }));
    assert_eq!(drive.read().unwrap().unwrap().serial, 9);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let whole = encode(&Label { serial: 0, ..healthy() });
    let ends = unframe(&whole).map(|(_, body)| HEAD_BYTES + body.len() + CRC_BYTES).unwrap();
    for place in 0..ends * 8 {
        let mut bytes = whole;
        bytes[place / 8] ^= 1 << (place % 8);
        assert!(matches!(decode(&bytes, 0), Slot::Damaged), "bit {place}");
    }
}

#[test]
fn a_first_label_cut_at_any_call_is_written_by_the_next_try_with_the_same_ids() {
    for (kind, nth, seed) in cuts() {
        let disk = SimDisk::new(kind, 1 << 20);
        disk.fail_nth(nth, None, Fault::Pull);
        let cut = create(&disk.mount().unwrap(), &healthy());
        disk.clear_faults();
        disk.pull();
        let mut choice = seed;
        let volume = disk.reinsert(&mut |count| {
            choice = choice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (choice >> 33) as usize % count
        });
        let first = Label { serial: 0, ..healthy() };
        match read(&volume) {
            Ok(Some(found)) => assert_eq!(found, first),
            Ok(None) | Err(LabelError::Torn) => assert!(cut.is_err(), "{kind:?}, call {nth}: lost, though it was done"),
            Err(error) => panic!("{kind:?}, call {nth}: {error}"),
        }
        create(&volume, &healthy()).unwrap();
        assert_eq!(read(&volume).unwrap(), Some(first));
    }
}

fn cuts() -> impl Iterator<Item = (FsKind, u64, u64)> {
    let kinds = [FsKind::Atomic, FsKind::Fat];
    kinds.into_iter().flat_map(|kind| (1..20).flat_map(move |nth| (0..20).map(move |seed| (kind, nth, seed))))
}

#[test]
fn no_label_is_written_over_another_drives() {
    let drive = Drive::blank();
    assert!(matches!(write(&drive.volume, &healthy()), Err(LabelError::Missing)));
    create(&drive.volume, &healthy()).unwrap();
    let other = Label { drive: DriveId([9; 16]), ..healthy() };
    assert!(matches!(write(&drive.volume, &other), Err(LabelError::OtherDrive { .. })));
    assert!(matches!(create(&drive.volume, &other), Err(LabelError::OtherDrive { .. })));
    assert_eq!(drive.read().unwrap().unwrap().drive, healthy().drive);
}

#[test]
fn a_newer_format_in_either_slot_is_refused_untouched() {
    let mut newer = encode(&Label { serial: 9, ..healthy() });
    let body = unframe(&newer).map(|(_, body)| body.len()).unwrap();
    newer[8..10].copy_from_slice(&(FORMAT + 1).to_le_bytes());
    let crc = Crc32::of(&newer[..HEAD_BYTES + body]).0.to_le_bytes();
    newer[HEAD_BYTES + body..][..CRC_BYTES].copy_from_slice(&crc);
    let drive = Drive::with_slots([Some(&encode(&Label { serial: 8, ..healthy() })), Some(&newer)]);
    assert!(matches!(drive.read(), Err(LabelError::NewerFormat { found: 2 })));
    assert!(matches!(write(&drive.volume, &healthy()), Err(LabelError::NewerFormat { .. })));
    assert!(matches!(create(&drive.volume, &healthy()), Err(LabelError::NewerFormat { .. })));
    assert_eq!(fs::read(drive.slot(1)).unwrap(), newer);
}

#[test]
fn a_slot_copied_by_hand_over_the_other_does_not_count() {
    let label = Label { serial: 8, ..healthy() };
    let drive = Drive::with_slots([None, Some(&encode(&label))]);
    assert!(matches!(drive.read(), Err(LabelError::Torn)));
}

#[test]
fn the_committed_labels_read_as_they_were_written() {
    assert_eq!(fixture("healthy").unwrap(), Some(healthy()));
    assert_eq!(fs::read(Path::new(FIXTURES).join("healthy").join(SLOT_PATHS[1])).unwrap(), encode(&healthy()));
    let foreign = fixture("foreign").unwrap().unwrap();
    assert_eq!((foreign.mirror, foreign.side), (MirrorId([0x22; 16]), Side::B));
    assert!(matches!(fixture("torn"), Err(LabelError::Torn)));
}
