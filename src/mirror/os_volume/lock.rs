//! The lock on a drive, held by whatever writes to it.

use std::os::fd::OwnedFd;

use rustix::fs::{FlockOperation, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::mirror::os_volume::errno::Act;
use crate::mirror::os_volume::file::{OsFile, read_full, write_full};
use crate::mirror::os_volume::{FILE_MODE, OsVolume, PLAIN};
use crate::mirror::volume::{VolumeError, VolumePath};

/// The file that is locked; its text names who holds it.
pub const LOCK_PATH: &VolumePath = ".twinstick/lock";
/// Longest text that is read from it, in bytes.
const HOLDER_BYTES_MAX: usize = 200;

/// A drive is ours until this is dropped, or the process ends however it ends.
#[derive(Debug)]
pub struct DriveLock {
    _handle: OwnedFd,
}

/// Why a drive could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{holder} is using the drive: stop it first")]
    Held { holder: String },
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

impl DriveLock {
    pub(super) fn take(volume: &OsVolume, holder: &str) -> Result<Self, LockError> {
        let flags = PLAIN | OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK;
        let file = volume
            .open_below(LOCK_PATH, flags, FILE_MODE, ResolveFlags::empty())
            .and_then(|handle| OsFile::of(handle, LOCK_PATH, (volume.kind, &volume.syncs)))
            .map_err(Act::Change.of("open", LOCK_PATH))?;
        lock(file.handle())?;
        write_holder(file.handle(), holder).map_err(Act::Change.of("write", LOCK_PATH))?;
        Ok(Self { _handle: file.into_handle() })
    }

    pub(super) fn hold(volume: &OsVolume) -> Result<Option<Self>, LockError> {
        match volume.open_to_read(LOCK_PATH, ResolveFlags::empty()) {
            Ok(file) => {
                lock(file.handle())?;
                Ok(Some(Self { _handle: file.into_handle() }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Act::Look.of("open", LOCK_PATH)(errno).into()),
        }
    }
}

// flock: like an OFD lock it belongs to the open file description, so that one process cannot take a drive twice and
// closing another descriptor does not let it go. rustix offers no OFD locks, and POSIX ones belong to the process.
fn lock(handle: &OwnedFd) -> Result<(), LockError> {
    match rustix::fs::flock(handle, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(LockError::Held { holder: written_holder(handle) }),
        Err(errno) => Err(Act::Change.of("lock", LOCK_PATH)(errno).into()),
    }
}

fn written_holder(handle: &OwnedFd) -> String {
    let mut bytes = [0; HOLDER_BYTES_MAX];
    let count = read_full(handle, &mut bytes, 0).unwrap_or(0);
    match String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()).trim() {
        "" => "another program".to_owned(),
        holder => holder.to_owned(),
    }
}

// Always as long, so that the file keeps its place: on FAT a new one could be another file's after a power cut.
fn write_holder(handle: &OwnedFd, holder: &str) -> rustix::io::Result<()> {
    let mut bytes = [b' '; HOLDER_BYTES_MAX];
    bytes.iter_mut().zip(holder.bytes()).for_each(|(to, from)| *to = from);
    write_full(handle, &bytes, 0)
}
