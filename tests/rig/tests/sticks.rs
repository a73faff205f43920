//! The rig's own promises: a pulled drive is gone as a real one is, and comes back with what was synced.
#![allow(clippy::disallowed_methods, reason = "tests")]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use twinstick_rig::{Needs, Pull, Stick, Trials};

const DRIVE_BYTES: u64 = 32 << 20;

fn main() -> ExitCode {
    Trials::default()
        .with("a_drive_that_was_shut_down_fails_and_heals_with_what_was_synced", Needs::LoopMounts, shutdown)
        .with("an_unmounted_drive_leaves_a_bare_folder", Needs::LoopMounts, unmount)
        .with("a_write_to_a_bare_mount_point_is_found_out", Needs::LoopMounts, bare)
        .with("a_plain_folder_leaves_and_comes_back", Needs::Nothing, plain)
        .main()
}

fn with_stick(test: fn(Stick)) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    test(Stick::loop_mounted(dir.path(), "a", DRIVE_BYTES));
}

fn write_synced(path: &Path) {
    let mut file = File::create(path).expect("a new file");
    file.write_all(b"synced").and_then(|()| file.sync_all()).expect("a drive that works");
    File::open(path.parent().expect("a folder")).and_then(|folder| folder.sync_all()).expect("a drive that works");
}

fn shutdown() {
    with_stick(|mut stick| {
        let file = stick.root.join("file");
        write_synced(&file);
        fs::write(stick.root.join("lost"), "never synced").expect("room");
        stick.pull(Pull::Shutdown);
        assert!(fs::write(stick.root.join("new"), "x").is_err());
        assert!(fs::read(&file).is_err());
        stick.bring_back();
        assert_eq!(fs::read(&file).expect("it was synced"), b"synced");
        assert!(!stick.root.join("lost").exists(), "the power was cut before it reached the drive");
    });
}

fn unmount() {
    with_stick(|mut stick| {
        let file = stick.root.join("file");
        write_synced(&file);
        stick.pull(Pull::Unmount);
        assert!(!file.exists());
        stick.check_bare();
        stick.bring_back();
        assert_eq!(fs::read(&file).expect("it is back"), b"synced");
    });
}

fn bare() {
    with_stick(|mut stick| {
        stick.pull(Pull::Unmount);
        let stray = stick.root.join("stray");
        fs::write(&stray, "").expect("the boot disk takes anything");
        assert!(stick.trespass().is_some());
        fs::remove_file(&stray).expect("our own file");
        assert!(stick.trespass().is_some(), "also when it was removed again");
    });
}

fn plain() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut stick = Stick::plain(dir.path(), "b");
    fs::write(stick.root.join("file"), "x").expect("room");
    stick.pull(Pull::Rename);
    stick.check_bare();
    assert!(!stick.root.exists());
    stick.bring_back();
    assert!(stick.root.join("file").exists());
}
