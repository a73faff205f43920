//! Scrub: both drives' copies are read from the medium, checked block by block, and made whole where they are not.
//!
//! Each drive has its own pass through the catalog, in the catalog's order, one small piece at a time; it gives way to
//! clients and to the lane, and its position is on record. It only looks: what it finds damaged it reports, as a reader
//! does, and the lane repairs it.

mod desk;
mod orders;
pub(crate) mod pass;
mod worker;

pub(crate) use desk::{Desk, ScrubFigures};
pub use orders::ScrubAnswer;
pub(crate) use worker::start;
