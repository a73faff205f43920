//! A file system whose every call can be made to go wrong: FUSE over a folder, with nothing cached above it.

mod nodes;
mod passthrough;
mod switch;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::BackgroundSession;
use rustix::mount::UnmountFlags;

use self::passthrough::Passthrough;
pub(crate) use self::switch::Switch;
pub use self::switch::{Call, Class, Fault, Site};
use crate::freeze::Stopped;
use crate::wait::wait_until;

/// A medium of files in a folder, to be mounted where a drive belongs.
///
/// A sync does nothing: what is lost on this medium is lost by its own word alone.
pub struct Faulty {
    backing: PathBuf,
    base: PathBuf,
    switch: Arc<Switch>,
    _session: BackgroundSession,
}

impl Faulty {
    /// Serves a new folder `<name>.files` of `dir` at `<name>.fuse`.
    #[track_caller]
    pub fn new(dir: &Path, name: &str) -> Self {
        let (backing, base) = (dir.join(format!("{name}.files")), dir.join(format!("{name}.fuse")));
        for folder in [&backing, &base] {
            fs::create_dir(folder).expect("a new folder");
        }
        let switch = Arc::new(Switch::default());
        let files = Passthrough::new(backing.clone(), Arc::clone(&switch));
        let session = fuser::spawn_mount(files, &base, &fuser::Config::default()).expect("a FUSE mount");
        Self { backing, base, switch, _session: session }
    }

    /// The files themselves, past all faults.
    pub fn files(&self) -> &Path {
        &self.backing
    }

    /// Where it is mounted for itself.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Plugs it in at a folder.
    #[track_caller]
    pub fn mount(&self, place: &Path) {
        rustix::mount::mount_bind(&self.base, place).expect("mount --bind");
    }

    /// Pulls it from a folder, whoever uses it.
    #[track_caller]
    pub fn unmount(place: &Path) {
        rustix::mount::unmount(place, UnmountFlags::DETACH).expect("umount -l");
    }

    /// Counts calls from now on, and lets the given one go wrong.
    pub fn arm(&self, plan: Option<(Site, Fault)>) {
        self.switch.arm(plan);
    }

    /// Whether the armed call came.
    pub fn has_fired(&self) -> bool {
        self.switch.has_fired()
    }

    /// Calls since it was armed.
    pub fn counted(&self) -> u32 {
        self.switch.counted()
    }

    /// Calls of one kind since it was armed.
    pub fn count(&self, call: Call, class: Class) -> u32 {
        self.switch.count(call, class)
    }

    /// Ends counting; all sites that there were.
    pub fn disarm(&self) -> Vec<Site> {
        self.switch.disarm()
    }

    /// From now on all calls of these kinds fail so.
    pub fn fail_all(&self, standing: Vec<(&'static [Call], rustix::io::Errno)>) {
        self.switch.set_standing(standing);
    }

    /// From now on all calls wait.
    pub fn hang(&self) {
        self.switch.set_hanging();
    }

    /// As [`Faulty::hang`], until what this gives is dropped.
    pub fn stop(&self) -> Stopped {
        Stopped::new(Arc::clone(&self.switch))
    }

    /// Everything works again, and what hung goes on.
    pub fn revive(&self) {
        self.switch.revive();
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.revive();
        // Fails where it is gone already, which is as good.
        let _ = rustix::mount::unmount(&self.base, UnmountFlags::DETACH);
    }
}

/// Lets every daemon of this mount namespace look at its mounts anew.
pub fn stir_mounts(dir: &Path) {
    let place = dir.join("stirred");
    let _ = fs::create_dir(&place);
    rustix::mount::mount_bind(&place, &place).expect("mount --bind");
    wait_until("it can be unmounted", || rustix::mount::unmount(&place, UnmountFlags::DETACH).is_ok());
}
