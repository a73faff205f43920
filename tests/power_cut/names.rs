//! What real vfat does to names and to a lost journal: the real daemon on a real kernel's file systems.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use twinstick_rig::{Binaries, Content, Raw};

use crate::guest::{ADDRESS, Act, DRIVES, Daemon, STATE, ask, get, patiently};

/// The drive that has vfat.
const FAT: &str = DRIVES[1];
/// The least that vfat has no file of.
const TOO_LARGE: u64 = 1 << 32;

/// All of it, once. Panics where something does not hold.
pub(crate) fn run(binaries: &Binaries) {
    let mut daemon = Daemon::start(binaries);
    refusals();
    let mut files = spellings(binaries);
    daemon.stop();
    laptop();
    daemon = Daemon::start(binaries);
    reconciled(binaries, &files);
    // Removed before the boot disk is lost, and not to come back with it.
    done(&Act::Remove { path: "gone.txt".into() });
    files.remove("gone.txt");
    check(binaries, &files);
    daemon.stop();
    fs::remove_dir_all(STATE).expect("the boot disk's part of it");
    let mut adopt = Command::new(&binaries.twinstickd);
    adopt.args(["adopt", "--state", STATE, "--drive", DRIVES[0], "--drive", DRIVES[1]]);
    assert!(adopt.status().expect("twinstickd adopt").success(), "twinstickd adopt");
    let _daemon = Daemon::start(binaries);
    check(binaries, &files);
    refusals();
}

fn raw() -> Raw {
    Raw::greeted(ADDRESS)
}

fn content(seed: u64) -> Content {
    Content { seed, len: 5000 }
}

fn put(path: &str, seed: u64) -> Value {
    ask(&mut raw(), &Act::Put { path: path.into(), content: content(seed) })
}

fn done(act: &Act) {
    let answer = patiently(|| {
        let answer = ask(&mut raw(), act);
        if answer["ok"] == true { Ok(()) } else { Err(answer) }
    });
    assert!(answer.is_ok(), "{act:?}: {answer:?}");
}

/// What no name on this mirror can be, and how it is said. Nothing is left of it.
fn refusals() {
    let mut known = files_served();
    if !known.contains("A") {
        done(&Act::Put { path: "A".into(), content: content(1) });
        known.insert("A".into());
    }
    for (name, why) in [("a", "takes a for A"), ("x.", "x."), ("x ", "x "), ("what?", "?"), ("nul.txt", "nul.txt")] {
        let refused = put(name, 2);
        let message = refused["message"].as_str().unwrap_or_default();
        assert!(refused["error"] == "bad-path" && refused["drive"] == "b", "{name:?}: {refused}");
        assert!(message.contains("vfat") && message.contains(why), "{name:?}: {refused}");
    }
    let mut raw = raw();
    raw.send(format!("{}\n", json!({"op": "put", "path": "film", "len": TOO_LARGE})).as_bytes());
    let refused = raw.answer().expect("an answer before the body");
    assert!(refused["error"] == "too-large", "{refused}");
    assert_eq!(files_served(), known);
}

/// Files whose names change their case alone, and others; what is there in the end.
fn spellings(binaries: &Binaries) -> BTreeMap<String, Content> {
    for (seed, path) in [(2, "b.txt"), (3, "README"), (4, "Ölbild/Größe.png"), (5, "gone.txt"), (6, "album/one.jpg")]
    {
        done(&Act::Put { path: path.into(), content: content(seed) });
    }
    for (from, to) in [("b.txt", "B.TXT"), ("Ölbild/Größe.png", "Ölbild/GRÖSSE.png"), ("album", "Album")] {
        done(&Act::Move { from: from.into(), to: to.into() });
    }
    let names =
        [(1, "A"), (2, "B.TXT"), (3, "README"), (4, "Ölbild/GRÖSSE.png"), (5, "gone.txt"), (6, "Album/one.jpg")];
    let files = names.into_iter().map(|(seed, path)| (path.to_owned(), content(seed))).collect();
    check(binaries, &files);
    for drive in DRIVES {
        assert_eq!(spelled(Path::new(drive)), files.keys().cloned().collect(), "{drive}");
    }
    files
}

/// The paths of all files on a drive, as they are spelled there.
fn spelled(drive: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![drive.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("a name").path();
            let name = path.strip_prefix(drive).expect("it is below").to_string_lossy().into_owned();
            match path.is_dir() {
                true if [".twinstick", "lost+found"].contains(&name.as_str()) => {}
                true => folders.push(path),
                false => drop(found.insert(name)),
            }
        }
    }
    found
}

/// Somebody has the stick in a laptop, which writes names as it likes.
fn laptop() {
    let fat = Path::new(FAT);
    fs::rename(fat.join("README"), fat.join("readme")).expect("another case");
    fs::rename(fat.join("Album"), fat.join("ALBUM")).expect("another case");
    fs::write(fat.join("new.txt"), content(7).bytes()).expect("room");
}

/// What the laptop did is taken in, and a name's other case is the same name.
fn reconciled(binaries: &Binaries, before: &BTreeMap<String, Content>) {
    let found = patiently(|| get(&mut raw(), "new.txt").map_err(|_| json!({"error": "unavailable"})));
    assert!(Content::of(&found.expect("new.txt is taken in")) == Some(content(7)));
    let mut files = before.clone();
    files.insert("new.txt".into(), content(7));
    in_sync(binaries);
    let served = files_served();
    assert_eq!(served, files.keys().cloned().collect(), "nothing is lost, and nothing comes twice");
    for (path, content) in &files {
        let bytes = get(&mut raw(), path).unwrap_or_else(|answer| panic!("{path}: {answer}"));
        assert!(Content::of(&bytes) == Some(*content), "{path} has other bytes");
    }
    done(&Act::Remove { path: "new.txt".into() });
}

fn in_sync(binaries: &Binaries) {
    let status = Command::new(&binaries.fget).args(["--server", ADDRESS, "status", "--wait"]).output();
    let status = status.expect("fget");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
}

/// Clients get these files and no others, and both drives have them.
fn check(binaries: &Binaries, files: &BTreeMap<String, Content>) {
    in_sync(binaries);
    assert_eq!(files_served(), files.keys().cloned().collect());
    for (path, content) in files {
        let bytes = patiently(|| get(&mut raw(), path)).unwrap_or_else(|answer| panic!("{path}: {answer}"));
        assert!(Content::of(&bytes) == Some(*content), "{path} has other bytes");
        for drive in DRIVES {
            let bytes = fs::read(Path::new(drive).join(path)).unwrap_or_else(|error| panic!("{drive}/{path}: {error}"));
            assert!(Content::of(&bytes) == Some(*content), "{drive}/{path} has other bytes");
        }
    }
}

/// The paths of all files that the daemon lists.
fn files_served() -> BTreeSet<String> {
    let mut raw = raw();
    let mut found = BTreeSet::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for (name, is_folder) in crate::guest::list(&mut raw, &folder).expect("a listing") {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if is_folder {
                folders.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    found
}
