//! Random histories.

use proptest::prelude::*;

use crate::ids::Side;
use crate::mirror::model::world::{Way, World};
use crate::mirror::sim_volume::CallKind;
use crate::mirror::volume::FsKind;

#[derive(Clone, Debug)]
enum Act {
    Put(usize, u8, u16, bool),
    Stage(usize, u8, u16, bool),
    Commit,
    Remove(usize),
    MakeFolder(usize),
    Move(usize, usize),
    Step(bool, u8),
    Checkpoint(bool),
    Pull(bool),
    Return(bool),
    PullWithin(bool, u8),
    Fail(bool, u8, u8),
    FailBarrier(u8),
    Kill,
    CutPower,
}

const PATHS: [&str; 12] = ["x", "y", "z", "x/x", "x/y", "y/x", "y/y", "x/x/x", "x/y/x", "y/x/y", "z/x", "y/x/y/x"];

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
        1 => any::<bool>().prop_map(Act::Checkpoint),
        2 => any::<bool>().prop_map(Act::Pull),
        4 => any::<bool>().prop_map(Act::Return),
        3 => (any::<bool>(), 1u8..30).prop_map(|(side, nth)| Act::PullWithin(side, nth)),
        1 => (any::<bool>(), 1u8..10, 0u8..5).prop_map(|(side, nth, kind)| Act::Fail(side, nth, kind)),
        1 => any::<u8>().prop_map(Act::FailBarrier),
        1 => Just(Act::Kill),
        1 => Just(Act::CutPower),
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

fn act(world: &mut World, act: &Act) {
    match *act {
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
        Act::Checkpoint(first) => world.checkpoint(side(first)),
        Act::Pull(first) => world.pull(side(first)),
        Act::Return(first) => world.bring_back(side(first)),
        Act::PullWithin(first, nth) => world.pull_within(side(first), u64::from(nth)),
        Act::Fail(first, nth, kind) => {
            let kinds = [CallKind::Read, CallKind::Write, CallKind::Name, CallKind::Sync, CallKind::Look];
            world.fail_next(side(first), u64::from(nth), kinds[usize::from(kind)]);
        }
        Act::FailBarrier(survivors) => world.fail_barrier(usize::from(survivors)),
        Act::Kill => world.kill(),
        Act::CutPower => world.cut_power(),
    }
}

fn run(kind: FsKind, seed: u64, history: &[Act]) {
    let mut world = World::new(kind, seed);
    for step in history {
        act(&mut world, step);
        world.check_reads();
    }
    world.drain();
    world.check_idempotent();
}

/// Histories in one run; `TWINSTICK_MODEL_CASES` sets another number.
fn cases() -> u32 {
    std::env::var("TWINSTICK_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1500)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 20_000, ..ProptestConfig::default() })]

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
