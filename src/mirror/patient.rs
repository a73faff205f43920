//! A drive as its own lane and log see it: what the daemon lacks itself, descriptors or memory, is waited for.
//!
//! Such a call has changed nothing and says nothing of the drive, so that the work goes on where it was instead of being
//! given up in the middle. Requests of clients go without this, and are told to come again: a drive's few threads are not
//! to wait for what those who are served hold.

use std::sync::Arc;
use std::time::Duration;

use crate::mirror::os_volume::MountPoint;
use crate::mirror::volume::{
    Attributes, Disposition, FsKind, Listing, Meta, Result, Space, Volume, VolumeFile, VolumePath,
};
use crate::namespace::Namespace;

/// Before a call is tried again.
pub(crate) const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Tries after which it is told that the work waits.
const TOLD_AFTER: u32 = 20;

/// A drive whose calls do not fail for a shortage of the daemon's. They wait until it ends, or the drive leaves.
#[derive(Debug)]
pub(crate) struct Patient {
    inner: Arc<dyn Volume>,
}

struct PatientFile {
    inner: Arc<dyn VolumeFile>,
}

impl Patient {
    pub(crate) fn new(inner: Arc<dyn Volume>) -> Self {
        Self { inner }
    }
}

/// Calls until the answer is not a shortage. A drive that has left answers that it has.
fn insist<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    let mut tries = 0_u32;
    loop {
        match call() {
            Err(error) if error.disposition == Disposition::Shortage => {
                tries = tries.saturating_add(1);
                if tries == TOLD_AFTER {
                    tracing::warn!(%error, "work on a drive waits until the daemon has what it lacks");
                }
                std::thread::sleep(TRY_AGAIN_AFTER);
            }
            answer => return answer,
        }
    }
}

fn patient_file(inner: Arc<dyn VolumeFile>) -> Arc<dyn VolumeFile> {
    Arc::new(PatientFile { inner })
}

impl Volume for Patient {
    fn kind(&self) -> FsKind {
        self.inner.kind()
    }

    fn namespace(&self) -> Namespace {
        self.inner.namespace()
    }

    fn open(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        insist(|| self.inner.open(path)).map(patient_file)
    }

    fn open_cached(&self, path: &VolumePath) -> Result<Option<Arc<dyn VolumeFile>>> {
        Ok(insist(|| self.inner.open_cached(path))?.map(patient_file))
    }

    fn create(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        insist(|| self.inner.create(path)).map(patient_file)
    }

    fn open_write(&self, path: &VolumePath) -> Result<Arc<dyn VolumeFile>> {
        insist(|| self.inner.open_write(path)).map(patient_file)
    }

    fn stat(&self, path: &VolumePath) -> Result<Option<Meta>> {
        insist(|| self.inner.stat(path))
    }

    fn list(&self, path: &VolumePath) -> Result<Listing> {
        insist(|| self.inner.list(path))
    }

    fn make_folder(&self, path: &VolumePath) -> Result<()> {
        insist(|| self.inner.make_folder(path))
    }

    fn rename(&self, from: &VolumePath, to: &VolumePath) -> Result<()> {
        insist(|| self.inner.rename(from, to))
    }

    fn replace(&self, from: &VolumePath, to: &VolumePath) -> Result<()> {
        insist(|| self.inner.replace(from, to))
    }

    fn link(&self, path: &VolumePath, second: &VolumePath) -> Result<()> {
        insist(|| self.inner.link(path, second))
    }

    fn remove_file(&self, path: &VolumePath) -> Result<()> {
        insist(|| self.inner.remove_file(path))
    }

    fn remove_folder(&self, path: &VolumePath) -> Result<()> {
        insist(|| self.inner.remove_folder(path))
    }

    fn keep_folders(&self) {
        self.inner.keep_folders();
    }

    fn release_folders(&self) {
        self.inner.release_folders();
    }

    fn sync_folder(&self, path: &VolumePath) -> Result<()> {
        insist(|| self.inner.sync_folder(path))
    }

    // A failed sync is final, whatever it says.
    fn sync_all(&self) -> Result<()> {
        self.inner.sync_all()
    }

    fn space(&self) -> Result<Space> {
        insist(|| self.inner.space())
    }

    fn probe(&self) -> Result<()> {
        insist(|| self.inner.probe())
    }

    fn device_work(&self) -> Option<u64> {
        self.inner.device_work()
    }

    fn mount_point(&self) -> Option<MountPoint> {
        self.inner.mount_point()
    }
}

impl VolumeFile for PatientFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        insist(|| self.inner.read_at(buf, offset))
    }

    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> Result<Option<usize>> {
        insist(|| self.inner.read_cached_at(buf, offset))
    }

    fn forget_cached(&self) -> Result<()> {
        insist(|| self.inner.forget_cached())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        insist(|| self.inner.write_at(bytes, offset))
    }

    fn write_pieces_at(&self, pieces: &[&[u8]], offset: u64) -> Result<()> {
        insist(|| self.inner.write_pieces_at(pieces, offset))
    }

    fn preallocate(&self, len: u64) -> Result<()> {
        insist(|| self.inner.preallocate(len))
    }

    fn set_attributes(&self, attributes: Attributes) -> Result<()> {
        insist(|| self.inner.set_attributes(attributes))
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn sync_bytes(&self) -> Result<()> {
        self.inner.sync_bytes()
    }

    fn meta(&self) -> Result<Meta> {
        insist(|| self.inner.meta())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::mirror::sim_volume::{CallKind, Fault, SimDisk};

    fn work(volume: &dyn Volume) -> Result<()> {
        volume.make_folder("d")?;
        let file = volume.create("d/f")?;
        file.write_at(b"bytes", 0)?;
        file.sync()?;
        volume.sync_folder("d")?;
        volume.rename("d/f", "g")?;
        volume.sync_all()?;
        let mut bytes = [0; 8];
        let read = volume.open("g")?.read_at(&mut bytes, 0)?;
        assert_eq!(bytes.get(..read), Some(b"bytes".as_slice()));
        volume.list("")?;
        volume.probe()
    }

    fn disk(nth: u64, kind: CallKind) -> SimDisk {
        let disk = SimDisk::new(FsKind::Atomic, 1 << 20);
        disk.fail_nth(nth, Some(kind), Fault::Once(Disposition::Shortage));
        disk
    }

    #[test]
    fn a_call_is_made_again_until_the_shortage_has_ended() {
        let calls =
            [(CallKind::Name, 3), (CallKind::Write, 1), (CallKind::Look, 2), (CallKind::Read, 1), (CallKind::Probe, 1)];
        for (kind, count) in calls {
            for nth in 1..=count {
                let alone = work(&disk(nth, kind).mount().unwrap()).map_err(|error| error.disposition);
                assert_eq!(alone, Err(Disposition::Shortage), "{kind:?} {nth}");
                let patient = Patient::new(Arc::new(disk(nth, kind).mount().unwrap()));
                work(&patient).unwrap();
            }
        }
    }

    #[test]
    fn a_failed_sync_of_a_file_is_never_made_again() {
        let patient = Patient::new(Arc::new(disk(1, CallKind::Sync).mount().unwrap()));
        work(&patient).unwrap_err();
    }
}
