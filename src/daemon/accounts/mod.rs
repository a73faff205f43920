//! The accounts of a mirror: the daemon's copy on the boot disk, and the one on the drives, kept alike.
//!
//! The copy on the boot disk is who comes in while no drive is there. The one on the drives is an ordinary file of the mirror
//! that no client reaches: so it outlives the boot disk as all files do. Of the two the one with the higher serial counts.

mod command;
mod file;
mod keeper;
mod uses;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::accounts::{AccountError, BadAccounts, Token};
use crate::daemon::control::ControlError;
use crate::daemon::state_lock::StateLockError;
use crate::journal::store::StoreError;

pub(in crate::daemon) use command::on_boot_disk;
pub use command::{Known, begin_anew, change, known, listed};
pub(in crate::daemon) use file::FILE as ACCOUNTS_FILE;
pub(crate) use keeper::Keeper;

/// What became of a change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The text of the token that it made.
    pub token: Option<String>,
    pub copies: Copies,
}

/// Where a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Copies {
    /// On the boot disk and on each drive that is there.
    OnDrives,
    /// On the boot disk; on the drives once one is there.
    BootDisk,
}

/// Why accounts are not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    Document { path: PathBuf, source: BadAccounts },
    #[error(
        "the accounts are on the drives alone, since the boot disk was lost: plug in one of them and run twinstickd serve. \
         If no copy there can be read: stop it, and begin anew with twinstickd user add NAME --admin --anew"
    )]
    Unread,
    #[error("nothing is changed now: {0}")]
    Mirror(String),
    #[error(
        "there would be no account left, and {0} is open to the network: it would be open to everybody. Stop twinstickd, \
         and start it on a loopback address"
    )]
    LastOnNetwork(SocketAddr),
    #[error("{} has no journal: enrol two drives with twinstickd init first", .0.display())]
    NotEnrolled(PathBuf),
    #[error(
        "{} belongs to user {owner}, whose daemon could not read what another user writes there: start twinstickd first, or \
         run this as that user: sudo -u '#{owner}' twinstickd user …", state.display()
    )]
    Owner { state: PathBuf, owner: u32 },
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Locked(#[from] StateLockError),
    #[error("the journal in {}: {source}", state.display())]
    Journal { state: PathBuf, source: StoreError },
    /// In the daemon's words.
    #[error("{0}")]
    Refused(String),
    #[error("the daemon gave another command's answer: is it of another version?")]
    AnotherAnswer,
}

impl Changed {
    fn new(token: Option<&Token>, copies: Copies) -> Self {
        Self { token: token.map(Token::reveal), copies }
    }
}
