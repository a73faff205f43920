//! The real `fget`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::stick::Side;
use crate::terminal::Terminal;

/// Seconds after which a command counts as hanging.
const HANGS_AFTER: &str = "120";
/// Exit codes of timeout(1) for a command that it had to end.
const TIMED_OUT: [i32; 2] = [124, 137];

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub command: String,
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Outcome {
    /// Panics with what the command said, unless it ended with this exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}: {}", self.command, self.stderr);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.command, String::from_utf8_lossy(&self.stdout)))
    }
}

/// Runs `fget` against one daemon. Settings of this machine's user do not reach it.
#[derive(Clone, Debug)]
pub struct Client {
    pub fget: PathBuf,
    pub address: String,
    /// Stands for the user's home.
    pub home: PathBuf,
}

impl Client {
    pub fn run(&self, words: &[&str]) -> Outcome {
        self.run_in(&self.home, words)
    }

    /// With variables of the environment.
    pub fn run_with(&self, variables: &[(&str, &str)], words: &[&str]) -> Outcome {
        let mut command = self.command(words);
        command.envs(variables.iter().copied());
        self.outcome(words, command.current_dir(&self.home).stdin(Stdio::null()), &[])
    }

    /// With something on standard input.
    pub fn run_on(&self, words: &[&str], input: &[u8]) -> Outcome {
        self.outcome(words, self.command(words).current_dir(&self.home).stdin(Stdio::piped()), input)
    }

    /// At a terminal, at which each answer is typed when its question has appeared; the exit code.
    pub fn run_at(&self, terminal: &mut Terminal, words: &[&str], answers: &[(&str, &str)]) -> i32 {
        terminal.answer(self.command(words).current_dir(&self.home), answers)
    }

    pub fn run_in(&self, folder: &Path, words: &[&str]) -> Outcome {
        self.outcome(words, self.command(words).current_dir(folder).stdin(Stdio::null()), &[])
    }

    /// Puts bytes from a pipe, so that their length is not known before.
    pub fn put_piped(&self, remote: &str, bytes: &[u8]) -> Outcome {
        let words = ["put", "-", remote];
        self.outcome(&words, self.command(&words).stdin(Stdio::piped()), bytes)
    }

    /// Puts bytes from a file that exists for this time only.
    pub fn put(&self, remote: &str, bytes: &[u8]) -> Outcome {
        let local = tempfile::NamedTempFile::new_in(&self.home).expect("a temporary file");
        local.as_file().write_all(bytes).expect("room for a temporary file");
        self.run(&["put", local.path().to_str().expect("UTF-8"), remote])
    }

    /// Gets a file to stdout.
    pub fn get(&self, remote: &str) -> Outcome {
        self.run(&["get", remote, "-"])
    }

    #[track_caller]
    pub fn status(&self) -> Value {
        self.run(&["status", "--json"]).expect(0).json()
    }

    /// What the status says of what happened and what to do, as one text.
    #[track_caller]
    pub fn notices(&self) -> String {
        self.status()["notices"].to_string()
    }

    /// One drive's part of the status.
    #[track_caller]
    pub fn drive(&self, side: Side) -> Value {
        let status = self.status();
        let drives = status["drives"].as_array().unwrap_or_else(|| panic!("no drives in {status}"));
        let of_name = drives.iter().find(|drive| drive["name"] == side.name());
        of_name.unwrap_or_else(|| panic!("no drive {} in {status}", side.name())).clone()
    }

    /// The drive's state by its stable name, such as `in-sync`.
    #[track_caller]
    pub fn state(&self, side: Side) -> String {
        self.drive(side)["state"].as_str().expect("a state").to_owned()
    }

    /// A command line, for tests that want to run it in their own way.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-k", "1", HANGS_AFTER]).arg(&self.fget).args(["--server", &self.address]).args(words);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FGET_") {
                command.env_remove(name);
            }
        }
        command.env("HOME", &self.home).env_remove("XDG_CONFIG_HOME");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    #[track_caller]
    fn outcome(&self, words: &[&str], command: &mut Command, input: &[u8]) -> Outcome {
        let mut child = command.spawn().expect("timeout(1) and fget");
        if let Some(mut stdin) = child.stdin.take() {
            // The command may end before it has read everything; its exit code says why.
            let _ = stdin.write_all(input);
        }
        let output = child.wait_with_output().expect("an end");
        let code = output.status.code().unwrap_or(-1);
        let command = format!("fget {}", words.join(" "));
        if TIMED_OUT.contains(&code) {
            let status = self.command(&["status"]).output().expect("timeout(1) and fget");
            panic!("{command}: hangs; the status is\n{}", String::from_utf8_lossy(&status.stdout));
        }
        Outcome { command, code, stdout: output.stdout, stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
    }
}
