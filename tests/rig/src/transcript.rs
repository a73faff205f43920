//! Golden output: commands and what they say, as one would see them in a terminal.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::binaries::Binaries;

/// Set to 1 to write what the commands say now, instead of comparing it.
const BLESS: &str = "TWINSTICK_BLESS";

/// Runs each line that begins with `$ ` in `folder` by the shell, with both binaries in its path and this
/// environment, and compares all output and exit codes with what the file says. The folder's own path reads `DIR`.
#[track_caller]
pub fn check_transcript(file: &Path, binaries: &Binaries, folder: &Path, environment: &[(&str, &str)]) {
    let expected = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut actual = String::new();
    for line in expected.lines().filter(|line| line.starts_with("$ ")) {
        actual.push_str(&run(line, binaries, folder, environment));
    }
    if std::env::var(BLESS).is_ok_and(|value| value == "1") {
        fs::write(file, actual).expect("a writable fixture");
        return;
    }
    assert!(actual == expected, "{} differs ({BLESS}=1 takes what is said now):\n{actual}", file.display());
}

fn run(line: &str, binaries: &Binaries, folder: &Path, environment: &[(&str, &str)]) -> String {
    let own = [&binaries.twinstickd, &binaries.fget].map(|path| path.parent().expect("a folder").display().to_string());
    let path = format!("{}:{}:{}", own[0], own[1], std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{} 2>&1", &line[2..])).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("TWINSTICKD_") || text.starts_with("FGET_") || text.starts_with("RUST_") {
            command.env_remove(&name);
        }
    }
    let output = command.env("PATH", path).env("HOME", folder).envs(environment.iter().copied()).output();
    let output = output.expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout).replace(&*folder.to_string_lossy(), "DIR");
    let code = output.status.code().unwrap_or(-1);
    let ended = if code == 0 { String::new() } else { format!("[exit {code}]\n") };
    let said = said.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>();
    format!("{line}\n{said}{ended}\n")
}
