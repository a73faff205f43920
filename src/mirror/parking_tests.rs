//! A mirror whose drive b comes and goes.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock;
use crate::ids::{Arrival, DriveId, Epoch, Lsn, MirrorId, PerSide, Side};
use crate::journal::{Enrolled, Enrolment};
use crate::mirror::core::Lost;
use crate::mirror::flaps::{COUNTED, Ending};
use crate::mirror::label::{self, Label};
use crate::mirror::request::Recurse;
use crate::mirror::seat::NewDrive;
use crate::mirror::sim_volume::SimDisk;
use crate::mirror::state::DriveState;
use crate::mirror::volume::{FsKind, Volume as _};
use crate::mirror::{Mirror, MirrorLimits};
use crate::path::RelPath;

const MIRROR: MirrorId = MirrorId([9; 16]);
const DRIVES: PerSide<DriveId> = PerSide { a: DriveId([1; 16]), b: DriveId([2; 16]) };

struct Stand {
    mirror: Arc<Mirror>,
    losses: mpsc::UnboundedReceiver<Lost>,
    disks: PerSide<SimDisk>,
    visits: u64,
    _state: tempfile::TempDir,
}

impl Stand {
    async fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let enrolled = |side| Enrolled { id: *DRIVES.get(side), place: String::new() };
        let enrolment = Enrolment { mirror: MIRROR, drives: PerSide::new(enrolled), plain: true };
        Mirror::create(state.path(), &enrolment).unwrap();
        let (mirror, losses) = Mirror::start(state.path(), MirrorLimits::default()).unwrap();
        let disks = PerSide::new(|_| SimDisk::new(FsKind::Atomic, 24 << 20));
        for side in Side::BOTH {
            let label = Label {
                mirror: MIRROR,
                drive: *DRIVES.get(side),
                side,
                enrolled: DRIVES,
                epoch: Epoch(0),
                committed: Lsn(0),
                arrivals: Arrival(0),
                serial: 0,
            };
            label::create(&disks.get(side).mount().unwrap(), &label).unwrap();
        }
        let mut stand = Self { mirror, losses, disks, visits: 0, _state: state };
        for side in Side::BOTH {
            drop(stand.plug_in(side));
            stand.wait_for(side, DriveState::InSync).await;
        }
        stand
    }

    /// What lives as long as the mirror holds the drive.
    fn plug_in(&mut self, side: Side) -> Weak<()> {
        self.visits += 1;
        let volume = self.disks.get(side).mount().unwrap();
        let label = label::read(&volume).unwrap().unwrap();
        let guard = Arc::new(());
        let held = Arc::downgrade(&guard);
        self.mirror.arrived(NewDrive {
            side,
            visit: self.visits,
            label,
            volume: Arc::new(volume),
            path: PathBuf::from(format!("/stick-{side}")),
            diskseq: None,
            guard: Box::new(guard),
        });
        held
    }

    async fn pull(&self, side: Side, how: Ending) {
        self.mirror.departed(side, self.visits, "pulled", how);
        self.wait_for(side, DriveState::Absent).await;
        let seat = self.mirror.core.seat(side);
        until("its threads have ended", || !seat.is_fenced(None)).await;
    }

    fn state(&self, side: Side) -> DriveState {
        self.mirror.core.seat(side).state()
    }

    async fn wait_for(&self, side: Side, state: DriveState) {
        until(state.name(), || self.state(side) == state).await;
    }

    async fn make_folder(&self, path: &str) {
        self.mirror.make_folder(&RelPath::parse(path).unwrap(), Recurse::No, None).await.unwrap();
    }

    /// Lets drive b fail and come back until it is parked.
    async fn park(&mut self) -> Weak<()> {
        for _ in 1..MirrorLimits::default().flaps_max {
            self.pull(Side::B, Ending::Failure).await;
            drop(self.plug_in(Side::B));
            self.wait_for(Side::B, DriveState::InSync).await;
        }
        self.pull(Side::B, Ending::Failure).await;
        let held = self.plug_in(Side::B);
        self.wait_for(Side::B, DriveState::Parked).await;
        held
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = clock::now() + Duration::from_secs(20);
    while !holds() {
        assert!(clock::now() < deadline, "{what}: not within 20 s");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_flaps_is_parked_held_by_nobody_and_replayed_to_when_it_is_unparked() {
    let mut stand = Stand::new().await;
    let held = stand.park().await;
    until("nothing of the drive is held", || held.strong_count() == 0).await;
    let told: Vec<_> = std::iter::from_fn(|| stand.losses.try_recv().ok()).collect();
    assert_eq!(told.last(), Some(&Lost { side: Side::B, visit: stand.visits }), "the watcher is to let go of it");
    assert!(stand.mirror.parked().borrow().b.is_some());
    assert!(stand.mirror.core.seat(Side::B).condition().reason.unwrap().contains("3 times within an hour"));

    // Whoever waits does not wait for it, and it is refused for as long.
    stand.make_folder("meanwhile").await;
    tokio::time::timeout(Duration::from_secs(20), stand.mirror.wait_in_sync()).await.unwrap();
    assert!(stand.mirror.core.lacks(Side::B, stand.mirror.core.journal.head()));
    drop(stand.plug_in(Side::B));
    assert_eq!(stand.state(Side::B), DriveState::Parked);

    stand.mirror.unpark(Side::B).unwrap();
    assert!(stand.mirror.unpark(Side::B).is_err(), "it is not parked any more");
    assert_eq!(stand.mirror.parked().borrow().b, None);
    drop(stand.plug_in(Side::B));
    stand.wait_for(Side::B, DriveState::InSync).await;
    assert!(stand.disks.b.mount().unwrap().stat("meanwhile").unwrap().is_some());
    // Its flaps are forgotten: the next is the first.
    stand.pull(Side::B, Ending::Failure).await;
    drop(stand.plug_in(Side::B));
    stand.wait_for(Side::B, DriveState::InSync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_drive_is_looked_for_again_when_its_time_is_over() {
    let mut stand = Stand::new().await;
    let before = clock::now();
    stand.park().await;
    let until = stand.mirror.parked().borrow().b.unwrap();
    assert!(until >= before + COUNTED && until <= clock::now() + COUNTED);
    stand.mirror.end_parking(until.checked_sub(Duration::from_secs(1)).unwrap());
    assert_eq!(stand.state(Side::B), DriveState::Parked);
    stand.mirror.end_parking(until);
    assert_eq!(stand.state(Side::B), DriveState::Absent);
    assert_eq!(stand.mirror.parked().borrow().b, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_is_unmounted_and_mounted_again_and_again_is_not_parked() {
    let mut stand = Stand::new().await;
    for _ in 0..2 * MirrorLimits::default().flaps_max {
        stand.pull(Side::B, Ending::Orderly).await;
        drop(stand.plug_in(Side::B));
        stand.wait_for(Side::B, DriveState::InSync).await;
    }
}
