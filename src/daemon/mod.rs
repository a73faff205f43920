//! The daemon's commands: each ends in one exit code.
//!
//! `cli` says what they take, `init` enrols two drives, `demo` plays the whole story on made-up ones.

pub mod cli;
pub mod demo;
pub mod enrol;
pub mod init;
pub mod serve;
