//! Where a GET's next block comes from: the page cache, or a drive.
//!
//! While a block is sent those behind it are read, unless they are cached: by both drives if both have the version, each
//! block by the one that is to have it sooner. A drive that lets the client wait is left out of the rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::clock;
use crate::digest::{BLOCK_BYTES, Crc32};
use crate::ids::Side;
use crate::mirror::attachment::Attachment;
use crate::mirror::download::Download;
use crate::mirror::download::copies::{Failure, Standing, open_first};
use crate::mirror::places::Source;
use crate::mirror::pool::Held;
use crate::mirror::refusal::Refusal;
use crate::mirror::request::BodySource;
use crate::mirror::volume::{Disposition, VolumeError, VolumeFile};

/// Blocks still to come from which on the other drive is worth opening.
const SHARED_BLOCKS_MIN: u64 = 4;
/// Blocks that a drive has to read at a time, so that it need not wait for the next order.
const ORDERS_MAX: usize = 2;
/// How long a block of one drive is waited for while the other one could be asked.
const LATE_AFTER: Duration = Duration::from_millis(250);

/// Bytes as they are on a drive, and the memory that they count for.
pub(super) type Block = (Vec<u8>, Held);

/// An open copy on one drive.
pub(super) struct OpenCopy {
    pub(super) attachment: Arc<Attachment>,
    pub(super) file: Arc<dyn VolumeFile>,
    pub(super) source: Source,
    pub(super) standing: Standing,
    /// What a block took lately, from the order on.
    pub(super) pace: Duration,
}

/// A block that a drive's thread is reading, or that waits for one.
pub(super) struct Order {
    number: u64,
    side: Side,
    since: Instant,
    /// With the time when it was read.
    answer: oneshot::Receiver<Result<(Block, Instant), VolumeError>>,
}

impl OpenCopy {
    fn offset(&self, number: u64) -> u64 {
        self.source.offset + number * BLOCK_BYTES as u64
    }
}

impl Download {
    /// A whole block, verified, from whichever copy has it.
    pub(super) async fn block(&mut self, number: u64) -> Result<Block, Refusal> {
        loop {
            if self.copies.is_empty() {
                let (place, _) = self.look_up()?;
                self.find_copy(place).await?;
            }
            let (side, read) = self.read(number).await?;
            match read {
                Ok(block) => {
                    *self.used.get_mut(side) = true;
                    self.read_ahead(number).await;
                    return Ok(block);
                }
                Err(Failure::Error(error)) if error.disposition == Disposition::Shortage => {
                    self.wait_for_means(&error).await?;
                }
                Err(failure) => {
                    if let Some(copy) = self.let_go(side) {
                        self.blame(copy, number, failure).await;
                    }
                }
            }
        }
    }

    /// Reads a block and verifies it; from the page cache at once, else on a drive's threads.
    async fn read(&mut self, number: u64) -> Result<(Side, Result<Block, Failure>), Refusal> {
        let ordered = self.orders.iter().position(|order| order.number == number);
        let (side, read) = if let Some(order) = ordered.map(|at| self.orders.swap_remove(at)) {
            (order.side, self.wait_for(order).await)
        } else {
            let held = self.room(self.block_len(number)).await?;
            match self.read_cached(number, &held) {
                Some((side, read)) => (side, read.map(|bytes| (bytes, held))),
                None => match self.order(number, held) {
                    Ok(order) => (order.side, self.wait_for(order).await),
                    Err(gone) => (gone, Err(Failure::Gone)),
                },
            }
        };
        let verified = read.and_then(|block| {
            let whole = block.0.len() == self.block_len(number);
            let expected = self.digests.get(number as usize);
            if whole && expected == Some(&Crc32::of(&block.0)) { Ok(block) } else { Err(Failure::WrongBytes) }
        });
        Ok((side, verified))
    }

    async fn wait_for(&mut self, Order { side, since, answer, .. }: Order) -> Result<Block, Failure> {
        let may_hurry = self.copies.len() > 1;
        let copy = self.copies.iter_mut().find(|copy| copy.attachment.side == side).ok_or(Failure::Gone)?;
        let answer = copy.attachment.io.wait(answer);
        let answered =
            if may_hurry { timeout(LATE_AFTER, answer).await.map_err(|_| Failure::Late)? } else { answer.await };
        let (block, read) = answered.map_err(|_| Failure::Gone)?.map_err(Failure::Error)?;
        copy.pace = (3 * copy.pace + read.saturating_duration_since(since)) / 4;
        Ok(block)
    }

    /// A block from the page cache, and whose it is; `None` where it is not whole in it.
    fn read_cached(&self, number: u64, held: &Held) -> Option<(Side, Result<Vec<u8>, Failure>)> {
        let mut block = held.buffer(self.block_len(number));
        for copy in &self.copies {
            let side = copy.attachment.side;
            // The page cache of a pulled stick goes on answering.
            if copy.attachment.is_gone() {
                return Some((side, Err(Failure::Gone)));
            }
            match copy.file.read_cached_at(&mut block, copy.offset(number)) {
                Ok(Some(read)) if read == block.len() => return Some((side, Ok(block))),
                // A short read: the rest is not in the page cache, or not there; the drive tells.
                Ok(Some(_) | None) => {}
                Err(error) => return Some((side, Err(Failure::Error(error)))),
            }
        }
        held.take_back(block);
        None
    }

    /// Has what comes behind a block read that is given out now.
    async fn read_ahead(&mut self, number: u64) {
        if !self.is_to_come_from_a_drive(number + 1) {
            return;
        }
        if !self.is_shared && (number + SHARED_BLOCKS_MIN) * (BLOCK_BYTES as u64) < self.end {
            self.is_shared = true;
            self.open_other().await;
        }
        for next in number + 1..=number + (self.copies.len() * ORDERS_MAX) as u64 {
            if self.orders.iter().any(|order| order.number == next) {
                continue;
            }
            if !self.is_to_come_from_a_drive(next) {
                return;
            }
            // Where memory is short nobody has two blocks.
            let Some(held) = self.core.buffers.try_take(&self.flow, self.block_len(next)) else { return };
            self.orders.extend(self.order(next, held));
        }
    }

    /// Whether a block is worth reading ahead: one byte of it tells whether it is in the page cache.
    fn is_to_come_from_a_drive(&self, number: u64) -> bool {
        let is_cached =
            |copy: &OpenCopy| matches!(copy.file.read_cached_at(&mut [0], copy.offset(number)), Ok(Some(1)));
        number * (BLOCK_BYTES as u64) < self.end && !self.copies.iter().any(is_cached)
    }

    /// Has a block read by the drive that is to have it first; else whose copy is gone.
    fn order(&self, number: u64, held: Held) -> Result<Order, Side> {
        let waits = |copy: &OpenCopy| self.orders.iter().filter(|order| order.side == copy.attachment.side).count();
        let sooner = self.copies.iter().min_by_key(|copy| {
            let orders = waits(copy) as u32 + 1;
            (copy.pace * orders, orders)
        });
        #[expect(clippy::expect_used, reason = "`block` has one opened first, and `read_ahead` comes behind a block")]
        let copy = sooner.expect("an open copy");
        let (side, since, file) = (copy.attachment.side, clock::now(), Arc::clone(&copy.file));
        let (len, offset) = (self.block_len(number), copy.offset(number));
        let read = move || {
            let mut block = held.buffer(len);
            let read = file.read_at(&mut block, offset)?;
            block.truncate(read);
            Ok(((block, held), clock::now()))
        };
        let answer = copy.attachment.io.start_job(self.flow.moving(len as u64), read).map_err(|_| side)?;
        Ok(Order { number, side, since, answer })
    }

    /// Opens the copy of the other drive too, where that is known to have this version. If not, one is enough.
    async fn open_other(&mut self) {
        let Ok((place, file)) = self.look_up() else { return };
        let Ok(candidates) = self.candidates(&place, &file) else { return };
        for candidate in candidates {
            let is_open = self.copies.iter().any(|copy| copy.attachment.side == candidate.attachment.side);
            if is_open || candidate.standing != Standing::Recorded {
                continue;
            }
            if let Ok((file, source)) = open_first(&candidate, &place, &self.flow).await {
                self.copies.push(OpenCopy {
                    attachment: candidate.attachment,
                    file,
                    source,
                    standing: candidate.standing,
                    pace: Duration::ZERO,
                });
            }
        }
    }

    /// Closes a copy, and forgets what was asked of it.
    fn let_go(&mut self, side: Side) -> Option<OpenCopy> {
        self.orders.retain(|order| order.side != side);
        let at = self.copies.iter().position(|copy| copy.attachment.side == side)?;
        Some(self.copies.remove(at))
    }

    /// Memory for so many bytes. Nothing is held by who waits for it.
    async fn room(&mut self, bytes: usize) -> Result<Held, Refusal> {
        match self.source {
            BodySource::Client => {
                if let Some(held) = self.core.buffers.try_take(&self.flow, bytes) {
                    return Ok(held);
                }
                self.orders.clear();
                self.core.buffers.take(&self.flow, bytes).await
            }
            BodySource::Held => Ok(self.core.buffers.nothing(&self.flow)),
        }
    }

    fn block_len(&self, number: u64) -> usize {
        let start = number * BLOCK_BYTES as u64;
        (self.size - start).min(BLOCK_BYTES as u64) as usize
    }
}
