//! What somebody else changed on the drives since the daemon's start, and what became of it; for `status`.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::ids::Side;
use crate::mirror::status::Foreign;
use crate::path::RelPath;

/// Deeds that are kept.
const REMARKS_MAX: usize = 20;

/// Where the mirror's version is of what somebody changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// On the other drive.
    Other,
    /// Nowhere else: what was changed was the only copy.
    Nothing,
}

/// What was found, or done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It was changed: the mirror's version is restored, where anything has it.
    Changed(Backing),
    /// It was taken away, and is restored, where anything has it.
    Missing(Backing),
    /// It was new, and is the mirror's now.
    New,
    /// It was set aside, and is kept in the mirror under this path.
    Kept { copy: RelPath },
    /// It stays where it is.
    Refused(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    pub wall_ns: i64,
    pub side: Side,
    pub path: String,
    pub deed: Deed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub changed: u64,
    pub missing: u64,
    pub new: u64,
    pub kept: u64,
    pub refused: u64,
}

/// The last deeds, oldest first, and how many there were of each kind.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    inner: Mutex<(Counts, VecDeque<Remark>)>,
}

impl Ledger {
    /// Adds a deed. One that a later search finds again is counted once while it is among the last.
    pub(crate) fn add(&self, wall_ns: i64, side: Side, path: &str, deed: Deed) {
        let mut inner = self.inner.lock();
        let (counts, remarks) = &mut *inner;
        let is_old_news = |remark: &Remark| match deed {
            Deed::Refused(_) => remark.side == side && remark.path == path && remark.deed == deed,
            Deed::Changed(_) | Deed::Missing(_) | Deed::New | Deed::Kept { .. } => false,
        };
        if remarks.iter().any(is_old_news) {
            return;
        }
        *match &deed {
            Deed::Changed(_) => &mut counts.changed,
            Deed::Missing(_) => &mut counts.missing,
            Deed::New => &mut counts.new,
            Deed::Kept { .. } => &mut counts.kept,
            Deed::Refused(_) => &mut counts.refused,
        } += 1;
        if remarks.len() == REMARKS_MAX {
            remarks.pop_front();
        }
        remarks.push_back(Remark { wall_ns, side, path: path.to_owned(), deed });
    }

    pub(crate) fn read(&self) -> Foreign {
        let inner = self.inner.lock();
        Foreign { counts: inner.0, last: inner.1.iter().cloned().collect() }
    }
}
