//! Serves the mirror over TCP: one session a connection, one file a command.
//!
//! Knows the wire, what accounts allow, and the mirror's face; nothing of journal, drives or file systems.

mod accept;
mod account;
mod admission;
mod allowance;
mod aside;
mod connection;
mod descriptors;
mod door;
mod edit;
mod eject;
mod entry;
mod get;
mod hashing;
mod info;
mod limits;
mod log;
mod login;
mod ls;
mod mkdir;
mod mv;
mod passwd;
mod phase;
mod place;
mod presence;
mod put;
mod refusal;
mod rm;
mod scrub;
mod secure;
mod session;
mod share;
mod status;
mod transfers;
mod trash;
mod undo;
mod usage;
mod uses;
mod verify;

pub use accept::{Asked, Port, listen, serve};
pub use account::lines as account_lines;
pub use door::{ChangeRefused, Changer, Directory, Roll};
pub use limits::Limits;
pub use phase::Phase;
pub use secure::Tls;
pub use status::{HostReport, HostReporter, document};
pub use transfers::{Transfers, Workers};
pub use uses::{LastUsed, TokenUses};
