//! The way of every call to the medium: presence, count, fault, work.

use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::fault::{CallKind, Fault, classified, ordered};
use super::image::Ino;
use super::medium::{Generation, Medium, Presence};
use crate::mirror::volume::{Disposition, FsKind, Result};

/// One mount of a medium.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) medium: Arc<Mutex<Medium>>,
    pub(super) generation: Generation,
}

/// What a sync is of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Synced {
    File(Ino),
    Folder,
    All,
}

/// Nothing becomes durable any more, which only some syncs tell.
fn sync_dead(medium: &mut Medium, op: &'static str, path: &str, synced: Synced) -> Result<()> {
    medium.die();
    let tells = match synced {
        Synced::File(ino) => medium.is_dirty(ino),
        Synced::Folder => medium.kind == FsKind::Fat,
        Synced::All => false,
    };
    if tells {
        medium.presence = Presence::Pulled;
        return Err(ordered(op, path, Disposition::DriveLost));
    }
    Ok(())
}

impl Handle {
    /// Lets happen what was ordered to happen before this call.
    fn pause(&self, kind: CallKind, path: &str) {
        let due = self.medium.lock().interlude.due(kind, path);
        if let Some(act) = due {
            act();
        }
    }

    /// Does `work`, or what a fault says in its place.
    pub(super) fn call<T>(
        &self,
        kind: CallKind,
        op: &'static str,
        path: &str,
        work: impl FnOnce(&mut Medium) -> std::result::Result<T, Errno>,
    ) -> Result<T> {
        self.pause(kind, path);
        let mut medium = self.medium.lock();
        match medium.begin(kind, self.generation).map_err(|errno| classified(op, path, errno))? {
            None => work(&mut medium).map_err(|errno| classified(op, path, errno)),
            Some(Fault::Dead) => {
                medium.die();
                work(&mut medium).map_err(|errno| classified(op, path, errno))
            }
            Some(Fault::Once(disposition)) => Err(ordered(op, path, disposition)),
            Some(Fault::Kill) => Err(ordered(op, path, Disposition::DriveLost)),
            Some(Fault::Pull) => {
                // Done, but not durable: the power cut decides what of it is left.
                let _unseen = work(&mut medium);
                medium.presence = Presence::Pulled;
                Err(ordered(op, path, Disposition::DriveLost))
            }
        }
    }

    /// As `call`, for a sync: one that fails alone forgets what it was to write; a pull leaves it undone.
    pub(super) fn sync(
        &self,
        op: &'static str,
        path: &str,
        synced: Synced,
        work: impl FnOnce(&mut Medium) -> std::result::Result<(), Errno>,
        forget: impl FnOnce(&mut Medium),
    ) -> Result<()> {
        self.pause(CallKind::Sync, path);
        let watcher = self.medium.lock().interlude.watcher();
        if let Some(act) = watcher {
            act();
        }
        let mut medium = self.medium.lock();
        match medium.begin(CallKind::Sync, self.generation).map_err(|errno| classified(op, path, errno))? {
            None if medium.presence == Presence::Dead => sync_dead(&mut medium, op, path, synced),
            Some(Fault::Dead) => sync_dead(&mut medium, op, path, synced),
            None => work(&mut medium).map_err(|errno| classified(op, path, errno)),
            Some(Fault::Once(disposition)) => {
                forget(&mut medium);
                Err(ordered(op, path, disposition))
            }
            Some(Fault::Kill) => Err(ordered(op, path, Disposition::DriveLost)),
            Some(Fault::Pull) => {
                medium.presence = Presence::Pulled;
                Err(ordered(op, path, Disposition::DriveLost))
            }
        }
    }

    /// Asks the page cache alone, also of a pulled stick; `None` once the medium was mounted again.
    pub(super) fn cached<T>(
        &self,
        work: impl FnOnce(&mut Medium) -> std::result::Result<T, Errno>,
    ) -> std::result::Result<Option<T>, Errno> {
        let mut medium = self.medium.lock();
        if medium.generation == self.generation { work(&mut medium).map(Some) } else { Ok(None) }
    }

    pub(super) fn release(&self, ino: Ino) {
        let mut medium = self.medium.lock();
        if medium.generation == self.generation {
            medium.release(ino);
        }
    }
}
