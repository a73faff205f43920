//! Promises under load, on loop-mounted ext4 drives with the real daemon and client.
//!
//! `TWINSTICK_FULL=1` runs the full figures; `TWINSTICK_BIN_DIR=target/release` tests the release binaries.

use std::process::ExitCode;

use twinstick_rig::{Binaries, Drives, Needs, Pull, Trials, Twins, is_full, scale, scenario};

/// Room on each drive; the images take no more than what is stored.
const DRIVE_BYTES: u64 = 6 << 30;

fn main() -> ExitCode {
    Trials::default()
        .with("many_clients_at_once_leave_two_identical_trees", Needs::LoopMounts, bulk)
        .with("no_command_fails_while_one_drive_is_pulled", Needs::LoopMounts, pulls)
        .with("a_killed_daemon_loses_nothing_acknowledged", Needs::LoopMounts, kills)
        .with("a_returned_drive_gets_its_first_file_at_once", Needs::LoopMounts, first_file)
        .main()
}

fn twins() -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    Twins::new(binaries, Drives::Loop { bytes: DRIVE_BYTES })
}

fn bulk() {
    scenario::many_clients_at_once_leave_two_identical_trees(&twins(), scale());
}

fn pulls() {
    let ways = [Pull::Unmount, Pull::Shutdown];
    scenario::no_command_fails_while_one_drive_is_pulled(&mut twins(), scale().pulls, scale().clients, &ways);
}

fn kills() {
    scenario::a_killed_daemon_loses_nothing_acknowledged(&mut twins(), scale().kills, scale().clients);
}

fn first_file() {
    let turns = if is_full() { 10 } else { 2 };
    let ways = [Pull::Unmount, Pull::Shutdown];
    scenario::a_returned_drive_gets_its_first_file_at_once(&mut twins(), turns, scale().clients, &ways);
}
