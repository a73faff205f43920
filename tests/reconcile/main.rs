//! Drives that somebody else changes: on another machine, while the daemon is down, and under its hands.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests"
)]

mod noticed;
mod only_copy;
mod set_aside;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use twinstick_rig::{Binaries, Drives, End, Needs, PATIENCE, Side, Trials, Twins, wait_until};

const DRIVE_BYTES: u64 = 128 << 20;
/// What is no part of the mirror, and other systems' own.
const LEFT_ALONE: [&str; 3] = [".twinstick", "lost+found", ".Trash-1000"];
/// Ends of the daemon by force while it takes in what others wrote.
const KILLS: u32 = 6;

fn main() -> ExitCode {
    Trials::default()
        .with("what_was_done_elsewhere_is_taken_in_and_nothing_is_lost", Needs::Nothing, || elsewhere(Drives::Plain))
        .with("the_same_on_loop_mounted_ext4", Needs::LoopMounts, || elsewhere(Drives::Loop { bytes: DRIVE_BYTES }))
        .with("what_is_done_under_the_daemon_is_noticed_at_once", Needs::Nothing, || {
            noticed::under_the_daemon(Drives::Plain);
        })
        .with("what_is_done_on_a_mounted_drive_is_noticed_at_once", Needs::LoopMounts, || {
            noticed::under_the_daemon(Drives::Loop { bytes: DRIVE_BYTES });
        })
        .with("a_name_that_is_no_utf8_is_told_of_at_once", Needs::Nothing, noticed::name_not_utf8)
        .with("a_tree_put_onto_a_drive_is_soon_on_both_however_deep_it_is", Needs::Nothing, || {
            noticed::deep_tree(Drives::Plain);
        })
        .with("a_tree_put_onto_a_mounted_drive_is_soon_on_both_however_deep_it_is", Needs::LoopMounts, || {
            noticed::deep_tree(Drives::Loop { bytes: DRIVE_BYTES });
        })
        .with("what_no_path_can_name_is_left_alone_and_holds_nothing_up", Needs::Nothing, noticed::beyond)
        .with("a_damaged_copy_that_was_replaced_is_listed_until_it_is_dropped", Needs::Nothing, set_aside::damaged)
        .with("the_oldest_replaced_copies_go_and_what_lies_aside_stays_bounded", Needs::Nothing, set_aside::bounded)
        .with("an_edit_waits_for_the_drive_with_the_original", Needs::Nothing, only_copy::original_away)
        .with("a_scrub_that_saw_an_edit_first_leaves_no_word_of_damage", Needs::Nothing, only_copy::scrubbed)
        .with(
            "an_edit_of_an_only_copy_is_kept_and_nothing_is_said_to_be_restored",
            Needs::Nothing,
            only_copy::only_copy,
        )
        .with("what_found_no_room_is_taken_in_when_there_is_some", Needs::LoopMounts, no_room)
        .with("a_daemon_killed_at_any_moment_of_it_keeps_every_version", Needs::Nothing, || killed(When::DaemonIsDown))
        .with("a_daemon_killed_as_it_notices_keeps_every_version", Needs::Nothing, || killed(When::DaemonRuns))
        .beside(1)
        .main()
}

fn twins(drives: Drives) -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    Twins::new(binaries, drives)
}

/// The users' files, by their paths from a drive's root.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !LEFT_ALONE.contains(&name.as_str()) => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => drop(found.insert(name, fs::read(entry.path()).unwrap_or_default())),
                Ok(_) | Err(_) => {}
            }
        }
    }
    found
}

/// What is kept of `path` under another name.
fn copies(root: &Path, path: &str) -> Vec<Vec<u8>> {
    let (stem, ending) = path.rsplit_once('.').unwrap();
    let (start, end) = (format!("{stem} ("), format!(").{ending}"));
    // After a kill it may only be known as something that was found there.
    let is_copy = |(name, _): &(String, Vec<u8>)| {
        name.strip_prefix(&start)
            .is_some_and(|note| note.starts_with("edited on b ") || note.starts_with("found on b "))
            && name.ends_with(&end)
    };
    files(root).into_iter().filter(is_copy).map(|(_, bytes)| bytes).collect()
}

fn aside(root: &Path) -> usize {
    fs::read_dir(root.join(".twinstick/aside")).map_or(0, Iterator::count)
}

/// Waits until both drives have these files in common.
#[track_caller]
fn wait_for_both(twins: &Twins, what: &str, holds: impl Fn(&Path) -> bool) {
    let both = |holds: &dyn Fn(&Path) -> bool| Side::BOTH.into_iter().all(|side| holds(twins.root(side)));
    let begin = std::time::Instant::now();
    while !both(&|root| holds(root) && aside(root) == 0) {
        let trees = Side::BOTH.map(|side| files(twins.root(side)).into_keys().collect::<Vec<_>>());
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}: {trees:#?}\n{}", twins.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    twins.client().run(&["status", "--wait"]).expect(0);
    assert_eq!(files(twins.root(Side::A)), files(twins.root(Side::B)));
}

/// What `status` says that others did, in one line.
fn by_others(twins: &Twins) -> String {
    let text = String::from_utf8(twins.client().run(&["status"]).expect(0).stdout).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn elsewhere(drives: Drives) {
    let mut twins = twins(drives);
    let client = twins.client();
    for (path, bytes) in [("d/notes.txt", "the mirror's"), ("d/gone.txt", "to be missed"), ("moved.txt", "moved")] {
        client.put(path, bytes.as_bytes()).expect(0);
    }
    twins.check_identical();
    twins.end(End::Drain);
    let b = twins.root(Side::B).to_owned();
    fs::write(b.join("d/notes.txt"), "edited elsewhere").unwrap();
    fs::remove_file(b.join("d/gone.txt")).unwrap();
    fs::rename(b.join("moved.txt"), b.join("to another name.txt")).unwrap();
    fs::create_dir_all(b.join("new/deep")).unwrap();
    fs::write(b.join("new/deep/file"), vec![7; 300_000]).unwrap();
    fs::create_dir(b.join(".Trash-1000")).unwrap();
    fs::write(b.join(".Trash-1000/thrown away"), "not the mirror's").unwrap();
    std::os::unix::fs::symlink("d/notes.txt", b.join("link")).unwrap();
    twins.serve();
    wait_for_both(&twins, "all of it is on both drives", |root| {
        let files = files(root);
        ["d/gone.txt", "moved.txt", "to another name.txt", "new/deep/file"].iter().all(|path| files.contains_key(*path))
            && copies(root, "d/notes.txt") == [b"edited elsewhere"]
    });
    let client = twins.client();
    assert_eq!(client.get("d/notes.txt").expect(0).stdout, b"the mirror's");
    assert_eq!(client.get("d/gone.txt").expect(0).stdout, b"to be missed");
    assert_eq!(client.get("to another name.txt").expect(0).stdout, b"moved");
    assert!(!twins.root(Side::A).join(".Trash-1000").exists(), "what others keep for themselves stays where it is");
    wait_until("status names what is left alone", || client.status()["foreign"]["refused"] == 1);
    let foreign = &client.status()["foreign"];
    assert_eq!(foreign["changed"], 1, "{foreign}");
    assert_eq!(foreign["missing"], 2, "{foreign}");
    assert_eq!(foreign["kept"], 1, "{foreign}");
    let text = String::from_utf8(client.run(&["status"]).expect(0).stdout).unwrap();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(line.contains("kept as d/notes (edited on b "), "{text}");
}

fn no_room() {
    let twins = twins(Drives::Loop { bytes: 64 << 20 });
    let client = twins.client();
    client.put("large", &vec![7; 24 << 20]).expect(0);
    twins.check_identical();
    fs::write(twins.root(Side::B).join("new"), vec![8; 20 << 20]).unwrap();
    wait_until("it is refused", || client.status()["foreign"]["refused"] == 1);
    let foreign = &client.status()["foreign"];
    assert!(foreign["last"].to_string().contains("free"), "{foreign}");
    assert_eq!(foreign["new"], 0, "{foreign}");
    wait_until("it is a problem", || {
        let problems = client.run(&["status", "-x"]).expect(0).stdout;
        let line = String::from_utf8(problems).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        line.contains("new, which others put on drive b, is on that drive alone")
    });
    client.run(&["rm", "large"]).expect(0);
    wait_for_both(&twins, "there is room, and it is taken in", |root| {
        fs::read(root.join("new")).is_ok_and(|bytes| bytes == vec![8; 20 << 20])
    });
    wait_until("nothing is a problem any more", || client.notices() == "[]");
}

/// When somebody changes the drives' files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    DaemonIsDown,
    DaemonRuns,
}

fn killed(when: When) {
    let mut twins = twins(Drives::Plain);
    let names: Vec<_> = (0..20).map(|number| format!("d/{number}.txt")).collect();
    for name in &names {
        twins.client().put(name, name.as_bytes()).expect(0);
    }
    twins.check_identical();
    if when == When::DaemonIsDown {
        twins.end(End::Drain);
    }
    for name in &names {
        let b = twins.root(Side::B);
        fs::write(b.join(name), format!("edited {name}")).unwrap();
        fs::write(b.join(format!("new {}", name.replace('/', " "))), name).unwrap();
    }
    for run in 0..KILLS {
        if run > 0 || when == When::DaemonIsDown {
            twins.serve();
        }
        let so_far = files(twins.root(Side::A)).len();
        wait_until("something more is taken in", || {
            let now = files(twins.root(Side::A)).len();
            now > so_far || now == 3 * names.len()
        });
        twins.end(End::Kill);
    }
    twins.serve();
    wait_for_both(&twins, "all versions are on both drives, each once", |root| {
        files(root).len() == 3 * names.len()
            && names.iter().all(|name| copies(root, name) == [format!("edited {name}").into_bytes()])
    });
    for name in &names {
        assert_eq!(twins.client().get(name).expect(0).stdout, name.as_bytes());
    }
}
