//! The demo, as a newcomer runs it.
#![allow(clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods, reason = "tests")]

use std::process::{Command, ExitCode, Output, Stdio};

use twinstick_rig::{Binaries, Needs, Trials};

fn main() -> ExitCode {
    Trials::default()
        .with("the_demo_holds_on_plain_folders", Needs::Nothing, plain)
        .with("the_demo_holds_on_loop_mounted_drives", Needs::LoopMounts, loop_mounted)
        .with("what_is_kept_is_the_whole_mirror", Needs::Nothing, kept)
        .with("a_folder_with_files_in_it_is_refused", Needs::Nothing, refused)
        .main()
}

fn demo(words: &[&str]) -> Output {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let mut command = Command::new(binaries.twinstickd);
    command.arg("demo").args(words).stdin(Stdio::null()).output().expect("twinstickd")
}

/// What the demo told; panics unless all of it held.
fn told(words: &[&str]) -> String {
    let output = demo(words);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{text}");
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("All of it held."));
    text
}

fn plain() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let inner = dir.path().join("demo");
    let text = told(&["--plain-directory", "--dir", inner.to_str().expect("UTF-8")]);
    assert!(text.contains("plain folders"));
    assert!(!inner.exists(), "nothing is left behind");
}

fn loop_mounted() {
    assert!(told(&[]).contains("loop-mounted"));
}

fn kept() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    told(&["--plain-directory", "--keep", "--dir", dir.path().to_str().expect("UTF-8")]);
    for path in ["drive-a/letter.txt", "drive-b/letter.txt", "drive-b/holiday/film.mp4"] {
        assert!(dir.path().join(path).is_file(), "{path}");
    }
}

fn refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("mine"), "").expect("room");
    let output = demo(&["--dir", dir.path().to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not empty"));
    assert!(dir.path().join("mine").exists());
}
