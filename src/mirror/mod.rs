//! Keeps two drives the same.

pub mod label;
mod mirror_stub;
pub mod request;
pub mod volume;

pub use mirror_stub::{Download, Mirror, Upload};
