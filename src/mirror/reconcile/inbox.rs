//! What the lanes found that is to be taken into the mirror.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::ids::{Arrival, NodeId, PerSide, Side};
use crate::mirror::reconcile::refusals::Refusals;
use crate::mirror::reconcile::stock::{Rest, Taken};
use crate::mirror::volume::Meta;
use crate::path::RelPath;

/// New files that wait; the lanes look for no more meanwhile.
const NEWCOMERS_MAX: usize = 1024;

/// A file or folder that somebody else made on a drive.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    /// Where it belongs in the mirror.
    pub(crate) path: RelPath,
    /// Where it is on the drive.
    pub(crate) at: String,
    pub(crate) meta: Meta,
}

#[derive(Clone, Debug)]
pub(crate) enum Job {
    /// Something in the aside folder, by its name there.
    Aside(String),
    Newcomer(Newcomer),
}

impl Job {
    /// What it is about, for people and to tell it from others.
    pub(crate) fn what(&self) -> &str {
        match self {
            Self::Aside(name) => name,
            Self::Newcomer(newcomer) => &newcomer.at,
        }
    }
}

/// A job on one stay of a drive; of no use in a later one, which looks again.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) side: Side,
    pub(crate) arrival: Arrival,
    pub(crate) job: Job,
}

/// The jobs that wait. Bounded by what may lie aside, and by [`Inbox::is_full`].
#[derive(Default)]
pub(crate) struct Inbox {
    tasks: Mutex<Tasks>,
    bell: Notify,
}

#[derive(Default)]
struct Tasks {
    waiting: VecDeque<Task>,
    /// How many wait or are under way.
    open: PerSide<u64>,
}

impl Inbox {
    pub(crate) fn add(&self, side: Side, arrival: Arrival, jobs: impl Iterator<Item = Job>) {
        let mut tasks = self.tasks.lock();
        let before = tasks.waiting.len();
        tasks.waiting.extend(jobs.map(|job| Task { side, arrival, job }));
        *tasks.open.get_mut(side) += (tasks.waiting.len() - before) as u64;
        drop(tasks);
        self.bell.notify_one();
    }

    /// Whether the lanes are to look for no more.
    pub(crate) fn is_full(&self) -> bool {
        self.tasks.lock().waiting.len() >= NEWCOMERS_MAX
    }

    /// Jobs on a drive that wait or are under way.
    pub(crate) fn open(&self, side: Side) -> u64 {
        *self.tasks.lock().open.get(side)
    }

    /// One that [`Inbox::next`] gave is under way no more.
    pub(crate) fn done(&self, side: Side) {
        *self.tasks.lock().open.get_mut(side) -= 1;
    }

    /// The next job, until [`Inbox::done`]; waits for one.
    pub(crate) async fn next(&self) -> Task {
        loop {
            let rung = self.bell.notified();
            let task = {
                let mut tasks = self.tasks.lock();
                let task = tasks.waiting.pop_front();
                if !tasks.waiting.is_empty() {
                    // One ring wakes one of those who wait.
                    self.bell.notify_one();
                }
                task
            };
            match task {
                Some(task) => return task,
                None => rung.await,
            }
        }
    }
}

/// What a lane is told by those who take things in.
#[derive(Default)]
pub(crate) struct Errands {
    folders: Mutex<BTreeSet<NodeId>>,
    everywhere: AtomicBool,
    refusals: Mutex<Refusals>,
    /// What lay aside and was taken; bounded by what may lie there.
    taken: Mutex<Vec<Taken>>,
}

impl Errands {
    /// A folder is to be looked into.
    pub(crate) fn look_into(&self, folder: NodeId) {
        self.folders.lock().insert(folder);
    }

    /// What was not taken in, and may be later.
    pub(crate) fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock()
    }

    /// The whole drive is to be looked through.
    pub(crate) fn look_everywhere(&self) {
        self.everywhere.store(true, Ordering::Relaxed);
    }

    pub(crate) fn take_everywhere(&self) -> bool {
        self.everywhere.swap(false, Ordering::Relaxed)
    }

    /// Folders that the lane has not taken up yet.
    pub(crate) fn folders(&self) -> u64 {
        self.folders.lock().len() as u64
    }

    pub(crate) fn take_folders(&self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.folders.lock())
    }

    /// Something that lay aside does no more, or there is less of it.
    pub(crate) fn note_taken(&self, taken: Taken) {
        let mut all = self.taken.lock();
        match all.last_mut().filter(|last| last.name == taken.name && last.rest == Rest::Something) {
            Some(last) => *last = Taken { bytes: last.bytes + taken.bytes, ..taken },
            None => all.push(taken),
        }
    }

    pub(crate) fn take_taken(&self) -> Vec<Taken> {
        std::mem::take(&mut self.taken.lock())
    }
}
