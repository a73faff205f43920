//! To come.

pub mod mem_store;
pub mod store;
