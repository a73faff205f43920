//! A medium with bad blocks, or one that is slow or hangs: a file of our own FUSE file system, to be mounted through a
//! loop device.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};

use crate::namespace::{attempt, tool};

/// The one file's name and number.
const NAME: &str = "medium";
const FILE: INodeNo = INodeNo(2);
const TTL: Duration = Duration::from_secs(1);

/// An image that can be told which of its bytes cannot be read, to be slow, and to hang. Gone when dropped.
pub struct Medium {
    file: PathBuf,
    faults: Arc<Mutex<Faults>>,
    _session: BackgroundSession,
}

impl Medium {
    /// Shows an image in a new folder.
    #[track_caller]
    pub fn new(image: &Path, folder: &Path) -> Self {
        fs::create_dir(folder).expect("a new folder");
        let backing = File::options().read(true).write(true).open(image).expect("an image");
        let faults = Arc::new(Mutex::new(Faults::default()));
        let disk = Disk { backing: Arc::new(backing), faults: Arc::clone(&faults) };
        let session = fuser::spawn_mount(disk, folder, &fuser::Config::default()).expect("a FUSE mount");
        Self { file: folder.join(NAME), faults, _session: session }
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// From now on these bytes give EIO. What is written to them goes well.
    pub fn make_unreadable(&self, bytes: Vec<Range<u64>>) {
        locked(&self.faults).bad = bytes;
    }

    /// From now on it takes so many bytes a second, or as many as come.
    pub fn set_pace(&self, bytes_per_second: Option<u32>) {
        locked(&self.faults).bytes_per_second = bytes_per_second;
    }

    /// From now on nothing that is asked of it comes to an end.
    pub fn hang(&self) {
        locked(&self.faults).held.get_or_insert_default();
    }

    /// What hung is done now, and all that comes.
    pub fn go_on(&self) {
        let held = locked(&self.faults).held.take();
        held.into_iter().flatten().for_each(|work| work());
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        self.go_on();
        // The session would leave it mounted where something above is still busy.
        if let Some(folder) = self.file.parent() {
            drop(attempt(tool("umount").arg("-l").arg(folder)));
        }
    }
}

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Faults {
    bad: Vec<Range<u64>>,
    bytes_per_second: Option<u32>,
    /// While it hangs: what was asked of it since.
    held: Option<Vec<Work>>,
}

fn locked(faults: &Mutex<Faults>) -> MutexGuard<'_, Faults> {
    faults.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Disk {
    backing: Arc<File>,
    faults: Arc<Mutex<Faults>>,
}

impl Disk {
    fn is_bad(&self, from: u64, to: u64) -> bool {
        locked(&self.faults).bad.iter().any(|range| range.start < to && from < range.end)
    }

    /// Does it, now or when it hangs no more.
    fn act(&self, work: impl FnOnce(&File) + Send + 'static) {
        let backing = Arc::clone(&self.backing);
        if let Some(held) = &mut locked(&self.faults).held {
            return held.push(Box::new(move || work(&backing)));
        }
        work(&self.backing);
    }

    fn attr(&self, ino: INodeNo) -> FileAttr {
        let size = self.backing.metadata().map_or(0, |meta| meta.len());
        let (kind, perm, size) = match ino {
            FILE => (FileType::RegularFile, 0o600, size),
            _ => (FileType::Directory, 0o700, 0),
        };
        FileAttr {
            ino,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&TTL, &self.attr(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attr(ino));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Nothing is cached above us: a bad block is bad at once.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if self.is_bad(offset, offset + u64::from(size)) {
            return reply.error(Errno::EIO);
        }
        self.act(move |backing| {
            let mut bytes = vec![0; size as usize];
            match backing.read_at(&mut bytes, offset) {
                Ok(count) => reply.data(&bytes[..count]),
                Err(_) => reply.error(Errno::EIO),
            }
        });
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (data, pace) = (data.to_owned(), locked(&self.faults).bytes_per_second);
        std::thread::sleep(pace.map_or(Duration::ZERO, |pace| Duration::from_secs(data.len() as u64) / pace));
        self.act(move |backing| match backing.write_all_at(&data, offset) {
            Ok(()) => reply.written(data.len() as u32),
            Err(_) => reply.error(Errno::EIO),
        });
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.act(move |backing| match backing.sync_data() {
            Ok(()) => reply.ok(),
            Err(_) => reply.error(Errno::EIO),
        });
    }
}
