//! The kernel's word that the mount table has changed.

use std::fs::File;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::watcher::mountinfo::MountTable;

const MOUNTINFO: &str = "/proc/self/mountinfo";

pub(super) struct Mounts {
    /// `None` without `/proc`; then the clock must do.
    changes: Option<AsyncFd<File>>,
}

impl Mounts {
    #[allow(
        deprecated,
        reason = "its heir is unsafe, for inner types whose descriptor changes hands; a File keeps its own"
    )]
    pub(super) fn open() -> Self {
        // A change is POLLERR | POLLPRI on this file (proc_pid_mounts(5)); it is always readable.
        let changes = File::open(MOUNTINFO)
            .and_then(|file| AsyncFd::with_interest(file, Interest::PRIORITY | Interest::ERROR))
            .inspect_err(|error| tracing::warn!(%error, "{MOUNTINFO} cannot be watched; pulls are noticed later"))
            .ok();
        Self { changes }
    }

    pub(super) fn can_tell(&self) -> bool {
        self.changes.is_some()
    }

    /// Returns after a change since it last returned.
    pub(super) async fn changed(&self) {
        let ready = match &self.changes {
            Some(changes) => changes.ready(Interest::PRIORITY | Interest::ERROR).await,
            None => std::future::pending().await,
        };
        match ready {
            Ok(mut guard) => guard.clear_ready(),
            // The runtime is shutting down.
            Err(_) => std::future::pending().await,
        }
    }
}

/// The table now; `None` where it cannot be read.
pub(super) fn read() -> Option<MountTable> {
    std::fs::read(MOUNTINFO).ok().map(|text| MountTable::parse(&text))
}
