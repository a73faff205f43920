//! Calls that fail to order, and the count of all calls.

use std::sync::Arc;

use rustix::io::Errno;

use crate::mirror::volume::{Disposition, VolumeError};

/// What sort of work a call asks of the drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum CallKind {
    /// `open`, `open_write`, `stat`, `list`, `space`, a file's `meta`. Cached opens are not counted.
    Look,
    /// `read_at`. Cached reads are not counted.
    Read,
    /// `write_at`, `preallocate`, `set_attributes`.
    Write,
    /// `create`, `make_folder`, `rename`, `replace`, `remove_file`, `remove_folder`.
    Name,
    /// A file's `sync`, `sync_folder`, `sync_all`.
    Sync,
    Probe,
}

/// How many calls of each kind a medium has had, failed ones too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub look: u64,
    pub read: u64,
    pub write: u64,
    pub name: u64,
    pub sync: u64,
    pub probe: u64,
}

impl Calls {
    pub(super) fn count(&mut self, kind: CallKind) {
        *match kind {
            CallKind::Look => &mut self.look,
            CallKind::Read => &mut self.read,
            CallKind::Write => &mut self.write,
            CallKind::Name => &mut self.name,
            CallKind::Sync => &mut self.sync,
            CallKind::Probe => &mut self.probe,
        } += 1;
    }
}

/// What a call does instead of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It changes nothing and fails once. A sync that fails so has forgotten the data it was to write:
    /// like Linux, a second sync succeeds and makes none of it durable.
    Once(Disposition),
    /// The process that calls is killed before the call: it sees an error, the medium nothing.
    Kill,
    /// The stick is pulled during the call: whether its work was done, the power cut decides.
    Pull,
    /// The stick has gone and its file system has not noticed, as ext4 does: names change in its cache, the syncs of
    /// folders and of all say that all is well, and only that of a file finds it out.
    Dead,
}

/// Whether a call of this kind, on this path, is meant.
pub(crate) type Which = fn(CallKind, &str) -> bool;

struct Order {
    /// Such calls to go until it happens; 1 is the next.
    left: u64,
    which: Which,
    act: Box<dyn FnOnce() + Send>,
}

/// Something that happens elsewhere just before a call: other threads do not wait for this one.
#[derive(Default)]
pub(super) struct Interlude {
    armed: Option<Order>,
    /// What happens before each sync.
    watcher: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Interlude {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "interlude in {:?} calls", self.armed.as_ref().map(|order| order.left))
    }
}

/// A copy of a medium has a life of its own.
impl Clone for Interlude {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Interlude {
    pub(super) fn arm(&mut self, nth: u64, which: Which, act: Box<dyn FnOnce() + Send>) {
        self.armed = Some(Order { left: nth, which, act });
    }

    /// Counts a call; what is due before it.
    pub(super) fn due(&mut self, kind: CallKind, path: &str) -> Option<Box<dyn FnOnce() + Send>> {
        let order = self.armed.as_mut()?;
        order.left -= u64::from((order.which)(kind, path));
        if order.left > 0 {
            return None;
        }
        self.armed.take().map(|order| order.act)
    }

    pub(super) fn clear(&mut self) {
        self.armed = None;
    }

    pub(super) fn watch(&mut self, watcher: Option<Arc<dyn Fn() + Send + Sync>>) {
        self.watcher = watcher;
    }

    pub(super) fn watcher(&self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        self.watcher.clone()
    }
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    /// Calls to go until it fires; 1 is the next.
    left: u64,
    kind: Option<CallKind>,
    fault: Fault,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    armed: Vec<Armed>,
}

impl Faults {
    pub(super) fn arm(&mut self, nth: u64, kind: Option<CallKind>, fault: Fault) {
        assert!(nth > 0, "faults are counted from 1, the next call");
        self.armed.push(Armed { left: nth, kind, fault });
    }

    pub(super) fn clear(&mut self) {
        self.armed.clear();
    }

    /// Counts a call; the fault that is due at it. Of several, the one armed first.
    pub(super) fn due(&mut self, kind: CallKind) -> Option<Fault> {
        for armed in &mut self.armed {
            if armed.kind.is_none_or(|wanted| wanted == kind) {
                armed.left -= 1;
            }
        }
        let due = self.armed.iter().find(|armed| armed.left == 0).map(|armed| armed.fault);
        self.armed.retain(|armed| armed.left > 0);
        due
    }
}

pub(super) fn error(op: &'static str, path: &str, disposition: Disposition, errno: Errno) -> VolumeError {
    VolumeError { op, path: path.to_owned(), disposition, source: errno.into() }
}

/// The error that an ordered failure shows.
pub(super) fn ordered(op: &'static str, path: &str, disposition: Disposition) -> VolumeError {
    let errno = match disposition {
        Disposition::DriveLost | Disposition::BadRead => Errno::IO,
        Disposition::NoSpace => Errno::NOSPC,
        Disposition::NotFound => Errno::NOENT,
        Disposition::InTheWay => Errno::EXIST,
        Disposition::Refused => Errno::INVAL,
        Disposition::Shortage => Errno::MFILE,
    };
    error(op, path, disposition, errno)
}

/// What an error of the simulated file system itself says of the drive.
pub(super) fn classified(op: &'static str, path: &str, errno: Errno) -> VolumeError {
    let disposition = match errno {
        Errno::NOENT => Disposition::NotFound,
        Errno::NOSPC | Errno::FBIG => Disposition::NoSpace,
        Errno::EXIST | Errno::NOTEMPTY | Errno::ISDIR | Errno::NOTDIR => Disposition::InTheWay,
        Errno::NODEV => Disposition::DriveLost,
        _ => Disposition::Refused,
    };
    error(op, path, disposition, errno)
}
