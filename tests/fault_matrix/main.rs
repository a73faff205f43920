//! Every call that a drive receives fails once: in the middle of each kind of work, with each error.
//!
//! A *site* is the so-manieth call of one kind (look-up, write, sync, …) on one class of path (label, log, stage,
//! user's file, …) since the work began. A run in which nothing goes wrong counts them; then each of them fails once
//! with each error, or hangs, in a run of its own, over a real daemon. After each the rules must hold: no client sees an error
//! that design and contract do not allow, none waits without an answer, all that was acknowledged is on both drives
//! with the right bytes, what was refused is not there, nothing is left over or set aside, and nothing was written
//! beside the drives.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod bench;
mod case;
mod matrix;
mod scenario;
mod story;
mod wire;

use std::process::ExitCode;

use twinstick_rig::{Needs, Trials};

fn main() -> ExitCode {
    Trials::default().with("every_call_to_a_drive_may_fail_and_no_rule_breaks", Needs::LoopMounts, matrix::all).main()
}
