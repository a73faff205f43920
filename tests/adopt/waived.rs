//! The journal was rebuilt from drive a alone, and drive b comes back: what a's history knows of it is judged by that.

use std::collections::BTreeSet;
use std::fs;

use twinstick_rig::{Client, Drives, End, Pull, Side, Twins, wait_until};

use crate::{KEPT, adopt, lose_state, twins};

/// Files that are the mirror's at the end of the common history, with their bytes.
const LASTING: [(&str, &[u8]); 6] = [
    ("stays/1", b"stays as it is"),
    ("moved/1", b"is moved, 1"),
    ("moved/deep/2", b"is moved, 2"),
    ("o", b"the new version of o"),
    ("again/new", b"in a folder of the same name"),
    ("twin", b"removed, and the same again"),
];
/// What somebody wrote on drive b meanwhile.
const FOREIGN: [(&str, &[u8]); 3] = [
    ("gone/new by hand", b"new in a folder that was removed"),
    ("stays/new by hand", b"new beside others"),
    ("edited", b"edited by hand"),
];

fn files(client: &Client) -> BTreeSet<String> {
    let listing = String::from_utf8(client.run(&["ls", "-R"]).expect(0).stdout).expect("UTF-8");
    listing.lines().filter(|line| !line.ends_with('/')).map(ToOwned::to_owned).collect()
}

/// Both drives have everything; b is away for deletions, moves and overwrites, and the journal is lost.
fn lose(twins: &mut Twins, how: Pull) {
    let client = twins.client();
    for (path, bytes) in [
        ("gone/1", &b"removed with its folder"[..]),
        ("gone/deep/2", b"removed with its folders"),
        ("gone alone", b"removed alone"),
        ("stays/1", b"stays as it is"),
        ("mvd/1", b"is moved, 1"),
        ("mvd/deep/2", b"is moved, 2"),
        ("o", b"the old version of o"),
        ("again/old", b"in a folder that is removed and made again"),
        ("twin", b"removed, and the same again"),
        ("edited", b"before it was edited"),
        ("late", b"removed when the journal was rebuilt"),
        ("late move", b"moved when the journal was rebuilt"),
    ] {
        client.put(path, bytes).expect(0);
    }
    client.run(&["status", "--wait"]).expect(0);
    twins.pull(Side::B, how);
    for path in ["gone", "gone alone", "again", "twin"] {
        client.run(&["rm", "-r", path]).expect(0);
    }
    client.run(&["mv", "mvd", "moved"]).expect(0);
    for (path, bytes) in LASTING.iter().filter(|(path, _)| ["o", "again/new", "twin"].contains(path)) {
        client.put(path, bytes).expect(0);
    }
    twins.end(End::Drain);
    lose_state(twins);
}

/// Adopts without b, and serves; clients go on before it comes.
fn go_on(twins: &mut Twins, words: &[&str]) {
    adopt(twins, &[Side::A], &[words, &["--without", "b"]].concat()).expect(0);
    twins.serve();
    let client = twins.client();
    wait_until("drive a is there", || client.state(Side::A) == "in-sync");
    client.run(&["rm", "late"]).expect(0);
    client.run(&["mv", "late move", "late moved"]).expect(0);
    // What is known must outlive the daemon.
    twins.end(End::Kill);
}

fn check(twins: &Twins, more: &[&str]) {
    twins.check_identical();
    let client = twins.client();
    let expected = LASTING.iter().map(|(path, _)| *path).chain(["edited", "late moved"]).chain(more.iter().copied());
    let expected: BTreeSet<_> = expected.map(ToOwned::to_owned).collect();
    let found = files(&client);
    let kept = |path: &String| path.starts_with("edited (") || path.contains(KEPT);
    let found: BTreeSet<_> = found.into_iter().filter(|path| more.is_empty() || !kept(path)).collect();
    assert_eq!(found, expected, "{}", twins.log());
    for (path, bytes) in LASTING {
        assert_eq!(client.get(path).expect(0).stdout, bytes, "{path}");
    }
    let trash = String::from_utf8(client.run(&["trash"]).expect(0).stdout).expect("UTF-8");
    for path in ["gone/1", "gone/deep/2", "gone alone", "o", "again/old", "twin", "late"] {
        assert!(trash.contains(path), "{path}: {trash}");
    }
    twins.check_identical();
}

pub(crate) fn on_plain() {
    nothing_comes_back(&mut twins(Drives::Plain), &["--plain-directory"], Pull::Rename);
}

pub(crate) fn on_loop() {
    nothing_comes_back(&mut twins(crate::LOOP), &[], Pull::Unmount);
}

fn nothing_comes_back(twins: &mut Twins, words: &[&str], how: Pull) {
    lose(twins, how);
    go_on(twins, words);
    // Once more: what is known is on drive a again by now.
    lose_state(twins);
    adopt(twins, &[Side::A], &[words, &["--without", "b"]].concat()).expect(0);
    twins.serve();
    twins.bring_back(Side::B);
    check(twins, &[]);
    let root = twins.root(Side::B).to_owned();
    let aside: Vec<_> = fs::read_dir(root.join(".twinstick/aside")).expect("a folder").flatten().collect();
    let aside: Vec<_> = aside.iter().filter(|entry| !entry.file_name().to_string_lossy().starts_with("log-")).collect();
    assert!(aside.is_empty(), "{aside:?}");
    twins.end(End::Drain);
    twins.check(&[]).expect(0);
}

/// What somebody else wrote on b is none of what a's history knows.
pub(crate) fn edits_are_kept() {
    let mut twins = twins(Drives::Plain);
    lose(&mut twins, Pull::Rename);
    twins.put_in(Side::B);
    for (path, bytes) in FOREIGN {
        fs::write(twins.root(Side::B).join(path), bytes).expect("a new file");
    }
    twins.take_out(Side::B, Pull::Rename);
    go_on(&mut twins, &["--plain-directory"]);
    twins.serve();
    twins.bring_back(Side::B);
    let client = twins.client();
    let copy = || files(&client).into_iter().find(|path| path.starts_with("edited ("));
    wait_until("the edit is kept", || copy().is_some());
    let new = ["gone/new by hand", "stays/new by hand"];
    wait_until("what is new is taken in", || new.iter().all(|path| files(&client).contains(*path)));
    check(&twins, &new);
    assert_eq!(client.get(&copy().expect("the edit")).expect(0).stdout, FOREIGN[2].1);
    assert_eq!(client.get("edited").expect(0).stdout, b"before it was edited");
    for (path, bytes) in &FOREIGN[..2] {
        assert_eq!(client.get(path).expect(0).stdout, *bytes, "{path}");
    }
}

/// The drive that knows is away when the other one comes.
pub(crate) fn alone() {
    let mut twins = twins(Drives::Plain);
    lose(&mut twins, Pull::Rename);
    go_on(&mut twins, &["--plain-directory"]);
    twins.take_out(Side::A, Pull::Rename);
    twins.serve();
    twins.bring_back(Side::B);
    let client = twins.client();
    wait_until("what was removed goes", || !twins.root(Side::B).join("gone").exists());
    client.get("gone/1").expect(4);
    assert_eq!(client.get("twin").expect(0).stdout, b"removed, and the same again");
    // Its only successor is away.
    assert_eq!(fs::read(twins.root(Side::B).join("o")).expect("the old version"), b"the old version of o");
    client.get("o").expect(5);
    twins.pull(Side::B, Pull::Rename);
    twins.bring_back(Side::B);
    twins.bring_back(Side::A);
    check(&twins, &[]);
}
