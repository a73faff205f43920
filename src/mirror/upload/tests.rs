#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::clock;
use crate::digest::Crc32;
use crate::ids::{Arrival, DriveId, Epoch, Lsn, MirrorId, PerSide, Side};
use crate::journal::{Enrolled, Enrolment};
use crate::mirror::attachment::NewDrive;
use crate::mirror::core::Lost;
use crate::mirror::label::{self, Label};
use crate::mirror::layout;
use crate::mirror::limits::MirrorLimits;
use crate::mirror::mirror::Mirror;
use crate::mirror::request::{Overwrite, PutRequest, Refusal};
use crate::mirror::sim_volume::{SimDisk, SimVolume};
use crate::mirror::upload::Upload;
use crate::mirror::volume::{FsKind, Volume};
use crate::path::RelPath;

const MIRROR: MirrorId = MirrorId([9; 16]);
const MIB: u64 = 1 << 20;
const CAPACITY: u64 = 24 * MIB;

/// A mirror with both drives in.
struct Stand {
    mirror: Arc<Mirror>,
    disks: PerSide<SimDisk>,
    _losses: mpsc::UnboundedReceiver<Lost>,
    _state: tempfile::TempDir,
}

fn drive_id(side: Side) -> DriveId {
    match side {
        Side::A => DriveId([1; 16]),
        Side::B => DriveId([2; 16]),
    }
}

impl Stand {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let enrolled = |side| Enrolled { id: drive_id(side), place: String::new() };
        let enrolment = Enrolment { mirror: MIRROR, drives: PerSide::new(enrolled), plain: true };
        Mirror::create(state.path(), &enrolment).unwrap();
        let (mirror, losses) = Mirror::start(state.path(), MirrorLimits::default()).unwrap();
        let disks = PerSide::new(|_| SimDisk::new(FsKind::Atomic, CAPACITY));
        let stand = Self { mirror, disks, _losses: losses, _state: state };
        for side in Side::BOTH {
            stand.plug_in(side);
        }
        let deadline = clock::now() + Duration::from_secs(20);
        // The first manifest takes room, and gives it back where it finds too little.
        while !Side::BOTH.into_iter().all(|side| stand.is_there(side) && stand.has_manifest(side)) {
            assert!(clock::now() < deadline, "the drives do not come up");
            std::thread::yield_now();
        }
        stand
    }

    fn volume(&self, side: Side) -> SimVolume {
        self.disks.get(side).mount().unwrap()
    }

    fn plug_in(&self, side: Side) {
        let volume = self.volume(side);
        let label = Label {
            mirror: MIRROR,
            drive: drive_id(side),
            side,
            enrolled: PerSide::new(drive_id),
            epoch: Epoch(0),
            committed: Lsn(0),
            arrivals: Arrival(0),
            serial: 0,
        };
        label::create(&volume, &label).unwrap();
        let path = PathBuf::from(format!("/stick-{side}"));
        let guard = Box::new(());
        self.mirror.arrived(NewDrive { side, visit: 1, label, volume: Arc::new(volume), path, diskseq: None, guard });
    }

    fn has_manifest(&self, side: Side) -> bool {
        let names = self.volume(side).list(layout::MANIFEST_FOLDER).unwrap_or_default();
        names.iter().any(|name| name == "1-0")
    }

    fn is_there(&self, side: Side) -> bool {
        self.mirror.core.seat(side).attachment().is_some()
    }

    async fn begin(&self, path: &str, len: Option<u64>) -> Result<Upload, Refusal> {
        let path = RelPath::parse(path).unwrap();
        self.mirror
            .begin_put(PutRequest {
                path,
                overwrite: Overwrite::Yes,
                len,
                mtime_ns: Some(5),
                executable: false,
                id: None,
            })
            .await
    }
}

/// Sends `bytes` zeros.
async fn send(upload: &mut Upload, bytes: u64) -> Result<Crc32, Refusal> {
    const PIECE: u64 = 256 << 10;
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(PIECE);
        upload.write(Bytes::from(vec![0; piece as usize])).await?;
        left -= piece;
    }
    Ok(upload.crc32())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_put_on_a_full_drive_is_refused_and_the_drive_stays() {
    let stand = Stand::new();
    let volume = stand.volume(Side::B);
    let filling = volume.create("filling").unwrap();
    filling.preallocate(volume.space().unwrap().free).unwrap();
    let mut upload = stand.begin("f", Some(3)).await.unwrap();
    let crc = send(&mut upload, 3).await.unwrap();
    let refusal = upload.commit(crc).await.unwrap_err();
    assert!(matches!(refusal, Refusal::NoSpace { drive: Side::B, free: 0, needed: 3 }), "{refusal}");
    assert!(Side::BOTH.into_iter().all(|side| stand.is_there(side)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_does_not_take_a_stage_is_not_lost() {
    let stand = Stand::new();
    stand.volume(Side::A).remove_folder(layout::STAGE_FOLDER).unwrap();
    let mut upload = stand.begin("f", Some(MIB)).await.unwrap();
    send(&mut upload, MIB).await.unwrap();
    assert!(stand.is_there(Side::A));
    drop(upload);
    // The stage of the dropped upload goes before its folder can.
    let deadline = clock::now() + Duration::from_secs(20);
    while stand.volume(Side::B).remove_folder(layout::STAGE_FOLDER).is_err() {
        assert!(clock::now() < deadline, "the stage stays");
        tokio::task::yield_now().await;
    }
    let mut upload = stand.begin("f", Some(MIB)).await.unwrap();
    let refusal = send(&mut upload, MIB).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Unavailable { drive: Some(_), .. }), "{refusal}");
    assert!(Side::BOTH.into_iter().all(|side| stand.is_there(side)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_unknown_length_does_not_take_the_room_of_an_announced_one() {
    let stand = Stand::new();
    let mut announced = stand.begin("announced", Some(14 * MIB)).await.unwrap();
    let mut grown = stand.begin("grown", None).await.unwrap();
    let refusal = send(&mut grown, 12 * MIB).await.unwrap_err();
    assert!(matches!(refusal, Refusal::NoSpace { .. }), "{refusal}");
    drop(grown);
    let crc = send(&mut announced, 14 * MIB).await.unwrap();
    announced.commit(crc).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_unknown_length_may_fill_what_is_free() {
    let stand = Stand::new();
    let mut upload = stand.begin("f", None).await.unwrap();
    let crc = send(&mut upload, 22 * MIB).await.unwrap();
    assert_eq!(upload.commit(crc).await.unwrap().drives, Side::BOTH);
}

#[tokio::test(flavor = "multi_thread")]
async fn room_that_somebody_else_made_counts() {
    let stand = Stand::new();
    let volume = stand.volume(Side::B);
    let filling = volume.create("filling").unwrap();
    filling.preallocate(20 * MIB).unwrap();
    let mut upload = stand.begin("f", None).await.unwrap();
    send(&mut upload, 12 * MIB).await.unwrap_err();
    drop((upload, filling));
    volume.remove_file("filling").unwrap();
    let mut upload = stand.begin("f", Some(12 * MIB)).await.unwrap();
    let crc = send(&mut upload, 12 * MIB).await.unwrap();
    upload.commit(crc).await.unwrap();
}

/// Polls a future once and drops it, as a client that leaves drops its request.
async fn cut_short<T>(future: impl Future<Output = T>) {
    tokio::select! {
        biased;
        _ = future => {}
        () = std::future::ready(()) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_dropped_at_any_await_leaves_no_stage() {
    let stand = Stand::new();
    for pieces in 0..4 {
        let mut upload = stand.begin("f", Some(8 * MIB)).await.unwrap();
        for _ in 0..pieces {
            upload.write(Bytes::from(vec![0; MIB as usize])).await.unwrap();
        }
        cut_short(upload.write(Bytes::from(vec![0; MIB as usize]))).await;
        drop(upload);
    }
    let mut upload = stand.begin("f", Some(MIB)).await.unwrap();
    let crc = send(&mut upload, MIB).await.unwrap();
    cut_short(upload.commit(crc)).await;
    let deadline = clock::now() + Duration::from_secs(20);
    for side in Side::BOTH {
        let attachment = stand.mirror.core.seat(side).attachment().unwrap();
        // A commit that had got far enough goes on without its client: the lane takes the stage then.
        let stages = || stand.volume(side).list(layout::STAGE_FOLDER).unwrap();
        while attachment.io.depth() > 0 || !stages().is_empty() {
            assert!(clock::now() < deadline, "left on {side}: {:?}", stages());
            std::thread::yield_now();
        }
    }
}
