//! What comes seldom: damage, cuts at the first opening, defects beside one another, and who means ill.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::time::{Duration, Instant};

use super::tests::{SMALL, copy, settle};
use super::*;
use crate::ids::{DriveId, MirrorId, PerSide, Side};
use crate::journal::alarm::Generation;
use crate::journal::codec;
use crate::journal::record::{Enrolled, Enrolment};
use crate::journal::writer::Writer;

/// A journal with nothing in it, as sled has it.
fn journal(dir: &Path) -> SledStore {
    let sled = SledStore::open(dir).unwrap();
    let enrolled = |side: Side| Enrolled { id: DriveId([side.index() as u8; 16]), place: String::new() };
    let enrolment = Enrolment { mirror: MirrorId([9; 16]), drives: PerSide::new(enrolled), plain: true };
    Writer::create(&sled, &enrolment).unwrap();
    sled
}

/// A store whose first table is sled's, and a change that is not.
fn begun(dir: &Path, limits: Limits) -> BufferedStore {
    let store = BufferedStore::open_within(dir, limits).unwrap();
    store.insert(b"begun", b"").unwrap();
    store.barrier().unwrap();
    settle(&store);
    store
}

#[test]
fn damage_to_the_last_record_before_another_generation_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    let store = begun(&dir, SMALL);
    let generation = || store.log.lock().log.generation();
    let frozen = generation();
    for n in 0_u32.. {
        store.insert(&n.to_be_bytes(), &[n as u8; 40]).unwrap();
        store.barrier().unwrap();
        if generation() != frozen {
            break;
        }
    }
    store.insert(b"later", b"1").unwrap();
    store.barrier().unwrap();
    let killed = folder.path().join("killed");
    copy(&dir, &killed);
    let path = killed.join(format!("wal-{}", frozen % 2));
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end - 8] ^= 0x10;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(BufferedStore::open(&killed), Err(StoreError::Corrupt(_))));
}

#[test]
fn what_no_barrier_follows_is_bounded_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { table_bytes: 1 << 20, log_bytes: 512 << 10 };
    let store = BufferedStore::open_within(dir.path(), limits).unwrap();
    let value = [7; 120];
    for n in 0..100_000_u32 {
        store.insert(&n.to_be_bytes(), &value).unwrap();
        let in_table = store.shared.tables.read().active.bytes();
        assert!(in_table < limits.table_bytes + 4 * CHANGES_BYTES_MAX, "{in_table} after {n}");
    }
    let pending = store.log.lock().changes.capacity();
    assert!(pending < 4 * CHANGES_BYTES_MAX, "{pending}");
    store.barrier().unwrap();
    assert_eq!(store.scan(&[0], &[1]).count(), 100_000);
}

#[test]
fn what_a_client_has_written_does_not_pass_for_a_record() {
    const HEAD_BYTES: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    let store = begun(&dir, Limits { table_bytes: 1 << 20, log_bytes: 48 << 10 });
    let mut seed = 7_u32;
    let mut noise = |len: usize| -> Vec<u8> {
        (0..len)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                1 + (seed >> 24) as u8 % 127
            })
            .collect()
    };
    // In a value that cannot be compressed it lies as it is; whoever cannot tell where tries all places.
    let mut forged = 0;
    for n in 0..96_u32 {
        let (before, behind) = (noise(900), noise(100));
        let fields = [noise(28).as_slice(), &4_u32.to_le_bytes(), &noise(4)].concat();
        let record = [b"twW2".as_slice(), &crc32fast::hash(&fields).to_le_bytes(), &fields].concat();
        let value = (800..900).map(|len| [&before[..len], &record, &behind].concat()).find(|value| {
            let mut changes = Vec::new();
            log::encode(&mut changes, &n.to_be_bytes(), Some(value));
            let packed = lz4_flex::block::compress(&changes);
            let at = packed.windows(record.len()).position(|part| part == record);
            at.is_some_and(|at| (HEAD_BYTES + at).is_multiple_of(64))
        });
        let Some(value) = value else { continue };
        forged += 1;
        store.insert(&n.to_be_bytes(), &value).unwrap();
        store.barrier().unwrap();
    }
    assert!(forged > 50, "{forged}");
    // Written over from their beginning, the files have the end of what they had.
    for round in 0..30_u32 {
        for n in 0..3_u32 {
            store.insert(&(1000 + round * 10 + n).to_be_bytes(), &noise(150)).unwrap();
            store.barrier().unwrap();
        }
        let killed = folder.path().join(format!("killed{round}"));
        copy(&dir, &killed);
        BufferedStore::open(&killed).unwrap();
    }
}

#[test]
fn the_format_is_the_stores_own_before_the_first_barrier_ends_after_a_cut_too() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, cut) = (folder.path().join("first"), folder.path().join("cut"));
    let format = codec::meta(codec::Fact::Format);
    let sled = journal(&dir);
    sled.insert(&format, &codec::encode(&1_u32)).unwrap();
    sled.barrier().unwrap();
    drop(sled);
    let store = BufferedStore::open(&dir).unwrap();
    copy(&dir, &cut);
    drop(store);
    let store = Arc::new(BufferedStore::open(&cut).unwrap());
    let opened = Writer::open(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    assert_eq!(store.shared.sled.get(&format).unwrap(), Some(codec::encode(&codec::FORMAT).into()));
    drop(opened);
}

#[test]
fn a_reader_that_finds_the_store_bad_does_not_hide_what_the_applying_thread_found() {
    let dir = tempfile::tempdir().unwrap();
    drop(journal(dir.path()));
    let store = Arc::new(BufferedStore::open(dir.path()).unwrap());
    let (_journal, mut writer) = Writer::open(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    store.shared.work.lock().failure = Some(StoreError::Io(std::io::Error::from_raw_os_error(5)));
    store.shared.shut();
    writer.doubt(Generation(1));
    assert!(!writer.is_open());
    assert_eq!(writer.contents(), Contents::Copied, "of pages that failed to be written nothing is believed");
}

#[test]
fn after_a_failed_barrier_the_thread_rests_so_that_files_can_be_copied() {
    let dir = tempfile::tempdir().unwrap();
    let store = begun(dir.path(), Limits { table_bytes: 4 << 20, log_bytes: 64 << 20 });
    let generation = || store.log.lock().log.generation();
    let frozen = generation();
    for n in 0_u32.. {
        store.insert(&n.wrapping_mul(2_654_435_761).to_be_bytes(), &[n as u8; 2000]).unwrap();
        if n % 100 == 0 {
            store.barrier().unwrap();
            if generation() != frozen {
                break;
            }
        }
    }
    store.shared.ripen();
    let deadline = Instant::now() + Duration::from_mins(1);
    while !store.shared.work.lock().is_applying {
        assert!(Instant::now() < deadline, "the thread did not begin");
        std::thread::yield_now();
    }
    store.insert(b"b", b"2").unwrap();
    store.log.lock().log.replace_files(|| fs::File::options().write(true).open("/dev/null").unwrap());
    assert!(matches!(store.barrier(), Err(StoreError::Io(_))));
    assert!(!store.shared.work.lock().is_applying);
}

#[test]
fn records_without_salt_are_read_where_the_store_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let sled = SledStore::open(dir.path()).unwrap();
    sled.set_applied(Applied { generation: 4, is_all: false, salt: None }).unwrap();
    sled.barrier().unwrap();
    drop(sled);
    let mut file = vec![0; 256 << 10];
    fs::write(dir.path().join("wal-0"), &file).unwrap();
    for (number, key) in [b"a", b"b"].into_iter().enumerate() {
        let mut changes = Vec::new();
        log::encode(&mut changes, key, Some(b"1"));
        let packed = lz4_flex::block::compress(&changes);
        let numbers = [5_u64.to_le_bytes(), (number as u64).to_le_bytes()].concat();
        let lengths = [(changes.len() as u32).to_le_bytes(), (packed.len() as u32).to_le_bytes()].concat();
        let behind = [numbers, lengths, packed].concat();
        let record = [b"twW1".as_slice(), &crc32fast::hash(&behind).to_le_bytes(), &behind].concat();
        file[number * 64..number * 64 + record.len()].copy_from_slice(&record);
    }
    fs::write(dir.path().join("wal-1"), &file).unwrap();
    for _ in 0..2 {
        let store = BufferedStore::open(dir.path()).unwrap();
        for key in [b"a", b"b"] {
            assert_eq!(store.get(key).unwrap(), Some("1".into()));
        }
    }
}
