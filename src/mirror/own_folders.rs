//! A drive's own folders stay: one that somebody deleted under the daemon is made again by whatever call misses it.
//!
//! They are made when a drive comes, and all else takes it that they are there. Of what was in one nothing is believed to
//! be there for that: each copy is found missing when it is looked for.

use std::fmt;
use std::sync::Arc;

use crate::mirror::layout;
use crate::mirror::os_volume::MountPoint;
use crate::mirror::volume::{
    Disposition, FileKind, FsKind, Listing, Meta, Result, Space, Volume, VolumeFile, VolumePath,
};
use crate::namespace::Namespace;
use crate::path::OWN_FOLDER;

/// A drive whose own folders are there, but for the one with its label: without that it is no drive of the mirror's.
pub(crate) struct OwnFolders {
    inner: Arc<dyn Volume>,
}

impl OwnFolders {
    pub(crate) fn new(inner: Arc<dyn Volume>) -> Self {
        Self { inner }
    }

    /// Does what needs `folder`, and once more where it was one of the drive's own and had vanished.
    fn within<T>(&self, folder: &VolumePath, call: impl Fn() -> Result<T>) -> Result<T> {
        match call() {
            Err(error) if error.disposition == Disposition::NotFound && self.makes_again(folder)? => call(),
            answer => answer,
        }
    }

    /// Makes one of the drive's own folders, durably; false where it is none, or there.
    fn makes_again(&self, folder: &VolumePath) -> Result<bool> {
        if folder == OWN_FOLDER || !layout::OWN_FOLDERS.contains(&folder) || !self.has_label_folder()? {
            return Ok(false);
        }
        if self.inner.stat(folder)?.is_some() {
            return Ok(false);
        }
        tracing::warn!(folder, "somebody deleted one of the drive's own folders: it is made again");
        match self.inner.make_folder(folder) {
            // Another thread was faster.
            Err(error) if error.disposition != Disposition::InTheWay => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.inner.sync_folder(OWN_FOLDER)?;
        Ok(true)
    }

    fn has_label_folder(&self) -> Result<bool> {
        Ok(self.inner.stat(OWN_FOLDER)?.is_some_and(|meta| meta.kind == FileKind::Folder))
    }
}

impl fmt::Debug for OwnFolders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnFolders").field(&self.inner).finish()
    }
}

impl Volume for OwnFolders {
    fn kind(&self) -> FsKind {
        self.inner.kind()
    }

    fn namespace(&self) -> Namespace {
        self.inner.namespace()
    }

    fn open(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        self.inner.open(path)
    }

    fn open_cached(&self, path: &VolumePath) -> Result<Option<Arc<dyn VolumeFile>>> {
        self.inner.open_cached(path)
    }

    fn create(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        self.within(layout::parent(path), || self.inner.create(path))
    }

    fn open_write(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        self.inner.open_write(path)
    }

    fn stat(&self, path: &VolumePath) -> Result<Option<Meta>> {
        self.inner.stat(path)
    }

    fn list(&self, path: &VolumePath) -> Result<Listing> {
        self.within(path, || self.inner.list(path))
    }

    fn make_folder(&self, path: &VolumePath) -> Result<()> {
        self.within(layout::parent(path), || self.inner.make_folder(path))
    }

    fn rename(&self, from: &VolumePath, to: &VolumePath) -> Result<()> {
        self.within(layout::parent(to), || self.inner.rename(from, to))
    }

    fn replace(&self, from: &VolumePath, to: &VolumePath) -> Result<()> {
        self.inner.replace(from, to)
    }

    fn link(&self, path: &VolumePath, second: &VolumePath) -> Result<()> {
        self.within(layout::parent(second), || self.inner.link(path, second))
    }

    fn remove_file(&self, path: &VolumePath) -> Result<()> {
        self.inner.remove_file(path)
    }

    fn remove_folder(&self, path: &VolumePath) -> Result<()> {
        self.inner.remove_folder(path)
    }

    fn keep_folders(&self) {
        self.inner.keep_folders();
    }

    fn release_folders(&self) {
        self.inner.release_folders();
    }

    // Nothing was synced of a folder that is not found, so that this is no second try of a failed sync.
    fn sync_folder(&self, path: &VolumePath) -> Result<()> {
        self.within(path, || self.inner.sync_folder(path))
    }

    fn sync_all(&self) -> Result<()> {
        self.inner.sync_all()
    }

    fn space(&self) -> Result<Space> {
        self.inner.space()
    }

    fn probe(&self) -> Result<()> {
        self.inner.probe()
    }

    fn device_work(&self) -> Option<u64> {
        self.inner.device_work()
    }

    fn mount_point(&self) -> Option<MountPoint> {
        self.inner.mount_point()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::mirror::sim_volume::SimDisk;

    type Call = fn(&dyn Volume, &str) -> Result<()>;

    const CALLS: [Call; 6] = [
        |volume, folder| volume.create(&layout::join(folder, "new")).map(drop),
        |volume, folder| volume.make_folder(&layout::join(folder, "new")),
        |volume, folder| volume.rename("f", &layout::join(folder, "new")),
        |volume, folder| volume.link("f", &layout::join(folder, "new")),
        |volume, folder| volume.list(folder).map(drop),
        |volume, folder| volume.sync_folder(folder),
    ];

    /// A mounted drive with a file `f` and its own folder, without those in it.
    fn bare() -> (SimDisk, Arc<dyn Volume>) {
        let disk = SimDisk::new(FsKind::Atomic, 1 << 20);
        let volume = disk.mount().unwrap();
        volume.make_folder(OWN_FOLDER).unwrap();
        volume.create("f").unwrap();
        volume.sync_folder("").unwrap();
        (disk, Arc::new(volume))
    }

    #[test]
    fn an_own_folder_that_somebody_deleted_is_made_again_by_the_call_that_misses_it_and_outlasts_a_power_cut() {
        for folder in layout::OWN_FOLDERS.into_iter().filter(|folder| *folder != OWN_FOLDER) {
            for (nth, call) in CALLS.iter().enumerate() {
                let (disk, volume) = bare();
                assert_eq!(
                    call(volume.as_ref(), folder).map_err(|error| error.disposition),
                    Err(Disposition::NotFound),
                    "{folder} {nth}"
                );
                call(&OwnFolders::new(volume), folder).unwrap();
                disk.pull();
                let after = disk.reinsert(&mut |_| 0);
                assert!(after.stat(folder).unwrap().is_some(), "{folder} {nth}");
            }
        }
    }

    #[test]
    fn no_other_folder_is_made_nor_the_one_with_the_label() {
        let (_disk, volume) = bare();
        let own = OwnFolders::new(Arc::clone(&volume));
        volume.remove_folder(OWN_FOLDER).unwrap();
        for folder in [OWN_FOLDER, layout::TRASH_FOLDER, "d", "d/.twinstick/trash"] {
            for call in CALLS {
                let error = call(&own, folder).unwrap_err();
                assert_eq!(error.disposition, Disposition::NotFound, "{folder}: {error}");
            }
        }
        assert_eq!(volume.list("").unwrap().names, ["f"]);
    }

    #[test]
    fn what_is_missing_itself_stays_missing() {
        let (_disk, volume) = bare();
        let own = OwnFolders::new(volume);
        own.list(layout::TRASH_FOLDER).unwrap();
        let error = own.rename("gone", &layout::join(layout::TRASH_FOLDER, "x")).unwrap_err();
        assert_eq!(error.disposition, Disposition::NotFound);
    }
}
