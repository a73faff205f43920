//! What a mutation asks of the catalog.

use crate::ids::{Lsn, Side};
use crate::namespace::Misfit;
use crate::path::{BadPath, Name, RelPath};
use crate::units;

/// Why a mutation cannot be done on what the catalog says. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Precondition {
    #[error("no such file: {0}")]
    NotFound(RelPath),
    #[error("{0} exists")]
    Exists(RelPath),
    #[error("{path} is {} by now, not version {wanted}: get it again", version(*now))]
    OtherVersion { path: RelPath, wanted: Lsn, now: Option<Lsn> },
    #[error("{0} is a folder")]
    IsAFolder(RelPath),
    #[error("{0} is a file, not a folder")]
    NotAFolder(RelPath),
    #[error("{0} is not empty")]
    NotEmpty(RelPath),
    #[error("{}", over_quota(owner, *limit, *used, *needed))]
    Quota { owner: String, limit: u64, used: u64, needed: u64 },
    #[error(
        "{} has as many names as a folder may have, {most}: choose another folder, or remove something there",
        shown(folder)
    )]
    FolderFull { folder: RelPath, most: u64 },
    #[error("{0} cannot be moved into itself")]
    IntoItself(RelPath),
    #[error("nothing of {0} is in the trash")]
    NotInTrash(RelPath),
    #[error("nothing that LSN {0} threw away is in the trash")]
    NotKept(Lsn),
    #[error("the root itself cannot be changed")]
    Root,
    #[error("this id was given to another request before: give each its own")]
    IdInUse,
    /// Nobody could name it: what is taken in from a drive, or brought back, was not given as a path.
    #[error("{path} cannot be: {why}")]
    Beyond { path: RelPath, why: BadPath },
    #[error("drive {drive} has {file_system}, which {misfit}: choose another name than {name}")]
    Misfit { name: Name, drive: Side, file_system: &'static str, misfit: Misfit },
    #[error("drive {drive} has {file_system}, which takes {name} for {other}, that is there: choose another name")]
    SameButCase { name: Name, other: Name, drive: Side, file_system: &'static str },
    /// Every drive that the bytes went to has left meanwhile.
    #[error("every drive that had the bytes has left: put a stick back in and send it again")]
    NoStage,
}

fn over_quota(owner: &str, limit: u64, used: u64, needed: u64) -> String {
    let [limit, used, needed] = [limit, used, needed].map(units::bytes);
    format!(
        "{owner} may use {limit}, and {used} are used or on their way: {needed} do not fit beside that; remove something, or ask an \
         admin for more"
    )
}

fn shown(folder: &RelPath) -> String {
    if folder.names().is_empty() { "the root".to_owned() } else { folder.to_string() }
}

fn version(now: Option<Lsn>) -> String {
    now.map_or_else(|| "not there".to_owned(), |lsn| format!("version {lsn}"))
}
