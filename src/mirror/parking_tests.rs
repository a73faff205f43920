//! A mirror whose drive b comes and goes.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Weak;
use std::time::Duration;

use crate::clock;
use crate::ids::Side;
use crate::mirror::MirrorLimits;
use crate::mirror::core::{Lost, Parting};
use crate::mirror::flaps::{COUNTED, Ending};
use crate::mirror::stand::{Stand, until};
use crate::mirror::state::DriveState;
use crate::mirror::volume::Volume as _;

/// Lets drive b fail and come back until it is parked.
async fn park(stand: &mut Stand) -> Weak<()> {
    for _ in 1..MirrorLimits::default().flaps_max {
        stand.pull(Side::B, Ending::Failure).await;
        drop(stand.plug_in(Side::B));
        stand.wait_for(Side::B, DriveState::InSync).await;
    }
    stand.pull(Side::B, Ending::Failure).await;
    let held = stand.plug_in(Side::B);
    stand.wait_for(Side::B, DriveState::Parked).await;
    until("the watcher is told", || stand.mirror.parked().borrow().b.is_some()).await;
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_flaps_is_parked_held_by_nobody_and_replayed_to_when_it_is_unparked() {
    let mut stand = Stand::new(MirrorLimits::default()).await;
    let held = park(&mut stand).await;
    until("nothing of the drive is held", || held.strong_count() == 0).await;
    let told: Vec<_> = std::iter::from_fn(|| stand.losses.try_recv().ok()).collect();
    assert_eq!(
        told.last(),
        Some(&Lost { side: Side::B, visit: stand.visits, parting: Parting::Failed }),
        "the watcher is to let go of it"
    );
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
    let mut stand = Stand::new(MirrorLimits::default()).await;
    let before = clock::now();
    park(&mut stand).await;
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
    let mut stand = Stand::new(MirrorLimits::default()).await;
    for _ in 0..2 * MirrorLimits::default().flaps_max {
        stand.pull(Side::B, Ending::Orderly).await;
        drop(stand.plug_in(Side::B));
        stand.wait_for(Side::B, DriveState::InSync).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_arrival_reads_back_does_not_gather_from_one_pull_to_the_next() {
    const FILES: usize = 500;
    // A step's files may come behind the last that a checkpoint is due for.
    const AT_MOST: usize = 2048 + 1024;
    let mut stand = Stand::new(MirrorLimits::default()).await;
    for round in 0..8 {
        stand.pull(Side::B, Ending::Orderly).await;
        for number in 0..FILES {
            stand.put(&format!("{round}-{number}"), 10).await;
        }
        drop(stand.plug_in(Side::B));
        stand.wait_for(Side::B, DriveState::InSync).await;
        let unsettled = stand.mirror.core.journal.snapshot().unsettled(Side::B).unwrap().len();
        assert!(unsettled <= AT_MOST, "{unsettled} in round {round}");
    }
}
