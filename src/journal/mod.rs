//! To come.

pub mod mem_store;
pub mod sled_store;
pub mod store;
