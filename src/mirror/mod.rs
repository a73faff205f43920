//! Keeps two drives the same: staging, committing, converging, reading.
//!
//! Knows no sockets, no mount table, no configuration file.

pub(crate) mod adopt;
mod attachment;
mod await_sync;
mod browse;
pub(crate) mod committer;
pub(crate) mod content;
mod core;
mod download;
pub(crate) mod drive_log;
mod eject;
mod extent;
pub(crate) mod fair;
mod flaps;
mod history;
mod hot;
#[cfg(test)]
mod hung_tests;
mod io;
pub mod label;
mod lane;
mod lane_thread;
pub(crate) mod layout;
mod limits;
mod listener;
mod log_thread;
pub(crate) mod manifest;
#[expect(clippy::module_inception, reason = "the mirror's own face")]
mod mirror;
#[cfg(test)]
mod model;
mod mutate;
pub mod os_volume;
mod own_folders;
mod pace;
#[cfg(test)]
mod parking_tests;
mod patient;
mod peer;
pub(crate) mod places;
mod pool;
mod quota;
mod reconcile;
pub mod refusal;
mod release;
mod repairs;
mod report;
pub mod request;
mod rewrite;
mod scan;
mod scrub;
mod seat;
mod set_apart;
#[cfg(test)]
pub(crate) mod sim_volume;
mod space;
mod stage;
mod stall;
#[cfg(test)]
mod stand;
mod state;
pub mod status;
mod steps;
mod token;
pub(crate) mod trash;
mod upload;
mod verify;
pub mod volume;
#[cfg(test)]
mod volume_tests;
mod wake;
mod watched;
mod words;

pub use attachment::NewDrive;
pub use core::{Lost, Parting};
pub use download::Download;
pub use eject::{Ejected, Patience};
pub use flaps::Ending;
pub use limits::{AsideMax, MirrorLimits};
pub(crate) use mirror::JOURNAL_FOLDER;
pub use mirror::{Loss, Mirror, NotParked, ReplaceError};
pub use rewrite::Means;
pub use scrub::ScrubAnswer;
pub use state::{BadTransition, DriveEvent, DriveState};
pub use upload::Upload;
