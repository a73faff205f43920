//! `twinstickd check`: the journal, its catalog, and both drives against each other, while no daemon runs.
//!
//! It changes nothing: the journal is looked at in a copy, the drives are read alone. A drive may be behind, and a
//! daemon may have been killed at any moment: what the debts explain is no difference.

mod bytes;
mod debts;
mod drive;
mod find;
mod kind;
mod labels;
mod left;
mod log;
mod lost;
mod manifest;
mod own;
mod report;
mod run;
mod tree;

pub use report::{Format, Verdict};
pub use run::check;
