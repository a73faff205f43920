//! A mirror over simulated sticks that a test plugs in and pulls.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::clock;
use crate::ids::{Arrival, DriveId, Epoch, Lsn, MirrorId, PerSide, Side};
use crate::journal::{Enrolled, Enrolment, Receipt};
use crate::mirror::attachment::NewDrive;
use crate::mirror::core::Lost;
use crate::mirror::flaps::Ending;
use crate::mirror::label::{self, Label};
use crate::mirror::request::{Asker, BodySource, Limited, Overwrite, Priority, PutRequest, Recurse};
use crate::mirror::sim_volume::SimDisk;
use crate::mirror::state::DriveState;
use crate::mirror::volume::FsKind;
use crate::mirror::{Mirror, MirrorLimits};
use crate::path::RelPath;

const MIRROR: MirrorId = MirrorId([9; 16]);
const DRIVES: PerSide<DriveId> = PerSide { a: DriveId([1; 16]), b: DriveId([2; 16]) };

pub(crate) struct Stand {
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) losses: mpsc::UnboundedReceiver<Lost>,
    pub(crate) disks: PerSide<SimDisk>,
    pub(crate) visits: u64,
    _state: tempfile::TempDir,
}

impl Stand {
    pub(crate) async fn new(limits: MirrorLimits) -> Self {
        let state = tempfile::tempdir().unwrap();
        let enrolled = |side| Enrolled { id: *DRIVES.get(side), place: String::new() };
        let enrolment = Enrolment { mirror: MIRROR, drives: PerSide::new(enrolled), plain: true };
        Mirror::create(state.path(), &enrolment).unwrap();
        let (mirror, losses) = Mirror::start(state.path(), limits).unwrap();
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
    pub(crate) fn plug_in(&mut self, side: Side) -> Weak<()> {
        self.plug_in_as(side, None)
    }

    /// As [`Stand::plug_in`], as the device of this number.
    pub(crate) fn plug_in_as(&mut self, side: Side, diskseq: Option<u64>) -> Weak<()> {
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
            diskseq,
            guard: Box::new(guard),
        });
        held
    }

    pub(crate) async fn pull(&self, side: Side, how: Ending) {
        self.mirror.departed(side, self.visits, "pulled", how);
        self.wait_for(side, DriveState::Absent).await;
        self.wait_for_threads(side).await;
    }

    /// Until they have ended a drive that comes is turned away, and the watcher brings it again.
    pub(crate) async fn wait_for_threads(&self, side: Side) {
        let seat = self.mirror.core.seat(side);
        until("its threads have ended", || !seat.is_fenced(None)).await;
    }

    pub(crate) fn state(&self, side: Side) -> DriveState {
        self.mirror.core.seat(side).state()
    }

    pub(crate) async fn wait_for(&self, side: Side, state: DriveState) {
        until(state.name(), || self.state(side) == state).await;
    }

    pub(crate) async fn make_folder(&self, path: &str) {
        self.mirror.make_folder(&RelPath::parse(path).unwrap(), Recurse::No, None).await.unwrap();
    }

    /// Puts a file of sevens.
    pub(crate) async fn put(&self, path: &str, bytes: usize) -> Receipt {
        let request = PutRequest {
            path: RelPath::parse(path).unwrap(),
            overwrite: Overwrite::Yes,
            len: Some(bytes as u64),
            mtime_ns: Some(5),
            executable: false,
            owner: String::new(),
            asker: Asker::own(Priority::Normal),
            source: BodySource::Client,
            limited: Limited::Yes,
            id: None,
        };
        let mut upload = self.mirror.begin_put(request).await.unwrap();
        upload.write(Bytes::from(vec![7; bytes])).await.unwrap();
        let crc = upload.crc32();
        upload.commit(crc).await.unwrap()
    }
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = clock::now() + Duration::from_secs(20);
    while !holds() {
        assert!(clock::now() < deadline, "{what}: not within 20 s");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
