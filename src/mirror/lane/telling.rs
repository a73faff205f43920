//! The drive itself says what is done to it, in case that the journal is lost: a commit is on record there before the lane
//! acts on it. Else what the lane did would look like somebody's doing to whoever reads the drive.

use std::fmt::Debug;

use crate::ids::Lsn;
use crate::mirror::lane::Lane;

/// What a drive says of commits.
pub(crate) trait Telling: Debug + Send {
    /// Returns once the drive durably tells of the commit `lsn`, as far as it has room; up to which it does, or `None` when
    /// it has left.
    fn tell(&self, lsn: Lsn) -> Option<Lsn>;
}

impl Lane {
    /// All commits up to this one are told on the drive.
    pub(crate) fn set_told(&mut self, lsn: Lsn) {
        self.told = lsn;
    }

    /// Whether a change by this commit may be carried out: the drive tells of it. The catalog goes on under a step, so this is
    /// asked of each change that is read, not of the step.
    pub(super) fn is_told(&mut self, lsn: Lsn) -> bool {
        if lsn > self.told {
            match self.telling.tell(lsn) {
                Some(told) => self.told = told,
                None => return false,
            }
        }
        true
    }
}
