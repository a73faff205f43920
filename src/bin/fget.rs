//! The client's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    twinstick::client::cli::run(std::env::args_os())
}
