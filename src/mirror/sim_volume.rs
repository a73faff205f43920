//! A drive's file system in memory, which forgets at a power cut what was not synced: the second `Volume`.
//!
//! [`SimDisk`] is the medium, [`SimVolume`] one mount of it. Changes are live at once and durable when synced:
//!
//! - a file's `sync` makes its bytes, length and attributes durable, and nothing of its name;
//! - `sync_folder` makes the last change of that folder's names durable, with all changes of names before it,
//!   in any folder: the order of a metadata journal. A rename is one change;
//! - `sync_all` makes everything durable.
//!
//! [`SimDisk::crash`] and [`SimDisk::reinsert`] lose of the rest what a choice says: a tail of the changes of
//! names, and any sectors, lengths and attributes of files. So a file may have its new name and none of its bytes. On
//! FAT a rename is synced before it returns, and cut in two it leaves no name at all.
//! Everything is deterministic: the clock is a counter, the choice is the caller's, nothing runs by itself.

mod content;
mod crash;
mod fault;
mod file;
mod handle;
mod image;
mod medium;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::mirror::layout;
use crate::mirror::os_volume::MountPoint;
use crate::mirror::volume::{FsKind, Listing, Meta, Result, Space, Volume, VolumeFile, VolumePath};
use crate::namespace::Namespace;

pub(crate) use crash::Choice;
use fault::classified;
pub(crate) use fault::{CallKind, Calls, Fault, Which};
use file::{Access, SimFile};
use handle::{Handle, Synced};
use image::{Image, Ino};
use medium::{Generation, Medium, Presence};

/// The mirror's own folder, which is no part of the users' tree.
const OWN_FOLDER: &str = ".twinstick";

/// Paths with the bytes of files; `None` is a folder.
pub(crate) type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// A simulated stick. Clones are the same stick.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk {
    medium: Arc<Mutex<Medium>>,
}

impl SimDisk {
    /// An empty file system with room for `capacity` bytes of files; names take none.
    pub(crate) fn new(kind: FsKind, capacity: u64) -> Self {
        Self { medium: Arc::new(Mutex::new(Medium::new(kind, capacity))) }
    }

    /// Another handle of the present mount, as a restarted process gets one: nothing is lost, page cache and all.
    /// `DriveLost` while the stick is out.
    pub(crate) fn mount(&self) -> Result<SimVolume> {
        let medium = self.medium.lock();
        match medium.presence {
            Presence::In | Presence::Dead => Ok(self.volume(medium.generation)),
            Presence::Pulled => Err(classified("mount", "", rustix::io::Errno::NODEV)),
        }
    }

    fn volume(&self, generation: Generation) -> SimVolume {
        SimVolume { handle: Handle { medium: Arc::clone(&self.medium), generation } }
    }

    /// Takes the stick out. All handles are dead from now on, save that they still read what is cached.
    pub(crate) fn pull(&self) {
        self.medium.lock().presence = Presence::Pulled;
    }

    pub(crate) fn is_pulled(&self) -> bool {
        self.medium.lock().presence == Presence::Pulled
    }

    /// Whether it has gone without its file system's notice.
    pub(crate) fn is_dead(&self) -> bool {
        self.medium.lock().presence == Presence::Dead
    }

    /// Puts the stick in again. The pull was a power cut: what was not synced is lost as `choice` says.
    pub(crate) fn reinsert(&self, choice: Choice<'_>) -> SimVolume {
        let mut medium = self.medium.lock();
        medium.lose(choice);
        medium.presence = Presence::In;
        self.volume(medium.generation)
    }

    /// Cuts the power: all handles are dead, what was not synced is lost as `choice` says. A stick that was out
    /// stays out.
    pub(crate) fn crash(&self, choice: Choice<'_>) {
        let mut medium = self.medium.lock();
        medium.lose(choice);
        if medium.presence == Presence::Dead {
            medium.presence = Presence::In;
        }
    }

    /// Another stick with the same bytes and the same unsynced changes; handles of this one don't reach it.
    /// With it many power cuts can be tried at one moment.
    #[must_use]
    pub(crate) fn fork(&self) -> Self {
        let mut medium = self.medium.lock().clone();
        medium.renew();
        Self { medium: Arc::new(Mutex::new(medium)) }
    }

    /// Orders a fault for the `nth` call from now, of one kind or of any; 1 is the next.
    pub(crate) fn fail_nth(&self, nth: u64, kind: Option<CallKind>, fault: Fault) {
        self.medium.lock().faults.arm(nth, kind, fault);
    }

    /// Orders something to happen just before the `nth` call from now, outside of the medium's lock.
    pub(crate) fn before_nth(&self, nth: u64, act: impl FnOnce() + Send + 'static) {
        self.medium.lock().interlude.arm(nth, |_, _| true, Box::new(act));
    }

    /// The same before the next such call.
    pub(crate) fn before_next(&self, which: Which, act: impl FnOnce() + Send + 'static) {
        self.medium.lock().interlude.arm(1, which, Box::new(act));
    }

    /// Lets `act` happen just before each sync, outside of the medium's lock.
    pub(crate) fn watch_syncs(&self, act: Arc<dyn Fn() + Send + Sync>) {
        self.medium.lock().interlude.watch(Some(act));
    }

    pub(crate) fn unwatch(&self) {
        self.medium.lock().interlude.watch(None);
    }

    /// What is durable, told by its names and contents: equal for sticks on which a power cut left the same.
    pub(crate) fn hash_durable(&self, hasher: &mut impl Hasher) {
        self.medium.lock().durable.hash_tree(hasher);
    }

    pub(crate) fn clear_interlude(&self) {
        self.medium.lock().interlude.clear();
    }

    /// Takes back the faults that were ordered and have not happened.
    pub(crate) fn clear_faults(&self) {
        self.medium.lock().faults.clear();
    }

    /// Bytes of the files whose names a cut in the midst of a move took, or could take now.
    pub(crate) fn torn_or_moving(&self) -> Vec<Vec<u8>> {
        let medium = self.medium.lock();
        medium.torn.iter().cloned().chain(medium.moving()).collect()
    }

    /// Bytes of the files whose names cuts took since this was asked last.
    pub(crate) fn take_torn(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.medium.lock().torn)
    }

    /// Calls so far that reached the medium. Those on dead handles did not.
    pub(crate) fn calls(&self) -> Calls {
        self.medium.lock().calls
    }

    /// What is live outside `.twinstick`.
    pub(crate) fn tree(&self) -> Tree {
        snapshot(&self.medium.lock().live, |path| !is_own(path))
    }

    /// What is live inside `.twinstick`, paths from the drive's root.
    pub(crate) fn own_tree(&self) -> Tree {
        snapshot(&self.medium.lock().live, |path| is_own(path) && path != OWN_FOLDER)
    }

    /// What a power cut that loses all it can would leave outside `.twinstick`.
    pub(crate) fn durable_tree(&self) -> Tree {
        snapshot(&self.medium.lock().durable, |path| !is_own(path))
    }
}

fn is_own(path: &str) -> bool {
    path.split('/').next() == Some(OWN_FOLDER)
}

fn snapshot(image: &Image, wanted: impl Fn(&str) -> bool) -> Tree {
    let walked = image.walk().into_iter().filter(|(path, _)| wanted(path));
    walked.map(|(path, ino)| (path, image.file(ino).ok().map(|file| file.content.to_vec()))).collect()
}

/// One mount of a [`SimDisk`]. Clones are the same mount.
#[derive(Clone)]
pub(crate) struct SimVolume {
    handle: Handle,
}

impl SimVolume {
    fn call<T>(
        &self,
        kind: CallKind,
        op: &'static str,
        path: &VolumePath,
        work: impl FnOnce(&mut Medium) -> std::result::Result<T, rustix::io::Errno>,
    ) -> Result<T> {
        self.handle.call(kind, op, path, work)
    }

    fn file(&self, ino: Ino, access: Access, path: &VolumePath) -> Arc<dyn VolumeFile> {
        Arc::new(SimFile::new(self.handle.clone(), ino, access, path))
    }
}

impl fmt::Debug for SimVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimVolume({})", self.handle.generation.0)
    }
}

impl Volume for SimVolume {
    fn kind(&self) -> FsKind {
        self.handle.medium.lock().kind
    }

    fn namespace(&self) -> Namespace {
        match self.kind() {
            FsKind::Atomic => Namespace::Any,
            FsKind::Fat => Namespace::Vfat,
        }
    }

    fn open(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        let ino = self.call(CallKind::Look, "open", path, |medium| medium.open(path))?;
        Ok(self.file(ino, Access::Read, path))
    }

    fn open_cached(&self, path: &VolumePath) -> Result<Option<Arc<dyn VolumeFile>>> {
        let opened = self.handle.cached(|medium| match medium.live.resolve(path)? {
            ino if medium.is_warm(ino) => medium.open(path).map(Some),
            _ => Ok(None),
        });
        let ino = opened.map_err(|errno| classified("open", path, errno))?;
        Ok(ino.flatten().map(|ino| self.file(ino, Access::Read, path)))
    }

    fn create(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        let ino = self.call(CallKind::Name, "create", path, |medium| medium.create(path))?;
        Ok(self.file(ino, Access::Write, path))
    }

    fn open_write(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        let ino = self.call(CallKind::Look, "open", path, |medium| medium.open(path))?;
        Ok(self.file(ino, Access::Write, path))
    }

    fn stat(&self, path: &VolumePath) -> Result<Option<Meta>> {
        self.call(CallKind::Look, "stat", path, |medium| medium.stat(path))
    }

    fn list(&self, path: &VolumePath) -> Result<Listing> {
        self.call(CallKind::Look, "list", path, |medium| medium.list(path))
    }

    fn make_folder(&self, path: &VolumePath) -> Result<()> {
        self.call(CallKind::Name, "make folder", path, |medium| medium.make_folder(path))
    }

    fn rename(&self, from: &VolumePath, to: &VolumePath) -> Result<()> {
        self.call(CallKind::Name, "rename", from, |medium| medium.rename(from, to))?;
        match self.kind() {
            FsKind::Atomic => Ok(()),
            // As the real one: half a move is not left behind.
            FsKind::Fat => self.sync_folder(layout::parent(to)),
        }
    }

    fn replace(&self, from: &VolumePath, to: &VolumePath) -> Result<()> {
        assert_eq!(self.kind(), FsKind::Atomic, "nothing is renamed over a name on FAT: {from} over {to}");
        self.call(CallKind::Name, "replace", from, |medium| medium.replace(from, to))
    }

    fn link(&self, path: &VolumePath, second: &VolumePath) -> Result<()> {
        assert_eq!(self.kind(), FsKind::Atomic, "a file has one name on FAT: {path}, and not {second}");
        self.call(CallKind::Name, "link", second, |medium| medium.link(path, second))
    }

    fn remove_file(&self, path: &VolumePath) -> Result<()> {
        self.call(CallKind::Name, "remove", path, |medium| medium.remove_file(path))
    }

    fn remove_folder(&self, path: &VolumePath) -> Result<()> {
        self.call(CallKind::Name, "remove folder", path, |medium| medium.remove_folder(path))
    }

    fn sync_folder(&self, path: &VolumePath) -> Result<()> {
        self.handle.sync("sync folder", path, Synced::Folder, |medium| medium.sync_folder(path), |_| {})
    }

    fn sync_all(&self) -> Result<()> {
        let sync = |medium: &mut Medium| {
            medium.sync_all();
            Ok(())
        };
        self.handle.sync("sync all", "", Synced::All, sync, |medium| medium.data.clear())
    }

    fn space(&self) -> Result<Space> {
        self.call(CallKind::Look, "space", "", |medium| Ok(medium.space()))
    }

    fn probe(&self) -> Result<()> {
        self.call(CallKind::Probe, "probe", "", |_| Ok(()))
    }

    fn device_work(&self) -> Option<u64> {
        None
    }

    fn mount_point(&self) -> Option<MountPoint> {
        None
    }
}
