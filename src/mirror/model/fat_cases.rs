//! What no power cut on FAT may take with it: the last copy of anything.

use crate::ids::Side;
use crate::mirror::model::world::{Way, World};
use crate::mirror::volume::FsKind;

/// More than the calls that the moves below take.
const CALLS: u64 = 80;
/// The same for the install of one file.
const CALLS_TO_INSTALL: u64 = 30;
const SEEDS: u64 = 16;
const STEPS: usize = 30;

/// A world in which drive a alone has some files in folders, when its power is cut before the `nth` call from then on.
fn cut(nth: u64, act: impl FnOnce(&mut World)) {
    let mut world = World::new(FsKind::Fat, nth);
    world.put("x/x", b"one", Way::Log);
    world.put("x/y/x", b"two", Way::File);
    world.put("y/x", b"three", Way::Log);
    world.rest();
    world.pull(Side::B);
    world.put("x/x", b"four", Way::Log);
    world.put("x/y/y", b"five", Way::File);
    world.put("y/x", b"six", Way::File);
    steps(&mut world);
    act(&mut world);
    world.pull_within(Side::A, nth);
    steps(&mut world);
    world.bring_back(Side::A);
    world.check_reads();
    world.drain();
    world.check_idempotent();
}

fn steps(world: &mut World) {
    for _ in 0..STEPS {
        world.step(Side::A);
    }
}

#[test]
fn what_a_cut_left_of_a_name_that_nobody_wants_any_more_comes_to_nobody() {
    let acts: [fn(&mut World); 4] = [
        |world| world.remove("d"),
        |world| world.move_to("d", "x/d"),
        |world| {
            world.move_to("x", "z");
            world.remove("d");
        },
        |world| world.put("d", b"newer", Way::Log),
    ];
    for (seed, nth) in (0..SEEDS / 2).flat_map(|seed| (1..CALLS_TO_INSTALL).map(move |nth| (seed, nth))) {
        for (act, way) in acts.into_iter().flat_map(|act| [(act, Way::File), (act, Way::Log)]) {
            let mut world = World::new(FsKind::Fat, seed);
            world.put("x/x", b"one", Way::Log);
            world.rest();
            world.put("d", b"two", way);
            world.pull_within(Side::A, nth);
            steps(&mut world);
            world.pull(Side::A);
            act(&mut world);
            world.bring_back(Side::A);
            world.check_reads();
            world.drain();
            world.check_idempotent();
            assert!(world.came_back.is_empty(), "came back: {:?}", world.came_back);
        }
    }
}

#[test]
fn a_cut_while_a_lone_stick_moves_a_folder_loses_nothing() {
    for nth in 1..CALLS {
        cut(nth, |world| world.move_to("x", "z"));
    }
}

#[test]
fn a_cut_while_a_lone_stick_gives_two_folders_each_others_names_loses_nothing() {
    for nth in 1..CALLS {
        cut(nth, |world| {
            world.move_to("x", "z");
            world.move_to("y", "x");
            world.move_to("z", "y");
        });
    }
}

#[test]
fn a_cut_while_a_lone_stick_changes_a_folders_case_loses_nothing() {
    for nth in 1..CALLS {
        cut(nth, |world| world.move_to("x", "X"));
    }
}

#[test]
fn a_file_that_a_cut_hurt_beside_an_install_is_never_served() {
    for nth in 1..CALLS {
        let mut world = World::new(FsKind::Fat, nth);
        for path in ["x/a", "x/b", "y/a"] {
            world.put(path, path.as_bytes(), Way::File);
        }
        world.rest();
        world.put("x/c", b"new", Way::File);
        world.pull_within(Side::A, nth);
        steps(&mut world);
        world.pull(Side::A);
        world.tear_out(Side::A, "x/b");
        world.bring_back(Side::A);
        world.check_reads();
        assert!(world.owes(Side::A), "what was hurt is owed");
        world.drain();
        world.check_idempotent();
    }
}

#[test]
fn a_cut_while_a_lone_stick_changes_a_folders_case_to_and_fro_leaves_the_last_spelling() {
    for nth in 1..CALLS {
        for between in 0..4 {
            cut(nth, |world| {
                for (from, to) in [("x", "X"), ("X", "x"), ("x", "X")] {
                    world.move_to(from, to);
                    for _ in 0..between {
                        world.step(Side::A);
                    }
                }
            });
        }
    }
}

#[test]
fn a_copy_that_a_cut_took_is_waited_for_while_the_drive_that_has_it_is_away() {
    let mut waited = 0;
    for (nth, seed) in (1..CALLS_TO_INSTALL).flat_map(|nth| (0..SEEDS).map(move |seed| (nth, seed))) {
        let mut world = World::new(FsKind::Fat, seed);
        world.put("x/x", b"one", Way::File);
        world.pull_within(Side::A, nth);
        steps(&mut world);
        world.bring_back(Side::A);
        world.pull(Side::B);
        world.check_reads();
        steps(&mut world);
        waited += usize::from(world.waits_for(Side::A, Side::B));
        world.drain();
        world.check_idempotent();
    }
    assert!(waited > 0, "no cut took the copy");
}
