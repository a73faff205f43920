//! Histories of the trash.

use crate::ids::Side;
use crate::mirror::model::world::{Way, World};
use crate::mirror::volume::FsKind;

fn world() -> World {
    World::with_trash(FsKind::Atomic, 7)
}

fn settle(mut world: World) {
    world.check_reads();
    world.drain();
    world.check_idempotent();
}

#[test]
fn what_was_overwritten_and_removed_is_brought_back_from_the_trash() {
    for way in [Way::Log, Way::File] {
        let mut world = world();
        world.put("d/f", b"one", way);
        world.put("d/f", b"two", way);
        world.step(Side::A);
        world.pull(Side::B);
        world.remove("d/f");
        world.remove("d");
        world.step(Side::A);
        world.restore("d/f", 0);
        world.bring_back(Side::B);
        world.step(Side::B);
        // What is there now goes to the trash in its turn.
        world.restore("d/f", 0);
        world.step(Side::B);
        world.restore("d/f", 0);
        settle(world);
    }
}

#[test]
fn a_path_keeps_no_more_than_its_last_versions() {
    let mut world = world();
    for number in 0_u8..24 {
        world.run_for(60);
        world.put("f", &[number], Way::Log);
        if number % 5 == 0 {
            world.step(Side::A);
        }
        world.check_reads();
    }
    settle(world);
}

#[test]
fn what_only_a_replaced_drive_had_of_the_trash_is_forgotten() {
    let mut world = world();
    world.put("f", b"on both", Way::Log);
    world.pull(Side::B);
    world.put("f", b"on a alone", Way::Log);
    world.remove("f");
    world.step(Side::A);
    world.replace(Side::A, None);
    world.bring_back(Side::B);
    settle(world);
}

#[test]
fn a_returned_drive_gets_what_clients_have_before_what_is_only_kept() {
    let mut world = world();
    world.pull(Side::B);
    world.put("thrown away", b"which b never had", Way::Log);
    world.remove("thrown away");
    world.put("f", b"current", Way::Log);
    world.step(Side::A);
    world.bring_back(Side::B);
    let kept = |world: &World| world.disk(Side::B).own_tree().keys().any(|path| path.starts_with(".twinstick/trash/"));
    world.step(Side::B);
    assert!(world.disk(Side::B).tree().contains_key("f") && !kept(&world));
    world.step(Side::B);
    assert!(kept(&world));
    settle(world);
}
