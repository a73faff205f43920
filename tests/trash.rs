//! What was removed or overwritten is brought back, on plain folders, as any user.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

use std::fs;

use twinstick_rig::{Binaries, Drives, End, Pull, Side, Twins};

const TRASH: &str = ".twinstick/trash";

fn twins() -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    Twins::new(binaries, Drives::Plain)
}

/// What lies in the trash of a drive, once both are in sync.
fn on_drive(twins: &Twins, side: Side) -> Vec<String> {
    twins.check_identical();
    let names = fs::read_dir(twins.root(side).join(TRASH)).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn listed(twins: &Twins, words: &[&str]) -> Vec<String> {
    let said = twins.client().run(&[&["trash"], words].concat()).expect(0);
    String::from_utf8(said.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_file_comes_back_as_it_was_before_each_mistake() {
    let twins = twins();
    let client = twins.client();
    client.put("notes.txt", b"one").expect(0);
    client.put("notes.txt", b"two, by mistake").expect(0);
    client.run(&["undo", "notes.txt"]).expect(0);
    assert_eq!(client.get("notes.txt").expect(0).stdout, b"one");
    client.run(&["undo", "notes.txt"]).expect(0);
    assert_eq!(client.get("notes.txt").expect(0).stdout, b"two, by mistake");
    client.run(&["rm", "notes.txt"]).expect(0);
    assert_eq!(listed(&twins, &[]), ["notes.txt", "notes.txt"]);
    let trash = client.run(&["trash", "--json", "notes.txt"]).expect(0).json();
    assert_eq!((&trash["entries"][0]["why"], &trash["entries"][0]["size"]), (&"overwritten".into(), &3.into()));
    assert_eq!((&trash["entries"][1]["why"], &trash["entries"][1]["size"]), (&"removed".into(), &15.into()));
    let first = trash["entries"][0]["lsn"].to_string();
    client.run(&["undo", "--lsn", &first, "notes.txt"]).expect(0);
    assert_eq!(client.get("notes.txt").expect(0).stdout, b"one");
    let status = client.status();
    assert_eq!((&status["trash"]["items"], &status["trash"]["bytes"]), (&1.into(), &15.into()));
    for side in Side::BOTH {
        let names = on_drive(&twins, side);
        assert!(matches!(&names[..], [name] if name.ends_with("-notes.txt")), "{names:?}");
    }
    client.run(&["trash", "empty"]).expect(0);
    assert!(on_drive(&twins, Side::A).is_empty() && on_drive(&twins, Side::B).is_empty());
    client.run(&["undo", "notes.txt"]).expect(4);
    let unknown = client.run(&["undo", "--lsn", "99999", "notes.txt"]).expect(4);
    assert!(unknown.stderr.contains("version 99999 of notes.txt is not in the trash"), "{}", unknown.stderr);
}

#[test]
fn a_folder_comes_back_with_all_that_was_removed_with_it_after_a_pull_and_a_kill() {
    let mut twins = twins();
    let client = twins.client();
    client.put("d/removed before", b"0").expect(0);
    client.run(&["rm", "d/removed before"]).expect(0);
    for (path, bytes) in [("d/a", b"1"), ("d/e/b", b"2"), ("d/e/c", b"3")] {
        client.put(path, bytes).expect(0);
    }
    client.run(&["mkdir", "d/empty"]).expect(0);
    twins.check_identical();
    twins.pull(Side::B, Pull::Rename);
    twins.client().run(&["rm", "-r", "d"]).expect(0);
    twins.end(End::Kill);
    twins.serve();
    let client = twins.client();
    client.run(&["undo", "d"]).expect(0);
    twins.bring_back(Side::B);
    twins.check_identical();
    let client = twins.client();
    let names = String::from_utf8(client.run(&["ls", "-R"]).expect(0).stdout).unwrap();
    assert_eq!(names.lines().collect::<Vec<_>>(), ["d/", "d/a", "d/e/", "d/e/b", "d/e/c", "d/empty/"]);
    assert_eq!(client.get("d/e/c").expect(0).stdout, b"3");
    assert_eq!(listed(&twins, &[]), ["d/removed before"]);
}

#[test]
fn without_a_trash_what_is_removed_is_gone() {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let twins = Twins::with_config(binaries, Drives::Plain, |_| "trash_days = 0\n".to_owned());
    twins.client().put("f", b"1").expect(0);
    twins.client().put("f", b"2").expect(0);
    twins.client().run(&["rm", "f"]).expect(0);
    assert!(listed(&twins, &[]).is_empty());
    twins.client().run(&["undo", "f"]).expect(4);
    assert!(on_drive(&twins, Side::A).is_empty() && on_drive(&twins, Side::B).is_empty());
}

#[test]
fn a_check_understands_the_trash_and_finds_what_is_wrong_in_it() {
    let mut twins = twins();
    twins.client().put("f", b"whole").expect(0);
    twins.client().run(&["rm", "f"]).expect(0);
    let names = on_drive(&twins, Side::B);
    twins.end(End::Drain);
    twins.check(&[]).expect(0);
    fs::write(twins.root(Side::B).join(TRASH).join(&names[0]), b"wrong").unwrap();
    let said = twins.check(&[]).expect(1);
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.contains(&format!("b: {TRASH}/{}: ", names[0])), "{text}");
}

#[test]
fn what_was_thrown_away_comes_back_after_the_boot_disk_died() {
    let mut twins = twins();
    let client = twins.client();
    client.put("notes.txt", b"one").expect(0);
    client.put("notes.txt", b"two").expect(0);
    client.put("d/e/f", b"deep").expect(0);
    client.put("purged", b"gone").expect(0);
    client.run(&["rm", "purged"]).expect(0);
    client.run(&["trash", "empty"]).expect(0);
    client.put("g", b"back").expect(0);
    client.run(&["rm", "g"]).expect(0);
    client.run(&["undo", "g"]).expect(0);
    twins.check_identical();
    twins.pull(Side::B, Pull::Rename);
    twins.client().run(&["rm", "-r", "d"]).expect(0);
    twins.client().run(&["rm", "notes.txt"]).expect(0);
    twins.end(End::Kill);
    fs::remove_dir_all(twins.state()).unwrap();
    twins.put_in(Side::B);
    for side in Side::BOTH {
        fs::write(twins.root(side).join(TRASH).join("9-nobody's"), b"put there by hand").unwrap();
    }
    let roots = Side::BOTH.map(|side| twins.root(side).to_str().unwrap().to_owned());
    twins.command(&["adopt", "--plain-directory", "--drive", &roots[0], "--drive", &roots[1]]).expect(0);
    twins.serve();
    let client = twins.client();
    assert_eq!(listed(&twins, &[]), ["d/e/f", "notes.txt"]);
    client.run(&["undo", "d"]).expect(0);
    client.run(&["undo", "notes.txt"]).expect(0);
    assert_eq!(client.get("d/e/f").expect(0).stdout, b"deep");
    assert_eq!(client.get("notes.txt").expect(0).stdout, b"two");
    assert_eq!(client.get("g").expect(0).stdout, b"back");
    client.get("purged").expect(4);
    for side in Side::BOTH {
        assert!(on_drive(&twins, side).is_empty());
        assert!(twins.root(side).join(".twinstick/aside/trash-9-nobody's").exists());
    }
}

#[test]
fn a_trash_folder_that_somebody_deleted_is_made_again_and_old_versions_come_back_from_the_other_drive() {
    let twins = twins();
    let client = twins.client();
    for name in ["removed", "overwritten", "kept"] {
        client.put(name, name.as_bytes()).expect(0);
    }
    client.run(&["rm", "removed"]).expect(0);
    twins.check_identical();
    fs::remove_dir_all(twins.root(Side::A).join(TRASH)).unwrap();
    client.put("overwritten", b"since").expect(0);
    client.run(&["rm", "kept"]).expect(0);
    client.run(&["undo", "removed"]).expect(0);
    twins.check_identical();
    assert_eq!(fs::read(twins.root(Side::A).join("removed")).unwrap(), b"removed");
    let names = on_drive(&twins, Side::A);
    assert!(names.len() == 2 && names == on_drive(&twins, Side::B), "{names:?}");
    client.run(&["status", "--check"]).expect(0);
}

#[test]
fn what_no_drive_has_in_its_trash_any_more_is_not_said_to_be_brought_back() {
    let mut twins = twins();
    let client = twins.client();
    client.put("notes.txt", b"one, which is removed").expect(0);
    client.run(&["rm", "notes.txt"]).expect(0);
    client.put("d/f", b"removed, too").expect(0);
    client.run(&["rm", "-r", "d"]).expect(0);
    twins.check_identical();
    fs::remove_dir_all(twins.root(Side::A).join(TRASH)).unwrap();
    fs::remove_dir_all(twins.root(Side::B).join(TRASH)).unwrap();
    for path in ["notes.txt", "d"] {
        let refused = client.run(&["undo", path]).expect(5);
        assert!(refused.stderr.contains("no drive has the old version"), "{}", refused.stderr);
        client.run(&["info", path]).expect(4);
    }
    client.put("notes.txt", b"two").expect(0);
    client.run(&["rm", "notes.txt"]).expect(0);
    twins.check_identical();
    twins.pull(Side::A, Pull::Rename);
    fs::remove_dir_all(twins.root(Side::B).join(TRASH)).unwrap();
    let away = client.run(&["undo", "notes.txt"]).expect(5);
    assert!(away.stderr.contains("plug in and mount drive a"), "{}", away.stderr);
    twins.bring_back(Side::A);
    let client = twins.client();
    client.run(&["undo", "notes.txt"]).expect(0);
    assert_eq!(client.get("notes.txt").expect(0).stdout, b"two");
    // What nobody has any more is known by now, and goes with the trash.
    let told = client.run(&["status", "--wait"]);
    assert!(told.stderr.contains("no drive has whole"), "{}", told.stderr);
    client.run(&["trash", "empty"]).expect(0);
    twins.check_identical();
}
