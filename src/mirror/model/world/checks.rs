//! What must hold after every step, and at the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::single_match_else, reason = "tests")]

use crate::digest::Crc32;
use crate::ids::{Lsn, PerSide, Side};
use crate::journal::{FileNode, Node, Place, Resolved};
use crate::mirror::content::pour;
use crate::mirror::lane::Stay;
use crate::mirror::model::oracle::Thing;
use crate::mirror::model::world::foreign::Cut;
use crate::mirror::model::world::{STEPS_MAX, World};
use crate::mirror::sim_volume::SimDisk;
use crate::mirror::volume::{Disposition, Volume, VolumeError};
use crate::mirror::{layout, places};
use crate::path::RelPath;

/// Searches of both drives after which nothing more may be found.
const SEARCHES_MAX: usize = 10;

impl World {
    pub(in crate::mirror::model) fn resolve(&self, path: &str) -> Resolved {
        self.journal.resolve(&RelPath::parse(path).unwrap()).unwrap()
    }

    pub(in crate::mirror::model) fn entries(&self) -> u64 {
        self.journal.entries()
    }

    /// Whether a lane has a debt that stays since the only copy, on `holder`, is damaged.
    pub(in crate::mirror::model) fn waits_for_damaged(&self, side: Side, holder: Side) -> bool {
        let stays = self.drives.get(side).as_ref().map(|drive| drive.lane.stays());
        stays.is_some_and(|stays| stays.values().any(|stay| *stay == Stay::Damaged(holder)))
    }

    /// Whether a lane has a debt that stays since only `holder` has the bytes.
    pub(in crate::mirror::model) fn waits_for(&self, side: Side, holder: Side) -> bool {
        let stays = self.drives.get(side).as_ref().map(|drive| drive.lane.stays());
        stays.is_some_and(|stays| stays.values().any(|stay| *stay == Stay::WaitsFor(holder)))
    }

    pub(in crate::mirror::model) fn has_lost(&self, side: Side) -> bool {
        let stays = self.drives.get(side).as_ref().map(|drive| drive.lane.stays());
        stays.is_some_and(|stays| stays.values().any(|stay| *stay == Stay::Lost))
    }

    /// As [`World::drain`], where something cannot be had any more.
    pub(in crate::mirror::model) fn drain_what_can_be(&mut self) {
        for _ in 0..SEARCHES_MAX {
            self.settle();
        }
        self.check_foreign();
    }

    pub(in crate::mirror::model) fn owes(&self, side: Side) -> bool {
        self.journal.behind(side).0 > 0
    }

    /// Reads every file of the oracle, as a client would; there is nothing else.
    pub(in crate::mirror::model) fn check_reads(&mut self) {
        self.check_acknowledged();
        let count = self.count_catalog(crate::ids::NodeId::ROOT);
        assert_eq!(count, self.oracle.tree.len(), "the catalog has something more");
        self.check_foreign();
        self.check_trash();
    }

    /// Reads every file of the oracle.
    pub(in crate::mirror::model) fn check_acknowledged(&mut self) {
        self.journal.check_usage();
        for (path, thing) in self.oracle.tree.clone() {
            match (thing, self.resolve(&path)) {
                (Thing::Folder, Resolved::Found(_, Node::Folder(_))) => {}
                (Thing::File(bytes, holders, _), Resolved::Found(place, Node::File(file))) => {
                    self.check_file((&path, &place, &file), &bytes, holders);
                }
                (thing, found) => panic!("{path}: {thing:?} expected, {found:?} found"),
            }
        }
    }

    pub(in crate::mirror::model) fn count_catalog(&self, folder: crate::ids::NodeId) -> usize {
        let children = self.journal.snapshot().children(folder, None, 1000).unwrap();
        let below = |node: &Node| match node {
            Node::Folder(folder) => self.count_catalog(folder.id),
            Node::File(_) => 0,
        };
        children.iter().map(|(_, node)| 1 + below(node)).sum()
    }

    pub(in crate::mirror::model) fn check_file(
        &mut self,
        (path, place, file): (&str, &Place, &FileNode),
        bytes: &[u8],
        holders: PerSide<bool>,
    ) {
        assert_eq!(file.version.crc32, Crc32::of(bytes), "{path} is not the version acknowledged");
        let mut expected = false;
        for side in Side::BOTH {
            let Some(drive) = self.drives.get(side) else { continue };
            let holds = *holders.get(side);
            expected |= holds;
            let Some(source) = places::source(&self.journal.snapshot(), side, place, file).unwrap() else { continue };
            match read(drive.volume.as_ref(), &source, file.version.size) {
                // Somebody changed it, and nobody has looked yet.
                Ok(read) if !holds && read != bytes => {}
                Ok(read) => {
                    assert!(read == bytes, "{path} on {side}: a marked copy has other bytes, at {source:?}");
                    return;
                }
                Err(error) if error.disposition == Disposition::DriveLost => self.lose(side),
                // What could not be read as its drive came is not known to have its name.
                Err(error)
                    if self.bad_reads && matches!(error.disposition, Disposition::BadRead | Disposition::NotFound) =>
                {
                    return;
                }
                Err(_) if !holds => {}
                Err(error) => panic!("{path} on {side}: {error}"),
            }
        }
        let present = Side::BOTH.into_iter().any(|side| self.is_present(side) && *holders.get(side));
        assert!(!expected || !present || self.bad_reads, "{path} is not served though a present drive holds it");
    }

    /// Both drives back, all debts worked off: both trees must be the oracle's, and nothing may be left over.
    pub(in crate::mirror::model) fn drain(&mut self) {
        for side in Side::BOTH {
            self.disks.get(side).clear_faults();
        }
        self.store.clear_fault();
        for side in Side::BOTH {
            if self.disks.get(side).is_dead() {
                self.pull(side);
            }
        }
        while !self.uploads.is_empty() {
            self.commit_oldest();
        }
        for side in Side::BOTH {
            self.bring_back(side);
        }
        self.forget_stays();
        for _ in 0..SEARCHES_MAX {
            self.retry_stays();
            for side in Side::BOTH {
                self.search(side);
                // As a lane does that rests: what the other drive could not give it may have now.
                if (self.waits_for(side, side.other()) || self.has_lost(side))
                    && let Some(drive) = self.drives.get_mut(side)
                {
                    drive.lane.forget_stays();
                }
            }
            if !self.settle() {
                break;
            }
        }
        for side in Side::BOTH {
            assert!(self.is_present(side), "{side} was lost, dead: {}", self.disks.get(side).is_dead());
            let debts = self.journal.snapshot().debts(side, crate::ids::NodeId::ROOT, 10).unwrap();
            let stays = self.drives.get(side).as_ref().map(|drive| drive.lane.stays());
            let tree = self.disks.get(side).tree();
            assert!(debts.is_empty(), "{side} stays behind: {debts:?}, {stays:?}, {tree:?}");
            self.checkpoint(side);
        }
        self.check_reads();
        self.check_aside();
        self.check_stock();
        self.empty_aside();
        self.check_stock();
        self.check_trees();
        assert_eq!(self.journal.entries(), 0, "no debt means no entries");
    }

    /// Works off all debts, finds what others did and takes it in; whether there was any of that.
    fn settle(&mut self) -> bool {
        let mut any = false;
        for _ in 0..STEPS_MAX {
            let owed = Side::BOTH.into_iter().any(|side| self.owes(side));
            self.step(Side::A);
            self.step(Side::B);
            let taken = Side::BOTH.map(|side| self.take_in(side, Cut::No)) != [false; 2];
            let looking = Side::BOTH.map(|side| self.look(side)) != [false; 2];
            any |= owed || taken;
            let found = Side::BOTH.into_iter().any(|side| !self.jobs.get(side).is_empty());
            if !owed && !taken && !looking && !found {
                break;
            }
        }
        any
    }

    pub(in crate::mirror::model) fn check_trees(&self) {
        let expected = self.oracle.plain();
        for side in Side::BOTH {
            let disk = self.disks.get(side);
            assert_eq!(disk.tree(), expected, "the tree of {side}");
            assert_eq!(disk.durable_tree(), expected, "the durable tree of {side}");
            for (path, _) in disk.own_tree() {
                let left = [layout::STAGE_FOLDER, layout::LIMBO_FOLDER, layout::ASIDE_FOLDER]
                    .iter()
                    .any(|folder| path.starts_with(&format!("{folder}/")));
                assert!(!left, "{path} is left on {side}");
            }
            self.check_trash_on(side);
        }
    }

    /// Coming back once more changes nothing.
    pub(in crate::mirror::model) fn check_idempotent(&mut self) {
        // The first time the last arrival's empty log segments go.
        self.kill();
        let before = Side::BOTH.map(|side| self.disks.get(side).calls().name);
        self.kill();
        for side in Side::BOTH {
            self.step(side);
            while self.look(side) {}
        }
        self.check_trees();
        let after = Side::BOTH.map(|side| self.disks.get(side).calls().name);
        assert_eq!(before, after, "names were changed without need");
    }

    pub(in crate::mirror::model) fn head(&self) -> Lsn {
        self.journal.head()
    }

    pub(in crate::mirror::model) fn disk(&self, side: Side) -> &SimDisk {
        self.disks.get(side)
    }
}

fn read(volume: &dyn Volume, source: &places::Source, size: u64) -> Result<Vec<u8>, VolumeError> {
    let mut bytes = Vec::new();
    let file = volume.open(&source.path)?;
    pour(&file, source.offset, size, |part, _| {
        bytes.extend_from_slice(part);
        Ok::<_, VolumeError>(())
    })?;
    Ok(bytes)
}
