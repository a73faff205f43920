//! The whole mirror at one moment, as `status` shows it.

use std::time::Instant;

use crate::clock;
use crate::ids::{NodeId, Side};
use crate::journal::{Fill, Place, ScrubOrder};
use crate::mirror::lane::Stay;
use crate::mirror::mirror::Mirror;
use crate::mirror::pace::Outlook;
use crate::mirror::scan::Scan;
use crate::mirror::scrub::ScrubFigures;
use crate::mirror::state::DriveState;
use crate::mirror::status::ScanKind;
use crate::mirror::status::{
    Behind, DriveStatus, Health, JournalStatus, Notice, ReplayStatus, ScanStatus, ScrubState, ScrubStatus, Status,
    TrashStatus, Unavailable, Waiting,
};
use crate::mirror::words::{self, Staying};
use crate::path::RelPath;

/// Paths with another trouble that a status names for each drive.
const TROUBLES_NAMED_MAX: usize = 10;
/// Waiting paths that a status names.
const WAITING_MAX: usize = 100;
/// Paths that only an absent drive has: so many are named …
const UNAVAILABLE_NAMED_MAX: usize = 10;
/// … and so many counted, by looking at each.
const UNAVAILABLE_COUNTED_MAX: usize = 1000;

impl Mirror {
    /// Blocks for as long as it takes to count what is unavailable.
    pub fn status(&self) -> Status {
        let core = &self.core;
        let now = clock::now();
        let drives: Vec<_> = Side::BOTH.into_iter().map(|side| self.drive_status(side, now)).collect();
        let writable = core.journal.is_writable();
        let present = core.attachments().len();
        let in_sync = drives.iter().all(|drive| drive.state == DriveState::InSync);
        let troubles = self.troubles();
        let health = match (present, writable && in_sync && troubles.is_empty()) {
            (0, _) => Health::Unusable,
            (_, true) => Health::Healthy,
            (_, false) => Health::Degraded,
        };
        let journal = JournalStatus { entries: core.journal.entries(), head_lsn: core.journal.head(), writable };
        let unavailable: Vec<_> = Side::BOTH.into_iter().filter_map(|side| self.unavailable_without(side)).collect();
        let (items, bytes) = core.journal.trash_size();
        Status {
            health,
            trash: TrashStatus { items, bytes },
            epoch: core.journal.epoch(),
            journal,
            notices: self.notices(&drives, &unavailable, troubles, now),
            drives,
            unavailable,
            events: core.history.events(),
            foreign: core.ledger.read(),
        }
    }

    fn notices(
        &self,
        drives: &[DriveStatus],
        unavailable: &[Unavailable],
        troubles: Vec<Notice>,
        now: Instant,
    ) -> Vec<Notice> {
        let core = &self.core;
        let mut notices = Vec::new();
        let refused = core.refused.lock().clone();
        notices.extend(core.outdated.get().map(|why| words::outdated(why)));
        if !core.journal.is_writable() {
            let since = core.history.journal_closed_since().map(|closed| closed.since(now));
            notices.push(Notice { since, ..words::journal_closed() });
        }
        for drive in drives {
            let other_goes_on = core.seat(drive.side.other()).attachment().is_some();
            let notice = if core.outdated.get().is_some() {
                // No drive helps before the journal is the right one.
                None
            } else {
                // It is there, but for how: what is to be done about that helps.
                let found = refused.iter().find(|(_, notice, _)| notice.drive == Some(drive.side));
                let found = found.filter(|_| drive.state == DriveState::Absent).map(|(_, notice, _)| &notice.action);
                let notice = words::notice(drive, words::Alone::of(other_goes_on));
                notice.map(|notice| Notice { action: found.cloned().unwrap_or(notice.action), ..notice })
            };
            notices.extend(notice.map(|notice| Notice { drive: Some(drive.side), since: Some(drive.since), ..notice }));
        }
        notices.extend(unavailable.iter().map(words::unavailable));
        notices.extend(troubles);
        for attachment in core.attachments() {
            let side = attachment.side;
            notices.extend(core.seat(side).unwatched().map(|why| words::unwatched(side, why)));
        }
        for attachment in core.attachments() {
            let left_out = attachment.errands.refusals().for_want_of_room();
            notices.extend(left_out.map(|(what, number)| words::left_out(attachment.side, &what, number)));
        }
        notices.extend(refused.iter().map(|(_, notice, at)| Notice { since: Some(at.since(now)), ..notice.clone() }));
        notices
    }

    /// Files that a drive does not take, or of which no whole copy is there, though the drives are.
    fn troubles(&self) -> Vec<Notice> {
        let mut notices = Vec::new();
        for side in Side::BOTH {
            let stays = self.core.seat(side).stays();
            let troubles = stays.iter().filter_map(|(node, stay)| words::stay(side, &self.staying(side, *node), stay));
            notices.extend(troubles.take(TROUBLES_NAMED_MAX));
            notices.extend(self.beyond_repair(side));
        }
        notices
    }

    fn drive_status(&self, side: Side, now: Instant) -> DriveStatus {
        let core = &self.core;
        let seat = core.seat(side);
        let (paths, bytes) = core.journal.behind(side);
        let space = seat.space().unwrap_or_default();
        seat.note_unmounted();
        let condition = seat.condition();
        let scan = seat.scan();
        // Nobody knows of a backfill while the journal is closed.
        let fill = core.journal.fill(side).ok().flatten();
        let behind = Behind { paths, bytes };
        let (waiting, waiting_count) = self.waiting(side);
        DriveStatus {
            side,
            id: core.journal.enrolment().drives.get(side).id,
            state: condition.state,
            reason: condition.reason,
            advice: seat.ejection().map(|ejection| words::after_eject(side, seat.path().as_deref(), &ejection)),
            since: condition.changed.since(now),
            path: seat.attachment().and_then(|_| seat.path()).map(|path| path.display().to_string()),
            used: space.size.saturating_sub(space.free),
            size: space.size,
            behind,
            waiting,
            waiting_count,
            lost: core.lost(side),
            errors: seat.errors(),
            repaired: core.repairs.on(side),
            replay: scan.as_ref().map(|scan| replay_status(scan, now)),
            aside: seat.aside(),
            search: core.search_status(side),
            scrub: self.scrub_status(side, now),
            scan: scan_status(scan.as_ref(), fill.as_ref(), behind, now),
        }
    }

    fn scrub_status(&self, side: Side, now: Instant) -> Option<ScrubStatus> {
        // Nobody knows while the journal is closed.
        let order = self.core.journal.scrub_order().ok().flatten()?;
        let figures = self.core.scrubs.get(side).figures(now);
        Some(scrub_status(order, &figures))
    }

    /// Copies that a scrub found damaged and that no debt is about: nothing can be made whole from anywhere.
    fn beyond_repair(&self, side: Side) -> Option<Notice> {
        let progress = self.core.scrubs.get(side).progress();
        let journal = &self.core.journal;
        let lost = |(node, place): &(&NodeId, &Place)| {
            // A later version is another file's bytes.
            let there = journal.file(place, **node).ok().flatten().is_some_and(|file| file.lsn <= progress.head);
            there && !journal.snapshot().owes_node(side, **node).unwrap_or(true)
        };
        let mut lost = progress.unverified.iter().filter(lost);
        let path = lost.next().and_then(|(_, place)| journal.path_of(place).ok().flatten())?;
        Some(words::beyond_repair(side, lost.count() as u64 + 1, &path))
    }

    fn staying(&self, side: Side, node: NodeId) -> Staying {
        let want = self.core.journal.snapshot().want(side, node).ok().flatten();
        match want {
            Some(want) if want.parent == NodeId::TRASH => Staying::InTrash(want.name),
            Some(want) => self.core.journal.path_of(&want).ok().flatten().map_or(Staying::Gone, Staying::At),
            None => Staying::Gone,
        }
    }

    fn wanted_path(&self, side: Side, node: NodeId) -> Option<RelPath> {
        let want = self.core.journal.snapshot().want(side, node).ok().flatten()?;
        self.core.journal.path_of(&want).ok().flatten()
    }

    /// Paths of a drive that wait for another one's copy: the first, and how many there are.
    fn waiting(&self, side: Side) -> (Vec<Waiting>, u64) {
        let waits = |(node, stay): (NodeId, Stay)| match stay {
            Stay::WaitsFor(holder) => Some((node, holder)),
            Stay::Lost | Stay::HoldsName | Stay::Damaged(_) | Stay::NoRoom | Stay::Refused(_) => None,
        };
        let waiting: Vec<_> = self.core.seat(side).stays().into_iter().filter_map(waits).collect();
        let count = waiting.len() as u64;
        let named = |(node, holder)| Some(Waiting { path: self.wanted_path(side, node)?.to_string(), holder });
        (waiting.into_iter().take(WAITING_MAX).filter_map(named).collect(), count)
    }

    /// What clients cannot have while `side` is away and the other drive is there. With none there, it is everything.
    fn unavailable_without(&self, side: Side) -> Option<Unavailable> {
        let core = &self.core;
        let away = core.seat(side).attachment().is_none() && core.seat(side.other()).attachment().is_some();
        if !away || !core.journal.snapshot().owes(side.other()) {
            return None;
        }
        let only = core.journal.only_on(side, UNAVAILABLE_COUNTED_MAX).ok()?;
        let path = |place| core.journal.path_of(place).ok().flatten().map(|path| path.to_string());
        let paths = only.iter().filter_map(path).take(UNAVAILABLE_NAMED_MAX).collect();
        let at_least = only.len() == UNAVAILABLE_COUNTED_MAX;
        (!only.is_empty()).then_some(Unavailable { holder: side, count: only.len() as u64, at_least, paths })
    }
}

fn scrub_status(order: ScrubOrder, figures: &ScrubFigures) -> ScrubStatus {
    let progress = &figures.progress;
    let taken_up = progress.number == order.number;
    let ended_ns = progress.ended_ns.filter(|_| taken_up);
    let state = match (ended_ns, order.paused, figures.at_work) {
        (Some(_), _, _) => ScrubState::Done,
        (None, true, _) => ScrubState::Paused,
        (None, false, true) => ScrubState::Running,
        (None, false, false) => ScrubState::Waiting,
    };
    let none = ScrubStatus {
        state,
        cause: order.cause,
        began_ns: order.ordered_ns,
        ended_ns: None,
        seconds: 0,
        files_total: 0,
        files_done: 0,
        bytes_total: 0,
        bytes_done: 0,
        bytes_per_second: 0,
        seconds_left: None,
        damaged: 0,
        repaired: 0,
        repaired_bytes: 0,
    };
    if !taken_up {
        return none;
    }
    ScrubStatus {
        began_ns: progress.began_ns,
        ended_ns,
        seconds: figures.seconds,
        files_total: figures.total.files,
        files_done: progress.done.files,
        bytes_total: figures.total.bytes,
        bytes_done: progress.done.bytes,
        bytes_per_second: figures.bytes_per_second,
        seconds_left: match figures.outlook {
            Outlook::Unknown | Outlook::Still(_) => None,
            Outlook::Left(left) => Some(left.as_secs()),
        },
        damaged: progress.damaged,
        repaired: progress.repaired,
        repaired_bytes: progress.repaired_bytes,
        ..none
    }
}

fn replay_status(scan: &Scan, now: Instant) -> ReplayStatus {
    let work = scan.work();
    ReplayStatus {
        running: scan.is_running(),
        seconds: scan.lasted(now).as_secs(),
        paths: work.paths,
        copied_files: work.copied_files,
        copied_bytes: work.copied_bytes,
        moved: work.moved,
        removed: work.removed,
        made_folders: work.made_folders,
        unchanged: work.unchanged,
    }
}

/// A scan under way goes before a backfill that waits for its drive, and that before what has ended.
fn scan_status(scan: Option<&Scan>, fill: Option<&Fill>, behind: Behind, now: Instant) -> Option<ScanStatus> {
    match (scan, fill) {
        (Some(scan), _) if scan.is_running() => Some(of_scan(scan, now)),
        (_, Some(fill)) => Some(of_fill(fill, behind)),
        // One that found nothing to do is not worth a word.
        (Some(scan), None) => Some(of_scan(scan, now)).filter(|scan| scan.paths_total > 0),
        (None, None) => None,
    }
}

fn of_scan(scan: &Scan, now: Instant) -> ScanStatus {
    let figures = scan.figures(now);
    let (seconds_left, still_seconds) = match figures.outlook {
        Outlook::Unknown => (None, None),
        Outlook::Still(still) => (None, Some(still.as_secs())),
        Outlook::Left(left) => (Some(left.as_secs()), None),
    };
    ScanStatus {
        kind: scan.kind(),
        running: scan.is_running(),
        began_ns: scan.began_ns(),
        seconds: scan.lasted(now).as_secs(),
        paths_total: figures.total.paths,
        paths_done: figures.done.paths,
        bytes_total: figures.total.bytes,
        bytes_done: figures.done.bytes,
        bytes_per_second: figures.bytes_per_second,
        seconds_left,
        still_seconds,
    }
}

/// A backfill whose drive is not there.
fn of_fill(fill: &Fill, behind: Behind) -> ScanStatus {
    let (paths_total, bytes_total) = (fill.paths.max(behind.paths), fill.bytes.max(behind.bytes));
    ScanStatus {
        kind: ScanKind::Backfill(fill.cause),
        running: false,
        began_ns: fill.begun_ns,
        seconds: 0,
        paths_total,
        paths_done: paths_total - behind.paths,
        bytes_total,
        bytes_done: bytes_total - behind.bytes,
        bytes_per_second: 0,
        seconds_left: None,
        still_seconds: None,
    }
}
