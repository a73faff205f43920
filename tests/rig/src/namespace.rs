//! A mount namespace of the tests' own: another one would keep a dead file system alive.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Set in the process that already runs in a namespace of its own.
const ENTERED: &str = "TWINSTICK_RIG_NAMESPACE";
/// Size of the image that shows whether loop mounts work here.
const TRY_BYTES: u64 = 8 << 20;

/// Starts this binary again in a private mount namespace. `Err` says why loop mounts are not possible.
pub fn enter() -> Result<(), String> {
    if std::env::var_os(ENTERED).is_some() {
        return try_loop_mount();
    }
    if !rustix::process::geteuid().is_root() {
        return Err("needs root, to mount ext4 images".into());
    }
    if !unshare().arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return Err("needs a private mount namespace: unshare -m fails here".into());
    }
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let error = unshare().arg(own).args(std::env::args_os().skip(1)).env(ENTERED, "1").exec();
    Err(format!("unshare: {error}"))
}

fn unshare() -> Command {
    let mut command = tool("unshare");
    command.args(["-m", "--propagation", "private", "--"]);
    command
}

fn try_loop_mount() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (image, root) = (dir.path().join("try.img"), dir.path().join("try"));
    let made = std::fs::File::create(&image).and_then(|file| file.set_len(TRY_BYTES));
    made.and_then(|()| std::fs::create_dir(&root)).map_err(|error| error.to_string())?;
    attempt(tool("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
    attempt(tool("mount").args(["-o", "loop"]).arg(&image).arg(&root))?;
    attempt(tool("umount").arg(&root))
}

/// Runs a tool; its own words where it does not succeed.
pub(crate) fn attempt(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).output() {
        Err(error) => Err(format!("needs {name}: {error}")),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// A system tool, also where a plain shell's search path leaves `sbin` out.
pub(crate) fn tool(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}
