//! What the trash keeps, as types.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::elapsed::Elapsed;
use crate::ids::{Lsn, NodeId};
use crate::journal::record::Place;
use crate::path::{NAME_BYTES_MAX, Name};

/// Versions of one path that are kept at most; one more, and the oldest goes.
pub const VERSIONS_MAX: usize = 16;
/// A version that is put and overwritten within so short a time after the last one of its path was thrown away is not
/// kept: a file that is written again and again would fill the trash, and wear the sticks, with versions that nobody
/// misses.
pub(super) const OVERWRITTEN_EVERY: Duration = Duration::from_mins(1);

/// Why something lies in the trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    Removed,
    Overwritten,
}

/// What is left of something that was removed or overwritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Remains {
    /// The node goes on, under this name in the trash.
    File { node: NodeId, name: Name, size: u64 },
    /// Folders leave nothing but that they were there.
    Folder { mtime_ns: i64 },
}

impl Remains {
    /// Where the file lies.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::File { name, .. } => Some(Place::new(NodeId::TRASH, name.clone())),
            Self::Folder { .. } => None,
        }
    }

    pub fn bytes(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::Folder { .. } => 0,
        }
    }
}

/// One thing in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The entry that threw it away, and its name in the trash. One entry throws one thing away.
    pub lsn: Lsn,
    /// Where it was, as clients knew it.
    pub path: String,
    pub cause: Cause,
    pub remains: Remains,
    pub keeping: Keeping,
}

/// When, and as a part of what, something is thrown away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    /// Its age counts from here.
    pub at: Elapsed,
    /// Nanoseconds since 1970; for people, never for order.
    pub wall_ns: i64,
    /// The journal's head when the removal of a folder with all in it began that this is a part of.
    pub sweep: Option<Lsn>,
}

/// The name in the trash of what entry `lsn` throws away: unique, and of use to people who look there.
pub(super) fn name_in_trash(lsn: Lsn, name: &Name) -> Name {
    let mut text = format!("{lsn}-{name}");
    while text.len() > NAME_BYTES_MAX {
        text.pop();
    }
    // FAT takes neither at the end of a name; cut short it may get one.
    let named = Name::parse(text.trim_end_matches(['.', ' ']));
    #[expect(clippy::expect_used, reason = "digits are a name")]
    named.or_else(|_| Name::parse(&lsn.to_string())).expect("digits are a name")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_name_in_the_trash_is_one_that_every_file_system_takes() {
        let short = name_in_trash(Lsn(17), &Name::parse("notes.txt").unwrap());
        assert_eq!(short.as_str(), "17-notes.txt");
        let long = Name::parse(&"ä".repeat(NAME_BYTES_MAX / 2)).unwrap();
        let cut = name_in_trash(Lsn(u64::MAX), &long);
        assert!(cut.as_str().len() <= NAME_BYTES_MAX && cut.as_str().starts_with("18446744073709551615-ä"));
        let dotted = Name::parse(&format!("{}....", "x".repeat(250))).unwrap();
        assert!(name_in_trash(Lsn(1234), &dotted).as_str().ends_with('x'));
    }
}
