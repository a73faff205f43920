//! The audit log: a line of JSON for every request, and what they add up to.
//!
//! Requests put their lines into an inbox with an end and go on; one thread writes them, in batches. What cannot be
//! written is counted, and a line says so as soon as one can be. Knows files of the boot disk and the lines' form;
//! nothing of sessions, the mirror or the journal.

mod files;
mod filter;
mod inbox;
mod reader;
mod saved;
mod writer;

#[cfg(test)]
mod tests;

pub use filter::Filter;
pub use inbox::AuditLog;
pub use reader::{Piece, Reader};

use std::path::{Path, PathBuf};

/// The log's folder in the state directory.
const FOLDER: &str = "log";

/// What an operator may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditLimits {
    /// Bytes of one file; the next line begins another one.
    pub file_bytes: u64,
    /// Files that are kept, the one that is written among them; 0: none is written.
    pub files: u32,
}

impl Default for AuditLimits {
    fn default() -> Self {
        Self { file_bytes: 16 << 20, files: 8 }
    }
}

/// Where the log of a state directory is.
fn folder(state: &Path) -> PathBuf {
    state.join(FOLDER)
}
