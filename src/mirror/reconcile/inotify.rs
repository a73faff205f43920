//! The kernel's events of single folders, inotify(7): those of changes alone. Each file that a client gets is opened, and
//! to be told of that too (as `notify` is) cost half of a GET's CPU time again.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::{Errno, Result};

/// Bytes of events that are read at once.
const BUFFER_BYTES: usize = 16 << 10;
/// What is told of.
const CHANGES: WatchFlags = WatchFlags::ATTRIB
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO);

/// A folder that is watched, by the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WatchId(pub(super) i32);

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Gone,
    Other,
}

/// What the kernel tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Something was done to a name in a folder.
    Name(WatchId, String, Change),
    /// A name that is not UTF-8 came to a folder, or something was done to it there.
    NotUtf8(WatchId),
    /// A folder is watched no more.
    Ended(WatchId),
    /// Events were lost.
    Overflow,
}

pub(super) struct Inotify {
    events: OwnedFd,
    end: OwnedFd,
}

impl Inotify {
    pub(super) fn new() -> Result<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { events, end: eventfd(0, EventfdFlags::CLOEXEC)? })
    }

    /// Watches a folder; one that is watched already keeps its number. Blocks as long as its drive does.
    pub(super) fn watch(&self, folder: &Path) -> Result<WatchId> {
        let flags = CHANGES | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        inotify::add_watch(&self.events, folder, flags).map(WatchId)
    }

    /// One that has ended by itself is forgotten already.
    pub(super) fn forget(&self, watches: &[WatchId]) {
        for watch in watches {
            let _ = inotify::remove_watch(&self.events, watch.0);
        }
    }

    /// Ends [`Inotify::listen`].
    pub(super) fn end(&self) {
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
    }

    /// Gives `tell` all that is told, until the end.
    pub(super) fn listen(&self, mut tell: impl FnMut(Event)) -> Result<()> {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = inotify::Reader::new(&self.events, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    if let Some(event) = event_of(WatchId(event.wd()), event.events(), event.file_name()) {
                        tell(event);
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => {
                    let mut ready = [PollFd::new(&self.events, PollFlags::IN), PollFd::new(&self.end, PollFlags::IN)];
                    match poll(&mut ready, None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error),
                    }
                    let [_, end] = ready;
                    if end.revents().contains(PollFlags::IN) {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What an event says; nothing where it is about the folder itself, of which the one above tells.
fn event_of(watch: WatchId, flags: ReadFlags, name: Option<&CStr>) -> Option<Event> {
    if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
        return Some(Event::Overflow);
    }
    if flags.contains(ReadFlags::IGNORED) {
        return Some(Event::Ended(watch));
    }
    let gone = flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM);
    match (name?.to_str(), gone) {
        (Ok(name), true) => Some(Event::Name(watch, name.to_owned(), Change::Gone)),
        (Ok(name), false) => Some(Event::Name(watch, name.to_owned(), Change::Other)),
        (Err(_), true) => None,
        (Err(_), false) => Some(Event::NotUtf8(watch)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::sync::Arc;

    use super::*;

    /// All that is told of what `act` does in a new folder with a file `f`.
    fn told(act: impl FnOnce(&Path)) -> Vec<Event> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), "one").unwrap();
        let inotify = Arc::new(Inotify::new().unwrap());
        let watch = inotify.watch(folder.path()).unwrap();
        assert_eq!(inotify.watch(folder.path()), Ok(watch));
        act(folder.path());
        fs::create_dir(folder.path().join("last")).unwrap();
        let mut told = Vec::new();
        let last = Event::Name(watch, "last".to_owned(), Change::Other);
        let listener = Arc::clone(&inotify);
        inotify
            .listen(|event| {
                if event == last {
                    listener.end();
                } else {
                    told.push(event);
                }
            })
            .unwrap();
        told
    }

    fn names(events: &[Event]) -> Vec<(&str, Change)> {
        let name = |event: &'_ Event| match event {
            Event::Name(_, name, change) => (name.clone(), *change),
            other => panic!("{other:?}"),
        };
        let mut names: Vec<_> = events.iter().map(name).collect();
        names.dedup();
        names.into_iter().map(|(name, change)| (&*name.leak(), change)).collect()
    }

    #[test]
    fn who_only_looks_is_not_told_of() {
        let looked = told(|folder| {
            assert_eq!(fs::read(folder.join("f")).unwrap(), b"one");
            assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
        });
        assert_eq!(looked, []);
    }

    #[test]
    fn a_name_that_is_not_utf8_is_told_of_while_it_is_there() {
        let mut events = told(|folder| {
            let other = folder.join(OsStr::from_bytes(b"caf\xe9"));
            fs::write(&other, "one").unwrap();
            fs::remove_file(&other).unwrap();
        });
        events.dedup();
        assert!(matches!(*events, [Event::NotUtf8(_)]), "{events:?}");
    }

    #[test]
    fn each_change_of_a_name_is_told_of() {
        let changed = told(|folder| {
            fs::write(folder.join("f"), "two").unwrap();
            fs::rename(folder.join("f"), folder.join("g")).unwrap();
            fs::remove_file(folder.join("g")).unwrap();
        });
        let expected = [("f", Change::Other), ("f", Change::Gone), ("g", Change::Other), ("g", Change::Gone)];
        assert_eq!(names(&changed), expected);
    }
}
