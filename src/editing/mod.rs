//! Texts that several people edit at the same time, sentence by sentence: what a sentence is, who has which, and where
//! it is when somebody else has changed the text.
//!
//! Pure: knows neither files nor connections, and time is an argument.

mod align;
mod document;
pub mod text;

pub use document::{Composed, Document, Gone, Holder, LeaseId, NoCommit, NoLease, Opened};

#[cfg(test)]
mod model;
