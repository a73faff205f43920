//! Where the journal keeps its records. The one seam through which the boot disk is written.
//!
//! Two implementations: `SledStore` (the real one) and `MemStore` (live and durable state apart).

use std::fmt;
use std::sync::Arc;

/// A key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Pairs in order of keys. After an error there are no more.
pub type Pairs<'a> = Box<dyn Iterator<Item = Result<Pair, StoreError>> + 'a>;

/// Ordered keys and values behind the journal. One writer at a time; readers at any time.
///
/// Changes are seen at once. They are durable after the next [`Store::barrier`]; a power cut before it keeps a
/// prefix of them, in order. Any error but that of a later call on a dead handle may have left some of them durable.
///
/// The first error ends the handle's writing: it refuses every change and barrier from then on. As far as the
/// implementation can, it goes on to answer reads, from what was live, until it is dropped.
pub trait Store: Send + Sync + fmt::Debug {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    fn remove(&self, key: &[u8]) -> Result<(), StoreError>;
    /// Pairs with `from <= key < to`, in order of keys. Changes made meanwhile may be seen or not.
    fn scan<'a>(&'a self, from: &[u8], to: &[u8]) -> Pairs<'a>;
    /// Makes all earlier inserts and removes durable. After an error drop the handle and open the store again.
    fn barrier(&self) -> Result<(), StoreError>;
}

/// Where a store is opened again after an error.
pub trait StorePlace: Send {
    /// Whether opening has a chance; touches nothing. Until then the failed handle is worth keeping: it answers reads.
    fn is_ready(&self) -> Result<(), StoreError>;
    /// Opens the store. The failed handle must have been dropped: a store has one owner.
    fn open(&self) -> Result<Arc<dyn Store>, StoreError>;
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("journal store: {0}")]
    Io(#[source] std::io::Error),
    #[error("journal store: no space left on the boot disk")]
    NoSpace,
    #[error("journal store is damaged: {0}")]
    Corrupt(String),
    /// An earlier error latched the handle shut.
    #[error("journal store is shut for writing after an earlier error")]
    Dead,
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io(error),
        }
    }
}
