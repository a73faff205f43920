//! What the mirror must say: a plain tree of what was acknowledged.

use std::collections::BTreeMap;

use crate::elapsed::Elapsed;
use crate::ids::{Lsn, PerSide, Side};
use crate::journal::{Cause, VERSIONS_MAX};

/// A version put and overwritten so soon after the last one of its path was kept is not.
const KEPT_EVERY_SECONDS: u64 = 60;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    Folder,
    /// Its bytes, who has them, and the entry since which it is not older than the versions it was written over.
    File(Vec<u8>, PerSide<bool>, Lsn),
}

/// How a mutation must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    NotFound,
    Exists,
    IsAFolder,
    NotAFolder,
    NotEmpty,
    IntoItself,
    NotInTrash,
}

/// Something in the trash.
#[derive(Clone, Debug)]
pub(super) struct Trashed {
    pub(super) path: String,
    pub(super) thing: Thing,
    pub(super) cause: Cause,
    pub(super) at: Elapsed,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Oracle {
    pub(super) tree: BTreeMap<String, Thing>,
    pub(super) trash: BTreeMap<Lsn, Trashed>,
}

fn above(path: &str) -> Vec<&str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).collect()
}

impl Oracle {
    fn blocked(&self, path: &str) -> bool {
        above(path).iter().any(|folder| matches!(self.tree.get(*folder), Some(Thing::File(..))))
    }

    fn add_folders(&mut self, path: &str) {
        for folder in above(path) {
            self.tree.entry(folder.to_owned()).or_insert(Thing::Folder);
        }
    }

    pub(super) fn judge_put(&self, path: &str) -> Verdict {
        match self.tree.get(path) {
            Some(Thing::Folder) => Verdict::IsAFolder,
            _ if self.blocked(path) => Verdict::NotAFolder,
            _ => Verdict::Done,
        }
    }

    pub(super) fn put(&mut self, path: &str, bytes: &[u8], drives: &[Side], since: Lsn) {
        self.add_folders(path);
        let holders = PerSide::new(|side| drives.contains(&side));
        self.tree.insert(path.to_owned(), Thing::File(bytes.to_vec(), holders, since));
    }

    pub(super) fn judge_remove(&self, path: &str) -> Verdict {
        match self.tree.get(path) {
            None if self.blocked(path) => Verdict::NotAFolder,
            None => Verdict::NotFound,
            Some(Thing::Folder) if self.below(path).len() > 1 => Verdict::NotEmpty,
            Some(_) => Verdict::Done,
        }
    }

    pub(super) fn remove(&mut self, path: &str) {
        self.tree.remove(path);
    }

    /// Whether a PUT of these bytes keeps what they replace.
    pub(super) fn keeps(&self, path: &str, bytes: &[u8], at: Elapsed) -> bool {
        let Some(Thing::File(old, _, since)) = self.tree.get(path) else { return false };
        let last = self.versions(path).pop();
        let is_young = |last: Lsn| *since >= last && at.0 < self.trash[&last].at.0 + KEPT_EVERY_SECONDS;
        old != bytes && !last.is_some_and(is_young)
    }

    /// Since when there has been what a PUT by entry `lsn` leaves under a path, where it keeps nothing.
    pub(super) fn since(&self, path: &str, lsn: Lsn) -> Lsn {
        match self.tree.get(path) {
            Some(Thing::File(_, _, since)) => *since,
            Some(Thing::Folder) | None => lsn,
        }
    }

    /// What lies under a path now goes to the trash by entry `lsn`.
    pub(super) fn throw_away(&mut self, lsn: Lsn, path: &str, cause: Cause, at: Elapsed) {
        if let Some(thing) = self.tree.get(path).cloned() {
            self.trash.insert(lsn, Trashed { path: path.to_owned(), thing, cause, at });
            let versions = self.versions(path);
            for oldest in versions.iter().take(versions.len().saturating_sub(VERSIONS_MAX)) {
                self.trash.remove(oldest);
            }
        }
    }

    /// What is in the trash of a path, oldest first.
    pub(super) fn versions(&self, path: &str) -> Vec<Lsn> {
        self.trash.iter().filter(|(_, trashed)| trashed.path == path).map(|(lsn, _)| *lsn).collect()
    }

    pub(super) fn judge_restore(&self, path: &str, lsn: Option<Lsn>) -> Verdict {
        let lsn = lsn.filter(|lsn| self.versions(path).contains(lsn));
        match lsn.map(|lsn| &self.trash[&lsn].thing) {
            None => Verdict::NotInTrash,
            Some(_) if self.blocked(path) => Verdict::NotAFolder,
            Some(thing) => match (thing, self.tree.get(path)) {
                (Thing::File(..), Some(Thing::Folder)) => Verdict::IsAFolder,
                (Thing::Folder, Some(Thing::File(..))) => Verdict::NotAFolder,
                (_, _) => Verdict::Done,
            },
        }
    }

    /// Brings back what entry `from` threw away; what has its place is thrown away by entry `lsn`, where that is kept.
    pub(super) fn restore(&mut self, path: &str, from: Lsn, lsn: Lsn, at: Option<Elapsed>) {
        let Some(trashed) = self.trash.remove(&from) else { panic!("{path}: nothing in the trash") };
        self.add_folders(path);
        if let (Some(at), Thing::File(..)) = (at, &trashed.thing) {
            self.throw_away(lsn, path, Cause::Overwritten, at);
        }
        self.tree.insert(path.to_owned(), trashed.thing);
    }

    /// A drive was replaced: the new one has nothing.
    pub(super) fn forget(&mut self, side: Side) {
        let trashed = self.trash.values_mut().map(|trashed| &mut trashed.thing);
        for thing in self.tree.values_mut().chain(trashed) {
            if let Thing::File(_, holders, _) = thing {
                *holders.get_mut(side) = false;
            }
        }
    }

    /// A drive's copy of one file is damaged or gone: it is not to be read from there, until it is whole again.
    pub(super) fn lose_copy(&mut self, side: Side, path: &str) {
        if let Some(Thing::File(_, holders, _)) = self.tree.get_mut(path) {
            *holders.get_mut(side) = false;
        }
    }

    pub(super) fn judge_folder(&self, path: &str) -> Verdict {
        match self.tree.get(path) {
            Some(Thing::File(..)) => Verdict::Exists,
            None if self.blocked(path) => Verdict::NotAFolder,
            Some(Thing::Folder) | None => Verdict::Done,
        }
    }

    pub(super) fn make_folder(&mut self, path: &str) {
        self.add_folders(path);
        self.tree.entry(path.to_owned()).or_insert(Thing::Folder);
    }

    pub(super) fn judge_move(&self, from: &str, to: &str) -> Verdict {
        if !self.tree.contains_key(from) {
            return if self.blocked(from) { Verdict::NotAFolder } else { Verdict::NotFound };
        }
        if to.starts_with(&format!("{from}/")) {
            return Verdict::IntoItself;
        }
        if self.tree.contains_key(to) {
            return Verdict::Exists;
        }
        if self.blocked(to) {
            return Verdict::NotAFolder;
        }
        match above(to).last() {
            Some(parent) if !self.tree.contains_key(*parent) => Verdict::NotFound,
            _ => Verdict::Done,
        }
    }

    pub(super) fn move_to(&mut self, from: &str, to: &str) {
        for old in self.below(from) {
            if let Some(thing) = self.tree.remove(&old) {
                self.tree.insert(format!("{to}{}", &old[from.len()..]), thing);
            }
        }
    }

    fn below(&self, path: &str) -> Vec<String> {
        let inside = format!("{path}/");
        self.tree.keys().filter(|key| *key == path || key.starts_with(&inside)).cloned().collect()
    }

    /// The tree as a drive in sync has it.
    pub(super) fn plain(&self) -> BTreeMap<String, Option<Vec<u8>>> {
        let plain = |thing: &Thing| match thing {
            Thing::Folder => None,
            Thing::File(bytes, ..) => Some(bytes.clone()),
        };
        self.tree.iter().map(|(path, thing)| (path.clone(), plain(thing))).collect()
    }
}
