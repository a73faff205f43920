//! What the kernel tells of changes in a drive's folders: hints where the lane is to look, and nothing more.
//!
//! The mirror's own writes are told like everybody's: whoever looks compares, and finds what it knows. Folders are
//! watched one by one, as the lane's search comes to them, on a thread of its own: on a drive that hangs it holds up
//! nobody. The watches end with the lane and keep no drive from being unmounted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::ids::Side;
use crate::mirror::layout;
use crate::mirror::reconcile::inotify::{Change, Event, Inotify, WatchId};
use crate::mirror::wake::Wake;
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

/// Where something was done, by a folder's path on the drive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hint {
    Name {
        folder: String,
        name: String,
    },
    /// To a name that is not UTF-8.
    NotUtf8 {
        folder: String,
    },
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
    folder: String,
    answer: Sender<Result<(), Errno>>,
}

struct Shared {
    root: PathBuf,
    /// `None` where the kernel gives no events.
    inotify: Option<Inotify>,
    wake: Arc<Wake>,
    told: Mutex<Gathered>,
}

#[derive(Default)]
struct Gathered {
    /// Folders that are watched, by their paths on the drive; `None` while the watch is being asked for.
    watched: BTreeMap<String, Option<WatchId>>,
    /// The paths of those, as far as they are known to be there still.
    paths: BTreeMap<WatchId, String>,
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
        let (inotify, error) = Inotify::new().map_or_else(|error| (None, Some(error)), |inotify| (Some(inotify), None));
        let shared = Arc::new(Shared { root, inotify, wake: Arc::clone(wake), told: Mutex::default() });
        let mut hints = Self { side, shared: Arc::clone(&shared), orders: None };
        if let Some(error) = error {
            tracing::debug!(drive = %side, %error, "no file system events");
            hints.give_up(Unwatched::NoEvents);
            return Ok(hints);
        }
        hints.orders = Some(take_orders(side, &shared)?);
        std::thread::Builder::new().name(format!("{side}-events")).spawn(move || shared.listen(side))?;
        Ok(hints)
    }

    /// Watches a folder, by its path on the drive.
    pub(crate) fn watch(&mut self, folder: &str) -> Watch {
        let Some(orders) = &self.orders else { return Watch::No };
        {
            let mut told = self.shared.told.lock();
            if told.watched.contains_key(folder) {
                return Watch::Already;
            }
            if told.unwatched.is_some() {
                return Watch::No;
            }
            if told.watched.len() < FOLDERS_MAX {
                // Before it is: what is told of it meanwhile may be its end.
                told.watched.insert(folder.to_owned(), None);
            } else {
                drop(told);
                self.give_up(Unwatched::TooMany);
                return Watch::No;
            }
        }
        let (answer, answered) = mpsc::channel();
        let asked =
            orders.send(Order { folder: folder.to_owned(), answer }).map_err(|_| RecvTimeoutError::Disconnected);
        match asked.and_then(|()| answered.recv_timeout(WATCH_TIMEOUT)) {
            Ok(Ok(())) => Watch::Begun,
            Ok(Err(error)) => {
                self.shared.told.lock().watched.remove(folder);
                if error == Errno::NOSPC {
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

impl Drop for Hints {
    fn drop(&mut self) {
        if let Some(inotify) = &self.shared.inotify {
            inotify.end();
        }
    }
}

/// Adds watches until nobody asks for them any more.
fn take_orders(side: Side, shared: &Arc<Shared>) -> std::io::Result<Sender<Order>> {
    let (orders, taken) = mpsc::channel::<Order>();
    let shared = Arc::clone(shared);
    let work = move || {
        for Order { folder, answer } in taken {
            // Nobody waits for the answer where it took too long.
            let _ = answer.send(shared.watch(folder));
        }
    };
    std::thread::Builder::new().name(format!("{side}-hints")).spawn(work)?;
    Ok(orders)
}

impl Shared {
    fn watch(&self, folder: String) -> Result<(), Errno> {
        let Some(inotify) = &self.inotify else { return Err(Errno::MFILE) };
        let path = if folder.is_empty() { self.root.clone() } else { self.root.join(&folder) };
        let watch = inotify.watch(&path)?;
        if !self.told.lock().begin(folder, watch) {
            inotify.forget(&[watch]);
        }
        Ok(())
    }

    fn listen(&self, side: Side) {
        let Some(inotify) = &self.inotify else { return };
        let listened = inotify.listen(|event| inotify.forget(&self.tell(event)));
        if let Err(error) = listened {
            tracing::warn!(drive = %side, %error, "file system events");
            self.told.lock().lose_track();
            self.wake.ring();
        }
    }

    /// The watches that are of no use any more.
    fn tell(&self, event: Event) -> Vec<WatchId> {
        let mut told = self.told.lock();
        let was_empty = told.is_empty();
        let ended = match event {
            Event::Name(watch, name, change) => match told.paths.get(&watch) {
                Some(folder) => {
                    let path = layout::join(folder, &name);
                    told.add(&path, change)
                }
                None => Vec::new(),
            },
            Event::NotUtf8(watch) => {
                if let Some(folder) = told.paths.get(&watch).cloned() {
                    told.note(Hint::NotUtf8 { folder });
                }
                Vec::new()
            }
            Event::Ended(watch) => {
                // Not by us, who forget a watch before it ends; or it was begun again in that moment.
                match told.paths.remove(&watch) {
                    Some(path) => {
                        told.watched.remove(&path);
                        told.add(&path, Change::Other)
                    }
                    None => Vec::new(),
                }
            }
            Event::Overflow => told.lose_track(),
        };
        let is_news = was_empty && !told.is_empty();
        drop(told);
        if is_news {
            self.wake.ring();
        }
        ended
    }
}

impl Gathered {
    fn is_empty(&self) -> bool {
        !self.everything && self.names.is_empty()
    }

    /// Takes up the watch that was asked for, if its folder is still meant.
    fn begin(&mut self, folder: String, watch: WatchId) -> bool {
        match self.watched.get_mut(&folder) {
            Some(asked) => {
                *asked = Some(watch);
                self.paths.insert(watch, folder);
                true
            }
            None => false,
        }
    }

    /// Takes a name; the watches that are of no use any more.
    fn add(&mut self, path: &str, change: Change) -> Vec<WatchId> {
        let own = path.strip_prefix(OWN_FOLDER).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if path.is_empty() || own {
            return Vec::new();
        }
        let ended = match change {
            Change::Gone => self.forget_folder(path),
            Change::Other => Vec::new(),
        };
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        self.note(Hint::Name { folder: layout::parent(path).to_owned(), name });
        ended
    }

    fn note(&mut self, hint: Hint) {
        if self.everything {
            return;
        }
        self.names.insert(hint);
        if self.names.len() > NAMES_MAX {
            self.everything = true;
            self.names.clear();
        }
    }

    /// A folder that has gone from its name is watched no more, nor are those in it: where they are now is found out anew.
    fn forget_folder(&mut self, path: &str) -> Vec<WatchId> {
        let Some(watch) = self.watched.remove(path) else { return Vec::new() };
        // All that begins with it and a slash; `0` comes after that.
        let below: Vec<_> = self.watched.range(format!("{path}/")..format!("{path}0")).collect();
        let below: Vec<_> = below.into_iter().map(|(path, watch)| (path.clone(), *watch)).collect();
        let mut ended = Vec::new();
        for (path, watch) in below.into_iter().chain([(path.to_owned(), watch)]) {
            self.watched.remove(&path);
            // One that was found at its new place by now has its number still, and another path.
            let is_here = |watch: &WatchId| self.paths.get(watch) == Some(&path);
            ended.extend(watch.filter(is_here));
        }
        for watch in &ended {
            self.paths.remove(watch);
        }
        ended
    }

    /// Events were lost, of folders that came and went too.
    fn lose_track(&mut self) -> Vec<WatchId> {
        self.watched.clear();
        self.names.clear();
        self.everything = true;
        std::mem::take(&mut self.paths).into_keys().collect()
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
        Hint::Name { folder: folder.to_owned(), name: name.to_owned() }
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
        let mut told = Gathered::default();
        for (number, path) in (0..).zip(["", "d", "d/e", "d/e/f", "d e", "d0", "d/asked for"]) {
            told.watched.insert(path.to_owned(), None);
            if path != "d/asked for" {
                assert!(told.begin(path.to_owned(), WatchId(number)));
            }
        }
        // This one was found where it is now before it was told where it went.
        told.watched.insert("new".to_owned(), None);
        told.begin("new".to_owned(), WatchId(2));
        assert_eq!(told.add("d", Change::Gone), [WatchId(3), WatchId(1)]);
        let paths: Vec<_> = told.watched.keys().map(String::as_str).collect();
        assert_eq!(paths, ["", "d e", "d0", "new"]);
        assert!(!told.begin("d/asked for".to_owned(), WatchId(6)), "it has gone meanwhile");
        assert_eq!(told.paths.len(), 4);
        let mut all = told.lose_track();
        all.sort();
        assert_eq!(all, [WatchId(0), WatchId(2), WatchId(4), WatchId(5)]);
    }
}
