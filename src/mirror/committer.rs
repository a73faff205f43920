//! The committer: the one thread that writes the journal.
//!
//! It takes all who wait, commits them with one barrier, and answers all. After a failed barrier it
//! opens the journal anew, again and again until that works; meanwhile nothing is acknowledged, and reads are
//! answered from the store that failed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::clock;
use crate::elapsed::Stopwatch;
use crate::ids::{Arrival, DriveId, Lsn, Side};
use crate::journal::store::{StoreError, StorePlace};
use crate::journal::{
    Attached, Change, CommitError, DriveFact, Enrolled, Generation, Mutation, Receipt, Released, Request, Stage,
    Staged, Writer,
};

/// Requests that one barrier serves at most.
pub(crate) const BATCH_MAX: usize = 4096;
/// Facts that are noted before commits have their turn again, and readers theirs.
const FACTS_MAX: usize = 64;
/// Between two attempts to open a failed journal.
const REOPEN_EVERY: Duration = Duration::from_millis(500);
/// Without commits, the running time is looked at so often …
const LOOK_EVERY: Duration = Duration::from_hours(1);
/// … and recorded so often, and when the daemon stops, if so much of it is not on record.
const KEEP_TIME_EVERY: Duration = Duration::from_hours(24);
const KEEP_TIME_AT_END: Duration = Duration::from_mins(1);

/// Whether facts must be durable before their reporter goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durable {
    Now,
    Later,
}

/// How soon drives are to have what was committed under its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// All of it is small files, whose bytes are in the drives' logs.
    CanWait,
    Now,
}

impl Names {
    fn of(requests: &[Request]) -> Self {
        let is_logged = |request: &Request| match &request.mutation {
            Mutation::Put(put) => {
                let logged =
                    |staged: &Option<Staged>| staged.is_none_or(|staged| matches!(staged.stage, Stage::Log { .. }));
                logged(&put.stages.a) && logged(&put.stages.b)
            }
            _ => false,
        };
        if requests.iter().all(is_logged) { Self::CanWait } else { Self::Now }
    }
}

/// The drive whose threads report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reporter {
    pub(crate) side: Side,
    pub(crate) drive: DriveId,
}

/// Facts of a drive, some of which may be noted already.
struct Report {
    from: Reporter,
    facts: std::vec::IntoIter<DriveFact>,
    /// What those that are noted released.
    released: Vec<Released>,
}

/// What the committer tells the mirror.
pub(crate) trait Audience: Send + Sync {
    /// Mutations are visible: lanes have work, drive logs have records to take.
    fn committed(&self, changes: &[Change], released: &[Released], names: Names);
    /// Facts are noted.
    fn noted(&self, released: &[Released]);
    /// The journal failed, or is still closed; told again and again.
    fn closed(&self);
    /// The journal was opened anew: what the lanes did meanwhile is to be found out again.
    fn reopened(&self);
}

enum Message {
    Commit(Box<Request>, oneshot::Sender<Result<Receipt, CommitError>>),
    Note(Report, Durable, mpsc::Sender<Result<Vec<Released>, StoreError>>),
    Attach(Side, DriveId, Arrival, mpsc::Sender<Attached>),
    Leave(Side, Arrival),
    Retire(Side, Arrival),
    Detach(Side, mpsc::Sender<Lsn>),
    Replace(Side, Enrolled, oneshot::Sender<Result<(), StoreError>>),
    /// A reader found that the store fails.
    Doubt(Generation),
    /// Changes nothing; the answer shows that the thread moves.
    Ping(oneshot::Sender<()>),
    Stop,
}

/// The way to the committer's thread.
#[derive(Debug)]
pub(crate) struct Committer {
    /// Without a bound of its own, so that nobody ever waits to send. Each client has at most one commit under way,
    /// and each drive's threads one message each that they wait for: the connections bound it.
    queue: Arc<Sender<Message>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The committer has ended, with the daemon.
#[derive(Debug, thiserror::Error)]
#[error("the journal is closed")]
pub(crate) struct Ended;

impl Committer {
    pub(crate) fn start(
        writer: Writer,
        place: Box<dyn StorePlace>,
        audience: Arc<dyn Audience>,
        entries_max: u64,
        running: Stopwatch,
    ) -> std::io::Result<Self> {
        let (queue, messages) = mpsc::channel();
        let queue = Arc::new(queue);
        // The thread, which has the journal, ends with the last who can send.
        let alarm = Arc::downgrade(&queue);
        writer.journal().connect_alarm(move |generation| {
            if let Some(queue) = alarm.upgrade() {
                // A committer that has ended opens nothing any more.
                let _ = queue.send(Message::Doubt(generation));
            }
        });
        let reopening = Reopening { place, tried: None, refused: None };
        let run =
            move || Work { writer, reopening, audience, ready: VecDeque::new(), entries_max, running }.run(&messages);
        let thread = std::thread::Builder::new().name("committer".to_owned()).spawn(run)?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)) })
    }

    /// Commits a mutation; returns when it is durable and visible, or refused.
    pub(crate) async fn commit(&self, request: Request) -> Result<Receipt, CommitError> {
        let closed = || CommitError::InDoubt(Ended.to_string());
        let (reply, answer) = oneshot::channel();
        self.queue.send(Message::Commit(Box::new(request), reply)).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// The same, for a drive's own threads: blocks.
    pub(crate) fn commit_blocking(&self, request: Request) -> Result<Receipt, CommitError> {
        let closed = || CommitError::InDoubt(Ended.to_string());
        let (reply, answer) = oneshot::channel();
        self.queue.send(Message::Commit(Box::new(request), reply)).map_err(|_| closed())?;
        answer.blocking_recv().map_err(|_| closed())?
    }

    /// Notes what a drive has. Blocks: for a drive's own threads. Of a drive that was replaced meanwhile nothing is
    /// noted, and the journal is dead to it.
    pub(crate) fn note(
        &self,
        reporter: Reporter,
        facts: Vec<DriveFact>,
        durable: Durable,
    ) -> Result<Vec<Released>, StoreError> {
        let (reply, answer) = mpsc::channel();
        let report = Report { from: reporter, facts: facts.into_iter(), released: Vec::new() };
        self.queue.send(Message::Note(report, durable, reply)).map_err(|_| StoreError::Dead)?;
        answer.recv().map_err(|_| StoreError::Dead)?
    }

    /// From now on stages of this arrival count, unless something came between.
    pub(crate) fn attach(&self, side: Side, drive: DriveId, arrival: Arrival) -> Result<Attached, Ended> {
        let (reply, answer) = mpsc::channel();
        self.queue.send(Message::Attach(side, drive, arrival, reply)).map_err(|_| Ended)?;
        answer.recv().map_err(|_| Ended)
    }

    /// From now on no stage of an earlier arrival is committed; the head when the drive was last at work.
    pub(crate) fn detach(&self, side: Side) -> Result<Lsn, Ended> {
        let (reply, answer) = mpsc::channel();
        self.queue.send(Message::Detach(side, reply)).map_err(|_| Ended)?;
        answer.recv().map_err(|_| Ended)
    }

    /// Enrols a drive in place of one that has left; returns when that is durable.
    pub(crate) async fn replace(&self, side: Side, drive: Enrolled) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Message::Replace(side, drive, reply)).map_err(|_| StoreError::Dead)?;
        answer.await.map_err(|_| StoreError::Dead)?
    }

    /// From now on no stage of this arrival is committed.
    pub(crate) fn leave_soon(&self, side: Side, arrival: Arrival) {
        // A committer that has ended commits nothing any more.
        let _ = self.queue.send(Message::Leave(side, arrival));
    }

    /// The lane of this arrival has ended.
    pub(crate) fn retire_soon(&self, side: Side, arrival: Arrival) {
        let _ = self.queue.send(Message::Retire(side, arrival));
    }

    /// Returns once the thread has done all that was sent before. Nothing is written for it.
    pub(crate) async fn ping(&self) -> Result<(), Ended> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Message::Ping(reply)).map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }

    /// Ends the thread after what was sent so far.
    pub(crate) fn stop(&self) {
        // A closed queue means that it has ended.
        let _ = self.queue.send(Message::Stop);
        if let Some(thread) = self.thread.lock().take() {
            // A panic was logged where it happened.
            let _ = thread.join();
        }
    }
}

/// The way back after a failure.
struct Reopening {
    place: Box<dyn StorePlace>,
    /// The last attempt.
    tried: Option<Instant>,
    /// Why the last attempt since the failure came to nothing, as it was logged.
    refused: Option<String>,
}

impl Reopening {
    /// The time until the next attempt. The pace is kept under load, and by a store that opens and fails again.
    fn due_in(&self) -> Duration {
        let since = self.tried.map(|tried| clock::now().saturating_duration_since(tried));
        since.map_or(Duration::ZERO, |since| REOPEN_EVERY.saturating_sub(since))
    }

    /// A log on the disk that is full gets a reason once, not twice a second.
    fn refuse(&mut self, error: &StoreError) {
        let text = error.to_string();
        if self.refused.as_ref() != Some(&text) {
            tracing::warn!(%error, "journal stays closed");
            self.refused = Some(text);
        }
    }
}

/// How far the noting of a report is.
enum Noted {
    All(Vec<Released>),
    Some(Report),
}

struct Work {
    writer: Writer,
    reopening: Reopening,
    audience: Arc<dyn Audience>,
    ready: VecDeque<Message>,
    /// Entries past which a drive that is behind is backfilled instead.
    entries_max: u64,
    running: Stopwatch,
}

impl Work {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let wait = if self.writer.is_open() { LOOK_EVERY } else { self.reopening.due_in() };
            if self.ready.is_empty() {
                match messages.recv_timeout(wait) {
                    Ok(message) => self.ready.push_back(message),
                    Err(RecvTimeoutError::Timeout) => self.keep_time(KEEP_TIME_EVERY),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            while self.ready.len() < BATCH_MAX {
                let Ok(message) = messages.try_recv() else { break };
                self.ready.push_back(message);
            }
            if !self.turn() {
                return;
            }
            if !self.writer.is_open() {
                self.audience.closed();
                if self.reopening.due_in().is_zero() {
                    self.reopen();
                }
            }
        }
    }

    /// Handles what is ready, in order: runs of commits by one barrier. Of many facts it handles some, and leaves the
    /// others for its next turn.
    fn turn(&mut self) -> bool {
        while let Some(message) = self.ready.pop_front() {
            match message {
                Message::Commit(request, reply) => self.commits(*request, reply),
                Message::Note(report, durable, reply) => {
                    let result = match self.note(report, durable) {
                        Ok(Noted::All(released)) => Ok(released),
                        Ok(Noted::Some(rest)) => {
                            self.ready.push_back(Message::Note(rest, durable, reply));
                            return true;
                        }
                        Err(error) => Err(error),
                    };
                    // A drive that has left meanwhile does not wait for the answer.
                    let _ = reply.send(result);
                }
                Message::Attach(side, drive, arrival, reply) => {
                    let _ = reply.send(self.writer.attach(side, drive, arrival));
                }
                Message::Leave(side, arrival) => self.writer.leave(side, arrival),
                Message::Retire(side, arrival) => self.writer.retire(side, arrival),
                Message::Detach(side, reply) => {
                    let _ = reply.send(self.writer.detach(side));
                }
                Message::Replace(side, drive, reply) => {
                    let result = self.writer.replace(side, drive, clock::wall_ns());
                    // Whoever asked may have gone; what was decided stays.
                    let _ = reply.send(result);
                }
                Message::Doubt(generation) => self.writer.doubt(generation),
                // Who asked may have given up.
                Message::Ping(reply) => drop(reply.send(())),
                Message::Stop => {
                    self.keep_time(KEEP_TIME_AT_END);
                    if let Err(error) = self.writer.barrier() {
                        tracing::warn!(%error, "the journal could not be flushed at the end");
                    }
                    self.writer.close();
                    return false;
                }
            }
        }
        true
    }

    fn commits(&mut self, request: Request, reply: oneshot::Sender<Result<Receipt, CommitError>>) {
        let (mut requests, mut replies) = (vec![request], vec![reply]);
        // Facts among them may wait: a commit does not depend on them. Comings and goings are a fence.
        let mut later = VecDeque::new();
        while let Some(message) = self.ready.pop_front() {
            match message {
                Message::Commit(request, reply) => {
                    requests.push(*request);
                    replies.push(reply);
                }
                Message::Note(..) | Message::Doubt(_) | Message::Ping(_) => later.push_back(message),
                Message::Attach(..)
                | Message::Leave(..)
                | Message::Retire(..)
                | Message::Detach(..)
                | Message::Replace(..)
                | Message::Stop => {
                    later.push_back(message);
                    break;
                }
            }
        }
        later.append(&mut self.ready);
        self.ready = later;
        self.writer.pass(self.running.at(clock::now()));
        let committed = self.writer.commit(&requests);
        self.audience.committed(&committed.changes, &committed.released, Names::of(&requests));
        for (reply, answer) in replies.into_iter().zip(committed.answers) {
            // A client that has left does not wait for its answer.
            let _ = reply.send(answer);
        }
        // An error closes the journal, which is opened anew like after any other.
        let _ = self.writer.limit(self.entries_max, clock::wall_ns());
    }

    /// Records the running time, where so much of it is not on record.
    fn keep_time(&mut self, at_least: Duration) {
        // An error closes the journal, which is opened anew like after any other.
        let _ = self.writer.keep_time(self.running.at(clock::now()), at_least);
    }

    /// Notes some facts more; when it was the last of them, what all of them released.
    fn note(&mut self, mut report: Report, durable: Durable) -> Result<Noted, StoreError> {
        let Reporter { side, drive } = report.from;
        if !self.writer.is_enrolled(side, drive) {
            return Err(StoreError::Dead);
        }
        let facts: Vec<_> = report.facts.by_ref().take(FACTS_MAX).collect();
        report.released.extend(self.writer.note(&facts)?);
        if report.facts.len() > 0 {
            return Ok(Noted::Some(report));
        }
        if durable == Durable::Now {
            self.writer.barrier()?;
        }
        self.audience.noted(&report.released);
        Ok(Noted::All(report.released))
    }

    /// One attempt. The store that failed answers reads until there is room for a new one.
    fn reopen(&mut self) {
        self.reopening.tried = Some(clock::now());
        let place = &self.reopening.place;
        let contents = self.writer.contents();
        let opened = place.prepare(contents).and_then(|()| {
            self.writer.close();
            self.writer.reopen(place.open(contents)?)
        });
        match opened {
            Ok(()) => {
                tracing::info!(head = %self.writer.journal().head(), "journal open again");
                self.reopening.refused = None;
                self.audience.reopened();
            }
            Err(error) => {
                self.writer.blame(&error);
                self.reopening.refuse(&error);
            }
        }
    }
}
