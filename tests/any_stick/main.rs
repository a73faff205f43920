//! Any stick, anywhere, at any time: on loop-mounted ext4 drives with the real daemon and client.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests, which play the hand that plugs sticks in"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use twinstick_rig::{
    Binaries, Client, Content, Drives, End, Mounted, Needs, Pull, Side, Trials, Twins, loop_device, wait_until,
};

/// Room on each drive.
const DRIVE_BYTES: u64 = 64 << 20;
/// Exit code for what cannot be had now.
const UNAVAILABLE: i32 = 5;
/// Exit code of a daemon that does not start.
const REFUSED: i32 = 1;

mod refused;

fn main() -> ExitCode {
    Trials::default()
        .with("sticks_that_change_places_are_known_by_their_labels", Needs::LoopMounts, swapped)
        .with("sticks_with_each_others_device_numbers_are_known_by_their_labels", Needs::LoopMounts, renumbered)
        .with("a_stick_is_found_wherever_a_pattern_leads_also_later", Needs::LoopMounts, elsewhere)
        .with("sticks_that_come_after_the_daemon_are_taken_up_in_any_order", Needs::LoopMounts, late)
        .with("a_stick_that_stayed_away_over_restarts_is_replayed_to", Needs::LoopMounts, long_away)
        .with("foreign_sticks_in_its_place_are_refused_by_name_and_not_changed", Needs::LoopMounts, refused::foreign)
        .with("a_copy_of_a_stick_is_refused_beside_it_and_a_second_mount_is_none", Needs::LoopMounts, refused::copied)
        .with("an_older_copy_of_a_stick_in_its_place_is_refused_and_not_changed", Needs::LoopMounts, refused::older)
        .with("a_stick_mounted_read_only_is_refused_until_it_is_writable", Needs::LoopMounts, refused::read_only)
        .with("a_folder_of_the_boot_disk_in_its_place_is_never_written", Needs::LoopMounts, refused::boot_disk_folder)
        .with("a_second_daemon_is_refused_by_the_name_of_the_first", Needs::LoopMounts, two_daemons)
        .main()
}

fn twins() -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let places = |dir: &Path| format!("flaps_max = 1000\ntrash_days = 0\nplaces = [\"{}/media/*/*\"]\n", dir.display());
    Twins::with_config(binaries, Drives::Loop { bytes: DRIVE_BYTES }, places)
}

fn bytes(seed: u64) -> Vec<u8> {
    Content { seed, len: 150_000 }.bytes()
}

/// Both sticks out of their places, the daemon at work or not.
fn take_out_both(twins: &mut Twins) {
    for side in Side::BOTH {
        twins.stick_mut(side).pull(Pull::Unmount);
    }
}

fn image(twins: &Twins, side: Side) -> PathBuf {
    twins.stick(side).image().to_owned()
}

/// Waits until a drive is there and has everything.
#[track_caller]
fn wait_in_sync(client: &Client, side: Side) {
    wait_until("the drive is in sync", || client.state(side) == "in-sync");
}

/// Where the daemon says a drive is.
fn path(client: &Client, side: Side) -> PathBuf {
    client.drive(side)["path"].as_str().unwrap_or_default().into()
}

/// Waits until both drives are at these places and have everything, and compares them.
#[track_caller]
fn check_identical_at(twins: &Twins, a: &Path, b: &Path) {
    let client = twins.client();
    for (side, place) in [(Side::A, a), (Side::B, b)] {
        wait_until("the drive is at its place", || path(&client, side) == place);
    }
    client.run(&["status", "--wait"]).expect(0);
    let differences = twinstick_rig::differences(a, b);
    assert!(differences.is_empty(), "{differences:#?}{}", twins.explain(&differences));
}

fn swapped() {
    let mut twins = twins();
    let client = twins.client();
    let roots = Side::BOTH.map(|side| twins.root(side).to_owned());
    let [a, b] = &roots;
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();

    // While the daemon runs.
    take_out_both(&mut twins);
    let mounts = [Mounted::image(&image(&twins, Side::B), a, "rw"), Mounted::image(&image(&twins, Side::A), b, "rw")];
    wait_in_sync(&client, Side::A);
    client.put("second", &bytes(2)).expect(0);
    check_identical_at(&twins, b, a);
    // Across a restart, and back.
    twins.end(End::Drain);
    twins.serve();
    client.put("third", &bytes(3)).expect(0);
    check_identical_at(&twins, b, a);
    twins.end(End::Kill);
    mounts.into_iter().for_each(Mounted::unmount);
    for side in Side::BOTH {
        twins.stick_mut(side).bring_back();
    }
    twins.serve();
    check_identical_at(&twins, a, b);
    for (name, seed) in [("first", 1), ("second", 2), ("third", 3)] {
        assert_eq!(client.get(name).expect(0).stdout, bytes(seed), "{name}");
    }
}

fn renumbered() {
    let mut twins = twins();
    let client = twins.client();
    let roots = Side::BOTH.map(|side| twins.root(side).to_owned());
    let [a, b] = &roots;
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();
    let [number_a, number_b] = [loop_device(a), loop_device(b)];
    // As at a boot where b was plugged in first: the daemon knew other numbers. Then while it runs.
    twins.end(End::Kill);
    take_out_both(&mut twins);
    let mounts = [
        Mounted::image_through(number_a, &image(&twins, Side::B), b),
        Mounted::image_through(number_b, &image(&twins, Side::A), a),
    ];
    assert_eq!([loop_device(a), loop_device(b)], [number_b, number_a]);
    twins.serve();
    client.put("second", &bytes(2)).expect(0);
    check_identical_at(&twins, a, b);
    drop(mounts);
    wait_until("both are away", || client.status()["state"] == "unusable");
    client.put("third", &bytes(3)).expect(UNAVAILABLE);
    let _mounts = [
        Mounted::image_through(number_a, &image(&twins, Side::A), a),
        Mounted::image_through(number_b, &image(&twins, Side::B), b),
    ];
    wait_in_sync(&client, Side::A);
    client.put("third", &bytes(3)).expect(0);
    check_identical_at(&twins, a, b);
    assert_eq!(client.get("second").expect(0).stdout, bytes(2));
}

fn elsewhere() {
    let mut twins = twins();
    let client = twins.client();
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();
    // Elsewhere, in a folder that is made only now.
    twins.pull(Side::B, Pull::Unmount);
    let later = twins.dir().join("media/user/STICK1");
    let mounted = Mounted::image(&image(&twins, Side::B), &later, "rw");
    client.put("second", &bytes(2)).expect(0);
    check_identical_at(&twins, twins.root(Side::A), &later);
    // Still there at a restart, then in yet another place, and at last where it was at first.
    twins.end(End::Drain);
    twins.serve();
    check_identical_at(&twins, twins.root(Side::A), &later);
    drop(mounted);
    let third = twins.dir().join("media/other user/with a blank");
    let mounted = Mounted::image(&image(&twins, Side::B), &third, "rw");
    client.run(&["rm", "first"]).expect(0);
    check_identical_at(&twins, twins.root(Side::A), &third);
    drop(mounted);
    twins.bring_back(Side::B);
    twins.check_identical();
}

fn late() {
    let mut twins = twins();
    let client = twins.client();
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();
    for (number, first) in [Side::B, Side::A, Side::B].into_iter().enumerate() {
        twins.end(if number == 0 { End::Drain } else { End::Kill });
        take_out_both(&mut twins);
        twins.serve();
        let name = format!("boot-{number}");
        for outcome in [client.put(&name, &bytes(7)), client.get("first")] {
            let stderr = outcome.expect(UNAVAILABLE).stderr;
            assert!(stderr.contains("no drive is there: plug in and mount drive a"), "{stderr}");
        }
        assert_eq!(client.status()["state"], "unusable");
        twins.bring_back(first);
        assert_eq!(client.get("first").expect(0).stdout, bytes(1));
        client.put(&name, &bytes(7)).expect(0);
        assert_eq!(client.status()["state"], "degraded");
        twins.bring_back(first.other());
        twins.check_identical();
    }
}

fn long_away() {
    let mut twins = twins();
    let client = twins.client();
    for name in ["kept", "changed", "removed", "moved"] {
        client.put(name, &bytes(1)).expect(0);
    }
    twins.check_identical();
    twins.pull(Side::B, Pull::Unmount);
    // The clock of a Pi jumps: times of the future, then of the past, then of before 1970's end.
    let times = [2_100_000_000, 1_000_000_000, 86_400, 1_500_000_000];
    for (restart, seconds) in times.into_iter().enumerate() {
        let local = twins.home().join("local");
        fs::write(&local, bytes(10 + restart as u64)).expect("a local file");
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options().write(true).open(&local).and_then(|file| file.set_modified(modified)).expect("a time");
        // The same size each time: only the bytes tell.
        client.run(&["put", "local", "changed"]).expect(0);
        client.run(&["put", "local", &format!("new/{restart}")]).expect(0);
        for number in 0..20 {
            client.put(&format!("many/{number}"), &bytes(restart as u64)).expect(0);
        }
        twins.end(if restart % 2 == 0 { End::Drain } else { End::Kill });
        twins.serve();
        wait_in_sync(&client, Side::A);
    }
    client.run(&["rm", "removed"]).expect(0);
    client.run(&["mv", "moved", "new/moved"]).expect(0);
    twins.bring_back(Side::B);
    twins.check_identical();
    assert_eq!(client.get("changed").expect(0).stdout, bytes(13));
    client.get("removed").expect(4);
    let replay = &client.drive(Side::B)["replay"];
    // changed, four in new, 20 in many: each once, whatever the times said.
    assert_eq!((&replay["copied_files"], &replay["moved"], &replay["removed"]), (&25.into(), &1.into(), &1.into()));
}

fn two_daemons() {
    let mut twins = twins();
    let client = twins.client();
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();
    let first = format!("process {}", twins.pid());

    // On one state directory.
    let refused = twins.serve_in_vain().expect(REFUSED);
    assert!(refused.stderr.contains(&format!("{first} is using")), "{}", refused.stderr);
    assert!(refused.stderr.contains("stop it first"), "{}", refused.stderr);

    // On a copy of it, made while the daemon was down.
    twins.end(End::Drain);
    let state = twins.dir().join("copied state");
    let copied = Command::new("cp").arg("-a").arg(twins.state()).arg(&state).status().expect("cp");
    assert!(copied.success());
    twins.serve();
    let first = format!("process {}", twins.pid());
    let (mut daemon, beside) = twins.serve_beside(&state);
    for outcome in [beside.put("second", &bytes(2)), beside.get("first")] {
        let stderr = outcome.expect(UNAVAILABLE).stderr;
        assert!(stderr.contains(&format!("{first} is using it")), "{stderr}");
    }
    assert!(beside.notices().contains(&format!("{first} is using it")), "{}", beside.notices());
    client.put("second", &bytes(3)).expect(0);
    twins.check_identical();
    assert_eq!(client.status()["state"], "healthy");
    let ended = daemon.end(End::Drain);
    assert!(ended.success(), "{ended}: {}", daemon.log());
    assert_eq!(client.get("second").expect(0).stdout, bytes(3));
    client.put("third", &bytes(3)).expect(0);
    twins.check_identical();
}
