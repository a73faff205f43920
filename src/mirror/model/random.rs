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

fn run(kind: FsKind, seed: u64, history: &[Act]) {
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

/// Histories that once failed, as they were shrunk.
#[test]
fn histories_that_once_failed_end_well() {
    use Act as A;
    let z_made_again_where_a_removed_folder_may_have_been = [
        A::Put(3, 0, 0, false),
        A::MakeFolder(6),
        A::Step(false, 1),
        A::Move(6, 2),
        A::Remove(2),
        A::Put(5, 72, 8, false),
        A::MakeFolder(10),
        A::Step(true, 2),
    ];
    let a_log_segment_shared_with_an_upload_of_an_earlier_arrival = [
        A::Stage(3, 0, 0, false),
        A::Commit,
        A::Step(false, 1),
        A::Put(2, 0, 0, false),
        A::Step(true, 1),
        A::Stage(0, 0, 0, true),
        A::Remove(3),
        A::PullWithin(true, 1),
        A::Put(4, 0, 0, false),
        A::Remove(0),
        A::Put(3, 0, 0, true),
        A::Pull(false),
        A::Return(false),
    ];
    let an_entry_retired_before_it_was_known_to_be_published = [
        A::StepAmid(false, 1, vec![Amid::MakeFolder("y/x/y"), Amid::Move("y/x", "z")]),
        A::Step(false, 1),
        A::CutPower,
    ];
    let a_folder_taken_for_another_that_was_recorded_there = [
        A::StepAmid(false, 1, vec![Amid::MakeFolder("x/y")]),
        A::PullWithin(true, 13),
        A::Step(true, 1),
        A::Put(5, 0, 0, false),
        A::Put(0, 0, 0, false),
        A::Put(0, 0, 0, false),
        A::StepAmid(false, 1, vec![Amid::Remove("x/y")]),
        A::StepAmid(false, 1, vec![Amid::Move("y", "x/y")]),
    ];
    let an_entry_whose_flags_were_cut_off = [
        A::Put(1, 0, 0, false),
        A::FailBarrier(8),
        A::Put(8, 0, 0, false),
        A::Put(0, 0, 0, false),
        A::CutPower,
        A::StepAmid(true, 1, vec![Amid::Put]),
        A::Put(0, 0, 0, false),
        A::Checkpoint(true),
        A::Put(0, 0, 0, false),
        A::Put(8, 0, 0, false),
        A::Kill,
    ];
    let names_in_the_page_cache_alone = [
        A::Put(2, 0, 1, true),
        A::MakeFolder(4),
        A::PullWithin(false, 2),
        A::PullWithin(false, 3),
        A::Step(false, 1),
        A::Return(false),
        A::FailBarrier(13),
        A::MakeFolder(5),
        A::Return(false),
        A::KillWithin(false, 15),
        A::CutPower,
    ];
    let a_name_given_again_before_it_was_recorded_as_free = [
        A::Stage(5, 0, 0, false),
        A::MakeFolder(3),
        A::MakeFolder(1),
        A::StepAmid(true, 1, vec![Amid::Remove("y")]),
        A::StepAmid(false, 1, vec![Amid::Put]),
        A::KillWithin(false, 6),
    ];
    let a_damaged_stage_let_go_before_that_was_durable =
        [A::Put(0, 0, 1, false), A::Pull(true), A::Fail(false, 2, 0), A::Step(false, 1), A::KillWithin(false, 1)];
    let histories = [
        a_damaged_stage_let_go_before_that_was_durable.as_slice(),
        &names_in_the_page_cache_alone,
        &a_name_given_again_before_it_was_recorded_as_free,
        &z_made_again_where_a_removed_folder_may_have_been,
        &a_log_segment_shared_with_an_upload_of_an_earlier_arrival,
        &an_entry_retired_before_it_was_known_to_be_published,
        &a_folder_taken_for_another_that_was_recorded_there,
        &an_entry_whose_flags_were_cut_off,
    ];
    run_all(&histories);
}

#[test]
fn histories_that_once_failed_between_two_looks_end_well() {
    use Act as A;
    let a_folder_moved_to_and_fro = [
        A::StepAmid(false, 1, vec![Amid::MakeFolder("y/x")]),
        A::Step(false, 1),
        A::Move(5, 6),
        A::ReturnAmid(false, 1, vec![Amid::Move("y/y", "y/x")]),
    ];
    let a_file_let_go_of_as_the_trash_that_it_lies_in_is_looked_through = [
        A::PullWithin(false, 21),
        A::Put(4, 0, 1, true),
        A::Remove(4),
        A::Step(false, 1),
        A::ReturnAmid(false, 24, vec![Amid::Purge]),
    ];
    let an_old_version_restored_as_a_new_one_is_about_to_get_its_name = [
        A::Put(0, 0, 0, false),
        A::Put(9, 0, 0, false),
        A::Step(false, 1),
        A::Put(9, 0, 1, true),
        A::StepAmid(false, 8, vec![Amid::Restore("y/x/y")]),
    ];
    run_all(&[
        a_folder_moved_to_and_fro.as_slice(),
        &a_file_let_go_of_as_the_trash_that_it_lies_in_is_looked_through,
        &an_old_version_restored_as_a_new_one_is_about_to_get_its_name,
    ]);
}

#[test]
fn histories_that_once_failed_as_others_meddled_end_well() {
    use Act as A;
    let a_folder_taken_away_below_a_staged_file = [
        A::Put(3, 0, 0, false),
        A::Pull(false),
        A::KillWithin(false, 1),
        A::ReplaceCutShort(true, false, 0),
        A::KillWithin(false, 1),
        A::ReturnAmid(true, 1, vec![Amid::Put]),
        A::ReturnAmid(false, 1, vec![Amid::Put]),
        A::Return(false),
        A::StepAmid(true, 1, vec![Amid::Put]),
        A::TakeAway(true, 0),
        A::KillWithin(false, 1),
    ];
    let an_edited_file_that_was_removed_meanwhile = [
        A::Put(6, 0, 1, false),
        A::Step(false, 1),
        A::Put(0, 0, 1, true),
        A::PullWithin(false, 7),
        A::Put(0, 0, 0, true),
        A::Commit,
        A::Limit(0),
        A::Remove(6),
        A::Put(0, 0, 0, false),
        A::Edit(false, 6, 0, 0),
    ];
    let a_folder_renamed_to_where_a_move_leads = [
        A::Put(5, 0, 0, false),
        A::MakeFolder(2),
        A::MakeFolder(3),
        A::Step(true, 1),
        A::Stage(0, 0, 0, false),
        A::Move(1, 10),
        A::Rename(true, 0, 10),
        A::Put(0, 0, 0, false),
        A::StepAmid(true, 1, vec![Amid::Put]),
    ];
    let a_stick_that_died_under_somebody_elses_hands = [
        A::Put(1, 0, 0, false),
        A::Put(3, 0, 0, false),
        A::KillWithin(false, 6),
        A::DieWithin(false, 1),
        A::StepAmid(false, 1, vec![Amid::Put]),
        A::TakeAway(false, 0),
        A::Add(false, 0, 0, 0),
    ];
    let somebodys_file_in_the_way_as_the_power_fails =
        [A::Put(0, 0, 8, true), A::Add(false, 0, 0, 0), A::PullWithin(false, 15), A::Step(false, 1), A::Limit(0)];
    let an_edit_that_is_set_aside_as_a_call_fails = [
        A::Put(5, 0, 0, false),
        A::Step(false, 1),
        A::Edit(false, 5, 0, 0),
        A::Fail(false, 1, 0),
        A::Remove(5),
        A::Step(false, 1),
        A::TakeIn(false),
    ];
    let a_file_moved_to_where_the_folder_was_that_it_is_in = [
        A::Put(8, 0, 0, false),
        A::Step(false, 1),
        A::ReturnAmid(false, 1, vec![Amid::Move("x/y", "x/x"), Amid::Move("x/x/x", "x/y")]),
    ];
    run_all(&[
        an_edit_that_is_set_aside_as_a_call_fails.as_slice(),
        &somebodys_file_in_the_way_as_the_power_fails,
        &a_folder_taken_away_below_a_staged_file,
        &an_edited_file_that_was_removed_meanwhile,
        &a_folder_renamed_to_where_a_move_leads,
        &a_stick_that_died_under_somebody_elses_hands,
        &a_file_moved_to_where_the_folder_was_that_it_is_in,
    ]);
}

#[test]
fn histories_that_once_took_one_for_another_that_was_recorded_there_end_well() {
    use Act as A;
    let a_file_moved_to_where_one_of_the_same_bytes_was_removed = [
        A::Put(3, 0, 2, false),
        A::Put(8, 0, 2, false),
        A::Step(false, 1),
        A::Remove(8),
        A::Move(3, 8),
        A::Put(8, 0, 0, false),
        A::Kill,
        A::Step(false, 3),
        A::Kill,
    ];
    let a_folder_moved_to_where_one_was_removed = [
        A::Put(3, 0, 2, false),
        A::MakeFolder(1),
        A::Step(false, 1),
        A::Step(true, 1),
        A::Remove(1),
        A::Move(0, 1),
        A::Move(1, 2),
        A::Move(2, 1),
        A::Kill,
    ];
    let a_file_moved_on_past_the_place_of_another_of_the_same_bytes = [
        A::Put(3, 0, 2, false),
        A::Put(4, 0, 2, false),
        A::Step(false, 3),
        A::Step(true, 3),
        A::Move(4, 1),
        A::Move(3, 4),
        A::Move(4, 2),
        A::Move(1, 3),
        A::PullWithin(false, 3),
        A::StepAmid(false, 1, vec![Amid::Move("z", "y")]),
        A::Return(false),
    ];
    run_all(&[
        a_file_moved_to_where_one_of_the_same_bytes_was_removed.as_slice(),
        &a_folder_moved_to_where_one_was_removed,
        &a_file_moved_on_past_the_place_of_another_of_the_same_bytes,
    ]);
}

fn run_all(histories: &[&[Act]]) {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        for history in histories {
            // What a cut loses is a matter of the seed.
            for seed in 0_u64..40 {
                run(kind, u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15), history);
            }
        }
    }
}
