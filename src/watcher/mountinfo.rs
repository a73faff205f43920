//! The mount table, as `/proc/self/mountinfo` writes it (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::mirror::os_volume::MountId;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub id: MountId,
    pub parent: MountId,
    /// Where it is, with escapes undone.
    pub place: PathBuf,
    pub fs_type: String,
    /// The block device, for most file systems that have one.
    pub source: String,
    /// Its file system takes no writes, though the mount may say otherwise: ext4 after an error (since Linux 6.15 told
    /// here alone, not by statfs).
    pub is_read_only: bool,
}

/// All mounts of this process's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountTable {
    mounts: Vec<Mount>,
}

impl MountTable {
    /// Reads the kernel's text. A line of another shape is left out: the kernel may add fields, not take them away.
    pub fn parse(text: &[u8]) -> Self {
        Self { mounts: text.split(|byte| *byte == b'\n').filter_map(mount).collect() }
    }

    pub fn get(&self, id: MountId) -> Option<&Mount> {
        self.mounts.iter().find(|mount| mount.id == id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.mounts.iter()
    }

    /// The mount that `path` leads into: the one on top, where several cover it. Links in `path` are not followed.
    pub fn topmost(&self, path: &Path) -> Option<&Mount> {
        // The way the kernel goes: from the root down, at each mount point into what is mounted there. Of two
        // mount points in one mount the shorter is met first, and what it hides is never met.
        let mut at = self.root()?;
        // Each step goes to a child; the limit only guards against a table that is no tree.
        for _ in 0..self.mounts.len() {
            let below = self.children(at.id).filter(|mount| path.starts_with(&mount.place));
            match below.min_by_key(|mount| mount.place.as_os_str().len()) {
                Some(mount) => at = mount,
                None => break,
            }
        }
        Some(at)
    }

    /// Whether a mount of its own begins at `path`.
    pub fn is_mount_point(&self, path: &Path) -> bool {
        self.topmost(path).is_some_and(|mount| mount.place == path)
    }

    fn root(&self) -> Option<&Mount> {
        let is_root = |mount: &&Mount| mount.parent == mount.id || self.get(mount.parent).is_none();
        self.mounts.iter().find(is_root)
    }

    fn children(&self, parent: MountId) -> impl Iterator<Item = &Mount> {
        self.mounts.iter().filter(move |mount| mount.parent == parent && mount.id != parent)
    }
}

/// `36 35 98:0 /root /place rw,noatime shared:1 - ext3 /dev/sda1 rw,errors=remount-ro`
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let place = fields.nth(2)?;
    // Optional fields end in a single dash.
    let mut tail = fields.skip_while(|field| *field != b"-").skip(1);
    let fs_type = String::from_utf8_lossy(tail.next()?).into_owned();
    let source = String::from_utf8_lossy(&unescaped(tail.next()?)).into_owned();
    let mut options = tail.next().unwrap_or_default().split(|byte| *byte == b',');
    let is_read_only = options.any(|option| [b"ro".as_slice(), b"emergency_ro"].contains(&option));
    let place = PathBuf::from(OsString::from_vec(unescaped(place)));
    Some(Mount { id, parent, place, fs_type, source, is_read_only })
}

fn number(field: &[u8]) -> Option<MountId> {
    std::str::from_utf8(field).ok()?.parse().ok().map(MountId)
}

/// Undoes `\040` and its like: space, tab, newline and backslash come as three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, after) =
            match (first, tail.split_first_chunk::<3>().and_then(|(digits, after)| Some((octal(*digits)?, after)))) {
                (b'\\', Some(escape)) => escape,
                _ => (first, tail),
            };
        bytes.push(byte);
        rest = after;
    }
    bytes
}

fn octal(digits: [u8; 3]) -> Option<u8> {
    let text = std::str::from_utf8(&digits).ok()?;
    u8::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    const BEFORE: &[u8] = include_bytes!("../../tests/fixtures/mountinfo/before-pull");
    const AFTER: &[u8] = include_bytes!("../../tests/fixtures/mountinfo/after-pull");
    const RETURNED: &[u8] = include_bytes!("../../tests/fixtures/mountinfo/after-return");
    const COVERED: &[u8] = include_bytes!("../../tests/fixtures/mountinfo/covered");

    fn top(table: &[u8], path: &str) -> (String, String) {
        let table = MountTable::parse(table);
        let mount = table.topmost(Path::new(path)).unwrap();
        (mount.place.to_str().unwrap().to_owned(), mount.source.clone())
    }

    fn pair(place: &str, source: &str) -> (String, String) {
        (place.to_owned(), source.to_owned())
    }

    #[test]
    fn a_file_system_that_takes_no_writes_is_known_by_its_own_options() {
        for (options, is_read_only) in
            [("rw", false), ("ro", true), ("rw,errors=remount-ro", false), ("rw,errors=remount-ro,emergency_ro", true)]
        {
            let line = format!("64 113 7:1 / /mnt/a rw,relatime shared:7 - ext4 /dev/loop1 {options}\n");
            assert_eq!(
                MountTable::parse(line.as_bytes()).iter().next().unwrap().is_read_only,
                is_read_only,
                "{options}"
            );
        }
    }

    #[test]
    fn a_mounted_stick_is_on_top_and_after_the_pull_the_boot_disk_is() {
        assert_eq!(top(BEFORE, "/mnt/b"), pair("/mnt/b", "/dev/loop1"));
        assert_eq!(top(BEFORE, "/mnt/b/deep/down"), pair("/mnt/b", "/dev/loop1"));
        assert_eq!(top(BEFORE, "/mnt/bb"), pair("/", "/dev/vda"));
        assert_eq!(top(AFTER, "/mnt/b"), pair("/", "/dev/vda"));
        assert!(MountTable::parse(BEFORE).is_mount_point(Path::new("/mnt/b")));
        assert!(!MountTable::parse(BEFORE).is_mount_point(Path::new("/mnt/b/deep")));
        assert!(!MountTable::parse(AFTER).is_mount_point(Path::new("/mnt/b")));
        assert_eq!(top(RETURNED, "/mnt/b"), pair("/mnt/b", "/dev/loop1"));
    }

    #[test]
    fn a_space_in_a_mount_point_is_read_back() {
        assert_eq!(top(BEFORE, "/mnt/stick a/x"), pair("/mnt/stick a", "/dev/loop0"));
        assert_eq!(unescaped(br"a\040b\011\134040\8\1"), b"a b\t\\040\\8\\1");
    }

    #[test]
    fn of_two_mounts_on_one_point_the_later_is_on_top() {
        assert_eq!(top(COVERED, "/dev/shm"), pair("/dev/shm", "tmpfs"));
        let table = MountTable::parse(COVERED);
        assert_eq!(table.topmost(Path::new("/dev/shm")).unwrap().id, MountId(60));
    }

    #[test]
    fn a_mount_above_hides_those_below_it() {
        assert_eq!(top(COVERED, "/mnt/b"), pair("/mnt", "/dev/vda"));
        assert_eq!(top(COVERED, "/mnt/stick a"), pair("/mnt", "/dev/vda"));
    }

    #[test]
    fn lines_of_another_shape_and_tables_that_are_no_tree_do_no_harm() {
        let table = MountTable::parse(
            b"rubbish\n1 2\n1 2 0:1 / /a rw - ext4\n5 6 0:1 / / rw - x y z\n6 5 0:1 / / rw - x y z\n",
        );
        assert_eq!(table.iter().count(), 2);
        assert!(table.topmost(Path::new("/a")).is_none());
        assert!(MountTable::default().topmost(Path::new("/")).is_none());
    }
}
