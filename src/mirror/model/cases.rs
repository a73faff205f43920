//! The schedules that the design was reviewed against.

use crate::ids::Side;
use crate::mirror::layout;
use crate::mirror::model::damage_cases::blocks;
use crate::mirror::model::world::{Way, World};
use crate::mirror::scrub::pass::Turn;
use crate::mirror::sim_volume::CallKind;
use crate::mirror::volume::{Attributes, FsKind, Volume};

pub(super) fn world() -> World {
    World::new(FsKind::Atomic, 7)
}

pub(super) fn settle(mut world: World) {
    world.check_reads();
    world.drain();
    world.check_idempotent();
}

#[test]
fn a_file_removed_and_put_again_survives_a_kill_before_the_flags() {
    let mut world = world();
    world.put("f", b"one", Way::Log);
    for side in Side::BOTH {
        world.step(side);
    }
    world.remove("f");
    world.put("f", b"two", Way::Log);
    world.step(Side::A);
    world.step(Side::A);
    world.kill();
    settle(world);
}

#[test]
fn a_file_moved_before_it_is_installed_arrives_under_its_last_name() {
    for way in [Way::Log, Way::File] {
        let mut world = world();
        world.put("f", b"one", way);
        world.move_to("f", "g");
        world.step(Side::A);
        world.move_to("g", "h");
        world.kill();
        settle(world);
    }
}

#[test]
fn drives_away_in_turn_end_with_all_that_either_was_told() {
    let mut world = world();
    world.pull(Side::B);
    world.put("one", b"told to a", Way::Log);
    world.bring_back(Side::B);
    world.pull(Side::A);
    world.put("two", b"told to b", Way::File);
    world.check_reads();
    world.bring_back(Side::A);
    settle(world);
}

#[test]
fn both_drives_away_in_turn_with_debts_on_both_sides_waste_nothing() {
    let mut world = world();
    world.make_folder("d");
    world.put("d/f", b"zero", Way::Log);
    world.pull(Side::A);
    world.put("d/f", b"one", Way::Log);
    world.put("d/g", b"only b", Way::Log);
    world.pull(Side::B);
    world.bring_back(Side::A);
    world.put("e", b"only a", Way::Log);
    world.move_to("d", "k");
    world.step(Side::A);
    world.check_reads();
    world.pull(Side::A);
    world.bring_back(Side::B);
    world.step(Side::B);
    world.remove("k/g");
    world.check_reads();
    settle(world);
}

#[test]
fn names_that_change_their_case_alone_are_one_on_fat() {
    let mut world = World::new(FsKind::Fat, 7);
    world.make_folder("d");
    world.put("d/f", b"one", Way::Log);
    world.step(Side::A);
    world.move_to("d/f", "d/F");
    world.move_to("d", "D");
    world.step(Side::A);
    world.remove("D/F");
    world.put("D/f", b"one", Way::File);
    world.kill();
    world.check_reads();
    settle(world);
}

#[test]
fn a_folder_moved_to_and_fro_before_its_drives_moved_it_stays_where_it_is() {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        let mut world = World::new(kind, 7);
        world.put("d/f", b"one", Way::Log);
        world.rest();
        let before = Side::BOTH.map(|side| world.disk(side).calls().name);
        world.move_to("d", "e");
        world.move_to("e", "d");
        world.rest();
        assert_eq!(before, Side::BOTH.map(|side| world.disk(side).calls().name), "no name is touched");
        settle(world);
    }
}

#[test]
fn a_failed_commit_is_decided_by_the_journal_opened_again() {
    for survivors in 0..12 {
        let mut world = world();
        world.put("f", b"one", Way::Log);
        world.fail_barrier(survivors);
        world.put("d/f", b"two", Way::File);
        world.fail_barrier(survivors);
        world.move_to("f", "g");
        settle(world);
    }
}

#[test]
fn a_stage_whose_ticket_nobody_knows_is_set_aside_and_never_deleted() {
    let mut world = world();
    world.pull(Side::B);
    world.bring_back(Side::B);
    let volume = world.disk(Side::B).mount().unwrap();
    let strange = format!(".twinstick/stage/{}", "ab".repeat(16));
    let file = volume.create(&strange).unwrap();
    file.write_at(b"somebody's only copy", 0).unwrap();
    file.sync().unwrap();
    volume.sync_folder(".twinstick/stage").unwrap();
    world.kill();
    let kept = world.disk(Side::B).own_tree();
    let aside = kept.iter().find(|(path, _)| path.starts_with(".twinstick/aside/"));
    assert_eq!(aside.unwrap().1.as_deref(), Some(b"somebody's only copy".as_slice()));
    assert!(!kept.contains_key(&strange));
}

#[test]
fn an_own_stage_that_was_never_committed_is_swept() {
    let mut world = world();
    let upload = world.stage("f", b"lost client", Way::File);
    assert!(upload.is_some());
    world.kill();
    settle(world);
}

#[test]
fn a_mutation_sent_again_gets_its_first_answer_after_a_restart() {
    let mut world = world();
    let (first, second) = world.make_folder_twice("d", "an-id");
    assert_eq!(first, second);
    assert_eq!(first.lsn, world.head());
    assert!(world.refuses_id_for("another", "an-id"));
    settle(world);
}

#[test]
fn a_file_in_the_way_that_the_mirror_did_not_write_is_set_aside() {
    let mut world = world();
    let volume = world.disk(Side::A).mount().unwrap();
    volume.create("f").unwrap().write_at(b"somebody else's", 0).unwrap();
    world.put("f", b"ours", Way::Log);
    world.step(Side::A);
    world.check_reads();
    let tree = world.disk(Side::A).own_tree();
    let aside = tree.iter().find(|(path, bytes)| path.starts_with(".twinstick/aside/") && bytes.is_some());
    assert_eq!(aside.unwrap().1.as_deref(), Some(b"somebody else's".as_slice()));
}

#[test]
fn swapped_folders_are_moved_through_limbo() {
    let mut world = world();
    world.put("x/f", b"one", Way::Log);
    world.put("y/g", b"two", Way::Log);
    for side in Side::BOTH {
        world.step(side);
    }
    world.move_to("x", "z");
    world.move_to("y", "x");
    world.move_to("z", "y");
    world.move_to("y", "x/y");
    settle(world);
}

#[test]
fn an_upload_of_an_earlier_arrival_lets_go_of_no_other_versions_bytes() {
    let mut world = world();
    world.pull(Side::A);
    let upload = world.stage("never", b"not committed", Way::Log);
    world.keep(upload);
    world.put("f", b"in the same segment", Way::Log);
    world.pull(Side::B);
    world.bring_back(Side::B);
    world.commit_oldest();
    settle(world);
}

#[test]
fn a_last_copy_with_another_time_stamp_is_moved_and_not_set_aside() {
    let mut world = world();
    world.put("f", b"the only copy", Way::Log);
    world.step(Side::A);
    world.pull(Side::B);
    let volume = world.disk(Side::A).mount().unwrap();
    volume.open_write("f").unwrap().set_attributes(Attributes { mtime_ns: 99, executable: false }).unwrap();
    world.move_to("f", "g");
    world.step(Side::A);
    world.check_reads();
    settle(world);
}

#[test]
fn what_was_installed_since_the_last_checkpoint_is_read_back_when_its_drive_returns() {
    let mut world = world();
    world.put("f", b"whole", Way::Log);
    for side in Side::BOTH {
        world.step(side);
    }
    assert!(world.entries() > 0, "an entry stays until what was installed is checkpointed");
    world.pull(Side::B);
    world.bring_back(Side::B);
    world.pull(Side::B);
    // A cut on FAT can hurt what was written just before.
    world.damage(Side::B, "f");
    world.bring_back(Side::B);
    world.step(Side::B);
    let tree = world.disk(Side::B).tree();
    assert_eq!(tree.get("f").unwrap().as_deref(), Some(b"whole".as_slice()));
    let own = world.disk(Side::B).own_tree();
    assert!(own.keys().any(|path| path.starts_with(".twinstick/aside/")), "the damaged file is kept aside");
}

#[test]
fn what_a_backfill_installed_since_the_last_checkpoint_is_read_back_too() {
    let replaced: fn(&mut World) = |world| world.replace(Side::B, None);
    let outgrown: fn(&mut World) = |world| world.limit(0);
    for begin in [replaced, outgrown] {
        for checkpointed in [false, true] {
            let mut world = world();
            world.pull(Side::B);
            world.put("f", b"whole", Way::Log);
            world.step(Side::A);
            world.checkpoint(Side::A);
            begin(&mut world);
            assert_eq!(world.entries(), 0, "no entry waits for a drive that is filled");
            world.bring_back(Side::B);
            world.step(Side::B);
            if checkpointed {
                world.checkpoint(Side::B);
            }
            world.pull(Side::B);
            world.damage(Side::B, "f");
            world.bring_back(Side::B);
            world.step(Side::B);
            let tree = world.disk(Side::B).tree();
            let whole = tree.get("f").unwrap().as_deref() == Some(b"whole".as_slice());
            // Behind a checkpoint it is for a scrub to find.
            assert_eq!(whole, !checkpointed);
        }
    }
}

#[test]
fn a_removal_on_a_stick_that_has_died_unnoticed_is_not_believed() {
    // Whatever call is the first on the dead stick.
    for nth in 1..12 {
        let mut world = world();
        world.make_folder("d");
        world.put("d/f", b"bytes", Way::Log);
        for side in Side::BOTH {
            world.step(side);
            world.step(side);
            world.checkpoint(side);
        }
        world.die_within(Side::B, nth);
        world.remove("d/f");
        world.remove("d");
        world.make_folder("e");
        for _ in 0..4 {
            world.step(Side::B);
        }
        settle(world);
    }
}

#[test]
fn a_stage_that_has_just_got_its_name_is_not_missed() {
    let mut world = world();
    world.put("f", &blocks(2), Way::File);
    let own = world.disk(Side::B).own_tree();
    let stage = own.keys().find(|path| path.starts_with(layout::STAGE_FOLDER) && path.as_str() != layout::STAGE_FOLDER);
    // What a lane does just before it says so.
    world.disk(Side::B).mount().unwrap().rename(stage.unwrap(), "f").unwrap();
    let mut pass = world.pass(Side::B).unwrap();
    let turn = pass.turn();
    assert!(matches!(turn, Ok(Turn::Moving)), "{turn:?}");
}

#[test]
fn a_file_that_cannot_be_read_as_its_drive_comes_is_found_though_its_stage_is_gone() {
    for (nth, seed) in (1..6).flat_map(|nth| (0..8).map(move |seed| (nth, seed))) {
        let mut world = World::new(FsKind::Atomic, seed);
        world.pull(Side::A);
        world.put("x", b"staged in the log", Way::Log);
        // From its next stay on a drive lets go of a log of which nothing is needed.
        world.pull(Side::B);
        world.bring_back(Side::B);
        world.step(Side::B);
        world.pull(Side::B);
        // Of the install there is no record then.
        world.kill();
        world.fail_next(Side::B, nth, CallKind::Read);
        world.bring_back(Side::B);
        settle(world);
    }
}
