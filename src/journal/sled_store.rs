//! The store on the boot disk, on sled 0.34.7. No other file names sled.
//!
//! What this version needs, each of it found by cutting the power under it:
//!
//! - `flush` does not make data durable: a barrier adds an fdatasync of sled's file, through a handle of our own.
//! - `flush_async` can deadlock, and batches leak: neither is used.
//! - An open on a full disk leaves a `snap.*.generating` that every later open takes for corruption: such files
//!   are removed first, and below a floor of free space nothing is opened.
//! - Any error sticks to its handle: the handle writes no more, but still answers reads from its cache and file.
//!   Only a page that was about to be split is not read any more, since sled splits it before it reads.
//! - Damage shows as a panic, after which nothing that the handle says is worth anything.
#![allow(clippy::disallowed_methods, reason = "the journal lives on the boot disk, never on a drive")]

use std::fmt;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::journal::sled_copy;
use crate::journal::store::{Contents, IVec, Pairs, Store, StoreError};

/// Free bytes of the boot disk below which the store is not opened.
pub const SPACE_FLOOR_BYTES: u64 = 16 << 20;

/// sled's default of a gigabyte is too much for a small computer.
const CACHE_BYTES: u64 = 16 << 20;

/// A tree of its own, and the key in it, for the generation that is told below.
const APPLIED: &[u8] = b"applied";

/// sled's threads keep its lock a moment longer than its handle lives: so often it is asked for again …
const LOCK_TRIES: u32 = 200;
/// … and so long between.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What records of the log are told apart by from all that is none.
pub(super) type Salt = [u8; 16];

/// How the log's records are written that the salt below stands for.
const LOG_FORMAT: u8 = 2;

/// Which changes a store has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    /// All up to this generation.
    pub(super) generation: u64,
    /// There were no others when it was closed.
    pub(super) is_all: bool,
    /// Of the records that came since; none in the first format of the log.
    pub(super) salt: Option<Salt>,
}

/// A sled database in a directory of its own.
pub struct SledStore {
    dir: PathBuf,
    /// `None` only while it is dropped.
    db: Option<sled::Db>,
    /// sled's data file, through which barriers reach the medium.
    medium: File,
    /// Set by the first error, for good: nothing is written any more.
    shut: AtomicBool,
    /// Set by the first sign of damage, for good: nothing is read any more either.
    damaged: AtomicBool,
}

impl SledStore {
    /// Opens the store in `dir`, or makes one there. Whoever calls holds the lock of the state directory.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_above(dir, SPACE_FLOOR_BYTES)
    }

    fn open_above(dir: &Path, floor_bytes: u64) -> Result<Self, StoreError> {
        fs::create_dir_all(dir)?;
        remove_half_snapshots(dir)?;
        check_space(dir, floor_bytes)?;
        let data = dir.join("db");
        wait_for_lock(&data)?;
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let db = caught(|| config.open())?;
        let medium = File::options().read(true).write(true).open(&data)?;
        // sled syncs none of the names that it makes.
        medium.sync_all()?;
        File::open(dir.join("conf"))?.sync_all()?;
        File::open(dir)?.sync_all()?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        sled_copy::remove_left_over(dir);
        Ok(Self {
            dir: dir.to_owned(),
            db: Some(db),
            medium,
            shut: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
        })
    }

    /// What it was last told to have.
    pub(super) fn applied(&self) -> Result<Applied, StoreError> {
        let value = self.read(|db| caught(|| db.open_tree(APPLIED)?.get(APPLIED)))?;
        let Some(value) = value else { return Ok(Applied { generation: 0, is_all: true, salt: None }) };
        let parts = value.split_first_chunk().and_then(|(number, rest)| Some((number, rest.split_first()?)));
        let (number, (is_all, rest)) = parts.ok_or_else(|| StoreError::Corrupt("no generation".to_owned()))?;
        let salt = match rest.split_first() {
            None => None,
            Some((&LOG_FORMAT, salt)) => {
                Some(salt.try_into().map_err(|_| StoreError::Corrupt("no salt of its log".to_owned()))?)
            }
            Some((format, _)) => {
                let what = format!("its log has format {format}, of a newer version of twinstick: start that one");
                return Err(StoreError::Unreadable(std::io::Error::other(what)));
            }
        };
        Ok(Applied { generation: u64::from_be_bytes(*number), is_all: *is_all != 0, salt })
    }

    pub(super) fn set_applied(&self, applied: Applied) -> Result<(), StoreError> {
        let mut value = applied.generation.to_be_bytes().to_vec();
        value.push(applied.is_all.into());
        if let Some(salt) = applied.salt {
            value.push(LOG_FORMAT);
            value.extend_from_slice(&salt);
        }
        self.write(|db| caught(|| db.open_tree(APPLIED)?.insert(APPLIED, value.as_slice())).map(drop))
    }

    #[cfg(test)]
    pub(super) fn shut_for_test(&self) {
        self.shut.store(true, Ordering::Release);
    }

    fn read<T>(&self, work: impl FnOnce(&sled::Db) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.damaged.load(Ordering::Acquire) {
            return Err(StoreError::Corrupt("found by an earlier call".to_owned()));
        }
        self.noticed(work(self.db.as_ref().ok_or(StoreError::Dead)?).map_err(|error| match error {
            StoreError::Io(error) => StoreError::Unreadable(error),
            error => error,
        }))
    }

    fn write<T>(&self, work: impl FnOnce(&sled::Db) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.shut.load(Ordering::Acquire) {
            return Err(StoreError::Dead);
        }
        self.noticed(work(self.db.as_ref().ok_or(StoreError::Dead)?))
    }

    /// Passes a result on, and keeps in mind what an error means for later calls.
    fn noticed<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Ok(_) => {}
            Err(StoreError::Corrupt(_)) => {
                self.damaged.store(true, Ordering::Release);
                self.shut.store(true, Ordering::Release);
            }
            Err(StoreError::Io(_) | StoreError::Unreadable(_) | StoreError::NoSpace | StoreError::Dead) => {
                self.shut.store(true, Ordering::Release);
            }
        }
        result
    }
}

/// As [`StorePlace::prepare`].
pub(super) fn prepare(dir: &Path, contents: Contents) -> Result<(), StoreError> {
    check_space(dir, SPACE_FLOOR_BYTES)?;
    match contents {
        Contents::Kept => {
            sled_copy::try_disk(dir)?;
            sled_copy::try_reading(dir).map_err(StoreError::Unreadable)?;
        }
        Contents::Copied => sled_copy::copy(dir)?,
    }
    Ok(())
}

/// Puts what was prepared where it is opened. The failed handle must have been dropped.
pub(super) fn put_in_place(dir: &Path, contents: Contents) -> Result<(), StoreError> {
    match contents {
        Contents::Kept => {}
        Contents::Copied => {
            wait_for_lock(&dir.join("db"))?;
            sled_copy::put_in_place(dir)?;
        }
    }
    Ok(())
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.read(|db| caught(|| db.get(key)))
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.write(|db| caught(|| db.insert(key, value)).map(drop))
    }

    fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        self.write(|db| caught(|| db.remove(key)).map(drop))
    }

    fn scan<'a>(&'a self, from: &[u8], to: &[u8]) -> Pairs<'a> {
        if from >= to {
            return Box::new(std::iter::empty());
        }
        let mut range = match self.read(|db| caught(|| Ok(db.range(from..to)))) {
            Ok(range) => Some(range),
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        Box::new(std::iter::from_fn(move || {
            let next = self.read(|_| caught(|| range.as_mut().and_then(Iterator::next).transpose()));
            match next {
                Ok(pair) => pair.map(Ok),
                // A store found damaged when the scan ends has nothing more to say.
                Err(error) => range.take().map(|_| Err(error)),
            }
        }))
    }

    fn barrier(&self) -> Result<(), StoreError> {
        self.write(|db| {
            caught(|| db.flush())?;
            self.medium.sync_data()?;
            Ok(())
        })
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        let db = self.db.take();
        // sled syncs once more when it is dropped, and panics where that fails. Nothing depends on that sync.
        if let Err(error) = caught(|| {
            drop(db);
            Ok(())
        }) {
            tracing::warn!(dir = %self.dir.display(), %error, "journal store closed with an error");
        }
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("dir", &self.dir).field("shut", &self.shut).finish_non_exhaustive()
    }
}

pub(super) fn check_space(dir: &Path, floor_bytes: u64) -> Result<(), StoreError> {
    let space = rustix::fs::statvfs(dir).map_err(std::io::Error::from)?;
    if space.f_bavail.saturating_mul(space.f_frsize) < floor_bytes { Err(StoreError::NoSpace) } else { Ok(()) }
}

/// Removes what an open that ran out of room left.
fn remove_half_snapshots(dir: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Waits until nobody holds sled's data file, where there is one.
fn wait_for_lock(data: &Path) -> Result<(), StoreError> {
    let file = match File::open(data) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            // sled takes it itself.
            Ok(()) => return Ok(file.unlock()?),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(fs::TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    Err(StoreError::Io(std::io::Error::new(
        std::io::ErrorKind::WouldBlock,
        format!("{} is held by another process", data.display()),
    )))
}

/// From now on a panic inside sled is told to whoever called it, and no longer to standard error as well. For
/// programs that open damaged stores on purpose.
pub fn mute_panics() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(std::panic::Location::file).unwrap_or_default();
        if !place.contains("/sled-0.34") {
            others(panic);
        }
    }));
}

/// Calls sled. Where it finds its own data damaged it panics.
fn caught<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(fact),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(StoreError::Corrupt(text.unwrap_or("sled panicked").to_owned()))
        }
    }
}

fn fact(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) => error.into(),
        sled::Error::CollectionNotFound(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::Corruption { .. } => StoreError::Corrupt(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn keys(store: &SledStore, from: &[u8], to: &[u8]) -> Vec<Vec<u8>> {
        store.scan(from, to).map(|pair| pair.unwrap().0.to_vec()).collect()
    }

    #[test]
    fn which_changes_it_has_is_read_as_it_was_told_and_of_a_newer_version_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        assert_eq!(store.applied().unwrap(), Applied { generation: 0, is_all: true, salt: None });
        for salt in [None, Some([3; 16])] {
            let applied = Applied { generation: 7, is_all: false, salt };
            store.set_applied(applied).unwrap();
            assert_eq!(store.applied().unwrap(), applied);
        }
        let newer = [&7_u64.to_be_bytes()[..], &[0, LOG_FORMAT + 1], &[3; 20]].concat();
        store.write(|db| caught(|| db.open_tree(APPLIED)?.insert(APPLIED, newer)).map(drop)).unwrap();
        let error = store.applied().unwrap_err().to_string();
        assert!(error.contains("newer version"), "{error}");
    }

    #[test]
    fn what_a_barrier_covered_is_there_in_order_when_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let store = SledStore::open(&path).unwrap();
        for n in (0..1000_u32).rev() {
            store.insert(&n.to_be_bytes(), &n.to_le_bytes()).unwrap();
        }
        store.remove(&500_u32.to_be_bytes()).unwrap();
        store.barrier().unwrap();
        drop(store);
        let store = SledStore::open(&path).unwrap();
        let expected: Vec<_> = (10..700_u32).filter(|n| *n != 500).map(|n| n.to_be_bytes().to_vec()).collect();
        assert_eq!(keys(&store, &10_u32.to_be_bytes(), &700_u32.to_be_bytes()), expected);
        assert_eq!(store.get(&7_u32.to_be_bytes()).unwrap(), Some((&7_u32.to_le_bytes()[..]).into()));
        assert_eq!(store.get(&500_u32.to_be_bytes()).unwrap(), None);
        assert!(keys(&store, b"b", b"a").is_empty());
    }

    #[test]
    fn after_a_failed_barrier_the_handle_reads_and_no_longer_writes() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SledStore::open(dir.path()).unwrap();
        store.insert(b"a", b"1").unwrap();
        store.insert(b"b", b"2").unwrap();
        // A device that cannot be synced stands for one that no longer can.
        store.medium = File::open("/dev/null").unwrap();
        let mut scan = store.scan(b"a", b"z");
        assert!(scan.next().unwrap().is_ok());
        assert!(matches!(store.barrier(), Err(StoreError::Io(_))));
        assert!(matches!(scan.next(), Some(Ok((key, _))) if key == b"b"));
        assert!(scan.next().is_none());
        drop(scan);
        assert_eq!(store.get(b"a").unwrap(), Some("1".into()));
        assert_eq!(keys(&store, b"a", b"z"), [b"a", b"b"]);
        assert!(matches!(store.insert(b"a", b""), Err(StoreError::Dead)));
        assert!(matches!(store.remove(b"a"), Err(StoreError::Dead)));
        assert!(matches!(store.barrier(), Err(StoreError::Dead)));
        drop(store);
        SledStore::open(dir.path()).unwrap().barrier().unwrap();
    }

    #[test]
    fn a_damaged_store_is_neither_read_nor_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        store.insert(b"a", b"1").unwrap();
        let mut scan = store.scan(b"a", b"z");
        let panicked = store.read(|_| caught(|| -> sled::Result<()> { panic!("page 7 is not there") }));
        assert!(matches!(panicked, Err(StoreError::Corrupt(_))));
        assert!(matches!(store.get(b"a"), Err(StoreError::Corrupt(_))));
        assert!(matches!(scan.next(), Some(Err(StoreError::Corrupt(_)))));
        assert!(scan.next().is_none());
        assert!(matches!(store.insert(b"a", b""), Err(StoreError::Dead)));
        assert!(matches!(store.barrier(), Err(StoreError::Dead)));
    }

    #[test]
    fn a_disk_too_full_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(SledStore::open_above(dir.path(), u64::MAX), Err(StoreError::NoSpace)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_half_written_snapshot_is_removed_before_opening() {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        store.insert(b"a", b"1").unwrap();
        store.barrier().unwrap();
        drop(store);
        let half = dir.path().join("snap.0000000000000000.generating");
        fs::write(&half, b"").unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        assert!(!half.exists());
        assert_eq!(store.get(b"a").unwrap(), Some("1".into()));
    }

    #[test]
    fn a_panic_inside_sled_is_damage() {
        let error = caught(|| -> sled::Result<()> { panic!("page {} is not there", 7) });
        assert!(matches!(error, Err(StoreError::Corrupt(text)) if text == "page 7 is not there"));
    }

    #[test]
    fn a_copied_store_has_new_files_and_all_that_the_old_ones_had() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("journal");
        let store = SledStore::open(&dir).unwrap();
        store.insert(b"a", b"1").unwrap();
        store.barrier().unwrap();
        drop(store);
        let inode = || fs::metadata(dir.join("db")).unwrap().ino();
        let before = inode();
        let open = |contents| {
            put_in_place(&dir, contents).unwrap();
            SledStore::open(&dir).unwrap()
        };
        prepare(&dir, Contents::Kept).unwrap();
        let kept = open(Contents::Kept);
        assert_eq!(inode(), before);
        // What an earlier copying left half done.
        fs::create_dir(folder.path().join("journal.copy")).unwrap();
        fs::write(folder.path().join("journal.copy/db"), "half").unwrap();
        prepare(&dir, Contents::Copied).unwrap();
        drop(kept);
        let copied = open(Contents::Copied);
        assert_ne!(inode(), before);
        assert_eq!(copied.get(b"a").unwrap(), Some("1".into()));
        copied.insert(b"b", b"2").unwrap();
        copied.barrier().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_store_that_is_open_is_not_opened_twice() {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        assert!(matches!(SledStore::open(dir.path()), Err(StoreError::Io(_))));
        store.insert(b"a", b"1").unwrap();
        store.barrier().unwrap();
    }
}
