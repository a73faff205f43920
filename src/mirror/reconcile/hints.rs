//! What the kernel tells of changes in a drive's folders: hints where the lane is to look, and nothing more.
//!
//! The mirror's own writes are told like everybody's: whoever looks compares, and finds what it knows. Folders are
//! watched one by one, as the lane's search comes to them, on a thread of its own: on a drive that hangs it holds up
//! nobody. The watches end with the lane and keep no drive from being unmounted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;

use crate::ids::Side;
use crate::mirror::attachment::Wake;
use crate::mirror::layout;
use crate::path::OWN_FOLDER;

/// Folders of a drive that are watched, about 400 bytes each and a kilobyte of the kernel's; the kernel's own limit is
/// lower on small machines.
const FOLDERS_MAX: usize = 32_768;
/// Names that wait to be looked at; with more the whole drive is searched.
const NAMES_MAX: usize = 8192;
/// So many are looked at though the lane has other work: its own installs are among them.
const NAMES_PRESSING: usize = 1024;
/// What is told is gathered for so long before it is looked at: somebody who writes goes on.
const GATHER: Duration = Duration::from_secs(1);
/// How long the lane waits for a watch. One that takes longer is on a drive that hangs.
const WATCH_TIMEOUT: Duration = Duration::from_secs(1);

/// A name in a folder, by their paths on the drive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hint {
    pub(crate) folder: String,
    pub(crate) name: String,
}

/// What was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    /// Something, and more may come until then.
    Later(Instant),
    Names(Vec<Hint>),
    /// Too much: where to look is not known.
    Everything,
}

/// Whether the kernel tells of what is done in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// From now on: what was done before is to be looked for.
    Begun,
    Already,
    No,
}

/// Why some of a drive's folders are not watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwatched {
    /// The drive has more than this daemon watches.
    TooMany,
    /// The kernel gives no more watches (`fs.inotify.max_user_watches`).
    NoWatches,
    /// The kernel gives no events at all (`fs.inotify.max_user_instances`).
    NoEvents,
}

/// The hints of one stay of a drive.
pub(crate) struct Hints {
    side: Side,
    shared: Arc<Shared>,
    orders: Option<Sender<Order>>,
}

/// A folder that is to be watched, and where the answer goes.
struct Order {
    folder: PathBuf,
    answer: Sender<notify::Result<()>>,
}

struct Shared {
    root: PathBuf,
    wake: Arc<Wake>,
    told: Mutex<Gathered>,
}

#[derive(Default)]
struct Gathered {
    /// Folders that are watched, by their paths on the drive.
    watched: BTreeSet<String>,
    names: BTreeSet<Hint>,
    everything: bool,
    /// When the lane first heard of what waits.
    since: Option<Instant>,
    unwatched: Option<Unwatched>,
}

impl Hints {
    /// Begins without a watch on the drive at `root`; `wake` rings when there is something to look at.
    pub(crate) fn start(side: Side, root: &Path, wake: &Arc<Wake>) -> std::io::Result<Self> {
        let root = std::path::absolute(root)?;
        let shared = Arc::new(Shared { root, wake: Arc::clone(wake), told: Mutex::default() });
        let telling = Arc::clone(&shared);
        let mut hints = Self { side, shared, orders: None };
        match notify::recommended_watcher(move |event| telling.tell(event)) {
            Ok(watcher) => hints.orders = Some(take_orders(side, watcher)?),
            Err(error) => {
                tracing::debug!(drive = %side, %error, "no file system events");
                hints.give_up(Unwatched::NoEvents);
            }
        }
        Ok(hints)
    }

    /// Watches a folder, by its path on the drive.
    pub(crate) fn watch(&mut self, folder: &str) -> Watch {
        let Some(orders) = &self.orders else { return Watch::No };
        {
            let mut told = self.shared.told.lock();
            if told.watched.contains(folder) {
                return Watch::Already;
            }
            if told.unwatched.is_some() {
                return Watch::No;
            }
            if told.watched.len() < FOLDERS_MAX {
                // Before it is: what is told of it meanwhile may be its end.
                told.watched.insert(folder.to_owned());
            } else {
                drop(told);
                self.give_up(Unwatched::TooMany);
                return Watch::No;
            }
        }
        let (answer, answered) = mpsc::channel();
        let path = if folder.is_empty() { self.shared.root.clone() } else { self.shared.root.join(folder) };
        let asked = orders.send(Order { folder: path, answer }).map_err(|_| RecvTimeoutError::Disconnected);
        match asked.and_then(|()| answered.recv_timeout(WATCH_TIMEOUT)) {
            Ok(Ok(())) => Watch::Begun,
            Ok(Err(error)) => {
                self.shared.told.lock().watched.remove(folder);
                if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) {
                    self.give_up(Unwatched::NoWatches);
                } else {
                    // It has gone again, or is no folder any more: the folder above tells of that.
                    tracing::debug!(drive = %self.side, folder, %error, "not watched");
                }
                Watch::No
            }
            Err(error) => {
                tracing::debug!(drive = %self.side, folder, %error, "watching a folder takes too long");
                self.orders = None;
                Watch::No
            }
        }
    }

    /// From now on no further folder is watched.
    fn give_up(&self, why: Unwatched) {
        self.shared.told.lock().unwatched = Some(why);
        tracing::warn!(drive = %self.side, ?why, "changes by others in some folders are found by the next search only");
    }

    pub(crate) fn unwatched(&self) -> Option<Unwatched> {
        self.shared.told.lock().unwatched
    }

    /// What is to be looked at, at most so much of it.
    pub(crate) fn take(&self, now: Instant, at_most: usize) -> Told {
        self.shared.told.lock().take(now, at_most)
    }

    /// Whether so much waits that it is to be looked at though there are debts.
    pub(crate) fn are_pressing(&self) -> bool {
        self.shared.told.lock().names.len() >= NAMES_PRESSING
    }
}

/// Adds watches until nobody asks for them any more; then all of them end.
fn take_orders(side: Side, mut watcher: RecommendedWatcher) -> std::io::Result<Sender<Order>> {
    let (orders, taken) = mpsc::channel::<Order>();
    let work = move || {
        for Order { folder, answer } in taken {
            // Nobody waits for the answer where it took too long.
            let _ = answer.send(watcher.watch(&folder, RecursiveMode::NonRecursive));
        }
    };
    std::thread::Builder::new().name(format!("{side}-hints")).spawn(work)?;
    Ok(orders)
}

impl Shared {
    fn tell(&self, event: notify::Result<Event>) {
        let mut told = self.told.lock();
        let was_empty = told.is_empty();
        match event {
            Ok(event) if event.need_rescan() => told.lose_track(),
            Ok(event) => {
                let Some(of_names) = change(event.kind) else { return };
                for path in event.paths.iter().filter_map(|path| path.strip_prefix(&self.root).ok()?.to_str()) {
                    told.add(path, of_names);
                }
            }
            Err(_) => told.lose_track(),
        }
        let is_news = was_empty && !told.is_empty();
        drop(told);
        if is_news {
            self.wake.ring();
        }
    }
}

/// What a name's event means for the name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Gone,
    Other,
}

/// What an event says; nothing where nothing was changed.
fn change(kind: EventKind) -> Option<Change> {
    match kind {
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => Some(Change::Gone),
        // The two names of one move, which are told one by one too.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => None,
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
            Some(Change::Other)
        }
        // Looking is no change, and our own looks would never end.
        EventKind::Access(_) | EventKind::Any | EventKind::Other => None,
    }
}

impl Gathered {
    fn is_empty(&self) -> bool {
        !self.everything && self.names.is_empty()
    }

    fn add(&mut self, path: &str, change: Change) {
        let own = path.strip_prefix(OWN_FOLDER).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if path.is_empty() || own {
            return;
        }
        if change == Change::Gone {
            self.forget_folder(path);
        }
        if self.everything {
            return;
        }
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        self.names.insert(Hint { folder: layout::parent(path).to_owned(), name });
        if self.names.len() > NAMES_MAX {
            self.everything = true;
            self.names.clear();
        }
    }

    /// The watches of a folder that has gone from its name end by themselves, with those of the folders in it.
    fn forget_folder(&mut self, path: &str) {
        if self.watched.remove(path) {
            // All that begins with it and a slash; `0` comes after that.
            let below: Vec<_> = self.watched.range(format!("{path}/")..format!("{path}0")).cloned().collect();
            for folder in below {
                self.watched.remove(&folder);
            }
        }
    }

    /// Events were lost, of folders that came and went too.
    fn lose_track(&mut self) {
        self.watched.clear();
        self.names.clear();
        self.everything = true;
    }

    fn take(&mut self, now: Instant, at_most: usize) -> Told {
        if self.is_empty() {
            return Told::Nothing;
        }
        let due = *self.since.get_or_insert(now) + GATHER;
        if now < due && self.names.len() < NAMES_PRESSING {
            return Told::Later(due);
        }
        if std::mem::take(&mut self.everything) {
            self.since = None;
            return Told::Everything;
        }
        let names = std::iter::from_fn(|| self.names.pop_first()).take(at_most).collect();
        if self.names.is_empty() {
            self.since = None;
        }
        Told::Names(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(folder: &str, name: &str) -> Hint {
        Hint { folder: folder.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn what_is_told_is_gathered_and_given_once() {
        let (mut told, now) = (Gathered::default(), crate::clock::now());
        assert_eq!(told.take(now, 9), Told::Nothing);
        for path in ["d/f", "d/f", "e", "", ".twinstick", ".twinstick/stage/1"] {
            told.add(path, Change::Other);
        }
        assert_eq!(told.take(now, 9), Told::Later(now + GATHER));
        assert_eq!(told.take(now + GATHER, 1), Told::Names(vec![hint("", "e")]));
        assert_eq!(told.take(now + GATHER, 9), Told::Names(vec![hint("d", "f")]));
        assert_eq!(told.take(now + GATHER, 9), Told::Nothing);
    }

    #[test]
    fn too_many_names_are_a_search_of_the_whole_drive() {
        let (mut told, now) = (Gathered::default(), crate::clock::now());
        for number in 0..=NAMES_MAX + 5 {
            told.add(&number.to_string(), Change::Other);
        }
        assert_eq!(told.take(now, 9), Told::Later(now + GATHER));
        assert_eq!(told.take(now + GATHER, 9), Told::Everything);
        assert_eq!(told.take(now + GATHER, 9), Told::Nothing);
    }

    #[test]
    fn a_folder_that_has_gone_is_watched_no_more_and_nor_are_those_in_it() {
        let watched = ["", "d", "d/e", "d/e/f", "d e", "d0"].map(str::to_owned).into();
        let mut told = Gathered { watched, ..Gathered::default() };
        told.add("d", Change::Gone);
        assert_eq!(told.watched, ["", "d e", "d0"].map(str::to_owned).into());
    }
}
