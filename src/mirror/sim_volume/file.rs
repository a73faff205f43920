//! Open files of a simulated drive.

use super::fault::{CallKind, classified};
use super::handle::{Handle, Synced};
use super::image::Ino;
use crate::mirror::volume::{Attributes, Meta, Result, VolumeFile};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A handle of one inode, which keeps the file also without a name.
#[derive(Debug)]
pub(super) struct SimFile {
    handle: Handle,
    ino: Ino,
    access: Access,
    /// As it was opened: for errors.
    path: String,
}

impl SimFile {
    pub(super) fn new(handle: Handle, ino: Ino, access: Access, path: &str) -> Self {
        Self { handle, ino, access, path: path.to_owned() }
    }

    fn writable(&self, op: &'static str) -> Result<()> {
        match self.access {
            Access::Write => Ok(()),
            Access::Read => Err(classified(op, &self.path, rustix::io::Errno::BADF)),
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.handle.release(self.ino);
    }
}

impl VolumeFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.handle.call(CallKind::Read, "read", &self.path, |medium| medium.read(self.ino, buf, offset))
    }

    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> Result<Option<usize>> {
        // The page cache of a pulled stick goes on answering.
        let read = self.handle.cached(|medium| {
            if medium.is_warm(self.ino) { medium.read(self.ino, buf, offset).map(Some) } else { Ok(None) }
        });
        read.map(Option::flatten).map_err(|errno| classified("read", &self.path, errno))
    }

    // The simulated cache never differs from what a sync that went well made durable.
    fn forget_cached(&self) -> Result<()> {
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.writable("write")?;
        self.handle.call(CallKind::Write, "write", &self.path, |medium| medium.write(self.ino, bytes, offset))
    }

    fn preallocate(&self, len: u64) -> Result<()> {
        self.writable("preallocate")?;
        self.handle.call(CallKind::Write, "preallocate", &self.path, |medium| medium.preallocate(self.ino, len))
    }

    fn set_attributes(&self, attributes: Attributes) -> Result<()> {
        self.writable("set attributes of")?;
        self.handle.call(CallKind::Write, "set attributes of", &self.path, |medium| {
            medium.set_attributes(self.ino, attributes)
        })
    }

    fn sync(&self) -> Result<()> {
        self.handle.sync(
            "sync",
            &self.path,
            Synced::File(self.ino),
            |medium| {
                medium.sync_file(self.ino);
                Ok(())
            },
            |medium| drop(medium.data.remove(&self.ino)),
        )
    }

    fn meta(&self) -> Result<Meta> {
        self.handle.call(CallKind::Look, "stat", &self.path, |medium| medium.meta(self.ino))
    }
}
