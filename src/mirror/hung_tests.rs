//! A mirror with a drive on which calls do not return.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::ids::{PerSide, Side};
use crate::mirror::MirrorLimits;
use crate::mirror::core::Parting;
use crate::mirror::flaps::Ending;
use crate::mirror::label;
use crate::mirror::layout;
use crate::mirror::request::{Asker, Priority, Span};
use crate::mirror::sim_volume::{CallKind, Which};
use crate::mirror::stand::{Stand, until};
use crate::mirror::state::DriveState;
use crate::mirror::volume::Volume as _;
use crate::path::RelPath;

const LARGE: usize = 3 << 20;
/// The calls of a PUT before its answer.
const STAGING: Which = |_, path| path.starts_with(layout::LOG_FOLDER) || path.starts_with(layout::STAGE_FOLDER);

async fn stand() -> Stand {
    Stand::new(MirrorLimits { stall_after: Duration::from_millis(500), ..MirrorLimits::default() }).await
}

/// The drive's `nth` call from now returns when what this gives is dropped.
fn hang(stand: &Stand, side: Side, nth: u64) -> Sender<()> {
    let (hold, waits) = channel::<()>();
    stand.disks.get(side).before_nth(nth, move || assert!(waits.recv().is_err(), "it is only dropped"));
    hold
}

/// The same of the next such call: a drive that nobody uses is looked through in the background.
fn hang_next(stand: &Stand, side: Side, which: Which) -> Sender<()> {
    let (hold, waits) = channel::<()>();
    stand.disks.get(side).before_next(which, move || assert!(waits.recv().is_err(), "it is only dropped"));
    hold
}

async fn get(stand: &Stand, path: &str) -> usize {
    let path = RelPath::parse(path).unwrap();
    let mut download = stand.mirror.open(&path, Span::default(), &Asker::own(Priority::Normal)).await.unwrap();
    let mut read = 0;
    while let Some(bytes) = download.next().await.unwrap() {
        assert!(bytes.iter().all(|byte| *byte == 7));
        read += bytes.len();
    }
    read
}

/// Calls that it takes to read a drive's label, which is done before the mirror has the drive.
fn calls_of_label(stand: &Stand, side: Side) -> u64 {
    let disk = stand.disks.get(side);
    let before = disk.calls();
    label::read(&disk.mount().unwrap()).unwrap();
    let after = disk.calls();
    after.look + after.read - before.look - before.read
}

/// What the mirror told the watcher of drives, by now.
fn told(stand: &mut Stand) -> Vec<(Side, u64, Parting)> {
    std::iter::from_fn(|| stand.losses.try_recv().ok()).map(|lost| (lost.side, lost.visit, lost.parting)).collect()
}

/// What it tells next: clients may know of a drive's end a moment before.
async fn told_next(stand: &mut Stand) -> (Side, u64, Parting) {
    let lost = tokio::time::timeout(Duration::from_secs(20), stand.losses.recv()).await.unwrap().unwrap();
    (lost.side, lost.visit, lost.parting)
}

async fn bring_back(stand: &mut Stand, side: Side, what: &str) {
    drop(stand.plug_in(side));
    stand.wait_for(side, DriveState::InSync).await;
    assert!(stand.disks.get(side).mount().unwrap().stat(what).unwrap().is_some(), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_waits_for_a_drive_that_hangs_until_that_is_fenced_and_the_drive_until_its_calls_have_returned() {
    for bytes in [10, LARGE] {
        let mut stand = stand().await;
        let hold = hang_next(&stand, Side::B, STAGING);
        let receipt = stand.put("f", bytes).await;
        assert_eq!(receipt.drives, [Side::A]);
        assert_eq!(stand.state(Side::B), DriveState::Fenced);
        let first = stand.visits;
        assert_eq!(told_next(&mut stand).await, (Side::B, first, Parting::Failed));
        assert_eq!(get(&stand, "f").await, bytes);

        // It is there again, and must wait; it may leave and come meanwhile.
        drop(stand.plug_in(Side::B));
        let waiting = stand.visits;
        assert_eq!(stand.state(Side::B), DriveState::Fenced);
        assert_eq!(told(&mut stand), []);
        drop(hold);
        stand.wait_for(Side::B, DriveState::Absent).await;
        assert_eq!(told_next(&mut stand).await, (Side::B, waiting, Parting::Drained));
        bring_back(&mut stand, Side::B, "f").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_from_a_drive_that_hangs_goes_on_with_the_other() {
    let stand = stand().await;
    stand.put("f", LARGE).await;
    tokio::time::timeout(Duration::from_secs(20), stand.mirror.wait_in_sync()).await.unwrap();
    // Whichever drive is read from: it hangs in the middle, and so does whoever asks it again.
    let holds = PerSide::new(|side| (side == Side::A).then(|| hang(&stand, side, 4)));
    for _ in 0..4 {
        assert_eq!(get(&stand, "f").await, LARGE);
    }
    drop(holds);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_hangs_while_it_is_verified_is_fenced() {
    for nth in [1, 2, 4, 7] {
        let mut stand = stand().await;
        stand.pull(Side::B, Ending::Orderly).await;
        stand.make_folder("meanwhile").await;
        let hold = hang(&stand, Side::B, calls_of_label(&stand, Side::B) + nth);
        drop(stand.plug_in(Side::B));
        stand.wait_for(Side::B, DriveState::Fenced).await;
        drop(hold);
        stand.wait_for(Side::B, DriveState::Absent).await;
        bring_back(&mut stand, Side::B, "meanwhile").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_device_passes_the_fence_and_old_calls_reach_neither() {
    let mut stand = stand().await;
    stand.pull(Side::B, Ending::Orderly).await;
    drop(stand.plug_in_as(Side::B, Some(5)));
    stand.wait_for(Side::B, DriveState::InSync).await;
    let hold = hang_next(&stand, Side::B, STAGING);
    stand.put("f", 10).await;
    assert_eq!(stand.state(Side::B), DriveState::Fenced);
    drop(stand.plug_in_as(Side::B, Some(5)));
    assert_eq!(stand.state(Side::B), DriveState::Fenced);
    drop(stand.plug_in_as(Side::B, Some(6)));
    stand.wait_for(Side::B, DriveState::InSync).await;
    drop(hold);
    stand.put("g", 10).await;
    tokio::time::timeout(Duration::from_secs(20), stand.mirror.wait_in_sync()).await.unwrap();
    assert_eq!(stand.state(Side::B), DriveState::InSync);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_copies_from_a_drive_that_hangs_is_not_held_up() {
    let mut stand = stand().await;
    stand.pull(Side::B, Ending::Orderly).await;
    stand.put("f", LARGE).await;
    until("drive a has it", || stand.mirror.behind(Side::A).paths == 0).await;
    // Nobody but the lane of drive b reads files of drive a.
    let hold = hang_next(&stand, Side::A, |kind, _| kind == CallKind::Read);
    drop(stand.plug_in(Side::B));
    stand.wait_for(Side::A, DriveState::Fenced).await;
    // Drive b does what it can without.
    stand.make_folder("new").await;
    until("the folder is on drive b", || stand.disks.b.mount().unwrap().stat("new").unwrap().is_some()).await;
    assert_eq!(stand.state(Side::A), DriveState::Fenced);
    drop(hold);
    stand.wait_for(Side::A, DriveState::Absent).await;
    bring_back(&mut stand, Side::A, "new").await;
    tokio::time::timeout(Duration::from_secs(20), stand.mirror.wait_in_sync()).await.unwrap();
    assert!(stand.disks.b.mount().unwrap().stat("f").unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_closes_although_a_drive_hangs() {
    let stand = stand().await;
    let hold = hang_next(&stand, Side::B, STAGING);
    stand.put("f", 10).await;
    // Not even its limit is needed.
    tokio::time::timeout(Duration::from_secs(20), stand.mirror.close(Duration::from_hours(1))).await.unwrap();
    drop(hold);
}
