//! A change whose answer is lost for good: nobody says that it was not made.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use twinstick_rig::{Binaries, Client, Drives, Outcome, Twins};

/// Exit code of what is unavailable, retries spent.
const UNAVAILABLE: i32 = 5;
/// What changes something, as the header of a request has it.
const CHANGES: [&str; 5] = ["commit", "put", "rm", "mv", "append"];

/// Stands before a daemon. When that has answered a change, it is gone with the answer.
fn lossy(daemon: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a socket").to_string();
    let daemon = daemon.to_owned();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut server = TcpStream::connect(daemon).expect("a daemon");
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
        });
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = server.read(&mut bytes) {
            // A hello's answer may have come with it.
            let text = String::from_utf8_lossy(&bytes[..read]);
            if asked.load(Ordering::SeqCst) && text.contains("\"lsn\"") {
                break;
            }
            if client.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        drop(listener);
        let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    });
    address
}

#[track_caller]
fn is_open(outcome: &Outcome) {
    assert_eq!(outcome.code, UNAVAILABLE, "{}", outcome.stderr);
    for words in ["whether it was done is not known", "look before you do it again"] {
        assert!(outcome.stderr.contains(words), "{}: {}", outcome.command, outcome.stderr);
    }
    assert!(!outcome.stderr.contains("nothing is stored"), "{}", outcome.stderr);
}

#[test]
fn a_lost_answer_is_not_taken_for_a_refusal() {
    let twins = Twins::new(Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget")), Drives::Plain);
    let client = twins.client();
    for path in ["text", "gone", "from"] {
        client.put(path, b"One. Two.").expect(0);
    }
    let through = |words: &'static [&'static str], input: &'static [u8]| {
        let client = Client { address: lossy(twins.address()), ..client.clone() };
        thread::spawn(move || client.run_on(words, input))
    };
    let written = through(&["write", "text", "0"], b"0 Truly\nend\n");
    let others = [
        through(&["put", "-", "new"], b"new"),
        through(&["rm", "gone"], b""),
        through(&["mv", "from", "to"], b""),
        through(&["write", "-a", "longer"], b"added"),
    ];
    let written = written.join().expect("an end");
    is_open(&written);
    let kept = written.stderr.split("what you wrote is in ").nth(1).expect("where it is kept");
    let kept = kept.lines().next().expect("a line").trim();
    assert_eq!(std::fs::read_to_string(Path::new(kept)).expect("it is there"), "Truly One.");
    for other in others {
        is_open(&other.join().expect("an end"));
    }
    // All of it was done.
    assert_eq!(client.get("text").expect(0).stdout, b"Truly One. Two.");
    assert_eq!(client.get("new").expect(0).stdout, b"new");
    assert_eq!(client.get("to").expect(0).stdout, b"One. Two.");
    assert_eq!(client.get("longer").expect(0).stdout, b"added");
    assert_eq!(client.get("gone").code, 4);
    twins.check_identical();
}
