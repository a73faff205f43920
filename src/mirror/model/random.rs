//! Random histories.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::ids::Side;
use crate::mirror::model::world::foreign::{Cut, FOREIGN};
use crate::mirror::model::world::{Amid, During, Way, World};
use crate::mirror::sim_volume::CallKind;
use crate::mirror::volume::FsKind;

#[derive(Clone, Debug)]
pub(super) enum Act {
    Put(usize, u8, u16, bool),
    Stage(usize, u8, u16, bool),
    Commit,
    Remove(usize),
    MakeFolder(usize),
    Move(usize, usize),
    Step(bool, u8),
    StepAround(bool),
    StepAmid(bool, u8, Vec<Amid>),
    ReturnAmid(bool, u8, Vec<Amid>),
    Checkpoint(bool),
    Pull(bool),
    Return(bool),
    PullWithin(bool, u8),
    DieWithin(bool, u8),
    Fail(bool, u8, u8),
    FailBarrier(u8),
    KillWithin(bool, u8),
    Kill,
    CutPower,
    Replace(bool),
    ReplaceCutShort(bool, bool, u8),
    Limit(u8),
    Rot(bool, usize),
    Look(bool, u8),
    Search(bool),
    Edit(bool, usize, u8, u16),
    Restamp(bool, usize),
    TakeAway(bool, usize),
    Add(bool, usize, u8, u16),
    Rename(bool, usize, usize),
    TakeIn(bool),
    TakeInCut(bool),
    /// Of the path's versions in the trash so many from the newest.
    Restore(usize, u8),
    Purge(u8),
    Pass(u8),
}

/// Where little may lie aside: two edits.
const ASIDE_BYTES_FEW: u64 = 24;

pub(super) const PATHS: [&str; 12] =
    ["x", "y", "z", "x/x", "x/y", "y/x", "y/y", "x/x/x", "x/y/x", "y/x/y", "z/x", "y/x/y/x"];

fn acts() -> impl Strategy<Value = Act> {
    let path = 0..PATHS.len();
    prop_oneof![
        8 => (path.clone(), any::<u8>(), 0u16..9, any::<bool>()).prop_map(|(p, b, n, l)| Act::Put(p, b, n, l)),
        2 => (path.clone(), any::<u8>(), 0u16..9, any::<bool>()).prop_map(|(p, b, n, l)| Act::Stage(p, b, n, l)),
        2 => Just(Act::Commit),
        4 => path.clone().prop_map(Act::Remove),
        3 => path.clone().prop_map(Act::MakeFolder),
        6 => (path.clone(), path).prop_map(|(from, to)| Act::Move(from, to)),
        8 => (any::<bool>(), 1u8..4).prop_map(|(side, n)| Act::Step(side, n)),
        4 => any::<bool>().prop_map(Act::StepAround),
        6 => (any::<bool>(), 1u8..20, proptest::collection::vec(amid(), 1..3))
            .prop_map(|(side, nth, amid)| Act::StepAmid(side, nth, amid)),
        5 => (any::<bool>(), 1u8..30, proptest::collection::vec(amid(), 1..3))
            .prop_map(|(side, nth, amid)| Act::ReturnAmid(side, nth, amid)),
        1 => any::<bool>().prop_map(Act::Checkpoint),
        2 => any::<bool>().prop_map(Act::Pull),
        4 => any::<bool>().prop_map(Act::Return),
        3 => (any::<bool>(), 1u8..30).prop_map(|(side, nth)| Act::PullWithin(side, nth)),
        2 => (any::<bool>(), 1u8..30).prop_map(|(side, nth)| Act::DieWithin(side, nth)),
        1 => (any::<bool>(), 1u8..10, 0u8..5).prop_map(|(side, nth, kind)| Act::Fail(side, nth, kind)),
        1 => any::<u8>().prop_map(Act::FailBarrier),
        3 => (any::<bool>(), 1u8..30).prop_map(|(side, nth)| Act::KillWithin(side, nth)),
        1 => Just(Act::Kill),
        1 => Just(Act::CutPower),
        1 => any::<bool>().prop_map(Act::Replace),
        1 => (any::<bool>(), any::<bool>(), any::<u8>())
            .prop_map(|(side, first, survivors)| Act::ReplaceCutShort(side, first, survivors)),
        2 => (0u8..6).prop_map(Act::Limit),
        2 => (any::<bool>(), 0..PATHS.len()).prop_map(|(side, path)| Act::Rot(side, path)),
        6 => (any::<bool>(), 1u8..8).prop_map(|(side, n)| Act::Look(side, n)),
        1 => any::<bool>().prop_map(Act::Search),
        3 => (any::<bool>(), path_of_any(), any::<u8>(), 0u16..9).prop_map(|(s, p, b, n)| Act::Edit(s, p, b, n)),
        1 => (any::<bool>(), path_of_any()).prop_map(|(side, path)| Act::Restamp(side, path)),
        2 => (any::<bool>(), path_of_any()).prop_map(|(side, path)| Act::TakeAway(side, path)),
        3 => (any::<bool>(), path_of_any(), any::<u8>(), 0u16..9).prop_map(|(s, p, b, n)| Act::Add(s, p, b, n)),
        2 => (any::<bool>(), path_of_any(), path_of_any()).prop_map(|(s, from, to)| Act::Rename(s, from, to)),
        4 => any::<bool>().prop_map(Act::TakeIn),
        1 => any::<bool>().prop_map(Act::TakeInCut),
        5 => (0..PATHS.len(), 0u8..3).prop_map(|(path, back)| Act::Restore(path, back)),
        2 => any::<u8>().prop_map(Act::Purge),
        3 => (30u8..90).prop_map(Act::Pass),
    ]
}

fn path_of_any() -> std::ops::Range<usize> {
    0..PATHS.len()
}

pub(super) fn amid() -> impl Strategy<Value = Amid> {
    let path = 0..PATHS.len();
    prop_oneof![
        3 => Just(Amid::Put),
        2 => path.clone().prop_map(|path| Amid::Remove(PATHS[path])),
        1 => path.clone().prop_map(|path| Amid::MakeFolder(PATHS[path])),
        2 => (path.clone(), path)
            .prop_filter("a move to itself", |(from, to)| from != to)
            .prop_map(|(from, to)| Amid::Move(PATHS[from], PATHS[to])),
        2 => (0..PATHS.len()).prop_map(|path| Amid::Restore(PATHS[path])),
        1 => Just(Amid::Purge),
    ]
}

fn side(first: bool) -> Side {
    if first { Side::A } else { Side::B }
}

fn way(log: bool) -> Way {
    if log { Way::Log } else { Way::File }
}

fn bytes(fill: u8, len: u16) -> Vec<u8> {
    (0..len).map(|i| fill.wrapping_add((i % 2) as u8)).collect()
}

/// Bytes that no client sends.
fn foreign(fill: u8, len: u16) -> Vec<u8> {
    [FOREIGN, &bytes(fill, len)].concat()
}

pub(super) fn act(world: &mut World, act: &Act) {
    // What others do to the drives is tried where nothing is kept: which copies of the trash it hurts nobody knows.
    let meddles = matches!(act, Act::Edit(..) | Act::Add(..) | Act::Rename(..) | Act::Restamp(..) | Act::TakeAway(..));
    if meddles && world.has_trash() {
        return;
    }
    match act.clone() {
        Act::Put(path, fill, len, log) => world.put(PATHS[path], &bytes(fill, len), way(log)),
        Act::Stage(path, fill, len, log) => {
            let upload = world.stage(PATHS[path], &bytes(fill, len), way(log));
            world.keep(upload);
        }
        Act::Commit => world.commit_oldest(),
        Act::Remove(path) => world.remove(PATHS[path]),
        Act::MakeFolder(path) => world.make_folder(PATHS[path]),
        Act::Move(from, to) if from == to => {}
        Act::Move(from, to) => world.move_to(PATHS[from], PATHS[to]),
        Act::Step(first, times) => (0..times).for_each(|_| {
            world.step(side(first));
        }),
        Act::StepAround(first) => world.step_around(side(first)),
        Act::StepAmid(first, nth, amid) => world.commit_amid(During::Step, side(first), u64::from(nth), &amid),
        Act::ReturnAmid(first, nth, amid) => {
            world.commit_amid(During::Arrival, side(first), u64::from(nth), &amid);
        }
        Act::Checkpoint(first) => world.checkpoint(side(first)),
        Act::Pull(first) => world.pull(side(first)),
        Act::Return(first) => world.bring_back(side(first)),
        Act::PullWithin(first, nth) => world.pull_within(side(first), u64::from(nth)),
        Act::DieWithin(first, nth) => world.die_within(side(first), u64::from(nth)),
        Act::Fail(first, nth, kind) => {
            let kinds = [CallKind::Read, CallKind::Write, CallKind::Name, CallKind::Sync, CallKind::Look];
            world.fail_next(side(first), u64::from(nth), kinds[usize::from(kind)]);
        }
        Act::FailBarrier(survivors) => world.fail_barrier(usize::from(survivors)),
        Act::KillWithin(first, nth) => world.kill_within(side(first), u64::from(nth)),
        Act::Kill => world.kill(),
        Act::CutPower => world.cut_power(),
        Act::Replace(first) => world.replace(side(first), None),
        Act::ReplaceCutShort(first, early, survivors) => {
            world.replace(side(first), Some((u64::from(!early), usize::from(survivors) / 4)));
        }
        Act::Limit(entries) => world.limit(u64::from(entries)),
        Act::Rot(first, path) => world.rot(side(first), PATHS[path]),
        Act::Look(first, times) => (0..times).for_each(|_| {
            world.look(side(first));
        }),
        Act::Search(first) => world.search(side(first)),
        Act::Edit(first, path, fill, len) => world.edit(side(first), PATHS[path], &foreign(fill, len)),
        Act::Add(first, path, fill, len) => world.add(side(first), PATHS[path], &foreign(fill, len)),
        Act::Rename(first, from, to) => world.rename(side(first), PATHS[from], PATHS[to]),
        Act::TakeIn(first) => drop(world.take_in(side(first), Cut::No)),
        Act::TakeInCut(first) => drop(world.take_in(side(first), Cut::BeforeRemoval)),
        Act::Restamp(first, path) => world.restamp(side(first), PATHS[path]),
        Act::TakeAway(first, path) => world.take_away(side(first), PATHS[path]),
        Act::Restore(path, back) => world.restore(PATHS[path], usize::from(back)),
        Act::Purge(nth) => world.purge(usize::from(nth)),
        Act::Pass(seconds) => world.run_for(u64::from(seconds)),
    }
}

pub(super) fn run(kind: FsKind, seed: u64, history: &[Act]) {
    let mut world = if seed.is_multiple_of(2) { World::new(kind, seed) } else { World::with_trash(kind, seed) };
    if seed.is_multiple_of(3) {
        world.limit_aside(ASIDE_BYTES_FEW);
    }
    for step in history {
        act(&mut world, step);
        world.check_reads();
    }
    world.drain();
    world.check_idempotent();
    assert!(world.came_back.is_empty(), "came back: {:?}", world.came_back);
}

/// The same 1,500 histories each time, so that a change is judged by itself; with `TWINSTICK_MODEL_CASES` so many
/// new ones.
pub(super) fn config() -> ProptestConfig {
    let wanted = std::env::var("TWINSTICK_MODEL_CASES").ok().and_then(|cases| cases.parse().ok());
    let (cases, rng_seed) = match wanted {
        Some(cases) => (cases, RngSeed::Random),
        None => (1500, RngSeed::Fixed(8946)),
    };
    ProptestConfig { cases, rng_seed, max_shrink_iters: 20_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_history_ends_in_two_trees_that_equal_the_oracle(
        seed in any::<u64>(), history in proptest::collection::vec(acts(), 1..60)
    ) {
        run(FsKind::Atomic, seed, &history);
    }

    #[test]
    fn any_history_on_fat_ends_in_two_trees_that_equal_the_oracle(
        seed in any::<u64>(), history in proptest::collection::vec(acts(), 1..40)
    ) {
        run(FsKind::Fat, seed, &history);
    }
}
