//! What could not be taken in, and when it is tried again. Pure: the lane tries.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::mirror::reconcile::inbox::Job;
use crate::mirror::reconcile::survey::Next;
use crate::path::RelPath;

/// Before each try after a refusal; the last from then on. A read that failed once may not the next time.
const DELAYS: [Duration; 4] =
    [Duration::from_secs(10), Duration::from_mins(1), Duration::from_mins(10), Duration::from_mins(55)];
/// Between two tries because there is room: the figures may say so, and the drive not.
const ROOM_PAUSE: Duration = Duration::from_secs(5);
/// Jobs that are kept; with more the whole drive is searched again.
const JOBS_MAX: usize = 1024;

/// What a refused job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// So many bytes on both drives.
    Room(u64),
    Time,
}

/// What is to be tried again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Again {
    /// In the aside folder, by their names there.
    pub(crate) items: Vec<String>,
    /// Folders of the mirror's that had something new.
    pub(crate) folders: BTreeSet<RelPath>,
    /// The whole drive.
    pub(crate) search: bool,
}

/// What was refused on one stay of a drive.
#[derive(Default)]
pub(crate) struct Refusals {
    jobs: BTreeMap<String, Refused>,
    search: bool,
    /// Tries since all went well.
    tries: usize,
    /// When all is tried again; `None`: there is nothing.
    due: Option<Instant>,
    /// A refusal before then is one more of the same trouble.
    trouble_until: Option<Instant>,
}

struct Refused {
    job: Job,
    want: Want,
    at: Instant,
}

impl Refusals {
    /// A job was refused.
    pub(crate) fn add(&mut self, job: Job, want: Want, now: Instant) {
        let what = job.what().to_owned();
        if self.jobs.len() < JOBS_MAX || self.jobs.contains_key(&what) {
            self.jobs.insert(what, Refused { job, want, at: now });
        } else {
            self.search = true;
        }
        self.wait(now);
    }

    /// Something on the drive could not be looked at.
    pub(crate) fn miss(&mut self, now: Instant) {
        self.search = true;
        self.wait(now);
    }

    fn wait(&mut self, now: Instant) {
        if self.due.is_none() {
            if self.trouble_until.is_none_or(|until| until < now) {
                self.tries = 0;
            }
            self.due = Some(now + self.delay());
        }
    }

    fn delay(&self) -> Duration {
        DELAYS.get(self.tries).or(DELAYS.last()).copied().unwrap_or_default()
    }

    pub(crate) fn waits_for_room(&self) -> bool {
        self.jobs.values().any(|refused| refused.want != Want::Time)
    }

    /// What has no room now: the first of it, and how much it is.
    pub(crate) fn for_want_of_room(&self) -> Option<(String, u64)> {
        let mut waits = self.jobs.iter().filter(|(_, refused)| refused.want != Want::Time);
        let (first, _) = waits.next()?;
        Some((first.clone(), 1 + waits.count() as u64))
    }

    /// What is to be tried now: all of it when the time has come, else what has room.
    pub(crate) fn take(&mut self, now: Instant, has_room: impl Fn(u64) -> bool) -> Again {
        if self.due.is_some_and(|due| due <= now) {
            return self.take_all(now);
        }
        let may_go = |refused: &Refused| match refused.want {
            Want::Room(bytes) => refused.at + ROOM_PAUSE <= now && has_room(bytes),
            Want::Time => false,
        };
        let (go, stay) = std::mem::take(&mut self.jobs).into_iter().partition(|(_, refused)| may_go(refused));
        self.jobs = stay;
        if self.jobs.is_empty() && !self.search {
            self.due = None;
        }
        again(go, false)
    }

    /// All of it: something came that may help.
    pub(crate) fn take_all(&mut self, now: Instant) -> Again {
        if self.due.take().is_some() {
            self.tries += 1;
            self.trouble_until = Some(now + self.delay());
        }
        again(std::mem::take(&mut self.jobs), std::mem::take(&mut self.search))
    }

    /// When [`Refusals::take`] may have something.
    pub(crate) fn next(&self, now: Instant) -> Next {
        let paused = self.jobs.values().filter(|refused| refused.want != Want::Time);
        let paused = paused.map(|refused| refused.at + ROOM_PAUSE).filter(|at| *at > now).min();
        match self.due.into_iter().chain(paused).min() {
            Some(at) if at <= now => Next::Now,
            Some(at) => Next::At(at),
            None => Next::Asked,
        }
    }
}

fn again(jobs: BTreeMap<String, Refused>, search: bool) -> Again {
    let mut again = Again { search, ..Again::default() };
    for Refused { job, .. } in jobs.into_values() {
        match job {
            Job::Aside(name) => again.items.push(name),
            // It may be another one by now: it is looked at anew.
            Job::Newcomer(newcomer) => drop(again.folders.insert(newcomer.path.folder())),
        }
    }
    again
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Observed;
    use crate::mirror::reconcile::inbox::Newcomer;
    use crate::mirror::volume::{FileKind, Meta};

    fn newcomer(path: &str) -> Job {
        let meta = Meta { kind: FileKind::File, observed: Observed { size: 1, mtime_ns: 1 }, executable: false };
        Job::Newcomer(Newcomer { path: RelPath::parse(path).unwrap(), at: path.to_owned(), meta })
    }

    fn none(_: u64) -> bool {
        false
    }

    #[test]
    fn what_was_refused_is_tried_again_ever_less_often() {
        let (mut refusals, mut now) = (Refusals::default(), crate::clock::now());
        for delay in DELAYS.into_iter().chain([DELAYS[3]]) {
            refusals.add(newcomer("d/f"), Want::Time, now);
            refusals.add(newcomer("d/g"), Want::Time, now);
            refusals.add(Job::Aside("1.1".to_owned()), Want::Time, now);
            assert_eq!(refusals.next(now), Next::At(now + delay));
            assert_eq!(refusals.take(now, none), Again::default());
            now += delay;
            assert_eq!(refusals.next(now), Next::Now);
            let folders = [RelPath::parse("d").unwrap()].into();
            assert_eq!(refusals.take(now, none), Again { items: vec!["1.1".to_owned()], folders, search: false });
            assert_eq!(refusals.next(now), Next::Asked);
        }
        // All went well for long: what comes now is another trouble.
        now += 2 * DELAYS[3];
        refusals.miss(now);
        assert_eq!(refusals.next(now), Next::At(now + DELAYS[0]));
        assert_eq!(refusals.take(now + DELAYS[0], none), Again { search: true, ..Again::default() });
    }

    #[test]
    fn what_found_no_room_is_tried_again_when_there_is_some() {
        let (mut refusals, now) = (Refusals::default(), crate::clock::now());
        refusals.add(Job::Aside("large".to_owned()), Want::Room(1000), now);
        refusals.add(Job::Aside("small".to_owned()), Want::Room(10), now);
        refusals.add(Job::Aside("unreadable".to_owned()), Want::Time, now);
        assert!(refusals.waits_for_room());
        let fits = |bytes| bytes <= 10;
        assert_eq!(refusals.take(now, fits), Again::default(), "the figures may be old");
        assert_eq!(refusals.next(now), Next::At(now + ROOM_PAUSE));
        assert_eq!(refusals.take(now + ROOM_PAUSE, fits).items, ["small"]);
        assert_eq!(refusals.next(now + ROOM_PAUSE), Next::At(now + DELAYS[0]));
        assert_eq!(refusals.take_all(now + ROOM_PAUSE).items, ["large", "unreadable"]);
        assert_eq!(refusals.next(now + ROOM_PAUSE), Next::Asked);
    }

    #[test]
    fn more_than_is_kept_is_a_search_of_the_whole_drive() {
        let (mut refusals, now) = (Refusals::default(), crate::clock::now());
        for number in 0..=JOBS_MAX {
            refusals.add(newcomer(&number.to_string()), Want::Time, now);
        }
        let again = refusals.take_all(now);
        assert!(again.search && again.folders == [RelPath::ROOT].into());
    }
}
