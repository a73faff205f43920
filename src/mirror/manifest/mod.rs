//! The manifest: on each drive, the catalog as its owner knows it, for the day when the journal is lost.
//!
//! A generation is a snapshot of all nodes (part 0) and what changed since (later parts): files
//! `.twinstick/manifest/<generation>-<part>` that are only appended to, a new part each arrival. Of a node the record
//! with the highest LSN counts. A snapshot is `<generation>-0.new` until it is whole and synced; then it gets its
//! name, and older generations go. Nothing is ever renamed over a name. `<generation>.gap` says that changes after
//! the snapshot are missing, since the drive had no room for them: until the next snapshot the trees say more.

mod frame;
mod keeper;
mod names;
mod read;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use frame::{Context, Head, seal};
pub(crate) use keeper::{Keeper, News, Turn, read_segment};
pub(crate) use read::{Manifest, Problem, Said, parse, read};
pub(crate) use writer::{outdate, remove};
