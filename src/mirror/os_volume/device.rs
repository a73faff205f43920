//! What tells one file system, mount and block device from another.

use std::fmt;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Statx, StatxFlags};

/// Names a mount in `/proc/self/mountinfo`; given again only after the mount is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountId(pub u64);

impl fmt::Display for MountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A folder among all that are reachable now: its file system, itself, and the mount it is seen through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub dev: u64,
    pub ino: u64,
    /// `None` on kernels before 5.8.
    pub mount: Option<MountId>,
}

impl Identity {
    /// Of the folder at `place`, without setting off an automount.
    pub fn of_place(place: &Path) -> rustix::io::Result<Self> {
        rustix::fs::statx(CWD, place, AtFlags::NO_AUTOMOUNT, WANTED).map(|statx| Self::of(&statx))
    }

    /// As [`Identity::of_place`], asking whoever serves the file system: waits as long as that does.
    pub fn of_place_now(place: &Path) -> rustix::io::Result<Self> {
        let flags = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_FORCE_SYNC;
        rustix::fs::statx(CWD, place, flags, WANTED).map(|statx| Self::of(&statx))
    }

    pub(super) fn of_handle(handle: impl AsFd) -> rustix::io::Result<Self> {
        rustix::fs::statx(handle, "", AtFlags::EMPTY_PATH, WANTED).map(|statx| Self::of(&statx))
    }

    /// Whether both are the same folder of the same file system, through whichever mount.
    pub fn is_same_folder(self, other: Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    fn of(statx: &Statx) -> Self {
        let has_mount = StatxFlags::from_bits_retain(statx.stx_mask).contains(StatxFlags::MNT_ID);
        Self {
            dev: rustix::fs::makedev(statx.stx_dev_major, statx.stx_dev_minor),
            ino: statx.stx_ino,
            mount: has_mount.then_some(MountId(statx.stx_mnt_id)),
        }
    }
}

const WANTED: StatxFlags = StatxFlags::INO.union(StatxFlags::MNT_ID);

/// The block device below a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// As in `st_dev`; used again for the next stick.
    pub dev: u64,
    /// The disk's number, new at every plug; `None` where there is no disk or the kernel is older than 5.15.
    pub diskseq: Option<u64>,
}

impl Device {
    pub(super) fn of(dev: u64) -> Self {
        // A partition's folder lies in its disk's.
        let diskseq = sysfs(dev, "diskseq").or_else(|| sysfs(dev, "../diskseq"));
        Self { dev, diskseq: diskseq.and_then(|text| text.trim().parse().ok()) }
    }

    /// Whether the kernel has no such block device any more. While a handle holds a pulled stick's file system, its
    /// number is given to no other.
    pub fn is_unplugged(&self) -> bool {
        self.diskseq.is_some() && !Path::new(&sysfs_folder(self.dev)).exists()
    }
}

/// What a block device has completed up to one moment, to compare only.
///
/// Requests and sectors of reads, writes and discards, and flushes. The kernel's times are left out: they go on
/// while a request hangs. Kernels before 5.5 do not count all of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockStat(Vec<u64>);

/// Where the counters of completed work are among those of the kernel's Documentation/block/stat.rst, from 0.
const COMPLETED: [usize; 7] = [0, 2, 4, 6, 11, 13, 15];

impl BlockStat {
    pub(super) fn of(dev: u64) -> Option<Self> {
        sysfs(dev, "stat").map(|text| Self::parse(&text))
    }

    /// All together: as each only rises, it changes with any of them.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().fold(0, |total, counter| total.wrapping_add(*counter))
    }

    fn parse(text: &str) -> Self {
        let counters: Vec<_> = text.split_ascii_whitespace().collect();
        Self(COMPLETED.iter().filter_map(|at| counters.get(*at)?.parse().ok()).collect())
    }
}

/// Where in the same file the number of requests under way is, from 0.
const UNDER_WAY: usize = 8;

/// What a block device has completed, and whether something is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub done: BlockStat,
    under_way: u64,
}

impl Standing {
    /// `None` where there is no block device.
    pub fn of(dev: u64) -> Option<Self> {
        sysfs(dev, "stat").map(|text| Self::parse(&text))
    }

    /// Whether requests are under way.
    pub fn is_asked(&self) -> bool {
        self.under_way > 0
    }

    pub(crate) fn parse(text: &str) -> Self {
        let under_way = text.split_ascii_whitespace().nth(UNDER_WAY).and_then(|count| count.parse().ok());
        Self { done: BlockStat::parse(text), under_way: under_way.unwrap_or(0) }
    }
}

fn sysfs(dev: u64, name: &str) -> Option<String> {
    fs::read_to_string(format!("{}/{name}", sysfs_folder(dev))).ok()
}

fn sysfs_folder(dev: u64) -> String {
    let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
    format!("/sys/dev/block/{major}:{minor}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]

    use super::*;

    const IDLE: &str = "  120  5  4096  30  200  7  8192  90  0  110  125  3  0  64  2  9  4\n";

    #[test]
    fn a_block_device_that_is_gone_is_unplugged_and_a_folder_never_is() {
        let dev = rustix::fs::makedev(4095, 1_048_575);
        assert!(Device { dev, diskseq: Some(3) }.is_unplugged());
        assert!(!Device { dev, diskseq: None }.is_unplugged());
    }

    #[test]
    fn time_that_passes_while_a_request_hangs_is_no_progress() {
        let hung = "  120  6  4096  31  200  8  8192  95  2  2110  4125  3  1  64  3  9  5\n";
        assert_eq!(BlockStat::parse(IDLE), BlockStat::parse(hung));
    }

    #[test]
    fn whatever_completes_is_progress() {
        for at in COMPLETED {
            let mut counters: Vec<_> = IDLE.split_ascii_whitespace().collect();
            counters[at] = "100000";
            assert_ne!(BlockStat::parse(IDLE), BlockStat::parse(&counters.join(" ")), "{at}");
        }
    }

    #[test]
    fn an_older_kernel_has_fewer_counters() {
        let before = BlockStat::parse("120 5 4096 30 200 7 8192 90 0 110 125");
        assert_eq!(before, BlockStat::parse("120 5 4096 30 200 7 8192 90 1 1110 1125"));
        assert_ne!(before, BlockStat::parse("121 5 4096 30 200 7 8192 90 0 110 125"));
    }
}
