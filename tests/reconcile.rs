//! Drives that somebody else changes: on another machine, while the daemon is down, and under its hands.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};

use twinstick_rig::{Binaries, Drives, End, Needs, PATIENCE, Pull, Side, Trials, Twins, wait_until};

const DRIVE_BYTES: u64 = 128 << 20;
/// What is no part of the mirror, and other systems' own.
const LEFT_ALONE: [&str; 3] = [".twinstick", "lost+found", ".Trash-1000"];
/// Ends of the daemon by force while it takes in what others wrote.
const KILLS: u32 = 6;

fn main() -> ExitCode {
    Trials::default()
        .with("what_was_done_elsewhere_is_taken_in_and_nothing_is_lost", Needs::Nothing, || elsewhere(Drives::Plain))
        .with("the_same_on_loop_mounted_ext4", Needs::LoopMounts, || elsewhere(Drives::Loop { bytes: DRIVE_BYTES }))
        .with("what_is_done_under_the_daemon_is_noticed_at_once", Needs::Nothing, || under_the_daemon(Drives::Plain))
        .with("what_is_done_on_a_mounted_drive_is_noticed_at_once", Needs::LoopMounts, || {
            under_the_daemon(Drives::Loop { bytes: DRIVE_BYTES });
        })
        .with("a_name_that_is_no_utf8_is_told_of_at_once", Needs::Nothing, name_not_utf8)
        .with("a_tree_put_onto_a_drive_is_soon_on_both_however_deep_it_is", Needs::Nothing, || deep_tree(Drives::Plain))
        .with("a_tree_put_onto_a_mounted_drive_is_soon_on_both_however_deep_it_is", Needs::LoopMounts, || {
            deep_tree(Drives::Loop { bytes: DRIVE_BYTES });
        })
        .with("a_damaged_copy_that_was_replaced_is_listed_until_it_is_dropped", Needs::Nothing, damaged)
        .with("the_oldest_replaced_copies_go_and_what_lies_aside_stays_bounded", Needs::Nothing, bounded)
        .with("an_edit_waits_for_the_drive_with_the_original", Needs::Nothing, original_away)
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

/// The mirror cannot have it; the event alone leads to it, as the drive has been searched by then.
fn name_not_utf8() {
    let twins = twins(Drives::Plain);
    let client = twins.client();
    client.put("d/known", b"the mirror's").expect(0);
    twins.check_identical();
    fs::write(twins.root(Side::B).join("d/searched"), "somebody else's").unwrap();
    wait_until("the drive is watched", || client.status()["foreign"]["new"] == 1);
    fs::write(twins.root(Side::B).join("d").join(OsStr::from_bytes(b"caf\xe9")), "").unwrap();
    wait_until("it is told of", || client.status()["foreign"]["refused"] == 1);
    let last = &client.status()["foreign"]["last"][1];
    assert_eq!((&last["drive"], &last["path"]), (&"b".into(), &r"d/caf\xe9".into()), "{last}");
}

fn damaged() {
    let twins = twins(Drives::Plain);
    let client = twins.client();
    client.put("d/notes.txt", b"the mirror's").expect(0);
    twins.check_identical();
    let at = twins.root(Side::B).join("d/notes.txt");
    rot(&at);
    client.run(&["scrub", "start"]).expect(0);
    let listed = || {
        let document = client.run(&["aside", "--json"]).expect(0).stdout;
        serde_json::from_slice::<serde_json::Value>(&document).unwrap()["items"].as_array().unwrap().clone()
    };
    wait_until("the damaged copy lies aside", || listed().len() == 1);
    let item = &listed()[0];
    assert_eq!((&item["drive"], &item["path"]), (&"b".into(), &"d/notes.txt".into()), "{item}");
    assert_eq!((&item["cause"], &item["files"], &item["size"]), (&"damaged".into(), &1.into(), &12.into()), "{item}");
    wait_until("the copy is whole again", || fs::read(&at).is_ok_and(|bytes| bytes == b"the mirror's"));
    let name = format!("b:{}", item["item"].as_str().unwrap());
    let text = String::from_utf8(client.run(&["aside"]).expect(0).stdout).unwrap();
    assert!(text.starts_with(&name) && text.contains("d/notes.txt (12 B)"), "{text}");
    client.run(&["aside", "drop", &name]).expect(0);
    client.run(&["aside", "drop", &name]).expect(4);
    assert!(listed().is_empty());
    wait_until("status counts it no more", || client.status()["drives"][1]["aside"] == 0);
    assert_eq!(aside(twins.root(Side::B)), 0);
}

/// Little may lie aside, and copy after copy is damaged and replaced.
fn bounded() {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let mut twins = Twins::with_config(binaries, Drives::Plain, |_| "aside_max = \"100KiB\"\n".to_owned());
    let client = twins.client();
    let names: Vec<_> = (0..6).map(|number| format!("{number}.bin")).collect();
    let whole = vec![7; 40_000];
    for name in &names {
        client.put(name, &whole).expect(0);
    }
    twins.check_identical();
    let b = twins.root(Side::B).to_owned();
    let lying = |twins: &Twins| {
        let drive = &twins.client().status()["drives"][1];
        let newest: Vec<_> =
            drive["aside_newest"].as_array().unwrap().iter().map(|item| item["path"].to_string()).collect();
        assert!(drive["aside_bytes"].as_u64() <= Some(100 << 10), "{drive}");
        (drive["aside"].as_u64().unwrap(), drive["aside_bytes"].as_u64().unwrap(), newest.join(" ").replace('"', ""))
    };
    for (number, name) in names.iter().enumerate() {
        if number == 4 {
            twins.end(End::Kill);
            twins.serve();
            twins.check_identical();
        }
        rot(&b.join(name));
        twins.client().run(&["scrub", "start"]).expect(0);
        wait_until("the copy is whole again", || fs::read(b.join(name)).is_ok_and(|bytes| bytes == whole));
        let before = if number == 0 { String::new() } else { format!(" {}", names[number - 1]) };
        let expected = (2.min(number as u64 + 1), 40_000 * 2.min(number as u64 + 1), format!("{name}{before}"));
        wait_until("the newest two lie aside", || lying(&twins) == expected);
        wait_until("the scrub has ended", || {
            let drives = &twins.client().status()["drives"];
            (0..2).all(|side| drives[side]["scrub"]["state"] == "done")
        });
    }
    let listed = twins.client().run(&["aside", "--json"]).expect(0).stdout;
    let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
    assert!(listed["items"].as_array().unwrap().iter().all(|item| item["replaced"] == true), "{listed}");
    let text = String::from_utf8(twins.client().run(&["status"]).expect(0).stdout).unwrap();
    assert!(text.contains("2 things (78.1 KiB) set aside, the last: 5.bin, 4.bin"), "{text}");
    twins.check_identical();
}

/// Other bytes under the size and time that the mirror gave: bit rot.
fn rot(at: &Path) {
    let modified = fs::metadata(at).unwrap().modified().unwrap();
    let mut bytes = fs::read(at).unwrap();
    bytes[5] ^= 1;
    fs::write(at, bytes).unwrap();
    fs::File::options().write(true).open(at).unwrap().set_modified(modified).unwrap();
}

/// The edit lies over the only copy that is there: it is taken in, and the original comes back with its drive.
fn original_away() {
    let mut twins = twins(Drives::Plain);
    twins.client().put("notes.txt", b"the mirror's").expect(0);
    twins.check_identical();
    twins.pull(Side::A, Pull::Rename);
    twins.end(End::Drain);
    fs::write(twins.root(Side::B).join("notes.txt"), "edited elsewhere").unwrap();
    twins.serve();
    let b = twins.root(Side::B).to_owned();
    wait_until("the edit is kept under another name", || copies(&b, "notes.txt") == [b"edited elsewhere"]);
    twins.client().get("notes.txt").expect(5);
    twins.bring_back(Side::A);
    wait_for_both(&twins, "the original is on both drives, and the edit", |root| {
        files(root).contains_key("notes.txt") && copies(root, "notes.txt").len() == 1
    });
    assert_eq!(twins.client().get("notes.txt").expect(0).stdout, b"the mirror's");
}

/// A file that somebody puts on a drive, which has no room for another copy, nor has the other drive's mirror.
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
    client.run(&["rm", "large"]).expect(0);
    wait_for_both(&twins, "there is room, and it is taken in", |root| {
        fs::read(root.join("new")).is_ok_and(|bytes| bytes == vec![8; 20 << 20])
    });
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

/// Things done to the mounted drives while clients put files into the same folder; the daemon killed between them.
fn under_the_daemon(drives: Drives) {
    let mut twins = twins(drives);
    let client = twins.client();
    for (path, bytes) in [("d/notes.txt", "the mirror's"), ("d/gone.txt", "to be missed"), ("e/moved.txt", "moved")] {
        client.put(path, bytes.as_bytes()).expect(0);
    }
    twins.check_identical();
    let b = twins.root(Side::B).to_owned();
    let stop = AtomicBool::new(false);
    let put = std::thread::scope(|scope| {
        let putting = scope.spawn(|| {
            let mut done = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let path = format!("d/put {}.txt", done.len());
                client.put(&path, path.as_bytes()).expect(0);
                done.push(path);
            }
            done
        });
        fs::write(b.join("d/notes.txt"), "edited under the daemon").unwrap();
        fs::remove_file(b.join("d/gone.txt")).unwrap();
        fs::rename(b.join("e"), b.join("to another name")).unwrap();
        fs::create_dir_all(b.join("new/deep")).unwrap();
        fs::write(b.join("new/deep/file"), vec![7; 300_000]).unwrap();
        fs::write(twins.root(Side::A).join("d/on a.txt"), "new on a").unwrap();
        wait_until("all of it is noticed", || {
            let foreign = &client.status()["foreign"];
            foreign["changed"] == 1 && foreign["missing"].as_u64() >= Some(3) && foreign["new"].as_u64() >= Some(6)
        });
        stop.store(true, Ordering::Relaxed);
        putting.join().unwrap()
    });
    wait_for_both(&twins, "all of it is on both drives", |root| {
        let files = files(root);
        ["d/gone.txt", "e/moved.txt", "to another name/moved.txt", "new/deep/file", "d/on a.txt"]
            .iter()
            .all(|path| files.contains_key(*path))
            && copies(root, "d/notes.txt") == [b"edited under the daemon"]
    });
    let client = twins.client();
    assert_eq!(client.get("d/notes.txt").expect(0).stdout, b"the mirror's");
    assert_eq!(client.get("d/gone.txt").expect(0).stdout, b"to be missed");
    assert_eq!(client.get("e/moved.txt").expect(0).stdout, b"moved");
    for path in &put {
        assert_eq!(client.get(path).expect(0).stdout, path.as_bytes());
    }
    twins.end(End::Drain);
}

/// Four levels of folders that come at once, with files in each.
fn deep_tree(drives: Drives) {
    let twins = twins(drives);
    twins.client().put("d/known", b"the mirror's").expect(0);
    twins.check_identical();
    let source = twins.home().join("tree");
    let mut expected = BTreeMap::new();
    let mut folder = PathBuf::from("tree");
    for level in 1..=4 {
        for number in 0..3 {
            let path = folder.join(format!("{number}.txt"));
            expected.insert(path.to_str().unwrap().to_owned(), format!("{number} of level {level}").into_bytes());
        }
        folder.push(format!("level {level}"));
    }
    for (path, bytes) in &expected {
        let at = twins.home().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, bytes).unwrap();
    }
    fs::create_dir(source.join("empty")).unwrap();
    let search = || twins.client().drive(Side::B)["search"].clone();
    wait_until("the search at its arrival has ended", || search().is_null());
    let begin = std::time::Instant::now();
    let copied = Command::new("cp").arg("-r").arg(&source).arg(twins.root(Side::B)).status().unwrap();
    assert!(copied.success());
    wait_until("status tells of a search", || !search().is_null());
    let text = String::from_utf8(twins.client().run(&["status"]).expect(0).stdout).unwrap();
    assert!(text.contains("b: looking for what others changed: "), "{text}");
    wait_until("it has ended", || search().is_null());
    twins.client().run(&["status", "--wait"]).expect(0);
    for side in Side::BOTH {
        let files = files(twins.root(side));
        assert!(expected.iter().all(|(path, bytes)| files.get(path) == Some(bytes)), "{side:?}: {files:?}");
        assert!(twins.root(side).join("tree/empty").is_dir());
    }
    println!("a tree of four levels was on both drives after {:.1} s", begin.elapsed().as_secs_f64());
    let foreign = &twins.client().status()["foreign"];
    assert_eq!(
        (&foreign["new"], &foreign["refused"], &foreign["kept"]),
        (&17.into(), &0.into(), &0.into()),
        "{foreign}"
    );
    twins.check_identical();
}
