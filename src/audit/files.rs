//! The log's files: `audit-0000000001.jsonl` and on, appended to, the oldest removed.
//!
//! Nothing is synced: what a power cut takes are the last seconds, and the boot disk is spared.
#![allow(clippy::disallowed_methods, reason = "the files lie in the state directory, never on a drive")]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::audit::AuditLimits;
use crate::audit::saved::Position;

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";
/// How far back the end of the last whole line is looked for at a time.
const LOOK_BACK: u64 = 64 << 10;

/// The end of the log.
pub(super) struct Files {
    folder: PathBuf,
    /// Opened with the first line, and given up with the first error.
    last: Option<Last>,
    /// Where the last line ends that was written.
    end: Option<Position>,
}

struct Last {
    number: u64,
    file: File,
    /// Invariant: up to here there are whole lines alone.
    bytes: u64,
}

/// Why lines are not in the log, and how many of the last ones of a batch.
#[derive(Debug, thiserror::Error)]
#[error("{lines} lines: {source}")]
pub(super) struct NotWritten {
    pub(super) lines: usize,
    pub(super) source: io::Error,
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, last: None, end: None }
    }

    /// The end of what was written, once something was.
    pub(super) fn position(&self) -> Option<Position> {
        self.end
    }

    /// Appends whole lines, each in one file or another. What was written before an error stays.
    pub(super) fn append(&mut self, mut batch: &[u8], limits: AuditLimits) -> Result<(), NotWritten> {
        while !batch.is_empty() {
            let (written, outcome) = self.append_some(batch, limits);
            batch = batch.get(written..).unwrap_or_default();
            if let Err(source) = outcome {
                // Opened anew, its last line is looked at.
                self.last = None;
                return Err(NotWritten { lines: batch.split_inclusive(|byte| *byte == b'\n').count(), source });
            }
        }
        Ok(())
    }

    /// Appends what has room in one file; how many bytes of whole lines that were.
    fn append_some(&mut self, batch: &[u8], limits: AuditLimits) -> (usize, io::Result<()>) {
        let last = match self.with_room(limits) {
            Ok(last) => last,
            Err(error) => return (0, Err(error)),
        };
        let room = usize::try_from(limits.file_bytes.saturating_sub(last.bytes)).unwrap_or(usize::MAX);
        let part = fitting(batch, room);
        if part.is_empty() && last.bytes > 0 {
            return (0, self.rotate(limits));
        }
        // A line that is longer than a file has one of its own.
        let part = if part.is_empty() { fitting(batch, first_line(batch)) } else { part };
        let (written, outcome) = write(&mut last.file, part);
        last.bytes += written as u64;
        let end = Position { file: last.number, offset: last.bytes };
        self.end = Some(end);
        (written, outcome)
    }

    fn with_room(&mut self, limits: AuditLimits) -> io::Result<&mut Last> {
        if self.last.is_none() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            let number = numbers(&self.folder)?.pop().unwrap_or(1);
            self.last = Some(open(&self.folder, number)?);
            remove_old(&self.folder, limits)?;
        }
        self.last.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rotate(&mut self, limits: AuditLimits) -> io::Result<()> {
        let number = self.last.as_ref().map_or(0, |last| last.number) + 1;
        self.last = Some(open(&self.folder, number)?);
        remove_old(&self.folder, limits)
    }
}

/// The numbers of the files that there are, the oldest first.
pub(super) fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        numbers.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Ten digits, so that the names sort as the numbers do.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{number:010}{SUFFIX}"))
}

/// Opens a file for appending. Half a line at its end, from a power cut or a full disk, is cut off: it says nothing
/// that could be relied on, and the next line would be part of it.
fn open(folder: &Path, number: u64) -> io::Result<Last> {
    let path = path(folder, number);
    let file = File::options().read(true).append(true).create(true).mode(0o600).open(&path)?;
    let bytes = file.metadata()?.len();
    let whole = end_of_lines(&file, bytes)?;
    if whole < bytes {
        file.set_len(whole)?;
    }
    Ok(Last { number, file, bytes: whole })
}

/// Where the last whole line ends.
pub(super) fn end_of_lines(file: &File, mut end: u64) -> io::Result<u64> {
    while end > 0 {
        let start = end.saturating_sub(LOOK_BACK);
        let mut block = vec![0; usize::try_from(end - start).unwrap_or_default()];
        file.read_exact_at(&mut block, start)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn remove_old(folder: &Path, limits: AuditLimits) -> io::Result<()> {
    let numbers = numbers(folder)?;
    let surplus = numbers.len().saturating_sub(limits.files.max(1) as usize);
    for number in numbers.into_iter().take(surplus) {
        fs::remove_file(path(folder, number))?;
    }
    Ok(())
}

/// As many whole lines as fit.
fn fitting(batch: &[u8], room: usize) -> &[u8] {
    let within = batch.get(..room).unwrap_or(batch);
    let end = within.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    within.get(..end).unwrap_or_default()
}

fn first_line(batch: &[u8]) -> usize {
    batch.iter().position(|byte| *byte == b'\n').map_or(batch.len(), |at| at + 1)
}

/// Writes as much as can be; how many bytes of whole lines that were.
fn write(file: &mut File, part: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = part.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (fitting(part, written).len(), Err(io::ErrorKind::WriteZero.into())),
            Ok(bytes) => written += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (fitting(part, written).len(), Err(error)),
        }
    }
    (written, Ok(()))
}
