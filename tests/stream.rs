//! Small uploads that come one after another go before the names of those before them, and not for ever.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use twinstick::digest::Crc32;
use twinstick_rig::{Binaries, Drives, End, Raw, Side, Stop, Twins, wait_until};

fn twins() -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    Twins::new(binaries, Drives::Plain)
}

/// Puts `prefix0`, `prefix1` and so on over one connection until told to stop, counting what is acknowledged.
fn stream(address: &str, prefix: &str, stop: &AtomicBool, done: &AtomicUsize) {
    let mut raw = Raw::greeted(address);
    while !stop.load(Ordering::Acquire) {
        let number = done.load(Ordering::Acquire);
        let body = number.to_string();
        let header = json!({"op": "put", "path": format!("{prefix}{number}"), "len": body.len()});
        let crc = json!({"crc32": Crc32::of(body.as_bytes()).to_string()});
        raw.send(format!("{header}\n{body}{crc}\n").as_bytes());
        // The daemon may be killed in its midst.
        let Some(answer) = raw.answer() else { return };
        assert!(answer.get("error").is_none(), "{answer}");
        done.store(number + 1, Ordering::Release);
    }
}

#[test]
fn names_come_while_the_stream_goes_on() {
    let twins = twins();
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = twins.address().to_owned();
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| stream(&address, "s", &stop, &done));
        wait_until("a first upload", || done.load(Ordering::Acquire) > 0);
        for side in Side::BOTH {
            wait_until("its name", || fs::read(twins.root(side).join("s0")).is_ok_and(|bytes| bytes == b"0"));
        }
    });
}

#[test]
fn who_waits_for_the_drives_does_not_wait_for_the_end_of_the_stream() {
    let twins = twins();
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = twins.address().to_owned();
    let client = twins.client();
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| stream(&address, "s", &stop, &done));
        for _ in 0..3 {
            let before = done.load(Ordering::Acquire);
            wait_until("uploads", || done.load(Ordering::Acquire) > before + 10);
            let acknowledged = done.load(Ordering::Acquire);
            client.run(&["status", "--wait"]).expect(0);
            for side in Side::BOTH {
                for number in 0..acknowledged {
                    let path = twins.root(side).join(format!("s{number}"));
                    assert_eq!(fs::read(&path).unwrap(), number.to_string().as_bytes(), "{}", path.display());
                }
            }
        }
    });
}

#[test]
fn a_stream_that_is_killed_off_in_its_midst_is_whole_after_the_start() {
    let mut twins = twins();
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = twins.address().to_owned();
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| stream(&address, "s", &stop, &done));
        wait_until("uploads", || done.load(Ordering::Acquire) > 200);
        twins.end(End::Kill);
        twins.serve();
    });
    let client = twins.client();
    client.run(&["status", "--wait"]).expect(0);
    for number in 0..done.load(Ordering::Acquire) {
        for side in Side::BOTH {
            assert_eq!(fs::read(twins.root(side).join(format!("s{number}"))).unwrap(), number.to_string().as_bytes());
        }
    }
}
