//! Taking in what somebody else changed on a drive: on another machine, or under the daemon.
//!
//! A lane that works off no debts looks through its drive (`lane/look`), folder by folder along the catalog. What is missing is
//! restored. What was changed is set aside, and the mirror's version restored; what lies aside, and what is new, is
//! then stored like a client's file, as a conflict copy where its name is taken. Nothing is ever concluded from a time
//! stamp but that the bytes are to be read, and no absence is a deletion.

pub(crate) mod aside;
pub(crate) mod hints;
pub(crate) mod inbox;
mod inotify;
pub(crate) mod intake;
pub(crate) mod ledger;
pub(crate) mod refusals;
pub(crate) mod shelf;
pub(crate) mod stock;
pub(crate) mod survey;
pub(crate) mod target;
