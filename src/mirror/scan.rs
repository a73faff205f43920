//! The work of a drive's lane since the drive came: how much of it is done, and how fast.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::journal::FillCause;
use crate::mirror::history::Moment;
use crate::mirror::lane::Work;
use crate::mirror::pace::{Amount, Outlook, Pace};

/// Why a drive's lane has more to do than what is written right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanKind {
    /// The drive was away for a time.
    Replay,
    Backfill(FillCause),
}

/// What a lane copied from the other drive so far, that of the step under way included.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Copied {
    pub(crate) fn add_file(&self) {
        self.files.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn amount(&self) -> Amount {
        Amount { paths: self.files.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

/// How a scan came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The drive has all that it missed.
    CaughtUp(Duration),
    /// The drive left; the next stay goes on with what is left.
    BrokenOff(Duration),
}

/// A replay or backfill, from the drive's arrival on.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    kind: ScanKind,
    /// When it began; a backfill's is that of its decision, which may be stays ago.
    began_ns: i64,
    since: Instant,
    end: Option<End>,
    /// The lane's work at the start, which is not this scan's.
    base: Work,
    work: Work,
    /// All that there is to do, what came on top of it meanwhile included.
    total: Amount,
    left: Amount,
    pace: Pace,
    copied: Arc<Copied>,
    /// What had been copied when the figures were brought up to date.
    copied_told: Amount,
}

/// A scan's figures at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) total: Amount,
    pub(crate) done: Amount,
    pub(crate) bytes_per_second: u64,
    pub(crate) outlook: Outlook,
}

impl Scan {
    /// `total` is what the drive ever lacked, `left` what it still lacks.
    pub(crate) fn begin(
        kind: ScanKind,
        began_ns: i64,
        now: Moment,
        [total, left]: [Amount; 2],
        work: Work,
        copied: Arc<Copied>,
    ) -> Self {
        let total = Amount { paths: total.paths.max(left.paths), bytes: total.bytes.max(left.bytes) };
        let copied_told = copied.amount();
        let mut pace = Pace::default();
        pace.observe(now.at, Amount { paths: 0, bytes: copied_told.bytes });
        let since = now.at;
        Self { kind, began_ns, since, end: None, base: work, work, total, left, pace, copied, copied_told }
    }

    /// Brings the figures up to date between two steps.
    pub(crate) fn observe(&mut self, now: Instant, work: Work, left: Amount) {
        let worked = self.work.amount_until(&work);
        // What the lane did not take away from what was left came on top.
        let came = |left: u64, before: u64, worked: u64| left.saturating_sub(before.saturating_sub(worked));
        self.total.paths += came(left.paths, self.left.paths, worked.paths);
        self.total.bytes += came(left.bytes, self.left.bytes, worked.bytes);
        (self.work, self.left, self.copied_told) = (work, left, self.copied.amount());
        self.pace.observe(now, self.done_by_lane());
    }

    pub(crate) fn catch_up(&mut self, now: Instant) {
        self.end = Some(End::CaughtUp(now.saturating_duration_since(self.since)));
    }

    /// The drive left. What is done stays done.
    pub(crate) fn break_off(&mut self, now: Instant) {
        self.end.get_or_insert(End::BrokenOff(now.saturating_duration_since(self.since)));
    }

    pub(crate) fn is_running(&self) -> bool {
        self.end.is_none()
    }

    pub(crate) fn kind(&self) -> ScanKind {
        self.kind
    }

    pub(crate) fn began_ns(&self) -> i64 {
        self.began_ns
    }

    /// What the lane did since the scan began.
    pub(crate) fn work(&self) -> Work {
        self.work.less(&self.base)
    }

    /// How long this stay's part of it has run, or took.
    pub(crate) fn lasted(&self, now: Instant) -> Duration {
        match self.end {
            Some(End::CaughtUp(took) | End::BrokenOff(took)) => took,
            None => now.saturating_duration_since(self.since),
        }
    }

    /// The figures now: what is copied of the step under way counts.
    pub(crate) fn figures(&self, now: Instant) -> Figures {
        let done = Amount {
            paths: self.total.paths.saturating_sub(self.left.paths),
            bytes: self.total.bytes.saturating_sub(self.left.bytes),
        };
        if !self.is_running() {
            let mean = (u128::from(self.work().copied_bytes) * 1000).checked_div(self.lasted(now).as_millis());
            let bytes_per_second = mean.and_then(|mean| u64::try_from(mean).ok()).unwrap_or(0);
            return Figures { total: self.total, done, bytes_per_second, outlook: Outlook::Unknown };
        }
        let copied = self.copied.amount();
        let under_way = Amount {
            paths: copied.paths.saturating_sub(self.copied_told.paths).min(self.left.paths),
            bytes: copied.bytes.saturating_sub(self.copied_told.bytes).min(self.left.bytes),
        };
        let lane = self.done_by_lane();
        let pace = self.pace.as_of(now, Amount { paths: lane.paths + under_way.paths, bytes: copied.bytes });
        let left = Amount { paths: self.left.paths - under_way.paths, bytes: self.left.bytes - under_way.bytes };
        Figures {
            total: self.total,
            done: Amount { paths: done.paths, bytes: done.bytes + under_way.bytes },
            bytes_per_second: pace.bytes_per_second(),
            outlook: pace.outlook(now, left),
        }
    }

    fn done_by_lane(&self) -> Amount {
        Amount { paths: self.work.paths - self.base.paths, bytes: self.copied_told.bytes }
    }
}

impl Work {
    fn amount_until(&self, later: &Self) -> Amount {
        Amount {
            paths: later.paths.saturating_sub(self.paths),
            bytes: later.copied_bytes.saturating_sub(self.copied_bytes),
        }
    }

    fn less(&self, base: &Self) -> Self {
        Self {
            paths: self.paths - base.paths,
            copied_files: self.copied_files - base.copied_files,
            copied_bytes: self.copied_bytes - base.copied_bytes,
            moved: self.moved - base.moved,
            removed: self.removed - base.removed,
            made_folders: self.made_folders - base.made_folders,
            unchanged: self.unchanged - base.unchanged,
            repaired: self.repaired - base.repaired,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn begin(total: Amount, left: Amount) -> (Scan, Arc<Copied>, Instant) {
        let (copied, now) = (Arc::new(Copied::default()), Moment::now());
        let scan = Scan::begin(ScanKind::Replay, 7, now, [total, left], Work::default(), Arc::clone(&copied));
        (scan, copied, now.at)
    }

    fn copies(paths: u64, copied_bytes: u64) -> Work {
        Work { paths, copied_files: paths, copied_bytes, ..Work::default() }
    }

    #[test]
    fn one_large_file_moves_while_it_is_copied() {
        let all = Amount { paths: 1, bytes: 1000 * MIB };
        let (mut scan, copied, at) = begin(all, all);
        assert_eq!(scan.figures(at).outlook, Outlook::Unknown);
        for second in 1..=60 {
            copied.add_bytes(10 << 20);
            let figures = scan.figures(at + Duration::from_secs(second));
            assert_eq!(figures.done, Amount { paths: 0, bytes: second * 10 * MIB });
            let Outlook::Left(left) = figures.outlook else { panic!("{:?}", figures.outlook) };
            assert!(left.as_secs().abs_diff(100 - second) <= 2, "{left:?} after {second} s");
        }
        copied.add_bytes(400 << 20);
        copied.add_file();
        let end = at + Duration::from_secs(100);
        scan.observe(end, copies(1, 1000 * MIB), Amount::default());
        scan.catch_up(end);
        let figures = scan.figures(end + Duration::from_secs(999));
        assert_eq!((figures.total, figures.done, figures.bytes_per_second), (all, all, 10 * MIB));
    }

    #[test]
    fn what_is_written_meanwhile_comes_on_top_and_takes_nothing_back() {
        let all = Amount { paths: 10, bytes: 1000 };
        let (mut scan, _, at) = begin(all, all);
        scan.observe(at + Duration::from_secs(1), copies(4, 400), Amount { paths: 6, bytes: 600 });
        // Three were done, five came.
        scan.observe(at + Duration::from_secs(2), copies(7, 700), Amount { paths: 8, bytes: 700 });
        let figures = scan.figures(at + Duration::from_secs(2));
        assert_eq!(figures.total, Amount { paths: 15, bytes: 1400 });
        assert_eq!(figures.done, Amount { paths: 7, bytes: 700 });
    }

    #[test]
    fn what_was_there_already_counts_as_done_without_being_copied() {
        let all = Amount { paths: 10, bytes: 1000 };
        let (mut scan, _, at) = begin(all, all);
        scan.observe(
            at + Duration::from_secs(1),
            Work { paths: 10, unchanged: 10, ..Work::default() },
            Amount::default(),
        );
        assert_eq!(scan.figures(at).done, all);
    }

    #[test]
    fn a_backfill_goes_on_where_the_last_stay_left_it() {
        let (scan, _, at) = begin(Amount { paths: 100, bytes: 10_000 }, Amount { paths: 25, bytes: 2500 });
        assert_eq!(scan.figures(at).done, Amount { paths: 75, bytes: 7500 });
    }

    #[test]
    fn a_scan_that_was_broken_off_lasts_no_longer() {
        let all = Amount { paths: 10, bytes: 1000 };
        let (mut scan, _, at) = begin(all, all);
        scan.break_off(at + Duration::from_secs(5));
        scan.break_off(at + Duration::from_secs(50));
        assert!(!scan.is_running());
        assert_eq!(scan.lasted(at + Duration::from_secs(500)), Duration::from_secs(5));
    }
}
