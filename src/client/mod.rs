//! The client: requests over one connection, checked end to end and tried again where that is safe.
//!
//! Knows the wire, TLS, what accounts are, paths and digests; nothing of the daemon.

mod bandwidth;
pub mod cli;
mod editing;
mod error;
mod kept;
mod limits;
mod link;
mod overheard;
mod requests;
mod source;
mod target;
mod token;
mod trust;

pub use bandwidth::Bandwidth;
pub use editing::Sentence;
pub use error::ClientError;
pub use kept::KeptError;
pub use limits::PORT;
pub use link::Manner;
pub use requests::{Client, Downloaded, PutHead};
pub use source::Source;
pub use target::{LocalFile, Target};
pub use token::TokenError;
pub use trust::Trust;
