//! Puts with a condition: whoever looks first and then writes loses nothing of what others wrote between.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::json;
use twinstick_rig::{Binaries, Drives, Raw, Terminal, Twins};

const WRITERS: usize = 8;
const ADDITIONS: usize = 12;

fn twins() -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    Twins::new(binaries, Drives::Plain)
}

#[test]
fn a_version_is_replaced_only_by_who_has_seen_it() {
    let twins = twins();
    let client = twins.client();
    let local = twins.home().join("f");
    std::fs::write(&local, "one").expect("room");
    let put = |words: &[&str]| client.run(&[&["put", local.to_str().expect("UTF-8"), "f"], words].concat());
    put(&["--if-version", "1"]).expect(9);
    client.run(&["info", "f"]).expect(4);
    put(&["--if-absent"]).expect(0);
    put(&["--if-absent"]).expect(9);
    let seen = client.run(&["info", "f", "--json"]).expect(0).json()["version"].to_string();
    client.put("f", b"another's").expect(0);
    let refused = put(&["--if-version", &seen]).expect(9);
    assert!(refused.stderr.contains("by now"), "{}", refused.stderr);
    assert_eq!(client.get("f").expect(0).stdout, b"another's");
    let now = client.run(&["info", "f", "--json"]).expect(0).json()["version"].to_string();
    put(&["--if-version", &now]).expect(0);
    assert_eq!(client.get("f").expect(0).stdout, b"one");
    put(&["--if-version", &now, "--if-absent"]).expect(2);
    twins.check_identical();
}

/// Each adds to what it has read, and begins anew where somebody was faster: no addition is lost.
#[test]
fn additions_of_many_are_all_there() {
    let twins = twins();
    twins.client().put("sum", b"").expect(0);
    let address = twins.address();
    let retries: usize = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || add(address, writer))).collect();
        writers.into_iter().map(|writer| writer.join().expect("it ends")).sum()
    });
    assert!(retries > 0, "they met");
    let text = String::from_utf8(twins.client().get("sum").expect(0).stdout).expect("UTF-8");
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    let mut expected: Vec<_> =
        (0..WRITERS).flat_map(|writer| (0..ADDITIONS).map(move |number| format!("{writer}-{number}"))).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    twins.check_identical();
}

fn add(address: &str, writer: usize) -> usize {
    let mut raw = Raw::greeted(address);
    let mut retries = 0;
    for number in 0..ADDITIONS {
        loop {
            raw.send(b"{\"op\":\"get\",\"path\":\"sum\"}\n");
            let head = raw.answer().expect("the head");
            let mut bytes = raw.bytes(head["len"].as_u64().expect("a length") as usize);
            assert_eq!(raw.answer().expect("a trailer")["ok"], true);
            bytes.extend(format!("{writer}-{number}\n").into_bytes());
            let put = json!({"op": "put", "path": "sum", "len": bytes.len(), "if_version": head["lsn"]});
            raw.send(format!("{put}\n").as_bytes());
            raw.send(&bytes);
            raw.send(format!("{{\"crc32\":\"{:08x}\"}}\n", crc32fast::hash(&bytes)).as_bytes());
            let answer = raw.answer().expect("an answer");
            if answer["ok"] == true {
                break;
            }
            assert_eq!(answer["error"], "other-version", "{answer}");
            retries += 1;
        }
    }
    retries
}

/// An editor that does what a script says; `$1` is the file.
fn editor(twins: &Twins, script: &str) -> String {
    let path = twins.home().join("editor");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("room");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    path.to_str().expect("UTF-8").to_owned()
}

/// What an editor does in whose midst somebody else does something.
fn amid(twins: &Twins, words: &str) -> String {
    let fget = twins.client().fget;
    format!("'{}' --server {} {words} || exit 7\nprintf mine >> \"$1\"", fget.display(), twins.address())
}

/// The path that a message ends with.
fn kept(message: &str) -> PathBuf {
    let line = message.lines().find(|line| line.contains("is in /")).expect("it says where");
    PathBuf::from(line.rsplit(" is in ").next().expect("a path").trim_end_matches(','))
}

#[test]
fn what_is_edited_is_stored_and_nothing_else() {
    let twins = twins();
    let client = twins.client();
    let edit = |script: &str, path: &str| client.run_with(&[("EDITOR", &editor(&twins, script))], &["edit", path]);
    edit("printf one > \"$1\"", "new/notes.txt").expect(0);
    assert_eq!(client.get("new/notes.txt").expect(0).stdout, b"one");
    // The editor knows by the name what it is about, and arguments of its own come before it.
    let script = editor(
        &twins,
        "test \"$1\" = -n && case \"$2\" in */notes.txt) printf ' and two' >> \"$2\";; *) exit 8;; esac",
    );
    client.run_with(&[("VISUAL", &format!("{script} -n")), ("EDITOR", "false")], &["edit", "new/notes.txt"]).expect(0);
    assert_eq!(client.get("new/notes.txt").expect(0).stdout, b"one and two");
    let version = client.run(&["info", "new/notes.txt", "--json"]).expect(0).json()["version"].clone();
    assert!(edit("true", "new/notes.txt").expect(0).stderr.contains("nothing was changed"));
    assert!(edit("rm \"$1\"", "new/notes.txt").expect(0).stderr.contains("nothing is stored"));
    edit("true", "another").expect(0);
    client.run(&["info", "another"]).expect(4);
    assert!(edit("exit 3", "new/notes.txt").expect(1).stderr.contains("nothing is stored\n"));
    let kept = kept(&edit("printf three > \"$1\"; exit 3", "new/notes.txt").expect(1).stderr);
    assert_eq!(fs::read(&kept).expect("it is there"), b"three");
    assert_eq!(client.run(&["info", "new/notes.txt", "--json"]).expect(0).json()["version"], version);
    edit("true", "new").expect(9);
}

#[test]
fn of_two_who_edit_at_the_same_time_neither_loses_anything() {
    let twins = twins();
    let client = twins.client();
    client.put("notes", b"old ").expect(0);
    let theirs = twins.home().join("theirs");
    fs::write(&theirs, "theirs").expect("room");
    let edit = |words: &str| client.run_with(&[("EDITOR", &editor(&twins, &amid(&twins, words)))], &["edit", "notes"]);
    let put = format!("put '{}' notes", theirs.display());
    let both = edit(&put).expect(9).stderr;
    assert!(both.contains("somebody stored another version of notes meanwhile, which is in /"), "{both}");
    let mine = kept(&both);
    assert_eq!(fs::read(&mine).expect("it is there"), b"old mine");
    assert_eq!(fs::read(mine.with_extension("newer")).expect("it is there"), b"theirs");
    assert_eq!(client.get("notes").expect(0).stdout, b"theirs");
    // Removed, or made where there was nothing: as good as another version.
    assert_eq!(fs::read(kept(&edit("rm notes").expect(9).stderr)).expect("it is there"), b"theirsmine");
    assert_eq!(fs::read(kept(&edit(&put).expect(9).stderr)).expect("it is there"), b"mine");
    assert_eq!(client.get("notes").expect(0).stdout, b"theirs");
}

#[test]
fn whoever_edits_at_a_terminal_is_asked_what_becomes_of_both() {
    for (answers, expected, code) in
        [("x\no\n", "old mine", 0), ("e\n", "old mine again theirs", 0), ("k\n", "theirs", 9)]
    {
        let twins = twins();
        let client = twins.client();
        client.put("notes", b"old ").expect(0);
        fs::write(twins.home().join("theirs"), "theirs").expect("room");
        let put = amid(&twins, &format!("put '{}' notes", twins.home().join("theirs").display()));
        // Opened again it has both.
        let script = format!("if test \"$2\"; then printf ' again ' >> \"$1\"; cat \"$2\" >> \"$1\"; exit; fi\n{put}");
        let mut terminal = Terminal::new();
        terminal.typed(answers);
        let status = Command::new(&client.fget)
            .args(["--server", &client.address, "edit", "notes"])
            .env("HOME", &client.home)
            .env("EDITOR", editor(&twins, &script))
            .stdin(terminal.open())
            .stdout(Stdio::null())
            .stderr(terminal.open())
            .status()
            .expect("fget");
        assert_eq!(status.code(), Some(code), "{answers:?}");
        assert_eq!(client.get("notes").expect(0).stdout, expected.as_bytes(), "{answers:?}");
    }
}
