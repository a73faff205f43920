//! Unmounting a drive that nothing is open on any more.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::mirror::os_volume::{Identity, MountId, OsVolume};

/// How often it is tried while somebody has it open: the watcher lets go of it at about the same time.
const TRIES_MAX: u32 = 60;
const TRY_AFTER: Duration = Duration::from_millis(50);

/// What became of a drive's mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmounted {
    Done,
    /// It is no mount of its own, or is not mounted any more.
    Nothing,
    /// It still is, and why.
    Refused(String),
}

/// Where a drive is mounted. Holds nothing open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    place: PathBuf,
    identity: Identity,
}

impl MountPoint {
    pub(super) fn of(volume: &OsVolume) -> Self {
        Self { place: volume.place().to_owned(), identity: volume.identity() }
    }

    /// Unmounts it if it is that mount still, and if that would be so for everybody. Blocks while its file system is
    /// written out.
    pub fn unmount(&self) -> Unmounted {
        let Some(id) = self.own_mount() else { return Unmounted::Nothing };
        if is_copy(id) {
            // Below systemd's sandbox: the stick would stay mounted outside of it.
            return Unmounted::Refused("it has a mount table of its own, as a service does".to_owned());
        }
        for _ in 0..TRIES_MAX {
            match rustix::mount::unmount(&self.place, UnmountFlags::NOFOLLOW) {
                Ok(()) => return Unmounted::Done,
                Err(Errno::BUSY) => std::thread::sleep(TRY_AFTER),
                Err(Errno::PERM) => return Unmounted::Refused("only root may".to_owned()),
                Err(errno) => return Unmounted::Refused(errno.to_string()),
            }
        }
        Unmounted::Refused("somebody else has something on it open".to_owned())
    }

    /// What the mount table has of it; `None` where it is not there. Asks nothing of the drive.
    pub(crate) fn entry(&self) -> Option<MountEntry> {
        let id = self.identity.mount?;
        mount_table().lines().filter_map(MountEntry::parse).find(|entry| entry.id == id)
    }

    /// The number of the mount, if that begins there and is still the drive's.
    fn own_mount(&self) -> Option<MountId> {
        let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
        let statx =
            rustix::fs::statx(CWD, &self.place, AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW, wanted).ok()?;
        let begins_there = statx.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        let is_same = Identity::of_place(&self.place).is_ok_and(|identity| identity == self.identity);
        self.identity.mount.filter(|_| begins_there && is_same)
    }
}

/// Whether a mount only follows one in another mount table (`master:` in proc_pid_mountinfo(5)).
fn is_copy(id: MountId) -> bool {
    mount_table().lines().any(|line| is_copy_line(line, id))
}

fn mount_table() -> String {
    std::fs::read_to_string(Path::new("/proc/self/mountinfo")).unwrap_or_default()
}

/// A mount that is there, to be known again. Its number alone is given again once it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountEntry {
    id: MountId,
    /// The device's numbers, and what of it is mounted, as the table has them.
    device: String,
    root: String,
}

impl MountEntry {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let id = MountId(fields.next()?.parse().ok()?);
        Some(Self { id, device: fields.nth(1)?.to_owned(), root: fields.next()?.to_owned() })
    }

    /// Whether the mount is there still. Asks nothing of the drive.
    pub(crate) fn is_there(&self) -> bool {
        mount_table().lines().filter_map(Self::parse).any(|entry| entry == *self)
    }
}

fn is_copy_line(line: &str, id: MountId) -> bool {
    let mut fields = line.split(' ');
    let is_it = fields.next().and_then(|field| field.parse().ok()) == Some(id.0);
    is_it && fields.skip(5).take_while(|field| *field != "-").any(|field| field.starts_with("master:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_follows_another_tables_is_told_from_ones_own() {
        let copy = "36 35 8:1 / /mnt/b rw,noatime shared:7 master:1 - ext4 /dev/sda1 rw";
        let own = "37 35 8:1 / /mnt/master:1 rw,noatime shared:7 - ext4 /dev/sda1 rw";
        assert!(is_copy_line(copy, MountId(36)));
        assert!(!is_copy_line(copy, MountId(37)));
        assert!(!is_copy_line(own, MountId(37)));
    }

    #[test]
    fn a_mount_whose_number_another_one_has_is_not_there() {
        let entry = |line| MountEntry::parse(line).unwrap();
        let stick = entry("36 35 8:1 / /mnt/b rw,noatime shared:7 - ext4 /dev/sda1 rw");
        assert_eq!(stick, entry("36 35 8:1 / /mnt/b ro - ext4 /dev/sda1 ro"));
        assert_ne!(stick, entry("36 35 8:17 / /mnt/b rw,noatime shared:7 - ext4 /dev/sdb1 rw"));
        assert_eq!(MountEntry::parse("nonsense"), None);
    }

    #[test]
    fn a_plain_folder_is_not_unmounted() {
        let folder = tempfile::tempdir().unwrap();
        let volume = OsVolume::open(folder.path()).unwrap();
        assert_eq!(MountPoint::of(&volume).unmount(), Unmounted::Nothing);
    }
}
