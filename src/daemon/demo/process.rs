//! The processes of the story: the daemon, its clients, and tools.
#![allow(clippy::disallowed_methods, reason = "the demo waits for real processes and keeps the daemon's log")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::daemon::demo::error::{DemoError, at};

/// How long anything may take that a newcomer waits for.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Last lines of the daemon's log that a failure shows.
const LOG_LINES_SHOWN: usize = 20;

/// A running `twinstickd serve`.
pub(super) struct Daemon {
    child: Child,
    log: PathBuf,
    pub(super) address: String,
}

/// A client under way whose file comes through a pipe.
pub(super) struct Upload {
    child: Child,
    stdin: ChildStdin,
}

/// This program again. Settings of the machine's own daemon and client do not reach it.
fn own() -> Result<Command, DemoError> {
    let path = std::env::current_exe().map_err(at(Path::new("/proc/self/exe")))?;
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("TWINSTICKD_") || text.starts_with("FGET_") {
            command.env_remove(&name);
        }
    }
    Ok(command)
}

/// The client that talks to the daemon at `address`: `fget` in this very binary.
pub fn client_command(address: &str) -> Result<Command, DemoError> {
    let mut command = own()?;
    command.args(["client", "--server", address]);
    Ok(command)
}

/// The daemon's own commands.
pub(super) fn daemon_command(words: &[&str]) -> Result<Command, DemoError> {
    let mut command = own()?;
    command.args(words);
    Ok(command)
}

/// Runs a command to its end; anything but success is an error with what it said.
pub(super) fn finish(command: &mut Command) -> Result<Output, DemoError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| DemoError::Start { command: spelled(command), source })?;
    succeeded(spelled(command), output)
}

fn succeeded(command: String, output: Output) -> Result<Output, DemoError> {
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(DemoError::Command { command, status: output.status.to_string(), stderr })
}

fn spelled(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Looks until `look` finds something.
pub(super) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>, DemoError>) -> Result<T, DemoError> {
    let begin = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begin.elapsed() > PATIENCE {
            return Err(DemoError::Late { what: what.to_owned(), within: PATIENCE });
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

impl Daemon {
    /// Starts the daemon and waits until it says where it listens.
    pub(super) fn start(config: &Path, state: &Path, log: PathBuf) -> Result<Self, DemoError> {
        let file = fs::File::create(&log).map_err(at(&log))?;
        let mut command = daemon_command(&["serve", "--listen", "127.0.0.1:0"])?;
        command.arg("--config").arg(config).arg("--state").arg(state);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().map_err(|source| DemoError::Start { command: spelled(&command), source })?;
        let mut daemon = Self { child, log, address: String::new() };
        daemon.address = wait_for("the daemon's line \"listening on\"", || daemon.listening())?;
        Ok(daemon)
    }

    fn listening(&mut self) -> Result<Option<String>, DemoError> {
        let text = fs::read_to_string(&self.log).map_err(at(&self.log))?;
        if let Some(status) = self.child.try_wait().map_err(at(&self.log))? {
            return Err(DemoError::DaemonEnded { status: status.to_string(), log: tail(&text) });
        }
        Ok(text.lines().find_map(|line| line.strip_prefix("listening on ")).map(str::to_owned))
    }

    /// Asks it to end, as systemd would; it must end well.
    pub(super) fn stop(mut self) -> Result<(), DemoError> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).map_err(|errno| at(&self.log)(errno.into()))?;
        }
        let status = wait_for("the daemon's end after SIGTERM", || self.child.try_wait().map_err(at(&self.log)))?;
        if status.success() {
            return Ok(());
        }
        let log = fs::read_to_string(&self.log).map_err(at(&self.log))?;
        Err(DemoError::DaemonEnded { status: status.to_string(), log: tail(&log) })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Upload {
    /// Starts a PUT of what will be written.
    pub(super) fn begin(address: &str, remote: &str) -> Result<Self, DemoError> {
        let mut command = client_command(address)?;
        command.args(["put", "-", remote]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = |source| DemoError::Start { command: format!("fget put - {remote}"), source };
        let mut child = command.spawn().map_err(start)?;
        match child.stdin.take() {
            Some(stdin) => Ok(Self { child, stdin }),
            None => Err(start(std::io::Error::other("it has no stdin"))),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), DemoError> {
        self.stdin
            .write_all(bytes)
            .map_err(|source| DemoError::Start { command: "the pipe to fget put".into(), source })
    }

    /// Ends the file and waits for the answer.
    pub(super) fn end(self) -> Result<(), DemoError> {
        drop(self.stdin);
        let start = |source| DemoError::Start { command: "fget put".into(), source };
        succeeded("fget put".into(), self.child.wait_with_output().map_err(start)?).map(drop)
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines.get(lines.len().saturating_sub(LOG_LINES_SHOWN)..).unwrap_or_default().join("\n")
}
