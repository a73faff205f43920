//! Why the story did not come to its end.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ids::Side;

/// The machine did not do its part, or twinstick did not keep a promise.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is not empty: give a new folder with --dir", .0.display())]
    NotEmpty(PathBuf),
    #[error("{command}: {source}")]
    Start { command: String, source: io::Error },
    #[error("{command} ended with {status}\n{stderr}")]
    Command { command: String, status: String, stderr: String },
    #[error("twinstickd ended too early, with {status}; its log ends with\n{log}")]
    DaemonEnded { status: String, log: String },
    #[error("{what}: not within {} s", within.as_secs())]
    Late { what: String, within: Duration },
    #[error("status --json has no {0}")]
    NoFigure(&'static str),
    #[error("{what} is {actual}, it should be {expected}")]
    Figure { what: &'static str, expected: u64, actual: u64 },
    #[error("what came back of {path} differs from what was stored")]
    WrongBytes { path: String },
    #[error("{} and {} differ: {}", left.display(), right.display(), differences.join(", "))]
    TreesDiffer { left: PathBuf, right: PathBuf, differences: Vec<String> },
    #[error("something was written to {} while drive {side} was away", path.display())]
    BareMountPointTouched { side: Side, path: PathBuf },
}

/// Puts the path to an I/O error, which alone would not name it.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> DemoError + '_ {
    move |source| DemoError::Io { path: path.to_owned(), source }
}
