//! Where the journal keeps its records. The one seam through which the boot disk is written.
//!
//! Two implementations: `BufferedStore` (the real one, before a `SledStore`) and `MemStore` (live and durable state apart).

use std::fmt;
use std::sync::Arc;

/// Bytes of a key or a value, as sled has them: cloned without a copy.
pub use sled::IVec;

/// A key with its value.
pub type Pair = (IVec, IVec);

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
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError>;
    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    fn remove(&self, key: &[u8]) -> Result<(), StoreError>;
    /// Pairs with `from <= key < to`, in order of keys. Changes made meanwhile may be seen or not.
    fn scan<'a>(&'a self, from: &[u8], to: &[u8]) -> Pairs<'a>;
    /// What ended it behind its callers' backs, told once.
    fn failure(&self) -> Option<StoreError> {
        None
    }
    /// Makes all earlier inserts and removes durable. After an error drop the handle and open the store again.
    fn barrier(&self) -> Result<(), StoreError>;
}

/// Where a store is opened again after an error.
pub trait StorePlace: Send {
    /// Does what can be done before the failed handle is dropped, and fails where opening would: until then that
    /// handle is worth keeping, since it answers reads.
    fn prepare(&self, contents: Contents) -> Result<(), StoreError>;
    /// Opens the store as it was prepared. The failed handle must have been dropped: a store has one owner.
    fn open(&self, contents: Contents) -> Result<Arc<dyn Store>, StoreError>;
}

/// What an opened store goes on with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contents {
    /// What lies there.
    #[default]
    Kept,
    /// A synced copy of it. After EIO the kernel takes pages for written that never reached the disk, and no later
    /// sync writes them: only new files do.
    Copied,
}

impl Contents {
    /// What to go on with after an error, where it was to be these.
    #[must_use]
    pub fn after(self, error: &StoreError) -> Self {
        match error {
            StoreError::Io(_) => Self::Copied,
            // A full disk keeps pages dirty until there is room.
            StoreError::NoSpace | StoreError::Unreadable(_) | StoreError::Corrupt(_) | StoreError::Dead => self,
        }
    }
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("journal store: {0}")]
    Io(#[source] std::io::Error),
    /// What was written is on its disk, which does not give it now.
    #[error("journal store cannot be read: {0}")]
    Unreadable(#[source] std::io::Error),
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
