//! What the mirror is asked and what it answers.

use serde::Serialize;

use crate::digest::Crc32;
use crate::ids::{Lsn, PerSide, Side};
pub use crate::ids::{REQUEST_ID_BYTES_MAX, RequestId};
pub use crate::journal::{Cause, Overwrite, Receipt, Usage};
pub use crate::mirror::fair::{Asker, Priority};
pub use crate::mirror::reconcile::stock::Worth as AsideWorth;
use crate::path::RelPath;

/// Whether a request is for a folder with all that is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recurse {
    Yes,
    No,
}

/// The head of a PUT.
#[derive(Clone, Debug)]
pub struct PutRequest {
    pub path: RelPath,
    pub overwrite: Overwrite,
    /// Bytes of the body; `None` where the client does not know yet.
    pub len: Option<u64>,
    /// Nanoseconds since 1970; `None`: the daemon's time at commit.
    pub mtime_ns: Option<i64>,
    pub executable: bool,
    /// The user whose file it is from then on; nobody's where there are no accounts.
    pub owner: String,
    pub asker: Asker,
    pub source: BodySource,
    /// Whether it is refused where the owner's files come to more than they may, or the folder has no room.
    pub limited: Limited,
    pub id: Option<RequestId>,
}

/// Where a body comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodySource {
    Client,
    /// From a download or from memory of the daemon's own, which have their place and their room already: to wait for
    /// more of both with them in hand could be to wait for ever.
    Held,
}

/// Whether somebody's limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    Yes,
    /// It is on a drive already, or the daemon's own.
    No,
}

/// Bytes of a file: all from `offset` on, or `count` of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub offset: u64,
    pub count: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    File,
    Folder,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListEntry {
    /// Relative to the folder listed; a path where the listing is recursive.
    pub name: String,
    pub kind: NodeKind,
    /// Bytes; 0 for a folder.
    pub size: u64,
    pub mtime_ns: i64,
    pub lsn: Lsn,
    pub crc32: Option<Crc32>,
}

/// One file or folder, with where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub path: RelPath,
    pub kind: NodeKind,
    pub size: u64,
    pub mtime_ns: i64,
    pub executable: bool,
    pub owner: String,
    pub lsn: Lsn,
    pub crc32: Option<Crc32>,
    pub drives: PerSide<InfoDrive>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Copied {
    /// This version is under its name.
    Installed,
    /// This version is durable on the drive, not yet under its name.
    Staged,
    /// The drive lacks this version.
    Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfoDrive {
    pub present: bool,
    pub copy: Copied,
    /// When the copy was last read back and found right, nanoseconds since 1970.
    pub verified_ns: Option<i64>,
    /// How often the copy was damaged or gone and was made whole again, since the daemon's start.
    pub repaired: u64,
}

/// One thing in the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashItem {
    /// Where it was.
    pub path: String,
    pub kind: NodeKind,
    /// Bytes; 0 for a folder.
    pub size: u64,
    pub cause: Cause,
    /// What names it: the mutation that threw it away.
    pub lsn: Lsn,
    /// When that was, nanoseconds since 1970 as the machine believed then.
    pub wall_ns: i64,
}

/// What an undo brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The last mutation of it.
    pub receipt: Receipt,
    /// Files and folders.
    pub restored: u64,
}

/// Something that lies aside on a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsideItem {
    pub side: Side,
    /// Its name for [`crate::mirror::Mirror::drop_aside`].
    pub id: String,
    /// Where it was on the drive: a file, or the folder that all its files were in.
    pub path: String,
    /// `edited`, `found`, `damaged`, or `unknown`.
    pub cause: &'static str,
    pub worth: AsideWorth,
    /// When it was set aside, in UTC, as the machine believed then.
    pub day: Option<String>,
    pub lsn: Option<Lsn>,
    pub files: u64,
    pub bytes: u64,
}

/// Whether a comparison reads the bytes, or looks at names and sizes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    Compared,
    NotRead,
}

/// What a drive has under a name, against the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    Same,
    /// In the catalog, and not on the drive.
    Missing,
    /// On the drive, and not in the catalog.
    Extra,
    Differs,
    /// It could not be looked at.
    Failed,
}

/// One line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyLine {
    /// `drive` is missing where all that are there are alike.
    Found {
        path: String,
        drive: Option<Side>,
        verified: Verified,
        why: Option<String>,
    },
    Progress {
        files: u64,
        bytes: u64,
    },
}
