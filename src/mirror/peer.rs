//! A drive as the other drive's lane sees it: every call runs on the drive's own threads, and is waited for only while
//! the drive is there. So a drive that hangs holds up no lane but its own.

use std::fmt;
use std::sync::Arc;

use crate::mirror::attachment::Attachment;
use crate::mirror::fair::{Class, Flow};
use crate::mirror::os_volume::MountPoint;
use crate::mirror::volume::{
    Attributes, Disposition, FsKind, Listing, Meta, Result, Space, Volume, VolumeError, VolumeFile, VolumePath,
};
use crate::namespace::Namespace;

/// A drive that is there, for the other one's lane.
pub(crate) struct Peer {
    attachment: Arc<Attachment>,
}

struct PeerFile {
    attachment: Arc<Attachment>,
    file: Arc<dyn VolumeFile>,
    /// Where it was opened, for error texts.
    path: String,
}

impl Peer {
    pub(crate) fn new(attachment: &Arc<Attachment>) -> Self {
        Self { attachment: Arc::clone(attachment) }
    }

    fn call<T: Send + 'static>(
        &self,
        op: &'static str,
        path: &VolumePath,
        work: impl FnOnce(&dyn Volume, &VolumePath) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (volume, below) = (Arc::clone(&self.attachment.volume), path.to_owned());
        wait(&self.attachment, op, path, move || work(volume.as_ref(), &below))
    }

    fn file(&self, file: Arc<dyn VolumeFile>, path: &VolumePath) -> Arc<dyn VolumeFile> {
        Arc::new(PeerFile { attachment: Arc::clone(&self.attachment), file, path: path.to_owned() })
    }
}

fn wait<T: Send + 'static>(
    attachment: &Attachment,
    op: &'static str,
    path: &VolumePath,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    attachment.io.run_and_wait(Flow::own(Class::Background).call(), work).unwrap_or_else(|gone| {
        let source = std::io::Error::new(std::io::ErrorKind::NotConnected, gone);
        Err(VolumeError { op, path: path.to_owned(), disposition: Disposition::DriveLost, source })
    })
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Peer").field(&self.attachment.volume).finish()
    }
}

impl Volume for Peer {
    fn kind(&self) -> FsKind {
        self.attachment.volume.kind()
    }

    fn namespace(&self) -> Namespace {
        self.attachment.volume.namespace()
    }

    /// What the page cache has needs no thread of the drive's: it cannot block.
    fn open(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        let opened = match self.attachment.volume.open_cached(path)? {
            Some(file) => file,
            None => self.call("open", path, |volume, path| volume.open(path))?,
        };
        Ok(self.file(opened, path))
    }

    fn open_cached(&self, path: &VolumePath) -> Result<Option<Arc<dyn VolumeFile>>> {
        let opened = self.call("open", path, |volume, path| volume.open_cached(path))?;
        Ok(opened.map(|file| self.file(file, path)))
    }

    fn create(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        self.call("create", path, |volume, path| volume.create(path)).map(|file| self.file(file, path))
    }

    fn open_write(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        self.call("open to write", path, |volume, path| volume.open_write(path)).map(|file| self.file(file, path))
    }

    fn stat(&self, path: &VolumePath) -> Result<Option<Meta>> {
        self.call("stat", path, |volume, path| volume.stat(path))
    }

    fn list(&self, path: &VolumePath) -> Result<Listing> {
        self.call("list", path, |volume, path| volume.list(path))
    }

    fn make_folder(&self, path: &VolumePath) -> Result<()> {
        self.call("make folder", path, |volume, path| volume.make_folder(path))
    }

    fn rename(&self, from: &VolumePath, to: &VolumePath) -> Result<()> {
        let to = to.to_owned();
        self.call("rename", from, move |volume, from| volume.rename(from, &to))
    }

    fn replace(&self, from: &VolumePath, to: &VolumePath) -> Result<()> {
        let to = to.to_owned();
        self.call("replace", from, move |volume, from| volume.replace(from, &to))
    }

    fn link(&self, path: &VolumePath, second: &VolumePath) -> Result<()> {
        let second = second.to_owned();
        self.call("link", path, move |volume, path| volume.link(path, &second))
    }

    fn remove_file(&self, path: &VolumePath) -> Result<()> {
        self.call("remove file", path, |volume, path| volume.remove_file(path))
    }

    fn remove_folder(&self, path: &VolumePath) -> Result<()> {
        self.call("remove folder", path, |volume, path| volume.remove_folder(path))
    }

    fn sync_folder(&self, path: &VolumePath) -> Result<()> {
        self.call("sync folder", path, |volume, path| volume.sync_folder(path))
    }

    fn sync_all(&self) -> Result<()> {
        self.call("sync all", "", |volume, _| volume.sync_all())
    }

    fn space(&self) -> Result<Space> {
        self.call("statfs", "", |volume, _| volume.space())
    }

    fn probe(&self) -> Result<()> {
        self.call("probe", "", |volume, _| volume.probe())
    }

    fn device_work(&self) -> Option<u64> {
        self.attachment.volume.device_work()
    }

    fn mount_point(&self) -> Option<MountPoint> {
        self.attachment.volume.mount_point()
    }
}

impl PeerFile {
    fn call<T: Send + 'static>(
        &self,
        op: &'static str,
        work: impl FnOnce(&dyn VolumeFile) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let file = Arc::clone(&self.file);
        wait(&self.attachment, op, &self.path, move || work(file.as_ref()))
    }
}

impl VolumeFile for PeerFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let len = buf.len();
        if self.file.read_cached_at(buf, offset)? == Some(len) {
            return Ok(len);
        }
        let bytes = self.call("read", move |file| {
            let mut bytes = vec![0; len];
            let read = file.read_at(&mut bytes, offset)?;
            bytes.truncate(read);
            Ok(bytes)
        })?;
        if let Some(filled) = buf.get_mut(..bytes.len()) {
            filled.copy_from_slice(&bytes);
        }
        Ok(bytes.len())
    }

    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> Result<Option<usize>> {
        self.file.read_cached_at(buf, offset)
    }

    fn forget_cached(&self) -> Result<()> {
        self.call("forget what is cached of", |file| file.forget_cached())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let bytes = bytes.to_owned();
        self.call("write", move |file| file.write_at(&bytes, offset))
    }

    fn preallocate(&self, len: u64) -> Result<()> {
        self.call("preallocate", move |file| file.preallocate(len))
    }

    fn set_attributes(&self, attributes: Attributes) -> Result<()> {
        self.call("set attributes of", move |file| file.set_attributes(attributes))
    }

    fn sync(&self) -> Result<()> {
        self.call("sync", |file| file.sync())
    }

    fn meta(&self) -> Result<Meta> {
        self.call("stat", |file| file.meta())
    }
}
