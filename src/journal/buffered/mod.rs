//! The journal's store: sled, behind a write-ahead log and tables in memory.
//!
//! sled writes a page of sixteen records anew for every ten changes of it, and both halves when it splits: four fifths
//! of its file's bytes. Most of the journal's records live for a moment: an entry and its debts go when both drives have
//! the file, and the file's own record changes with each of them. So a barrier makes changes durable in a log, as one
//! record; they are read from a table in memory; and when that is large only what is left of them goes to sled, in order
//! of keys, on a thread of its own. It waits there until the next one is nearly full as well: what that changes again need
//! not go either.
//!
//! ```text
//! insert, remove ──► table ─(full)─► frozen table ──► sled
//!       └─(barrier)─► log 0 | log 1, one a generation
//! ```
//!
//! sled records with the last change of a generation that it has it (a power cut keeps a prefix of what sled was told).
//! The changes of later generations are read from the log when the store is opened, into tables, which go to sled as those
//! of before would have: each change is a whole value, so that doing it again does no harm.

#[cfg(test)]
mod edge_tests;
mod log;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::{Bound, RangeInclusive};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

use crate::journal::buffered::log::{Generation, Log};
use crate::journal::buffered::table::{Merge, Slot, Table};
use crate::journal::sled_store::{self, Applied, Salt, SledStore};
use crate::journal::store::{Contents, IVec, Pairs, Store, StoreError, StorePlace};

/// A table's part of the computer's memory …
const MEMORY_PART: u64 = 64;
/// … but not less, and not more. It should hold what clients write in the seconds until both drives have it.
const TABLE_BYTES: RangeInclusive<u64> = 8 << 20..=32 << 20;
/// Free bytes of the boot disk below which no barrier succeeds: what was promised has to find room in sled.
const FREE_BYTES_LEAST: u64 = 1 << 20;
/// Keys that go to sled between two looks at whether the store is closed.
const PAGE: usize = 256;
/// Changes that may lie in memory alone.
const CHANGES_BYTES_MAX: usize = 1 << 20;

/// What is kept until changes go to sled; as much may be on its way there.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// In memory.
    table_bytes: usize,
    /// In a file of the log.
    log_bytes: u64,
}

impl Limits {
    fn of_this_computer() -> Self {
        let memory = rustix::system::sysinfo();
        let part = u64::from(memory.mem_unit).saturating_mul(memory.totalram) / MEMORY_PART;
        let table_bytes = part.clamp(*TABLE_BYTES.start(), *TABLE_BYTES.end());
        // As it is compressed.
        Self { table_bytes: table_bytes as usize, log_bytes: table_bytes / 2 }
    }
}

/// The store in a directory of its own.
pub struct BufferedStore {
    limits: Limits,
    shared: Arc<Shared>,
    log: Mutex<Pending>,
    /// `None` only while it is dropped.
    applier: Option<JoinHandle<()>>,
}

/// What the next barrier makes durable.
struct Pending {
    log: Log,
    changes: Vec<u8>,
}

struct Shared {
    dir: PathBuf,
    sled: SledStore,
    salt: Salt,
    tables: RwLock<Tables>,
    /// The next barrier.
    barrier: AtomicU64,
    work: Mutex<Work>,
    turned: Condvar,
    /// Set by the first error, for good: nothing is written any more.
    shut: AtomicBool,
}

struct Tables {
    active: Arc<Table>,
    /// On its way to sled.
    frozen: Option<Arc<Table>>,
}

/// What the applying thread is told, and tells.
#[derive(Default)]
struct Work {
    /// The generation of the frozen table, until sled has it.
    generation: Option<u64>,
    /// It is time that it goes there.
    is_ripe: bool,
    /// Of the applying thread, until a caller was told.
    failure: Option<StoreError>,
    closing: bool,
    /// The thread is at work on sled.
    is_applying: bool,
}

impl BufferedStore {
    /// Opens the store in `dir`, or makes one there. Whoever calls holds the lock of the state directory.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_within(dir, Limits::of_this_computer())
    }

    fn open_within(dir: &Path, limits: Limits) -> Result<Self, StoreError> {
        let sled = SledStore::open(dir)?;
        let applied = sled.applied()?;
        let (log, mut kept) = Log::open(dir, applied)?;
        let generation = log.generation();
        let later = kept.remove(&generation);
        let mut frozen = match kept.last_key_value() {
            Some((generation, _)) => Some((*generation, read(kept.values())?)),
            None => None,
        };
        if applied.salt != Some(log.salt()) {
            // The log is another's from now on.
            let before = generation - 1;
            if let Some((_, frozen)) = frozen.take() {
                apply(&sled, &frozen, None, &|| false)?;
            }
            sled.set_applied(Applied { generation: before, is_all: false, salt: Some(log.salt()) })?;
        }
        sled.barrier()?;
        let work = Work { generation: frozen.as_ref().map(|(generation, _)| *generation), ..Work::default() };
        let tables =
            Tables { active: Arc::new(read(later.iter())?), frozen: frozen.map(|(_, frozen)| Arc::new(frozen)) };
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            sled,
            salt: log.salt(),
            tables: RwLock::new(tables),
            barrier: AtomicU64::new(1),
            work: Mutex::new(work),
            turned: Condvar::new(),
            shut: AtomicBool::new(false),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("journal".to_owned()).spawn(move || shared.run())?
        };
        Ok(Self { limits, shared, log: Mutex::new(Pending { log, changes: Vec::new() }), applier: Some(thread) })
    }

    fn change(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        self.shared.check_open()?;
        let mut pending = self.log.lock();
        log::encode(&mut pending.changes, key, value);
        let barrier = self.shared.barrier.load(Ordering::Acquire);
        let active = Arc::clone(&self.shared.tables.read().active);
        active.set(key, Slot { value: value.map(IVec::from), barrier });
        if pending.changes.len() < CHANGES_BYTES_MAX {
            return Ok(());
        }
        // What comes before a barrier may be durable earlier. Else all that somebody changes at once lay in memory.
        self.append(&mut pending)
    }

    /// Makes the changes so far durable.
    fn append(&self, pending: &mut Pending) -> Result<(), StoreError> {
        let shared = &self.shared;
        let Pending { log, changes } = pending;
        let synced = sled_store::check_space(&shared.dir, FREE_BYTES_LEAST)
            .and_then(|()| log.append(changes).map_err(StoreError::from))
            .and_then(|()| {
                changes.clear();
                shared.barrier.fetch_add(1, Ordering::AcqRel);
                self.turn_if_full(log)
            });
        if synced.is_err() {
            shared.shut();
            shared.wait_for_rest();
        }
        synced
    }

    /// Hands the table to the applying thread where it is full, as soon as that is done with the one before.
    fn turn_if_full(&self, log: &mut Log) -> Result<(), StoreError> {
        let shared = &self.shared;
        let Limits { table_bytes, log_bytes } = self.limits;
        let (in_log, in_table) = (log.bytes(), shared.tables.read().active.bytes());
        if in_log >= log_bytes / 4 * 3 || in_table >= table_bytes / 4 * 3 {
            shared.ripen();
        }
        // What a new journal begins with is in sled at once: its format is what keeps others from opening it.
        let is_new = log.is_new();
        if in_log < log_bytes && in_table < table_bytes && !is_new {
            return Ok(());
        }
        let mut work = shared.work.lock();
        shared.wait_until_applied(&mut work)?;
        shared.freeze(&mut work, log.generation());
        work.is_ripe = is_new;
        log.turn();
        if is_new { shared.wait_until_applied(&mut work) } else { Ok(()) }
    }
}

impl Store for BufferedStore {
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        {
            let tables = self.shared.tables.read();
            let newest = tables.active.get(key).or_else(|| tables.frozen.as_ref()?.get(key));
            if let Some(Slot { value, .. }) = newest {
                return Ok(value);
            }
        }
        self.shared.sled.get(key)
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.change(key, Some(value))
    }

    fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        self.change(key, None)
    }

    fn scan<'a>(&'a self, from: &[u8], to: &[u8]) -> Pairs<'a> {
        if from >= to {
            return Box::new(std::iter::empty());
        }
        let tables = {
            let tables = self.shared.tables.read();
            [Some(Arc::clone(&tables.active)), tables.frozen.clone()]
        };
        let tables = tables.into_iter().flatten().filter(|table| !table.is_empty());
        // Only now: what is in sled by then and in no table any more was in none before.
        Box::new(Merge::new(tables, from, to, self.shared.sled.scan(from, to)))
    }

    fn barrier(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        shared.check_open()?;
        let mut pending = self.log.lock();
        if pending.changes.is_empty() { Ok(()) } else { self.append(&mut pending) }
    }

    fn failure(&self) -> Option<StoreError> {
        self.shared.work.lock().failure.take()
    }
}

impl Shared {
    fn check_open(&self) -> Result<(), StoreError> {
        if !self.shut.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(self.work.lock().failure.take().unwrap_or(StoreError::Dead))
    }

    /// Returns once sled has all but the active table.
    fn wait_until_applied(&self, work: &mut MutexGuard<'_, Work>) -> Result<(), StoreError> {
        while work.generation.is_some() && !self.shut.load(Ordering::Acquire) {
            self.turned.wait(work);
        }
        match work.failure.take() {
            Some(error) => Err(error),
            None if self.shut.load(Ordering::Acquire) => Err(StoreError::Dead),
            None => Ok(()),
        }
    }

    /// Returns once nothing is written to sled any more: from now on its files may be copied.
    fn wait_for_rest(&self) {
        let mut work = self.work.lock();
        self.turned.wait_while(&mut work, |work| work.is_applying);
    }

    fn shut(&self) {
        self.shut.store(true, Ordering::Release);
        self.turned.notify_all();
    }

    /// Lets the frozen table go to sled: late, since what is changed again until then need not.
    fn ripen(&self) {
        let mut work = self.work.lock();
        if work.generation.is_some() && !std::mem::replace(&mut work.is_ripe, true) {
            self.turned.notify_all();
        }
    }

    /// What changes from now on is of another generation.
    fn freeze(&self, work: &mut Work, generation: u64) {
        let mut tables = self.tables.write();
        tables.frozen = Some(std::mem::take(&mut tables.active));
        work.generation = Some(generation);
        self.turned.notify_all();
    }

    /// The applying thread.
    fn run(&self) {
        loop {
            let generation = {
                let mut work = self.work.lock();
                loop {
                    match work.generation {
                        _ if self.shut.load(Ordering::Acquire) => return,
                        Some(generation) if work.is_ripe || work.closing => {
                            work.is_applying = true;
                            break generation;
                        }
                        None if work.closing => return,
                        Some(_) | None => self.turned.wait(&mut work),
                    }
                }
            };
            let applied = self.caught_apply(generation);
            let mut work = self.work.lock();
            work.is_applying = false;
            match applied {
                Ok(()) => work.generation = None,
                Err(error) => {
                    tracing::warn!(dir = %self.dir.display(), %error, "changes do not reach the journal's store");
                    work.failure = Some(error);
                    self.shut.store(true, Ordering::Release);
                }
            }
            self.turned.notify_all();
        }
    }

    /// A defect ends the store as an error does: else whoever waits for the thread would wait for ever.
    fn caught_apply(&self, generation: u64) -> Result<(), StoreError> {
        catch_unwind(AssertUnwindSafe(|| self.apply_frozen(generation, false))).unwrap_or(Err(StoreError::Dead))
    }

    fn apply_frozen(&self, generation: u64, is_all: bool) -> Result<(), StoreError> {
        let (active, frozen) = {
            let tables = self.tables.read();
            (Arc::clone(&tables.active), tables.frozen.clone())
        };
        if let Some(frozen) = frozen {
            let is_given_up = || self.shut.load(Ordering::Acquire);
            // A later change that is durable has taken a key's place: it comes to sled with its own generation.
            let durable = || self.barrier.load(Ordering::Acquire) - 1;
            if !apply(&self.sled, &frozen, Some((&active, &durable)), &is_given_up)? || is_given_up() {
                return Ok(());
            }
        }
        self.sled.set_applied(Applied { generation, is_all, salt: Some(self.salt) })?;
        self.sled.barrier()?;
        self.tables.write().frozen = None;
        Ok(())
    }

    /// All goes to sled, so that its file alone is the whole journal.
    fn close(&self, pending: &mut Pending) -> Result<(), StoreError> {
        self.check_open()?;
        if !pending.changes.is_empty() {
            pending.log.append(&pending.changes)?;
        }
        let generation = pending.log.generation();
        self.freeze(&mut self.work.lock(), generation);
        self.apply_frozen(generation, true)
    }
}

/// The last changes of generations, durable already.
fn read<'a>(generations: impl Iterator<Item = &'a Generation>) -> Result<Table, StoreError> {
    let table = Table::default();
    for record in generations.flat_map(|generation| &generation.records) {
        log::decode(record, |(key, value)| {
            table.set(key, Slot { value: value.map(IVec::from), barrier: 0 });
            Ok(())
        })?;
    }
    Ok(table)
}

/// Writes what a table has to sled, but for keys that `later` has; whether it came to its end.
fn apply(
    sled: &SledStore,
    table: &Table,
    later: Option<(&Table, &dyn Fn() -> u64)>,
    is_given_up: &dyn Fn() -> bool,
) -> Result<bool, StoreError> {
    let mut from = Bound::Unbounded;
    loop {
        if is_given_up() {
            return Ok(false);
        }
        let page = table.page(from.as_ref().map(AsRef::as_ref), Bound::Unbounded, PAGE);
        let Some((last, _)) = page.back() else { return Ok(true) };
        from = Bound::Excluded(last.clone());
        let durable = later.map_or(0, |(_, durable)| durable());
        for (key, Slot { value, .. }) in page {
            let is_superseded = |table: &Table| table.barrier_of(&key).is_some_and(|barrier| barrier <= durable);
            if later.is_some_and(|(later, _)| is_superseded(later)) {
                continue;
            }
            match value {
                Some(value) => sled.insert(&key, &value)?,
                // What lived in the table alone is nowhere: sled would write that it removes nothing.
                None if sled.get(&key)?.is_none() => {}
                None => sled.remove(&key)?,
            }
        }
    }
}

impl Drop for BufferedStore {
    fn drop(&mut self) {
        self.shared.work.lock().closing = true;
        self.shared.turned.notify_all();
        if let Some(applier) = self.applier.take() {
            // It ends behind what it is at.
            if applier.join().is_err() {
                tracing::warn!(dir = %self.shared.dir.display(), "the journal's thread panicked");
                return;
            }
        }
        match self.shared.close(self.log.get_mut()) {
            // It was told when it was found.
            Ok(()) | Err(StoreError::Dead) => {}
            Err(error) => tracing::warn!(dir = %self.shared.dir.display(), %error, "the log keeps the latest changes"),
        }
    }
}

impl fmt::Debug for BufferedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shut = self.shared.shut.load(Ordering::Acquire);
        f.debug_struct("BufferedStore").field("dir", &self.shared.dir).field("shut", &shut).finish_non_exhaustive()
    }
}

/// The folder of a store, known to exist.
#[derive(Debug)]
pub struct StoreFolder(PathBuf);

impl StoreFolder {
    pub fn new(dir: PathBuf) -> Self {
        Self(dir)
    }
}

impl StorePlace for StoreFolder {
    fn prepare(&self, contents: Contents) -> Result<(), StoreError> {
        sled_store::prepare(&self.0, contents)
    }

    fn open(&self, contents: Contents) -> Result<Arc<dyn Store>, StoreError> {
        sled_store::put_in_place(&self.0, contents)?;
        Ok(Arc::new(BufferedStore::open(&self.0)?))
    }
}
