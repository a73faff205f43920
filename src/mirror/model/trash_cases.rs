//! Histories of the trash.

use crate::ids::Side;
use crate::mirror::model::world::{Way, World};
use crate::mirror::volume::FsKind;

/// Steps that no lane needs for one file.
const BUSY_STEPS: usize = 30;

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
fn what_the_other_lane_is_just_moving_to_the_trash_is_not_taken_for_damaged() {
    let mut world = world();
    world.pull(Side::A);
    world.put("f", b"one", Way::File);
    world.step(Side::B);
    world.put("f", b"two", Way::File);
    world.bring_back(Side::A);
    world.step(Side::A);
    world.step_around(Side::B);
    // No help comes: what was passed over is tried again by itself.
    for side in [Side::A, Side::A, Side::B, Side::A] {
        world.step(side);
    }
    assert!(!world.waits_for_damaged(Side::A, Side::B) && !world.owes(Side::A));
    settle(world);
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

#[test]
fn a_stick_pulled_amid_an_overwrite_has_the_old_version_or_the_new_one_under_the_name() {
    let cases = [Way::Log, Way::File].into_iter().flat_map(|way| [(way, false), (way, true)]);
    for (way, is_returning) in cases {
        for seed in 0..8 {
            let mut nth = 1;
            loop {
                let mut world = World::with_trash(FsKind::Atomic, seed);
                world.put("d/f", b"the old version", way);
                world.step(Side::A);
                world.step(Side::B);
                if is_returning {
                    world.pull(Side::B);
                }
                world.put("d/f", b"the new version", way);
                if is_returning {
                    world.bring_back(Side::B);
                }
                world.pull_within(Side::B, nth);
                world.step(Side::B);
                world.step(Side::B);
                // Of the changes of names that no sync made durable, a power cut keeps the first few.
                for kept in 0..6 {
                    let stick = world.disk(Side::B).fork();
                    stick.crash(&mut |count| kept.min(count - 1));
                    let tree = stick.tree();
                    let bytes = tree.get("d/f").unwrap_or_else(|| panic!("{way:?}, pulled at call {nth}: {tree:?}"));
                    let versions: [&[u8]; 2] = [b"the old version", b"the new version"];
                    assert!(versions.contains(&bytes.as_deref().unwrap_or_default()), "{bytes:?}");
                }
                if world.is_present(Side::B) {
                    break;
                }
                world.bring_back(Side::B);
                for _ in 0..4 {
                    world.step(Side::B);
                }
                let own = world.disk(Side::B).own_tree();
                let is_aside = |path: &String| path.starts_with(".twinstick/aside/");
                assert!(!own.keys().any(is_aside), "seed {seed}, {way:?}, pulled at call {nth}: {own:?}");
                settle(world);
                nth += 1;
            }
            assert!(nth > 5, "{nth} calls");
        }
    }
}

#[test]
fn an_old_version_keeps_its_name_until_the_new_one_can_come() {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        let mut world = World::with_trash(kind, 7);
        world.put("f", b"on both", Way::Log);
        world.step(Side::A);
        world.step(Side::B);
        world.pull(Side::B);
        world.put("f", b"on a alone", Way::Log);
        world.step(Side::A);
        world.pull(Side::A);
        world.bring_back(Side::B);
        world.step(Side::B);
        assert_eq!(world.disk(Side::B).tree().get("f"), Some(&Some(b"on both".to_vec())));
        world.bring_back(Side::A);
        settle(world);
    }
}

#[test]
fn what_no_drive_has_whole_comes_back_from_the_trash_as_it_is_and_keeps_no_lane_busy() {
    for (kind, order) in [FsKind::Atomic, FsKind::Fat].into_iter().zip([[Side::A, Side::B], [Side::B, Side::A]]) {
        let mut world = World::with_trash(kind, 7);
        world.put("d/f", b"once whole", Way::File);
        world.rest();
        for side in order {
            world.damage(side, "d/f");
        }
        for side in order {
            world.scrub(side);
        }
        come_to_rest(&mut world, "damaged");
        world.remove("d/f");
        come_to_rest(&mut world, "removed");
        world.restore("d/f", 0);
        come_to_rest(&mut world, "back");
        let calls = |world: &World| order.map(|side| world.disk(side).calls());
        let before = calls(&world);
        world.retry_stays();
        assert_eq!(order.map(|side| world.step(side)), [false; 2]);
        assert_eq!(calls(&world), before, "nothing is written as long as nothing has changed");
    }
}

/// The lanes try once more what stayed, and find an end.
fn come_to_rest(world: &mut World, when: &str) {
    world.forget_stays();
    let steps = (0..BUSY_STEPS).take_while(|_| Side::BOTH.map(|side| world.step(side)) != [false; 2]).count();
    assert!(steps < BUSY_STEPS, "{when}: a lane works without an end");
}

#[test]
fn a_version_that_undo_brought_back_is_kept_however_soon_it_is_overwritten() {
    let mut world = world();
    world.put("o", b"one", Way::Log);
    world.run_for(2);
    world.put("o", b"two", Way::Log);
    world.restore("o", 0);
    world.put("o", b"three", Way::Log);
    assert_eq!(kept(&world, "o"), [3, 3]);
    // Written within the minute, and so left out.
    world.put("o", b"four", Way::Log);
    assert_eq!(kept(&world, "o"), [3, 3]);
    world.restore("o", 0);
    assert!(world.kept_of("o").iter().any(|kept| kept.remains.bytes() == 4));
    settle(world);
}

#[test]
fn a_version_that_was_moved_to_its_path_is_kept_however_soon_it_is_overwritten() {
    let mut world = world();
    world.put("o", b"x", Way::Log);
    world.put("important", b"an old file", Way::Log);
    world.remove("o");
    world.move_to("important", "o");
    // Of the same bytes, and as old.
    world.put("o", b"an old file", Way::Log);
    world.put("o", b"z", Way::Log);
    assert_eq!(kept(&world, "o"), [1, 11]);
    settle(world);
}

#[test]
fn of_versions_that_are_written_within_a_minute_the_first_is_kept_after_a_restart_too() {
    let mut world = world();
    world.put("o", b"first", Way::Log);
    for number in 0..4_u8 {
        world.put("o", &[number], Way::Log);
        world.step(Side::A);
        world.step(Side::B);
        world.checkpoint(Side::A);
        world.checkpoint(Side::B);
        world.kill();
    }
    assert_eq!(kept(&world, "o"), [5]);
    world.run_for(60);
    world.put("o", b"later", Way::Log);
    assert_eq!(kept(&world, "o"), [5, 1]);
    settle(world);
}

/// The sizes of what is kept of a path, oldest first.
fn kept(world: &World, path: &str) -> Vec<u64> {
    world.kept_of(path).iter().map(|kept| kept.remains.bytes()).collect()
}
