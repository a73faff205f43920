//! Copies that are damaged on one drive or on both.

use crate::digest::BLOCK_BYTES;
use crate::ids::Side;
use crate::mirror::layout;
use crate::mirror::model::cases::{settle, world};
use crate::mirror::model::world::{Way, World};
use crate::mirror::scrub::pass::Turn;
use crate::mirror::volume::{FsKind, Volume};

#[test]
fn an_only_copy_that_is_damaged_is_kept_and_named() {
    let mut world = world();
    world.put("f", b"whole", Way::Log);
    for side in Side::BOTH {
        world.step(side);
        world.checkpoint(side);
    }
    world.pull(Side::B);
    world.put("f", b"newer", Way::Log);
    world.step(Side::A);
    world.checkpoint(Side::A);
    world.damage(Side::A, "f");
    world.bring_back(Side::B);
    for _ in 0..5 {
        world.step(Side::B);
    }
    assert!(world.waits_for_damaged(Side::B, Side::A), "b says whose copy is damaged");
    assert!(world.disk(Side::A).tree().contains_key("f"), "the damaged copy is not thrown away");
    assert_eq!(world.disk(Side::B).tree().get("f").unwrap().as_deref(), Some(b"whole".as_slice()));
}

/// Bytes of more than one block, no block like another.
pub(super) fn blocks(count: usize) -> Vec<u8> {
    (0..count * BLOCK_BYTES - 77).map(|i| (i / BLOCK_BYTES * 7 + i % 251) as u8).collect()
}

fn at_block(number: usize) -> u64 {
    (number * BLOCK_BYTES + 5) as u64
}

#[test]
fn copies_with_different_bad_blocks_make_each_other_whole() {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        for first in Side::BOTH {
            let mut world = World::new(kind, 7);
            world.put("f", &blocks(4), Way::File);
            for side in Side::BOTH {
                world.step(side);
                world.checkpoint(side);
            }
            world.damage_at(Side::A, "f", at_block(0));
            world.damage_at(Side::A, "f", at_block(2));
            world.damage_at(Side::B, "f", at_block(1));
            world.damage_at(Side::B, "f", at_block(3));
            world.report_damage(first, "f");
            // Refused while the other is no whole copy.
            world.report_damage(first.other(), "f");
            for _ in 0..6 {
                world.step(Side::A);
                world.step(Side::B);
            }
            world.check_reads();
            world.empty_aside();
            settle(world);
        }
    }
}

#[test]
fn a_copy_found_damaged_while_the_other_drive_is_away_keeps_its_blocks_until_that_returns() {
    let mut world = world();
    world.put("f", &blocks(3), Way::File);
    for side in Side::BOTH {
        world.step(side);
        world.checkpoint(side);
    }
    world.pull(Side::B);
    world.damage_at(Side::A, "f", at_block(1));
    world.report_damage(Side::A, "f");
    for _ in 0..3 {
        world.step(Side::A);
    }
    assert_eq!(world.disk(Side::A).tree().get("f").unwrap().as_ref().unwrap().len(), blocks(3).len());
    // The other one is no better, elsewhere.
    world.damage_at(Side::B, "f", at_block(2));
    world.bring_back(Side::B);
    for _ in 0..6 {
        world.step(Side::A);
        world.step(Side::B);
    }
    world.empty_aside();
    settle(world);
}

#[test]
fn a_block_that_is_bad_on_both_drives_gives_neither_copy_up() {
    let mut world = world();
    world.put("f", &blocks(3), Way::File);
    for side in Side::BOTH {
        world.step(side);
        world.checkpoint(side);
        world.damage_at(side, "f", at_block(1));
    }
    world.report_damage(Side::A, "f");
    for _ in 0..6 {
        world.step(Side::A);
        world.step(Side::B);
    }
    for side in Side::BOTH {
        assert!(world.disk(side).tree().contains_key("f"), "{side} keeps what it has");
    }
    assert!(world.waits_for_damaged(Side::A, Side::B));
}

#[test]
fn what_replaces_a_file_that_no_drive_has_whole_is_copied_though_the_other_lane_was_moving_it() {
    for way in [Way::File, Way::Log] {
        let mut world = world();
        world.put("f", &blocks(3), Way::File);
        for side in Side::BOTH {
            world.step(side);
            world.checkpoint(side);
            world.damage_at(side, "f", at_block(1));
        }
        world.report_damage(Side::A, "f");
        world.step(Side::A);
        assert!(world.waits_for_damaged(Side::A, Side::B));
        let upload = world.stage("f", b"new", way).map(|upload| upload.without(Side::A));
        world.commit_put(upload.unwrap());
        world.step_around(Side::B);
        // No help comes: what was passed over is tried again by itself.
        for side in [Side::A, Side::B].repeat(6) {
            world.step(side);
        }
        for side in Side::BOTH {
            let there = world.disk(side).tree().get("f").cloned().flatten();
            assert!(there.as_deref() == Some(b"new".as_slice()), "{side}, {way:?}");
        }
    }
}

#[test]
fn a_damaged_stage_is_made_whole_from_the_other_drive() {
    let mut world = world();
    world.put("f", b"staged in both logs", Way::Log);
    let log = world.disk(Side::A).own_tree();
    let payload = b"staged in both logs";
    let found = log.iter().filter(|(path, _)| path.starts_with(layout::LOG_FOLDER)).find_map(|(path, bytes)| {
        let at = bytes.as_ref()?.windows(payload.len()).position(|window| window == payload)?;
        Some((path.clone(), at as u64))
    });
    let (segment, at) = found.unwrap();
    world.damage_at(Side::A, &segment, at);
    for _ in 0..4 {
        world.step(Side::A);
        world.step(Side::B);
    }
    settle(world);
}

#[test]
fn a_scrub_finds_what_is_damaged_changed_or_gone_and_the_lane_repairs_it() {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        let mut world = World::new(kind, 7);
        for name in ["rotten", "right", "changed", "gone"] {
            world.put(&format!("d/{name}"), &blocks(2), Way::File);
        }
        world.put("staged", b"in the log", Way::Log);
        for side in Side::BOTH {
            world.step(side);
            world.step(side);
            world.checkpoint(side);
            assert_eq!(world.scrub(side), 0, "{side}");
        }
        world.damage_at(Side::B, "d/rotten", at_block(1));
        let volume = world.disk(Side::B).mount().unwrap();
        volume.remove_file("d/gone").unwrap();
        volume.open_write("d/changed").unwrap().write_at(b"longer", (2 * BLOCK_BYTES) as u64).unwrap();
        volume.sync_all().unwrap();
        assert_eq!((world.scrub(Side::A), world.scrub(Side::B)), (0, 3));
        for _ in 0..3 {
            world.step(Side::B);
        }
        assert_eq!((world.scrub(Side::A), world.scrub(Side::B)), (0, 0));
        world.empty_aside();
        settle(world);
    }
}

#[test]
fn a_scrub_under_way_in_a_copy_that_is_repaired_meanwhile_does_not_call_it_damaged() {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        let mut world = World::new(kind, 7);
        world.put("f", &blocks(7), Way::File);
        for side in Side::BOTH {
            world.step(side);
            world.checkpoint(side);
        }
        world.damage_at(Side::B, "f", at_block(6));
        let mut pass = world.pass(Side::B).unwrap();
        assert!(matches!(pass.turn(), Ok(Turn::Read(_))), "the scrub is in the middle of the file");
        world.report_damage(Side::B, "f");
        for _ in 0..3 {
            world.step(Side::B);
        }
        assert_eq!(world.scrub_on(Side::B, pass), 0);
        world.empty_aside();
        settle(world);
    }
}
