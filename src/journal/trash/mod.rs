//! The trash: what was removed or overwritten, kept for a while on both drives.
//!
//! A place of the catalog like any other, a folder under [`NodeId::TRASH`](crate::ids::NodeId::TRASH): a file that is
//! thrown away is moved there, so that debts, claims, replays and backfills treat it as any move. A record of its own
//! says what it was. Clients' paths never lead there.

mod plan;
mod record;
mod view;

pub(in crate::journal) use plan::{Wanted, is_held};
pub use record::{Cause, Keeping, Kept, Remains, VERSIONS_MAX};
