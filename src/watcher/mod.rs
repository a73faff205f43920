//! Notices drives that come and go. It copies nothing and touches no user's file.
//!
//! A drive is known by its label. Arrivals are announced once the drive was opened afresh, probed and locked;
//! departures when its mount is gone, its path leads elsewhere, or a read past the page cache fails.

mod attendance;
mod hints;
mod jobs;
mod look;
pub mod mountinfo;
mod mounts;
mod places;
mod sighting;
mod watch;

pub use places::{PLACES_MAX, expand};
pub use sighting::{Departure, Found, RefusedLabel, Sighting, Visit};
pub use watch::{Ground, KnownDrive, Pace, Watcher, WatcherConfig, WatcherHandle};
