//! The watcher's loop: what wakes it, what it starts, what it tells.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;

use crate::ids::{DriveId, MirrorId, PerSide, Side};
use crate::mirror::label::Serials;
use crate::mirror::os_volume::{Device, Identity, OsVolume};
use crate::pulse::{Heart, Pulse, pulse};
use crate::watcher::attendance::{Attendance, Leave, News, Outcome, Parking, Roll};
use crate::watcher::hints::Hints;
use crate::watcher::jobs::{Again, Done, Job, Jobs};
use crate::watcher::look::{self, Looked, PlaceKind, Search};
use crate::watcher::mountinfo::MountTable;
use crate::watcher::mounts::{self, Mounts};
use crate::watcher::places;
use crate::watcher::sighting::{Departure, Found, RefusedLabel, Sighting, Visit};

/// What the watcher looks for, and where.
#[derive(Clone, Debug)]
pub struct WatcherConfig {
    pub mirror: MirrorId,
    pub known: PerSide<KnownDrive>,
    pub ground: Ground,
    /// What tells an older copy of a drive.
    pub serials: Arc<Serials>,
    /// Written into the locks of the drives, such as `twinstickd pid 12`. Another process must have another.
    pub holder: String,
    pub pace: Pace,
}

/// What may change while the watcher runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Patterns of more places, such as `/media/*/*`.
    pub places: Vec<String>,
    /// How often present drives are probed and absent ones looked for.
    pub tick: Duration,
    /// After how long an unanswered probe is told.
    pub probe_timeout: Duration,
}

/// What a drive of this mirror may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// A mounted file system; a folder with a drive's label is none.
    FileSystems,
    /// Also a plain folder: for trying things out.
    AnyFolder,
}

/// An enrolled drive and where it was seen.
#[derive(Clone, Debug)]
pub struct KnownDrive {
    pub id: DriveId,
    pub places: Vec<PathBuf>,
}

/// Speaks to a running watcher.
#[derive(Clone, Debug)]
pub struct WatcherHandle {
    asked: Arc<Asked>,
    pulse: Pulse,
}

#[derive(Debug, Default)]
struct Asked {
    wake: Arc<Notify>,
    lost: Mutex<PerSide<Option<(Visit, Leave)>>>,
    expected: Mutex<PerSide<Option<KnownDrive>>>,
    pace: Mutex<Option<Pace>>,
    parked: Mutex<PerSide<Parking>>,
}

impl WatcherHandle {
    /// Looks and probes at once. Also to be called when the owner has dropped what it held of a departed drive.
    pub fn rescan(&self) {
        self.asked.wake.notify_one();
    }

    /// Looks for another drive in place of one that was replaced.
    pub fn expect(&self, side: Side, drive: KnownDrive) {
        *self.asked.expected.lock().get_mut(side) = Some(drive);
        self.asked.wake.notify_one();
    }

    /// Shows whether the watcher's loop turns.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Says that the owner gave the drive up. It is announced again only after a fresh look at it, and while it is
    /// the same mount not within a second. An earlier visit than the present one is passed over.
    pub fn lost(&self, side: Side, visit: Visit) {
        self.give_up(side, visit, Leave::Failed);
    }

    /// As [`WatcherHandle::lost`], for a drive that is well: it is announced again at once.
    pub fn look_afresh(&self, side: Side, visit: Visit) {
        self.give_up(side, visit, Leave::Gone);
    }

    /// As [`WatcherHandle::lost`], for a drive that somebody wants to take out: it is announced again when it was
    /// mounted anew.
    pub fn ejected(&self, side: Side, visit: Visit) {
        self.give_up(side, visit, Leave::Ejected);
    }

    /// Takes back [`WatcherHandle::ejected`].
    pub fn forgive(&self, side: Side, visit: Visit) {
        self.give_up(side, visit, Leave::Forgiven);
    }

    fn give_up(&self, side: Side, visit: Visit, how: Leave) {
        *self.asked.lost.lock().get_mut(side) = Some((visit, how));
        self.asked.wake.notify_one();
    }

    /// Goes on by these settings.
    pub fn set_pace(&self, pace: Pace) {
        *self.asked.pace.lock() = Some(pace);
    }

    /// From now on the drive is left alone wherever it is, so that it can be unmounted.
    pub fn park(&self, side: Side) {
        *self.asked.parked.lock().get_mut(side) = Parking::Yes;
        self.asked.wake.notify_one();
    }

    /// From now on the drive is looked for again.
    pub fn unpark(&self, side: Side) {
        *self.asked.parked.lock().get_mut(side) = Parking::No;
        self.asked.wake.notify_one();
    }
}

/// Notices drives that come and go.
pub struct Watcher {
    config: WatcherConfig,
    known_places: BTreeSet<PathBuf>,
    sightings: mpsc::Sender<Sighting>,
    asked: Arc<Asked>,
    heart: Heart,
    hints: Hints,
    jobs: Jobs,
    attendance: Attendance,
    table: MountTable,
    stays: PerSide<Option<Stay>>,
    /// What patterns named at the last look.
    matched: BTreeSet<PathBuf>,
    /// Folders of others at places that are not known ones, and parked drives: looked at again only when something
    /// else is there, so that a user can unmount a stick without finding it busy.
    uninteresting: BTreeMap<PathBuf, Identity>,
    /// How often all of them were given up. What a look says that began before the last time may hold no longer.
    renewals: u64,
}

/// A present drive.
struct Stay {
    visit: Visit,
    volume: Arc<OsVolume>,
    device: Device,
    probed: Probed,
}

enum Probed {
    Answered,
    Asked { at: Instant },
    Told,
}

/// Where to look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// While a drive is missing.
    Missing,
    /// Everywhere: something has changed.
    All,
}

impl Watcher {
    pub fn new(config: WatcherConfig, sightings: mpsc::Sender<Sighting>) -> (Self, WatcherHandle) {
        let asked = Arc::new(Asked::default());
        let known_places = known_places(&config.known);
        let (pulse, heart) = pulse();
        let watcher = Self {
            heart,
            hints: Hints::new(known_places.clone(), Arc::clone(&asked.wake)),
            known_places,
            config,
            sightings,
            asked: Arc::clone(&asked),
            jobs: Jobs::default(),
            attendance: Attendance::default(),
            table: MountTable::default(),
            stays: PerSide::default(),
            matched: BTreeSet::new(),
            uninteresting: BTreeMap::new(),
            renewals: 0,
        };
        (watcher, WatcherHandle { asked, pulse })
    }

    /// Runs until the receiver of the sightings is dropped. A look that hangs in the kernel outlives it, on a
    /// blocking thread: shut the runtime down without waiting for those.
    pub async fn run(mut self) {
        let mounts = Mounts::open();
        let asked = Arc::clone(&self.asked);
        let sightings = self.sightings.clone();
        let mut tick = every(self.config.pace.tick);
        // Only now: a change before the table was watched wakes nobody.
        self.mounts_changed().await;
        loop {
            tokio::select! {
                () = sightings.closed() => return,
                (job, done, again) = self.jobs.next() => self.done(job, done, again).await,
                () = mounts.changed() => self.mounts_changed().await,
                () = self.heart.beat() => {}
                () = asked.wake.notified() => {
                    self.asked().await;
                    if tick.period() != self.config.pace.tick {
                        tick = every(self.config.pace.tick);
                    }
                }
                _ = tick.tick() => {
                    if !mounts.can_tell() {
                        self.mounts_changed().await;
                    }
                    self.tell_stalled().await;
                    self.hints.arm_missing();
                    self.look(Scope::Missing);
                }
            }
        }
    }

    async fn mounts_changed(&mut self) {
        if let Some(table) = mounts::read() {
            for (side, visit) in self.attendance.unmounted(&table) {
                let is_unplugged = self.stays.get(side).as_ref().is_some_and(|stay| stay.device.is_unplugged());
                let why = if is_unplugged { Departure::Unplugged } else { Departure::Unmounted };
                self.depart(side, visit, why).await;
            }
            self.attendance.release_unmounted(&table);
            self.table = table;
        }
        self.renew_interest();
        self.hints.rearm();
        self.look(Scope::All);
    }

    async fn asked(&mut self) {
        let expected = std::mem::take(&mut *self.asked.expected.lock());
        for (side, drive) in expected.iter() {
            if let Some(drive) = drive {
                *self.config.known.get_mut(side) = drive.clone();
                self.known_places = known_places(&self.config.known);
                self.hints = Hints::new(self.known_places.clone(), Arc::clone(&self.asked.wake));
                self.renew_interest();
            }
        }
        let pace = self.asked.pace.lock().take();
        if let Some(pace) = pace {
            self.config.pace = pace;
            if self.config.pace.places.is_empty() {
                self.expanded(Vec::new()).await;
            }
        }
        let lost = std::mem::take(&mut *self.asked.lost.lock());
        for (side, visit) in lost.iter() {
            if let Some((visit, how)) = visit {
                self.leave(side, *visit, *how);
                // Who was left alone may be wanted now.
                self.uninteresting.clear();
            }
        }
        let parked = *self.asked.parked.lock();
        if self.attendance.set_parked(parked) {
            self.renew_interest();
        }
        self.look(Scope::All);
    }

    /// Something has changed: every place is to be looked at again.
    fn renew_interest(&mut self) {
        self.uninteresting.clear();
        self.renewals += 1;
    }

    fn look(&mut self, scope: Scope) {
        for side in Side::BOTH {
            self.probe(side);
        }
        if scope == Scope::Missing && self.attendance.is_complete() {
            return;
        }
        for place in self.known_places.clone() {
            self.look_at(&place);
        }
        self.expand();
    }

    /// Finds out which places the patterns name now.
    fn expand(&mut self) {
        if !self.config.pace.places.is_empty() {
            let patterns = self.config.pace.places.clone();
            self.jobs.start(Job::Expand, move || {
                Done::Expanded(patterns.iter().flat_map(|pattern| places::expand(pattern)).collect())
            });
        }
    }

    fn look_at(&mut self, place: &Path) {
        if self.attendance.is_seated_at(place) {
            return;
        }
        let roll = Roll {
            serials: Arc::clone(&self.config.serials),
            mirror: self.config.mirror,
            drives: PerSide::new(|side| self.config.known.get(side).id),
            seats: self.attendance.seats(now()),
        };
        let known = self.uninteresting.get(place).copied();
        let search = Search { roll, ground: self.config.ground, holder: self.config.holder.clone() };
        let kind = if self.known_places.contains(place) { PlaceKind::Known } else { PlaceKind::Matched };
        let job = Job::Look { place: place.to_owned(), mount: self.table.topmost(place).map(|mount| mount.id) };
        let (place, renewals) = (place.to_owned(), self.renewals);
        self.jobs.start(job, move || Done::Looked { looked: look::look(place, kind, &search, known), renewals });
    }

    fn probe(&mut self, side: Side) {
        let Some(stay) = self.stays.get_mut(side) else { return };
        let job = Job::Probe { side, visit: stay.visit };
        if !self.jobs.is_running(&job) {
            stay.probed = Probed::Asked { at: now() };
        }
        let volume = Arc::clone(&stay.volume);
        self.jobs.start(job, move || Done::Probed(look::probe(&volume)));
    }

    async fn done(&mut self, job: Job, done: Done, again: Again) {
        match (job, done) {
            (Job::Look { place, .. }, Done::Looked { looked, renewals }) => {
                self.looked(looked, renewals).await;
                if again == Again::Yes {
                    self.look_at(&place);
                }
            }
            (Job::Probe { side, visit }, Done::Probed(result)) => {
                self.probed(side, visit, result).await;
                if again == Again::Yes {
                    self.probe(side);
                }
            }
            (Job::Expand, Done::Expanded(places)) => {
                self.expanded(places).await;
                if again == Again::Yes {
                    self.expand();
                }
            }
            (job, done) => unreachable!("{job:?} ended as {done:?}"),
        }
    }

    async fn looked(&mut self, looked: Looked, renewals: u64) {
        let Looked { place, seen, outcome, catch } = looked;
        let may_pass =
            renewals == self.renewals && (outcome == Outcome::LeftAlone || !self.known_places.contains(&place));
        if let Some(seen) = seen.filter(|_| may_pass && is_uninteresting(&outcome)) {
            self.uninteresting.insert(place.clone(), seen);
        }
        match (self.attendance.looked(&place, outcome), catch) {
            (News::Arrived { side, visit }, Some(catch)) => {
                let device = catch.volume.device();
                let stay = Stay { visit, volume: Arc::clone(&catch.volume), device, probed: Probed::Answered };
                *self.stays.get_mut(side) = Some(stay);
                let (label, volume, lock) = (catch.label, catch.volume, catch.lock);
                let found = Found { side, visit, label, volume, lock, path: place, device };
                self.tell(Sighting::Arrived(Box::new(found))).await;
            }
            (News::Refused(why), _) => self.tell(Sighting::Refused { place, why }).await,
            (News::Cleared, _) => self.tell(Sighting::Cleared { place }).await,
            (News::Arrived { .. } | News::None, _) => {}
        }
    }

    async fn probed(&mut self, side: Side, visit: Visit, result: Result<(), Departure>) {
        if let Err(why) = result {
            self.depart(side, visit, why).await;
        } else if let Some(stay) = self.stays.get_mut(side).as_mut().filter(|stay| stay.visit == visit) {
            stay.probed = Probed::Answered;
        }
    }

    async fn expanded(&mut self, places: Vec<PathBuf>) {
        self.matched = places.into_iter().filter(|place| !self.known_places.contains(place)).collect();
        let all = self.matched.union(&self.known_places).cloned().collect();
        for place in self.attendance.forget_places_but(&all) {
            self.tell(Sighting::Cleared { place }).await;
        }
        self.uninteresting.retain(|place, _| all.contains(place));
        for place in self.matched.clone() {
            self.look_at(&place);
        }
    }

    async fn depart(&mut self, side: Side, visit: Visit, why: Departure) {
        let how = match why {
            Departure::Unmounted | Departure::Unplugged | Departure::Moved => Leave::Gone,
            Departure::ReadOnly | Departure::ProbeFailed(_) => Leave::Failed,
        };
        if self.leave(side, visit, how) {
            self.tell(Sighting::Departed { side, visit, why }).await;
            self.look(Scope::All);
        }
    }

    fn leave(&mut self, side: Side, visit: Visit, how: Leave) -> bool {
        let has_left = self.attendance.leave(side, visit, how, now());
        if has_left {
            *self.stays.get_mut(side) = None;
        }
        has_left
    }

    async fn tell_stalled(&mut self) {
        let (now, limit) = (now(), self.config.pace.probe_timeout);
        for side in Side::BOTH {
            let Some(stay) = self.stays.get_mut(side) else { continue };
            match stay.probed {
                Probed::Asked { at } if now.saturating_duration_since(at) >= limit => {
                    stay.probed = Probed::Told;
                    let visit = stay.visit;
                    self.tell(Sighting::Stalled { side, visit }).await;
                }
                Probed::Asked { .. } | Probed::Answered | Probed::Told => {}
            }
        }
    }

    async fn tell(&self, sighting: Sighting) {
        // Without a receiver there is nobody to tell, and `run` ends.
        let _ = self.sightings.send(sighting).await;
    }
}

/// As events name them. A relative place without a working directory is nowhere.
fn known_places(known: &PerSide<KnownDrive>) -> BTreeSet<PathBuf> {
    let places = known.iter().flat_map(|(_, drive)| &drive.places);
    places.filter_map(|place| std::path::absolute(place).ok()).collect()
}

/// Whether looking again at the same folder can bring nothing new.
fn is_uninteresting(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Nothing | Outcome::Unchanged | Outcome::LeftAlone => true,
        Outcome::Refused(why) => match why {
            RefusedLabel::OtherMirror { .. }
            | RefusedLabel::NotEnrolled { .. }
            | RefusedLabel::Damaged
            | RefusedLabel::NewerFormat { .. } => true,
            // Only told of known places.
            RefusedLabel::NoLabel
            // These may end without another mount.
            | RefusedLabel::NotMounted { .. }
            | RefusedLabel::ReadOnly { .. }
            | RefusedLabel::Copy { .. }
            | RefusedLabel::Older { .. }
            | RefusedLabel::InUse { .. }
            | RefusedLabel::Unusable(_) => false,
        },
        Outcome::Ignored | Outcome::Ours { .. } => false,
    }
}

fn every(tick: Duration) -> tokio::time::Interval {
    let mut every = tokio::time::interval(tick);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
