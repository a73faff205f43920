//! The log as a reader goes through it, beside the writer: whole lines, from the oldest file to the newest.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::audit::Filter;
use crate::audit::files::{end_of_lines, numbers, path};
use crate::audit::saved::Position;

/// What is read at a time.
const BLOCK_BYTES: usize = 64 << 10;
/// The longest line that is looked for; what has no newline for longer is no line of ours, and passed over.
const LINE_BYTES_MAX: usize = 1 << 20;

/// A place in the log, and what comes behind it. All of it blocks.
pub struct Reader {
    folder: PathBuf,
    /// Invariant: the beginning of a line.
    at: Position,
    /// The file of that number, which stays readable when it is removed.
    file: Option<File>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Whole lines of one file, some at a time.
    Lines(Vec<u8>),
    /// The file that came next is gone already.
    Gap,
    /// No more for now.
    End,
}

impl Reader {
    /// At the oldest line that there is.
    pub fn oldest(folder: &Path) -> Self {
        Self::at(folder, Position::default())
    }

    pub(super) fn at(folder: &Path, at: Position) -> Self {
        Self { folder: folder.to_owned(), at, file: None }
    }

    /// At the last lines that a filter takes, so many of them; found from the end, so that the rest is not read.
    pub fn last(folder: &Path, lines: u64, filter: &Filter) -> io::Result<Self> {
        let mut left = lines;
        let mut at = Position::default();
        for (age, number) in numbers(folder)?.into_iter().rev().enumerate() {
            let file = match File::open(path(folder, number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                file => file?,
            };
            let end = end_of_lines(&file, file.metadata()?.len())?;
            if age == 0 {
                at = Position { file: number, offset: end };
            }
            let taken = back(&file, end, &mut left, |line| filter.takes(line))?;
            if let Some(offset) = taken {
                at = Position { file: number, offset };
            }
            if left == 0 {
                break;
            }
        }
        Ok(Self::at(folder, at))
    }

    /// What comes behind what it gave before.
    pub fn read(&mut self) -> io::Result<Piece> {
        loop {
            if self.file.is_none() {
                match self.open()? {
                    Opened::File => {}
                    Opened::Again => continue,
                    Opened::Later => return Ok(Piece::Gap),
                    Opened::Nothing => return Ok(Piece::End),
                }
            }
            // Looked at before the lines are: what is there of this file then is all of it.
            let is_over = numbers(&self.folder)?.last().is_some_and(|last| *last > self.at.file);
            let lines = self.lines()?;
            if !lines.is_empty() {
                return Ok(Piece::Lines(lines));
            }
            if !is_over {
                return Ok(Piece::End);
            }
            self.file = None;
            self.at = Position { file: self.at.file + 1, offset: 0 };
        }
    }

    /// The end of what was read.
    pub(super) fn end(&self) -> io::Result<Position> {
        let offset = match &self.file {
            Some(file) => self.at.offset.min(end_of_lines(file, file.metadata()?.len())?),
            None => 0,
        };
        Ok(Position { offset, ..self.at })
    }

    fn open(&mut self) -> io::Result<Opened> {
        let next = numbers(&self.folder)?.into_iter().find(|number| *number >= self.at.file);
        let Some(number) = next else { return Ok(Opened::Nothing) };
        match File::open(path(&self.folder, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Again),
            file => self.file = Some(file?),
        }
        let was = std::mem::replace(&mut self.at.file, number);
        if was == number {
            return Ok(Opened::File);
        }
        self.at.offset = 0;
        Ok(if was == 0 { Opened::File } else { Opened::Later })
    }

    /// Whole lines from where the reader is. Read anew each time, since half a line may still be cut off.
    fn lines(&mut self) -> io::Result<Vec<u8>> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let read = read_at(file, &mut block, self.at.offset)?;
            let end = block.iter().take(read).rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            if end > 0 || read < block.len() {
                block.truncate(end);
                self.at.offset += end as u64;
                return Ok(block);
            }
            if block.len() >= LINE_BYTES_MAX {
                self.at.offset += block.len() as u64;
            } else {
                block.resize(block.len() * 2, 0);
            }
        }
    }
}

enum Opened {
    File,
    /// Removed in this moment: there is one behind it.
    Again,
    /// Not the one that came next, which is gone.
    Later,
    Nothing,
}

/// Fills a block, up to the file's end.
fn read_at(file: &File, block: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = block.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + read as u64)? {
            0 => break,
            bytes => read += bytes,
        }
    }
    Ok(read)
}

/// Goes back line by line from `end` until `left` lines were taken; where the earliest of them begins.
fn back(file: &File, end: u64, left: &mut u64, takes: impl Fn(&[u8]) -> bool) -> io::Result<Option<u64>> {
    let mut earliest = None;
    let mut start = end;
    // The end of a line whose beginning was not read yet.
    let mut tail = Vec::new();
    while start > 0 && *left > 0 {
        let before = start.saturating_sub(BLOCK_BYTES as u64);
        let mut block = vec![0; usize::try_from(start - before).unwrap_or_default()];
        file.read_exact_at(&mut block, before)?;
        block.append(&mut tail);
        start = before;
        let mut stop = block.len();
        while stop > 0 && *left > 0 {
            let text = block.get(..stop - 1).unwrap_or_default();
            let newline = text.iter().rposition(|byte| *byte == b'\n');
            let Some(begin) = newline.map(|at| at + 1).or((start == 0).then_some(0)) else { break };
            if takes(block.get(begin..stop).unwrap_or_default()) {
                *left -= 1;
                earliest = Some(start + begin as u64);
            }
            stop = begin;
        }
        block.truncate(stop);
        tail = if block.len() > LINE_BYTES_MAX { Vec::new() } else { block };
    }
    Ok(earliest)
}
