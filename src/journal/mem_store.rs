//! A store in memory, which forgets at a power cut what no barrier covered: the second `Store`.
//!
//! [`MemDisk`] is the medium, [`MemStore`] one opening of it. A power cut keeps of the changes since the last
//! barrier a prefix, in order: sled's log is read back in order, up to its first gap.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::journal::store::{IVec, Pair, Pairs, Store, StoreError};

/// The pairs of a store.
pub(crate) type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// How the next barrier fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BarrierFault {
    pub error: BarrierError,
    /// How many of the changes it should have covered are durable all the same, as far as there are so many.
    pub survivors: usize,
    /// Barriers that go well before it.
    pub after: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BarrierError {
    Io,
    NoSpace,
}

/// One opening of the disk; handles of an earlier one are dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Generation(u64);

/// An insert, or with no value a removal.
type Change = (Vec<u8>, Option<Vec<u8>>);

/// Something to be done before each barrier, outside of the disk's lock.
#[derive(Clone)]
struct Watcher(Arc<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

#[derive(Clone, Debug)]
struct State {
    live: Contents,
    durable: Contents,
    /// Invariant: `durable` with all of these, in order, is `live`.
    pending: Vec<Change>,
    generation: Generation,
    fault: Option<BarrierFault>,
    barriers: u64,
    watcher: Option<Watcher>,
}

impl State {
    fn change(&mut self, change: Change) {
        apply(&mut self.live, change.clone());
        self.pending.push(change);
    }

    /// Makes the first `survivors` pending changes durable, loses the others, and ends every handle.
    fn cut(&mut self, survivors: usize) {
        for change in self.pending.drain(..).take(survivors) {
            apply(&mut self.durable, change);
        }
        self.live.clone_from(&self.durable);
        self.generation = Generation(self.generation.0 + 1);
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            apply(&mut self.durable, change);
        }
    }
}

fn apply(contents: &mut Contents, (key, value): Change) {
    match value {
        Some(value) => contents.insert(key, value),
        None => contents.remove(&key),
    };
}

/// A simulated boot disk with one store on it. Clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct MemDisk {
    state: Arc<Mutex<State>>,
}

impl Default for MemDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl MemDisk {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                live: Contents::new(),
                durable: Contents::new(),
                pending: Vec::new(),
                generation: Generation(0),
                fault: None,
                barriers: 0,
                watcher: None,
            })),
        }
    }

    /// Opens the store, as a process that starts does. Earlier handles are dead: a store has one owner. Changes that
    /// no barrier covered are still there, as after a kill, and still not durable.
    pub(crate) fn open(&self) -> MemStore {
        let mut state = self.state.lock();
        state.generation = Generation(state.generation.0 + 1);
        MemStore { state: Arc::clone(&self.state), generation: state.generation }
    }

    /// Cuts the power: handles are dead, and of n changes since the last barrier the first `choice(n + 1)` survive.
    pub(crate) fn crash(&self, choice: &mut dyn FnMut(usize) -> usize) {
        let mut state = self.state.lock();
        let count = state.pending.len() + 1;
        let survivors = choice(count);
        assert!(survivors < count, "a choice of {count} gave {survivors}");
        state.cut(survivors);
    }

    /// Orders a fault for the next barrier.
    pub(crate) fn fail_barrier(&self, fault: BarrierFault) {
        self.state.lock().fault = Some(fault);
    }

    /// Another disk with the same pairs and the same changes not yet durable; it has no handle, and nobody watches it.
    #[must_use]
    pub(crate) fn fork(&self) -> Self {
        let state = State { watcher: None, ..self.state.lock().clone() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Lets `act` happen just before each barrier.
    pub(crate) fn watch_barriers(&self, act: Arc<dyn Fn() + Send + Sync>) {
        self.state.lock().watcher = Some(Watcher(act));
    }

    pub(crate) fn unwatch(&self) {
        self.state.lock().watcher = None;
    }

    /// Takes back a fault that was ordered and has not happened.
    pub(crate) fn clear_fault(&self) {
        self.state.lock().fault = None;
    }

    /// All pairs that are live.
    pub(crate) fn contents(&self) -> Contents {
        self.state.lock().live.clone()
    }

    /// Changes that no barrier has covered.
    pub(crate) fn pending(&self) -> usize {
        self.state.lock().pending.len()
    }

    /// Barriers so far, failed ones too.
    pub(crate) fn barriers(&self) -> u64 {
        self.state.lock().barriers
    }
}

/// One opening of a [`MemDisk`].
#[derive(Debug)]
pub(crate) struct MemStore {
    state: Arc<Mutex<State>>,
    generation: Generation,
}

impl MemStore {
    fn alive(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock();
        if state.generation == self.generation { Ok(state) } else { Err(StoreError::Dead) }
    }

    fn first_in(&self, range: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<Option<Pair>, StoreError> {
        let state = self.alive()?;
        Ok(state
            .live
            .range::<[u8], _>(range)
            .next()
            .map(|(key, value)| (key.as_slice().into(), value.as_slice().into())))
    }
}

impl Store for MemStore {
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        Ok(self.alive()?.live.get(key).map(|value| value.as_slice().into()))
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.alive()?.change((key.to_vec(), Some(value.to_vec())));
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        self.alive()?.change((key.to_vec(), None));
        Ok(())
    }

    fn scan<'a>(&'a self, from: &[u8], to: &[u8]) -> Pairs<'a> {
        let mut from = Bound::Included(from.to_vec());
        let to = to.to_vec();
        let mut ended = false;
        Box::new(std::iter::from_fn(move || {
            let start = from.as_ref().map(Vec::as_slice);
            let past = match start {
                Bound::Included(key) | Bound::Excluded(key) => key >= to.as_slice(),
                Bound::Unbounded => false,
            };
            if ended || past {
                return None;
            }
            let next = self.first_in((start, Bound::Excluded(&to))).transpose();
            match &next {
                Some(Ok((key, _))) => from = Bound::Excluded(key.to_vec()),
                Some(Err(_)) | None => ended = true,
            }
            next
        }))
    }

    fn barrier(&self) -> Result<(), StoreError> {
        let watcher = self.alive()?.watcher.clone();
        if let Some(Watcher(act)) = watcher {
            act();
        }
        let mut state = self.alive()?;
        state.barriers += 1;
        match state.fault.take() {
            Some(fault) if fault.after > 0 => {
                state.fault = Some(BarrierFault { after: fault.after - 1, ..fault });
                state.sync();
                Ok(())
            }
            None => {
                state.sync();
                Ok(())
            }
            Some(fault) => {
                state.cut(fault.survivors);
                Err(match fault.error {
                    BarrierError::Io => StoreError::Io(rustix::io::Errno::IO.into()),
                    BarrierError::NoSpace => StoreError::NoSpace,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn keys(store: &dyn Store) -> String {
        store.scan(b"", b"\xff").map(|pair| String::from_utf8(pair.unwrap().0.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_scan_gives_its_range_in_order() {
        let store = MemDisk::new().open();
        for key in ["d", "a", "c", "b", "ba"] {
            store.insert(key.as_bytes(), b"v").unwrap();
        }
        store.remove(b"c").unwrap();
        let found: Vec<_> = store.scan(b"a", b"d").map(|pair| pair.unwrap().0).collect();
        assert_eq!(found, [&b"a"[..], b"b", b"ba"]);
        assert_eq!(store.scan(b"b", b"b").count(), 0);
        assert_eq!(store.scan(b"c", b"b").count(), 0);
        assert_eq!(store.get(b"c").unwrap(), None);
        assert_eq!(store.get(b"d").unwrap(), Some("v".into()));
    }

    #[test]
    fn a_power_cut_keeps_what_a_barrier_covered_and_a_prefix_of_the_rest() {
        for survivors in 0..4 {
            let disk = MemDisk::new();
            let store = disk.open();
            store.insert(b"a", b"").unwrap();
            store.barrier().unwrap();
            store.insert(b"b", b"").unwrap();
            store.remove(b"a").unwrap();
            store.insert(b"c", b"").unwrap();
            disk.crash(&mut |count| {
                assert_eq!(count, 4);
                survivors
            });
            assert!(matches!(store.get(b"a"), Err(StoreError::Dead)));
            assert!(matches!(store.insert(b"a", b""), Err(StoreError::Dead)));
            assert!(matches!(store.scan(b"", b"\xff").next(), Some(Err(StoreError::Dead))));
            let expected = ["a", "ab", "b", "bc"];
            assert_eq!(Some(keys(&disk.open()).as_str()), expected.get(survivors).copied());
        }
    }

    #[test]
    fn a_killed_process_finds_its_changes_again_but_not_durable() {
        let disk = MemDisk::new();
        disk.open().insert(b"a", b"").unwrap();
        assert_eq!(keys(&disk.open()), "a");
        disk.crash(&mut |_| 0);
        assert_eq!(keys(&disk.open()), "");
    }

    #[test]
    fn a_failed_barrier_shuts_the_handle_and_leaves_a_prefix() {
        let disk = MemDisk::new();
        let store = disk.open();
        store.insert(b"a", b"").unwrap();
        store.insert(b"b", b"").unwrap();
        disk.fail_barrier(BarrierFault { error: BarrierError::NoSpace, survivors: 1, after: 0 });
        assert!(matches!(store.barrier(), Err(StoreError::NoSpace)));
        assert!(matches!(store.barrier(), Err(StoreError::Dead)));
        let store = disk.open();
        assert_eq!(keys(&store), "a");
        disk.crash(&mut |count| count - 1);
        assert_eq!(keys(&disk.open()), "a");
        assert_eq!(disk.barriers(), 1);
    }

    #[test]
    fn a_fork_goes_its_own_way() {
        let disk = MemDisk::new();
        let store = disk.open();
        store.insert(b"a", b"").unwrap();
        let fork = disk.fork();
        fork.crash(&mut |_| 0);
        assert!(fork.contents().is_empty());
        assert_eq!((keys(&store).as_str(), disk.pending()), ("a", 1));
    }
}
