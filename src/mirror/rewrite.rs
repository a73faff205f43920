//! What it takes to write a file anew from what is there, as for an append.
//!
//! It is had before the text's turn: who has the turn keeps others waiting, and must not wait itself for what slow clients
//! hold. In turn nobody who has these means waits for more of them.

use crate::digest::BLOCK_BYTES;
use crate::journal::{Node, Resolved};
use crate::mirror::mirror::Mirror;
use crate::mirror::mutate::unreadable;
use crate::mirror::pool::{Held, UNCOUNTED_BYTES_MAX};
use crate::mirror::refusal::Refusal;
use crate::mirror::request::Asker;
use crate::path::RelPath;

/// Blocks of a copy that are in memory at one time: four that are being written, the one in hand, and the next.
const BLOCKS_MAX: usize = 6;

/// Memory for the copy, and its place where it is large.
pub struct Means {
    _place: Option<Held>,
    _memory: Held,
    /// The largest file that they are enough for.
    size_max: u64,
}

impl Mirror {
    /// Waits for what writing this file anew takes, as large as it is now.
    pub async fn means_to_rewrite(&self, path: &RelPath, asker: &Asker) -> Result<Means, Refusal> {
        let core = &self.core;
        core.check_journal()?;
        let size = match core.journal.resolve(path).map_err(unreadable)? {
            Resolved::Found(_, Node::File(file)) => file.version.size,
            Resolved::Found(..) | Resolved::Root | Resolved::Missing { .. } | Resolved::BelowAFile { .. } => 0,
        };
        let flow = asker.flow(Some(size));
        let (bytes, size_max) = if size <= UNCOUNTED_BYTES_MAX {
            (UNCOUNTED_BYTES_MAX as usize, UNCOUNTED_BYTES_MAX)
        } else if size <= BLOCK_BYTES as u64 {
            (BLOCK_BYTES, BLOCK_BYTES as u64)
        } else {
            (BLOCKS_MAX * BLOCK_BYTES, u64::MAX)
        };
        let is_large = size > BLOCK_BYTES as u64;
        let place = if is_large { Some(core.transfers.take(&flow, 1).await?) } else { None };
        Ok(Means { _place: place, _memory: core.buffers.take(&flow, bytes).await?, size_max })
    }
}

impl Means {
    /// Whether they are enough for a file that has grown meanwhile.
    pub fn suffice_for(&self, size: u64) -> bool {
        size <= self.size_max
    }
}
