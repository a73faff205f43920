//! The journal: what was promised, in the order it was promised, and what each drive still owes of it.
//!
//! A mutation is planned against the catalog, written as an entry, made durable by one barrier for
//! all that wait, then published. Entries carry the changes they make, so that redoing one is
//! inserting the same records again. The catalog and the debts are the fold of the entries.
//!
//! Knows no drive's paths, no files, no clients, no time.

mod alarm;
mod apart;
pub mod audit;
pub mod buffered;
mod catalog;
mod change;
pub(crate) mod codec;
mod draft;
mod elapsed;
mod fact;
mod fill;
mod folded;
mod import;
#[cfg(test)]
pub(crate) mod mem_store;
mod names;
#[cfg(test)]
mod order_tests;
mod owed;
mod plan;
mod precondition;
mod reader;
mod record;
mod recovery;
mod room;
mod scrub;
mod sled_copy;
pub mod sled_store;
pub mod store;
mod trash;
mod usage;
mod writer;

pub use alarm::Generation;
pub use catalog::{Catalog, Child, Resolved};
pub use change::{BEFORE, Body, Change, Listed, Origin};
pub use fact::DriveFact;
pub use import::{Beginning, Importer};
pub use plan::Released;
pub use precondition::Precondition;
pub use reader::{Journal, Snapshot};
pub use record::{
    Answered, Blocks, Content, Copy, Debt, Deed, Enrolled, Enrolment, Entry, FileNode, Fill, FillCause, Flags,
    FolderNode, Fresh, Held, Mark, Mutation, Node, Observed, Overwrite, Parents, Place, Put, Receipt, Request, Stage,
    Staged, Version, block_count, put_fingerprint,
};
pub use scrub::{ScrubAmount, ScrubCause, ScrubOrder, ScrubPart, ScrubPosition, ScrubProgress};
pub use trash::{Cause, Keeping, Kept, Remains, VERSIONS_MAX};
pub use usage::{Quotas, Usage, check_limit};
pub use writer::{ANSWERS_MAX, Attached, CommitError, Committed, Writer};
