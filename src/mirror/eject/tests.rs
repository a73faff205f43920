use std::sync::mpsc::channel;
use std::time::Duration;

use super::*;
use crate::mirror::MirrorLimits;
use crate::mirror::core::{Lost, Parting};
use crate::mirror::flaps::Ending;
use crate::mirror::stand::{Stand, until};
use crate::mirror::volume::Volume as _;

async fn stand() -> Stand {
    Stand::new(MirrorLimits { stall_after: Duration::from_millis(500), ..MirrorLimits::default() }).await
}

async fn eject(stand: &Stand, side: Side, loss: Loss) -> Result<Ejected, Refusal> {
    let ejected = stand.mirror.eject(side, Patience::None, loss);
    tokio::time::timeout(Duration::from_secs(20), ejected).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ejected_drive_has_everything_and_is_held_by_nobody() {
    let mut stand = stand().await;
    stand.pull(Side::B, Ending::Orderly).await;
    for number in 0..50 {
        stand.make_folder(&format!("f{number}")).await;
    }
    let held = stand.plug_in(Side::B);
    let ejected = eject(&stand, Side::B, Loss::Refused).await.unwrap();
    assert_eq!((ejected.unmounted, ejected.last), (Unmounted::Nothing, false));
    assert_eq!(held.strong_count(), 0, "its lock is free");
    assert!(stand.disks.b.durable_tree().contains_key("f49"));
    assert_eq!(stand.state(Side::B), DriveState::Parked);
    let told: Vec<_> = std::iter::from_fn(|| stand.losses.try_recv().ok()).collect();
    assert_eq!(told.last(), Some(&Lost { side: Side::B, visit: stand.visits, parting: Parting::Ejected }));

    // The other goes on; and this one is taken up when the watcher brings it.
    stand.make_folder("meanwhile").await;
    stand.wait_for_threads(Side::B).await;
    drop(stand.plug_in(Side::B));
    stand.wait_for(Side::B, DriveState::InSync).await;
    assert!(stand.disks.b.mount().unwrap().stat("meanwhile").unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_is_not_ejected_twice_and_can_be_unparked() {
    let mut stand = stand().await;
    eject(&stand, Side::B, Loss::Refused).await.unwrap();
    let again = eject(&stand, Side::B, Loss::Refused).await.unwrap_err();
    assert!(again.to_string().contains("it is parked"), "{again}");
    while stand.losses.try_recv().is_ok() {}
    stand.mirror.unpark(Side::B).unwrap();
    assert_eq!(stand.losses.try_recv().unwrap().parting, Parting::Forgiven);
    assert_eq!(stand.state(Side::B), DriveState::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_drive_says_so_when_it_is_ejected() {
    let stand = stand().await;
    assert!(!eject(&stand, Side::B, Loss::Refused).await.unwrap().last);
    let last = eject(&stand, Side::A, Loss::Refused).await.unwrap();
    assert!(last.last && last.message().contains("the last drive"), "{}", last.message());
    // One that is parked does not come back by itself, as one that flapped does.
    assert_eq!(stand.state(Side::B), DriveState::Parked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_stalls_while_it_is_ejected_is_not_said_to_be_ready() {
    let stand = stand().await;
    stand.make_folder("f").await;
    until("all is on it", || stand.mirror.behind(Side::B).paths == 0).await;
    let (hold, waits) = channel::<()>();
    stand.disks.b.before_nth(1, move || assert!(waits.recv().is_err(), "it is only dropped"));
    let refused = eject(&stand, Side::B, Loss::Refused).await.unwrap_err();
    assert!(refused.to_string().contains("fenced"), "{refused}");
    drop(hold);
    stand.wait_for(Side::B, DriveState::Absent).await;
}
