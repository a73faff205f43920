//! Texts that several people write at the same time: every commit and every addition is in the end there, once.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

mod crowd;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use twinstick_rig::{Binaries, Client, Drives, End, Raw, Terminal, Twins, wait_until};

fn binaries() -> Binaries {
    Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"))
}

fn twins() -> Twins {
    Twins::new(binaries(), Drives::Plain)
}

/// One that gives a sentence up at once.
fn impatient() -> Twins {
    Twins::with_config(binaries(), Drives::Plain, |_| "[limits]\nedit_idle_timeout = \"1s\"\n".to_owned())
}

#[track_caller]
fn holds(client: &Client, path: &str, text: &str) {
    assert_eq!(String::from_utf8(client.get(path).expect(0).stdout).expect("UTF-8"), text);
}

/// A connection that edits.
struct Editor(Raw);

impl Editor {
    fn new(address: &str) -> Self {
        Self(Raw::greeted(address))
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.0.send(format!("{request}\n").as_bytes());
        self.0.answer().expect("an answer")
    }

    fn send(&mut self, request: &Value, body: &[u8]) {
        self.0.send(format!("{request}\n").as_bytes());
        self.0.send(body);
        self.0.send(format!("{{\"crc32\":\"{:08x}\"}}\n", crc32fast::hash(body)).as_bytes());
    }

    fn store(&mut self, request: &Value, body: &[u8]) -> Value {
        self.send(request, body);
        self.0.answer().expect("an answer")
    }

    /// The answer, and the sentence where it is ours.
    fn edit(&mut self, path: &str, sentence: usize) -> (Value, String) {
        let head = self.ask(&json!({"op": "edit", "path": path, "sentence": sentence}));
        if head["ok"] != true {
            return (head, String::new());
        }
        let body = self.0.bytes(head["len"].as_u64().expect("a length") as usize);
        assert_eq!(self.0.answer().expect("a trailer")["ok"], true);
        (head, String::from_utf8(body).expect("UTF-8"))
    }

    fn commit(&mut self, path: &str, lease: &Value, text: &str) -> Value {
        self.store(&json!({"op": "commit", "path": path, "lease": lease, "len": text.len()}), text.as_bytes())
    }

    fn release(&mut self, path: &str, lease: &Value) {
        assert_eq!(self.ask(&json!({"op": "release", "path": path, "lease": lease}))["ok"], true);
    }

    fn get(&mut self, path: &str) -> (Value, String) {
        loop {
            let head = self.ask(&json!({"op": "get", "path": path}));
            let Some(len) = head["len"].as_u64() else {
                // It was overwritten in that moment.
                assert_eq!(head["error"], "superseded", "{head}");
                continue;
            };
            let body = self.0.bytes(len as usize);
            let trailer = self.0.answer().expect("a trailer");
            if trailer["ok"] == true {
                return (head["lsn"].clone(), String::from_utf8(body).expect("UTF-8"));
            }
            assert_eq!(trailer["error"], "superseded", "{trailer}");
        }
    }

    /// Whether somebody else has a sentence.
    fn is_leased(&mut self, path: &str, sentence: usize) -> bool {
        let (answer, _) = self.edit(path, sentence);
        if answer["ok"] == true {
            self.release(path, &answer["lease"]);
        } else {
            assert_eq!(answer["error"], "leased", "{answer}");
        }
        answer["ok"] != true
    }
}

/// `fget write` with lines that come from a pipe.
fn piped(client: &Client, words: &[&str]) -> Child {
    let mut command = Command::new(&client.fget);
    command.args(["--server", &client.address, "write"]).args(words).env("HOME", &client.home);
    command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("fget")
}

fn say(child: &mut Child, lines: &str) {
    child.stdin.as_mut().expect("a pipe").write_all(lines.as_bytes()).expect("it reads");
}

/// Waits until so many sentences of a file were given to somebody. Asking for one would be in their way.
#[track_caller]
fn wait_for_edits(client: &Client, path: &str, count: usize) {
    wait_until("they have their sentences", || {
        let log = client.run(&["log", "--path", path, "--json"]).expect(0).stdout;
        let lines = log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines = lines.map(|line| serde_json::from_slice::<Value>(line).expect("a line of the log"));
        lines.filter(|line| line["command"] == "edit" && line["outcome"] == "ok").count() == count
    });
}

/// Its exit code, and what it said.
fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().expect("an end");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The path that a message ends with.
#[track_caller]
fn kept(message: &str) -> PathBuf {
    let line = message.lines().find(|line| line.contains(" is in /")).unwrap_or_else(|| panic!("{message}"));
    PathBuf::from(line.rsplit(" is in ").next().expect("a path").trim())
}

#[test]
fn a_sentence_is_edited_at_a_terminal() {
    let twins = twins();
    let client = twins.client();
    client.put("notes.txt", b"Hello world.  How are you?\n").expect(0);
    let mut terminal = Terminal::new();
    let mut child = terminal.run(&client, &["write", "notes.txt", "0"]);
    terminal.wait_for("0:Hello 1:world .\r\n2> ");
    terminal.typed("1 big\n");
    terminal.wait_for("0:Hello 1:big 2:world .\r\n3> ");
    holds(&client, "notes.txt", "Hello world.  How are you?\n");
    terminal.typed("9 nowhere\n");
    terminal.wait_for("there is no place 9");
    terminal.typed("hello\n");
    terminal.wait_for("is no number");
    terminal.typed("3 again\n0 Oh,\n5 And more!\nend\n");
    assert_eq!(child.wait().expect("an end").code(), Some(0), "{}", terminal.shown());
    holds(&client, "notes.txt", "Oh, Hello big world again. And more!  How are you?\n");
    // A new file, and a new sentence in it.
    let mut child = terminal.run(&client, &["write", "d/new", "0"]);
    terminal.typed("0 One.\nEND\n");
    assert_eq!(child.wait().expect("an end").code(), Some(0));
    client.run_on(&["write", "d/new", "1"], b"0 Two\nend\n").expect(0);
    holds(&client, "d/new", "One. Two");
    // Without a word nothing is stored.
    let version = client.run(&["info", "d/new", "--json"]).expect(0).json()["version"].clone();
    assert!(client.run_on(&["write", "d/new", "1"], b"end\n").expect(0).stderr.contains("nothing is stored"));
    assert_eq!(client.run(&["info", "d/new", "--json"]).expect(0).json()["version"], version);
    twins.check_identical();
}

#[test]
fn what_is_interrupted_or_not_ended_is_dropped() {
    let twins = twins();
    let client = twins.client();
    client.put("notes", b"One. Two.").expect(0);
    let mut terminal = Terminal::new();
    let mut child = terminal.run(&client, &["write", "notes", "0"]);
    terminal.wait_for("> ");
    terminal.typed("0 lost\n");
    terminal.wait_for("0:lost 1:One");
    let mut other = Editor::new(twins.address());
    assert!(other.is_leased("notes", 0));
    terminal.typed("\u{3}");
    assert_eq!(child.wait().expect("an end").code(), Some(130));
    wait_until("it is free", || !other.is_leased("notes", 0));
    let unended = client.run_on(&["write", "notes", "0"], b"0 lost").expect(1);
    assert!(unended.stderr.contains("without \"end\": nothing is stored"), "{}", unended.stderr);
    assert_eq!(fs::read(kept(&unended.stderr)).expect("it is kept"), b"lost One.");
    assert!(!client.run_on(&["write", "notes", "0"], b"").expect(1).stderr.contains(" is in "));
    // A script that is wrong in one line stores none.
    let wrong = client.run_on(&["write", "notes", "0"], b"0 lost\n7 lost\nend\n").expect(2);
    assert!(wrong.stderr.contains("line 2: there is no place 7"), "{}", wrong.stderr);
    holds(&client, "notes", "One. Two.");
}

#[test]
fn what_is_no_sentence_is_refused_in_words() {
    let twins = twins();
    let client = twins.client();
    client.put("d/notes", b"One. Two.").expect(0);
    client.put("bytes", b"One.\xff").expect(0);
    client.put("open", b"One").expect(0);
    client.put("long", "A. ".repeat(400_000).as_bytes()).expect(0);
    for (words, code, said) in [
        (["d/notes", "3"], 4, "there are 2, from 0 to 1, and 2 adds a new one"),
        (["none", "1"], 4, "the text is empty"),
        (["open", "1"], 1, "sentence 0 has no end"),
        (["bytes", "0"], 1, "no text in UTF-8, from byte 4"),
        (["long", "0"], 1, "put the whole file"),
        (["d", "0"], 9, "is a folder"),
        (["d/notes/x", "0"], 9, "is a file"),
    ] {
        let refused = client.run_on(&[&["write"][..], &words].concat(), b"0 x\nend\n").expect(code);
        assert!(refused.stderr.contains(said), "{words:?}: {}", refused.stderr);
    }
    client.run(&["write", "d/notes"]).expect(2);
    client.run(&["write", "--append", "d/notes", "0"]).expect(2);
    client.run(&["info", "none"]).expect(4);
}

#[test]
fn two_sentences_of_a_file_are_edited_at_the_same_time() {
    let twins = twins();
    let client = twins.client();
    client.put("notes", b"One.\nTwo.\nThree.\n").expect(0);
    let mut look = Editor::new(twins.address());
    let (mut first, mut second) = (piped(&client, &["notes", "0"]), piped(&client, &["notes", "2"]));
    wait_for_edits(&client, "notes", 2);
    assert!(look.is_leased("notes", 0) && look.is_leased("notes", 2));
    assert!(!look.is_leased("notes", 1));
    let refused = client.run_on(&["write", "notes", "2"], b"0 x\nend\n").expect(9);
    assert!(refused.stderr.contains("somebody at 127.0.0.1 is editing sentence 2"), "{}", refused.stderr);
    say(&mut first, "1 and more. And again!\n");
    say(&mut second, "0 Not\n");
    holds(&client, "notes", "One.\nTwo.\nThree.\n");
    say(&mut first, "end\n");
    assert_eq!(ended(first).0, Some(0));
    holds(&client, "notes", "One. and more. And again!\nTwo.\nThree.\n");
    say(&mut second, "end\n");
    assert_eq!(ended(second).0, Some(0));
    holds(&client, "notes", "One. and more. And again!\nTwo.\nNot Three.\n");
    twins.check_identical();
}

#[test]
fn a_killed_client_leaves_no_lease() {
    let twins = twins();
    let client = twins.client();
    client.put("notes", b"One. Two.").expect(0);
    let mut look = Editor::new(twins.address());
    let mut child = piped(&client, &["notes", "1"]);
    say(&mut child, "0 lost\n");
    wait_for_edits(&client, "notes", 1);
    client.run_on(&["write", "notes", "1"], b"0 x\nend\n").expect(9);
    child.kill().expect("it runs");
    child.wait().expect("an end");
    wait_until("it is free", || !look.is_leased("notes", 1));
    client.run_on(&["write", "notes", "1"], b"0 And\nend\n").expect(0);
    holds(&client, "notes", "One. And Two.");
}

#[test]
fn a_lease_that_is_not_used_is_for_others_to_take() {
    let twins = impatient();
    let client = twins.client();
    client.put("notes", b"One. Two. Three.").expect(0);
    let (mut slow, mut other) = (Editor::new(twins.address()), Editor::new(twins.address()));
    let leases = [0, 1].map(|sentence| slow.edit("notes", sentence).0["lease"].clone());
    let mut taken = Value::Null;
    wait_until("the first is free", || {
        let answer = other.edit("notes", 0).0;
        taken = answer["lease"].clone();
        answer["ok"] == true
    });
    let refused = slow.commit("notes", &leases[0], "Mine.");
    assert_eq!(refused["error"], "sentence-gone", "{refused}");
    let renewed = slow.ask(&json!({"op": "renew", "path": "notes", "lease": leases[0]}));
    assert_eq!(renewed["error"], "sentence-gone", "{renewed}");
    // The second is as old, and nobody wants it.
    assert_eq!(slow.commit("notes", &leases[1], "2.")["ok"], true);
    assert_eq!(other.commit("notes", &taken, "1.")["ok"], true);
    assert_eq!(slow.commit("notes", &leases[1], "2.")["error"], "sentence-gone", "it is over");
    assert_eq!(other.commit("notes", &json!(999), "2.")["error"], "sentence-gone");
    holds(&client, "notes", "1. 2. Three.");
    // Whoever is at work keeps it, and others' leases are nobody's to use.
    let lease = slow.edit("notes", 2).0["lease"].clone();
    assert_eq!(other.commit("notes", &lease, "x.")["error"], "sentence-gone");
    assert_eq!(slow.commit("notes", &lease, "3")["error"], "bad-request", "it had an end");
    assert_eq!(slow.ask(&json!({"op": "renew", "path": "notes", "lease": lease}))["ok"], true);
    assert_eq!(slow.commit("notes", &lease, "3.")["ok"], true);
    holds(&client, "notes", "1. 2. 3.");
}

#[test]
fn what_others_put_in_between_is_merged_or_said() {
    let twins = twins();
    let client = twins.client();
    client.put("notes", b"One. Two. Three.").expect(0);
    let (mut first, mut last) = (piped(&client, &["notes", "0"]), piped(&client, &["notes", "2"]));
    wait_for_edits(&client, "notes", 2);
    say(&mut first, "0 Number\n");
    say(&mut last, "0 Number\n");
    client.put("notes", b"Zero. Three. 1. Four.").expect(0);
    say(&mut last, "end\n");
    assert_eq!(ended(last), (Some(0), String::new()));
    holds(&client, "notes", "Zero. Number Three. 1. Four.");
    say(&mut first, "end\n");
    let (code, said) = ended(first);
    assert_eq!(code, Some(9), "{said}");
    assert!(said.contains("somebody stored another version"), "{said}");
    assert_eq!(fs::read(kept(&said)).expect("it is kept"), b"Number One.");
    holds(&client, "notes", "Zero. Number Three. 1. Four.");
    // Removed, the file is not made again for one sentence of it.
    let mut child = piped(&client, &["notes", "0"]);
    wait_for_edits(&client, "notes", 3);
    client.run(&["mv", "notes", "moved"]).expect(0);
    say(&mut child, "0 Number\nend\n");
    let (code, said) = ended(child);
    assert_eq!((code, said.contains("removed or moved")), (Some(9), true), "{said}");
    assert_eq!(fs::read(kept(&said)).expect("it is kept"), b"Number Zero.");
    client.run(&["info", "notes"]).expect(4);
    twins.check_identical();
}

#[test]
fn a_daemon_that_ends_leaves_the_file_and_the_text() {
    let mut twins = twins();
    let client = twins.client();
    client.put("notes", b"One. Two.").expect(0);
    let mut child = piped(&client, &["notes", "0"]);
    say(&mut child, "0 Number\n");
    wait_for_edits(&client, "notes", 1);
    twins.end(End::Kill);
    twins.serve();
    say(&mut child, "end\n");
    let (code, said) = ended(child);
    assert!(matches!(code, Some(5 | 9)), "{code:?}: {said}");
    assert_eq!(fs::read(kept(&said)).expect("it is kept"), b"Number One.");
    holds(&client, "notes", "One. Two.");
    client.run_on(&["write", "notes", "0"], b"0 Number\nend\n").expect(0);
}

#[test]
fn additions_are_whole_and_come_once() {
    let twins = twins();
    let client = twins.client();
    let texts: Vec<_> = (0..12).map(|number| format!("line {number} {}\n", "x".repeat(number * 9000))).collect();
    thread::scope(|scope| {
        for text in &texts {
            let client = &client;
            scope.spawn(move || client.run_on(&["write", "--append", "log/of all"], text.as_bytes()).expect(0));
        }
    });
    let all = String::from_utf8(client.get("log/of all").expect(0).stdout).expect("UTF-8");
    let mut lines: Vec<_> = all.split_inclusive('\n').collect();
    let mut expected: Vec<_> = texts.iter().map(String::as_str).collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert!(lines == expected, "{} of {} bytes", all.len(), texts.iter().map(String::len).sum::<usize>());
    // At a terminal until Ctrl-D.
    let mut terminal = Terminal::new();
    let mut child = terminal.run(&client, &["write", "-a", "typed"]);
    terminal.wait_for("Ctrl-D");
    terminal.typed("one\ntwo\n\u{4}");
    assert_eq!(child.wait().expect("an end").code(), Some(0));
    client.run_on(&["write", "-a", "typed"], b"\xff").expect(0);
    assert_eq!(client.get("typed").expect(0).stdout, b"one\ntwo\n\xff");
    assert!(client.run_on(&["write", "-a", "typed"], b"").expect(0).stderr.contains("nothing is stored"));
    client.run_on(&["write", "-a", "typed"], &vec![7; (1 << 20) + 1]).expect(1);
    client.run_on(&["write", "-a", "log"], b"x").expect(9);
    assert_eq!(client.get("typed").expect(0).stdout, b"one\ntwo\n\xff");
    twins.check_identical();
}

/// Sent again because its answer was lost, it is not done again.
#[test]
fn what_is_sent_again_with_its_id_is_done_once() {
    let twins = twins();
    let client = twins.client();
    client.put("notes", b"One.\n").expect(0);
    let append = json!({"op": "append", "path": "notes", "len": 5, "id": "a-1"});
    let mut lost = Editor::new(twins.address());
    lost.send(&append, b"Two.\n");
    wait_until("it is there", || client.get("notes").expect(0).stdout.ends_with(b"Two.\n"));
    drop(lost);
    client.put("between", b"").expect(0);
    let mut again = Editor::new(twins.address());
    let (first, second) = (again.store(&append, b"Two.\n"), again.store(&append, b"Two.\n"));
    assert_eq!((&first["ok"], &first), (&json!(true), &second));
    holds(&client, "notes", "One.\nTwo.\n");
    // Another body is another request.
    assert_eq!(again.store(&append, b"Six.\n")["ok"], true);
    let lease = again.edit("notes", 0).0["lease"].clone();
    let commit = json!({"op": "commit", "path": "notes", "lease": lease, "len": 2, "id": "c-1"});
    let done = again.store(&commit, b"1.");
    assert_eq!(done["ok"], true, "{done}");
    assert_eq!(again.store(&commit, b"1."), done);
    assert_eq!(Editor::new(twins.address()).store(&commit, b"1."), done, "on another connection too");
    holds(&client, "notes", "1.\nTwo.\nSix.\n");
}

#[test]
fn nobody_edits_more_than_there_is_room_for() {
    let config = |_: &std::path::Path| "[limits]\nedits_max = 20\n".to_owned();
    let twins = Twins::with_config(binaries(), Drives::Plain, config);
    twins.client().put("notes", "A. ".repeat(40).as_bytes()).expect(0);
    let (mut one, mut other) = (Editor::new(twins.address()), Editor::new(twins.address()));
    for sentence in 0..16 {
        assert_eq!(one.edit("notes", sentence).0["ok"], true);
    }
    assert_eq!(one.edit("notes", 16).0["error"], "busy");
    for sentence in 20..24 {
        assert_eq!(other.edit("notes", sentence).0["ok"], true);
    }
    assert_eq!(other.edit("notes", 24).0["error"], "busy");
    drop(one);
    wait_until("there is room again", || other.edit("notes", 25).0["ok"] == true);
}
