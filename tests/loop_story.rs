//! Single promises, on loop-mounted ext4 drives with the real daemon and client.

use std::process::ExitCode;

use twinstick_rig::{Binaries, Drives, Needs, Pull, Trials, Twins, scenario};

/// Room on each drive.
const DRIVE_BYTES: u64 = 512 << 20;
const WAYS: [Pull; 2] = [Pull::Unmount, Pull::Shutdown];

fn main() -> ExitCode {
    Trials::default()
        .with("a_replay_copies_what_changed_and_nothing_else", Needs::LoopMounts, replay)
        .with("a_path_that_only_an_absent_drive_holds_waits_for_it", Needs::LoopMounts, absent_holder)
        .with("a_bare_mount_point_stays_untouched", Needs::LoopMounts, bare_mount_point)
        .with("with_both_drives_out_a_client_is_told_and_a_return_heals", Needs::LoopMounts, both_out)
        .with("a_pull_and_a_return_are_noticed", Needs::LoopMounts, noticed)
        .with("bad_input_gets_a_named_error_and_loses_nothing", Needs::LoopMounts, bad_input)
        .main()
}

fn twins() -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    Twins::new(binaries, Drives::Loop { bytes: DRIVE_BYTES })
}

fn replay() {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let mut twins = Twins::without_trash(binaries, Drives::Loop { bytes: DRIVE_BYTES });
    for how in WAYS {
        scenario::a_replay_copies_what_changed_and_nothing_else(&mut twins, &format!("{how:?}"), how);
    }
}

fn absent_holder() {
    let (mut twins, mut again) = (twins(), twins());
    scenario::a_path_that_only_an_absent_drive_holds_waits_for_it(&mut twins, WAYS);
    drop(twins);
    scenario::a_path_that_only_an_absent_drive_holds_waits_for_it(&mut again, [Pull::Shutdown, Pull::Unmount]);
}

/// The mount points are looked at while the drives are away and clients and daemon are at work.
fn bare_mount_point() {
    scenario::no_command_fails_while_one_drive_is_pulled(&mut twins(), 2, 4, &[Pull::Unmount]);
}

fn both_out() {
    scenario::with_both_drives_out_a_client_is_told_and_a_return_heals(&mut twins(), WAYS);
}

fn noticed() {
    scenario::a_pull_and_a_return_are_noticed(&mut twins(), &WAYS);
}

fn bad_input() {
    scenario::bad_input_gets_a_named_error_and_loses_nothing(&twins(), include_str!("fixtures/hostile-paths.jsonl"));
}
