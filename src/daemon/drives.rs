//! Between watcher and mirror: what one sees is told to the other, and back. A drive that stalls is judged here, since
//! only its block statistics tell a slow one from one that is gone.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::clock;
use crate::ids::{PerSide, Side};
use crate::mirror::os_volume::OsVolume;
use crate::mirror::status::Notice;
use crate::mirror::volume::Volume as _;
use crate::mirror::{Ending, Lost, Mirror, NewDrive, Parting};
use crate::server::Limits;
use crate::watcher::{Found, RefusedLabel, Sighting, Visit, WatcherHandle};

/// How often a stalled drive's block statistics are looked at, and how long they stand still at first before it
/// counts as gone: its probe has gone unanswered for longer already.
const STALL_JUDGED_EVERY: Duration = Duration::from_secs(1);

/// Takes in what the watcher sees.
pub(super) async fn take_in(
    mirror: Arc<Mirror>,
    mut news: mpsc::Receiver<Sighting>,
    stall_after: watch::Receiver<Duration>,
) {
    let mut volumes: HashMap<(Side, u64), Weak<OsVolume>> = HashMap::new();
    let mut judges = PerSide::<Option<AbortHandle>>::default();
    while let Some(sighting) = news.recv().await {
        match sighting {
            Sighting::Arrived(found) => {
                let Found { side, visit, label, volume, lock, path, device } = *found;
                dismiss(judges.get_mut(side));
                volumes.retain(|_, volume| volume.strong_count() > 0);
                volumes.insert((side, visit.0), Arc::downgrade(&volume));
                mirror.arrived(NewDrive {
                    side,
                    visit: visit.0,
                    label,
                    volume,
                    path,
                    diskseq: device.diskseq,
                    guard: Box::new(lock),
                });
            }
            Sighting::Departed { side, visit, why } => {
                dismiss(judges.get_mut(side));
                mirror.departed(side, visit.0, &why.to_string(), why.ending());
            }
            Sighting::Stalled { side, visit } => {
                let volume = volumes.get(&(side, visit.0)).cloned().unwrap_or_default();
                let stall_after = *stall_after.borrow();
                let judge = tokio::spawn(judge_stall(Arc::clone(&mirror), side, visit, volume, stall_after));
                dismiss(judges.get_mut(side));
                *judges.get_mut(side) = Some(judge.abort_handle());
            }
            Sighting::Refused { place, why } => {
                tracing::warn!(place = %place.display(), %why, "drive refused");
                mirror.refused(&place, refusal(&mirror, &place, &why));
            }
            Sighting::Cleared { place } => mirror.accepted(&place),
        }
    }
}

/// Ends the judging of a drive that has left, or stalls anew.
fn dismiss(judge: &mut Option<AbortHandle>) {
    if let Some(judge) = judge.take() {
        judge.abort();
    }
}

/// A drive whose probe hangs is gone if its device does nothing at all; one that works is only slow.
async fn judge_stall(mirror: Arc<Mirror>, side: Side, visit: Visit, volume: Weak<OsVolume>, stall_after: Duration) {
    let statistics = || volume.upgrade().map(|volume| volume.block_stat());
    // The watcher asks nothing new of a drive that owes it an answer.
    let probed = volume.clone();
    let answer = tokio::task::spawn_blocking(move || probed.upgrade().map(|volume| volume.probe()));
    match judge(statistics, answer, stall_after).await {
        Verdict::Gone => {
            mirror.departed(side, visit.0, "it does not answer, and its device does nothing", Ending::Stall);
        }
        Verdict::LetGo | Verdict::Answers => {}
    }
}

/// What became of a stalled drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Neither does it answer, nor is anything done by its device.
    Gone,
    /// Nobody uses it any more.
    LetGo,
    /// Whatever it says: the watcher has its answer too.
    Answers,
}

/// Looks at a stalled drive until it is gone or answers. `statistics` gives `None` once nobody uses it. One that has
/// done something since is only slow, and has all of `stall_after` to do more.
async fn judge<S: PartialEq>(
    mut statistics: impl FnMut() -> Option<S>,
    answer: impl Future,
    stall_after: Duration,
) -> Verdict {
    let mut answer = std::pin::pin!(answer);
    let Some(mut before) = statistics() else { return Verdict::LetGo };
    let (mut still, mut limit) = (Duration::ZERO, STALL_JUDGED_EVERY);
    loop {
        tokio::select! {
            _ = &mut answer => return Verdict::Answers,
            () = tokio::time::sleep(STALL_JUDGED_EVERY) => {}
        }
        let Some(now) = statistics() else { return Verdict::LetGo };
        if now == before {
            still += STALL_JUDGED_EVERY;
            if still >= limit {
                return Verdict::Gone;
            }
        } else {
            (before, still, limit) = (now, Duration::ZERO, stall_after);
        }
    }
}

fn refusal(mirror: &Mirror, place: &Path, why: &RefusedLabel) -> Notice {
    let absent: Vec<_> = Side::BOTH.into_iter().filter(|side| mirror.is_absent(*side)).collect();
    // When the daemon starts both are.
    let lies_here = absent.iter().find(|side| mirror.last_place(**side) == place);
    let only = absent.first().filter(|_| absent.len() == 1);
    let place = place.display();
    let action = match (why, lies_here.or(only)) {
        (RefusedLabel::NoLabel, Some(side)) => format!(
            "put in drive {side}; or if that is lost or dead, 'twinstickd replace --drive {side}={place}' puts this one in \
             its place, once it is blank; nothing on it was changed"
        ),
        (why, _) => why.advice().to_owned(),
    };
    let notice = Notice::new(format!("the drive at {place} is not used: {why}"), action);
    Notice { drive: why.side(), ..notice }
}

/// Tells the watcher which drives the mirror found to be gone.
pub(super) async fn pass_on(mut losses: mpsc::UnboundedReceiver<Lost>, handle: WatcherHandle) {
    while let Some(Lost { side, visit, parting }) = losses.recv().await {
        match parting {
            Parting::Failed => handle.lost(side, Visit(visit)),
            Parting::Drained => handle.look_afresh(side, Visit(visit)),
            Parting::Ejected => handle.ejected(side, Visit(visit)),
            Parting::Forgiven => handle.forgive(side, Visit(visit)),
        }
        handle.rescan();
    }
}

/// Tells the mirror how long a drive may stand still, whenever that is set anew.
pub(super) async fn keep_stall_after(mirror: Arc<Mirror>, mut stall_after: watch::Receiver<Duration>) {
    while stall_after.changed().await.is_ok() {
        let now_after = *stall_after.borrow_and_update();
        mirror.set_stall_after(now_after);
    }
}

/// Passes on what a change of the settings says of names in folders.
pub(super) async fn keep_folder_entries_max(mirror: Arc<Mirror>, mut limits: watch::Receiver<Arc<Limits>>) {
    while limits.changed().await.is_ok() {
        let most = limits.borrow_and_update().folder_entries_max;
        mirror.set_folder_entries_max(most);
    }
}

/// Keeps the watcher off the drives that are parked, for as long as they are.
pub(super) async fn keep_parked(mirror: Arc<Mirror>, watcher: WatcherHandle) {
    let mut parked = mirror.parked();
    loop {
        let now = *parked.borrow_and_update();
        for (side, until) in now.iter() {
            match until {
                Some(_) => watcher.park(side),
                None => watcher.unpark(side),
            }
        }
        let next = now.iter().filter_map(|(_, until)| *until).min();
        let over = async {
            match next {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = parked.changed() => if changed.is_err() {
                return;
            },
            () = over => mirror.end_parking(clock::now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL_AFTER: Duration = Duration::from_secs(5);

    /// The verdict on a drive whose counter has these values, one at each look, and the looks that it took.
    async fn verdict(counters: &[u32], answer: impl Future) -> (Verdict, usize) {
        let (mut looks, mut values) = (0, counters.iter().copied());
        let statistics = || {
            looks += 1;
            values.next()
        };
        let verdict = judge(statistics, answer, STALL_AFTER).await;
        (verdict, looks)
    }

    #[tokio::test(start_paused = true)]
    async fn a_drive_that_does_nothing_at_all_is_gone() {
        assert_eq!(verdict(&[7, 7], std::future::pending::<()>()).await, (Verdict::Gone, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_drive_is_judged_again_until_it_stops_for_good() {
        let counters = [1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3];
        assert_eq!(verdict(&counters, std::future::pending::<()>()).await, (Verdict::Gone, counters.len()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drive_that_answers_is_judged_no_more() {
        let answer = tokio::time::sleep(Duration::from_millis(2500));
        assert_eq!(verdict(&[1, 2, 3, 3, 3, 3, 3, 3, 3], answer).await, (Verdict::Answers, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drive_that_nobody_uses_is_judged_no_more() {
        assert_eq!(verdict(&[1, 2], std::future::pending::<()>()).await, (Verdict::LetGo, 3));
    }
}
