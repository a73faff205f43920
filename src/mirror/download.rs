//! A GET under way: one version, block by block, each verified before it is given out.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::digest::{BLOCK_BYTES, Crc32};
use crate::ids::{Lsn, Side};
use crate::journal::{DriveFact, FileNode, Node, Place, Resolved};
use crate::mirror::committer::{Durable, Reporter};
use crate::mirror::core::Core;
use crate::mirror::mirror::{Mirror, unreadable};
use crate::mirror::places::{self, Source};
use crate::mirror::request::{Refusal, Span};
use crate::mirror::seat::Attachment;
use crate::mirror::volume::{Disposition, VolumeError, VolumeFile};
use crate::path::RelPath;

/// Times that a copy is looked for before it counts as damaged: a lane may be moving it.
const TRIES_MAX: u32 = 8;
/// How long to wait for a lane between two of them.
const TRY_AFTER: std::time::Duration = std::time::Duration::from_millis(250);

/// A GET under way.
pub struct Download {
    /// Bytes that will come, of `size`.
    pub len: u64,
    pub size: u64,
    pub lsn: Lsn,
    pub mtime_ns: i64,
    pub executable: bool,
    core: Arc<Core>,
    path: RelPath,
    file: FileNode,
    digests: Vec<Crc32>,
    /// Where the next bytes are.
    position: u64,
    end: u64,
    copy: Option<OpenCopy>,
    tries: u32,
    /// Sides that gave wrong bytes for this version.
    bad: Vec<Side>,
}

/// A block that a drive's thread is reading.
type Answer = oneshot::Receiver<Result<Vec<u8>, VolumeError>>;

/// An open copy on one drive.
struct OpenCopy {
    attachment: Arc<Attachment>,
    file: Arc<dyn VolumeFile>,
    source: Source,
    /// The block that is read already, while the one before is sent.
    ahead: Option<(u64, Answer)>,
}

/// Why a block did not come from a copy.
enum Failure {
    Gone,
    Error(VolumeError),
    WrongBytes,
}

impl Mirror {
    pub async fn open(self: &Arc<Self>, path: &RelPath, span: Span) -> Result<Download, Refusal> {
        self.core.check_journal()?;
        let file = current(&self.core, path)?;
        let digests = self.core.journal.block_digests(&file).map_err(unreadable)?;
        let size = file.version.size;
        let offset = span.offset.min(size);
        let len = span.count.map_or(size - offset, |count| count.min(size - offset));
        let mut download = Download {
            len,
            size,
            lsn: file.lsn,
            mtime_ns: file.mtime_ns,
            executable: file.executable,
            core: Arc::clone(&self.core),
            path: path.clone(),
            file,
            digests,
            position: offset,
            end: offset + len,
            copy: None,
            tries: 0,
            bad: Vec::new(),
        };
        if len > 0 {
            download.find_copy().await?;
        }
        Ok(download)
    }
}

fn current(core: &Core, path: &RelPath) -> Result<FileNode, Refusal> {
    match core.journal.resolve(path).map_err(unreadable)? {
        Resolved::Found(_, Node::File(file)) => Ok(file),
        Resolved::Root | Resolved::Found(_, Node::Folder(_)) => Err(Refusal::IsAFolder(path.to_string())),
        Resolved::Missing { .. } | Resolved::BelowAFile { .. } => Err(Refusal::NotFound(path.to_string())),
    }
}

impl Download {
    /// The next verified bytes, at most 256 KiB; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        if self.position >= self.end {
            return Ok(None);
        }
        let number = self.position / BLOCK_BYTES as u64;
        let block = loop {
            let Some(mut copy) = self.copy.take() else {
                self.find_copy().await?;
                continue;
            };
            match self.read(&mut copy, number).await {
                Ok(block) => {
                    self.copy = Some(copy);
                    break block;
                }
                Err(failure) => self.take_failure(copy, failure).await?,
            }
        };
        self.tries = 0;
        let start = number * BLOCK_BYTES as u64;
        let from = (self.position - start) as usize;
        let to = block.len().min((self.end - start) as usize);
        self.position = start + to as u64;
        Ok(Some(Bytes::from(block).slice(from..to)))
    }

    fn block_len(&self, number: u64) -> usize {
        let start = number * BLOCK_BYTES as u64;
        (self.size - start).min(BLOCK_BYTES as u64) as usize
    }

    /// Reads a block and verifies it; from the page cache at once, else on the drive's threads.
    async fn read(&self, copy: &mut OpenCopy, number: u64) -> Result<Vec<u8>, Failure> {
        let block = match copy.ahead.take() {
            Some((ahead, answer)) if ahead == number => {
                copy.attachment.io.wait(answer).await.map_err(|_| Failure::Gone)?.map_err(Failure::Error)?
            }
            Some(_) | None => {
                if let Some(block) = self.read_cached(copy, number)? {
                    block
                } else {
                    let answer = self.start_read(copy, number).ok_or(Failure::Gone)?;
                    copy.attachment.io.wait(answer).await.map_err(|_| Failure::Gone)?.map_err(Failure::Error)?
                }
            }
        };
        let whole = block.len() == self.block_len(number);
        let expected = self.digests.get(number as usize);
        if !whole || expected != Some(&Crc32::of(&block)) {
            return Err(Failure::WrongBytes);
        }
        let next = number + 1;
        if next * (BLOCK_BYTES as u64) < self.end && copy.ahead.is_none() && self.is_cold(copy, next) {
            copy.ahead = self.start_read(copy, next).map(|answer| (next, answer));
        }
        Ok(block)
    }

    fn read_cached(&self, copy: &OpenCopy, number: u64) -> Result<Option<Vec<u8>>, Failure> {
        if copy.attachment.is_gone() {
            return Err(Failure::Gone);
        }
        let mut block = vec![0; self.block_len(number)];
        let offset = copy.source.offset + number * BLOCK_BYTES as u64;
        match copy.file.read_cached_at(&mut block, offset) {
            Ok(Some(read)) if read == block.len() => Ok(Some(block)),
            // A short read: the rest is not in the page cache, or not there; the drive tells.
            Ok(Some(_) | None) => Ok(None),
            Err(error) => Err(Failure::Error(error)),
        }
    }

    /// Whether a block is worth reading ahead: one byte of it tells whether it is in the page cache.
    #[expect(clippy::unused_self, reason = "reads as a question to the download")]
    fn is_cold(&self, copy: &OpenCopy, number: u64) -> bool {
        let offset = copy.source.offset + number * BLOCK_BYTES as u64;
        !matches!(copy.file.read_cached_at(&mut [0], offset), Ok(Some(1)))
    }

    fn start_read(&self, copy: &OpenCopy, number: u64) -> Option<Answer> {
        let file = Arc::clone(&copy.file);
        let (len, offset) = (self.block_len(number), copy.source.offset + number * BLOCK_BYTES as u64);
        let read = move || {
            let mut block = vec![0; len];
            let read = file.read_at(&mut block, offset)?;
            block.truncate(read);
            Ok(block)
        };
        copy.attachment.io.start_job(read).ok()
    }

    /// Opens a copy of this version on a drive that has it, the less busy one first.
    async fn find_copy(&mut self) -> Result<(), Refusal> {
        loop {
            let (place, file) = self.look_up()?;
            let mut there: Vec<_> = self
                .core
                .attachments()
                .into_iter()
                .filter(|attachment| file.copies.get(attachment.side).is_durable())
                .collect();
            if there.is_empty() || there.iter().all(|attachment| self.bad.contains(&attachment.side)) {
                return Err(self.unavailable(&file));
            }
            let turn = self.lsn.0 as usize % 2;
            there.sort_by_key(|attachment| {
                let side = attachment.side;
                (self.bad.contains(&side), attachment.io.depth(), side.index() != turn)
            });
            for attachment in there {
                if self.bad.contains(&attachment.side) {
                    continue;
                }
                match self.open_on(&attachment, &place, &file).await {
                    Ok(copy) => {
                        self.copy = Some(copy);
                        return Ok(());
                    }
                    Err(failure) => self.blame(&attachment, failure).await,
                }
            }
            self.wait_for_lane().await;
        }
    }

    /// This version's place now. It may have been moved; if it was overwritten the download ends.
    fn look_up(&mut self) -> Result<(Place, FileNode), Refusal> {
        let found = self.core.journal.resolve(&self.path).map_err(unreadable)?;
        match found {
            Resolved::Found(place, Node::File(file)) if file.version == self.file.version => {
                self.file = file.clone();
                Ok((place, file))
            }
            Resolved::Root | Resolved::Found(..) | Resolved::Missing { .. } | Resolved::BelowAFile { .. } => {
                Err(Refusal::Superseded(self.path.to_string()))
            }
        }
    }

    async fn open_on(&self, attachment: &Arc<Attachment>, place: &Place, file: &FileNode) -> Result<OpenCopy, Failure> {
        let missing = |path: &str| {
            Failure::Error(VolumeError {
                op: "open",
                path: path.to_owned(),
                disposition: Disposition::NotFound,
                source: std::io::Error::from(std::io::ErrorKind::NotFound),
            })
        };
        let sources = sources(&self.core, attachment.side, place, file).map_err(|()| missing("the catalog"))?;
        let mut last = missing(place.name.as_str());
        for source in sources {
            match open_source(attachment, &source).await {
                Ok(file) => {
                    return Ok(OpenCopy { attachment: Arc::clone(attachment), file, source, ahead: None });
                }
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// A copy failed in mid-transfer: it is judged, and another is taken at the same position.
    async fn take_failure(&mut self, copy: OpenCopy, failure: Failure) -> Result<(), Refusal> {
        let attachment = Arc::clone(&copy.attachment);
        drop(copy);
        self.blame(&attachment, failure).await;
        self.find_copy().await
    }

    /// Judges a failed copy: the drive is gone, a lane is moving the file, or the copy is damaged.
    async fn blame(&mut self, attachment: &Arc<Attachment>, failure: Failure) {
        let side = attachment.side;
        self.tries += 1;
        let damaged = match &failure {
            Failure::Gone => return,
            Failure::Error(error) => {
                self.core.complain(attachment, error);
                // A folder under the name, or a name that cannot be opened, is no copy either.
                error.disposition != Disposition::DriveLost
            }
            Failure::WrongBytes => true,
        };
        // What looks lost may be the whole drive: vfat tells ENOENT when the stick is gone.
        let volume = Arc::clone(&attachment.volume);
        if let Ok(Err(error)) = attachment.io.run(move || volume.probe()).await {
            self.core.lose(attachment, &error.to_string());
            return;
        }
        let moving = self.core.journal.snapshot().owes(side) && self.tries < TRIES_MAX;
        if damaged && !moving && !attachment.is_gone() {
            self.report_damage(side, &failure);
            self.bad.push(side);
        }
    }

    /// Has the lane mend the copy from the other drive.
    fn report_damage(&self, side: Side, failure: &Failure) {
        if let Failure::WrongBytes = failure {
            self.core.seat(side).count_checksum_error();
        }
        tracing::warn!(drive = %side, path = %self.path, "damaged copy: served from the other drive, to be mended");
        let Ok(Resolved::Found(place, Node::File(file))) = self.core.journal.resolve(&self.path) else { return };
        if file.version == self.file.version {
            let core = Arc::clone(&self.core);
            // The committer's answer is not for this task to wait for.
            tokio::task::spawn_blocking(move || {
                // Of a drive that was replaced meanwhile nothing is marked that could be damaged.
                let reporter = Reporter { side, drive: core.journal.enrolment().drives.get(side).id };
                let noted = core.committer.note(reporter, vec![DriveFact::Damaged { side, place, file }], Durable::Now);
                if noted.is_ok() {
                    core.wake_lanes();
                }
            });
        }
    }

    async fn wait_for_lane(&self) {
        let mut changed = self.core.changed.subscribe();
        // Woken by the next commit, fact or departure; else it just tries again.
        let _ = tokio::time::timeout(TRY_AFTER, changed.changed()).await;
    }

    fn unavailable(&self, file: &FileNode) -> Refusal {
        let holds = |side: &Side| file.copies.get(*side).is_durable();
        let present = |side: Side| self.core.seat(side).attachment().is_some();
        match Side::BOTH.into_iter().find(holds) {
            Some(side) if holds(&side.other()) && !present(side) && !present(side.other()) => self.core.nobody_there(),
            Some(side) if !present(side) => {
                let message = format!(
                    "the current version of {} is only on drive {side}, which is not there: plug in drive {side}",
                    self.path
                );
                Refusal::Unavailable { drive: Some(side), message }
            }
            Some(side) => {
                let message = format!("{} cannot be read from drive {side}: see fget status", self.path);
                Refusal::Unavailable { drive: Some(side), message }
            }
            None => Refusal::Unavailable { drive: None, message: format!("no drive has a copy of {}", self.path) },
        }
    }
}

async fn open_source(attachment: &Arc<Attachment>, source: &Source) -> Result<Arc<dyn VolumeFile>, Failure> {
    if attachment.is_gone() {
        return Err(Failure::Gone);
    }
    match attachment.volume.open_cached(&source.path) {
        Ok(Some(file)) => return Ok(file),
        Ok(None) => {}
        Err(error) => return Err(Failure::Error(error)),
    }
    let (volume, path) = (Arc::clone(&attachment.volume), source.path.clone());
    let opened = attachment.io.run(move || volume.open(&path)).await.map_err(|_| Failure::Gone)?;
    opened.map_err(Failure::Error)
}

/// Where a copy may be: where it is recorded, and where a lane may have moved it since.
fn sources(core: &Core, side: Side, place: &Place, file: &FileNode) -> Result<Vec<Source>, ()> {
    let snapshot = core.journal.snapshot();
    let mut sources = Vec::new();
    sources.extend(places::source(&snapshot, side, place, file).map_err(|_| ())?);
    if snapshot.owes(side) {
        let home = places::path_at(&snapshot, side, place).map_err(|_| ())?;
        sources.extend(home.map(|path| Source { path, offset: 0 }));
        // Where a lane may have put it since.
        let wanted = snapshot.path_of(place).map_err(|_| ())?;
        sources.extend(wanted.map(|path| Source { path: path.to_string(), offset: 0 }));
    }
    sources.dedup();
    Ok(sources)
}
