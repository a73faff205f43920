//! The daemon's commands: each ends in one exit code.
//!
//! `cli` says what they take, `init` enrols two drives, `replace` one in place of another, `check` compares a
//! mirror whose daemon does not run, `accounts` keeps who may use it, `certificate` the key that it is known by, `demo` plays the whole story on made-up drives. `control` is how a running daemon
//! is told.

pub mod accounts;
pub mod adopt;
mod begun;
pub mod certificate;
pub mod check;
pub mod cli;
pub mod control;
pub mod demo;
mod drives;
pub mod enrol;
mod fsck;
pub mod host;
pub mod init;
mod log_lines;
mod logging;
mod reload;
pub mod replace;
mod schedule;
pub mod serve;
mod signals;
pub mod state_lock;
pub mod vigil;
mod watchdog;
