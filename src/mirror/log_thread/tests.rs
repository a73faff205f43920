#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock;
use crate::digest::Crc32;
use crate::ids::{Arrival, DriveId, Lsn, NodeId, Nonce, Ticket};
use crate::journal::{Change, Stage, Version};
use crate::mirror::drive_log::{Append, DriveLog, LOG_BYTES_MAX, Record, SEGMENT_BYTES};
use crate::mirror::fair::{Class, Flow};
use crate::mirror::layout;
use crate::mirror::log_thread::{LogHandle, NoRoom, Settled};
use crate::mirror::sim_volume::{CallKind, Fault, SimDisk};
use crate::mirror::volume::{Disposition, FsKind, Volume, VolumeFile};

const CAPACITY: u64 = 1 << 20;

fn own() -> Flow {
    Flow::own(Class::Interactive)
}

fn disk() -> (SimDisk, Arc<dyn Volume>) {
    disk_of(CAPACITY)
}

fn disk_of(capacity: u64) -> (SimDisk, Arc<dyn Volume>) {
    let disk = SimDisk::new(FsKind::Atomic, capacity);
    let volume = disk.mount().unwrap();
    volume.make_folder(".twinstick").unwrap();
    volume.make_folder(layout::LOG_FOLDER).unwrap();
    (disk, Arc::new(volume))
}

/// A file of the user's, which leaves `free` bytes.
fn fill(volume: &dyn Volume, free: u64) -> Arc<dyn VolumeFile> {
    let file = volume.create("filling").unwrap();
    file.preallocate(volume.space().unwrap().free - free).unwrap();
    file
}

fn begin(volume: &Arc<dyn Volume>) -> DriveLog {
    DriveLog::begin(Arc::clone(volume), DriveId([1; 16]), Arrival(1), BTreeMap::new()).unwrap()
}

fn start(volume: &Arc<dyn Volume>) -> (LogHandle, Arc<()>, std::sync::mpsc::Receiver<Disposition>) {
    let alive = Arc::new(());
    let (tell, failed) = std::sync::mpsc::channel();
    let failed_with = move |error: crate::mirror::volume::VolumeError| tell.send(error.disposition).unwrap();
    let handle = LogHandle::start("a", begin(volume), &alive, failed_with).unwrap();
    (handle, alive, failed)
}

fn payload(count: u64, bytes: usize) -> Append {
    let version = Version { ticket: Ticket::new(Nonce([7; 8]), count), size: bytes as u64, crc32: Crc32(0) };
    let record =
        Record::Payload { path: "f".to_owned(), owner: String::new(), version, mtime_ns: 5, executable: false };
    Append { record, payload: Bytes::from(vec![7; bytes]) }
}

fn append(handle: &LogHandle, count: u64, bytes: usize) -> Result<Stage, NoRoom> {
    handle.append(&own(), payload(count, bytes)).blocking_recv().unwrap()
}

fn changes() -> Vec<Change> {
    vec![Change { lsn: Lsn(1), node: NodeId(1), now: None }]
}

fn segments(volume: &dyn Volume) -> usize {
    volume.list(layout::LOG_FOLDER).unwrap().names.len()
}

#[test]
fn a_drive_with_little_room_gets_a_small_segment() {
    let (_disk, volume) = disk();
    begin(&volume).append(&[payload(1, 3)]).unwrap();
    let used = CAPACITY - volume.space().unwrap().free;
    assert_eq!(used, CAPACITY / 8);
}

#[test]
fn a_log_without_room_leaves_no_segment_and_goes_on_when_there_is_room() {
    let (_disk, volume) = disk();
    let filling = fill(volume.as_ref(), 100);
    let mut log = begin(&volume);
    assert_eq!(log.append(&[payload(1, 3)]).unwrap_err().disposition, Disposition::NoSpace);
    assert_eq!(segments(volume.as_ref()), 0);
    drop(filling);
    volume.remove_file("filling").unwrap();
    log.append(&[payload(1, 3)]).unwrap();
    assert_eq!(segments(volume.as_ref()), 1);
}

#[test]
fn a_record_without_room_leaves_the_segment_in_use_to_smaller_ones() {
    let (_disk, volume) = disk();
    let _filling = fill(volume.as_ref(), 8000);
    let mut log = begin(&volume);
    let first = log.append(&[payload(1, 3)]).unwrap()[0];
    assert_eq!(log.append(&[payload(2, 60_000)]).unwrap_err().disposition, Disposition::NoSpace);
    let second = log.append(&[payload(3, 3)]).unwrap()[0];
    let (Stage::Log { segment: before, .. }, Stage::Log { segment: after, .. }) = (first, second) else { panic!() };
    assert_eq!(before, after);
    assert_eq!(segments(volume.as_ref()), 1);
}

#[test]
fn a_log_without_room_gives_up_segments_that_nothing_is_staged_in() {
    let (_disk, volume) = disk();
    let mut log = begin(&volume);
    let Stage::Log { arrival, segment, .. } = log.append(&[payload(1, 60_000)]).unwrap()[0] else { panic!() };
    let _filling = fill(volume.as_ref(), 0);
    assert!(log.append(&[payload(2, 100_000)]).is_err());
    log.release(arrival, segment, Ticket::new(Nonce([7; 8]), 1));
    log.append(&[payload(2, 100_000)]).unwrap();
    assert_eq!(segments(volume.as_ref()), 1);
}

#[test]
fn no_room_is_answered_and_the_thread_goes_on() {
    let (_disk, volume) = disk();
    let filling = fill(volume.as_ref(), 0);
    let (handle, _alive, failed) = start(&volume);
    assert_eq!(append(&handle, 1, 3), Err(NoRoom { free: 0 }));
    assert_eq!(append(&handle, 2, 60_000), Err(NoRoom { free: 0 }));
    drop(filling);
    volume.remove_file("filling").unwrap();
    append(&handle, 3, 3).unwrap();
    assert!(failed.try_recv().is_err());
}

#[test]
fn a_large_record_without_room_does_not_refuse_a_small_one() {
    let (_disk, volume) = disk();
    let _filling = fill(volume.as_ref(), 2000);
    let (handle, _alive, failed) = start(&volume);
    let answers: Vec<_> =
        [3, 60_000, 3].iter().zip(1..).map(|(bytes, count)| handle.append(&own(), payload(count, *bytes))).collect();
    let there: Vec<_> = answers.into_iter().map(|answer| answer.blocking_recv().unwrap().is_ok()).collect();
    assert_eq!(there, [true, false, true]);
    assert!(failed.try_recv().is_err());
}

#[test]
fn nobody_waits_for_a_full_log_whose_lane_can_work_nothing_off() {
    let (_disk, volume) = disk_of(2 * LOG_BYTES_MAX);
    let (handle, _alive, failed) = start(&volume);
    // One segment each, one more than the log may have.
    let counts = 0..=LOG_BYTES_MAX / SEGMENT_BYTES;
    let answers: Vec<_> = counts.map(|count| handle.append(&own(), payload(count, SEGMENT_BYTES as usize))).collect();
    assert!(handle.settle().is_some());
    handle.refuse_waiting();
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.blocking_recv().unwrap().is_ok()).collect();
    assert!(answers[0] && !answers[answers.len() - 1], "{answers:?}");
    assert!(failed.try_recv().is_err());
}

#[test]
fn records_of_commits_without_room_end_nothing() {
    let (_disk, volume) = disk();
    let _filling = fill(volume.as_ref(), 0);
    let (handle, _alive, failed) = start(&volume);
    for _ in 0..3 {
        handle.later(&changes(), Lsn(1));
        assert_eq!(handle.settle(), Some(Settled::Done));
    }
    assert!(failed.try_recv().is_err());
}

#[test]
fn a_failed_sync_ends_the_log_whatever_it_says() {
    let (disk, volume) = disk();
    let (handle, _alive, failed) = start(&volume);
    append(&handle, 1, 3).unwrap();
    disk.fail_nth(1, Some(CallKind::Sync), Fault::Once(Disposition::NoSpace));
    assert!(handle.append(&own(), payload(2, 3)).blocking_recv().is_err());
    assert_eq!(failed.recv_timeout(Duration::from_secs(10)), Ok(Disposition::DriveLost));
    assert_eq!(handle.settle(), None);
}

#[test]
fn a_closed_log_ends_its_thread_though_others_hold_it() {
    let (_disk, volume) = disk();
    let (handle, alive, failed) = start(&volume);
    let held = Arc::new(handle);
    let other = Arc::clone(&held);
    append(&held, 1, 3).unwrap();
    held.close();
    let deadline = clock::now() + Duration::from_secs(10);
    while Arc::strong_count(&alive) > 1 {
        assert!(clock::now() < deadline, "the thread still runs");
        std::thread::yield_now();
    }
    assert!(other.append(&own(), payload(2, 3)).blocking_recv().is_err());
    assert_eq!(other.settle(), None);
    assert!(failed.try_recv().is_err());
}

#[test]
fn a_segment_stays_until_the_manifest_has_what_it_says_of_commits() {
    let (_disk, volume) = disk();
    let (handle, _alive, _failed) = start(&volume);
    handle.later(&changes(), Lsn(1));
    assert_eq!(handle.settle(), Some(Settled::Done), "the one in use holds nobody up");
    // More than a segment of this drive, so that the first is not in use any more.
    let Stage::Log { arrival, segment, .. } = append(&handle, 1, 200_000).unwrap() else { panic!() };
    handle.release(arrival, segment, Ticket::new(Nonce([7; 8]), 1));
    assert_eq!(handle.settle(), Some(Settled::WaitsForManifest));
    assert_eq!(segments(volume.as_ref()), 2);
    assert_eq!(handle.take().unwrap().changes, changes());
    assert_eq!(handle.settle(), Some(Settled::WaitsForManifest), "taken is not listed");
    handle.listed();
    assert_eq!(handle.settle(), Some(Settled::Done));
    assert_eq!(segments(volume.as_ref()), 1);
    assert_eq!(handle.take().unwrap().changes, []);
}

#[test]
fn it_tells_of_a_commit_once_that_is_handed_over_and_durable() {
    let (disk, volume) = disk();
    let (handle, _alive, _failed) = start(&volume);
    let handle = Arc::new(handle);
    handle.later(&changes(), Lsn(1));
    assert_eq!(handle.tell(Lsn(1)), Some(Lsn(1)));
    let told = std::thread::spawn({
        let handle = Arc::clone(&handle);
        move || handle.tell(Lsn(3))
    });
    // Others are served meanwhile; that is no reason to say so.
    handle.flush().unwrap();
    handle.later(&changes(), Lsn(2));
    handle.flush().unwrap();
    assert!(!told.is_finished());
    let synced = disk.calls();
    handle.later(&changes(), Lsn(4));
    assert_eq!(told.join().unwrap(), Some(Lsn(4)));
    assert!(disk.calls().sync > synced.sync);
    handle.close();
    assert_eq!(handle.tell(Lsn(5)), None);
}
