//! Why the mirror refuses.

use crate::digest::Crc32;
use crate::ids::Side;
use crate::mirror::volume::VolumeError;

/// Why the mirror did not do what it was asked. Nothing was changed, save where it says so.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("no such file: {}", named(.0))]
    NotFound(String),
    #[error("{} is not in the trash: 'fget trash' lists what is", named(.0))]
    NotInTrash(String),
    #[error("{}", exists(.0))]
    Exists(String),
    #[error("{} is a folder", named(.0))]
    IsAFolder(String),
    #[error("{} is a file, not a folder", named(.0))]
    NotAFolder(String),
    #[error("{} is not empty: rm -r removes a folder with all in it", named(.0))]
    NotEmpty(String),
    #[error("{0}")]
    BadRequest(String),
    #[error("{what} is {size}, at most {limit} are taken")]
    TooLarge { what: &'static str, size: u64, limit: u64 },
    /// A path that nobody could name.
    #[error("{0}")]
    BadPath(String),
    /// An enrolled drive cannot have the name.
    #[error("{message}")]
    BadName { drive: Side, message: String },
    #[error("drive {drive} has {file_system}, where a file has at most {limit} bytes: split it")]
    TooLargeForDrive { drive: Side, file_system: &'static str, limit: u64 },
    #[error("the bytes have CRC-32 {actual}, the trailer says {expected}: nothing was stored, send it again")]
    BadChecksum { expected: Crc32, actual: Crc32 },
    #[error("{}", no_space(*drive, *free, *needed))]
    NoSpace { drive: Side, free: u64, needed: u64 },
    /// The user's files may not come to more.
    #[error("{0}")]
    Quota(String),
    /// The folder may not have more names.
    #[error("{0}")]
    FolderFull(String),
    /// No present drive holds it; `drive` names the one that does, where one does.
    #[error("{message}")]
    Unavailable { drive: Option<Side>, message: String },
    #[error("this upload was begun again on another connection, and goes on there")]
    Displaced,
    #[error("{0} was changed while it was read, and no copy of the older version is left: start again")]
    Superseded(String),
    /// The outcome of the mutation is open until the journal works again; its id tells.
    #[error("the journal cannot be written: {0}; reads go on, see twinstickd's log for the boot disk's state")]
    JournalUnavailable(String),
    #[error("the journal cannot be read: {0}; it goes on by itself when the boot disk does, see twinstickd's log")]
    JournalUnreadable(String),
    /// The daemon lacks descriptors or memory for now.
    #[error("twinstickd has too much to do at the moment ({0}): try again")]
    Busy(String),
    /// Somebody changed it since it was looked at.
    #[error("{0}")]
    OtherVersion(String),
    /// Whoever asked for it may not go on.
    #[error("the removal of {0} was broken off: what was removed before is in the trash")]
    BrokenOff(String),
    /// It can be done, and something could not be had then.
    #[error("{message}")]
    NeedsForce { drive: Side, message: String },
}

/// A path as a sentence has it: the root's is empty.
fn named(path: &str) -> &str {
    if path.is_empty() { "the root" } else { path }
}

fn exists(path: &str) -> String {
    if path.is_empty() {
        return "the root is there always: give a path below it".to_owned();
    }
    format!("{path} exists: choose another name or remove it first")
}

fn no_space(drive: Side, free: u64, needed: u64) -> String {
    if free < needed {
        return format!(
            "drive {drive} has {free} bytes free, {needed} are needed: remove something or put in a larger stick"
        );
    }
    // A file system can be out of inodes, or have a quota.
    format!("drive {drive} has no room for another file, though {free} bytes are free: remove something there")
}

impl Refusal {
    /// For the daemon's own shortage, met by an operation on a drive.
    pub(crate) fn busy(error: &VolumeError) -> Self {
        Self::Busy(error.source.to_string())
    }

    /// The stable name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotFound(_) | Self::NotInTrash(_) => "not-found",
            Self::Exists(_) => "exists",
            Self::IsAFolder(_) => "is-a-directory",
            Self::NotAFolder(_) => "not-a-directory",
            Self::NotEmpty(_) => "not-empty",
            Self::BadRequest(_) => "bad-request",
            Self::TooLarge { .. } | Self::TooLargeForDrive { .. } | Self::FolderFull(_) => "too-large",
            Self::BadPath(_) | Self::BadName { .. } => "bad-path",
            Self::BadChecksum { .. } => "bad-checksum",
            Self::NoSpace { .. } => "no-space",
            Self::Quota(_) => "quota",
            Self::Unavailable { .. } | Self::Displaced => "unavailable",
            Self::Superseded(_) => "superseded",
            Self::JournalUnavailable(_) | Self::JournalUnreadable(_) => "journal-unavailable",
            Self::Busy(_) => "busy",
            Self::OtherVersion(_) => "other-version",
            Self::NeedsForce { .. } => "needs-force",
            Self::BrokenOff(_) => "denied",
        }
    }

    /// The drive that holds what was asked for, or that lacks room.
    pub fn drive(&self) -> Option<Side> {
        match self {
            Self::NoSpace { drive, .. } | Self::BadName { drive, .. } | Self::TooLargeForDrive { drive, .. } => {
                Some(*drive)
            }
            Self::Unavailable { drive, .. } => *drive,
            Self::NeedsForce { drive, .. } => Some(*drive),
            Self::NotFound(_)
            | Self::NotInTrash(_)
            | Self::Exists(_)
            | Self::OtherVersion(_)
            | Self::Quota(_)
            | Self::FolderFull(_)
            | Self::IsAFolder(_)
            | Self::NotAFolder(_)
            | Self::NotEmpty(_)
            | Self::BadRequest(_)
            | Self::BadPath(_)
            | Self::TooLarge { .. }
            | Self::BadChecksum { .. }
            | Self::Displaced
            | Self::Superseded(_)
            | Self::JournalUnavailable(_)
            | Self::JournalUnreadable(_)
            | Self::Busy(_)
            | Self::BrokenOff(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_a_name_in_every_sentence() {
        let refusals: [fn(String) -> Refusal; 6] = [
            Refusal::NotFound,
            Refusal::NotInTrash,
            Refusal::Exists,
            Refusal::IsAFolder,
            Refusal::NotAFolder,
            Refusal::NotEmpty,
        ];
        for refusal in refusals {
            let (root, file) = (refusal(String::new()).to_string(), refusal("d/f".to_owned()).to_string());
            assert!(root.contains("the root") && file.contains("d/f"), "{root}; {file}");
        }
    }
}
