//! What an `init` has begun, kept in the state directory until all of it is durable.
//!
//! Written before a drive is touched, so that an init that was cut short is known for what it is: nothing serves from
//! it, and the next one goes on with the same ids, which the labels that it finds may have already.
#![allow(clippy::disallowed_methods, reason = "the state directory lies on the boot disk, never on a drive")]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use crate::ids::{DriveId, MirrorId, PerSide};

/// The file: the ids of the mirror and its drives a and b, as text.
pub(super) const FILE: &str = "init.begun";
/// The same while it is written.
pub(super) const DRAFT: &str = "init.begun.new";

/// The ids that an init gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    pub(super) mirror: MirrorId,
    pub(super) drives: PerSide<DriveId>,
}

impl Begun {
    /// Whether an init in this state directory has not come to its end.
    pub(super) fn is_left(state: &Path) -> bool {
        state.join(FILE).exists()
    }

    /// What an init in this state directory has left that did not come to its end.
    pub(super) fn find(state: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(state.join(FILE)) {
            Ok(text) => Self::read(&text).map(Some).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "damaged")),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let mirror = words.next()?.parse().ok()?;
        let drives = PerSide { a: words.next()?.parse().ok()?, b: words.next()?.parse().ok()? };
        words.next().is_none().then_some(Self { mirror, drives })
    }

    /// Makes it durable, and the names of the state directory's own folder too.
    pub(super) fn write(&self, state: &Path) -> io::Result<()> {
        let draft = state.join(DRAFT);
        let mut file = File::create(&draft)?;
        writeln!(file, "{} {} {}", self.mirror, self.drives.a, self.drives.b)?;
        file.sync_all()?;
        fs::rename(&draft, state.join(FILE))?;
        sync_folder(state)?;
        state.parent().map_or(Ok(()), sync_folder)
    }

    /// Removes it, once the journal is durable under its name.
    pub(super) fn end(state: &Path) -> io::Result<()> {
        sync_folder(state)?;
        fs::remove_file(state.join(FILE))?;
        sync_folder(state)
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
