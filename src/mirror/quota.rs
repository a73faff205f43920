//! Quotas of what is on its way: what uploads under way will add counts beside what is stored.
//!
//! Only so that a client need not send in vain: what decides is the commit, which knows what is stored exactly.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::journal::{Journal, Node, Quota, Resolved};
use crate::mirror::mutate::{refusal, unreadable};
use crate::mirror::refusal::Refusal;
use crate::path::RelPath;

/// Bytes that uploads under way will add, by owner.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<HashMap<String, u64>>);

/// What one upload will add; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Arc<Claims>,
    quota: Option<Quota>,
    /// The bytes that it has in all, and what it adds with them to what its owner has.
    size: u64,
    adds: u64,
}

impl Claim {
    /// A claim to nothing yet. Without a quota it never claims anything.
    pub(crate) fn new(claims: &Arc<Claims>, quota: Option<Quota>) -> Self {
        Self { claims: Arc::clone(claims), quota, size: 0, adds: 0 }
    }

    /// The bytes that are claimed.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Claims `size` bytes in all for the file at `path`. Refused it keeps what it had.
    pub(crate) fn grow(&mut self, journal: &Journal, path: &RelPath, size: u64) -> Result<(), Refusal> {
        let Some(quota) = &self.quota else { return Ok(()) };
        // Held over the look at what is stored: two that come at once see each other.
        let mut claims = self.claims.0.lock();
        let stored = journal.usage(&quota.owner).map_err(unreadable)?.bytes;
        let replaced = match journal.resolve(path).map_err(unreadable)? {
            Resolved::Found(_, Node::File(file)) if file.owner == quota.owner => file.version.size,
            Resolved::Found(..) | Resolved::Root | Resolved::Missing { .. } | Resolved::BelowAFile { .. } => 0,
        };
        let adds = size.saturating_sub(replaced);
        let claimed = claims.get(&quota.owner).copied().unwrap_or(0);
        let others = claimed.saturating_sub(self.adds);
        let before = stored.saturating_add(others);
        quota.check(before, before.saturating_add(adds), size).map_err(|reason| refusal(reason.into()))?;
        claims.insert(quota.owner.clone(), others.saturating_add(adds));
        (self.size, self.adds) = (size, adds);
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(quota) = &self.quota else { return };
        let mut claims = self.claims.0.lock();
        let left = claims.get(&quota.owner).copied().unwrap_or(0).saturating_sub(self.adds);
        if left == 0 {
            claims.remove(&quota.owner);
        } else {
            claims.insert(quota.owner.clone(), left);
        }
    }
}
