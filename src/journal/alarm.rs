//! Readers find a store that fails as well as its writer does, and only the writer's owner can open it anew.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::journal::store::{IVec, Pairs, Store, StoreError};

/// Which of the stores that a journal had, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(pub(super) u64);

type Bell = Box<dyn Fn(Generation) + Send + Sync>;

/// Rung when a reader finds that the store fails.
#[derive(Default)]
pub(super) struct Alarm(OnceLock<Bell>);

impl Alarm {
    /// Before this nobody hears it.
    pub(super) fn connect(&self, bell: Bell) {
        // The first owner is the only one.
        let _ = self.0.set(bell);
    }

    fn ring(&self, generation: Generation) {
        if let Some(bell) = self.0.get() {
            bell(generation);
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Alarm").field(&self.0.get().is_some()).finish()
    }
}

/// A store as readers see it: its first failure rings.
#[derive(Debug)]
pub(super) struct Alarmed {
    store: Arc<dyn Store>,
    generation: Generation,
    alarm: Arc<Alarm>,
    rung: AtomicBool,
}

impl Alarmed {
    pub(super) fn new(store: Arc<dyn Store>, generation: Generation, alarm: Arc<Alarm>) -> Self {
        Self { store, generation, alarm, rung: AtomicBool::new(false) }
    }

    fn notice<T>(&self, result: &Result<T, StoreError>) {
        match result {
            // Dead: it was found before.
            Ok(_) | Err(StoreError::Dead) => {}
            Err(StoreError::Io(_) | StoreError::Unreadable(_) | StoreError::NoSpace | StoreError::Corrupt(_)) => {
                if !self.rung.swap(true, Ordering::AcqRel) {
                    self.alarm.ring(self.generation);
                }
            }
        }
    }
}

impl Store for Alarmed {
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        let result = self.store.get(key);
        self.notice(&result);
        result
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.store.insert(key, value)
    }

    fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        self.store.remove(key)
    }

    fn scan<'a>(&'a self, from: &[u8], to: &[u8]) -> Pairs<'a> {
        Box::new(self.store.scan(from, to).inspect(|pair| self.notice(pair)))
    }

    fn failure(&self) -> Option<StoreError> {
        self.store.failure()
    }

    fn barrier(&self) -> Result<(), StoreError> {
        self.store.barrier()
    }
}
