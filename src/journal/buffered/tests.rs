#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::Path;

use super::*;
use crate::ids::{DriveId, MirrorId, PerSide, Side};
use crate::journal::codec;
use crate::journal::record::{Enrolled, Enrolment};
use crate::journal::writer::Writer;

/// So small that tables and files turn all the time.
pub(super) const SMALL: Limits = Limits { table_bytes: 4096, log_bytes: 2048 };

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn key(&mut self) -> Vec<u8> {
        format!("k{:03}", self.below(200)).into_bytes()
    }
}

fn pairs(store: &dyn Store, from: &[u8], to: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    store.scan(from, to).map(Result::unwrap).map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

fn expect(store: &dyn Store, model: &Model, random: &mut Random) {
    let all: Vec<_> = model.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let found = pairs(store, b"", b"z");
    let differing = found.iter().filter(|pair| !all.contains(pair)).map(|(key, _)| String::from_utf8_lossy(key));
    assert!(found == all, "{} and {}: {:?}", found.len(), all.len(), differing.collect::<Vec<_>>());
    let (from, to) = (random.key(), random.key());
    let range = (Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice()));
    let part: Vec<_> = if from < to {
        model.range::<[u8], _>(range).map(|(key, value)| (key.clone(), value.clone())).collect()
    } else {
        Vec::new()
    };
    assert_eq!(pairs(store, &from, &to), part);
    let key = random.key();
    assert_eq!(store.get(&key).unwrap().map(|value| value.to_vec()), model.get(&key).cloned());
}

/// What lies there, as after the end of the process.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Waits until the applying thread has nothing to do, so that files can be copied.
pub(super) fn settle(store: &BufferedStore) {
    store.shared.ripen();
    let mut work = store.shared.work.lock();
    while work.generation.is_some() {
        store.shared.turned.wait(&mut work);
    }
}

/// Waits until the applying thread is not at work; it may have something to do later.
fn rest(store: &BufferedStore) {
    let mut work = store.shared.work.lock();
    while work.generation.is_some() && work.is_ripe {
        store.shared.turned.wait(&mut work);
    }
}

#[test]
fn it_is_as_a_map_and_after_a_kill_as_at_the_last_barrier() {
    let mut frozen = 0;
    for seed in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let mut dir = folder.path().join("0");
        let mut store = BufferedStore::open_within(&dir, SMALL).unwrap();
        let (mut random, mut model, mut durable) = (Random(seed), Model::new(), Model::new());
        for step in 1..3000_u64 {
            let key = random.key();
            match random.below(10) {
                0..6 => {
                    let value = vec![step as u8; random.below(60) as usize];
                    store.insert(&key, &value).unwrap();
                    model.insert(key, value);
                }
                6..9 => {
                    store.remove(&key).unwrap();
                    model.remove(&key);
                }
                _ => {
                    store.barrier().unwrap();
                    durable.clone_from(&model);
                    expect(&store, &model, &mut random);
                }
            }
            match random.below(300) {
                0 => {
                    drop(store);
                    durable.clone_from(&model);
                    store = BufferedStore::open_within(&dir, SMALL).unwrap();
                    // All of it is in sled.
                    assert_eq!(pairs(&store.shared.sled, b"", b"z"), pairs(&store, b"", b"z"));
                }
                1..5 => {
                    rest(&store);
                    let killed = folder.path().join(step.to_string());
                    copy(&dir, &killed);
                    drop(store);
                    dir = killed;
                    store = BufferedStore::open_within(&dir, SMALL).unwrap();
                    frozen += u32::from(store.shared.tables.read().frozen.is_some());
                    model.clone_from(&durable);
                }
                _ => continue,
            }
            expect(&store, &model, &mut random);
        }
        assert!(store.shared.sled.applied().unwrap().generation > 20);
    }
    assert!(frozen > 10, "{frozen} openings found two generations");
}

#[test]
fn after_a_kill_nothing_goes_to_sled_and_the_log_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut dir = killed(folder.path(), 5);
    let mut before = None;
    for round in 0..4_u32 {
        let store = BufferedStore::open(&dir).unwrap();
        let found = (fs::metadata(dir.join("db")).unwrap().len(), store.shared.sled.applied().unwrap());
        assert_eq!(*before.get_or_insert(found), found);
        let log = |store: &BufferedStore| {
            let pending = store.log.lock();
            (pending.log.generation(), pending.log.bytes())
        };
        let (generation, end) = log(&store);
        assert!(end > 0);
        assert!((0..5 + round).all(|n| store.get(&n.to_be_bytes()).unwrap().is_some()));
        store.insert(&(5 + round).to_be_bytes(), &vec![3; 100 * (4 - round) as usize]).unwrap();
        store.barrier().unwrap();
        assert!(log(&store) > (generation, end) && log(&store).0 == generation);
        // This one is torn, and shorter ones follow.
        store.insert(b"torn", &[9; 2000].map(|byte: u8| byte.wrapping_mul(round as u8))).unwrap();
        let (_, whole) = log(&store);
        store.barrier().unwrap();
        let next = folder.path().join(round.to_string());
        copy(&dir, &next);
        dir = next;
        let path = dir.join(format!("wal-{}", generation % 2));
        let mut bytes = fs::read(&path).unwrap();
        bytes[whole as usize + 20] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let store = BufferedStore::open(&dir).unwrap();
    assert_eq!(store.get(b"torn").unwrap(), None);
    assert_eq!(pairs(&store, &[0], &[1]).len(), 9);
    settle(&store);
    drop(store);
    assert_eq!(pairs(&SledStore::open(&dir).unwrap(), &[0], &[1]).len(), 9);
}

#[test]
fn a_scan_misses_nothing_that_goes_to_sled_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let store = BufferedStore::open_within(dir.path(), SMALL).unwrap();
    for n in 0..400_u32 {
        store.insert(&n.to_be_bytes(), b"first").unwrap();
    }
    store.barrier().unwrap();
    let mut scan = store.scan(&[0; 4], &[1; 4]);
    let mut seen: Vec<_> = scan.by_ref().take(10).map(|pair| pair.unwrap().0).collect();
    // Twice what is kept goes below while it stands there.
    for round in 0..20_u32 {
        for n in 1000..1100_u32 {
            store.insert(&n.to_be_bytes(), &round.to_be_bytes()).unwrap();
        }
        store.barrier().unwrap();
    }
    assert!(store.shared.sled.applied().unwrap().generation > 2);
    seen.extend(scan.map(|pair| pair.unwrap().0));
    let expected: Vec<_> = (0..400_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    assert_eq!(seen[..400], expected);
}

#[test]
fn what_lives_shorter_than_a_table_never_comes_to_sled() {
    let dir = tempfile::tempdir().unwrap();
    let store = BufferedStore::open(dir.path()).unwrap();
    store.insert(b"format", b"1").unwrap();
    store.barrier().unwrap();
    settle(&store);
    let written = || fs::metadata(dir.path().join("db")).unwrap().len();
    assert_eq!(store.shared.sled.get(b"format").unwrap(), Some("1".into()), "the first barrier's is there at once");
    let before = (written(), store.shared.sled.applied().unwrap());
    for n in 0..5000_u32 {
        store.insert(&n.to_be_bytes(), &[7; 100]).unwrap();
        store.barrier().unwrap();
        store.remove(&n.to_be_bytes()).unwrap();
    }
    settle(&store);
    assert_eq!((written(), store.shared.sled.applied().unwrap()), before);
    assert_eq!(pairs(&store.shared.sled, b"", b"z").len(), 1);
}

/// A store with some generations, the last of `barriers` barriers, as a kill leaves it.
fn killed(folder: &Path, barriers: u32) -> PathBuf {
    let dir = folder.join("store");
    let store = BufferedStore::open(&dir).unwrap();
    store.insert(b"begun", b"").unwrap();
    store.barrier().unwrap();
    settle(&store);
    for n in 0..barriers {
        store.insert(&n.to_be_bytes(), &[n as u8; 300]).unwrap();
        store.barrier().unwrap();
    }
    let killed = folder.join("killed");
    copy(&dir, &killed);
    killed
}

/// The file with the latest records, and where they end.
fn latest(dir: &Path) -> (PathBuf, usize) {
    let file = |name: &str| {
        let path = dir.join(name);
        let end = fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        (path, end)
    };
    [file("wal-0"), file("wal-1")].into_iter().max_by_key(|(_, end)| *end).unwrap()
}

#[test]
fn a_torn_last_record_was_never_promised() {
    for torn in [1, 20, 40] {
        let folder = tempfile::tempdir().unwrap();
        let dir = killed(folder.path(), 5);
        let (path, end) = latest(&dir);
        let mut bytes = fs::read(&path).unwrap();
        bytes[end - torn..].fill(0);
        fs::write(&path, bytes).unwrap();
        let store = BufferedStore::open(&dir).unwrap();
        let found: Vec<_> = (0..5_u32).map(|n| store.get(&n.to_be_bytes()).unwrap().is_some()).collect();
        assert_eq!(found, [true, true, true, true, false]);
    }
}

#[test]
fn damage_before_the_last_record_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let dir = killed(folder.path(), 50);
    let (path, end) = latest(&dir);
    let whole = fs::read(&path).unwrap();
    for at in (0..end - 200).step_by(40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, bytes).unwrap();
        let opened = BufferedStore::open(&dir);
        match opened {
            Err(StoreError::Corrupt(_)) => {}
            // Between records nothing is said.
            Ok(store) => {
                assert!((0..50_u32).all(|n| store.get(&n.to_be_bytes()).unwrap().is_some()), "{at}");
                drop(store);
                fs::write(&path, &whole).unwrap();
                return;
            }
            Err(error) => panic!("{at}: {error}"),
        }
    }
}

#[test]
fn a_store_and_a_log_that_do_not_belong_together_are_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    let store = BufferedStore::open_within(&dir, SMALL).unwrap();
    store.insert(b"a", b"1").unwrap();
    store.barrier().unwrap();
    settle(&store);
    let old = folder.path().join("old");
    copy(&dir, &old);
    for n in 0..2000_u32 {
        store.insert(&n.to_be_bytes(), &[7; 100]).unwrap();
        store.barrier().unwrap();
    }
    settle(&store);
    store.insert(b"b", b"2").unwrap();
    store.barrier().unwrap();
    for name in ["wal-0", "wal-1"] {
        fs::copy(dir.join(name), old.join(name)).unwrap();
    }
    assert!(matches!(BufferedStore::open(&old), Err(StoreError::Corrupt(_))));
}

#[test]
fn after_a_failed_barrier_the_handle_reads_and_no_longer_writes() {
    let dir = tempfile::tempdir().unwrap();
    let store = BufferedStore::open(dir.path()).unwrap();
    store.insert(b"a", b"1").unwrap();
    store.barrier().unwrap();
    store.insert(b"b", b"2").unwrap();
    // A device that cannot be synced stands for one that no longer can.
    store.log.lock().log.replace_files(|| fs::File::options().write(true).open("/dev/null").unwrap());
    assert!(matches!(store.barrier(), Err(StoreError::Io(_))));
    assert_eq!(store.get(b"b").unwrap(), Some("2".into()));
    assert_eq!(pairs(&store, b"a", b"z").len(), 2);
    assert!(matches!(store.insert(b"a", b""), Err(StoreError::Dead)));
    assert!(matches!(store.remove(b"a"), Err(StoreError::Dead)));
    assert!(matches!(store.barrier(), Err(StoreError::Dead)));
    drop(store);
    let store = BufferedStore::open(dir.path()).unwrap();
    assert_eq!(pairs(&store, b"a", b"z"), [(b"a".to_vec(), b"1".to_vec())]);
}

#[test]
fn what_the_applying_thread_cannot_do_the_next_call_says() {
    let dir = tempfile::tempdir().unwrap();
    let store = BufferedStore::open_within(dir.path(), SMALL).unwrap();
    store.insert(b"a", b"1").unwrap();
    store.barrier().unwrap();
    settle(&store);
    store.shared.sled.shut_for_test();
    let mut said = None;
    for n in 0..1000_u32 {
        let done = store.insert(&n.to_be_bytes(), &[7; 100]).and_then(|()| store.barrier());
        if let Err(error) = done {
            said = Some((n, error));
            break;
        }
    }
    let (n, error) = said.unwrap();
    assert!(matches!(error, StoreError::Dead), "{error}");
    assert_eq!(store.get(&0_u32.to_be_bytes()).unwrap(), Some(vec![7; 100].into()));
    drop(store);
    let store = BufferedStore::open(dir.path()).unwrap();
    assert!((0..n).all(|n| store.get(&n.to_be_bytes()).unwrap().is_some()));
}

#[test]
fn a_journal_of_the_first_format_is_opened_and_is_of_this_one_then() {
    let dir = tempfile::tempdir().unwrap();
    let format = codec::meta(codec::Fact::Format);
    let sled = SledStore::open(dir.path()).unwrap();
    let enrolled = |side: Side| Enrolled { id: DriveId([side.index() as u8; 16]), place: String::new() };
    let enrolment = Enrolment { mirror: MirrorId([9; 16]), drives: PerSide::new(enrolled), plain: true };
    Writer::create(&sled, &enrolment).unwrap();
    sled.insert(&format, &codec::encode(&1_u32)).unwrap();
    sled.barrier().unwrap();
    drop(sled);
    let store = Arc::new(BufferedStore::open(dir.path()).unwrap());
    let opened = Writer::open(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    settle(&store);
    // Whoever does not know of the log finds it there, however the daemon ends.
    assert_eq!(store.shared.sled.get(&format).unwrap(), Some(codec::encode(&codec::FORMAT).into()));
    drop(opened);
}
