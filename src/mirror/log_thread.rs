//! The thread that owns a drive's log: one write and one sync for all who wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::clock;
use crate::ids::{Arrival, Lsn, Ticket};
use crate::journal::{Change, Stage};
use crate::mirror::drive_log::{Append, DriveLog, Position, Record};
use crate::mirror::fair::{FairQueue, Flow, Share};
use crate::mirror::volume::{Disposition, VolumeError};

/// Bytes of records that one sync serves at most.
const BATCH_BYTES_MAX: u64 = 4 << 20;
/// Records of commits that wait for a payload's sync at most, before they get one of their own.
const LATER_MAX: usize = 1024;

/// The drive has no room for a record; it stays in use for what needs none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom {
    /// Bytes free on the drive.
    pub(crate) free: u64,
}

type Reply = oneshot::Sender<Result<Stage, NoRoom>>;

enum Message {
    Append(Box<(Share, Append)>, Reply),
    /// Records of commits, all up to this one.
    Later(Vec<Append>, Lsn),
    Release(Arrival, u32, Ticket),
    /// Writes and syncs records of commits that wait.
    Flush(mpsc::Sender<()>),
    /// The same, once this one is among them.
    Tell(Lsn, mpsc::Sender<Lsn>),
    /// Writes and syncs those that wait, for a client.
    FlushFor(oneshot::Sender<()>),
    /// The same, and removes what is free.
    Settle(mpsc::Sender<Settled>),
    Take(mpsc::Sender<Taken>),
    Position(mpsc::Sender<Position>),
    Listed,
    /// The lane can work nothing off: a log that is full stays so.
    Stuck,
}

/// What became of the log's segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    Done,
    /// Some stay for no other reason than that the manifest lacks what they say.
    WaitsForManifest,
}

/// What is to be put into the manifest: the commits since the last time.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) changes: Vec<Change>,
    /// Commits that the log had no room for.
    pub(crate) omitted: usize,
}

/// The way to a drive's log. Its thread ends when this is closed or dropped.
#[derive(Debug)]
pub(crate) struct LogHandle {
    /// Invariant: `None` once closed. Many hold the handle longer than the drive is there.
    queue: Mutex<Option<Sender<Message>>>,
    gauge: Arc<Gauge>,
}

/// What the thread tells of itself all the time.
#[derive(Debug)]
struct Gauge {
    may_hold: AtomicBool,
    /// How long the last append took.
    append_us: AtomicU64,
}

impl LogHandle {
    /// Starts the thread; `failed` is told the error that ends it. `alive` is held until it has ended.
    pub(crate) fn start(
        name: &str,
        log: DriveLog,
        alive: &Arc<impl Send + Sync + 'static>,
        failed: impl FnOnce(VolumeError) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, messages) = mpsc::channel();
        let alive = Arc::clone(alive);
        let gauge = Arc::new(Gauge { may_hold: log.may_hold().into(), append_us: 0.into() });
        let work = Work {
            drive: name.to_owned(),
            log,
            waiting: FairQueue::default(),
            chosen: Vec::new(),
            later: Vec::new(),
            heard: Lsn(0),
            asked: Vec::new(),
            omitted: 0,
            taken: Taken::default(),
            gauge: Arc::clone(&gauge),
        };
        std::thread::Builder::new().name(format!("{name}-log")).spawn(move || {
            if let Err(error) = work.run(&messages) {
                failed(error);
            }
            drop(alive);
        })?;
        Ok(Self { queue: Mutex::new(Some(queue)), gauge })
    }

    /// Appends a payload in its turn; the answer comes when it is durable or finds no room, or never when the drive has left.
    pub(crate) fn append(&self, flow: &Flow, append: Append) -> oneshot::Receiver<Result<Stage, NoRoom>> {
        let (reply, answer) = oneshot::channel();
        // A closed queue drops the reply, which the receiver sees.
        self.send(Message::Append(Box::new((flow.moving(append.cost()), append)), reply));
        answer
    }

    /// Hands over records of commits for the next sync: all up to `head`.
    pub(crate) fn later(&self, changes: &[Change], head: Lsn) {
        let record = |change: &Change| Append { record: Record::Changed(change.clone()), payload: Bytes::new() };
        self.send(Message::Later(changes.iter().map(record).collect(), head));
    }

    pub(crate) fn release(&self, arrival: Arrival, segment: u32, ticket: Ticket) {
        self.send(Message::Release(arrival, segment, ticket));
    }

    /// Makes the records of commits durable that were handed over, as far as there is room; `None` when the log has
    /// failed or is closed.
    pub(crate) fn flush(&self) -> Option<()> {
        self.ask(Message::Flush)
    }

    /// Waits until the commit `lsn` is handed over, and makes it durable with all that were, as far as there is room; the
    /// last of them, or `None` when the log has failed or is closed.
    pub(crate) fn tell(&self, lsn: Lsn) -> Option<Lsn> {
        self.ask(|reply| Message::Tell(lsn, reply))
    }

    /// As [`Self::flush`]; the answer never comes when the log has failed or is closed.
    pub(crate) fn flush_for_client(&self) -> oneshot::Receiver<()> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::FlushFor(reply));
        answer
    }

    /// Removes free segments and syncs what waits; `None` when the log has failed or is closed.
    pub(crate) fn settle(&self) -> Option<Settled> {
        self.ask(Message::Settle)
    }

    /// Syncs what waits and hands out the commits that the manifest lacks; `None` when the log has failed or is closed.
    pub(crate) fn take(&self) -> Option<Taken> {
        self.ask(Message::Take)
    }

    /// Where the log is; `None` when it has failed or is closed.
    pub(crate) fn position(&self) -> Option<Position> {
        self.ask(Message::Position)
    }

    /// What was taken is durable in the manifest: the segments that say it may go.
    pub(crate) fn listed(&self) {
        self.send(Message::Listed);
    }

    /// Whether payloads can stay in the log for a while, as far as it and the drive have room.
    pub(crate) fn may_hold(&self) -> bool {
        self.gauge.may_hold.load(Ordering::Relaxed)
    }

    /// How long the last append took.
    pub(crate) fn pace(&self) -> Duration {
        Duration::from_micros(self.gauge.append_us.load(Ordering::Relaxed))
    }

    fn ask<T>(&self, message: impl FnOnce(mpsc::Sender<T>) -> Message) -> Option<T> {
        let (reply, answer) = mpsc::channel();
        self.send(message(reply));
        answer.recv().ok()
    }

    /// The lane has nothing that it can work off now. Whoever waits for room in a full log is told that there is none.
    pub(crate) fn refuse_waiting(&self) {
        self.send(Message::Stuck);
    }

    /// The drive has left: the thread ends, whoever still holds this.
    pub(crate) fn close(&self) {
        self.queue.lock().take();
    }

    /// A message to a log that has ended is dropped, and with it the reply that somebody may wait for.
    fn send(&self, message: Message) {
        // Behind the lock: to send may ask for memory and wake the thread, and patient threads send as well.
        let queue = self.queue.lock().clone();
        if let Some(queue) = queue {
            let _ = queue.send(message);
        }
    }
}

struct Work {
    drive: String,
    log: DriveLog,
    waiting: FairQueue<(Append, Reply)>,
    /// Those of them that the next sync serves.
    chosen: Vec<(Append, Reply)>,
    later: Vec<Append>,
    /// All commits up to this one were handed over.
    heard: Lsn,
    /// Who waits for a commit that is not.
    asked: Vec<(Lsn, mpsc::Sender<Lsn>)>,
    /// Records of commits that found no room since one last did.
    omitted: usize,
    /// What the manifest lacks.
    taken: Taken,
    gauge: Arc<Gauge>,
}

impl Work {
    fn run(mut self, messages: &Receiver<Message>) -> Result<(), VolumeError> {
        while let Ok(message) = messages.recv() {
            self.take(message)?;
            while let Ok(message) = messages.try_recv() {
                self.take(message)?;
            }
            self.append_waiting()?;
            self.gauge.may_hold.store(self.log.may_hold(), Ordering::Relaxed);
        }
        Ok(())
    }

    fn append_waiting(&mut self) -> Result<(), VolumeError> {
        let mut begun = clock::now();
        while self.append()? {
            let ended = clock::now();
            let took = ended.duration_since(begun).as_micros();
            self.gauge.append_us.store(u64::try_from(took).unwrap_or(u64::MAX), Ordering::Relaxed);
            begun = ended;
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), VolumeError> {
        match message {
            Message::Append(appended, reply) => {
                let (share, append) = *appended;
                self.waiting.push(share, (append, reply));
            }
            Message::Later(records, head) => {
                self.later.extend(records);
                self.heard = self.heard.max(head);
                if self.later.len() > LATER_MAX {
                    self.write_later()?;
                }
                self.answer_asked()?;
            }
            Message::Tell(lsn, reply) => {
                self.asked.push((lsn, reply));
                self.answer_asked()?;
            }
            Message::Release(arrival, segment, ticket) => self.log.release(arrival, segment, ticket),
            // The lane may have left: nobody hears the answers then.
            Message::Flush(reply) => {
                self.write_later()?;
                let _ = reply.send(());
            }
            Message::FlushFor(reply) => {
                self.write_later()?;
                let _ = reply.send(());
            }
            Message::Settle(reply) => {
                self.write_later()?;
                if let Some(error) = unless_full(self.log.reclaim())?.err() {
                    tracing::warn!(drive = self.drive, %error, "a free log segment stays");
                }
                let waits = self.log.waits_for_manifest();
                let _ = reply.send(if waits { Settled::WaitsForManifest } else { Settled::Done });
            }
            Message::Take(reply) => {
                self.write_later()?;
                self.log.take_records();
                let _ = reply.send(std::mem::take(&mut self.taken));
            }
            Message::Position(reply) => {
                let _ = reply.send(self.log.position());
            }
            Message::Listed => self.log.listed(),
            Message::Stuck => {
                self.append_waiting()?;
                let left = self.chosen.drain(..).chain(self.waiting.drain());
                let replies = left.map(|(_, reply)| reply).collect();
                self.refuse(replies);
            }
        }
        Ok(())
    }

    /// Appends those who wait, as many as one sync serves; whether there was one, and the log may grow by it.
    fn append(&mut self) -> Result<bool, VolumeError> {
        let chosen = self.chosen.iter().map(|(append, _)| append);
        let mut bytes: u64 = self.later.iter().chain(chosen).map(Append::cost).sum();
        while bytes < BATCH_BYTES_MAX
            && let Some((_, next)) = self.waiting.pop()
        {
            bytes += next.0.cost();
            self.chosen.push(next);
        }
        // A full log waits until the lane has installed something; `Settle` comes after that.
        if self.chosen.is_empty() || !self.log.has_room(bytes) {
            return Ok(false);
        }
        let first = self.later.len();
        let mut records = std::mem::take(&mut self.later);
        let (waiting, replies): (Vec<_>, Vec<_>) = std::mem::take(&mut self.chosen).into_iter().unzip();
        records.extend(waiting);
        if let Ok(stages) = unless_full(self.log.append(&records))? {
            self.answer(replies, records.iter().zip(stages).skip(first));
            records.truncate(first);
            self.recorded(records);
        } else {
            let waiting = records.split_off(first);
            self.later = records;
            self.write_later()?;
            self.serve(waiting, replies)?;
        }
        Ok(true)
    }

    /// Appends on a drive that has no room for all: a large record must not take a small one's chance.
    fn serve(&mut self, mut records: Vec<Append>, mut replies: Vec<Reply>) -> Result<(), VolumeError> {
        match unless_full(self.log.append(&records))? {
            Ok(stages) => self.answer(replies, records.iter().zip(stages)),
            Err(_) if records.len() > 1 => {
                let half = records.len() / 2;
                let (more, waiting) = (records.split_off(half), replies.split_off(half));
                self.serve(records, replies)?;
                self.serve(more, waiting)?;
            }
            Err(_) => self.refuse(replies),
        }
        Ok(())
    }

    fn refuse(&self, replies: Vec<Reply>) {
        if !replies.is_empty() {
            let free = self.log.free();
            for reply in replies {
                // The client may have left.
                let _ = reply.send(Err(NoRoom { free }));
            }
        }
    }

    fn answer<'a>(&mut self, replies: Vec<Reply>, staged: impl Iterator<Item = (&'a Append, Stage)>) {
        for (reply, (append, stage)) in replies.into_iter().zip(staged) {
            // A client that has left does not need its stage.
            if let (Err(Ok(Stage::Log { arrival, segment, .. })), Record::Payload { version, .. }) =
                (reply.send(Ok(stage)), &append.record)
            {
                self.log.release(arrival, segment, version.ticket);
            }
        }
    }

    fn answer_asked(&mut self) -> Result<(), VolumeError> {
        let heard = self.heard;
        let answers: Vec<_> = self.asked.extract_if(.., |(lsn, _)| *lsn <= heard).collect();
        if !answers.is_empty() {
            self.write_later()?;
        }
        for (_, reply) in answers {
            // The lane may have left.
            let _ = reply.send(heard);
        }
        Ok(())
    }

    fn write_later(&mut self) -> Result<(), VolumeError> {
        let records = std::mem::take(&mut self.later);
        if records.is_empty() {
            return Ok(());
        }
        let bytes = records.iter().map(Append::cost).sum();
        if self.log.has_room(bytes) && unless_full(self.log.append(&records))?.is_ok() {
            self.recorded(records);
        } else {
            self.omit(records.len());
        }
        Ok(())
    }

    /// The journal has these commits in any case; one warning says that this log lacks some.
    fn omit(&mut self, count: usize) {
        if self.omitted == 0 {
            tracing::warn!(drive = self.drive, count, "no room in the drive log for records of commits");
        }
        self.omitted += count;
        self.taken.omitted += count;
    }

    fn recorded(&mut self, records: Vec<Append>) {
        if !records.is_empty() && self.omitted > 0 {
            tracing::info!(drive = self.drive, omitted = self.omitted, "the drive log has room again");
            self.omitted = 0;
        }
        self.taken.changes.extend(records.into_iter().filter_map(|append| match append.record {
            Record::Changed(change) => Some(change),
            Record::Payload { .. } | Record::Staged { .. } | Record::Committed { .. } => None,
        }));
    }
}

/// Sets a drive without room, which goes on, apart from one that is lost.
fn unless_full<T>(result: Result<T, VolumeError>) -> Result<Result<T, VolumeError>, VolumeError> {
    match result {
        Err(error) if error.disposition != Disposition::NoSpace => Err(error),
        result => Ok(result),
    }
}

#[cfg(test)]
mod tests;
