//! One drive's share of a large upload: its stage file, and the writes to it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::journal::Stage;
use crate::mirror::attachment::Attachment;
use crate::mirror::fair::Flow;
use crate::mirror::pool::Held;
use crate::mirror::stage::StageFile;
use crate::mirror::volume::{Attributes, Result as VolumeResult};

/// Writes of one upload to one drive that are under way at most.
const WRITES_MAX: usize = 4;
/// Bytes of a stage in the page cache before they are synced: so much dirty data of one upload at most, twice over.
const SYNC_BYTES: u64 = 4 << 20;

/// What pieces count for, until the last of them is written.
pub(super) type Memory = Arc<[Option<Held>; 2]>;

/// One drive's share of a large upload.
pub(super) struct Leg {
    pub(super) attachment: Arc<Attachment>,
    stage: Arc<StageFile>,
    flow: Flow,
    writes: VecDeque<Write>,
    /// Bytes in the page cache.
    unsynced: u64,
    /// Bytes of the writes under way.
    in_flight: u64,
}

struct Write {
    /// Bytes that it left in the page cache.
    answer: oneshot::Receiver<VolumeResult<u64>>,
    /// 0 for a sync.
    bytes: u64,
}

impl Leg {
    pub(super) fn new(attachment: Arc<Attachment>, stage: Arc<StageFile>, flow: Flow) -> Self {
        Self { attachment, stage, flow, writes: VecDeque::new(), unsynced: 0, in_flight: 0 }
    }

    /// Bytes of the writes under way.
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Queues a write; false when the drive has left.
    pub(super) async fn write(&mut self, bytes: &Bytes, offset: u64, buffer: &Memory) -> VolumeResult<bool> {
        while self.writes.len() >= WRITES_MAX {
            if !self.settle_one().await? {
                return Ok(false);
            }
        }
        let (stage, piece, buffer) = (Arc::clone(&self.stage), bytes.clone(), Arc::clone(buffer));
        let write = move || {
            let result = stage.write_at(&piece, offset);
            drop((piece, buffer));
            result
        };
        if !self.start(bytes.len() as u64, write) {
            return Ok(false);
        }
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            let stage = Arc::clone(&self.stage);
            return Ok(self.start(0, move || stage.sync().map(|()| 0)));
        }
        Ok(true)
    }

    fn start(&mut self, bytes: u64, job: impl FnOnce() -> VolumeResult<u64> + Send + 'static) -> bool {
        let Ok(answer) = self.attachment.io.start_job(self.flow.moving(bytes), job) else { return false };
        self.in_flight += bytes;
        self.writes.push_back(Write { answer, bytes });
        true
    }

    /// Waits for the oldest write; false when the drive has left.
    async fn settle_one(&mut self) -> VolumeResult<bool> {
        let Some(Write { answer, bytes }) = self.writes.pop_front() else { return Ok(true) };
        self.in_flight -= bytes;
        match self.attachment.io.wait(answer).await {
            Ok(result) => {
                self.unsynced += result?;
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }

    /// Waits for all writes and makes the stage durable; `None` when the drive has left.
    pub(super) async fn finish(mut self, attributes: Attributes) -> VolumeResult<Option<Stage>> {
        while !self.writes.is_empty() {
            if !self.settle_one().await? {
                return Ok(None);
            }
        }
        let stage = Arc::clone(&self.stage);
        match self.attachment.io.run(self.flow.call(), move || stage.finish(attributes)).await {
            Ok(stage) => stage.map(Some),
            Err(_) => Ok(None),
        }
    }
}
