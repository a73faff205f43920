//! The states of a drive, and what may follow what.
//!
//! ```text
//! Absent ──Arrived──► Verifying ──Replay──► Replaying ───┬─CaughtUp──► InSync
//!                         └────Backfill──► Backfilling ─┘
//! InSync: durably holds, staged or installed, every acknowledged version
//! any present ──Lost──► Absent        any present ──Fault──► Faulted ──Lost──► Absent
//! any present ──Stalled──► Fenced ──Drained──► Absent        Fenced ──Arrived──► Verifying (on another device)
//! Replaying, Backfilling, InSync ──NoRoom──► Full ──Replay, Backfill──► Replaying, Backfilling
//! Replaying, Backfilling, InSync, Full ──Ejected──► Parked
//! Absent ──Flapped──► Parked ──Arrived──► Verifying        Parked ──Lost──► Absent
//! ```

use std::fmt;

/// What a drive is to the mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DriveState {
    /// Not there, or not usable any more.
    Absent,
    /// There; what it has is being found out.
    Verifying,
    /// Serves and takes writes; works off what it missed.
    Replaying,
    /// As replaying, for a drive that was blank, or away for longer than the journal keeps entries.
    Backfilling,
    InSync,
    /// As replaying, but its lane found no room; retried.
    Full,
    /// There, and refused: `status` says why.
    Faulted,
    /// It stopped answering, and calls on it have not returned: it is not touched before they have, wherever it is
    /// mounted, unless it is another device.
    Fenced,
    /// Left alone because it came and went too often, or because somebody wants to take it out.
    Parked,
}

/// What happens to a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DriveEvent {
    /// The watcher found it, with a good label.
    Arrived,
    /// What it has is known, or there is room again: its lane works off what it missed.
    Replay,
    /// As `Replay`, with a backfill on record.
    Backfill,
    /// All that it missed while it was away is installed.
    CaughtUp,
    NoRoom,
    /// It came again, once too often in too short a time.
    Flapped,
    /// It must not be used: its label is ahead of the journal, say.
    Fault,
    /// Somebody wants to take it out, and all that it lacked is on it.
    Ejected,
    /// It is gone: pulled, unmounted, or it failed.
    Lost,
    /// Nothing on it has moved for too long; or it came while calls of its earlier stay have not returned.
    Stalled,
    /// The last call of its earlier stay has returned.
    Drained,
}

/// An event that cannot happen in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} cannot happen to a drive that is {state}")]
pub struct BadTransition {
    pub state: DriveState,
    pub event: DriveEvent,
}

impl DriveState {
    pub const ALL: [Self; 9] = [
        Self::Absent,
        Self::Verifying,
        Self::Replaying,
        Self::Backfilling,
        Self::InSync,
        Self::Full,
        Self::Faulted,
        Self::Fenced,
        Self::Parked,
    ];

    /// The state after an event.
    pub fn after(self, event: DriveEvent) -> Result<Self, BadTransition> {
        use DriveEvent as E;
        use DriveState as S;
        match (self, event) {
            (S::Absent | S::Fenced | S::Parked, E::Arrived) => Ok(S::Verifying),
            (S::Absent, E::Flapped) | (S::Replaying | S::Backfilling | S::InSync | S::Full, E::Ejected) => {
                Ok(S::Parked)
            }
            (S::Verifying | S::Full, E::Replay) => Ok(S::Replaying),
            (S::Verifying | S::Full, E::Backfill) => Ok(S::Backfilling),
            (S::Replaying | S::Backfilling, E::CaughtUp) => Ok(S::InSync),
            (S::Replaying | S::Backfilling | S::InSync, E::NoRoom) => Ok(S::Full),
            (S::Verifying | S::Replaying | S::Backfilling | S::InSync | S::Full, E::Fault) => Ok(S::Faulted),
            (S::Verifying | S::Replaying | S::Backfilling | S::InSync | S::Full | S::Faulted | S::Parked, E::Lost) => {
                Ok(S::Absent)
            }
            (
                S::Absent | S::Verifying | S::Replaying | S::Backfilling | S::InSync | S::Full | S::Faulted,
                E::Stalled,
            ) => Ok(S::Fenced),
            (S::Fenced, E::Drained) => Ok(S::Absent),
            (state, event) => Err(BadTransition { state, event }),
        }
    }

    /// As in `status --json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Verifying => "verifying",
            Self::Replaying => "replaying",
            Self::Backfilling => "backfilling",
            Self::InSync => "in-sync",
            Self::Full => "full",
            Self::Faulted => "faulted",
            Self::Fenced => "fenced",
            Self::Parked => "parked",
        }
    }
}

impl fmt::Display for DriveState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl DriveEvent {
    pub const ALL: [Self; 11] = [
        Self::Arrived,
        Self::Replay,
        Self::Backfill,
        Self::CaughtUp,
        Self::NoRoom,
        Self::Flapped,
        Self::Fault,
        Self::Ejected,
        Self::Lost,
        Self::Stalled,
        Self::Drained,
    ];
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn the_whole_table_is_as_reviewed() {
        let mut table = String::new();
        for state in DriveState::ALL {
            for event in DriveEvent::ALL {
                let after = state.after(event).map_or("–", DriveState::name);
                writeln!(table, "{:<11} {:<9} {after}", state.name(), format!("{event:?}")).unwrap();
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn every_present_drive_can_be_lost() {
        for state in DriveState::ALL {
            let lost = state.after(DriveEvent::Lost);
            // That a fenced drive's mount is gone proves nothing.
            let stays = matches!(state, DriveState::Absent | DriveState::Fenced);
            assert_eq!(lost.is_ok(), !stays, "{state}");
        }
    }
}
