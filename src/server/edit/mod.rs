//! `edit`, `renew`, `commit`, `release`, `append`: texts that several people write at the same time.
//!
//! Nothing of it keeps anybody from reading, storing, moving or removing the file: a commit is a conditional put of the
//! text as it is then with one sentence replaced, made anew where somebody else stored another version in between.

mod append;
mod body;
mod commit;
mod current;
mod desk;
mod lease;

pub(crate) use append::append;
pub(crate) use commit::commit;
pub(crate) use desk::{Desk, Edits};
pub(crate) use lease::{open, release, renew};
