//! A change whose answer is lost, or leaves open what became of it: nobody says that it was not made.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use twinstick_rig::{Binaries, Client, Drives, Outcome, Side, Twins, wait_until};

/// Exit code of what is unavailable, retries spent.
const UNAVAILABLE: i32 = 5;
/// Exit code of what is not there.
const NOT_FOUND: i32 = 4;
/// What changes something, as the header of a request has it.
const CHANGES: [&str; 7] = ["commit", "put", "rm", "mv", "mkdir", "append", "drop"];
/// What a daemon says whose journal failed in the middle: what is on record shows when it is open again.
const IN_DOUBT: &[u8] =
    b"{\"ok\":false,\"error\":\"journal-unavailable\",\"message\":\"the journal cannot be written\"}\n";

/// What becomes of the daemon's answers to changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// The daemon is gone with them.
    Lost,
    /// The first one is lost with its connection.
    FirstLost,
    InDoubt,
}

/// Stands before a daemon.
fn before(daemon: &str, answers: Answers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a socket").to_string();
    let daemon = daemon.to_owned();
    thread::spawn(move || {
        let mut is_first = true;
        loop {
            let (client, _) = listener.accept().expect("a client");
            let server = TcpStream::connect(&daemon).expect("a daemon");
            let answers = if answers == Answers::FirstLost && !is_first { None } else { Some(answers) };
            pass_on(client, server, answers);
            if answers == Some(Answers::Lost) {
                break;
            }
            is_first = false;
        }
    });
    address
}

/// Hands on what both say, until one has no more to say. Answers to changes go their own way, if they do.
fn pass_on(mut client: TcpStream, mut server: TcpStream, answers: Option<Answers>) {
    let asked = Arc::new(AtomicBool::new(false));
    let (mut from, mut to) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
    let is_asked = Arc::clone(&asked);
    thread::spawn(move || {
        let (mut bytes, mut seen) = ([0; 4096], String::new());
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            seen += &String::from_utf8_lossy(&bytes[..read]);
            if CHANGES.iter().any(|op| seen.contains(&format!("\"op\":\"{op}\""))) {
                is_asked.store(true, Ordering::SeqCst);
            }
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut bytes, mut held) = ([0; 4096], Vec::new());
    while let Ok(read @ 1..) = server.read(&mut bytes) {
        let mut said = bytes[..read].to_vec();
        if let Some(answers) = answers.filter(|_| asked.load(Ordering::SeqCst)) {
            held.append(&mut said);
            while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = held.drain(..=end).collect();
                // A hello's answer may come with it.
                if String::from_utf8_lossy(&line).contains("\"server\"") {
                    said.extend(line);
                } else if answers == Answers::InDoubt {
                    said.extend(IN_DOUBT);
                } else {
                    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
                    return;
                }
            }
        }
        if client.write_all(&said).is_err() {
            break;
        }
    }
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
}

#[track_caller]
fn is_open(outcome: &Outcome) {
    assert_eq!(outcome.code, UNAVAILABLE, "{}: {}", outcome.command, outcome.stderr);
    says_that_it_is_open(outcome);
}

#[track_caller]
fn says_that_it_is_open(outcome: &Outcome) {
    for words in ["whether it was done is not known", "look before you do it again"] {
        assert!(outcome.stderr.contains(words), "{}: {}", outcome.command, outcome.stderr);
    }
    assert!(!outcome.stderr.contains("nothing is stored"), "{}: {}", outcome.command, outcome.stderr);
}

fn twins() -> Twins {
    Twins::new(Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget")), Drives::Plain)
}

#[test]
fn a_lost_answer_is_not_taken_for_a_refusal() {
    all_are_open(Answers::Lost);
}

#[test]
fn nor_is_one_that_leaves_it_open() {
    all_are_open(Answers::InDoubt);
}

fn all_are_open(answers: Answers) {
    let twins = twins();
    let client = twins.client();
    for path in ["text", "gone", "from", "whole"] {
        client.put(path, b"One. Two.").expect(0);
    }
    let through = |words: &'static [&'static str], input: &'static [u8]| {
        let client = Client { address: before(twins.address(), answers), ..client.clone() };
        thread::spawn(move || client.run_on(words, input))
    };
    let written = through(&["write", "text", "0"], b"0 Truly\nend\n");
    let edited = {
        let client = Client { address: before(twins.address(), answers), ..client.clone() };
        let editor = twins.home().join("editor");
        std::fs::write(&editor, "printf ' Three.' >> \"$1\"").expect("room");
        thread::spawn(move || client.run_with(&[("EDITOR", &format!("sh '{}'", editor.display()))], &["edit", "whole"]))
    };
    let others = [
        through(&["put", "-", "new"], b"new"),
        through(&["rm", "gone"], b""),
        through(&["mv", "from", "to"], b""),
        through(&["mkdir", "folder"], b""),
        through(&["write", "-a", "longer"], b"added"),
    ];
    for (written, text) in [(written, "Truly One."), (edited, "One. Two. Three.")] {
        let written = written.join().expect("an end");
        is_open(&written);
        let kept = written.stderr.split("what you wrote is in ").nth(1).expect("where it is kept");
        let kept = kept.lines().next().expect("a line").trim();
        assert_eq!(std::fs::read_to_string(Path::new(kept)).expect("it is there"), text);
    }
    for other in others {
        is_open(&other.join().expect("an end"));
    }
    // All of it was done.
    for (path, text) in [
        ("text", "Truly One. Two."),
        ("whole", "One. Two. Three."),
        ("new", "new"),
        ("to", "One. Two."),
        ("longer", "added"),
    ] {
        assert_eq!(client.get(path).expect(0).stdout, text.as_bytes());
    }
    client.run(&["ls", "folder"]).expect(0);
    client.get("gone").expect(NOT_FOUND);
    twins.check_identical();
}

/// What is removed from beside the mirror has no id that would tell.
#[test]
fn who_asks_again_for_what_is_gone_is_told_that_it_may_have_been_done() {
    let twins = twins();
    let client = twins.client();
    client.put("f", b"whole").expect(0);
    twins.check_identical();
    let at = twins.root(Side::B).join("f");
    let modified = std::fs::metadata(&at).and_then(|meta| meta.modified()).expect("it is there");
    std::fs::write(&at, b"wHole").expect("room");
    let file = std::fs::File::options().write(true).open(&at).expect("it is there");
    file.set_modified(modified).expect("it is ours");
    client.run(&["scrub", "start"]).expect(0);
    let lying = || client.run(&["aside", "--json"]).expect(0).json()["items"].as_array().expect("a list").clone();
    wait_until("the damaged copy lies aside", || lying().len() == 1);
    let name = format!("b:{}", lying()[0]["item"].as_str().expect("its name"));
    let outcome = Client { address: before(twins.address(), Answers::FirstLost), ..client.clone() }
        .run(&["aside", "drop", &name])
        .expect(NOT_FOUND);
    assert!(outcome.stderr.contains(&format!("{name} among what lies aside")), "{}", outcome.stderr);
    says_that_it_is_open(&outcome);
    assert!(lying().is_empty(), "it was done");
    // Nobody had asked for this one before.
    let outcome = client.run(&["aside", "drop", &name]).expect(NOT_FOUND);
    assert!(!outcome.stderr.contains("is not known"), "{}", outcome.stderr);
}
