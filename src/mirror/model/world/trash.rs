//! The trash: what the oracle knows to be in it, and what must be there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;

use crate::elapsed::Elapsed;
use crate::ids::{Lsn, Side};
use crate::journal::{Catalog, Cause, CommitError, Keeping, Kept, Mutation, Node, Receipt, Remains, Resolved};
use crate::mirror::layout;
use crate::mirror::model::oracle::{Thing, Verdict};
use crate::mirror::model::world::mutations::verdict_of;
use crate::mirror::model::world::{Trash, World};
use crate::path::RelPath;

impl World {
    /// Time passes, as the mirror runs.
    pub(in crate::mirror::model) fn run_for(&mut self, seconds: u64) {
        self.running = Elapsed(self.running.0 + seconds);
    }

    pub(in crate::mirror::model) fn has_trash(&self) -> bool {
        self.trash == Trash::On
    }

    pub(in crate::mirror::model) fn keeping(&self) -> Option<Keeping> {
        match self.trash {
            Trash::On => Some(Keeping { at: self.running, wall_ns: 0, sweep: None }),
            Trash::Off => None,
        }
    }

    pub(in crate::mirror::model) fn kept_of(&self, path: &str) -> Vec<Kept> {
        self.journal.snapshot().trash_of(&RelPath::parse(path).unwrap()).unwrap()
    }

    /// A PUT of these bytes was committed as entry `lsn`.
    pub(in crate::mirror::model) fn put_as(&mut self, lsn: Lsn, path: &str, bytes: &[u8], drives: &[Side]) {
        let since = if self.trash == Trash::On && self.oracle.keeps(path, bytes, self.running) {
            self.oracle.throw_away(lsn, path, Cause::Overwritten, self.running);
            lsn
        } else {
            self.oracle.since(path, lsn)
        };
        self.oracle.put(path, bytes, drives, since);
    }

    /// A removal was committed as entry `lsn`.
    pub(in crate::mirror::model) fn keep_removed(&mut self, lsn: Lsn, path: &str) {
        if self.trash == Trash::On {
            self.oracle.throw_away(lsn, path, Cause::Removed, self.running);
        }
    }

    /// Brings back of a path's versions in the trash the one that is so many from the newest.
    pub(in crate::mirror::model) fn restore(&mut self, path: &str, back: usize) {
        let lsn = self.oracle.versions(path).iter().rev().nth(back).copied();
        let asked = if back == 0 { None } else { lsn.or(Some(Lsn(0))) };
        let mutation = Mutation::Restore { path: RelPath::parse(path).unwrap(), lsn: asked, mtime_ns: 0 };
        let answer = self.commit(mutation, None);
        self.take_restore(path, lsn, answer);
    }

    pub(in crate::mirror::model) fn take_restore(
        &mut self,
        path: &str,
        wanted: Option<Lsn>,
        answer: Result<Receipt, CommitError>,
    ) {
        let verdict = self.oracle.judge_restore(path, wanted);
        let at = self.keeping().map(|keeping| keeping.at);
        match answer {
            Ok(receipt) => {
                assert_eq!(verdict, Verdict::Done, "restore {path}");
                self.oracle.restore(path, wanted.unwrap(), receipt.lsn, at);
            }
            Err(CommitError::Precondition(reason)) => assert_eq!(verdict, verdict_of(&reason), "restore {path}"),
            Err(CommitError::InDoubt(_)) => {
                self.reopen();
                if verdict != Verdict::Done {
                    return;
                }
                let wanted = wanted.unwrap();
                if self.kept_of(path).iter().any(|kept| kept.lsn == wanted) {
                    // Folders above are entries of their own, and may have come through alone.
                    self.take_in_folders(path);
                } else {
                    let Resolved::Found(_, node) = self.resolve(path) else { panic!("{path} is nowhere") };
                    self.oracle.restore(path, wanted, node.lsn(), at);
                }
            }
        }
    }

    /// Lets go of something in the trash.
    pub(in crate::mirror::model) fn purge(&mut self, nth: usize) {
        let count = self.oracle.trash.len().max(1);
        let Some(lsn) = self.oracle.trash.keys().nth(nth % count).copied() else { return };
        let answer = self.commit(Mutation::Purge { lsn }, None);
        self.take_purge(Some(lsn), answer);
    }

    pub(in crate::mirror::model) fn take_purge(&mut self, lsn: Option<Lsn>, answer: Result<Receipt, CommitError>) {
        let lsn = lsn.unwrap();
        match answer {
            Ok(_) => assert!(self.oracle.trash.remove(&lsn).is_some(), "purged {lsn}, which was not there"),
            Err(CommitError::Precondition(reason)) => {
                assert_eq!(verdict_of(&reason), Verdict::NotInTrash);
                assert!(!self.oracle.trash.contains_key(&lsn), "{lsn} was there to be purged");
            }
            Err(CommitError::InDoubt(_)) => {
                self.reopen();
                if self.journal_trash().iter().all(|kept| kept.lsn != lsn) {
                    self.oracle.trash.remove(&lsn);
                }
            }
        }
    }

    /// A drive was replaced: what only that one had of the trash is gone.
    pub(in crate::mirror::model) fn forget_lost_trash(&mut self, replaced: Side) {
        let left: Vec<_> = self.journal_trash().iter().map(|kept| kept.lsn).collect();
        self.oracle.trash.retain(|lsn, trashed| {
            let held = matches!(&trashed.thing, Thing::File(_, holders, _) if *holders.get(replaced.other()));
            assert!(left.contains(lsn) || !held, "{lsn} is gone from the trash though {} has it", replaced.other());
            left.contains(lsn)
        });
    }

    fn journal_trash(&self) -> Vec<Kept> {
        self.journal.snapshot().trash(None, usize::MAX).unwrap()
    }

    /// The trash is the oracle's, and can be read.
    pub(in crate::mirror::model) fn check_trash(&mut self) {
        let listed = self.journal_trash();
        let lsns: Vec<_> = listed.iter().map(|kept| kept.lsn).collect();
        assert_eq!(lsns, self.oracle.trash.keys().copied().collect::<Vec<_>>(), "what is in the trash");
        let mut bytes = 0;
        for kept in listed {
            let trashed = self.oracle.trash[&kept.lsn].clone();
            assert_eq!((&kept.path, kept.cause), (&trashed.path, trashed.cause));
            bytes += kept.remains.bytes();
            match (trashed.thing, kept.remains.place()) {
                (Thing::Folder, None) => {}
                (Thing::File(bytes, holders, _), Some(place)) => {
                    let node = self.journal.snapshot().node(&place).unwrap();
                    let Some(Node::File(file)) = node else { panic!("{place:?} is no file") };
                    self.check_file((&kept.path, &place, &file), &bytes, holders);
                }
                (thing, place) => panic!("{thing:?} at {place:?}"),
            }
        }
        assert_eq!(self.journal.trash_size(), (self.oracle.trash.len() as u64, bytes));
    }

    /// A drive in sync has all of the trash, and nothing else there.
    pub(in crate::mirror::model) fn check_trash_on(&self, side: Side) {
        let named = |kept: Kept| match (kept.remains, &self.oracle.trash[&kept.lsn].thing) {
            (Remains::File { name, .. }, Thing::File(bytes, ..)) => {
                Some((layout::join(layout::TRASH_FOLDER, name.as_str()), Some(bytes.clone())))
            }
            (Remains::Folder { .. }, Thing::Folder) => None,
            (remains, thing) => panic!("{remains:?} for {thing:?}"),
        };
        let expected: BTreeMap<_, _> = self.journal_trash().into_iter().filter_map(named).collect();
        let inside = format!("{}/", layout::TRASH_FOLDER);
        let own = self.disks.get(side).own_tree();
        let found: BTreeMap<_, _> = own.into_iter().filter(|(path, _)| path.starts_with(&inside)).collect();
        assert_eq!(found, expected, "the trash on {side}");
    }
}
