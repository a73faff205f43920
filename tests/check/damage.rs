//! Damage done to a mirror while its daemon does not run.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use twinstick::journal::buffered::BufferedStore;
use twinstick::journal::store::Store;

/// Things in the aside folder with which a lane leaves what is in its way.
const ASIDE_MAX: usize = 10_000;

/// Flips a bit of one byte; size and time of the file stay. Done twice, all is as before.
pub(crate) fn alter(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let before = file.metadata().unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
    file.set_times(FileTimes::new().set_modified(before.modified().unwrap())).unwrap();
    file.sync_all().unwrap();
    let after = file.metadata().unwrap();
    assert_eq!((before.len(), before.modified().unwrap()), (after.len(), after.modified().unwrap()));
}

/// Changes values in the journal's store behind its back: `change` says which it changed.
pub(crate) fn alter_records(state: &Path, mut change: impl FnMut(&[u8], &mut Vec<u8>) -> bool) {
    let store = BufferedStore::open(&state.join("journal")).unwrap();
    let mut changed = 0;
    for pair in store.scan(&[], &[u8::MAX]).collect::<Vec<_>>() {
        let (key, value) = pair.unwrap();
        let mut value = value.to_vec();
        if change(&key, &mut value) {
            store.insert(&key, &value).unwrap();
            changed += 1;
        }
    }
    assert!(changed > 0);
    store.barrier().unwrap();
}

/// Removes records from the journal's store.
pub(crate) fn remove_records(state: &Path, mut which: impl FnMut(&[u8]) -> bool) {
    let store = BufferedStore::open(&state.join("journal")).unwrap();
    let keys: Vec<_> = store.scan(&[], &[u8::MAX]).map(|pair| pair.unwrap().0).filter(|key| which(key)).collect();
    assert!(!keys.is_empty());
    for key in &keys {
        store.remove(key).unwrap();
    }
    store.barrier().unwrap();
}

/// Puts the value of a record of the journal's store under another key as well.
pub(crate) fn duplicate_record(state: &Path, under: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let store = BufferedStore::open(&state.join("journal")).unwrap();
    let mut pairs = store.scan(b"n", b"o").map(Result::unwrap);
    let (key, value) = pairs.find_map(|(key, value)| Some((under(&key)?, value))).unwrap();
    store.insert(&key, &value).unwrap();
    store.barrier().unwrap();
}

/// Fills a drive's aside folder, so that its lane leaves what is in the way where it is.
pub(crate) fn fill_aside(root: &Path) {
    let first = root.join(".twinstick/aside/full");
    fs::write(&first, "").unwrap();
    for number in 1..ASIDE_MAX {
        // Links are made and removed faster than anything else.
        fs::hard_link(&first, root.join(format!(".twinstick/aside/full.{number}"))).unwrap();
    }
}

/// The segment of a drive's log that has these bytes, and where they begin.
pub(crate) fn needed_segment(root: &Path, payload: &[u8]) -> (PathBuf, u64) {
    for entry in fs::read_dir(root.join(".twinstick/log")).unwrap() {
        let path = entry.unwrap().path();
        let content = fs::read(&path).unwrap();
        if let Some(at) = content.windows(payload.len()).position(|window| window == payload) {
            return (path, at as u64);
        }
    }
    panic!("the payload is in no segment of {}", root.display());
}

/// Where the last byte lies that is not zero.
pub(crate) fn largest_nonzero(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap()
}
