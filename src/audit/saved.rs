//! `totals.json`: what was counted, and up to where of the log. What came after it is counted anew at the start.
#![allow(clippy::disallowed_methods, reason = "the file lies in the state directory, never on a drive")]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::audit::reader::{Piece, Reader};
use crate::wire::{LogLine, Totals};

const FILE: &str = "totals.json";
/// While it is written.
const NEW_FILE: &str = "totals.json.new";
const VERSION: u32 = 1;

/// A place between two lines of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Position {
    /// The file's number; before the first one: 0.
    pub(super) file: u64,
    /// Bytes.
    pub(super) offset: u64,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    /// All lines before it are counted.
    position: Position,
    totals: Totals,
}

/// What was counted in earlier runs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    pub(super) totals: Totals,
    pub(super) position: Position,
    /// Whether the file lacks some of it.
    pub(super) is_ahead: bool,
}

/// The totals of the file, and of the lines behind its position. Where it is missing or no such file, all lines that
/// there are count.
pub(super) fn load(folder: &Path) -> Found {
    let saved = match read(folder) {
        Ok(saved) => saved,
        Err(error) => {
            tracing::warn!(%error, file = FILE, "totals are counted anew, from the audit log");
            None
        }
    };
    let mut found = saved.map_or_else(Found::default, |Document { totals, position, .. }| Found {
        totals,
        position,
        is_ahead: false,
    });
    if let Err(error) = count_on(folder, &mut found) {
        tracing::warn!(%error, "requests of the last minute may be missing in the totals");
    }
    found
}

fn read(folder: &Path) -> io::Result<Option<Document>> {
    let bytes = match fs::read(folder.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let document: Document = serde_json::from_slice(&bytes)?;
    if document.version == VERSION {
        Ok(Some(document))
    } else {
        Err(io::Error::other(format!("version {}, not {VERSION}", document.version)))
    }
}

fn count_on(folder: &Path, found: &mut Found) -> io::Result<()> {
    let mut reader = Reader::at(folder, found.position);
    loop {
        match reader.read()? {
            Piece::Lines(lines) => {
                found.is_ahead = true;
                for line in lines.split(|byte| *byte == b'\n') {
                    if let Ok(LogLine::Request(line)) = serde_json::from_slice(line) {
                        found.totals.count(&line);
                    }
                }
            }
            Piece::Gap => {}
            Piece::End => break,
        }
    }
    // A power cut may have left less of the log than was counted: what is written there now is counted again.
    let end = reader.end()?;
    found.is_ahead |= end != found.position;
    found.position = end;
    Ok(())
}

/// Puts it there durably, all or nothing.
pub(super) fn save(folder: &Path, totals: &Totals, position: Position) -> io::Result<()> {
    let document = Document { version: VERSION, position, totals: totals.clone() };
    let (path, new) = (folder.join(FILE), folder.join(NEW_FILE));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(&document)?)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(folder)?.sync_all()
}
