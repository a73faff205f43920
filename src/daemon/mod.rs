//! The daemon's commands: each ends in one exit code.
//!
//! `cli` says what they take, `init` enrols two drives, `replace` one in place of another, `demo` plays the whole
//! story on made-up ones. `control` is how a running daemon is told.

pub mod cli;
pub mod control;
pub mod demo;
pub mod enrol;
pub mod init;
pub mod replace;
pub mod serve;
pub mod state_lock;
