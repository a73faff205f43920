//! A small boot disk that can be filled up.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::freeze::Frozen;
use crate::namespace::{attempt, tool};
use crate::stick::shut_down;
use crate::wait::wait_until;

/// What one write of junk takes.
const JUNK_BYTES: usize = 64 << 10;

/// An ext4 file system of its own in an image file, mounted.
pub struct BootDisk {
    root: PathBuf,
    image: PathBuf,
}

impl BootDisk {
    pub(crate) fn new(dir: &Path, bytes: u64) -> Self {
        let (root, image) = (dir.join("boot"), dir.join("boot.img"));
        fs::create_dir(&root).expect("a new folder");
        File::create(&image).and_then(|file| file.set_len(bytes)).expect("a new image");
        attempt(tool("mkfs.ext4").args(["-q", "-F"]).arg(&image)).expect("mkfs.ext4");
        attempt(tool("mount").args(["-o", "loop"]).arg(&image).arg(&root)).expect("mount -o loop");
        Self { root, image }
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// Cuts its power: what was not synced is lost, and all operations fail until [`BootDisk::power_on`].
    pub fn power_off(&self) {
        shut_down(&self.root);
    }

    /// Mounts it again; nobody may use it any more.
    pub fn power_on(&self) {
        wait_until("the dead boot disk is let go of", || attempt(tool("umount").arg(&self.root)).is_ok());
        wait_until("the boot disk can be mounted", || {
            attempt(tool("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.root)).is_ok()
        });
    }

    /// Fills it to the last block with a junk file.
    pub fn fill(&self) {
        let mut junk = File::create(self.junk()).expect("a junk file");
        let mut len = JUNK_BYTES;
        while len > 0 {
            match junk.write(&vec![0x6a; len]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => len /= 2,
                Err(error) => panic!("the boot disk: {error}"),
            }
        }
        // What counts as free is not known before the blocks are given out.
        junk.sync_all().expect("the junk is written");
    }

    /// Removes the junk.
    pub fn make_room(&self) {
        fs::remove_file(self.junk()).expect("it was filled");
    }

    /// Lets nothing be written until it is dropped: writers wait, in the kernel, as on a disk that hangs.
    pub fn freeze(&self) -> Frozen {
        Frozen::new(&self.root)
    }

    fn junk(&self) -> PathBuf {
        self.root.join("junk")
    }
}

impl Drop for BootDisk {
    fn drop(&mut self) {
        // Nothing worse than a mount in a namespace that ends soon is left behind.
        let _ = attempt(tool("umount").arg("-l").arg(&self.root));
    }
}
