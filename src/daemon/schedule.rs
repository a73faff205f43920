//! What happens by itself after so much running time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::mirror::Mirror;

/// Between two looks: at least, so that a journal that is closed is not asked all the time …
const LOOK_AGAIN_MIN: Duration = Duration::from_mins(1);
/// … and at most, since a machine that sleeps stops the timer.
const LOOK_AGAIN_MAX: Duration = Duration::from_hours(24);

/// Scrubs both drives when the mirror has been running for so long since the last time.
pub(crate) async fn keep_scrubbing(mirror: Arc<Mirror>, mut every: watch::Receiver<Option<Duration>>) {
    loop {
        let wanted = *every.borrow_and_update();
        let look = match wanted {
            // While the journal is closed nothing is begun.
            Some(every) => Some(mirror.scrub_when_due(every).await.unwrap_or(LOOK_AGAIN_MIN)),
            None => None,
        };
        let again = async {
            match look {
                Some(time) => tokio::time::sleep(time.clamp(LOOK_AGAIN_MIN, LOOK_AGAIN_MAX)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = again => {}
            changed = every.changed() => if changed.is_err() {
                return;
            },
        }
    }
}
