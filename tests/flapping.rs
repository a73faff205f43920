//! A drive that fails and comes back again and again, with the real daemon and client, and the default settings.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::process::ExitCode;

use twinstick_rig::{Binaries, Drives, Needs, Pull, Side, Trials, Twins, wait_until};

/// Room on each drive.
const DRIVE_BYTES: u64 = 128 << 20;
/// The default of `flaps_max`.
const FLAPS_MAX: usize = 3;

fn main() -> ExitCode {
    Trials::default()
        .with("a_drive_that_flaps_is_parked_and_can_be_unmounted_while_the_other_serves_on", Needs::LoopMounts, parked)
        .with("a_drive_that_is_unmounted_again_and_again_is_not_parked", Needs::LoopMounts, unmounted)
        .main()
}

fn twins() -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    Twins::with_config(binaries, Drives::Loop { bytes: DRIVE_BYTES }, |_| String::new())
}

fn parked() {
    let mut twins = twins();
    let client = twins.client();
    client.put("before", b"1").expect(0);
    twins.check_identical();
    for flap in 1..FLAPS_MAX {
        twins.pull(Side::B, Pull::Shutdown);
        client.put(&format!("flap-{flap}"), b"2").expect(0);
        twins.bring_back(Side::B);
        twins.check_identical();
    }
    twins.pull(Side::B, Pull::Shutdown);
    twins.stick_mut(Side::B).bring_back();
    wait_until("drive b is parked", || client.state(Side::B) == "parked");

    let drive = client.drive(Side::B);
    let reason = drive["reason"].as_str().expect("a reason");
    assert!(reason.contains("3 times within an hour") && reason.contains("left alone until"), "{reason}");
    let notices = client.notices();
    for words in ["drive b is parked", "cable", "power supply", "unpark b"] {
        assert!(notices.contains(words), "{words}: {notices}");
    }
    assert_eq!(client.status()["state"], "degraded");

    // The other serves on, and nobody waits for the parked one.
    let bytes = vec![7; 3_000_000];
    client.put("while parked", &bytes).expect(0);
    assert_eq!(client.get("while parked").expect(0).stdout, bytes);
    client.run(&["rm", "before"]).expect(0);
    client.run(&["status", "--wait"]).expect(0);
    assert!(!twins.root(Side::B).join("while parked").exists(), "a parked drive is not written to");

    // Nothing is open on it; where it is mounted again it stays parked.
    twins.stick_mut(Side::B).unmount_in_good_order();
    twins.stick_mut(Side::B).bring_back();
    client.run(&["status", "--wait"]).expect(0);
    assert_eq!(client.state(Side::B), "parked");
    let states: Vec<_> = twins
        .log()
        .lines()
        .filter(|line| line.contains("drive state") && line.contains("drive=b"))
        .map(str::to_owned)
        .collect();
    // In at the start, and each time out, in and in sync; at last parked instead.
    let expected = 3 + (FLAPS_MAX - 1) * 4 + 2;
    assert_eq!(states.len(), expected, "a line a change: {states:#?}");

    // Somebody has seen to it.
    twins.command(&["unpark", "b"]).expect(0);
    twins.check_identical();
    let twice = twins.command(&["unpark", "b"]).expect(1);
    assert!(twice.stderr.contains("is not parked"), "{}", twice.stderr);
    assert_eq!(twins.client().get("before").expect(4).stdout, b"");
}

fn unmounted() {
    let mut twins = twins();
    for round in 0..=FLAPS_MAX {
        twins.pull(Side::B, Pull::Unmount);
        twins.client().put(&format!("round-{round}"), b"2").expect(0);
        twins.bring_back(Side::B);
        twins.check_identical();
    }
}
