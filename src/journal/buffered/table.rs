//! Changes in memory that the store below has not got yet, and reading through them.

use std::cmp;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::journal::store::{IVec, Pair, Pairs, StoreError};

/// What a map's node needs beside a key and a value.
const SLOT_BYTES: usize = 96;
/// Keys that a scan takes at a time.
const PAGE: usize = 32;

/// The last change of a key.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// `None`: removed.
    pub(super) value: Option<IVec>,
    /// The barrier that makes it durable.
    pub(super) barrier: u64,
}

/// The last changes of many keys, in order of keys.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: RwLock<BTreeMap<IVec, Slot>>,
    bytes: AtomicUsize,
}

impl Table {
    pub(super) fn set(&self, key: &[u8], slot: Slot) {
        let added = slot.value.as_ref().map_or(0, |value| value.len());
        let mut slots = self.slots.write();
        let removed = if let Some(there) = slots.get_mut(key) {
            std::mem::replace(there, slot).value.map_or(0, |value| value.len())
        } else {
            slots.insert(IVec::from(key), slot);
            self.bytes.fetch_add(key.len() + SLOT_BYTES, Ordering::Relaxed);
            0
        };
        self.bytes.fetch_add(added, Ordering::Relaxed);
        self.bytes.fetch_sub(removed, Ordering::Relaxed);
    }

    /// What it holds in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.read().is_empty()
    }

    /// The last change of a key, if it is here.
    pub(super) fn get(&self, key: &[u8]) -> Option<Slot> {
        self.slots.read().get(key).cloned()
    }

    /// The barrier that makes the last change of a key durable, if that is here.
    pub(super) fn barrier_of(&self, key: &[u8]) -> Option<u64> {
        self.slots.read().get(key).map(|slot| slot.barrier)
    }

    /// Some slots from a key on.
    pub(super) fn page(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, at_most: usize) -> VecDeque<(IVec, Slot)> {
        let slots = self.slots.read();
        slots.range::<[u8], _>((from, to)).take(at_most).map(|(key, slot)| (key.clone(), slot.clone())).collect()
    }
}

/// The slots of a table between two keys, a page at a time: the table may change meanwhile.
struct Cursor {
    table: Arc<Table>,
    page: VecDeque<(IVec, Slot)>,
    from: Bound<IVec>,
    to: Vec<u8>,
    is_end: bool,
}

impl Cursor {
    fn new(table: Arc<Table>, from: &[u8], to: &[u8]) -> Self {
        let from = Bound::Included(IVec::from(from));
        Self { table, page: VecDeque::new(), from, to: to.to_vec(), is_end: false }
    }

    /// Has the next slot at hand, if there is one.
    fn fetch(&mut self) {
        if self.page.is_empty() && !self.is_end {
            let from = self.from.as_ref().map(AsRef::as_ref);
            self.page = self.table.page(from, Bound::Excluded(&self.to), PAGE);
            self.is_end = self.page.len() < PAGE;
            if let Some((last, _)) = self.page.back() {
                self.from = Bound::Excluded(last.clone());
            }
        }
    }

    /// The next slot's key, as far as it was fetched.
    fn next_key(&self) -> Option<&[u8]> {
        self.page.front().map(|(key, _)| key.as_ref())
    }

    fn take(&mut self) -> Option<(IVec, Slot)> {
        self.page.pop_front()
    }
}

/// Pairs of a store below tables, the newest table first; what a table says of a key hides what is below it.
///
/// The tables are held until the scan ends, so that what goes from one of them to the store meanwhile is not missed
/// between the two.
pub(super) struct Merge<'a> {
    tables: Vec<Cursor>,
    below: Pairs<'a>,
    /// The next of them.
    ahead: Option<Result<Pair, StoreError>>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(tables: impl Iterator<Item = Arc<Table>>, from: &[u8], to: &[u8], mut below: Pairs<'a>) -> Self {
        let tables = tables.map(|table| Cursor::new(table, from, to)).collect();
        let ahead = below.next();
        Self { tables, below, ahead }
    }

    /// The newest of the tables whose next key is the least of all.
    fn least(&mut self) -> Option<usize> {
        let mut least: Option<(usize, &[u8])> = None;
        self.tables.iter_mut().for_each(Cursor::fetch);
        for (number, cursor) in self.tables.iter().enumerate() {
            if let Some(key) = cursor.next_key()
                && least.is_none_or(|(_, least)| key < least)
            {
                least = Some((number, key));
            }
        }
        least.map(|(number, _)| number)
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<Pair, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let least = self.least();
            let key = least.and_then(|number| self.tables.get(number)?.next_key());
            let below = match &self.ahead {
                Some(Ok((below, _))) => key.map_or(cmp::Ordering::Less, |key| below.as_ref().cmp(key)),
                Some(Err(_)) => {
                    self.tables.clear();
                    return self.ahead.take();
                }
                None => cmp::Ordering::Greater,
            };
            if below != cmp::Ordering::Greater {
                let next = self.below.next();
                let hidden_or_next = std::mem::replace(&mut self.ahead, next);
                if below == cmp::Ordering::Less {
                    return hidden_or_next;
                }
            }
            let newest = least.and_then(|number| self.tables.get_mut(number)?.take());
            let (key, slot) = newest?;
            for older in &mut self.tables {
                if older.next_key() == Some(&key) {
                    older.take();
                }
            }
            if let Some(value) = slot.value {
                return Some(Ok((key, value)));
            }
        }
    }
}
