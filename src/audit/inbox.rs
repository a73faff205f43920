//! Where lines wait for the writer, and the totals of what was put in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::audit::writer::Writer;
use crate::audit::{AuditLimits, folder, saved};
use crate::clock;
use crate::nice::give_way;
use crate::wire::{AuditLine, Time, Totals, TotalsDocument};

/// Bytes of lines that wait at most; about a second of ten thousand requests.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// So much is written at once, whenever it has come together.
const BATCH_BYTES: usize = 64 << 10;
/// How long a line waits for others, so that a card is not written to for each.
const BATCH_EVERY: Duration = Duration::from_secs(1);
/// What a line takes beside its texts.
const LINE_BYTES: usize = 256;
/// Told as progress when the writer has ended.
const ENDED: u64 = u64::MAX;

/// The log as requests see it: nothing here waits for a disk.
pub struct AuditLog {
    inbox: Mutex<Inbox>,
    woken: Condvar,
    /// How many of all lines the writer has dealt with.
    progress: watch::Sender<u64>,
    /// Totals of all earlier runs.
    before: Totals,
    folder: PathBuf,
}

#[derive(Default)]
struct Inbox {
    lines: Vec<AuditLine>,
    bytes: usize,
    put: u64,
    /// Lines for which there was no room.
    missed: Dropped,
    missed_totals: Totals,
    since_start: Totals,
    dropped: u64,
    limits: AuditLimits,
    wish: Wish,
}

/// What the writer is to do with what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    /// Wait for more.
    #[default]
    Gather,
    /// Somebody wants to read it.
    Hurry,
    End,
}

/// Lines that are not in the log, and when they would have been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) lines: u64,
    pub(super) from: Time,
    pub(super) until: Time,
}

impl Dropped {
    pub(super) fn add(&mut self, time: Time) {
        self.plus(Self { lines: 1, from: time, until: time });
    }

    pub(super) fn plus(&mut self, other: Self) {
        if other.lines == 0 {
            return;
        }
        if self.lines == 0 {
            *self = other;
            return;
        }
        self.lines += other.lines;
        self.from = self.from.min(other.from);
        self.until = self.until.max(other.until);
    }
}

/// What the writer gets.
pub(super) struct Batch {
    pub(super) lines: Vec<AuditLine>,
    pub(super) missed: Dropped,
    pub(super) missed_totals: Totals,
    pub(super) limits: AuditLimits,
    pub(super) wish: Wish,
    /// Lines put in up to now.
    put: u64,
}

impl AuditLog {
    /// Reads what was counted before, and starts the writer. What goes wrong with files is told, and no reason to
    /// serve nobody.
    pub fn start(state: &Path, limits: AuditLimits) -> Arc<Self> {
        let folder = folder(state);
        let found = saved::load(&folder);
        let log = Arc::new(Self::new(found.totals.clone(), limits, folder));
        let writer = Writer::new(Arc::clone(&log), found);
        if let Err(error) = std::thread::Builder::new().name("audit".to_owned()).spawn(move || {
            give_way();
            writer.run();
        }) {
            tracing::error!(%error, "no thread for the audit log: its lines are dropped");
            log.progress.send_replace(ENDED);
        }
        log
    }

    /// One that nobody writes.
    pub(crate) fn new(before: Totals, limits: AuditLimits, folder: PathBuf) -> Self {
        let inbox = Mutex::new(Inbox { limits, ..Inbox::default() });
        Self { inbox, woken: Condvar::new(), progress: watch::Sender::default(), before, folder }
    }

    /// Takes a line, or counts that there was no room for it.
    pub fn record(&self, line: AuditLine) {
        let bytes = size(&line);
        let mut inbox = self.inbox.lock();
        inbox.since_start.count(&line);
        inbox.put += 1;
        if inbox.bytes + bytes > WAITING_BYTES_MAX {
            inbox.dropped += 1;
            inbox.missed.add(line.time);
            inbox.missed_totals.count(&line);
            return;
        }
        let before = inbox.bytes;
        inbox.bytes += bytes;
        inbox.lines.push(line);
        if before == 0 || (before < BATCH_BYTES && inbox.bytes >= BATCH_BYTES) {
            self.woken.notify_one();
        }
    }

    /// What was counted up to now.
    pub fn totals(&self) -> TotalsDocument {
        let (since_start, dropped_lines) = {
            let inbox = self.inbox.lock();
            (inbox.since_start.clone(), inbox.dropped)
        };
        let ever = self.before.clone().plus(&since_start);
        TotalsDocument { since_start, ever, dropped_lines }
    }

    /// New limits, for what is written from now on.
    pub fn set_limits(&self, limits: AuditLimits) {
        self.inbox.lock().limits = limits;
    }

    /// Whether files are written.
    pub fn is_kept(&self) -> bool {
        self.inbox.lock().limits.files > 0
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Tells of each batch that was written.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    /// Returns when all lines up to now are written, or dropped; or the time is over.
    pub async fn caught_up(&self, at_most: Duration) {
        let put = self.wish(Wish::Hurry);
        self.reached(put, at_most).await;
    }

    /// Writes what waits, and the totals, and ends the writer.
    pub async fn close(&self, at_most: Duration) {
        self.wish(Wish::End);
        self.reached(ENDED, at_most).await;
    }

    fn wish(&self, wish: Wish) -> u64 {
        let mut inbox = self.inbox.lock();
        inbox.wish = inbox.wish.max(wish);
        self.woken.notify_one();
        inbox.put
    }

    async fn reached(&self, put: u64, at_most: Duration) {
        let mut progress = self.progress.subscribe();
        // A disk that hangs holds nobody up: the reader gets what is there.
        let _ = tokio::time::timeout(at_most, progress.wait_for(|done| *done >= put)).await;
    }

    /// Waits for lines, and then a little for more; without any, until `due`. For the writer alone.
    pub(super) fn take(&self, due: Option<Instant>) -> Batch {
        let mut inbox = self.inbox.lock();
        while inbox.lines.is_empty() && inbox.wish == Wish::Gather {
            match due {
                None => self.woken.wait(&mut inbox),
                Some(due) if self.woken.wait_until(&mut inbox, due).timed_out() => break,
                Some(_) => {}
            }
        }
        let more_until = clock::now() + BATCH_EVERY;
        while !inbox.lines.is_empty() && inbox.bytes < BATCH_BYTES && inbox.wish == Wish::Gather {
            if self.woken.wait_until(&mut inbox, more_until).timed_out() {
                break;
            }
        }
        inbox.bytes = 0;
        let wish = inbox.wish;
        if wish == Wish::Hurry {
            inbox.wish = Wish::Gather;
        }
        Batch {
            lines: std::mem::take(&mut inbox.lines),
            missed: std::mem::take(&mut inbox.missed),
            missed_totals: std::mem::take(&mut inbox.missed_totals),
            limits: inbox.limits,
            wish,
            put: inbox.put,
        }
    }

    /// A batch is dealt with; so many of its lines are lost.
    pub(super) fn done(&self, batch: &Batch, dropped: u64) {
        if dropped > 0 {
            self.inbox.lock().dropped += dropped;
        }
        self.progress.send_replace(if batch.wish == Wish::End { ENDED } else { batch.put });
    }
}

fn size(line: &AuditLine) -> usize {
    let texts = [&line.path, &line.to, &line.detail, &line.message].into_iter().flatten();
    LINE_BYTES + texts.map(String::len).sum::<usize>()
}
