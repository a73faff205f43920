//! The real `twinstickd`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use rustix::process::Signal;

use crate::process::Process;
use crate::wait::wait_until;

/// So much of the log is shown where a test fails.
const LAST_LINES: usize = 80;

/// A way for the daemon to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGTERM.
    Drain,
    /// SIGKILL.
    Kill,
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
    pub address: String,
}

/// A daemon's command that takes nothing from this machine's settings.
pub(crate) fn command(twinstickd: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(twinstickd);
    command.args(words).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TWINSTICKD_") {
            command.env_remove(name);
        }
    }
    command
}

/// The command that serves.
pub(crate) fn serve(twinstickd: &Path, config: &Path, state: &Path, listen: &str) -> Command {
    let mut command = command(twinstickd, &["serve", "--listen", listen]);
    command.arg("--config").arg(config).arg("--state").arg(state).stdout(Stdio::null());
    command
}

impl Daemon {
    /// Starts it and waits for its line `listening on ADDR`. What it says goes to the end of the log.
    pub(crate) fn serve(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("a log");
        let from = file.metadata().expect("a log").len() as usize;
        let child = command.stderr(file).spawn().expect("twinstickd");
        let mut daemon = Self { child, log: log.to_owned(), address: String::new() };
        wait_until("twinstickd says where it listens", || {
            let text = daemon.log();
            let ended = daemon.child.try_wait().expect("a child");
            assert!(ended.is_none(), "twinstickd ended with {ended:?}:\n{}", &text[from..]);
            // A line without its end is still being written.
            let lines = text[from..].split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            let address = lines.filter_map(|line| line.strip_prefix("listening on ")).next();
            daemon.address = address.unwrap_or_default().to_owned();
            !daemon.address.is_empty()
        });
        daemon
    }

    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// All that it and its forerunners wrote to stderr.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("a log")).into_owned()
    }

    /// What it wrote last, enough to see how it came to where it is.
    pub fn last_lines(&self) -> String {
        let log = self.log();
        let lines = log.lines().collect::<Vec<_>>();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and waits until it is gone.
    pub fn end(&mut self, how: End) -> ExitStatus {
        let signal = match how {
            End::Drain => Signal::TERM,
            End::Kill => Signal::KILL,
        };
        self.process().signal(signal);
        self.wait()
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("twinstickd ends", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status.expect("it ended")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("The daemon's last lines:\n{}", self.last_lines());
        }
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
