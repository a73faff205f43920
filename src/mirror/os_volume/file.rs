//! An open file on a real drive.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, FileType, Mode, OFlags, RawMode, Stat, Statx, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::{Errno, ReadWriteFlags, retry_on_intr};

use crate::mirror::os_volume::errno::Act;
use crate::mirror::os_volume::syncs::Syncs;
use crate::mirror::volume::{Attributes, FileKind, FsKind, Meta, Observed, Result, VolumeFile, VolumePath};

const NS_PER_S: i64 = 1_000_000_000;

pub(super) struct OsFile {
    handle: OwnedFd,
    /// Of a file made on FAT, the folder it is in: what it takes of the medium reaches the table with the folder's
    /// sync, and is to be there before the file's own sync lets its name lead to it.
    folder: Option<OwnedFd>,
    /// Bytes that the table has clusters for, as far as is known.
    room: AtomicU64,
    /// Whether it took clusters since it was last synced.
    grown: AtomicBool,
    /// Where it was opened, for error texts.
    path: String,
    kind: FsKind,
    syncs: Syncs,
}

impl OsFile {
    /// Takes a handle of a plain file; of anything else EISDIR or EEXIST, which say that something is in the way.
    pub(super) fn of(handle: OwnedFd, path: &VolumePath, drive: (FsKind, &Syncs)) -> rustix::io::Result<Self> {
        let meta = meta(&rustix::fs::fstat(&handle)?, drive.0);
        match meta.kind {
            FileKind::File => {
                let room = AtomicU64::new(meta.observed.size);
                Ok(Self { room, ..Self::made(handle, None, path, drive) })
            }
            FileKind::Folder => Err(Errno::ISDIR),
            FileKind::Other => Err(Errno::EXIST),
        }
    }

    /// Takes a handle of a file that was just made, and asks nothing: what fails then would leave the file behind.
    pub(super) fn made(
        handle: OwnedFd,
        folder: Option<OwnedFd>,
        path: &VolumePath,
        (kind, syncs): (FsKind, &Syncs),
    ) -> Self {
        let (room, grown) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { handle, folder, room, grown, path: path.to_owned(), kind, syncs: syncs.clone() }
    }

    fn grow(&self, end: u64) {
        if self.room.fetch_max(end, Ordering::AcqRel) < end {
            self.grown.store(true, Ordering::Release);
        }
    }

    pub(super) fn handle(&self) -> &OwnedFd {
        &self.handle
    }

    pub(super) fn into_handle(self) -> OwnedFd {
        self.handle
    }
}

impl VolumeFile for OsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        read_full(&self.handle, buf, offset).map_err(Act::Look.of("read", &self.path))
    }

    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> Result<Option<usize>> {
        match rustix::io::preadv2(&self.handle, &mut [IoSliceMut::new(buf)], offset, ReadWriteFlags::NOWAIT) {
            Ok(count) => Ok(Some(count)),
            // Not in the cache, or a file system that cannot tell; EINTR: the caller's slower way is as good.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::INTR) => Ok(None),
            Err(errno) => Err(Act::Look.of("read", &self.path)(errno)),
        }
    }

    fn forget_cached(&self) -> Result<()> {
        rustix::fs::fadvise(&self.handle, 0, None, rustix::fs::Advice::DontNeed)
            .map_err(Act::Look.of("fadvise", &self.path))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.grow(offset + bytes.len() as u64);
        write_full(&self.handle, bytes, offset).map_err(Act::Change.of("write", &self.path))
    }

    fn write_pieces_at(&self, pieces: &[&[u8]], offset: u64) -> Result<()> {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.grow(offset + len as u64);
        write_all(&self.handle, pieces, offset).map_err(Act::Change.of("write", &self.path))
    }

    fn go_direct(&self, direct: bool) -> Result<bool> {
        // What grows on FAT is written through the page cache whatever is asked.
        if self.kind == FsKind::Fat {
            return Ok(false);
        }
        let flags = if direct { OFlags::DIRECT } else { OFlags::empty() };
        match rustix::fs::fcntl_setfl(&self.handle, flags) {
            Ok(()) => Ok(direct),
            // tmpfs, FUSE without it.
            Err(Errno::INVAL) => Ok(false),
            Err(errno) => Err(Act::Look.of("fcntl", &self.path)(errno)),
        }
    }

    fn preallocate(&self, len: u64) -> Result<()> {
        self.grow(len);
        let made = match rustix::fs::fallocate(&self.handle, FallocateFlags::empty(), 0, len) {
            // EINVAL: a length of 0.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => rustix::fs::ftruncate(&self.handle, len),
            made => made,
        };
        made.map_err(Act::Change.of("preallocate", &self.path))
    }

    fn set_attributes(&self, attributes: Attributes) -> Result<()> {
        let mode = if attributes.executable { 0o755 } else { 0o644 };
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec {
                tv_sec: attributes.mtime_ns.div_euclid(NS_PER_S),
                tv_nsec: attributes.mtime_ns.rem_euclid(NS_PER_S),
            },
        };
        match self.kind {
            FsKind::Atomic => rustix::fs::fchmod(&self.handle, Mode::from_raw_mode(mode)),
            // FAT has no such bit.
            FsKind::Fat => Ok(()),
        }
        .and_then(|()| rustix::fs::futimens(&self.handle, &times))
        .map_err(Act::Change.of("set attributes", &self.path))
    }

    fn sync(&self) -> Result<()> {
        if let Some(folder) = self.folder.as_ref().filter(|_| self.grown.swap(false, Ordering::AcqRel)) {
            self.syncs.fsync(folder).map_err(Act::Sync.of("sync folder of", &self.path))?;
        }
        // fsync, not fdatasync: on vfat a file's new name reaches the medium only with the file's whole sync.
        self.syncs.fsync(&self.handle).map_err(Act::Sync.of("sync", &self.path))
    }

    fn sync_bytes(&self) -> Result<()> {
        match self.kind {
            FsKind::Atomic => rustix::fs::fdatasync(&self.handle).map_err(Act::Sync.of("sync", &self.path)),
            FsKind::Fat => self.sync(),
        }
    }

    fn meta(&self) -> Result<Meta> {
        let stat = rustix::fs::fstat(&self.handle).map_err(Act::Look.of("stat", &self.path))?;
        Ok(meta(&stat, self.kind))
    }
}

pub(super) fn meta(stat: &Stat, kind: FsKind) -> Meta {
    let rest = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let mtime_ns = stat.st_mtime.saturating_mul(NS_PER_S).saturating_add(rest);
    meta_from(stat.st_mode, Observed { size: stat.st_size.try_into().unwrap_or(0), mtime_ns }, kind)
}

/// As [`meta`], of what statx says.
pub(super) fn meta_of(stat: &Statx, kind: FsKind) -> Meta {
    let mtime_ns = stat.stx_mtime.tv_sec.saturating_mul(NS_PER_S).saturating_add(i64::from(stat.stx_mtime.tv_nsec));
    meta_from(stat.stx_mode.into(), Observed { size: stat.stx_size, mtime_ns }, kind)
}

fn meta_from(mode: RawMode, observed: Observed, kind: FsKind) -> Meta {
    Meta {
        kind: match FileType::from_raw_mode(mode) {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Folder,
            _ => FileKind::Other,
        },
        observed,
        executable: match kind {
            FsKind::Atomic => Mode::from_raw_mode(mode).contains(Mode::XUSR),
            // The mount's options make all files look executable, or none.
            FsKind::Fat => false,
        },
    }
}

/// Reads until `buf` is full or the file ends.
pub(super) fn read_full(handle: &OwnedFd, buf: &mut [u8], mut offset: u64) -> rustix::io::Result<usize> {
    let len = buf.len();
    let mut rest = buf;
    while !rest.is_empty() {
        let count = retry_on_intr(|| rustix::io::pread(handle, &mut *rest, offset))?;
        if count == 0 {
            break;
        }
        offset += count as u64;
        rest = rest.get_mut(count..).unwrap_or_default();
    }
    Ok(len - rest.len())
}

/// Writes all of several pieces, one behind the other.
fn write_all(handle: &OwnedFd, pieces: &[&[u8]], mut offset: u64) -> rustix::io::Result<()> {
    let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut rest = slices.as_mut_slice();
    // Empty ones at the front would be taken for a file system that writes nothing.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let count = retry_on_intr(|| rustix::io::pwritev(handle, rest, offset))?;
        if count == 0 {
            return Err(Errno::IO);
        }
        offset += count as u64;
        IoSlice::advance_slices(&mut rest, count);
    }
    Ok(())
}

pub(super) fn write_full(handle: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let count = retry_on_intr(|| rustix::io::pwrite(handle, bytes, offset))?;
        if count == 0 {
            // No file system says that it wrote nothing and means to go on.
            return Err(Errno::IO);
        }
        offset += count as u64;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}
