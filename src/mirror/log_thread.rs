//! The thread that owns a drive's log: one write and one sync for all who wait.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::ids::{Arrival, Lsn, Ticket};
use crate::journal::{Deed, Stage};
use crate::mirror::drive_log::{Append, DriveLog, Record};
use crate::mirror::volume::VolumeError;

/// Bytes of records that one sync serves at most.
const BATCH_BYTES_MAX: u64 = 4 << 20;
/// Records of commits that wait for a payload's sync at most, before they get one of their own.
const LATER_MAX: usize = 1024;

enum Message {
    Append(Append, oneshot::Sender<Stage>),
    Later(Vec<Append>),
    Release(Arrival, u32, Ticket),
    /// Removes what is free; records of commits that wait are written and synced.
    Settle(mpsc::Sender<()>),
}

/// The way to a drive's log. Its thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct LogHandle {
    queue: Sender<Message>,
}

impl LogHandle {
    /// Starts the thread; `failed` is told the error that ends it. `alive` is held until it has ended.
    pub(crate) fn start(
        name: &str,
        log: DriveLog,
        alive: &std::sync::Arc<()>,
        failed: impl FnOnce(VolumeError) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, messages) = mpsc::channel();
        let alive = std::sync::Arc::clone(alive);
        let work = Work { log, waiting: VecDeque::new(), later: Vec::new() };
        std::thread::Builder::new().name(format!("{name}-log")).spawn(move || {
            if let Err(error) = work.run(&messages) {
                failed(error);
            }
            drop(alive);
        })?;
        Ok(Self { queue })
    }

    /// Appends a payload; the answer comes when it is durable, or never when the drive has left.
    pub(crate) fn append(&self, append: Append) -> oneshot::Receiver<Stage> {
        let (reply, answer) = oneshot::channel();
        // A closed queue drops the reply, which the receiver sees.
        let _ = self.queue.send(Message::Append(append, reply));
        answer
    }

    /// Hands over records of commits for the next sync.
    pub(crate) fn later(&self, deeds: &[(Lsn, Deed)]) {
        let record = |(lsn, deed): &(Lsn, Deed)| Record::Committed { lsn: *lsn, deed: deed.clone() };
        let records = deeds.iter().map(|deed| Append { record: record(deed), payload: Bytes::new() }).collect();
        let _ = self.queue.send(Message::Later(records));
    }

    pub(crate) fn release(&self, arrival: Arrival, segment: u32, ticket: Ticket) {
        let _ = self.queue.send(Message::Release(arrival, segment, ticket));
    }

    /// Removes free segments and syncs what waits; false when the log has failed.
    pub(crate) fn settle(&self) -> bool {
        let (reply, answer) = mpsc::channel();
        self.queue.send(Message::Settle(reply)).is_ok() && answer.recv().is_ok()
    }
}

struct Work {
    log: DriveLog,
    waiting: VecDeque<(Append, oneshot::Sender<Stage>)>,
    later: Vec<Append>,
}

impl Work {
    fn run(mut self, messages: &Receiver<Message>) -> Result<(), VolumeError> {
        while let Ok(message) = messages.recv() {
            self.take(message)?;
            while let Ok(message) = messages.try_recv() {
                self.take(message)?;
            }
            while self.append()? {}
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), VolumeError> {
        match message {
            Message::Append(append, reply) => self.waiting.push_back((append, reply)),
            Message::Later(records) => {
                self.later.extend(records);
                if self.later.len() > LATER_MAX {
                    self.write_later()?;
                }
            }
            Message::Release(arrival, segment, ticket) => self.log.release(arrival, segment, ticket),
            Message::Settle(reply) => {
                self.write_later()?;
                self.log.reclaim()?;
                // The lane may have left.
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    /// Appends those who wait, as many as one sync serves; whether there was one, and room for it.
    fn append(&mut self) -> Result<bool, VolumeError> {
        let mut bytes: u64 = self.later.iter().map(Append::cost).sum();
        let mut count = 0;
        for (append, _) in &self.waiting {
            if count > 0 && bytes + append.cost() > BATCH_BYTES_MAX {
                break;
            }
            bytes += append.cost();
            count += 1;
        }
        // A full log waits until the lane has installed something; `Settle` comes after that.
        if count == 0 || !self.log.has_room(bytes) {
            return Ok(false);
        }
        let (mut records, mut replies) = (std::mem::take(&mut self.later), Vec::with_capacity(count));
        let first = records.len();
        for (append, reply) in self.waiting.drain(..count) {
            records.push(append);
            replies.push(reply);
        }
        let stages = self.log.append(&records)?;
        for (reply, (append, stage)) in replies.into_iter().zip(records.iter().zip(stages).skip(first)) {
            // A client that has left does not need its stage.
            if let (Err(Stage::Log { arrival, segment, .. }), Record::Payload { version, .. }) =
                (reply.send(stage), &append.record)
            {
                self.log.release(arrival, segment, version.ticket);
            }
        }
        Ok(true)
    }

    fn write_later(&mut self) -> Result<(), VolumeError> {
        let records = std::mem::take(&mut self.later);
        let bytes = records.iter().map(Append::cost).sum();
        if records.is_empty() || !self.log.has_room(bytes) {
            return Ok(());
        }
        self.log.append(&records).map(|_| ())
    }
}
