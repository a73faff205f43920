//! What an upload needs before it goes on: memory, a place, room on the drives, and in its owner's quota.
//!
//! A body of unknown length is held until it is known to be large, and waits for its place then. What it holds meanwhile is
//! of a pool of its own, so that it is nothing that those who have the places wait for.

use std::sync::Arc;

use crate::digest::BLOCK_BYTES;
use crate::mirror::core::Core;
use crate::mirror::pool::Held;
use crate::mirror::refusal::Refusal;
use crate::mirror::request::{BodySource, PutRequest};
use crate::mirror::space;
use crate::mirror::upload::{Body, LOGGED_BYTES_MAX, Upload};

/// Room that a body of unknown length takes ahead, once it is large.
const ROOM_BYTES: u64 = 8 << 20;

/// Waits for a place among the large files under way.
pub(super) async fn take_place(core: &Core, request: &PutRequest) -> Result<Option<Held>, Refusal> {
    match request.source {
        BodySource::Client => core.transfers.take(&request.asker.flow(request.len), 1).await.map(Some),
        BodySource::Held => Ok(None),
    }
}

impl Upload {
    /// Waits until there is memory for the next piece, for who has a say in when it comes and knows that one comes; how long
    /// that may be.
    pub async fn make_ready(&mut self) -> Result<usize, Refusal> {
        if self.answered.is_some() || self.request.source == BodySource::Held {
            return Ok(BLOCK_BYTES);
        }
        let core = Arc::clone(&self.mirror.core);
        let most = match (&self.body, self.request.len) {
            (Body::Held(_, size), None) if *size < LOGGED_BYTES_MAX => {
                let left = LOGGED_BYTES_MAX - size;
                if self.beginning.is_none() {
                    self.beginning = Some(core.beginnings.take(&self.flow(), LOGGED_BYTES_MAX).await?);
                }
                return Ok(left);
            }
            (Body::Held(..), None) => {
                if self.transfer.is_none() {
                    self.transfer = take_place(&core, &self.request).await?;
                }
                BLOCK_BYTES
            }
            (Body::Held(..), Some(len)) if len <= LOGGED_BYTES_MAX as u64 => LOGGED_BYTES_MAX,
            (Body::Held(..) | Body::Staged(_), _) => BLOCK_BYTES,
        };
        if self.buffer.is_none() {
            let left = self.request.len.map_or(most as u64, |len| len.saturating_sub(self.digester.size()));
            self.buffer = Some(core.buffers.take(&self.flow(), most.min(left as usize)).await?);
        }
        Ok(most)
    }

    /// Takes room for a body of unknown length as it grows up to `end`.
    pub(super) async fn make_room(&mut self, end: u64) -> Result<(), Refusal> {
        if self.request.len.is_some() || end <= self.room_end {
            return Ok(());
        }
        self.mirror.check_length(end)?;
        let core = &self.mirror.core;
        // What is written of it is in use now, not in the figures that the lanes left.
        space::refresh(core).await;
        let needed = end - self.room_end;
        let ahead = if end <= LOGGED_BYTES_MAX as u64 { LOGGED_BYTES_MAX as u64 } else { ROOM_BYTES };
        let ahead = ahead.max(needed);
        // Close to the end of a drive what came must fit, not what may come.
        let taken = match self.space.renew(core, ahead).await {
            Ok(()) => ahead,
            Err(_) => self.space.renew(core, needed).await.map(|()| needed)?,
        };
        // What it had before is all counted as written.
        self.spent = self.room_end;
        self.room_end += taken;
        Ok(())
    }

    /// Claims what a body of unknown length adds to its owner's files as it grows up to `end`.
    pub(super) async fn claim(&mut self, end: u64) -> Result<(), Refusal> {
        if self.request.len.is_some() || end <= self.claim.size() {
            return Ok(());
        }
        // Close to the limit what came must fit, not what may come.
        if self.claim.try_grow(end.next_multiple_of(ROOM_BYTES)).is_ok() {
            return Ok(());
        }
        self.claim.grow(end).await
    }
}
