//! Folders that stay open from one name to the next, within a step of a lane.
//!
//! To find a folder anew for each of the thousand names that a step gives in it is a third of what the kernel is asked.
//! Somebody else may move a folder under the daemon, and what is done through its handle goes with it: as if they had
//! moved it a moment later. So handles live no longer than that moment: until the next sync, the end of the step, or
//! until something was not found.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::mirror::volume::VolumePath;

/// Folders kept at once, each a descriptor: names come folder by folder.
const FOLDERS_MAX: usize = 4;

type Folders = Vec<(String, Arc<OwnedFd>)>;

/// Handles of folders, by path; `None` while none may be kept.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<Folders>>);

impl Kept {
    /// From now on folders may be kept.
    pub(super) fn begin(&self) {
        self.0.lock().get_or_insert_default();
    }

    /// Lets go of all, and keeps no more.
    pub(super) fn end(&self) {
        let folders = self.0.lock().take();
        drop(folders);
    }

    /// Lets go of those that are kept by now.
    pub(super) fn forget(&self) {
        let folders = self.0.lock().as_mut().map(std::mem::take);
        drop(folders);
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.lock().is_some()
    }

    /// The folder at `path`, opened by `open` unless it is kept.
    pub(super) fn get(
        &self,
        path: &VolumePath,
        open: impl FnOnce() -> rustix::io::Result<OwnedFd>,
    ) -> rustix::io::Result<Arc<OwnedFd>> {
        if let Some(kept) = self.find(path) {
            return Ok(kept);
        }
        let opened = Arc::new(open()?);
        let mut folders = self.0.lock();
        let mut left = None;
        if let Some(folders) = folders.as_mut() {
            if folders.len() >= FOLDERS_MAX {
                left = Some(folders.remove(0));
            }
            folders.push((path.to_owned(), Arc::clone(&opened)));
        }
        drop(folders);
        // Not under the lock: it may be the last handle.
        drop(left);
        Ok(opened)
    }

    fn find(&self, path: &VolumePath) -> Option<Arc<OwnedFd>> {
        let folders = self.0.lock();
        let (_, folder) = folders.as_ref()?.iter().find(|(kept, _)| kept == path)?;
        Some(Arc::clone(folder))
    }
}
