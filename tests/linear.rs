//! Linearizability under faults, with the real daemon: every file is a register.
//!
//! `TWINSTICK_LINEAR_OPERATIONS` sets how many operations, `TWINSTICK_LINEAR_SEED` which histories.

use std::process::ExitCode;

use twinstick_rig::scenario::{Plan, every_answer_is_explained_by_one_order};
use twinstick_rig::{Binaries, Drives, Needs, Pull, Trials, Twins, is_full};

const DRIVE_BYTES: u64 = 1 << 30;
const CLIENTS: usize = 8;

fn main() -> ExitCode {
    Trials::default()
        .with("every_answer_is_explained_by_one_order_on_plain_directories", Needs::Nothing, plain)
        .with("every_answer_is_explained_by_one_order_on_file_systems", Needs::LoopMounts, file_systems)
        .with("every_answer_is_explained_by_one_order_on_drives_that_hang_whole", Needs::LoopMounts, hung_whole)
        .main()
}

fn twins(drives: Drives) -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    // More flaps than in all of the operations.
    Twins::with_config(binaries, drives, |_| "flaps_max = 1000000\nstall_after = \"1s\"\n".to_owned())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

fn plan() -> Plan {
    let operations = if is_full() { 340_000 } else { 4_000 };
    Plan {
        operations: number("TWINSTICK_LINEAR_OPERATIONS").map_or(operations, |operations| operations as usize),
        clients: CLIENTS,
        seed: number("TWINSTICK_LINEAR_SEED").unwrap_or(8946),
    }
}

fn plain() {
    every_answer_is_explained_by_one_order(&mut twins(Drives::Plain), plan(), &[Pull::Rename]);
}

/// Here reads and looks wait too, and there are no block statistics.
fn hung_whole() {
    every_answer_is_explained_by_one_order(&mut twins(Drives::Faulty), plan(), &[Pull::Unmount]);
}

fn file_systems() {
    let mut twins = twins(Drives::Loop { bytes: DRIVE_BYTES });
    every_answer_is_explained_by_one_order(&mut twins, plan(), &[Pull::Unmount, Pull::Shutdown]);
}
