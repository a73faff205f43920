//! A real drive: every system call that changes one is made here and in the files below.
//!
//! All names are resolved by the kernel below the root handle opened at arrival, never through a link or into
//! another mount, so that nothing can be written beside the drive, wherever its mount point leads meanwhile.

mod device;
mod errno;
mod fat;
mod file;
mod kept;
mod lock;
mod probe;
mod syncs;
mod unmount;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, ResolveFlags, StatVfsMountFlags, StatxAttributes, StatxFlags,
};
use rustix::io::Errno;

pub use self::device::{BlockStat, Device, Identity, MountId, Standing};
use self::errno::Act;
use self::file::OsFile;
use self::kept::Kept;
pub use self::lock::{DriveLock, LOCK_PATH, LockError};
use self::syncs::Syncs;
pub(crate) use self::unmount::MountEntry;
pub use self::unmount::{MountPoint, Unmounted};
use crate::mirror::layout;
use crate::mirror::volume::{FileKind, FsKind, Listing, Meta, Observed, Result, Space, Volume, VolumeFile, VolumePath};
use crate::namespace::Namespace;

/// Statfs magic of vfat (linux/magic.h).
const MSDOS_MAGIC: i64 = 0x4d44;
/// Statfs magic of exfat (linux/magic.h).
const EXFAT_MAGIC: i64 = 0x2011_BAB0;
/// Statfs magics (linux/magic.h) of the other file systems that open a file whose name is cached without asking anybody:
/// ext4, btrfs, xfs, f2fs, tmpfs, and overlayfs above one of these. RESOLVE_CACHED is about the look-up alone: FUSE sends
/// an open, and a flush at the close, to its server, and waits for it.
const QUICK_MAGICS: [i64; 6] = [0xEF53, 0x9123_683E, 0x5846_5342, 0xF2F5_2010, 0x0102_1994, 0x794C_7630];

/// Bytes of a path that one call takes: `PATH_MAX` less its NUL (linux/limits.h).
const CALL_BYTES_MAX: usize = 4095;

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_XDEV)
    .union(ResolveFlags::NO_MAGICLINKS);
const PLAIN: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW);
// NONBLOCK: opening a fifo that somebody left on the stick must not hang. Files and folders ignore it.
const READ: OFlags = PLAIN.union(OFlags::RDONLY).union(OFlags::NONBLOCK);
const FOLDER: OFlags = PLAIN.union(OFlags::RDONLY).union(OFlags::DIRECTORY);
/// A folder to go on from.
const WAY: OFlags = PLAIN.union(OFlags::PATH).union(OFlags::DIRECTORY);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// A mounted file system (or a plain folder) as a drive.
pub struct OsVolume {
    /// Also the descriptor of `sync_all`: syncfs reports each write-back error once to every descriptor that was
    /// open when it happened (Linux 5.8), so it lives as long as the volume.
    root: OwnedFd,
    place: PathBuf,
    identity: Identity,
    kind: FsKind,
    namespace: Namespace,
    cache: Cache,
    syncs: Syncs,
    kept: Kept,
}

/// Whether the page cache is asked without asking the drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    Asked,
    /// That could block, or nobody knows.
    LeftAlone,
}

impl OsVolume {
    /// Opens the folder at `root` as a drive, whatever it holds: the label decides whether it is one.
    pub fn open(root: &Path) -> io::Result<Self> {
        let place = std::path::absolute(root)?;
        let handle = without_atime(OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, |flags| {
            rustix::fs::openat(CWD, &place, flags, Mode::empty())
        })?;
        let identity = Identity::of_handle(&handle)?;
        let magic = rustix::fs::fstatfs(&handle)?.f_type;
        #[expect(clippy::useless_conversion, reason = "f_type is narrower on 32-bit machines")]
        let (kind, namespace, cache) = match i64::from(magic) {
            MSDOS_MAGIC => (FsKind::Fat, Namespace::Vfat, Cache::Asked),
            EXFAT_MAGIC => (FsKind::Fat, Namespace::Exfat, Cache::Asked),
            magic if QUICK_MAGICS.contains(&magic) => (FsKind::Atomic, Namespace::Any, Cache::Asked),
            _ => (FsKind::Atomic, Namespace::Any, Cache::LeftAlone),
        };
        Ok(Self {
            root: handle,
            place,
            identity,
            kind,
            namespace,
            cache,
            syncs: Syncs::of(kind),
            kept: Kept::default(),
        })
    }

    /// Where it was opened.
    pub fn place(&self) -> &Path {
        &self.place
    }

    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The block device below, as the kernel tells it now.
    pub fn device(&self) -> Device {
        Device::of(self.identity.dev)
    }

    /// The block device's counters; `None` where there is no block device. Equal ones mean that nothing moved.
    pub fn block_stat(&self) -> Option<BlockStat> {
        BlockStat::of(self.identity.dev)
    }

    /// Whether its file system or its mount takes no writes.
    pub fn is_read_only(&self) -> Result<bool> {
        let stat = rustix::fs::fstatvfs(&self.root).map_err(Act::Probe.of("statfs", ""))?;
        Ok(stat.f_flag.contains(StatVfsMountFlags::RDONLY))
    }

    /// Takes the drive for this process until the lock is dropped. `holder` tells others who has it.
    pub fn lock(&self, holder: &str) -> std::result::Result<DriveLock, LockError> {
        DriveLock::take(self, holder)
    }

    /// Takes the drive as [`OsVolume::lock`] does, without writing to it; `None` where it has no lock, since nobody
    /// ever served it.
    pub fn hold(&self) -> std::result::Result<Option<DriveLock>, LockError> {
        DriveLock::hold(self)
    }

    /// Names in a folder, in no order, also those that are not UTF-8.
    pub fn names(&self, path: &VolumePath) -> Result<Vec<OsString>> {
        self.raw_names(path).map_err(Act::Look.of("list", path))
    }

    fn open_below(
        &self,
        path: &VolumePath,
        flags: OFlags,
        mode: Mode,
        resolve: ResolveFlags,
    ) -> rustix::io::Result<OwnedFd> {
        // Others can pile up folders as they like: a longer path than the kernel takes leads somewhere all the same.
        let (mut above, mut rest) = (None, path);
        while rest.len() > CALL_BYTES_MAX {
            let piece = rest.get(..rest.floor_char_boundary(CALL_BYTES_MAX)).unwrap_or_default();
            let (piece, _) = piece.rsplit_once('/').ok_or(Errno::NAMETOOLONG)?;
            let folder = above.as_ref().unwrap_or(&self.root);
            above = Some(rustix::fs::openat2(folder, piece, WAY, Mode::empty(), BENEATH | resolve)?);
            rest = rest.get(piece.len() + 1..).unwrap_or_default();
        }
        let path = if rest.is_empty() { "." } else { rest };
        rustix::fs::openat2(above.as_ref().unwrap_or(&self.root), path, flags, mode, BENEATH | resolve)
    }

    fn open_to_read(&self, path: &VolumePath, resolve: ResolveFlags) -> rustix::io::Result<OsFile> {
        let handle = without_atime(READ, |flags| self.open_below(path, flags, Mode::empty(), resolve))?;
        OsFile::of(handle, path, (self.kind, &self.syncs))
    }

    fn open_folder(&self, path: &VolumePath) -> rustix::io::Result<OwnedFd> {
        without_atime(FOLDER, |flags| self.open_below(path, flags, Mode::empty(), ResolveFlags::empty()))
    }

    /// The folder that holds `path`'s last name, to work in relative to it, and that name.
    fn parent<'a>(&self, path: &'a VolumePath) -> rustix::io::Result<(Arc<OwnedFd>, &'a str)> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        // The kernel would take these for the folder itself or the one above it.
        if matches!(name, "" | "." | "..") {
            return Err(Errno::INVAL);
        }
        let folder = self.kept.get(above, || self.open_below(above, WAY, Mode::empty(), ResolveFlags::empty()))?;
        Ok((folder, name))
    }

    /// Makes a file in a folder that may be kept.
    fn create_in(&self, path: &VolumePath, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let (folder, name) = self.parent(path)?;
        rustix::fs::openat2(&folder, name, flags, FILE_MODE, BENEATH)
    }

    /// What a name in a kept folder is; `None` where no folder is kept, or the kernel does not say what is mounted there.
    fn stat_in_kept(&self, path: &VolumePath) -> Option<rustix::io::Result<Meta>> {
        if !self.kept.is_on() || path.is_empty() {
            return None;
        }
        let stat = self.parent(path).and_then(|(folder, name)| {
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
            rustix::fs::statx(
                &folder,
                name,
                flags,
                StatxFlags::TYPE | StatxFlags::MODE | StatxFlags::SIZE | StatxFlags::MTIME,
            )
        });
        match stat {
            Ok(stat) if !stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) => None,
            Ok(stat) if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) => Some(Err(Errno::XDEV)),
            Ok(stat) => Some(Ok(file::meta_of(&stat, self.kind))),
            Err(errno) => Some(Err(errno)),
        }
    }

    /// Lets go of kept folders where one may have been lost, or moved with what is in it.
    fn or_forget<T>(&self, done: rustix::io::Result<T>) -> rustix::io::Result<T> {
        if matches!(done, Err(Errno::NOENT | Errno::NOTDIR)) {
            self.kept.forget();
        }
        done
    }

    fn rename_free(&self, from: &VolumePath, to: &VolumePath) -> rustix::io::Result<()> {
        let (from_folder, from_name) = self.parent(from)?;
        let (to_folder, to_name) = self.parent(to)?;
        match rustix::fs::renameat_with(&from_folder, from_name, &to_folder, to_name, RenameFlags::NOREPLACE) {
            // The file system lacks the flag. The lane is the drive's only writer, so a look first is enough.
            Err(Errno::INVAL) => match rustix::fs::statat(&to_folder, to_name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(Errno::EXIST),
                Err(Errno::NOENT) => rustix::fs::renameat(&from_folder, from_name, &to_folder, to_name),
                Err(errno) => Err(errno),
            },
            done => done,
        }
    }

    fn raw_names(&self, path: &VolumePath) -> rustix::io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::new(self.open_folder(path)?)? {
            let entry = entry?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => names.push(OsString::from_vec(name.to_vec())),
            }
        }
        Ok(names)
    }

    fn remove(&self, op: &'static str, path: &VolumePath, flags: AtFlags) -> Result<()> {
        match self.kind {
            FsKind::Atomic => self.unlink(path, flags).map_err(Act::Change.of(op, path)),
            FsKind::Fat => self.unlink_on_fat(op, path, flags),
        }
    }

    fn unlink(&self, path: &VolumePath, flags: AtFlags) -> rustix::io::Result<()> {
        let (folder, name) = self.parent(path)?;
        rustix::fs::unlinkat(folder, name, flags)
    }
}

impl Volume for OsVolume {
    fn kind(&self) -> FsKind {
        self.kind
    }

    fn namespace(&self) -> Namespace {
        self.namespace
    }

    fn open(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        let file = self.open_to_read(path, ResolveFlags::empty()).map_err(Act::Look.of("open", path))?;
        Ok(Arc::new(file))
    }

    fn open_cached(&self, path: &VolumePath) -> Result<Option<Arc<dyn VolumeFile>>> {
        if self.cache == Cache::LeftAlone {
            return Ok(None);
        }
        match self.open_to_read(path, ResolveFlags::CACHED) {
            Ok(file) => Ok(Some(Arc::new(file))),
            // Not in the cache, or a kernel before 5.12, which has no such look-up.
            Err(Errno::AGAIN | Errno::INVAL) => Ok(None),
            Err(errno) => Err(Act::Look.of("open", path)(errno)),
        }
    }

    fn create(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        let flags = PLAIN | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let folder = match self.kind {
            FsKind::Atomic => None,
            FsKind::Fat => Some(self.open_folder(layout::parent(path)).map_err(Act::Change.of("create", path))?),
        };
        let opened = match &folder {
            None => self.or_forget(self.create_in(path, flags)),
            Some(folder) => self.syncs.enter(folder, || self.open_below(path, flags, FILE_MODE, ResolveFlags::empty())),
        };
        let handle = opened.map_err(Act::Change.of("create", path))?;
        Ok(Arc::new(OsFile::made(handle, folder, path, (self.kind, &self.syncs))))
    }

    fn open_write(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        let flags = PLAIN | OFlags::RDWR | OFlags::NONBLOCK;
        let file = self
            .open_below(path, flags, Mode::empty(), ResolveFlags::empty())
            .and_then(|handle| OsFile::of(handle, path, (self.kind, &self.syncs)))
            .map_err(Act::Change.of("open to write", path))?;
        Ok(Arc::new(file))
    }

    fn stat(&self, path: &VolumePath) -> Result<Option<Meta>> {
        let found = self.stat_in_kept(path).unwrap_or_else(|| {
            self.open_below(path, OFlags::PATH | PLAIN, Mode::empty(), ResolveFlags::empty())
                .and_then(rustix::fs::fstat)
                .map(|stat| file::meta(&stat, self.kind))
        });
        match found {
            Ok(meta) => Ok(Some(meta)),
            // Behind a file or a link there is nothing of this drive's.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            // Something is mounted there: whatever it is, it is not this drive's.
            Err(Errno::XDEV) => {
                Ok(Some(Meta { kind: FileKind::Other, observed: Observed::default(), executable: false }))
            }
            Err(errno) => Err(Act::Look.of("stat", path)(errno)),
        }
    }

    fn list(&self, path: &VolumePath) -> Result<Listing> {
        Ok(self.names(path)?.into_iter().collect())
    }

    fn make_folder(&self, path: &VolumePath) -> Result<()> {
        if self.kind == FsKind::Fat {
            return self.make_folder_on_fat(path);
        }
        self.parent(path)
            .and_then(|(folder, name)| rustix::fs::mkdirat(folder, name, FOLDER_MODE))
            .map_err(Act::Change.of("make folder", path))
    }

    fn rename(&self, from: &VolumePath, to: &VolumePath) -> Result<()> {
        match self.kind {
            FsKind::Atomic => self.or_forget(self.rename_free(from, to)).map_err(Act::Change.of("rename", from)),
            FsKind::Fat => self.rename_on_fat(from, to),
        }?;
        // Anything but a draft may be a folder, with kept ones in it.
        if layout::parent(from) != layout::STAGE_FOLDER {
            self.kept.forget();
        }
        Ok(())
    }

    fn replace(&self, from: &VolumePath, to: &VolumePath) -> Result<()> {
        assert!(self.kind == FsKind::Atomic, "on FAT nothing is renamed over an existing name");
        let replaced = self.parent(from).and_then(|(from_folder, from_name)| {
            let (to_folder, to_name) = self.parent(to)?;
            rustix::fs::renameat(from_folder, from_name, to_folder, to_name)
        });
        self.or_forget(replaced).map_err(Act::Change.of("replace", to))
    }

    fn link(&self, path: &VolumePath, second: &VolumePath) -> Result<()> {
        assert!(self.kind == FsKind::Atomic, "on FAT a file has one name");
        self.parent(path)
            .and_then(|(folder, name)| {
                let (second_folder, second_name) = self.parent(second)?;
                rustix::fs::linkat(folder, name, second_folder, second_name, AtFlags::empty())
            })
            .map_err(Act::Change.of("link", second))
    }

    fn remove_file(&self, path: &VolumePath) -> Result<()> {
        self.remove("remove file", path, AtFlags::empty())
    }

    fn remove_folder(&self, path: &VolumePath) -> Result<()> {
        self.kept.forget();
        self.remove("remove folder", path, AtFlags::REMOVEDIR)
    }

    fn keep_folders(&self) {
        self.kept.begin();
    }

    fn release_folders(&self) {
        self.kept.end();
    }

    fn sync_folder(&self, path: &VolumePath) -> Result<()> {
        self.kept.forget();
        let folder = self.open_folder(path).map_err(Act::Change.of("open folder to sync", path))?;
        self.syncs.fsync(folder).map_err(Act::Sync.of("sync folder", path))
    }

    fn sync_all(&self) -> Result<()> {
        self.kept.forget();
        match self.kind {
            FsKind::Atomic => self.syncs.syncfs(&self.root).map_err(Act::Sync.of("sync all", "")),
            FsKind::Fat => self.sync_all_on_fat(),
        }
    }

    fn space(&self) -> Result<Space> {
        let stat = rustix::fs::fstatvfs(&self.root).map_err(Act::Look.of("statfs", ""))?;
        Ok(Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            size: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    fn probe(&self) -> Result<()> {
        self.check_place()?;
        self.probe_medium()
    }

    fn device_work(&self) -> Option<u64> {
        self.block_stat().map(|stat| stat.total())
    }

    fn mount_point(&self) -> Option<MountPoint> {
        Some(MountPoint::of(self))
    }
}

impl fmt::Debug for OsVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OsVolume").field("place", &self.place).field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Opens so that reading wears no stick with new access times; only a file's owner may ask for that.
fn without_atime(flags: OFlags, open: impl Fn(OFlags) -> rustix::io::Result<OwnedFd>) -> rustix::io::Result<OwnedFd> {
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        opened => opened,
    }
}

#[cfg(test)]
mod tests;
