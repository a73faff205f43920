//! Runs histories, cuts the power at every sync point, recovers from all that a cut can leave, and checks.

#![allow(clippy::print_stderr, reason = "the figures of an exploration are for its reader")]

use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use parking_lot::Mutex;

use crate::clock;
use crate::digest::Crc32;
use crate::ids::{PerSide, Side};
use crate::mirror::model::cuts::acts::{Act, Change, Then, sequences};
use crate::mirror::model::cuts::subsets::{hash_of, subsets};
use crate::mirror::model::oracle::{Oracle, Thing};
use crate::mirror::model::world::{Found, Media, Past, World};
use crate::mirror::volume::FsKind;

/// Mutations of the longest histories.
const LEN_MAX: usize = 3;

/// Which drives are in while a history runs. Both are there at recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Drives {
    Both,
    /// The other one has been away since before the first mutation.
    OnlyA,
}

/// Whether the power is cut a second time, while what the first cut left is recovered from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    No,
    /// At every sync point of the recovery from what loses most, of each first cut.
    Yes,
}

/// What was explored.
#[derive(Default)]
struct Figures {
    histories: AtomicU64,
    sync_points: AtomicU64,
    /// Sync points of which not every combination was tried.
    bounded: AtomicU64,
    /// States that cuts left, the same ones counted again.
    states: AtomicU64,
    distinct: AtomicU64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [histories, points, bounded, states, distinct] =
            [&self.histories, &self.sync_points, &self.bounded, &self.states, &self.distinct].map(|n| n.load(Relaxed));
        write!(f, "{histories} histories, {points} sync points ({bounded} not in full), ")?;
        write!(f, "{states} states, {distinct} of them distinct")
    }
}

/// A moment at which the power may go.
struct Cut {
    media: Media,
    past: Past,
}

struct Explorer {
    kind: FsKind,
    drives: Drives,
    /// States that were recovered from, with what was expected of them.
    explored: Mutex<HashSet<u64>>,
    figures: Figures,
}

impl Explorer {
    fn new(kind: FsKind, drives: Drives) -> Self {
        Self { kind, drives, explored: Mutex::default(), figures: Figures::default() }
    }

    /// Runs histories, by as many threads as there are processors.
    fn run_all(&self, histories: &[Vec<Act>]) {
        let next = AtomicUsize::new(0);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(history) = histories.get(next.fetch_add(1, Relaxed)) {
                        self.run(history);
                    }
                });
            }
        });
    }

    /// Runs a history, whose last act alone is cut: those before it are the last ones of shorter histories.
    fn run(&self, history: &[Act]) {
        self.figures.histories.fetch_add(1, Relaxed);
        let mut world = World::new(self.kind, 1);
        if self.drives == Drives::OnlyA {
            world.pull(Side::B);
        }
        let Some((last, before)) = history.split_last() else { return };
        for (nth, act) in before.iter().enumerate() {
            act.change.perform(&mut world, nth);
            then(&mut world, act.then);
        }
        let expected = last.change.outcomes(&world.oracle, before.len());
        let media = world.media();
        let cuts = self.watched(&media, || {
            last.change.perform(&mut world, before.len());
            world.past()
        });
        self.try_all(history, "within the mutation", &cuts, &expected, Again::Yes);
        let expected = [world.oracle.clone()];
        let cuts = self.watched(&media, || {
            then(&mut world, last.then);
            world.past()
        });
        self.try_all(history, "after the answer", &cuts, &expected, Again::Yes);
    }

    /// The moments just before each sync and barrier of an act, and the one after the act.
    fn watched(&self, media: &Media, act: impl FnOnce() -> Past) -> Vec<Cut> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (running, slot) = (media.clone(), Arc::clone(&seen));
        let watcher: Arc<dyn Fn() + Send + Sync> = Arc::new(move || slot.lock().push(running.fork()));
        media.watch(&watcher);
        let past = act();
        media.unwatch();
        let mut seen = std::mem::take(&mut *seen.lock());
        seen.push(media.fork());
        self.figures.sync_points.fetch_add(seen.len() as u64, Relaxed);
        seen.into_iter().map(|media| Cut { media, past }).collect()
    }

    fn try_all(&self, history: &[Act], when: &str, cuts: &[Cut], expected: &[Oracle], again: Again) {
        let promise = hash_of(&expected.iter().map(|oracle| format!("{:?}", oracle.tree)).collect::<Vec<_>>());
        for (point, cut) in cuts.iter().enumerate() {
            let subsets = subsets(&cut.media);
            self.figures.bounded.fetch_add(u64::from(!subsets.complete), Relaxed);
            for (nth, media) in subsets.media.into_iter().enumerate() {
                self.figures.states.fetch_add(1, Relaxed);
                if !self.explored.lock().insert(hash_of(&(promise, &media))) {
                    continue;
                }
                self.figures.distinct.fetch_add(1, Relaxed);
                let left = Cut { media: media.fork(), past: cut.past };
                let checked = catch_unwind(AssertUnwindSafe(|| check(self.kind, media, cut.past, expected)));
                let (kind, drives) = (self.kind, self.drives);
                let shown = format!("{kind:?}, {drives:?}: {history:?}, sync point {point} {when}, state {nth}");
                let Ok(oracle) = checked else { panic!("{shown}") };
                // What loses most comes first.
                if nth == 0 && again == Again::Yes {
                    let cuts = self.recovery(&left);
                    self.try_all(history, &format!("of the recovery from {shown}"), &cuts, &[oracle], Again::No);
                }
            }
        }
    }

    /// The moments at which the power may go again while what a cut left is recovered from.
    fn recovery(&self, left: &Cut) -> Vec<Cut> {
        put_in(&left.media);
        self.watched(&left.media, || {
            let mut world = World::recover(self.kind, left.media.clone(), left.past);
            world.rest();
            world.past()
        })
    }
}

/// What the lanes do.
fn then(world: &mut World, then: Then) {
    match then {
        Then::Nothing => {}
        Then::StepA => drop(world.step(Side::A)),
        Then::StepB => drop(world.step(Side::B)),
        Then::Rest => world.rest(),
    }
}

/// Sticks that were out come back.
fn put_in(media: &Media) {
    for side in Side::BOTH {
        if media.disks.get(side).is_pulled() {
            media.disks.get(side).reinsert(&mut |_| 0);
        }
    }
}

/// Recovers, and checks all that was acknowledged, and that what was under way is there whole or not at all; which of
/// these it is.
fn check(kind: FsKind, media: Media, past: Past, expected: &[Oracle]) -> Oracle {
    put_in(&media);
    let mut world = World::recover(kind, media, past);
    let found = world.catalog();
    let oracle = expected.iter().find(|oracle| same(oracle, &found));
    let Some(oracle) = oracle else { panic!("{found:?} is none of {expected:?}") };
    world.oracle = oracle.clone();
    // Of a PUT that was under way the drives are those that are recorded.
    for (path, thing) in &mut world.oracle.tree {
        if let (Thing::File(_, holders, _), Some(Some((_, _, durable)))) = (thing, found.get(path))
            && *holders == PerSide::default()
        {
            *holders = *durable;
        }
    }
    world.check_reads();
    let oracle = world.oracle.clone();
    world.drain();
    oracle
}

fn same(oracle: &Oracle, found: &Found) -> bool {
    let same = |(path, thing): (&String, &Thing)| match (thing, found.get(path)) {
        (Thing::Folder, Some(None)) => true,
        (Thing::File(bytes, ..), Some(Some((size, crc32, _)))) => {
            *size == bytes.len() as u64 && *crc32 == Crc32::of(bytes)
        }
        (Thing::Folder | Thing::File(..), _) => false,
    };
    oracle.tree.len() == found.len() && oracle.tree.iter().all(same)
}

/// All histories of so many mutations, with all that the lanes can do between two. After the last they go on to the
/// end of their debts.
fn histories(len: usize, drives: Drives) -> Vec<Vec<Act>> {
    let choices: &[Then] = match drives {
        Drives::Both => &[Then::Nothing, Then::StepA, Then::StepB, Then::Rest],
        Drives::OnlyA => &[Then::Nothing, Then::StepA, Then::Rest],
    };
    let mut found = Vec::new();
    for sequence in sequences(len) {
        let schedules = choices.len().pow(len as u32 - 1);
        found.extend((0..schedules).map(|schedule| {
            let act = |(nth, change): (usize, &Change)| {
                let choice = schedule / choices.len().pow(nth as u32) % choices.len();
                let then = if nth + 1 == len { Then::Rest } else { choices[choice] };
                Act { change: *change, then }
            };
            sequence.iter().enumerate().map(act).collect()
        }));
    }
    found
}

/// How many mutations the longest histories have, and one history of how many is tried, of each length.
fn bounds() -> (usize, [usize; LEN_MAX]) {
    match std::env::var("TWINSTICK_CUTS").ok().and_then(|len| len.parse().ok()) {
        Some(len) => (len, [1; LEN_MAX]),
        None => (LEN_MAX, [1, 61, 20_011]),
    }
}

#[test]
fn no_power_cut_loses_what_was_acknowledged_or_leaves_half_of_what_was_not() {
    explore(FsKind::Atomic);
}

#[test]
fn no_power_cut_loses_what_was_acknowledged_or_leaves_half_of_what_was_not_on_fat() {
    explore(FsKind::Fat);
}

/// Those of a few seconds; with `TWINSTICK_CUTS` all histories of up to so many mutations.
fn explore(kind: FsKind) {
    let (len_max, one_of) = bounds();
    for drives in [Drives::Both, Drives::OnlyA] {
        let explorer = Explorer::new(kind, drives);
        let began = clock::now();
        for (len, one_of) in (1..=len_max).zip(one_of) {
            let histories: Vec<_> = histories(len, drives).into_iter().step_by(one_of).collect();
            explorer.run_all(&histories);
            let (figures, time) = (&explorer.figures, began.elapsed());
            eprintln!("{kind:?}, {drives:?}, up to {len} mutations, one in {one_of}: {figures}, {time:.1?}");
        }
    }
}

/// A claim of a folder that was being taken apart outlived the cut, and its debt did not: the name was never free again.
#[test]
fn a_name_is_free_after_cuts_amid_what_a_drive_tells_of_it() {
    for first in [Then::StepA, Then::StepB] {
        let act = |change, then| Act { change, then };
        let history = [
            act(Change::PutSmall(2), first),
            act(Change::Move(0, 1), Then::Nothing),
            act(Change::PutSmall(0), Then::Rest),
        ];
        Explorer::new(FsKind::Fat, Drives::Both).run(&history);
    }
}

/// The journal said where the files of a folder had gone that was being taken apart, and not yet that the folder had left.
#[test]
fn what_is_in_a_folder_that_is_taken_apart_is_found_after_a_cut_amid_the_record_of_it() {
    let mut world = World::new(FsKind::Fat, 1);
    Change::PutLarge(2).perform(&mut world, 0);
    then(&mut world, Then::Rest);
    Change::Move(0, 1).perform(&mut world, 1);
    then(&mut world, Then::StepA);
    Change::Move(4, 0).perform(&mut world, 2);
    let (explorer, media) = (Explorer::new(FsKind::Fat, Drives::Both), world.media());
    let expected = [world.oracle.clone()];
    let cuts = explorer.watched(&media, || {
        then(&mut world, Then::Rest);
        world.past()
    });
    let [first, ..] = cuts.as_slice() else { panic!("no sync") };
    for media in subsets(&first.media).media.into_iter().take(1) {
        let cuts = explorer.recovery(&Cut { media, past: first.past });
        explorer.try_all(&[], "of the recovery", &cuts, &expected, Again::No);
    }
}
