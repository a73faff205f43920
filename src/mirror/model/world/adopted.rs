//! Worlds in which the drives say of the mirror what they do in the daemon, so that the journal can be lost.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::Arc;

use crate::ids::{Arrival, Epoch, Lsn, PerSide, Side};
use crate::journal::mem_store::MemDisk;
use crate::journal::{Beginning, Change, Enrolment};
use crate::mirror::adopt::{Homes, Progress, Survey, rebuild, survey};
use crate::mirror::label::{self, Label, LabelError};
use crate::mirror::lane::{Known, LaneError};
use crate::mirror::log_thread::Taken;
use crate::mirror::manifest::{self, Head, Keeper, Turn};
use crate::mirror::model::world::World;
use crate::mirror::set_apart::set_apart;
use crate::mirror::volume::{FsKind, Volume};

/// As the command has it, where a drive is waived.
const WAIVED_GAP: u64 = 1 << 32;

/// Whether the drives have labels and manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manifests {
    Kept,
    Not,
}

/// What becomes of the machine when its boot disk dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mirror::model) enum Loss {
    /// The daemon alone ends: the drives keep what they were told.
    Kill,
    PowerCut,
}

impl World {
    /// A world whose journal can be lost.
    pub(in crate::mirror::model) fn with_manifests(kind: FsKind, seed: u64) -> Self {
        let mut world = Self::without_drives(kind, seed);
        world.manifests = Manifests::Kept;
        let enrolment = world.journal.enrolment();
        for side in Side::BOTH {
            let label = Label {
                mirror: enrolment.mirror,
                drive: enrolment.drives.get(side).id,
                side,
                enrolled: PerSide::new(|side| enrolment.drives.get(side).id),
                epoch: Epoch(0),
                committed: Lsn(0),
                arrivals: Arrival(0),
                serial: 0,
            };
            label::create(&world.disks.get(side).mount().unwrap(), &label).unwrap();
            world.arrive(side);
        }
        world
    }

    /// Whether both drives are there and owe nothing.
    pub(in crate::mirror::model) fn is_at_rest(&self) -> bool {
        Side::BOTH.into_iter().all(|side| self.is_present(side) && !self.owes(side))
    }

    /// Whether the journal may be lost here.
    pub(in crate::mirror::model) fn tells_all(&self) -> bool {
        self.manifests == Manifests::Kept && !self.untold
    }

    /// What is known of a drive that comes; where that is what it may have, its own history is set apart.
    pub(super) fn welcome(&self, side: Side, volume: &Arc<dyn Volume>) -> Result<Known, LaneError> {
        if !self.journal.is_waived(side).unwrap() {
            return Ok(Known::Recorded);
        }
        set_apart(volume.as_ref())?;
        let label = read_label(volume.as_ref())?;
        write_label(volume.as_ref(), &Label { committed: Lsn(0), ..label })?;
        Ok(Known::Maybe)
    }

    /// What a drive that comes is given to say.
    pub(super) fn open_manifest(&self, side: Side, volume: &Arc<dyn Volume>) -> Result<Option<Keeper>, LaneError> {
        if self.manifests == Manifests::Not {
            return Ok(None);
        }
        let label = read_label(volume.as_ref())?;
        let label = Label { epoch: self.journal.epoch(), arrivals: Arrival(self.arrivals), ..label };
        write_label(volume.as_ref(), &label)?;
        let enrolment = self.journal.enrolment().as_ref().clone();
        let head = Head { drive: label.drive, enrolment, epoch: label.epoch };
        let mut keeper = Keeper::open(Arc::clone(volume), side, head, label.committed)?;
        keeper.take_segments()?;
        keeper.take_debts(&self.journal, self.journal.head())?;
        Ok(Some(keeper))
    }

    /// Works on a drive's snapshot until it is done.
    pub(super) fn take_snapshot(&mut self, side: Side) {
        let Some(drive) = self.drives.get_mut(side) else { return };
        let Some(keeper) = &mut drive.keeper else { return };
        loop {
            match keeper.turn(&self.journal, || Some(drive.log.position())) {
                Ok(Turn::More) => {}
                Ok(Turn::Done) => return,
                Err(_) => return self.lose(side),
            }
        }
    }

    /// What was committed is durable on the drives that are there before anything comes of it.
    pub(super) fn tell_drives(&mut self, changes: &[Change]) {
        if self.manifests == Manifests::Not || changes.is_empty() {
            return;
        }
        let mut told = false;
        for side in Side::BOTH {
            let Some(keeper) = self.drives.get_mut(side).as_mut().and_then(|drive| drive.keeper.as_mut()) else {
                continue;
            };
            match keeper.take(&Taken { changes: changes.to_vec(), omitted: 0 }).and_then(|()| keeper.sync()) {
                Ok(()) => told = true,
                Err(_) => self.lose(side),
            }
        }
        // It is not acknowledged either, in the daemon; the oracle has it all the same.
        self.untold |= !told;
    }

    /// The label as a checkpoint writes it.
    pub(super) fn write_checkpoint(&mut self, side: Side) {
        let Some(drive) = self.drives.get(side) else { return };
        let Some(keeper) = &drive.keeper else { return };
        let written = label::read(drive.volume.as_ref()).and_then(|label| {
            let label = label.ok_or(LabelError::Missing)?;
            label::write(drive.volume.as_ref(), &Label { committed: keeper.covered(), ..label })
        });
        if written.is_err() {
            self.lose(side);
        }
    }

    /// The boot disk is gone; the journal is rebuilt from both drives, or without one that stays away, and the daemon
    /// started on that.
    pub(in crate::mirror::model) fn lose_journal(&mut self, loss: Loss, without: Option<Side>) {
        for side in Side::BOTH.into_iter().filter(|side| Some(*side) != without) {
            self.disks.get(side).clear_faults();
            let mut choice = self.choose();
            match loss {
                _ if self.disks.get(side).is_pulled() => drop(self.disks.get(side).reinsert(&mut choice)),
                Loss::PowerCut => self.disks.get(side).crash(&mut choice),
                Loss::Kill => {}
            }
        }
        self.drives = PerSide { a: None, b: None };
        let enrolment = self.journal.enrolment().as_ref().clone();
        let store = MemDisk::new();
        self.adopt(&store, enrolment, without);
        (self.store, self.rebuilt) = (store, true);
        if let Some(side) = without {
            // It is not counted on before it is back.
            self.oracle.forget(side);
        }
        self.start();
    }

    fn adopt(&mut self, store: &MemDisk, enrolment: Enrolment, without: Option<Side>) {
        let now_ns = self.tick();
        let volume = |side: Side| self.disks.get(side).mount().unwrap();
        let found = PerSide::new(|side| {
            (Some(side) != without).then(|| {
                let label = label::read(&volume(side)).unwrap().expect("a label");
                (survey(&volume(side), Some(label.clone()), &Progress::default()).unwrap(), label)
            })
        });
        let found: PerSide<Option<(Survey, Label)>> = found;
        let labels = PerSide::new(|side| found.get(side).as_ref().map(|(_, label)| label.clone()));
        let surveys = PerSide { a: found.a.map(|(survey, _)| survey), b: found.b.map(|(survey, _)| survey) };
        let gap = if without.is_some() { WAIVED_GAP } else { 0 };
        let outcome = rebuild(surveys, Homes::default(), gap, now_ns).unwrap();
        for (side, _) in labels.iter().filter(|(_, label)| label.is_some()) {
            manifest::outdate(&volume(side)).unwrap();
        }
        let epochs = labels.iter().filter_map(|(_, label)| Some(label.as_ref()?.epoch.0));
        let namespace = self.journal.namespaces().unwrap().a;
        let beginning = Beginning {
            enrolment,
            epoch: Epoch(epochs.max().unwrap_or_default() + gap),
            head: outcome.head,
            next_node: outcome.next_node,
            serials: PerSide::new(|side| labels.get(side).as_ref().map(|label| label.serial)),
            namespaces: PerSide::new(|_| namespace),
            waived: PerSide::new(|side| Some(side) == without),
        };
        outcome.import(&store.open(), &beginning).unwrap();
    }
}

fn read_label(volume: &dyn Volume) -> Result<Label, LaneError> {
    match label::read(volume) {
        Ok(label) => Ok(label.expect("a label")),
        Err(LabelError::Volume(error)) => Err(error.into()),
        Err(error) => panic!("{error}"),
    }
}

fn write_label(volume: &dyn Volume, label: &Label) -> Result<(), LaneError> {
    match label::write(volume, label) {
        Ok(_) => Ok(()),
        Err(LabelError::Volume(error)) => Err(error.into()),
        Err(error) => panic!("{error}"),
    }
}
