//! File systems in images, mounted wherever a test wants them.

use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::namespace::{attempt, tool};
use crate::wait::wait_until;

/// Makes a blank ext4 file system in a new image file. Nothing of it is left to be made in the background.
pub fn make_image(image: &Path, bytes: u64) {
    File::create(image).and_then(|file| file.set_len(bytes)).expect("a new image");
    let whole = ["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
    attempt(tool("mkfs.ext4").args(whole).arg(image)).expect("mkfs.ext4");
}

/// A mount of a test's own; gone when dropped.
pub struct Mounted {
    place: PathBuf,
}

impl Mounted {
    /// Mounts an image at a folder, which is made if there is none.
    #[track_caller]
    pub fn image(image: &Path, place: &Path, options: &str) -> Self {
        let options = format!("loop,{options}");
        Self::mount(tool("mount").args(["-o", &options]).arg(image), place)
    }

    /// As [`Mounted::image`], through a loop device of this number.
    #[track_caller]
    pub fn image_through(device: u64, image: &Path, place: &Path) -> Self {
        let device = format!("/dev/loop{device}");
        wait_until("the loop device is free", || attempt(tool("losetup").arg(&device).arg(image)).is_ok());
        let mounted = Self::mount(tool("mount").arg(&device), place);
        // While it is mounted this only says that nobody else wants it.
        attempt(tool("losetup").args(["-d", &device])).expect("losetup -d");
        mounted
    }

    /// Mounts an image read-only, so that it can be mounted writable again where it is.
    #[track_caller]
    pub fn read_only(image: &Path, place: &Path) -> Self {
        fs::create_dir_all(place).expect("a mount point");
        // With the option `loop` the device would be read-only too.
        let device = tool("losetup").args(["-f", "--show"]).arg(image).output().expect("losetup");
        assert!(device.status.success(), "losetup: {}", String::from_utf8_lossy(&device.stderr));
        let device = String::from_utf8_lossy(&device.stdout).trim().to_owned();
        let mounted = Self::mount(tool("mount").args(["-o", "ro"]).arg(&device), place);
        attempt(tool("losetup").args(["-d", &device])).expect("losetup -d");
        mounted
    }

    /// Shows a folder at another one.
    #[track_caller]
    pub fn bind(folder: &Path, place: &Path) -> Self {
        Self::mount(tool("mount").arg("--bind").arg(folder), place)
    }

    #[track_caller]
    fn mount(command: &mut std::process::Command, place: &Path) -> Self {
        fs::create_dir_all(place).expect("a mount point");
        let command = command.arg(place);
        // An image that was unmounted lazily stays in use until everybody has let go of it.
        wait_until("it can be mounted", || attempt(command).is_ok());
        Self { place: place.to_owned() }
    }

    pub fn place(&self) -> &Path {
        &self.place
    }

    /// The number of the loop device below.
    pub fn device(&self) -> u64 {
        loop_device(&self.place)
    }

    /// Mounts it with other options, where it is.
    #[track_caller]
    pub fn remount(&self, options: &str) {
        remount(&self.place, options);
    }

    /// Unmounts it in good order; panics if somebody keeps it busy.
    #[track_caller]
    pub fn unmount(self) {
        wait_until("nobody keeps it busy, so that it can be unmounted", || {
            attempt(tool("umount").arg(&self.place)).is_ok()
        });
    }

    /// Writes everything to the image.
    pub fn sync(&self) {
        let root = File::open(&self.place).expect("a mounted folder");
        rustix::fs::syncfs(root).expect("a file system that works");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Fails where it was unmounted, which is as good.
        drop(attempt(tool("umount").arg("-l").arg(&self.place)));
    }
}

/// Mounts what is at `place` with other options.
#[track_caller]
pub fn remount(place: &Path, options: &str) {
    attempt(tool("mount").args(["-o", &format!("remount,{options}")]).arg(place)).expect("mount -o remount");
}

/// The number of the loop device that is mounted there.
pub fn loop_device(place: &Path) -> u64 {
    let dev = fs::metadata(place).expect("a mounted folder").dev();
    u64::from(rustix::fs::minor(dev))
}

/// Where on an image's bytes the data of a file is, once it is synced.
#[track_caller]
pub fn blocks_of(image: &Path, name: &str) -> Vec<Range<u64>> {
    let ask = |question: &str| {
        let output = tool("debugfs").args(["-R", question]).arg(image).output().expect("debugfs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let stats = ask("stats -h");
    let size = stats.lines().find_map(|line| line.strip_prefix("Block size:")).expect("a block size");
    let size: u64 = size.trim().parse().expect("a number");
    let blocks = ask(&format!("blocks {name}"));
    let blocks: Vec<u64> = blocks.split_whitespace().map(|block| block.parse().expect("a number")).collect();
    assert!(!blocks.is_empty(), "{name} has no blocks");
    blocks.into_iter().map(|block| block * size..(block + 1) * size).collect()
}

/// Has a loop-mounted drive behave as a stick does: it has all its blocks, and what is synced on it waits for nothing that
/// only the machine below has in its cache.
#[track_caller]
pub fn fill_and_bypass(place: &Path) {
    let device = format!("/dev/loop{}", loop_device(place));
    attempt(tool("losetup").args(["--direct-io=on", &device])).expect("losetup");
    let path = place.join("fill");
    let mut file = File::create(&path).expect("a new file");
    let zeros = vec![0; 1 << 20];
    while file.write_all(&zeros).is_ok() {}
    // It is full, as it should be.
    drop(file.sync_all());
    drop(file);
    fs::remove_file(path).expect("the file is there");
    attempt(tool("sync").arg("-f").arg(place)).expect("sync");
}

/// Forgets what the kernel has cached of a file, so that the next read asks the medium.
#[track_caller]
pub fn forget_cached(path: &Path) {
    let file = File::open(path).expect("a file");
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advice");
}
