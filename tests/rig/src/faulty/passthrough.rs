//! The calls of FUSE, handed on to a folder unless they are to go wrong.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{CWD, FallocateFlags};

use super::nodes::{Nodes, ROOT};
use super::switch::{Call, Switch, Verdict};

/// Nothing is kept above us: every call arrives.
const UNCACHED: Duration = Duration::ZERO;

/// A reply that can say no.
trait Refuse: Send + 'static {
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ty),*) => { $(impl Refuse for $reply {
        fn refuse(self, errno: Errno) {
            self.error(errno);
        }
    })* };
}
refuse!(ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite);

/// What is open.
struct Handles {
    files: HashMap<u64, Arc<File>>,
    lists: HashMap<u64, Arc<Vec<(String, FileType)>>>,
    last: u64,
}

struct Tree {
    root: PathBuf,
    nodes: Mutex<Nodes>,
    handles: Mutex<Handles>,
}

/// The file system of one folder.
pub(super) struct Passthrough {
    tree: Arc<Tree>,
    switch: Arc<Switch>,
}

impl Passthrough {
    pub(super) fn new(root: PathBuf, switch: Arc<Switch>) -> Self {
        let handles = Handles { files: HashMap::new(), lists: HashMap::new(), last: 0 };
        let tree = Tree { root, nodes: Mutex::new(Nodes::new()), handles: Mutex::new(handles) };
        Self { tree: Arc::new(tree), switch }
    }

    /// Does a call, lets it fail, or keeps it.
    fn serve<R: Refuse>(
        &self,
        call: Call,
        path: io::Result<String>,
        reply: R,
        work: impl FnOnce(&Tree, &str, R) + Send + 'static,
    ) {
        // A handle whose name is gone is still somebody's.
        let path = path.unwrap_or_else(|_| "(removed)".to_owned());
        match self.switch.decide(call, &path) {
            Verdict::Goes => work(&self.tree, &path, reply),
            Verdict::Fails(errno) => reply.refuse(Errno::from_i32(errno.raw_os_error())),
            Verdict::Hangs => {
                let tree = Arc::clone(&self.tree);
                self.switch.hold(Box::new(move || work(&tree, &path, reply)));
            }
        }
    }

    fn path(&self, ino: INodeNo) -> io::Result<String> {
        self.tree.path(ino)
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> io::Result<String> {
        self.tree.child(parent, name)
    }
}

impl Tree {
    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, ino: INodeNo) -> io::Result<String> {
        self.nodes().path(ino.0).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> io::Result<String> {
        let folder = self.path(parent)?;
        let name = name.to_str().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") })
    }

    fn at(&self, path: &str) -> PathBuf {
        // Joined with an empty path a folder would get a slash at its end.
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn file(&self, handle: FileHandle) -> io::Result<Arc<File>> {
        self.handles().files.get(&handle.0).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open(&self, file: File) -> FileHandle {
        let mut handles = self.handles();
        handles.last += 1;
        let handle = handles.last;
        handles.files.insert(handle, Arc::new(file));
        FileHandle(handle)
    }

    fn attr_of(&self, path: &str) -> io::Result<FileAttr> {
        let meta = fs::symlink_metadata(self.at(path))?;
        let number = self.nodes().number(path);
        Ok(attr(number, &meta))
    }

    fn attr(&self, ino: INodeNo, handle: Option<FileHandle>) -> io::Result<FileAttr> {
        match handle.map(|handle| self.file(handle)) {
            Some(Ok(file)) => Ok(attr(ino.0, &file.metadata()?)),
            Some(Err(_)) | None => Ok(attr(ino.0, &fs::symlink_metadata(self.at(&self.path(ino)?))?)),
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<(String, FileType)>> {
        let mut names = vec![(".".to_owned(), FileType::Directory), ("..".to_owned(), FileType::Directory)];
        for entry in fs::read_dir(self.at(path))? {
            let entry = entry?;
            let kind = FileType::from_std(entry.file_type()?).ok_or(io::ErrorKind::InvalidData)?;
            names.push((entry.file_name().into_string().map_err(|_| io::ErrorKind::InvalidData)?, kind));
        }
        Ok(names)
    }
}

fn attr(number: u64, meta: &Metadata) -> FileAttr {
    let time = |seconds: i64, nanoseconds: i64| {
        let nanoseconds = Duration::from_nanos(nanoseconds as u64);
        if seconds < 0 {
            SystemTime::UNIX_EPOCH - Duration::from_secs(seconds.unsigned_abs()) + nanoseconds
        } else {
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds as u64) + nanoseconds
        }
    };
    FileAttr {
        ino: INodeNo(number),
        size: meta.len(),
        blocks: meta.blocks(),
        atime: time(meta.atime(), meta.atime_nsec()),
        mtime: time(meta.mtime(), meta.mtime_nsec()),
        ctime: time(meta.ctime(), meta.ctime_nsec()),
        crtime: SystemTime::UNIX_EPOCH,
        kind: FileType::from_std(meta.file_type()).unwrap_or(FileType::RegularFile),
        perm: (meta.mode() & 0o7777) as u16,
        nlink: meta.nlink() as u32,
        uid: meta.uid(),
        gid: meta.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// Answers with what was done, or why it was not.
fn answer<R: Refuse, T>(reply: R, done: io::Result<T>, with: impl FnOnce(R, T)) {
    match done {
        Ok(value) => with(reply, value),
        Err(error) if error.raw_os_error().is_some() => reply.refuse(Errno::from(error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => reply.refuse(Errno::ENOENT),
        Err(_) => reply.refuse(Errno::EINVAL),
    }
}

fn entry(reply: ReplyEntry, attr: FileAttr) {
    reply.entry(&UNCACHED, &attr, Generation(0));
}

fn set_attributes(
    at: &Path,
    file: Option<&File>,
    mode: Option<u32>,
    size: Option<u64>,
    mtime: Option<TimeOrNow>,
) -> io::Result<()> {
    if let Some(mode) = mode {
        fs::set_permissions(at, Permissions::from_mode(mode & 0o7777))?;
    }
    let modified = mtime.map(|mtime| match mtime {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    });
    if size.is_none() && modified.is_none() {
        return Ok(());
    }
    let opened = match file {
        Some(file) => file.try_clone()?,
        None => File::options().write(true).open(at)?,
    };
    if let Some(size) = size {
        opened.set_len(size)?;
    }
    modified.map_or(Ok(()), |modified| opened.set_times(FileTimes::new().set_modified(modified)))
}

impl Filesystem for Passthrough {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.serve(Call::Lookup, self.child(parent, name), reply, |tree, path, reply| {
            answer(reply, tree.attr_of(path), entry);
        });
    }

    fn getattr(&self, _: &Request, ino: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        self.serve(Call::Attributes, self.path(ino), reply, move |tree, _, reply| {
            answer(reply, tree.attr(ino, handle), |reply, attr| reply.attr(&UNCACHED, &attr));
        });
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.serve(Call::SetAttributes, self.path(ino), reply, move |tree, path, reply| {
            let file = handle.and_then(|handle| tree.file(handle).ok());
            let done = set_attributes(&tree.at(path), file.as_deref(), mode, size, mtime);
            answer(reply, done.and_then(|()| tree.attr(ino, handle)), |reply, attr| reply.attr(&UNCACHED, &attr));
        });
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        self.serve(Call::MakeFolder, self.child(parent, name), reply, move |tree, path, reply| {
            let at = tree.at(path);
            let made = fs::create_dir(&at).and_then(|()| fs::set_permissions(&at, Permissions::from_mode(mode)));
            answer(reply, made.and_then(|()| tree.attr_of(path)), entry);
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve(Call::Unlink, self.child(parent, name), reply, |tree, path, reply| {
            let done = fs::remove_file(tree.at(path)).map(|()| tree.nodes().remove(path));
            answer(reply, done, |reply, ()| reply.ok());
        });
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve(Call::RemoveFolder, self.child(parent, name), reply, |tree, path, reply| {
            let done = fs::remove_dir(tree.at(path)).map(|()| tree.nodes().remove(path));
            answer(reply, done, |reply, ()| reply.ok());
        });
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let to = self.child(new_parent, new_name);
        self.serve(Call::Rename, self.child(parent, name), reply, move |tree, from, reply| {
            let flags = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
            let done = to.and_then(|to| {
                rustix::fs::renameat_with(CWD, tree.at(from), CWD, tree.at(&to), flags)?;
                tree.nodes().rename(from, &to);
                Ok(())
            });
            answer(reply, done, |reply, ()| reply.ok());
        });
    }

    fn link(&self, _: &Request, ino: INodeNo, new_parent: INodeNo, new_name: &OsStr, reply: ReplyEntry) {
        let second = self.child(new_parent, new_name);
        self.serve(Call::Link, self.path(ino), reply, move |tree, path, reply| {
            let linked = second.and_then(|second| {
                fs::hard_link(tree.at(path), tree.at(&second))?;
                tree.attr_of(&second)
            });
            answer(reply, linked, entry);
        });
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.serve(Call::Open, self.path(ino), reply, move |tree, path, reply| {
            // Past the cache or not is the business of whoever asks the medium below.
            let how = flags.0 & !(rustix::fs::OFlags::DIRECT.bits() as i32);
            let (read, write) = match how & 3 {
                0 => (true, false),
                1 => (false, true),
                _ => (true, true),
            };
            let opened = OpenOptions::new().read(read).write(write).open(tree.at(path));
            answer(reply, opened, |reply, file| reply.opened(tree.open(file), FopenFlags::FOPEN_DIRECT_IO));
        });
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, flags: i32, reply: ReplyCreate) {
        self.serve(Call::Create, self.child(parent, name), reply, move |tree, path, reply| {
            let mut how = OpenOptions::new();
            how.read(true).write(true).mode(mode);
            let new = flags & rustix::fs::OFlags::EXCL.bits() as i32 != 0;
            let made = how.create(!new).create_new(new).open(tree.at(path));
            answer(reply, made.and_then(|file| Ok((tree.attr_of(path)?, file))), |reply, (attr, file)| {
                reply.created(&UNCACHED, &attr, Generation(0), tree.open(file), FopenFlags::FOPEN_DIRECT_IO);
            });
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.serve(Call::Read, self.path(ino), reply, move |tree, _, reply| {
            let mut bytes = vec![0; size as usize];
            let read = tree.file(handle).and_then(|file| file.read_at(&mut bytes, offset));
            answer(reply, read, |reply, count| reply.data(&bytes[..count]));
        });
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let data = data.to_vec();
        let len = self.tree.file(handle).and_then(|file| file.metadata()).map_or(0, |meta| meta.len());
        let call = if offset + data.len() as u64 <= len { Call::Overwrite } else { Call::Write };
        self.serve(call, self.path(ino), reply, move |tree, _, reply| {
            let written = tree.file(handle).and_then(|file| file.write_all_at(&data, offset));
            answer(reply, written, |reply, ()| reply.written(data.len() as u32));
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.tree.handles().files.remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.serve(Call::Sync, self.path(ino), reply, |_, _, reply| reply.ok());
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.serve(Call::OpenFolder, self.path(ino), reply, |tree, path, reply| {
            answer(reply, tree.list(path), |reply, names| {
                let mut handles = tree.handles();
                handles.last += 1;
                let handle = handles.last;
                handles.lists.insert(handle, Arc::new(names));
                reply.opened(FileHandle(handle), FopenFlags::empty());
            });
        });
    }

    fn readdir(&self, _: &Request, ino: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectory) {
        self.serve(Call::List, self.path(ino), reply, move |tree, _, mut reply| {
            let Some(names) = tree.handles().lists.get(&handle.0).cloned() else { return reply.error(Errno::EBADF) };
            for (at, (name, kind)) in names.iter().enumerate().skip(offset as usize) {
                // Its number says nothing: only names are asked for.
                if reply.add(INodeNo(ROOT), at as u64 + 1, *kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.tree.handles().lists.remove(&handle.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.serve(Call::SyncFolder, self.path(ino), reply, |_, _, reply| reply.ok());
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        self.serve(Call::Space, self.path(ino), reply, |tree, _, reply| {
            let stat = rustix::fs::statvfs(&tree.root).map_err(io::Error::from);
            answer(reply, stat, |reply, stat| {
                reply.statfs(
                    stat.f_blocks,
                    stat.f_bfree,
                    stat.f_bavail,
                    stat.f_files,
                    stat.f_ffree,
                    stat.f_bsize as u32,
                    255,
                    stat.f_frsize as u32,
                );
            });
        });
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.serve(Call::Allocate, self.path(ino), reply, move |tree, _, reply| {
            let mode = FallocateFlags::from_bits_retain(mode as u32);
            let done = tree.file(handle).and_then(|file| Ok(rustix::fs::fallocate(file, mode, offset, length)?));
            answer(reply, done, |reply, ()| reply.ok());
        });
    }
}
