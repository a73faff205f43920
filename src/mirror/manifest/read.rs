//! Reading a manifest, record by record.

use crate::ids::DriveId;
use crate::journal::Change;
use crate::mirror::content::pour;
use crate::mirror::drive_log::Position;
use crate::mirror::manifest::frame::{BODY_BYTES_MAX, Context, Head, Item, Next, decode, resync};
use crate::mirror::manifest::names::{Kind, newest};
use crate::mirror::manifest::writer::kinds;
use crate::mirror::volume::{Disposition, Result, Volume, VolumeError};

/// What a drive has of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manifest {
    /// None, or none that was ended.
    None,
    Whole,
    /// Changes since its snapshot are missing, or parts of it cannot be read.
    Partial,
}

/// What a manifest says.
#[derive(Debug)]
pub(crate) enum Said {
    Head(Head),
    Node(Change),
    Log(Position),
}

/// Something wrong with a manifest's file.
#[derive(Debug)]
pub(crate) enum Problem {
    /// From this offset on, up to the next record. In a part of changes a power cut can leave that of an append that
    /// was not synced.
    Damaged {
        path: String,
        offset: u64,
        part: u64,
    },
    /// The last write was cut short, as a crash leaves it.
    Torn {
        path: String,
        offset: u64,
    },
    Unreadable {
        path: String,
        error: VolumeError,
    },
    /// It is another drive's: somebody copied it.
    OtherDrive {
        path: String,
        drive: DriveId,
    },
    /// The snapshot's end is missing, or it has other than so many nodes.
    Short {
        path: String,
    },
}

impl Problem {
    /// Whether records may be missing for it.
    fn is_loss(&self) -> bool {
        match self {
            Self::Torn { .. } => false,
            Self::Damaged { part, .. } => *part == 0,
            Self::Unreadable { .. } | Self::OtherDrive { .. } | Self::Short { .. } => true,
        }
    }
}

/// Reads the newest generation. Bad places are passed over and told.
pub(crate) fn read(
    volume: &dyn Volume,
    drive: DriveId,
    mut take: impl FnMut(Said),
    mut tell: impl FnMut(Problem),
) -> Result<Manifest> {
    let kinds = match kinds(volume) {
        Err(error) if error.disposition == Disposition::NotFound => return Ok(Manifest::None),
        kinds => kinds?,
    };
    let Some(newest) = newest(&kinds) else { return Ok(Manifest::None) };
    let mut manifest = Manifest::Whole;
    for kind in kinds.into_iter().filter(|kind| kind.generation() == newest) {
        match kind {
            Kind::Part { generation, part } => {
                let mut tell = |problem: Problem| {
                    if problem.is_loss() {
                        manifest = Manifest::Partial;
                    }
                    tell(problem);
                };
                let context = Context { drive, generation, part };
                read_part(volume, &kind.path(), context, &mut take, &mut tell)?;
            }
            Kind::Gap { .. } => manifest = Manifest::Partial,
            Kind::New { .. } | Kind::Half { .. } => {}
        }
    }
    Ok(manifest)
}

fn read_part(
    volume: &dyn Volume,
    path: &str,
    context: Context,
    take: &mut dyn FnMut(Said),
    tell: &mut dyn FnMut(Problem),
) -> Result<()> {
    let opened = volume.open(path).and_then(|file| file.meta().map(|meta| (file, meta.observed.size)));
    let (file, size) = match opened {
        Ok(opened) => opened,
        Err(error) => return unreadable(path, error, tell),
    };
    let mut parser = Parser::new(context, path);
    let poured = pour(&file, 0, size, |bytes, _| {
        parser.buffer.extend_from_slice(bytes);
        parser.parse(take, tell);
        Ok::<_, VolumeError>(())
    });
    if let Err(error) = poured {
        return unreadable(path, error, tell);
    }
    parser.end(take, tell);
    Ok(())
}

/// Takes the pieces of a part apart, as they come from a drive.
pub(crate) fn parse<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    context: Context,
    mut take: impl FnMut(Said),
    mut tell: impl FnMut(Problem),
) {
    let mut parser = Parser::new(context, "");
    for piece in pieces {
        parser.buffer.extend_from_slice(piece);
        parser.parse(&mut take, &mut tell);
    }
    parser.end(&mut take, &mut tell);
}

fn unreadable(path: &str, error: VolumeError, tell: &mut dyn FnMut(Problem)) -> Result<()> {
    if error.disposition == Disposition::DriveLost {
        return Err(error);
    }
    tell(Problem::Unreadable { path: path.to_owned(), error });
    Ok(())
}

struct Parser<'a> {
    context: Context,
    path: &'a str,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    offset: u64,
    /// Where bytes began that are no record.
    bad: Option<u64>,
    nodes: u64,
    /// What the snapshot's end says, and how many nodes came before it.
    ended: Option<(u64, u64)>,
}

impl<'a> Parser<'a> {
    fn new(context: Context, path: &'a str) -> Self {
        Self { context, path, buffer: Vec::new(), offset: 0, bad: None, nodes: 0, ended: None }
    }

    fn parse(&mut self, take: &mut dyn FnMut(Said), tell: &mut dyn FnMut(Problem)) {
        let mut at = 0;
        while let Some(rest) = self.buffer.get(at..).filter(|rest| !rest.is_empty()) {
            match decode(rest, self.context) {
                Next::Item(item, len) => {
                    if let Some(offset) = self.bad.take() {
                        let part = self.context.part;
                        tell(Problem::Damaged { path: self.path.to_owned(), offset, part });
                    }
                    at += len;
                    self.take(item, take, tell);
                }
                // More may come.
                Next::Short if rest.len() <= BODY_BYTES_MAX => break,
                Next::Short | Next::Bad => {
                    self.bad.get_or_insert(self.offset + at as u64);
                    // What could be the beginning of one stays.
                    at += resync(rest).unwrap_or(rest.len().saturating_sub(3).max(1));
                }
            }
        }
        self.buffer.drain(..at);
        self.offset += at as u64;
    }

    fn take(&mut self, item: Item, take: &mut dyn FnMut(Said), tell: &mut dyn FnMut(Problem)) {
        match item {
            Item::Head(head) if head.drive != self.context.drive => {
                tell(Problem::OtherDrive { path: self.path.to_owned(), drive: head.drive });
            }
            Item::Head(head) => take(Said::Head(head)),
            Item::Node(change) => {
                self.nodes += 1;
                take(Said::Node(change));
            }
            Item::Log(position) => take(Said::Log(position)),
            Item::End { nodes } => self.ended = Some((nodes, self.nodes)),
        }
    }

    fn end(&mut self, take: &mut dyn FnMut(Said), tell: &mut dyn FnMut(Problem)) {
        // A record's beginning whose end never comes: others may lie behind it.
        while !self.buffer.is_empty() {
            self.bad.get_or_insert(self.offset);
            let skip = resync(&self.buffer).unwrap_or(self.buffer.len());
            self.buffer.drain(..skip);
            self.offset += skip as u64;
            self.parse(take, tell);
        }
        if let Some(offset) = self.bad {
            tell(Problem::Torn { path: self.path.to_owned(), offset });
        }
        // Changes that came while it was made are among its records too.
        let whole = self.ended.is_some_and(|(nodes, found)| found >= nodes);
        if self.context.part == 0 && !whole {
            tell(Problem::Short { path: self.path.to_owned() });
        }
    }
}
