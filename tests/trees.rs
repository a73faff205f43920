//! Whole trees through `fget put -r`, `get -r` and `rm -r`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::Daemon;

/// Every file and folder below, with its bytes; a folder has none.
fn contents(folder: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.insert(name, None);
                folders.push(path);
            } else {
                found.insert(name, Some(std::fs::read(path).unwrap()));
            }
        }
    }
    found
}

fn code(daemon: &Daemon, words: &[&str]) -> i32 {
    let output = daemon.fget().args(words).current_dir(daemon.folder()).output().unwrap();
    eprintln!("fget {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.status.code().unwrap()
}

fn make_tree(folder: &Path) {
    std::fs::create_dir_all(folder.join("deep/er/est")).unwrap();
    std::fs::create_dir_all(folder.join("empty/too")).unwrap();
    for number in 0..40_usize {
        let bytes = vec![u8::try_from(number).unwrap(); number * number * 500];
        std::fs::write(folder.join(format!("deep/er/{number}")), &bytes).unwrap();
    }
    std::fs::write(folder.join("\u{fc}mlaut & space"), "x").unwrap();
}

#[test]
fn a_tree_comes_back_as_it_went() {
    let daemon = Daemon::start();
    let tree = daemon.folder().join("tree");
    make_tree(&tree);
    assert_eq!(code(&daemon, &["put", "-r", "tree", "kept/tree"]), 0);
    assert_eq!(code(&daemon, &["get", "-r", "kept/tree", "back"]), 0);
    assert_eq!(contents(&tree), contents(&daemon.folder().join("back")));
    assert_eq!(code(&daemon, &["put", "-r", "tree", "kept/"]), 0);
    assert_eq!(code(&daemon, &["rm", "kept/tree"]), 9);
    assert_eq!(code(&daemon, &["rm", "-r", "kept/tree"]), 0);
    assert_eq!(code(&daemon, &["get", "-r", "kept/tree", "gone"]), 4);
    assert!(!daemon.folder().join("gone").exists());
}

#[test]
fn what_cannot_be_taken_is_named_and_the_rest_goes_on() {
    let daemon = Daemon::start();
    let tree = daemon.folder().join("tree");
    make_tree(&tree);
    std::os::unix::fs::symlink("deep", tree.join("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", tree.join("dangling")).unwrap();
    assert_eq!(code(&daemon, &["put", "-r", "tree"]), 3);
    assert_eq!(code(&daemon, &["get", "-r", "tree", "back"]), 0);
    std::fs::remove_file(tree.join("link")).unwrap();
    std::fs::remove_file(tree.join("dangling")).unwrap();
    assert_eq!(contents(&tree), contents(&daemon.folder().join("back")));
}

#[test]
fn a_download_onto_a_pipe_or_through_a_link_replaces_neither() {
    let daemon = Daemon::start();
    let folder = daemon.folder();
    std::fs::write(folder.join("source"), b"bytes for a pipe").unwrap();
    assert_eq!(code(&daemon, &["put", "source", "f"]), 0);
    let pipe = folder.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    assert_eq!(code(&daemon, &["get", "f", "pipe"]), 0);
    assert_eq!(reader.join().unwrap(), b"bytes for a pipe");
    assert!(!std::fs::metadata(&pipe).unwrap().is_file());
    std::fs::write(folder.join("real"), b"old").unwrap();
    std::os::unix::fs::symlink("real", folder.join("link")).unwrap();
    assert_eq!(code(&daemon, &["get", "f", "link"]), 0);
    assert_eq!(std::fs::read(folder.join("real")).unwrap(), b"bytes for a pipe");
    assert!(std::fs::symlink_metadata(folder.join("link")).unwrap().is_symlink());
}
