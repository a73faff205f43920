//! File systems that hang.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::faulty::Switch;
use crate::namespace::{attempt, tool};

/// A drive that hangs; it goes on when this is dropped.
pub enum Hung {
    /// Who writes waits.
    Frozen(Frozen),
    /// All calls wait.
    Medium(Stopped),
}

/// A medium whose calls all wait; it goes on when this is dropped.
pub struct Stopped(Arc<Switch>);

impl Stopped {
    pub(crate) fn new(switch: Arc<Switch>) -> Self {
        switch.set_hanging();
        Self(switch)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.revive();
    }
}

/// A file system on which writers wait, in the kernel and out of reach of signals; it goes on when this is dropped.
pub struct Frozen(PathBuf);

impl Frozen {
    pub(crate) fn new(root: &Path) -> Self {
        attempt(tool("fsfreeze").arg("--freeze").arg(root)).expect("fsfreeze --freeze");
        Self(root.to_owned())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        attempt(tool("fsfreeze").arg("--unfreeze").arg(&self.0)).expect("fsfreeze --unfreeze");
    }
}
