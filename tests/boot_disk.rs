//! A boot disk that is full, with the real daemon and client.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::process::ExitCode;

use twinstick_rig::{Binaries, Client, Content, Drives, Needs, Trials, Twins, wait_until};

/// Room on each drive.
const DRIVE_BYTES: u64 = 128 << 20;
/// Room on the boot disk.
const BOOT_BYTES: u64 = 64 << 20;
/// Exit code for what cannot be had now.
const UNAVAILABLE: i32 = 5;
/// Files that are there before the boot disk is full: several of the journal's pages.
const FILES: u64 = 100;
/// Requests made while it is full.
const TRIES: u64 = 20;

fn main() -> ExitCode {
    Trials::default().with("with_the_boot_disk_full_reads_go_on_and_room_heals", Needs::LoopMounts, full).main()
}

fn full() {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let twins = Twins::with_boot_disk(binaries, Drives::Loop { bytes: DRIVE_BYTES }, BOOT_BYTES);
    let client = twins.client();
    let mut acknowledged = BTreeMap::new();
    for seed in 0..FILES {
        assert_eq!(put(&client, seed, &mut acknowledged), 0);
    }
    twins.check_identical();

    twins.boot_disk().fill();
    let mut seed = FILES;
    // A last block of the journal's may take some more.
    wait_until("a put is refused", || {
        seed += 1;
        put(&client, seed, &mut acknowledged) == UNAVAILABLE
    });
    for seed in 1000..1000 + TRIES {
        let name = format!("{seed}");
        let refused = client.put(&name, &bytes(seed)).expect(UNAVAILABLE);
        assert!(refused.stderr.contains("journal"), "it says why: {}", refused.stderr);
        check(&client, &acknowledged);
    }
    let status = client.status();
    assert_eq!(status.pointer("/journal/writable").and_then(serde_json::Value::as_bool), Some(false), "{status}");
    let notices = status["notices"].as_array().unwrap();
    let of =
        |what: &str| notices.iter().find(|notice| notice["what"].as_str().is_some_and(|text| text.starts_with(what)));
    let closed = of("the journal cannot be written").unwrap_or_else(|| panic!("no word of the journal: {status}"));
    assert!(closed["since"].is_string() && closed["action"].to_string().contains("make room"), "{closed}");
    assert!(of("the boot disk has ").is_some(), "no word of the boot disk: {status}");

    twins.boot_disk().make_room();
    wait_until("a put works again", || {
        seed += 1;
        put(&client, seed, &mut acknowledged) == 0
    });
    assert_eq!(put(&client, seed + 1, &mut acknowledged), 0);
    let status = client.status();
    let told = status["events"].to_string();
    assert!(told.contains("the journal cannot be written") && told.contains("the journal is open again"), "{told}");
    assert!(!status["notices"].to_string().contains("cannot be written"), "{status}");
    check(&client, &acknowledged);
    twins.check_identical();
}

/// Puts a file and tells the exit code; one that was acknowledged is kept in mind.
fn put(client: &Client, seed: u64, acknowledged: &mut BTreeMap<String, u64>) -> i32 {
    let name = format!("{seed}");
    let outcome = client.put(&name, &bytes(seed));
    match outcome.code {
        0 => drop(acknowledged.insert(name, seed)),
        UNAVAILABLE => {}
        _ => drop(outcome.clone().expect(UNAVAILABLE)),
    }
    outcome.code
}

fn bytes(seed: u64) -> Vec<u8> {
    Content { seed, len: 5000 }.bytes()
}

/// All that was acknowledged is listed, and some of it read.
#[track_caller]
fn check(client: &Client, acknowledged: &BTreeMap<String, u64>) {
    let listing = String::from_utf8_lossy(&client.run(&["ls"]).expect(0).stdout).into_owned();
    for name in acknowledged.keys() {
        assert!(listing.split_whitespace().any(|word| word == name), "{name} is not in {listing}");
    }
    for (name, seed) in acknowledged.iter().step_by(10) {
        assert!(client.get(name).expect(0).stdout == bytes(*seed), "{name} has other bytes");
    }
}
