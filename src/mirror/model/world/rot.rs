//! Bits that change by themselves, and the scrub that finds them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::Arc;

use crate::ids::Side;
use crate::journal::{Copy, DriveFact, Node, Resolved, ScrubPosition};
use crate::mirror::lane::LaneError;
use crate::mirror::model::world::World;
use crate::mirror::reconcile::aside::{Cause, Item};
use crate::mirror::reconcile::shelf::{let_go, measure};
use crate::mirror::reconcile::stock::{Rest, Totals};
use crate::mirror::scrub::pass::{Pass, Turn};
use crate::mirror::volume::{Attributes, Volume};
use crate::mirror::{layout, places};

/// Turns in which a small tree is read through.
const TURNS_MAX: usize = 1000;

impl World {
    /// Changes a byte of a file behind the mirror's back, as a failing stick does: size and time stay.
    pub(in crate::mirror::model) fn damage(&mut self, side: Side, path: &str) {
        self.damage_at(side, path, 0);
    }

    /// The same at any position.
    pub(in crate::mirror::model) fn damage_at(&mut self, side: Side, path: &str, at: u64) {
        let disk = self.disks.get(side);
        if disk.is_pulled() {
            disk.reinsert(&mut |_| 0);
        }
        let volume = disk.mount().unwrap();
        let before = volume.stat(path).unwrap().unwrap();
        let file = volume.open_write(path).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, at).unwrap();
        file.write_at(&[!byte[0]], at).unwrap();
        let attributes = Attributes { mtime_ns: before.observed.mtime_ns, executable: before.executable };
        file.set_attributes(attributes).unwrap();
        file.sync().unwrap();
    }

    /// Takes a file's entry out of its folder, as a torn sector does; the stick is in again then, and not yet noticed.
    pub(in crate::mirror::model) fn tear_out(&mut self, side: Side, path: &str) {
        let disk = self.disks.get(side);
        disk.clear_faults();
        disk.reinsert(&mut |_| 0);
        let volume = disk.mount().unwrap();
        volume.remove_file(path).unwrap();
        volume.sync_all().unwrap();
    }

    /// A reader or a scrub found a drive's copy damaged.
    pub(in crate::mirror::model) fn report_damage(&mut self, side: Side, path: &str) {
        let Resolved::Found(place, Node::File(file)) = self.resolve(path) else { panic!("{path} is no file") };
        self.writer.lock().note(&[DriveFact::Damaged { side, place, file }]).unwrap();
    }

    /// Damages a copy of a file that the other drive has as well, and lets a scrub find it.
    pub(in crate::mirror::model) fn rot(&mut self, side: Side, path: &str) {
        self.disks.get(side).clear_faults();
        self.store.clear_fault();
        let Resolved::Found(place, Node::File(file)) = self.resolve(path) else { return };
        let Copy::Installed { .. } = file.copies.get(side) else { return };
        // What a lane is moving is for the next scrub to find.
        if self.journal.snapshot().owes_way(side, file.id, &place).unwrap() {
            return;
        }
        let whole = *file.copies.get(side.other()) != Copy::Missing && file.version.size > 0;
        if !whole || !self.holds(side.other(), path) || !self.is_present(side) || self.disks.get(side).is_dead() {
            return;
        }
        let Some(source) = places::source(&self.journal.snapshot(), side, &place, &file).unwrap() else { return };
        let volume = self.disks.get(side).mount().unwrap();
        if volume.stat(&source.path).unwrap().is_none_or(|meta| meta.observed.size != file.version.size) {
            return;
        }
        // Nobody else's bytes: those have no other copy.
        let there = self.disks.get(side).tree().remove(&source.path).flatten();
        if there.is_some_and(|bytes| self.foreign.contains(&bytes)) {
            return;
        }
        self.rotten = true;
        self.oracle.lose_copy(side, path);
        self.damage(side, &source.path);
        assert!(self.scrub(side) > 0, "{path} on {side}: a damaged copy that a scrub does not find");
    }

    /// A drive's scrub at its beginning.
    pub(in crate::mirror::model) fn pass(&self, side: Side) -> Option<Pass> {
        let drive = self.drives.get(side).as_ref()?;
        let journal = Arc::clone(&self.journal);
        Some(Pass::new(side, journal, Arc::clone(&drive.volume), ScrubPosition::default()))
    }

    /// Reads a drive through, and reports what is damaged; how many copies were.
    pub(in crate::mirror::model) fn scrub(&mut self, side: Side) -> usize {
        match self.pass(side) {
            Some(pass) => self.scrub_on(side, pass),
            None => 0,
        }
    }

    /// The same from wherever it stands.
    pub(in crate::mirror::model) fn scrub_on(&mut self, side: Side, mut pass: Pass) -> usize {
        let mut found = 0;
        for _ in 0..TURNS_MAX {
            match pass.turn() {
                Ok(Turn::End) => return found,
                Ok(Turn::Bad { place, file, .. }) => {
                    found += 1;
                    if let Copy::Installed { .. } = file.copies.get(side) {
                        self.writer.lock().note(&[DriveFact::Damaged { side, place, file: *file }]).unwrap();
                        self.writer.lock().barrier().unwrap();
                    }
                }
                Ok(Turn::Read(_) | Turn::Right(_) | Turn::Owed | Turn::Moving | Turn::LeftOut(..)) => {}
                Err(LaneError::Volume(_)) => {
                    self.lose(side);
                    return found;
                }
                Err(LaneError::Store(error)) => panic!("{error}"),
            }
        }
        panic!("a scrub of {side} without an end");
    }

    /// Where nothing rotted, only what may be half of what the mirror itself was writing stays aside.
    pub(in crate::mirror::model) fn check_aside(&self) {
        for side in Side::BOTH {
            let volume = self.disks.get(side).mount().unwrap();
            for folder in lying(&volume) {
                let may_stay = Item::parse(&folder).map_or(self.rebuilt, |item| item.cause == Cause::Damaged);
                assert!(self.rotten || may_stay, "{folder} was not taken in");
            }
        }
    }

    /// What lies aside goes, as a user removes it who has looked at it.
    pub(in crate::mirror::model) fn empty_aside(&mut self) {
        for side in Side::BOTH {
            let volume = self.disks.get(side).mount().unwrap();
            for name in lying(&volume) {
                let mut bytes = 0;
                let_go(&volume, &name, &mut bytes).unwrap();
                self.note_taken(side, &name, bytes, Rest::Nothing);
            }
            volume.sync_all().unwrap();
        }
    }

    /// Each lane knows how much lies aside on its drive.
    pub(in crate::mirror::model) fn check_stock(&self) {
        for side in Side::BOTH {
            let Some(drive) = self.drives.get(side) else { continue };
            let volume = self.disks.get(side).mount().unwrap();
            let names = lying(&volume);
            let bytes = |name: &String| measure(&volume, &layout::join(layout::ASIDE_FOLDER, name)).unwrap();
            let (items, bytes) = (names.len() as u64, names.iter().map(bytes).sum());
            let totals = drive.lane.stock().totals();
            assert_eq!(totals, Totals { items, bytes, ..totals }, "what lies aside on {side}: {names:?}");
        }
    }
}

/// What lies aside on a drive.
fn lying(volume: &dyn Volume) -> Vec<String> {
    volume.list(layout::ASIDE_FOLDER).unwrap().names.into_iter().filter(|name| layout::lies_aside(name)).collect()
}
