//! Keeps two drives the same.

pub mod label;
mod mirror_stub;
pub mod request;
pub mod sim_volume;
pub mod volume;
#[cfg(test)]
mod volume_tests;

pub use mirror_stub::{Download, Mirror, Upload};
