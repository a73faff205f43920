//! A drive under watch: every call on it is on record while it is under way, and nobody reaches it once it has left.
//!
//! It stands between the mirror and the drive's real volume, so that no call can be forgotten. Files are closed on a
//! thread of its own: closing can block as long as the drive does (FUSE asks its server; the last close of a file
//! without a name removes its blocks), and is done wherever the last user happens to be.

mod closing;
mod file;
mod ledger;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use self::file::{OpenFiles, WatchedFile};
pub(crate) use self::ledger::Ledger;
use crate::clock;
use crate::mirror::os_volume::MountPoint;
use crate::mirror::stall::{Judge, Progress, Verdict};
use crate::mirror::volume::{
    Disposition, FsKind, Listing, Meta, Result, Space, Volume, VolumeError, VolumeFile, VolumePath,
};
use crate::namespace::Namespace;

/// A drive's volume, for one stay of it.
pub(crate) struct Watched {
    kind: FsKind,
    namespace: Namespace,
    /// Invariant: `None` once the drive has left.
    inner: Mutex<Option<Arc<dyn Volume>>>,
    ledger: Arc<Ledger>,
    files: Arc<OpenFiles>,
}

impl Watched {
    /// `name` is the drive's, for its threads.
    pub(crate) fn new(name: &str, inner: Arc<dyn Volume>) -> std::io::Result<Self> {
        let (kind, namespace, files) = (inner.kind(), inner.namespace(), OpenFiles::start(name)?);
        Ok(Self { kind, namespace, inner: Mutex::new(Some(inner)), ledger: Arc::default(), files: Arc::new(files) })
    }

    /// Lets go of the drive: no call gets through any more, and its files are closed. Those under way go on.
    pub(crate) fn revoke(&self) {
        self.ledger.end();
        // Not under the lock: closing its root may take a while.
        let inner = self.inner.lock().take();
        self.files.revoke(inner);
    }

    /// Returns once all that was closed so far is closed; after [`Watched::revoke`] nothing is open but what calls
    /// under way hold.
    pub(crate) fn settle(&self) {
        self.files.settle();
    }

    fn progress(&self) -> Progress {
        let inner = self.inner.lock().clone();
        match inner.and_then(|inner| inner.device_work()) {
            Some(work) => Progress::Device(work),
            None => Progress::Calls(self.ledger.returned()),
        }
    }

    fn call<T>(&self, op: &'static str, path: &VolumePath, work: impl FnOnce(&dyn Volume) -> Result<T>) -> Result<T> {
        let inner = self.inner.lock().clone().ok_or_else(|| left(op, path))?;
        let _under_way = self.ledger.begin(clock::now());
        work(inner.as_ref())
    }

    /// What needs nobody on record: it asks the drive nothing.
    fn of_present(&self, work: impl FnOnce(&dyn Volume)) {
        let inner = self.inner.lock().clone();
        inner.as_deref().map(work);
    }

    fn watch_file(&self, file: Arc<dyn VolumeFile>, path: &VolumePath) -> Arc<dyn VolumeFile> {
        Arc::new(WatchedFile::new(file, path, &self.ledger, &self.files))
    }
}

/// Watches a drive until it stalls or leaves; whether it stalled. Sleeps while nothing is under way on it: not between
/// calls that follow one another, for to be woken by each costs more than most of them.
pub(crate) fn stalls(volume: &Watched, stall_after: impl Fn() -> std::time::Duration) -> bool {
    let ledger = &volume.ledger;
    while ledger.wait_for_call() {
        let mut judge = Judge::new(clock::now(), volume.progress());
        let mut begun = None;
        loop {
            let (now, oldest) = (clock::now(), ledger.oldest());
            let begun_before = begun.replace(ledger.begun());
            if oldest.is_none() && begun == begun_before {
                break;
            }
            match judge.look(now, oldest.unwrap_or(now), volume.progress(), stall_after()) {
                Verdict::Stalled => return true,
                Verdict::Waits(at_most) => ledger.wait_for_end(at_most),
            }
        }
    }
    false
}

/// The error of a call on a drive that has left.
fn left(op: &'static str, path: &VolumePath) -> VolumeError {
    VolumeError {
        op,
        path: path.to_owned(),
        disposition: Disposition::DriveLost,
        source: std::io::Error::from(rustix::io::Errno::NODEV),
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&*self.inner.lock()).finish()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.revoke();
    }
}

impl Volume for Watched {
    fn kind(&self) -> FsKind {
        self.kind
    }

    fn namespace(&self) -> Namespace {
        self.namespace
    }

    fn open(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        self.call("open", path, |inner| inner.open(path)).map(|file| self.watch_file(file, path))
    }

    fn open_cached(&self, path: &VolumePath) -> Result<Option<Arc<dyn VolumeFile>>> {
        let opened = self.call("open", path, |inner| inner.open_cached(path))?;
        Ok(opened.map(|file| self.watch_file(file, path)))
    }

    fn create(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        self.call("create", path, |inner| inner.create(path)).map(|file| self.watch_file(file, path))
    }

    fn open_write(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        self.call("open to write", path, |inner| inner.open_write(path)).map(|file| self.watch_file(file, path))
    }

    fn stat(&self, path: &VolumePath) -> Result<Option<Meta>> {
        self.call("stat", path, |inner| inner.stat(path))
    }

    fn list(&self, path: &VolumePath) -> Result<Listing> {
        self.call("list", path, |inner| inner.list(path))
    }

    fn make_folder(&self, path: &VolumePath) -> Result<()> {
        self.call("make folder", path, |inner| inner.make_folder(path))
    }

    fn rename(&self, from: &VolumePath, to: &VolumePath) -> Result<()> {
        self.call("rename", from, |inner| inner.rename(from, to))
    }

    fn replace(&self, from: &VolumePath, to: &VolumePath) -> Result<()> {
        self.call("replace", to, |inner| inner.replace(from, to))
    }

    fn link(&self, path: &VolumePath, second: &VolumePath) -> Result<()> {
        self.call("link", second, |inner| inner.link(path, second))
    }

    fn remove_file(&self, path: &VolumePath) -> Result<()> {
        self.call("remove file", path, |inner| inner.remove_file(path))
    }

    fn remove_folder(&self, path: &VolumePath) -> Result<()> {
        self.call("remove folder", path, |inner| inner.remove_folder(path))
    }

    fn keep_folders(&self) {
        self.of_present(|inner| inner.keep_folders());
    }

    fn release_folders(&self) {
        self.of_present(|inner| inner.release_folders());
    }

    fn sync_folder(&self, path: &VolumePath) -> Result<()> {
        self.call("sync folder", path, |inner| inner.sync_folder(path))
    }

    fn sync_all(&self) -> Result<()> {
        self.call("sync all", "", |inner| inner.sync_all())
    }

    fn space(&self) -> Result<Space> {
        self.call("statfs", "", |inner| inner.space())
    }

    fn probe(&self) -> Result<()> {
        self.call("probe", "", |inner| inner.probe())
    }

    fn device_work(&self) -> Option<u64> {
        self.inner.lock().clone()?.device_work()
    }

    fn mount_point(&self) -> Option<MountPoint> {
        self.inner.lock().clone()?.mount_point()
    }
}
