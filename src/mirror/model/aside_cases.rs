//! What lies aside on a drive where little may.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use crate::ids::Side;
use crate::mirror::model::world::foreign::Cut;
use crate::mirror::model::world::{Way, World};
use crate::mirror::sim_volume::Fault;
use crate::mirror::volume::{Disposition, FsKind, Volume as _};

/// Of each file that is damaged here.
/// Steps in which every lane of these histories has done what it can.
const STEPS_MAX: usize = 100;
const BYTES: u64 = 12;
/// More than a repair makes.
const CALLS: u64 = 60;

/// Both drives have `f` and `g`, installed and on record, and B room for two and a half of them aside.
fn world(kind: FsKind) -> World {
    let mut world = World::new(kind, 7);
    world.limit_aside(2 * BYTES + BYTES / 2);
    for path in ["f", "g"] {
        world.put(path, path.repeat(BYTES as usize).as_bytes(), Way::Log);
        rest(&mut world);
    }
    world
}

fn rest(world: &mut World) {
    for side in Side::BOTH {
        let steps = (0..STEPS_MAX).take_while(|_| world.step(side)).count();
        assert!(steps < STEPS_MAX, "{side}'s lane comes to rest");
        world.checkpoint(side);
    }
}

/// Damages B's copy of a file and has it repaired.
fn mend(world: &mut World, path: &str) {
    world.rot(Side::B, path);
    rest(world);
    let expected = path.repeat(BYTES as usize).into_bytes();
    assert_eq!(world.disk(Side::B).tree()[path], Some(expected), "{path} is whole again");
}

/// The causes of what lies aside on B, oldest first; those that are replaced with a star.
fn lying(world: &World) -> Vec<String> {
    let tree = world.disk(Side::B).own_tree();
    let names =
        tree.keys().filter_map(|path| path.strip_prefix(".twinstick/aside/")).filter(|name| !name.contains('/'));
    let names: Vec<_> = names.collect();
    let items = names.iter().filter(|name| !name.ends_with(".replaced"));
    let star = |name: &&&str| if names.contains(&format!("{name}.replaced").as_str()) { "*" } else { "" };
    let mut items: Vec<_> = items.map(|name| (number(name), format!("{}{}", cause(name), star(&name)))).collect();
    items.sort();
    items.into_iter().map(|(_, item)| item).collect()
}

fn number(name: &str) -> Option<(u64, u64)> {
    let (arrival, count) = name.split(' ').next()?.split_once('.')?;
    Some((arrival.parse().ok()?, count.parse().ok()?))
}

fn cause(name: &str) -> &str {
    name.split(' ').nth(1).unwrap_or(name)
}

fn settle(mut world: World) {
    world.check_reads();
    world.drain();
    world.check_idempotent();
}

#[test]
fn the_oldest_copies_that_repairs_replaced_go_when_room_is_needed_aside() {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        let mut world = world(kind);
        mend(&mut world, "f");
        mend(&mut world, "g");
        assert_eq!(lying(&world), ["damaged*", "damaged*"]);
        let before = world.disk(Side::B).own_tree();
        mend(&mut world, "f");
        assert_eq!(lying(&world), ["damaged*", "damaged*"]);
        let after = world.disk(Side::B).own_tree();
        let gone: Vec<_> = before.keys().filter(|path| path.contains("aside/") && !after.contains_key(*path)).collect();
        assert!(gone.iter().all(|path| path.contains("/3.") || path.contains("/2.")), "{gone:?}");
        assert!(
            gone.iter().any(|path| path.ends_with("/f")) && !gone.iter().any(|path| path.ends_with("/g")),
            "{gone:?}"
        );
        world.check_stock();
        settle(world);
    }
}

#[test]
fn after_a_restart_it_is_known_what_may_go() {
    let mut world = world(FsKind::Atomic);
    mend(&mut world, "f");
    mend(&mut world, "g");
    world.kill();
    world.check_stock();
    mend(&mut world, "f");
    assert_eq!(lying(&world), ["damaged*", "damaged*"]);
    world.cut_power();
    world.check_stock();
    settle(world);
}

#[test]
fn an_edit_is_never_let_go_of_and_waits_in_its_place_where_there_is_no_room_aside() {
    let mut world = world(FsKind::Atomic);
    world.edit(Side::B, "f", b"an edit that fills all the room there");
    while world.look(Side::B) {}
    rest(&mut world);
    assert_eq!(lying(&world), ["edited"]);
    world.edit(Side::B, "g", b"another edit");
    while world.look(Side::B) {}
    rest(&mut world);
    assert_eq!(lying(&world), ["edited"]);
    assert_eq!(world.disk(Side::B).tree()["g"].as_deref(), Some(b"another edit".as_slice()));
    // The first is taken in, and leaves room for the second.
    world.take_in(Side::B, Cut::No);
    world.forget_stays();
    rest(&mut world);
    assert_eq!(lying(&world), ["edited"]);
    settle(world);
}

#[test]
fn what_could_not_be_set_aside_leaves_no_empty_folders_there() {
    // On FAT what says that a copy is under way may stay, and the next arrival removes both.
    for nth in 1..CALLS {
        let mut world = World::new(FsKind::Atomic, 7);
        world.put("d/f", b"the mirror's", Way::Log);
        rest(&mut world);
        world.edit(Side::B, "d/f", b"an edit");
        while world.look(Side::B) {}
        world.disk(Side::B).fail_nth(nth, None, Fault::Once(Disposition::NoSpace));
        world.step(Side::B);
        world.disk(Side::B).clear_faults();
        if world.is_present(Side::B) {
            let tree = world.disk(Side::B).own_tree();
            let is_file = |item: &&String| tree.iter().any(|(path, bytes)| path.starts_with(*item) && bytes.is_some());
            let is_empty = |item: &&String| item.starts_with(".twinstick/aside/") && !is_file(item);
            assert_eq!(tree.keys().find(is_empty), None, "after {nth} calls");
            world.check_stock();
        }
        world.forget_stays();
        settle(world);
    }
}

#[test]
fn room_that_its_owner_makes_by_hand_is_seen() {
    let mut world = world(FsKind::Atomic);
    let volume = world.disk(Side::B).mount().unwrap();
    volume.create(".twinstick/aside/large").unwrap().write_at(&[0; 31], 0).unwrap();
    world.limit_aside(30);
    world.rot(Side::B, "f");
    rest(&mut world);
    assert_eq!(lying(&world), ["large"]);
    volume.remove_file(".twinstick/aside/large").unwrap();
    world.forget_stays();
    rest(&mut world);
    assert_eq!(lying(&world), ["damaged*"]);
    settle(world);
}

#[test]
fn a_damaged_copy_without_a_whole_one_in_its_place_is_kept() {
    // Cut at each sync of the repair: until the whole copy is durable under its name nothing says that it is.
    for nth in 1..CALLS {
        let mut world = world(FsKind::Atomic);
        world.limit_aside(1);
        world.rot(Side::B, "f");
        world.kill_within(Side::B, nth);
        let is_whole = world.disk(Side::B).tree().get("f").is_some_and(|bytes| *bytes == Some(b"f".repeat(12)));
        assert!(is_whole || !lying(&world).contains(&"damaged*".to_owned()), "after {nth} calls: {:?}", lying(&world));
        world.check_stock();
        settle(world);
    }
}

#[test]
fn a_copy_that_rotted_is_not_taken_for_an_edit_once_its_version_is_outdated() {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        for nth in 0..3 {
            let mut world = world(kind);
            for side in Side::BOTH {
                world.damage(side, "f");
                world.scrub(side);
            }
            match nth {
                0 => world.put("f", &b"f".repeat(BYTES as usize), Way::Log),
                1 => world.put("f", b"another", Way::Log),
                _ => world.remove("f"),
            }
            rest(&mut world);
            for side in Side::BOTH {
                let own = world.disk(side).own_tree();
                assert!(!own.keys().any(|path| path.contains(" edited ")), "{kind:?}, {nth}, {side}: {own:?}");
            }
            world.empty_aside();
            settle(world);
        }
    }
}

#[test]
fn a_copy_that_rotted_is_not_taken_for_an_edit_where_it_is_in_the_way() {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        let mut world = world(kind);
        for side in Side::BOTH {
            world.damage(side, "f");
            world.scrub(side);
        }
        world.move_to("f", "h");
        world.put("f", b"another", Way::Log);
        rest(&mut world);
        for side in Side::BOTH {
            let own = world.disk(side).own_tree();
            assert!(!own.keys().any(|path| path.contains(" edited ")), "{kind:?}, {side}: {own:?}");
            // What is bad on both is no reason to lack what came in its place.
            let new = world.disk(side).tree().remove("f");
            assert_eq!(new, Some(Some(b"another".to_vec())), "{kind:?}, {side}");
        }
    }
}

#[test]
fn an_edit_that_was_taken_for_damage_is_kept_though_its_version_is_outdated() {
    let mut world = world(FsKind::Atomic);
    world.report_damage(Side::B, "f");
    let volume = world.disk(Side::B).mount().unwrap();
    let file = volume.open_write("f").unwrap();
    file.write_at(b"edited by somebody", 0).unwrap();
    file.sync().unwrap();
    world.put("f", b"another", Way::Log);
    rest(&mut world);
    assert_eq!(lying(&world), ["edited"]);
}
