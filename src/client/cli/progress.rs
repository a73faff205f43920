//! The progress bar, on a terminal's standard error only.

use std::cell::Cell;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::client::limits::PROGRESS_BYTES_MIN;
use crate::units;
use crate::wire::UsageNote;

const TEMPLATE: &str = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";

/// Whether anything but data and errors may be shown: on a terminal, the bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remarks {
    Shown,
    Quiet,
}

/// The bytes of all transfers of one command.
pub(crate) struct Progress {
    bar: ProgressBar,
    total: AtomicU64,
    remarks: Remarks,
    /// How close the user is to the limit, as the last answer said.
    usage: Cell<Option<UsageNote>>,
}

/// One file's share of it.
pub(crate) struct Share<'a> {
    progress: &'a Progress,
    sent: u64,
}

impl Progress {
    pub(crate) fn new(remarks: Remarks) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        Self { bar, total: AtomicU64::new(0), remarks, usage: Cell::default() }
    }

    /// Bytes that will come on top. A bar appears when it is enough to wait for.
    pub(crate) fn expect(&self, bytes: u64) {
        let total = self.total.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bar.set_length(total);
        let visible = self.remarks == Remarks::Shown && std::io::stderr().is_terminal();
        if visible && total >= PROGRESS_BYTES_MIN && self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    pub(crate) fn share(&self, name: &str) -> Share<'_> {
        self.bar.set_message(name.to_owned());
        Share { progress: self, sent: 0 }
    }

    /// Says something above the bar.
    pub(crate) fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    pub(crate) fn remarks(&self) -> Remarks {
        self.remarks
    }

    /// What the last answer said of the user's limit: told once, at the end.
    pub(crate) fn note_usage(&self, usage: Option<UsageNote>) {
        self.usage.set(usage);
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
        if let Some(UsageNote { bytes, limit }) = self.usage.get().filter(|_| self.remarks == Remarks::Shown) {
            let (used, free) = (units::bytes(bytes), units::bytes(limit.saturating_sub(bytes)));
            eprintln!("fget: {used} of your {} are used, {free} are left", units::bytes(limit));
        }
    }
}

impl Share<'_> {
    /// Bytes of this file so far; fewer than before where it began again.
    pub(crate) fn set(&mut self, bytes: u64) {
        let bar = &self.progress.bar;
        if bytes >= self.sent {
            bar.inc(bytes - self.sent);
        } else {
            bar.set_position(bar.position().saturating_sub(self.sent - bytes));
        }
        self.sent = bytes;
        // The last byte sent is not yet the last byte stored.
        if bar.length().is_some_and(|length| length > 0 && bar.position() >= length) {
            bar.set_message("waiting for the drives");
        }
    }
}
