//! What the commands say, word for word.
#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::path::Path;

use twinstick_rig::{Binaries, check_transcript};

#[test]
fn twinstickd_says_what_it_takes_and_why_it_refuses() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = dir.path().canonicalize().expect("it exists");
    for name in ["a", "b", "full", "enrolled/.twinstick", "state", "used-state/journal"] {
        fs::create_dir_all(folder.join(name)).expect("room");
    }
    fs::write(folder.join("full/letter.txt"), "dear").expect("room");
    fs::write(folder.join("typo.toml"), "listen = \"127.0.0.1:0\"\nplaecs = []\n").expect("room");
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cli/twinstickd.txt");
    check_transcript(&file, &binaries, &folder, &[]);
}
