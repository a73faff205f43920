//! What the mirror refuses, or survives, that a client or an operator can do to it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod common;

use std::path::Path;
use std::process::Output;

use common::Daemon;

fn run(daemon: &Daemon, words: &[&str]) -> Output {
    daemon.fget().args(words).current_dir(daemon.folder()).output().unwrap()
}

fn code(daemon: &Daemon, words: &[&str]) -> i32 {
    let output = run(daemon, words);
    eprintln!("fget {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.status.code().unwrap()
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn nothing_is_served_from_a_state_directory_that_is_older_than_the_sticks() {
    let mut daemon = Daemon::start();
    std::fs::write(daemon.folder().join("f"), b"old").unwrap();
    assert_eq!(code(&daemon, &["put", "f"]), 0);
    assert_eq!(daemon.stop(), Some(0));
    let (state, kept) = (daemon.folder().join("state"), daemon.folder().join("kept"));
    copy_tree(&state, &kept);
    for _ in 0..2 {
        daemon.crash_and_restart();
        std::fs::write(daemon.folder().join("f"), b"new").unwrap();
        assert_eq!(code(&daemon, &["put", "f"]), 0);
        assert_eq!(daemon.stop(), Some(0));
    }
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::rename(&kept, &state).unwrap();
    daemon.crash_and_restart();
    let get = run(&daemon, &["get", "f", "-"]);
    assert_eq!(get.status.code(), Some(5));
    assert!(get.stdout.is_empty());
    assert!(String::from_utf8_lossy(&get.stderr).contains("the journal is older than the stick"));
    assert_eq!(code(&daemon, &["put", "f"]), 5);
    for drive in ["a", "b"] {
        assert_eq!(std::fs::read(daemon.drive(drive).join("f")).unwrap(), b"new");
    }
}

#[test]
fn a_move_that_would_lie_too_deep_is_refused_and_the_daemon_goes_on() {
    let daemon = Daemon::start();
    let deep = |top: &str| format!("{top}/{}", vec!["d"; 40].join("/"));
    assert_eq!(code(&daemon, &["mkdir", &deep("one")]), 0);
    assert_eq!(code(&daemon, &["mkdir", &deep("two")]), 0);
    assert_eq!(code(&daemon, &["mv", "one", &format!("{}/one", deep("two"))]), 1);
    assert_eq!(code(&daemon, &["mv", "one", "two/one"]), 0);
    assert_eq!(code(&daemon, &["status", "--wait"]), 0);
    assert_eq!(code(&daemon, &["rm", "-r", "two"]), 0);
}

#[test]
fn a_folder_in_a_files_place_on_both_drives_ends_a_get_with_an_error() {
    let daemon = Daemon::start();
    std::fs::write(daemon.folder().join("f"), b"bytes").unwrap();
    assert_eq!(code(&daemon, &["put", "f"]), 0);
    assert_eq!(code(&daemon, &["status", "--wait"]), 0);
    for drive in ["a", "b"] {
        std::fs::remove_file(daemon.drive(drive).join("f")).unwrap();
        std::fs::create_dir(daemon.drive(drive).join("f")).unwrap();
    }
    assert_eq!(code(&daemon, &["get", "f", "got"]), 5);
    assert!(!daemon.folder().join("got").exists());
}

#[test]
fn a_changed_byte_on_one_drive_is_served_right_and_mended() {
    let daemon = Daemon::start();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(daemon.folder().join("f"), &bytes).unwrap();
    assert_eq!(code(&daemon, &["put", "f"]), 0);
    assert_eq!(code(&daemon, &["status", "--wait"]), 0);
    for drive in ["a", "b"] {
        let copy = daemon.drive(drive).join("f");
        let mut damaged = bytes.clone();
        damaged[700_000] ^= 1;
        std::fs::write(&copy, &damaged).unwrap();
        // Which copy a reader takes is the mirror's choice; each is read in turn until the bad one was met.
        let deadline = std::time::Instant::now() + common::PATIENCE;
        while std::fs::read(&copy).unwrap_or_default() != bytes {
            assert!(std::time::Instant::now() < deadline, "drive {drive} was not mended");
            assert_eq!(run(&daemon, &["get", "f", "-"]).stdout, bytes);
            assert_eq!(code(&daemon, &["mv", "f", "g"]), 0);
            assert_eq!(code(&daemon, &["mv", "g", "f"]), 0);
            assert_eq!(code(&daemon, &["status", "--wait"]), 0);
        }
    }
    let status = run(&daemon, &["status", "--json"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("\"checksum\":1"));
}
