//! `fget verify`: what a user sees of two drives that are not alike.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

mod common;

use std::os::unix::ffi::OsStrExt as _;

use common::Daemon;

/// What `fget verify` says, and its exit code.
fn verify(daemon: &Daemon, words: &[&str]) -> (String, Option<i32>) {
    let output = daemon.fget().arg("verify").args(words).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

fn put(daemon: &Daemon, name: &str, bytes: &[u8]) {
    let local = daemon.folder().join("local");
    std::fs::write(&local, bytes).unwrap();
    assert!(daemon.fget().args(["put", local.to_str().unwrap(), name]).status().unwrap().success());
}

fn settle(daemon: &Daemon) {
    assert!(daemon.fget().args(["status", "--wait"]).status().unwrap().success());
}

fn state(daemon: &Daemon, drive: usize) -> String {
    let output = daemon.fget().args(["status", "--json"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    status["drives"][drive]["state"].as_str().unwrap().to_owned()
}

#[test]
fn two_drives_that_are_alike_are_said_to_be() {
    let daemon = Daemon::start();
    put(&daemon, "d/one", b"1");
    put(&daemon, "two", &vec![2; 600_000]);
    // Staged or installed, both have it.
    assert_eq!(verify(&daemon, &[]), (String::new(), Some(0)));
    settle(&daemon);
    assert_eq!(verify(&daemon, &["--combined"]), ("= d/one\n= two\n".to_owned(), Some(0)));
    assert_eq!(verify(&daemon, &["--combined", "--quick"]), ("= d/one\n= two\n".to_owned(), Some(0)));
}

#[test]
fn a_changed_bit_is_named_with_its_drive_and_left_as_it_is() {
    let daemon = Daemon::start();
    for name in ["d/damaged", "right"] {
        put(&daemon, name, &vec![7; 300_000]);
    }
    settle(&daemon);
    let copy = daemon.drive("b").join("d/damaged");
    let modified = std::fs::metadata(&copy).unwrap().modified().unwrap();
    let mut damaged = vec![7; 300_000];
    damaged[299_999] ^= 1;
    std::fs::write(&copy, &damaged).unwrap();
    std::fs::File::options().write(true).open(&copy).unwrap().set_modified(modified).unwrap();
    assert_eq!(verify(&daemon, &["--combined"]), ("* b:d/damaged\n= right\n".to_owned(), Some(1)));
    // Names and sizes do not tell.
    assert_eq!(verify(&daemon, &["--quick"]), (String::new(), Some(0)));
    assert!(std::fs::read(&copy).unwrap() == damaged, "nothing was touched");
}

#[test]
fn a_drive_that_is_not_there_is_no_drive_that_is_alike() {
    let daemon = Daemon::start();
    put(&daemon, "f", b"bytes");
    settle(&daemon);
    std::fs::rename(daemon.drive("b"), daemon.folder().join("pulled")).unwrap();
    let deadline = std::time::Instant::now() + common::PATIENCE;
    while state(&daemon, 1) != "absent" {
        assert!(std::time::Instant::now() < deadline, "the drive is not missed");
    }
    let (said, code) = verify(&daemon, &["--combined"]);
    assert_eq!((said.as_str(), code), ("! b: (the drive is not there)\n= f\n", Some(1)));
}

#[test]
fn a_drive_that_is_behind_is_not_said_to_be_alike() {
    let daemon = Daemon::start();
    put(&daemon, "f", b"1");
    settle(&daemon);
    let trash = daemon.drive("a").join(".twinstick/trash");
    std::fs::remove_dir(&trash).unwrap();
    std::fs::write(&trash, "in the way").unwrap();
    assert!(daemon.fget().args(["rm", "f"]).status().unwrap().success());
    let behind = "! a: (the drive is 1 path behind: what it owes was not compared)\n";
    // Until the lane has tried it, it is about to be done.
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    let mut told = verify(&daemon, &[]);
    while told != (behind.to_owned(), Some(1)) {
        assert!(std::time::Instant::now() < deadline, "{told:?}");
        told = verify(&daemon, &[]);
    }
    std::fs::remove_file(&trash).unwrap();
    settle(&daemon);
    assert_eq!(verify(&daemon, &[]), (String::new(), Some(0)));
}

/// Something that nobody put through the mirror.
fn strew(folder: &std::path::Path) {
    let odd = |name: &[u8]| folder.join(std::ffi::OsStr::from_bytes(name));
    std::fs::write(odd(b"bad\xff\xfe"), "x").unwrap();
    std::fs::create_dir(odd(b"bd\xff")).unwrap();
    std::fs::write(odd(b"bd\xff").join("inside"), "x").unwrap();
    // Not in normal form, and the mirror has the name in that form.
    std::fs::write(odd("e\u{301}".as_bytes()), "x").unwrap();
    std::fs::write(odd(b"two\nlines\x1b[2J"), "x").unwrap();
}

#[test]
fn names_that_the_mirror_cannot_have_are_told_each_on_one_line() {
    let daemon = Daemon::start();
    put(&daemon, "\u{e9}", b"known");
    settle(&daemon);
    strew(&daemon.drive("a"));
    let (said, code) = verify(&daemon, &[]);
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_unstable();
    let why = "(its name is not UTF-8: rename it)";
    let [bad, folder] = [format!(r"- a:bad\xff\xfe {why}"), format!(r"- a:bd\xff {why}")];
    assert_eq!(lines, [bad.as_str(), &folder, "- a:e\u{301}", r"- a:two\nlines\u{1b}[2J"]);
    assert_eq!(code, Some(1));
}
