//! A GET under way: one version, block by block, each verified before it is given out.

mod blocks;
mod copies;
mod judge;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::digest::{BLOCK_BYTES, Crc32};
use crate::ids::{Lsn, PerSide, Side};
use crate::journal::{FileNode, Node, Place, Resolved};
use crate::mirror::attachment::Attachment;
use crate::mirror::core::Core;
use crate::mirror::download::blocks::{OpenCopy, Order};
use crate::mirror::download::copies::{Candidate, Failure, Standing, open_first, sources};
use crate::mirror::fair::{Asker, Flow};
use crate::mirror::mirror::Mirror;
use crate::mirror::mutate::unreadable;
use crate::mirror::pool::{Held, bytes_of};
use crate::mirror::refusal::Refusal;
use crate::mirror::request::{BodySource, Span};
use crate::mirror::volume::{Disposition, VolumeError};
use crate::path::RelPath;

/// Times that a copy is looked for before it counts as damaged: a lane may be moving it.
const TRIES_MAX: u32 = 8;
/// How long to wait for a lane between two of them, or for descriptors.
const TRY_AFTER: std::time::Duration = std::time::Duration::from_millis(250);
/// Times that a GET waits for descriptors or memory that the daemon lacks, before the client is told to come again.
const SHORTAGES_MAX: u32 = 8;

/// A GET under way.
pub struct Download {
    /// Bytes that will come, of `size`.
    pub len: u64,
    pub size: u64,
    pub lsn: Lsn,
    pub mtime_ns: i64,
    pub executable: bool,
    /// The CRC-32 of all that will come, as it was when it was stored; known where that is the whole file.
    pub crc32: Option<Crc32>,
    core: Arc<Core>,
    flow: Flow,
    source: BodySource,
    /// Of a large file: its place among those under way.
    _transfer: Option<Held>,
    path: RelPath,
    file: FileNode,
    digests: Vec<Crc32>,
    /// Where the next bytes are.
    position: u64,
    end: u64,
    /// One at least while a block is read.
    copies: Vec<OpenCopy>,
    /// Blocks that are read while one before them is sent.
    orders: Vec<Order>,
    /// Both drives' copies were looked for.
    is_shared: bool,
    /// The whole file, where it is kept in memory.
    hot: Option<Bytes>,
    tries: u32,
    /// Times that the daemon lacked something since the last block.
    shortages: u32,
    /// Sides whose copy cannot be opened.
    lost: Vec<Side>,
    /// Sides to be passed over until a lane has gone on: it may be moving the file there.
    suspects: Vec<Side>,
    /// Blocks that a copy does not have right: another copy may, and this one has others.
    bad: BTreeSet<(Side, u64)>,
    /// Sides that a block came from.
    used: PerSide<bool>,
}

impl Mirror {
    /// Opens a file for somebody who waits for it; a large one when it has its place.
    pub async fn open(self: &Arc<Self>, path: &RelPath, span: Span, asker: &Asker) -> Result<Download, Refusal> {
        self.open_for(path, span, asker, BodySource::Client).await
    }

    /// The same for who has a place and memory already.
    pub async fn open_in_place(
        self: &Arc<Self>,
        path: &RelPath,
        span: Span,
        asker: &Asker,
    ) -> Result<Download, Refusal> {
        self.open_for(path, span, asker, BodySource::Held).await
    }

    async fn open_for(
        self: &Arc<Self>,
        path: &RelPath,
        span: Span,
        asker: &Asker,
        source: BodySource,
    ) -> Result<Download, Refusal> {
        self.core.check_journal()?;
        let mut transfer = None;
        let (place, file, offset, len, flow) = loop {
            let (place, file) = current(&self.core, path)?;
            let size = file.version.size;
            let offset = span.offset.min(size);
            let len = span.count.map_or(size - offset, |count| count.min(size - offset));
            let flow = asker.flow(Some(len));
            let is_large = len > BLOCK_BYTES as u64 && source == BodySource::Client;
            if is_large && transfer.is_none() {
                transfer = Some(self.core.transfers.take(&flow, 1).await?);
                // While it was waited for the file may have been changed.
                continue;
            }
            transfer = transfer.filter(|_| is_large);
            break (place, file, offset, len, flow);
        };
        let size = file.version.size;
        let digests = self.core.journal.block_digests(&file).map_err(unreadable)?;
        let mut download = Download {
            len,
            size,
            lsn: file.lsn,
            mtime_ns: file.mtime_ns,
            executable: file.executable,
            crc32: (len == size).then_some(file.version.crc32),
            core: Arc::clone(&self.core),
            flow,
            source,
            _transfer: transfer,
            path: path.clone(),
            file,
            digests,
            position: offset,
            end: offset + len,
            copies: Vec::new(),
            orders: Vec::new(),
            is_shared: false,
            hot: None,
            tries: 0,
            shortages: 0,
            lost: Vec::new(),
            suspects: Vec::new(),
            bad: BTreeSet::new(),
            used: PerSide::default(),
        };
        if len > 0 {
            download.hot = download.kept();
            if download.hot.is_none() {
                download.find_copy(place).await?;
            }
        }
        Ok(download)
    }
}

fn current(core: &Core, path: &RelPath) -> Result<(Place, FileNode), Refusal> {
    match core.journal.resolve(path).map_err(unreadable)? {
        Resolved::Found(place, Node::File(file)) => Ok((place, file)),
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
        if let Some(whole) = self.hot.take() {
            let from = std::mem::replace(&mut self.position, self.end);
            return Ok(Some(whole.slice(from as usize..self.end as usize)));
        }
        let number = self.number();
        let block = self.block(number).await?;
        (self.tries, self.shortages) = (0, 0);
        let start = number * BLOCK_BYTES as u64;
        let from = (self.position - start) as usize;
        let (bytes, held) = block;
        self.core.hot.keep(&self.file.version, &bytes);
        let to = bytes.len().min((self.end - start) as usize);
        self.position = start + to as u64;
        Ok(Some(bytes_of(bytes, held).slice(from..to)))
    }

    /// The drives that the bytes came from so far.
    pub fn drives(&self) -> impl Iterator<Item = Side> + use<> {
        let used = self.used;
        Side::BOTH.into_iter().filter(move |side| *used.get(*side))
    }

    /// The whole file from memory, if a drive that is there holds it too: what is on none of them is told.
    fn kept(&self) -> Option<Bytes> {
        let held = |attachment: &Arc<Attachment>| self.file.copies.get(attachment.side).is_durable();
        if self.core.attachments().iter().any(held) { self.core.hot.get(&self.file.version) } else { None }
    }

    /// The block that the next bytes are in.
    fn number(&self) -> u64 {
        self.position / BLOCK_BYTES as u64
    }

    /// Opens a copy of this version, which is at `place`, on a drive that has it, the less busy one first.
    async fn find_copy(&mut self, mut place: Place) -> Result<(), Refusal> {
        loop {
            let file = self.file.clone();
            let there = self.candidates(&place, &file)?;
            if there.is_empty() {
                if self.suspects.is_empty() {
                    return Err(self.unavailable(&file));
                }
                self.wait_for_lane().await;
                self.suspects.clear();
            }
            for candidate in there {
                match open_first(&candidate, &place, &self.flow).await {
                    Ok((file, source)) => {
                        let Candidate { attachment, standing, .. } = candidate;
                        self.copies.push(OpenCopy { attachment, file, source, standing, pace: Duration::ZERO });
                        return Ok(());
                    }
                    Err(Failure::Error(error)) if error.disposition == Disposition::Shortage => {
                        self.wait_for_means(&error).await?;
                        // Meanwhile it may be elsewhere.
                        break;
                    }
                    Err(failure) => self.blame_unopened(&candidate, &failure).await,
                }
            }
            (place, _) = self.look_up()?;
        }
    }

    /// Where the next block can be had from, the best first.
    fn candidates(&self, place: &Place, file: &FileNode) -> Result<Vec<Candidate>, Refusal> {
        let number = self.number();
        let mut there = Vec::new();
        for attachment in self.core.attachments() {
            let side = attachment.side;
            if self.lost.contains(&side) || self.suspects.contains(&side) || self.bad.contains(&(side, number)) {
                continue;
            }
            let (standing, sources) = sources(&self.core, side, place, file).map_err(unreadable)?;
            // Of what is recorded nothing may be found, which is for `open_first` to say.
            if standing == Standing::Recorded || !sources.is_empty() {
                there.push(Candidate { attachment, standing, sources });
            }
        }
        let turn = self.lsn.0 as usize % 2;
        there.sort_by_key(|candidate| {
            let attachment = &candidate.attachment;
            (candidate.standing, attachment.io.depth(), attachment.side.index() != turn)
        });
        Ok(there)
    }

    /// This version's place now. It may have been moved; if it is neither there nor in the trash the download ends.
    fn look_up(&mut self) -> Result<(Place, FileNode), Refusal> {
        let found = self.core.journal.resolve(&self.path).map_err(unreadable)?;
        match found {
            Resolved::Found(place, Node::File(file)) if file.version == self.file.version => {
                self.file = file.clone();
                Ok((place, file))
            }
            Resolved::Root | Resolved::Found(..) | Resolved::Missing { .. } | Resolved::BelowAFile { .. } => {
                // The version that was current at the look-up goes on from the trash.
                let thrown = self.core.journal.snapshot().thrown_away(&self.path, self.file.id).map_err(unreadable)?;
                let thrown = thrown.filter(|(_, file)| file.version == self.file.version);
                thrown.ok_or_else(|| Refusal::Superseded(self.path.to_string()))
            }
        }
    }

    /// The daemon itself lacked something: that says nothing of the copy, and may be over soon.
    async fn wait_for_means(&mut self, error: &VolumeError) -> Result<(), Refusal> {
        self.shortages += 1;
        if self.shortages > SHORTAGES_MAX {
            return Err(Refusal::busy(error));
        }
        tokio::time::sleep(TRY_AFTER).await;
        Ok(())
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
