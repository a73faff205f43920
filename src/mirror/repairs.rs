//! Which copies were repaired since the daemon's start, for `info` and `status`. In memory, and bounded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::ids::{NodeId, PerSide, Side};

/// Files whose repairs are counted one by one.
const FILES_MAX: usize = 10_000;

/// Counts of repairs.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    files: Mutex<BTreeMap<(NodeId, Side), u64>>,
    drives: PerSide<AtomicU64>,
}

impl Repairs {
    /// Copies that a drive's lane made whole again.
    pub(crate) fn add(&self, side: Side, nodes: &[(NodeId, u64)]) {
        if nodes.is_empty() {
            return;
        }
        self.drives.get(side).fetch_add(nodes.len() as u64, Ordering::Relaxed);
        let mut files = self.files.lock();
        for (node, _) in nodes {
            *files.entry((*node, side)).or_default() += 1;
            if files.len() > FILES_MAX {
                files.pop_first();
            }
        }
    }

    /// Another drive was enrolled on this side.
    pub(crate) fn forget(&self, side: Side) {
        self.drives.get(side).store(0, Ordering::Relaxed);
        self.files.lock().retain(|(_, repaired), _| *repaired != side);
    }

    /// Repairs of one file's copy.
    pub(crate) fn of(&self, side: Side, node: NodeId) -> u64 {
        self.files.lock().get(&(node, side)).copied().unwrap_or(0)
    }

    /// Repairs of all of a drive's copies.
    pub(crate) fn on(&self, side: Side) -> u64 {
        self.drives.get(side).load(Ordering::Relaxed)
    }
}
