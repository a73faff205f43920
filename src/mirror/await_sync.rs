//! Waiting: for the drives at the start, and until they are the same.

use std::time::Duration;

use crate::ids::Side;
use crate::mirror::mirror::Mirror;
use crate::mirror::state::DriveState;

/// So many times longer the start waits for a drive that is being verified.
const VERIFYING_FACTOR: u32 = 10;

impl Mirror {
    /// Returns when both drives are there, or after `at_most`; one that is being verified is waited for.
    pub async fn wait_for_drives(&self, at_most: Duration) {
        let mut changed = self.core.changed.subscribe();
        let all =
            |wanted: fn(DriveState) -> bool| Side::BOTH.into_iter().all(|side| wanted(self.core.seat(side).state()));
        let both = async {
            while !all(|state| !matches!(state, DriveState::Absent | DriveState::Verifying)) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(at_most, both).await;
        let mut changed = self.core.changed.subscribe();
        let verified =
            async { while !all(|state| state != DriveState::Verifying) && changed.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(at_most * VERIFYING_FACTOR, verified).await;
    }

    /// Returns when all that was acknowledged before the call is installed on every enrolled, not parked drive, one at
    /// least. A drive that is absent is waited for.
    pub async fn wait_in_sync(&self) {
        let head = self.core.journal.head();
        let mut changed = self.core.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let mut counted =
                Side::BOTH.into_iter().filter(|side| self.core.seat(*side).state() != DriveState::Parked).peekable();
            let some = counted.peek().is_some();
            let in_sync = |side| self.core.seat(side).state() == DriveState::InSync && !self.core.lacks(side, head);
            if (some && counted.all(in_sync)) || changed.changed().await.is_err() {
                return;
            }
        }
    }
}
