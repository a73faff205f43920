#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::clock;
use crate::digest::Crc32;
use crate::ids::{Arrival, DriveId, Epoch, Lsn, MirrorId, PerSide, RequestId, Side};
use crate::journal::{Enrolled, Enrolment};
use crate::mirror::attachment::NewDrive;
use crate::mirror::core::Lost;
use crate::mirror::label::{self, Label};
use crate::mirror::layout;
use crate::mirror::limits::MirrorLimits;
use crate::mirror::mirror::Mirror;
use crate::mirror::refusal::Refusal;
use crate::mirror::request::{Asker, BodySource, Overwrite, Priority, PutRequest, Recurse, Span};
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
        Self::with(MirrorLimits::default())
    }

    fn with(limits: MirrorLimits) -> Self {
        let state = tempfile::tempdir().unwrap();
        let enrolled = |side| Enrolled { id: drive_id(side), place: String::new() };
        let enrolment = Enrolment { mirror: MIRROR, drives: PerSide::new(enrolled), plain: true };
        Mirror::create(state.path(), &enrolment).unwrap();
        let (mirror, losses) = Mirror::start(state.path(), limits).unwrap();
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
        let names = self.volume(side).list(layout::MANIFEST_FOLDER).unwrap_or_default().names;
        names.iter().any(|name| name == "1-0")
    }

    fn is_there(&self, side: Side) -> bool {
        self.mirror.core.seat(side).attachment().is_some()
    }

    async fn begin(&self, path: &str, len: Option<u64>) -> Result<Upload, Refusal> {
        self.begin_by(path, len, None).await
    }

    async fn begin_by(&self, path: &str, len: Option<u64>, id: Option<RequestId>) -> Result<Upload, Refusal> {
        let path = RelPath::parse(path).unwrap();
        self.mirror
            .begin_put(PutRequest {
                path,
                overwrite: Overwrite::Yes,
                len,
                mtime_ns: Some(5),
                executable: false,
                owner: String::new(),
                asker: Asker::own(Priority::Normal),
                source: BodySource::Client,
                limited: crate::mirror::request::Limited::Yes,
                id,
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
    // Where nothing was, the folder would be made again.
    stand.volume(Side::A).create(layout::STAGE_FOLDER).unwrap();
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
    stand.volume(Side::B).create(layout::STAGE_FOLDER).unwrap();
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
async fn what_an_upload_has_written_of_its_room_counts_once() {
    let stand = Stand::new();
    let mut large = stand.begin("large", Some(16 * MIB)).await.unwrap();
    send(&mut large, 15 * MIB).await.unwrap();
    // The drives are asked for their room as it grows.
    let mut beside = stand.begin("beside", None).await.unwrap();
    let crc = send(&mut beside, 4 * MIB).await.unwrap();
    beside.commit(crc).await.unwrap();
    let crc = send(&mut large, MIB).await.unwrap();
    large.commit(crc).await.unwrap();
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
        let stages = || stand.volume(side).list(layout::STAGE_FOLDER).unwrap().names;
        while attachment.io.depth() > 0 || !stages().is_empty() {
            assert!(clock::now() < deadline, "left on {side}: {:?}", stages());
            std::thread::yield_now();
        }
    }
}

/// A mirror with a trash, and files of 6 MiB each in it, which neither drive has unlinked.
async fn stand_with_trash(files: usize) -> Stand {
    let stand = Stand::with(MirrorLimits { trash_for: Some(Duration::from_hours(24)), ..MirrorLimits::default() });
    for number in 0..files {
        let name = format!("old-{number}");
        let mut upload = stand.begin(&name, Some(6 * MIB)).await.unwrap();
        let crc = send(&mut upload, 6 * MIB).await.unwrap();
        upload.commit(crc).await.unwrap();
        stand.mirror.remove(&RelPath::parse(&name).unwrap(), Recurse::No, None).await.unwrap();
    }
    stand
}

fn kept(stand: &Stand) -> Vec<String> {
    let items = stand.mirror.trash(&RelPath::ROOT, 100).unwrap();
    items.into_iter().map(|item| item.path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_in_the_trash_goes_first_when_room_is_needed() {
    let stand = stand_with_trash(3).await;
    assert_eq!(kept(&stand), ["old-0", "old-1", "old-2"]);
    for len in [Some(8 * MIB), None] {
        let mut upload = stand.begin("new", len).await.unwrap();
        let crc = send(&mut upload, 8 * MIB).await.unwrap();
        assert_eq!(upload.commit(crc).await.unwrap().drives, Side::BOTH);
        let left = kept(&stand);
        assert!(left.contains(&"old-2".to_owned()) && !left.contains(&"old-0".to_owned()), "{left:?}");
        stand.mirror.remove(&RelPath::parse("new").unwrap(), Recurse::No, None).await.unwrap();
        stand.mirror.empty_trash().await.unwrap();
        for number in 1..3 {
            let mut upload = stand.begin(&format!("old-{number}"), Some(6 * MIB)).await.unwrap();
            let crc = send(&mut upload, 6 * MIB).await.unwrap();
            upload.commit(crc).await.unwrap();
            let path = RelPath::parse(&format!("old-{number}")).unwrap();
            stand.mirror.remove(&path, Recurse::No, None).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trash_that_has_not_room_enough_stays_as_it_is() {
    let stand = stand_with_trash(2).await;
    let refusal = stand.begin("new", Some(40 * MIB)).await.err().unwrap();
    assert!(matches!(refusal, Refusal::NoSpace { .. }), "{refusal}");
    assert_eq!(kept(&stand), ["old-0", "old-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_without_room_takes_it_from_the_trash() {
    let stand = stand_with_trash(2).await;
    let wait_for = async |what: &str, holds: &dyn Fn() -> bool| {
        let deadline = clock::now() + Duration::from_secs(20);
        while !holds() {
            assert!(clock::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    wait_for("both drives have the trash", &|| Side::BOTH.iter().all(|side| stand.mirror.behind(*side).paths == 0))
        .await;
    // The log has its room already; a draft finds none: somebody else filled the stick.
    let volume = stand.volume(Side::B);
    let mut upload = stand.begin("f", Some(60_000)).await.unwrap();
    let crc = send(&mut upload, 60_000).await.unwrap();
    let filling = volume.create("filling").unwrap();
    let free = volume.space().unwrap().free;
    filling.preallocate(free - 50_000).unwrap();
    upload.commit(crc).await.unwrap();
    wait_for("b installs it", &|| volume.stat("f").unwrap().is_some()).await;
    wait_for("both are in sync", &|| Side::BOTH.iter().all(|side| stand.mirror.behind(*side).paths == 0)).await;
    assert_eq!(kept(&stand), ["old-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_from_the_trash_when_its_file_is_removed_and_its_drive_pulled() {
    // One of them serves it.
    for side in Side::BOTH {
        let stand = stand_with_trash(0).await;
        let path = RelPath::parse("f").unwrap();
        let mut upload = stand.begin("f", Some(MIB)).await.unwrap();
        let crc = send(&mut upload, MIB).await.unwrap();
        upload.commit(crc).await.unwrap();
        let mut download = stand.mirror.open(&path, Span::default(), &Asker::own(Priority::Normal)).await.unwrap();
        let mut bytes = download.next().await.unwrap().unwrap().len() as u64;
        stand.mirror.remove(&path, Recurse::No, None).await.unwrap();
        stand.disks.get(side).pull();
        while let Some(block) = download.next().await.unwrap() {
            bytes += block.len() as u64;
        }
        assert_eq!(bytes, MIB);
        assert!(stand.mirror.open(&path, Span::default(), &Asker::own(Priority::Normal)).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_sent_again_while_its_first_try_is_stored_gets_that_ones_answer_in_a_folder_that_is_full_by_it() {
    let stand = Stand::with(MirrorLimits { folder_entries_max: 1, ..MirrorLimits::default() });
    for round in 0..20 {
        let id = RequestId::parse(&format!("id-{round}"));
        let mut first = stand.begin_by("f", Some(3), id.clone()).await.unwrap();
        let crc = send(&mut first, 3).await.unwrap();
        // From here on nobody ends it.
        first.claim.settle().unwrap();
        let first = tokio::spawn(first.commit(crc));
        let mut again = loop {
            let again = stand.begin_by("f", Some(3), id.clone()).await.unwrap();
            if first.is_finished() {
                break again;
            }
        };
        let receipt = first.await.unwrap().unwrap();
        let crc = send(&mut again, 3).await.unwrap();
        let answer = again.commit(crc).await.unwrap();
        assert_eq!((answer.lsn, answer.crc32), (receipt.lsn, receipt.crc32));
        stand.mirror.remove(&RelPath::parse("f").unwrap(), Recurse::No, None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_waited_for_its_place_gives_what_is_there_when_it_has_it() {
    let stand = Stand::with(MirrorLimits { transfers_max: 1, ..MirrorLimits::default() });
    let path = RelPath::parse("f").unwrap();
    // The second one needs no place any more.
    for (before, now) in [(MIB, 2 * MIB), (2 * MIB, 3)] {
        let asker = Asker::own(Priority::Normal);
        let mut upload = stand.begin("f", Some(before)).await.unwrap();
        let crc = send(&mut upload, before).await.unwrap();
        upload.commit(crc).await.unwrap();
        let mut next = stand.begin("f", Some(now)).await.unwrap();
        let in_the_way = match next.transfer {
            Some(_) => None,
            None => Some(stand.begin("beside", Some(MIB)).await.unwrap()),
        };
        let mut download = Box::pin(stand.mirror.open(&path, Span::default(), &asker));
        cut_short(&mut download).await;
        let crc = send(&mut next, now).await.unwrap();
        let receipt = next.commit(crc).await.unwrap();
        drop(in_the_way);
        let mut download = download.await.unwrap();
        assert_eq!((download.lsn, download.len), (receipt.lsn, now));
        let mut bytes = 0;
        while let Some(block) = download.next().await.unwrap() {
            bytes += block.len() as u64;
        }
        assert_eq!(bytes, now);
    }
}
