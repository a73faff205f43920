//! A drive that is there: as the watcher brings it, and as the mirror uses it until it leaves.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::ids::{Arrival, Lsn, Side};
use crate::mirror::io::IoPool;
use crate::mirror::label::Label;
use crate::mirror::lane::Telling;
use crate::mirror::log_thread::LogHandle;
use crate::mirror::reconcile::inbox::Errands;
use crate::mirror::reconcile::survey::Ahead;
use crate::mirror::steps::Steps;
use crate::mirror::volume::Volume;
use crate::mirror::wake::Wake;
use crate::mirror::watched::Watched;

/// A drive that the watcher found, with a good label of this mirror.
pub struct NewDrive {
    pub side: Side,
    /// The watcher's name for this stay.
    pub visit: u64,
    pub label: Label,
    pub volume: Arc<dyn Volume>,
    pub path: PathBuf,
    /// The kernel's number of this plugging-in, where it tells.
    pub diskseq: Option<u64>,
    /// The drive's lock, and what else must last as long as anything uses the drive.
    pub guard: Box<dyn Any + Send + Sync>,
}

/// A drive in use, from its verification until it is lost. Never used again after that.
pub(crate) struct Attachment {
    pub(crate) side: Side,
    pub(crate) visit: u64,
    pub(crate) arrival: Arrival,
    /// Refuses every call once the drive has left. Says so where the daemon itself lacks something, for those who can tell
    /// their client; the lane and the log wait (`mirror/patient`).
    pub(crate) volume: Arc<dyn Volume>,
    /// The same.
    pub(crate) watched: Arc<Watched>,
    pub(crate) io: IoPool,
    pub(crate) log: LogHandle,
    pub(crate) wake: Arc<Wake>,
    pub(crate) errands: Errands,
    /// Those of its lane.
    pub(crate) steps: Arc<Steps>,
    /// What lies ahead of the lane's search. Held while something goes from there to the inbox, or comes from the errands,
    /// so that who looks at all three misses nothing.
    pub(crate) ahead: Mutex<Ahead>,
    /// Stages that nobody needs and that are there still.
    pub(crate) leaving: watch::Sender<u64>,
    pub(crate) gone: watch::Sender<bool>,
}

impl Attachment {
    pub(crate) fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }

    /// Ends all work on the drive; what is in a system call ends when that returns. Nothing is begun on it any more.
    pub(crate) fn end(&self) {
        self.gone.send_replace(true);
        self.io.close();
        self.log.close();
        self.watched.revoke();
        self.wake.ring();
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment").field("side", &self.side).field("visit", &self.visit).finish_non_exhaustive()
    }
}

impl Telling for Arc<Attachment> {
    fn tell(&self, lsn: Lsn) -> Option<Lsn> {
        self.log.tell(lsn)
    }
}
