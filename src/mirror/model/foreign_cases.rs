//! What somebody else does to a drive, and what becomes of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use crate::ids::{Lsn, Side};
use crate::mirror::lane::Finding;
use crate::mirror::model::world::foreign::Cut;
use crate::mirror::model::world::{Way, World};
use crate::mirror::reconcile::survey::Next;
use crate::mirror::volume::FsKind;
use crate::path::{PATH_DEPTH_MAX, RelPath};

fn world() -> World {
    World::new(FsKind::Atomic, 7)
}

fn settle(mut world: World) {
    world.check_reads();
    world.drain();
    world.check_idempotent();
}

/// Settles without another entry.
fn settle_as_it_is(mut world: World, head: Lsn) {
    world.drain();
    assert_eq!(world.head(), head);
    world.check_idempotent();
}

/// Both drives have `path`, installed and on record.
fn world_with(path: &str) -> World {
    let mut world = world();
    world.put(path, b"the mirror's", Way::Log);
    for side in Side::BOTH {
        world.step(side);
        world.checkpoint(side);
    }
    world
}

fn aside(world: &World, side: Side) -> Vec<(String, Vec<u8>)> {
    let tree = world.disk(side).own_tree();
    let files = tree.into_iter().filter_map(|(path, bytes)| Some((path, bytes?)));
    files.filter(|(path, _)| path.starts_with(".twinstick/aside/")).collect()
}

#[test]
fn a_file_edited_elsewhere_is_set_aside_and_the_mirrors_version_restored() {
    let mut world = world_with("d/f");
    world.pull(Side::B);
    world.edit(Side::B, "d/f", b"edited on another machine");
    world.bring_back(Side::B);
    while world.look(Side::B) {}
    world.step(Side::B);
    let lsn = world.head();
    let expected =
        (format!(".twinstick/aside/3.1 edited 1970-01-01 lsn {lsn}/d/f"), b"edited on another machine".to_vec());
    assert_eq!(aside(&world, Side::B), [expected]);
    assert_eq!(world.disk(Side::B).tree()["d/f"].as_deref(), Some(b"the mirror's".as_slice()));
    let copy = format!("d/f (edited on b 1970-01-01, lsn {lsn})");
    world.take_in(Side::B, Cut::BeforeRemoval);
    assert_eq!(aside(&world, Side::B).len(), 1, "killed when the copy was stored, and what lay aside not yet removed");
    world.take_in(Side::B, Cut::No);
    assert!(aside(&world, Side::B).is_empty());
    let head = world.head();
    assert_eq!(world.oracle.plain()[&copy].as_deref(), Some(b"edited on another machine".as_slice()));
    settle_as_it_is(world, head);
}

#[test]
fn an_edit_over_the_only_copy_at_hand_goes_aside_and_the_original_waits_for_the_other_drive() {
    let mut world = world_with("f");
    world.pull(Side::B);
    world.edit(Side::B, "f", b"edited on another machine");
    world.pull(Side::A);
    world.bring_back(Side::B);
    while world.look(Side::B) {}
    for _ in 0..3 {
        world.step(Side::B);
    }
    assert_eq!(aside(&world, Side::B).len(), 1);
    assert!(world.waits_for(Side::B, Side::A));
    world.bring_back(Side::A);
    settle(world);
}

#[test]
fn what_is_missing_comes_back_and_a_folder_with_all_that_was_in_it() {
    let mut world = world_with("d/e/f");
    world.put("d/g", b"another", Way::File);
    for side in Side::BOTH {
        world.step(side);
    }
    world.take_away(Side::B, "d");
    assert!(world.disk(Side::B).tree().is_empty());
    world.search(Side::B);
    while world.look(Side::B) || world.step(Side::B) {}
    assert_eq!(world.disk(Side::B).tree(), world.disk(Side::A).tree());
    settle(world);
}

#[test]
fn what_is_missing_on_a_stick_that_has_died_unnoticed_is_not_believed() {
    let mut world = world_with("d/f");
    world.take_away(Side::B, "d");
    world.die_within(Side::B, 1);
    world.search(Side::B);
    while world.look(Side::B) {}
    assert!(!world.is_present(Side::B), "it says that something is missing, and cannot be synced");
    assert!(!world.owes(Side::B));
    settle(world);
}

#[test]
fn a_file_with_another_time_and_its_own_bytes_stays_as_it_is() {
    let mut world = world_with("f");
    world.restamp(Side::B, "f");
    world.search(Side::B);
    while world.look(Side::B) {}
    assert!(!world.owes(Side::B));
    let names = world.disk(Side::B).calls().name;
    world.search(Side::B);
    while world.look(Side::B) {}
    assert_eq!(world.disk(Side::B).calls().name, names);
    settle(world);
}

#[test]
fn both_edits_of_a_file_are_kept_and_both_drives_end_with_all_three() {
    let mut world = world_with("f");
    for side in Side::BOTH {
        world.pull(side);
    }
    world.edit(Side::A, "f", b"edited on a");
    world.edit_too(Side::B, "f", b"edited on b");
    for side in Side::BOTH {
        world.bring_back(side);
    }
    world.drain_what_can_be();
    for side in Side::BOTH {
        let tree = world.disk(side).tree();
        let kept: Vec<_> = tree.values().flatten().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        assert_eq!(kept, ["edited on a", "edited on b"], "on {side}");
        assert!(world.has_lost(side), "{side} says that no drive has the mirror's version");
    }
}

#[test]
fn new_files_and_folders_are_taken_in_where_they_are() {
    let mut world = world_with("d/f");
    world.pull(Side::B);
    world.add(Side::B, "d/g", b"new in d");
    world.rename(Side::B, "d", "e");
    world.bring_back(Side::B);
    world.drain();
    let tree = world.disk(Side::A).tree();
    let names: Vec<_> = tree.keys().map(String::as_str).collect();
    assert_eq!(names, ["d", "d/f", "e", "e/f", "e/g"], "a renamed folder is a new one, and the old one comes back");
    assert_eq!(tree["e/g"].as_deref(), Some(b"new in d".as_slice()));
    assert_eq!(world.disk(Side::B).tree(), tree);
    settle(world);
}

/// All that can be done without any time that passes.
fn go_on_at_once(world: &mut World) {
    let mut goes_on = true;
    while goes_on {
        goes_on = false;
        for side in Side::BOTH {
            goes_on |= world.step(side);
            goes_on |= world.look_at_once(side) == Next::Now;
            goes_on |= world.take_in(side, Cut::No);
        }
    }
}

fn names(world: &World, side: Side) -> Vec<String> {
    world.disk(side).tree().into_keys().collect()
}

#[test]
fn a_new_tree_settles_as_a_whole_and_not_level_by_level() {
    let mut world = world_with("d/f");
    go_on_at_once(&mut world);
    for path in ["n/1", "n/m/2", "n/m/l/3", "n/m/l/k/4", "n/o/5"] {
        world.add(Side::B, path, path.as_bytes());
    }
    let head = world.head();
    go_on_at_once(&mut world);
    assert_eq!(world.head(), head, "nothing is taken in that may be half of something");
    world.let_settle();
    go_on_at_once(&mut world);
    let tree = world.disk(Side::B).tree();
    assert_eq!(tree.len(), 2 + 5 + 5, "{tree:?}");
    assert_eq!(world.disk(Side::A).tree(), tree);
    settle(world);
}

#[test]
fn what_is_still_written_deep_in_a_new_tree_waits_for_itself() {
    let mut world = world_with("d/f");
    world.add(Side::B, "n/m/done", b"whole");
    world.add(Side::B, "n/m/grows", b"half of it");
    go_on_at_once(&mut world);
    world.let_settle();
    world.edit(Side::B, "n/m/grows", b"more of it");
    go_on_at_once(&mut world);
    assert_eq!(names(&world, Side::A), ["d", "d/f", "n", "n/m", "n/m/done"]);
    world.let_settle();
    go_on_at_once(&mut world);
    assert_eq!(world.disk(Side::A).tree()["n/m/grows"].as_deref(), Some(b"more of it".as_slice()));
    settle(world);
}

#[test]
fn what_lies_deeper_than_a_path_can_be_stays_where_it_is() {
    let mut world = world_with("d/f");
    let deepest = vec!["m"; PATH_DEPTH_MAX].join("/");
    for name in ["f", "g", "m/m/m/f"] {
        world.add(Side::B, &format!("{deepest}/{name}"), name.as_bytes());
    }
    world.add(Side::B, "m/m/f", b"not too deep");
    stays_and_is_told_of(&mut world, &deepest);
    let tree = world.disk(Side::A).tree();
    assert_eq!(tree.len(), 2 + PATH_DEPTH_MAX + 1, "{tree:?}");
    assert_eq!(tree["m/m/f"].as_deref(), Some(b"not too deep".as_slice()));
}

#[test]
fn what_has_a_longer_path_than_can_be_given_stays_where_it_is() {
    let mut world = world_with("d/f");
    let longest = vec!["n".repeat(255); 12].join("/");
    for name in ["f", "g/f"] {
        world.add(Side::B, &format!("{longest}/{name}"), name.as_bytes());
    }
    stays_and_is_told_of(&mut world, &longest);
    assert_eq!(world.disk(Side::A).tree().len(), 2 + 12);
}

/// What is in `folder` of drive b alone stays there, whatever is done.
#[track_caller]
fn stays_and_is_told_of(world: &mut World, folder: &str) {
    let settle = |world: &mut World| {
        go_on_at_once(world);
        world.let_settle();
        go_on_at_once(world);
    };
    settle(world);
    let beyond = Finding::Beyond(RelPath::parse(folder).unwrap());
    assert_eq!(std::mem::take(&mut world.findings), std::slice::from_ref(&beyond));
    let stays = |world: &World| {
        let tree = world.disk(Side::B).tree();
        assert_eq!(tree[&format!("{folder}/f")].as_deref(), Some(b"f".as_slice()));
        assert!(world.disk(Side::A).tree().keys().all(|path| path.len() <= folder.len()));
    };
    stays(world);
    world.edit(Side::B, &format!("{folder}/f"), b"f");
    world.search(Side::B);
    settle(world);
    assert!(std::mem::take(&mut world.findings).iter().all(|finding| *finding == beyond));
    stays(world);
}

#[test]
fn a_new_folder_that_goes_again_leaves_nothing_in_the_mirror() {
    let mut world = world_with("d/f");
    world.add(Side::B, "unpacking/m/f", b"new");
    go_on_at_once(&mut world);
    world.rename(Side::B, "unpacking", "unpacked");
    go_on_at_once(&mut world);
    world.let_settle();
    go_on_at_once(&mut world);
    assert_eq!(names(&world, Side::A), ["d", "d/f", "unpacked", "unpacked/m", "unpacked/m/f"]);
    settle(world);
}

#[test]
fn a_new_folder_is_searched_when_the_drive_that_has_it_has_it_on_record() {
    let mut world = world_with("d/f");
    go_on_at_once(&mut world);
    world.add(Side::B, "n/f", b"new");
    go_on_at_once(&mut world);
    world.let_settle();
    while world.look_at_once(Side::B) == Next::Now {}
    world.take_in(Side::B, Cut::No);
    // The lane looks before its step.
    while world.look_at_once(Side::B) == Next::Now {}
    assert!(world.owes(Side::B));
    go_on_at_once(&mut world);
    assert_eq!(names(&world, Side::A), ["d", "d/f", "n", "n/f"]);
    settle(world);
}

#[test]
fn a_folder_that_a_client_makes_too_is_searched_all_the_same() {
    for steps_first in [false, true] {
        let mut world = world_with("d/f");
        go_on_at_once(&mut world);
        world.add(Side::B, "n/m/f", b"new");
        while world.look_at_once(Side::B) == Next::Now {}
        world.make_folder("n");
        if steps_first {
            go_on_at_once(&mut world);
        }
        world.let_settle();
        while world.look_at_once(Side::B) == Next::Now {}
        go_on_at_once(&mut world);
        assert_eq!(names(&world, Side::A), ["d", "d/f", "n", "n/m", "n/m/f"]);
        settle(world);
    }
}

#[test]
fn a_new_file_in_a_folder_that_was_removed_meanwhile_makes_it_again() {
    let mut world = world_with("d/f");
    world.pull(Side::B);
    world.add(Side::B, "d/new", b"written elsewhere");
    world.remove("d/f");
    world.remove("d");
    world.bring_back(Side::B);
    world.drain();
    let names: Vec<_> = world.disk(Side::A).tree().into_keys().collect();
    assert_eq!(names, ["d", "d/new"]);
    settle(world);
}

#[test]
fn what_is_done_under_the_daemon_is_found_where_the_kernel_tells_of_it() {
    let mut world = world_with("d/f");
    world.put("d/e/g", b"another", Way::Log);
    for side in Side::BOTH {
        while world.step(side) || world.look(side) {}
    }
    world.edit(Side::B, "d/f", b"edited under the daemon");
    world.rename(Side::B, "d/e", "d/h");
    world.add(Side::B, "d/h/i", b"new in a folder that nobody knows yet");
    while [Side::A, Side::B].map(|side| world.step(side) || world.look(side) || world.take_in(side, Cut::No))
        != [false; 2]
    {}
    let tree = world.disk(Side::A).tree();
    let names: Vec<_> = tree.keys().map(String::as_str).filter(|name| !name.contains(" (edited on b ")).collect();
    assert_eq!(names, ["d", "d/e", "d/e/g", "d/f", "d/h", "d/h/g", "d/h/i"]);
    assert_eq!(tree.len(), names.len() + 1, "and the edited version: {tree:?}");
    assert_eq!(world.disk(Side::B).tree(), tree);
    settle(world);
}

#[test]
fn what_the_mirror_does_itself_is_looked_at_and_leads_to_nothing() {
    let mut world = world_with("d/f");
    for side in Side::BOTH {
        while world.step(side) || world.look(side) {}
    }
    let before = world.disk(Side::B).calls();
    let (names, head) = (before.name, world.head());
    for path in ["d", "d/f", "gone", "d/gone", "gone/f"] {
        world.tell(Side::B, path);
    }
    while world.look(Side::B) {}
    assert_eq!((world.disk(Side::B).calls().name, world.head()), (names, head));
    assert!(!world.owes(Side::B));
    settle(world);
}

#[test]
fn what_a_pull_puts_back_where_it_was_is_for_him_to_take_away_who_put_it_there() {
    for (nth, seed) in (1..30).flat_map(|nth| (0..8).map(move |seed| (nth, seed))) {
        let mut world = World::new(FsKind::Atomic, seed);
        world.put("x/x", b"ours", Way::Log);
        world.add(Side::B, "x", b"his");
        world.pull_within(Side::B, nth);
        world.step(Side::B);
        world.pull(Side::B);
        world.take_away(Side::B, "x");
        world.drain();
        world.check_idempotent();
    }
}
