//! Open files of a watched drive.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::clock;
use crate::mirror::volume::{Attributes, Meta, Result, VolumeFile, VolumePath};
use crate::mirror::watched::closing::Closer;
use crate::mirror::watched::ledger::Ledger;
use crate::mirror::watched::left;

/// The file behind a handle; empty once it was taken away.
type Slot = Mutex<Option<Arc<dyn VolumeFile>>>;

#[derive(Default)]
struct Slots {
    given: u64,
    open: BTreeMap<u64, Weak<Slot>>,
    /// Nothing is to be open any more, also what is being opened now.
    revoked: bool,
}

/// The open files of a drive.
pub(super) struct OpenFiles {
    slots: Mutex<Slots>,
    closer: Closer,
}

impl OpenFiles {
    pub(super) fn start(name: &str) -> std::io::Result<Self> {
        Ok(Self { slots: Mutex::default(), closer: Closer::start(name)? })
    }

    fn add(&self, slot: &Arc<Slot>) -> u64 {
        let mut slots = self.slots.lock();
        slots.given += 1;
        let number = slots.given;
        if slots.revoked {
            self.closer.close_all(slot.lock().take());
        } else {
            slots.open.insert(number, Arc::downgrade(slot));
        }
        number
    }

    /// Closes all files, whoever holds them, and `root` after them.
    pub(super) fn revoke(&self, root: impl Send + 'static) {
        let open = {
            let mut slots = self.slots.lock();
            slots.revoked = true;
            std::mem::take(&mut slots.open)
        };
        for slot in open.values().filter_map(Weak::upgrade) {
            self.closer.close(slot.lock().take());
        }
        self.closer.close_all(root);
    }

    pub(super) fn settle(&self) {
        self.closer.settle();
    }
}

/// An open file of a watched drive.
pub(super) struct WatchedFile {
    slot: Arc<Slot>,
    number: u64,
    /// Where it was opened, for error texts.
    path: String,
    ledger: Arc<Ledger>,
    files: Arc<OpenFiles>,
}

impl WatchedFile {
    pub(super) fn new(
        file: Arc<dyn VolumeFile>,
        path: &VolumePath,
        ledger: &Arc<Ledger>,
        files: &Arc<OpenFiles>,
    ) -> Self {
        let slot = Arc::new(Mutex::new(Some(file)));
        let number = files.add(&slot);
        Self { slot, number, path: path.to_owned(), ledger: Arc::clone(ledger), files: Arc::clone(files) }
    }

    fn call<T>(&self, op: &'static str, work: impl FnOnce(&dyn VolumeFile) -> Result<T>) -> Result<T> {
        let file = self.slot.lock().clone().ok_or_else(|| left(op, &self.path))?;
        let under_way = self.ledger.begin(clock::now());
        let result = work(file.as_ref());
        drop(under_way);
        result
    }
}

impl Drop for WatchedFile {
    fn drop(&mut self) {
        self.files.slots.lock().open.remove(&self.number);
        self.files.closer.close(self.slot.lock().take());
    }
}

impl VolumeFile for WatchedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.call("read", |file| file.read_at(buf, offset))
    }

    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> Result<Option<usize>> {
        // It does not block, so it may be done under the lock; and the file is not closed here then.
        match self.slot.lock().as_ref() {
            Some(file) => file.read_cached_at(buf, offset),
            None => Err(left("read", &self.path)),
        }
    }

    fn forget_cached(&self) -> Result<()> {
        self.call("forget what is cached of", |file| file.forget_cached())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.call("write", |file| file.write_at(bytes, offset))
    }

    fn write_pieces_at(&self, pieces: &[&[u8]], offset: u64) -> Result<()> {
        self.call("write", |file| file.write_pieces_at(pieces, offset))
    }

    fn go_direct(&self, direct: bool) -> Result<bool> {
        self.call("fcntl", |file| file.go_direct(direct))
    }

    fn preallocate(&self, len: u64) -> Result<()> {
        self.call("preallocate", |file| file.preallocate(len))
    }

    fn set_attributes(&self, attributes: Attributes) -> Result<()> {
        self.call("set attributes of", |file| file.set_attributes(attributes))
    }

    fn sync(&self) -> Result<()> {
        self.call("sync", |file| file.sync())
    }

    fn sync_bytes(&self) -> Result<()> {
        self.call("sync", |file| file.sync_bytes())
    }

    fn meta(&self) -> Result<Meta> {
        self.call("stat", |file| file.meta())
    }
}
