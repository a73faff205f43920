//! Whether a drive is still there. Only a read past the page cache tells, and it writes nothing.

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::mirror::label::{SLOT_BYTES, SLOT_PATHS};
use crate::mirror::os_volume::errno::Act;
use crate::mirror::os_volume::file::read_full;
use crate::mirror::os_volume::{Identity, OsVolume, PLAIN, without_atime};
use crate::mirror::volume::{Result, VolumePath};

/// What O_DIRECT wants a buffer aligned to, at most, on any disk with sectors of up to 4 KiB.
const ALIGNMENT: usize = 4096;

impl OsVolume {
    /// Checks that the place where the drive was opened still leads to it. After a lazy unmount or a rename the
    /// handle goes on working, and what is written through it may land where nobody looks.
    pub fn check_place(&self) -> Result<()> {
        Identity::of_place(&self.place)
            .and_then(|now| if now == self.identity { Ok(()) } else { Err(Errno::STALE) })
            .map_err(Act::Probe.of("look up", &self.place.to_string_lossy()))
    }

    /// Reads a label's slot from the medium. An unplugged stick gives EIO here (ext4, exfat) or ENOENT (vfat),
    /// when stat, statfs and cached reads still succeed.
    pub fn probe_medium(&self) -> Result<()> {
        let [first, second] = SLOT_PATHS;
        // One unreadable slot is one bad block; the drive is there if the other can be read.
        let Err(errno) = self.read_slot(first) else { return Ok(()) };
        match self.read_slot(second) {
            Ok(()) => Ok(()),
            // Never written yet, or gone like all names: the other error says more.
            Err(Errno::NOENT) => Err(Act::Probe.of("probe", first)(errno)),
            Err(errno) => Err(Act::Probe.of("probe", second)(errno)),
        }
    }

    fn read_slot(&self, path: &VolumePath) -> rustix::io::Result<()> {
        let mut room = vec![0; SLOT_BYTES + ALIGNMENT];
        let start = room.as_ptr().align_offset(ALIGNMENT);
        let buf = room.get_mut(start..).and_then(|tail| tail.get_mut(..SLOT_BYTES)).unwrap_or_default();
        let count = match self.read_opened(path, OFlags::DIRECT, buf) {
            // The file system has no O_DIRECT (some FUSE ones), or wants another alignment.
            Err(Errno::INVAL) => self.read_opened(path, OFlags::empty(), buf)?,
            read => read?,
        };
        if count == SLOT_BYTES { Ok(()) } else { Err(Errno::IO) }
    }

    fn read_opened(&self, path: &VolumePath, direct: OFlags, buf: &mut [u8]) -> rustix::io::Result<usize> {
        let flags = PLAIN | OFlags::RDONLY | OFlags::NONBLOCK | direct;
        let file = without_atime(flags, |flags| self.open_below(path, flags, Mode::empty(), ResolveFlags::empty()))?;
        read_full(&file, buf, 0)
    }
}
