//! The one thread that writes the log and the totals.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::audit::AuditLog;
use crate::audit::files::{Files, NotWritten};
use crate::audit::inbox::{Batch, Dropped, Wish};
use crate::audit::saved::{self, Found, Position};
use crate::clock;
use crate::wire::{Missing, MissingLines, Time, Totals, line_of, lines_of};

/// How often the totals are saved, while they change.
const SAVE_EVERY: Duration = Duration::from_mins(1);

pub(super) struct Writer {
    log: Arc<AuditLog>,
    files: Files,
    /// Of all lines up to `position`, and of those that were dropped.
    totals: Totals,
    position: Position,
    /// When they are to be saved; `None`: nothing has changed.
    save_due: Option<Instant>,
    /// What no line in the log has told yet.
    dropped: Dropped,
    trouble: Trouble,
}

/// Whether lines are being dropped, so that it is said once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    Told,
}

impl Writer {
    pub(super) fn new(log: Arc<AuditLog>, found: Found) -> Self {
        let files = Files::new(log.folder().to_owned());
        let Found { totals, position, is_ahead } = found;
        let save_due = is_ahead.then(clock::now);
        Self { log, files, totals, position, save_due, dropped: Dropped::default(), trouble: Trouble::None }
    }

    /// Writes until the log is closed.
    pub(super) fn run(mut self) {
        loop {
            let batch = self.log.take(self.save_due);
            let dropped = self.write(&batch);
            let is_due = self.save_due.is_some_and(|due| due <= clock::now() || batch.wish == Wish::End);
            if is_due {
                self.save();
            }
            self.log.done(&batch, dropped);
            if batch.wish == Wish::End {
                return;
            }
        }
    }

    /// Writes a batch; how many of its lines were lost.
    fn write(&mut self, batch: &Batch) -> u64 {
        if batch.lines.is_empty() && batch.missed.lines == 0 {
            return 0;
        }
        self.save_due = self.save_due.or_else(|| Some(clock::now() + SAVE_EVERY));
        batch.lines.iter().for_each(|line| self.totals.count(line));
        self.totals = std::mem::take(&mut self.totals).plus(&batch.missed_totals);
        if batch.limits.files == 0 {
            return 0;
        }
        self.dropped.plus(batch.missed);
        let told =
            if self.dropped.lines == 0 { Ok(()) } else { self.files.append(&notice(&self.dropped), batch.limits) };
        let written = told.map_err(|NotWritten { source, .. }| NotWritten { lines: batch.lines.len(), source });
        if written.is_ok() {
            self.dropped = Dropped::default();
        }
        let lines = lines_of(&batch.lines);
        let written = written.and_then(|()| self.files.append(&lines, batch.limits));
        self.position = self.files.position().unwrap_or(self.position);
        self.took(written, batch)
    }

    fn took(&mut self, written: Result<(), NotWritten>, batch: &Batch) -> u64 {
        let NotWritten { lines, source } = match written {
            Ok(()) => {
                if std::mem::replace(&mut self.trouble, Trouble::None) == Trouble::Told {
                    tracing::info!("the audit log is written again");
                }
                return 0;
            }
            Err(error) => error,
        };
        if std::mem::replace(&mut self.trouble, Trouble::Told) == Trouble::None {
            let folder = self.log.folder().display();
            tracing::warn!(error = %source, %folder, "lines of the audit log are dropped until it can be written again");
        }
        let lost = batch.lines.iter().skip(batch.lines.len().saturating_sub(lines));
        lost.for_each(|line| self.dropped.add(line.time));
        lines as u64
    }

    fn save(&mut self) {
        self.save_due = None;
        if let Err(error) = saved::save(self.log.folder(), &self.totals, self.position) {
            tracing::debug!(%error, "totals not saved");
            self.save_due = Some(clock::now() + SAVE_EVERY);
        }
    }
}

/// The line that stands for those that are missing.
fn notice(dropped: &Dropped) -> Vec<u8> {
    line_of(&MissingLines {
        time: Time(clock::wall_ns()),
        missing: Missing::Dropped,
        lines: Some(dropped.lines),
        from: Some(dropped.from),
        until: Some(dropped.until),
        message: "these could not be written, or came faster than they could be".to_owned(),
    })
}
