//! The folder that the demo works in, and its private view of mounts.
#![allow(clippy::disallowed_methods, reason = "the demo makes its own folder, drives and files")]

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::daemon::demo::error::{DemoError, at};

/// Set in the process that already runs in a mount namespace of its own.
const IN_NAMESPACE: &str = "TWINSTICKD_DEMO_NAMESPACE";

/// What becomes of the demo's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftovers {
    Keep,
    Remove,
}

/// The demo's folder; removed at the end, unless it shall be kept.
pub(super) struct Ground {
    pub(super) dir: PathBuf,
    leftovers: Leftovers,
}

impl Ground {
    /// Makes the folder, or takes an empty one.
    pub(super) fn new(dir: Option<PathBuf>, leftovers: Leftovers) -> Result<Self, DemoError> {
        let dir = dir.unwrap_or_else(|| std::env::temp_dir().join(format!("twinstick-demo-{}", std::process::id())));
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        let dir = fs::canonicalize(&dir).map_err(at(&dir))?;
        if fs::read_dir(&dir).map_err(at(&dir))?.next().is_some() {
            return Err(DemoError::NotEmpty(dir));
        }
        Ok(Self { dir, leftovers })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, DemoError> {
        let path = self.path(name);
        fs::create_dir_all(&path).map_err(at(&path))?;
        Ok(path)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        match self.leftovers {
            Leftovers::Keep => {}
            // The drives were unmounted before; should one still be there, its files are of this demo too.
            Leftovers::Remove => drop(fs::remove_dir_all(&self.dir)),
        }
    }
}

/// Whether mounts made here are seen by nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mounts {
    Private,
    /// Mounting is not possible; for the reader, why.
    Impossible(&'static str),
}

/// Starts this program again in a mount namespace of its own where it may; returns only where it may not,
/// or in the program started again.
pub(super) fn enter_namespace() -> Result<Mounts, DemoError> {
    if std::env::var_os(IN_NAMESPACE).is_some() {
        return Ok(Mounts::Private);
    }
    if !rustix::process::geteuid().is_root() {
        return Ok(Mounts::Impossible("only root may mount"));
    }
    let probe = unshare().arg("true").stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return Ok(Mounts::Impossible("this machine grants no mount namespace (unshare -m)"));
    }
    let own = std::env::current_exe().map_err(at(Path::new("/proc/self/exe")))?;
    let source: io::Error = unshare().arg(own).args(std::env::args_os().skip(1)).env(IN_NAMESPACE, "1").exec();
    Err(DemoError::Start { command: "unshare".into(), source })
}

fn unshare() -> Command {
    let mut command = tool("unshare");
    command.args(["-m", "--propagation", "private", "--"]);
    command
}

/// A system tool, also where a plain shell's search path leaves `sbin` out.
pub(super) fn tool(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    command.env("PATH", format!("{path}:/usr/sbin:/sbin:/usr/bin:/bin"));
    command
}
