//! A stick is taken out in good order while clients go on.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

use std::fs::File;
use std::process::ExitCode;

use twinstick_rig::{Binaries, Drives, Needs, Pull, Raw, Side, Trials, Twins};

const DRIVE_BYTES: u64 = 128 << 20;
const LARGE: usize = 24 << 20;
/// Exit code of what needs `--force`.
const PRECONDITION: i32 = 9;
/// Exit code for what cannot be had now.
const UNAVAILABLE: i32 = 5;

fn main() -> ExitCode {
    Trials::default()
        .with("an_ejected_stick_is_complete_unmounted_and_taken_up_when_it_is_back", Needs::LoopMounts, ejected)
        .with("an_ejected_stick_that_somebody_else_keeps_busy_is_left_alone_where_it_is", Needs::LoopMounts, busy)
        .with("a_stick_that_alone_has_something_is_ejected_by_force_only", Needs::LoopMounts, alone)
        .with("an_ejected_folder_is_left_alone_until_it_is_unparked", Needs::Nothing, folder)
        .main()
}

fn twins(drives: Drives) -> Twins {
    Twins::new(Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget")), drives)
}

fn ejected() {
    let mut twins = twins(Drives::Loop { bytes: DRIVE_BYTES });
    let client = twins.client();
    let bytes = vec![7; LARGE];
    // Two that read in the middle of a file, from one drive each: which one goes by the version.
    for name in ["odd", "even"] {
        client.put(name, &bytes).expect(0);
    }
    let mut readers = ["odd", "even"].map(|name| {
        let mut reader = Raw::greeted(twins.address());
        reader.send(format!("{{\"op\":\"get\",\"path\":\"{name}\"}}\n").as_bytes());
        let head = reader.answer().expect("the head");
        assert_eq!(head["len"], LARGE, "{head}");
        reader
    });
    client.put("late", b"1").expect(0);
    let told = client.run(&["eject", "b"]).expect(0);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(text.contains("drive b may be pulled"), "{text}");
    twins.stick_mut(Side::B).was_unmounted();
    for reader in &mut readers {
        assert_eq!(reader.bytes(LARGE), bytes);
        assert_eq!(reader.answer().expect("a trailer")["ok"], true);
    }
    assert_eq!(client.state(Side::B), "parked");
    assert!(client.notices().contains("may be pulled"), "{}", client.notices());
    client.put("meanwhile", b"2").expect(0);
    client.run(&["status", "--wait"]).expect(0);
    twins.bring_back(Side::B);
    twins.check_identical();
}

fn busy() {
    let mut twins = twins(Drives::Loop { bytes: DRIVE_BYTES });
    let client = twins.client();
    client.put("f", b"1").expect(0);
    twins.check_identical();
    let somebody = File::open(twins.root(Side::B).join("f")).expect("a file");
    let told = client.run(&["eject", "b"]).expect(0);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(text.contains("sudo umount") && text.contains("open"), "{text}");
    // It is still there, and is not taken up: others may unmount it.
    client.put("g", b"2").expect(0);
    client.run(&["status", "--wait"]).expect(0);
    assert_eq!(client.state(Side::B), "parked");
    let notices = client.notices();
    assert!(notices.contains("sudo umount"), "{notices}");
    drop(somebody);
    twins.stick_mut(Side::B).unmount_in_good_order();
    let notices = client.notices();
    assert!(notices.contains("may be pulled") && !notices.contains("umount '"), "{notices}");
    let again = client.run(&["eject", "b"]).expect(UNAVAILABLE);
    assert!(again.stderr.contains("it may be pulled"), "{}", again.stderr);
    twins.bring_back(Side::B);
    twins.check_identical();
}

fn alone() {
    let mut twins = twins(Drives::Loop { bytes: DRIVE_BYTES });
    let client = twins.client();
    twins.pull(Side::A, Pull::Unmount);
    client.put("only/b", b"1").expect(0);
    let refused = client.run(&["eject", "b"]).expect(PRECONDITION);
    assert!(refused.stderr.contains("only/b") && refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(client.get("only/b").expect(0).stdout, b"1");
    let told = client.run(&["eject", "b", "--force"]).expect(0);
    assert!(String::from_utf8_lossy(&told.stdout).contains("it was the last drive"), "{told:?}");
    twins.stick_mut(Side::B).was_unmounted();
    client.run(&["mkdir", "none"]).expect(UNAVAILABLE);
    twins.bring_back(Side::A);
    client.get("only/b").expect(UNAVAILABLE);
    twins.bring_back(Side::B);
    twins.check_identical();
    assert_eq!(client.get("only/b").expect(0).stdout, b"1");
}

fn folder() {
    let twins = twins(Drives::Plain);
    let client = twins.client();
    client.put("f", b"1").expect(0);
    let told = client.run(&["eject", "b"]).expect(0);
    assert!(String::from_utf8_lossy(&told.stdout).contains("is no mount of its own"), "{told:?}");
    let events = client.status()["events"].clone();
    let last = events.as_array().and_then(|events| events.last()).expect("an event");
    assert_eq!(last["what"], "it was ejected, and nothing is open on it", "{events}");
    client.put("g", b"2").expect(0);
    client.run(&["status", "--wait"]).expect(0);
    assert_eq!(client.state(Side::B), "parked");
    twins.command(&["unpark", "b"]).expect(0);
    twins.check_identical();
}
