//! File systems that hang.

use std::path::{Path, PathBuf};

use crate::namespace::{attempt, tool};

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
