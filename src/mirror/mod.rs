//! Keeps two drives the same.

mod content;
mod drive_log;
pub mod label;
mod lane;
mod layout;
mod mirror_stub;
#[cfg(test)]
mod model;
pub mod os_volume;
mod places;
pub mod request;
#[cfg(test)]
pub(crate) mod sim_volume;
mod stage;
pub mod volume;
#[cfg(test)]
mod volume_tests;

pub use mirror_stub::{Download, Mirror, Upload};
