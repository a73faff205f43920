//! A new stick in place of a dead one: `twinstickd replace`, with and without a running daemon.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test makes files, and stops at the first surprise"
)]

use std::fs;
use std::process::ExitCode;

use twinstick_rig::{Binaries, Drives, End, Needs, Pull, Scale, Side, Trials, Twins, scale, scenario, wait_until};

/// Room on each drive; the images take no more than what is stored.
const DRIVE_BYTES: u64 = 6 << 30;
const LOOP: Drives = Drives::Loop { bytes: DRIVE_BYTES };

fn main() -> ExitCode {
    Trials::default()
        .with("a_blank_stick_is_filled_under_load_though_it_is_cut_short", Needs::LoopMounts, filled)
        .with("a_plain_folder_is_filled_though_it_is_cut_short", Needs::Nothing, filled_plain)
        .with("a_drive_is_replaced_while_no_daemon_runs", Needs::Nothing, offline)
        .with("a_replaced_drive_that_comes_back_is_refused", Needs::Nothing, old_one_returns)
        .with("a_stick_that_cannot_take_a_place_is_refused_and_left_alone", Needs::Nothing, refusals)
        .with("versions_that_the_old_drive_alone_has_are_given_up_only_when_told", Needs::Nothing, sole_holder)
        .with("debts_that_outgrow_the_journal_end_as_a_backfill", Needs::Nothing, outgrown)
        .with("a_stick_smaller_than_the_files_is_refused", Needs::LoopMounts, too_small)
        .with("a_mirror_whose_drive_was_replaced_is_clean_to_check", Needs::Nothing, checked_after)
        .with("a_journal_older_than_a_stick_has_no_drive_replaced", Needs::Nothing, outdated)
        .beside(1)
        .main()
}

fn twins(drives: Drives) -> Twins {
    Twins::without_trash(Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget")), drives)
}

fn filled() {
    let ways = [Pull::Shutdown, Pull::Unmount];
    scenario::a_blank_stick_is_filled_under_load_though_it_is_cut_short(&mut twins(LOOP), LOOP, scale(), ways);
}

fn filled_plain() {
    let scale = Scale { fill_files: 8000, fill_largest_bytes: 160 << 20, ..scale() };
    let ways = [Pull::Rename; 2];
    let mut twins = twins(Drives::Plain);
    scenario::a_blank_stick_is_filled_under_load_though_it_is_cut_short(&mut twins, Drives::Plain, scale, ways);
}

fn offline() {
    let mut twins = twins(Drives::Plain);
    twins.client().put("d/f", b"some bytes").expect(0);
    twins.client().run(&["status", "--wait"]).expect(0);
    twins.end(End::Drain);
    twins.exchange(Side::B, "b-new", Drives::Plain);
    let outcome = twins.replace(Side::B, twins.root(Side::B), &[]).expect(0);
    assert!(outcome.stderr.contains("2 paths, 10 bytes to copy"), "{}", outcome.stderr);
    twins.serve();
    twins.check_identical();
    assert_eq!(fs::read(twins.root(Side::B).join("d/f")).expect("it was copied"), b"some bytes");
}

fn old_one_returns() {
    let mut twins = twins(Drives::Plain);
    let old = twins.root(Side::B).to_owned();
    twins.client().put("f", b"old").expect(0);
    twins.client().run(&["status", "--wait"]).expect(0);
    twins.pull(Side::B, Pull::Rename);
    let pulled = twins.dir().join("b.pulled");
    twins.exchange(Side::B, "b-new", Drives::Plain);
    twins.replace(Side::B, twins.root(Side::B), &[]).expect(0);
    twins.client().put("f", b"new").expect(0);
    twins.check_identical();
    // In the new one's place, so that it is looked at.
    let place = twins.root(Side::B).to_owned();
    let away = twins.dir().join("b-new.away");
    fs::rename(&place, &away).expect("a free name");
    wait_until("the new drive has left", || twins.client().state(Side::B) == "absent");
    fs::rename(&pulled, &place).expect("a free name");
    wait_until("the old drive is refused by name", || {
        let status = String::from_utf8(twins.client().run(&["status"]).stdout).expect("UTF-8");
        status.contains("not enrolled")
    });
    assert_eq!(fs::read(place.join("f")).expect("untouched"), b"old");
    fs::rename(&place, &old).expect("a free name");
    fs::rename(&away, &place).expect("a free name");
    twins.check_identical();
}

fn refusals() {
    let mut twins = twins(Drives::Plain);
    twins.client().put("f", b"bytes").expect(0);
    twins.client().run(&["status", "--wait"]).expect(0);
    let blank = twins.dir().join("blank");
    fs::create_dir(&blank).expect("a new folder");
    refused(&twins, &blank, "drive b is there and in use");

    twins.pull(Side::B, Pull::Rename);
    let (a, pulled) = (twins.root(Side::A).to_owned(), twins.dir().join("b.pulled"));
    refused(&twins, &a, "is the other drive");
    refused(&twins, &pulled, "is drive b itself");
    refused(&twins, &twins.dir().join("none"), "No such file");
    let full = twins.dir().join("full");
    fs::create_dir(&full).expect("a new folder");
    fs::write(full.join("letter"), b"mine").expect("a new file");
    refused(&twins, &full, "is not blank (1 in its root, such as \"letter\")");
    assert_eq!(fs::read_dir(&full).expect("a folder").count(), 1, "nothing was put there");
    let other = other_mirrors_drive(&twins);
    refused(&twins, &other, "belongs to a mirror already");
    assert_eq!(fs::read_dir(&blank).expect("a folder").count(), 0, "nothing was put there");

    twins.replace(Side::B, &blank, &[]).expect(0);
    wait_until("the new drive is there", || twins.client().state(Side::B) != "absent");
    refused(&twins, &twins.dir().join("other"), "drive b is there and in use");
}

/// A drive that another mirror's `init` has enrolled.
fn other_mirrors_drive(twins: &Twins) -> std::path::PathBuf {
    let folder = |name: &str| {
        let path = twins.dir().join(name);
        fs::create_dir(&path).expect("a new folder");
        path
    };
    let (a, b) = (folder("other-a"), folder("other-b"));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_twinstickd"))
        .args(["init", "--plain-directory", "--config"])
        .arg(twins.config())
        .arg("--state")
        .arg(twins.dir().join("other-state"))
        .arg(format!("--drive=a={}", a.display()))
        .arg(format!("--drive=b={}", b.display()))
        .output()
        .expect("twinstickd");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    b
}

#[track_caller]
fn refused(twins: &Twins, path: &std::path::Path, why: &str) {
    let outcome = twins.replace(Side::B, path, &[]).expect(1);
    assert!(outcome.stderr.contains(why), "{why:?} expected: {}", outcome.stderr);
}

fn sole_holder() {
    let mut twins = twins(Drives::Plain);
    twins.client().put("d/both", b"on both").expect(0);
    twins.client().run(&["status", "--wait"]).expect(0);
    twins.pull(Side::A, Pull::Rename);
    twins.client().put("d/sole", b"only on b").expect(0);
    twins.client().put("d/both", b"newer on b").expect(0);
    twins.pull(Side::B, Pull::Rename);
    twins.bring_back(Side::A);
    twins.exchange(Side::B, "b-new", Drives::Plain);
    let path = twins.root(Side::B).to_owned();
    refused(&twins, &path, "the old drive b alone has the current version of 2 file(s), such as d/");
    assert_eq!(fs::read_dir(&path).expect("a folder").count(), 0, "nothing was put there");

    twins.replace(Side::B, &path, &["--accept-loss"]).expect(0);
    wait_until("the new drive is there", || twins.client().state(Side::B) != "absent");
    let outcome = twins.client().get("d/both").expect(5);
    assert!(outcome.stdout.is_empty(), "never the older version");
    wait_until("it says what is lost", || twins.client().notices().contains("no drive has a copy of d/sole"));
    // What the notice says helps.
    twins.client().put("d/both", b"again").expect(0);
    twins.client().run(&["rm", "d/sole"]).expect(0);
    twins.check_identical();
    assert_eq!(twins.client().get("d/both").expect(0).stdout, b"again");
}

fn outgrown() {
    let mut twins = twins(Drives::Plain);
    twins.end(End::Drain);
    fs::write(twins.config(), "journal_entries_max = 100\ntrash_days = 0\n").expect("our own file");
    twins.serve();
    let client = twins.client();
    for number in 0..40 {
        client.put(&format!("kept/{number}"), b"as it was").expect(0);
    }
    client.run(&["status", "--wait"]).expect(0);
    twins.pull(Side::B, Pull::Rename);
    for number in 0..150 {
        client.put(&format!("new/{}", number % 120), format!("version {number}").as_bytes()).expect(0);
    }
    for number in 0..10 {
        client.run(&["rm", &format!("kept/{number}")]).expect(0);
        client.run(&["mv", &format!("kept/{}", number + 10), &format!("moved-{number}")]).expect(0);
    }
    // But for those that b did just before it left.
    wait_until("no entry waits for b", || client.status()["journal"]["entries"].as_u64().expect("a number") <= 60);
    assert!(twins.log().contains("the journal's limit is reached"), "{}", twins.log());
    // The decision outlives the daemon.
    twins.end(End::Kill);
    twins.serve();
    twins.bring_back(Side::B);
    twins.check_identical();
    let replay = &twins.client().drive(Side::B)["replay"];
    assert_eq!((&replay["copied_files"], &replay["moved"], &replay["removed"]), (&120.into(), &10.into(), &10.into()));
    assert!(twins.log().contains("backfilling"), "{}", twins.log());
}

fn too_small() {
    let mut twins = twins(LOOP);
    let bytes = vec![7; 64 << 20];
    twins.client().put("large", &bytes).expect(0);
    twins.client().run(&["status", "--wait"]).expect(0);
    twins.pull(Side::B, Pull::Unmount);
    twins.exchange(Side::B, "small", Drives::Loop { bytes: 48 << 20 });
    refused(&twins, twins.root(Side::B), "take a larger stick");
}

fn checked_after() {
    let mut twins = twins(Drives::Plain);
    twins.client().put("f", b"some bytes").expect(0);
    twins.client().run(&["status", "--wait"]).expect(0);
    twins.end(End::Drain);
    twins.exchange(Side::B, "b-new", Drives::Plain);
    twins.replace(Side::B, twins.root(Side::B), &[]).expect(0);
    twins.command(&["check"]).expect(0);
}

fn outdated() {
    let mut twins = twins(Drives::Plain);
    twins.client().put("f", b"older").expect(0);
    twins.client().run(&["status", "--wait"]).expect(0);
    twins.end(End::Drain);
    let (state, kept) = (twins.state(), twins.dir().join("state-kept"));
    fs::rename(&state, &kept).expect("our own folder");
    copy_tree(&kept, &state);
    twins.serve();
    twins.pull(Side::A, Pull::Rename);
    twins.client().put("f", b"newer, on b alone").expect(0);
    twins.end(End::Drain);
    // Somebody puts an old boot disk back.
    fs::remove_dir_all(&state).expect("our own folder");
    fs::rename(&kept, &state).expect("our own folder");
    twins.serve();
    twins.bring_back(Side::A);
    wait_until("b shows that the journal is old", || twins.client().state(Side::B) == "faulted");
    let path = twins.dir().join("b-new");
    fs::create_dir(&path).expect("our own folder");
    twins.replace(Side::B, &path, &[]).expect(1);
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(copied.success());
}
