//! File system events as hints: they make the watcher look at once, and decide nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Watches the folders that hold the known places. Not the places: a watch on a mount point dies with its mount.
pub(super) struct Hints {
    /// `None` where the machine has no watches to give; then ticks and the mount table must do.
    watcher: Option<RecommendedWatcher>,
    parents: BTreeSet<PathBuf>,
    unwatched: BTreeSet<PathBuf>,
}

impl Hints {
    /// Wakes `wake` whenever one of `places` is made, removed or renamed.
    pub(super) fn new(places: BTreeSet<PathBuf>, wake: Arc<Notify>) -> Self {
        let parents: BTreeSet<_> = places.iter().filter_map(|place| place.parent().map(Path::to_owned)).collect();
        let told = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_hint(&event, &places)) {
                wake.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(told)
            .inspect_err(|error| tracing::warn!(%error, "no file system events; drives are looked for by the clock"))
            .ok();
        Self { watcher, unwatched: parents.clone(), parents }
    }

    /// Adds all watches again: those on folders that were mounted over or away are dead.
    pub(super) fn rearm(&mut self) {
        self.unwatched = self.parents.clone();
        self.arm_missing();
    }

    /// Adds the watches that could not be added before, as their folders were not there.
    pub(super) fn arm_missing(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        self.unwatched.retain(|parent| watcher.watch(parent, RecursiveMode::NonRecursive).is_err());
    }
}

fn is_hint(event: &Event, places: &BTreeSet<PathBuf>) -> bool {
    let is_of_names = match event.kind {
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
        // Our own looks open folders: taking that for a hint would never end.
        EventKind::Access(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => false,
    };
    is_of_names && event.paths.iter().any(|path| places.contains(path))
}
