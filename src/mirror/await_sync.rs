//! Waiting: for the drives at the start, and until they are the same.

use std::time::Duration;

use crate::ids::{NodeId, PerSide, Side};
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
    /// least; but for what no drive has whole any more. A drive that is absent is waited for.
    pub async fn wait_in_sync(&self) {
        let head = self.core.journal.head();
        let mut seen = PerSide { a: NodeId::ROOT, b: NodeId::ROOT };
        let mut changed = self.core.changed.subscribe();
        loop {
            changed.mark_unchanged();
            self.core.hurry_lanes();
            let states = PerSide::new(|side| self.core.seat(side).state());
            if are_in_sync(states, |side| self.core.still_lacks(side, head, seen.get_mut(side)))
                || changed.changed().await.is_err()
            {
                return;
            }
        }
    }
}

/// Whether every drive that counts has everything. Parked ones don't, but one at least must.
fn are_in_sync(states: PerSide<DriveState>, mut lacks: impl FnMut(Side) -> bool) -> bool {
    let mut counted = Side::BOTH.into_iter().filter(|side| *states.get(*side) != DriveState::Parked).peekable();
    counted.peek().is_some() && counted.all(|side| *states.get(side) == DriveState::InSync && !lacks(side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_drive_is_not_waited_for_and_any_other_is() {
        for state in DriveState::ALL {
            let states = PerSide { a: DriveState::InSync, b: state };
            let ends = matches!(state, DriveState::InSync | DriveState::Parked);
            assert_eq!(are_in_sync(states, |_| false), ends, "{state}");
            assert!(!are_in_sync(states, |side| side == Side::A), "{state}");
        }
        let parked = PerSide { a: DriveState::Parked, b: DriveState::Parked };
        assert!(!are_in_sync(parked, |_| false), "nothing is on any drive that counts");
    }

    #[test]
    fn what_a_parked_drive_lacks_does_not_matter() {
        let states = PerSide { a: DriveState::InSync, b: DriveState::Parked };
        assert!(are_in_sync(states, |side| side == Side::B));
    }
}
