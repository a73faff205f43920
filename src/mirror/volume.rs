//! A drive's file system, as the mirror sees it. The one seam through which a drive is changed.
//!
//! Two implementations: `OsVolume` (the real one) and `SimVolume` (live and durable state apart).

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

pub use crate::journal::Observed;
use crate::mirror::os_volume::MountPoint;
use crate::namespace::Namespace;

/// A path on a drive below its root, `/` between names, none at either end. Empty is the root.
///
/// Unlike `RelPath` it may lie in `.twinstick`. Built by the mirror only, never from a client's text.
pub type VolumePath = str;

/// What a failed operation on a drive says of the drive. Classified once, where the error enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The drive is gone or broken: EIO on a write or sync, ENODEV, EROFS, ENXIO, ESTALE, ENOTCONN, a failed sync.
    DriveLost,
    /// The drive has no room: ENOSPC, EDQUOT, EFBIG.
    NoSpace,
    /// There is no such name. On a FAT drive that was pulled this can also mean that it is gone: probe.
    NotFound,
    /// The name is taken (also ENOTEMPTY, EISDIR, ENOTDIR).
    InTheWay,
    /// A read gave EIO: one bad file or a lost drive; a probe tells.
    BadRead,
    /// The name cannot exist on this file system (EINVAL, ENAMETOOLONG, EILSEQ), or it is not ours to touch (EPERM).
    Refused,
    /// The daemon itself lacks descriptors or memory (EMFILE, ENFILE, ENOMEM), or was interrupted: it says nothing of the
    /// drive, nothing was changed, and the same call succeeds later.
    Shortage,
}

/// A failed operation on a drive.
#[derive(Debug, thiserror::Error)]
#[error("{op} {path}: {source}")]
pub struct VolumeError {
    pub op: &'static str,
    pub path: String,
    pub disposition: Disposition,
    #[source]
    pub source: std::io::Error,
}

pub type Result<T> = std::result::Result<T, VolumeError>;

/// Which rules of durability and naming a file system needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FsKind {
    /// Journaling or copy-on-write: a rename over a name is atomic (ext4, btrfs, xfs, tmpfs …).
    Atomic,
    /// vfat, exfat: nothing is ever renamed over an existing name.
    Fat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    File,
    Folder,
    /// A symbolic link, device, socket: never ours.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    pub kind: FileKind,
    pub observed: Observed,
    pub executable: bool,
}

/// What is in a folder, in no order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub names: Vec<String>,
    /// Names that no path can have. Nothing below them is ever looked at.
    pub not_utf8: Vec<OsString>,
}

impl FromIterator<OsString> for Listing {
    fn from_iter<T: IntoIterator<Item = OsString>>(all: T) -> Self {
        let mut listing = Self::default();
        for name in all {
            match name.into_string() {
                Ok(name) => listing.names.push(name),
                Err(name) => listing.not_utf8.push(name),
            }
        }
        listing
    }
}

/// Bytes of a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    pub free: u64,
    pub size: u64,
}

/// What a file's stage carries beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    pub mtime_ns: i64,
    pub executable: bool,
}

/// What a write past the page cache is aligned to: the page, which suits every medium's sectors.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// An open file on a drive. Positions are bytes from its start.
pub trait VolumeFile: Send + Sync {
    /// Reads until `buf` is full or the file ends; the number of bytes read.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize>;
    /// Reads from the page cache alone; `None` where that would block.
    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> Result<Option<usize>>;
    /// Forgets what the page cache has of it, so that the next read is the medium's. After a failed sync the cache
    /// can hold pages that it believes to be written and that never were.
    fn forget_cached(&self) -> Result<()>;
    /// Writes all of `bytes`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()>;
    /// Writes all of several pieces, one behind the other: where it can, in one go.
    fn write_pieces_at(&self, pieces: &[&[u8]], mut offset: u64) -> Result<()> {
        for piece in pieces {
            self.write_at(piece, offset)?;
            offset += piece.len() as u64;
        }
        Ok(())
    }
    /// Whether writes go past the page cache from now on, which the caller asks for: each must then have its bytes, its
    /// position and its length on multiples of [`DIRECT_ALIGNMENT`]. False where the file system cannot, or would not
    /// be faster for it.
    fn go_direct(&self, _direct: bool) -> Result<bool> {
        Ok(false)
    }
    /// Makes room for `len` bytes, where the file system can; the file then has that length.
    fn preallocate(&self, len: u64) -> Result<()>;
    fn set_attributes(&self, attributes: Attributes) -> Result<()>;
    /// Makes the file's bytes and length durable. Never called again on a handle where it failed.
    fn sync(&self) -> Result<()>;
    /// Makes bytes durable that were written where the file had some already, and whose length is durable. The same
    /// holds for a failure.
    fn sync_bytes(&self) -> Result<()> {
        self.sync()
    }
    fn meta(&self) -> Result<Meta>;
}

/// A drive's file system below its root handle. Symbolic links and other mounts are never followed.
pub trait Volume: Send + Sync + fmt::Debug {
    fn kind(&self) -> FsKind;
    /// What its file system asks of names.
    fn namespace(&self) -> Namespace;
    /// Opens a file to read. `NotFound` where there is none, `InTheWay` where it is no plain file.
    fn open(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>>;
    /// As `open`, without ever blocking; `None` where the kernel would have to read the drive.
    fn open_cached(&self, path: &VolumePath) -> Result<Option<Arc<dyn VolumeFile>>>;
    /// Makes a new empty file, open to read and write. `InTheWay` where the name is taken.
    fn create(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>>;
    /// Opens an existing file to read and write: labels and logs alone.
    fn open_write(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>>;
    /// What a name is, without following links; `None` where there is nothing.
    fn stat(&self, path: &VolumePath) -> Result<Option<Meta>>;
    /// What is in a folder.
    fn list(&self, path: &VolumePath) -> Result<Listing>;
    fn make_folder(&self, path: &VolumePath) -> Result<()>;
    /// Moves a file or folder to a name that is free. `InTheWay` where it is not.
    fn rename(&self, from: &VolumePath, to: &VolumePath) -> Result<()>;
    /// Moves a file over an existing file in one step. Never called on `FsKind::Fat`.
    fn replace(&self, from: &VolumePath, to: &VolumePath) -> Result<()>;
    /// Gives a file a second name, which is free. `Refused` where the file system has one name a file. Never called on
    /// `FsKind::Fat`.
    fn link(&self, path: &VolumePath, second: &VolumePath) -> Result<()>;
    fn remove_file(&self, path: &VolumePath) -> Result<()>;
    /// Removes an empty folder; `InTheWay` where it is not empty.
    fn remove_folder(&self, path: &VolumePath) -> Result<()>;
    /// Folders in which names are given or looked at may stay open from one to the next, until they are released, or
    /// synced: at most for one step of a lane, since others may move them.
    fn keep_folders(&self) {}
    fn release_folders(&self) {}
    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &VolumePath) -> Result<()>;
    /// Writes back all dirty data and names; needs a file's sync after it to flush the drive's own cache.
    fn sync_all(&self) -> Result<()>;
    fn space(&self) -> Result<Space>;
    /// Reads the label from the medium itself, past the page cache; writes nothing.
    fn probe(&self) -> Result<()>;
    /// What its block device has completed so far, to compare only; `None` where there is none. Never blocks.
    fn device_work(&self) -> Option<u64>;
    /// Where it is mounted, to be unmounted when nothing is open on it any more; `None` where there is no such thing.
    fn mount_point(&self) -> Option<MountPoint>;
}
