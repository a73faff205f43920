//! What all parts of the mirror share: the journal, the two seats, comings and goings.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::elapsed::Stopwatch;
use crate::ids::{Lsn, NodeId, Nonce, PerSide, Side};
use crate::journal::store::StoreError;
use crate::journal::{Catalog as _, DriveFact, FileNode, Journal, Keeping, Place};
use crate::mirror::attachment::Attachment;
use crate::mirror::committer::{Committer, Durable, Reporter};
use crate::mirror::flaps::Ending;
use crate::mirror::history::{History, Moment};
use crate::mirror::hot::Hot;
use crate::mirror::label::Serials;
use crate::mirror::limits::AsideMax;
use crate::mirror::pool::Pool;
use crate::mirror::quota::{Claims, Users};
use crate::mirror::reconcile::inbox::Inbox;
use crate::mirror::reconcile::ledger::Ledger;
use crate::mirror::reconcile::survey::Ahead;
use crate::mirror::refusal::Refusal;
use crate::mirror::repairs::Repairs;
use crate::mirror::scrub::Desk;
use crate::mirror::seat::Seat;
use crate::mirror::space::Room;
use crate::mirror::state::DriveEvent;
use crate::mirror::status::{Notice, SearchStatus};
use crate::mirror::token::InstallToken;
use crate::mirror::volume::{Disposition, VolumeError};

/// A drive that the mirror found to be gone; for the watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    pub side: Side,
    pub visit: u64,
    pub parting: Parting,
}

/// When a drive that the mirror gave up may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// After a while: it failed.
    Failed,
    /// At once: it only waited for calls of its earlier stay to return, and they have.
    Drained,
    /// When it was mounted anew: somebody wants to take it out.
    Ejected,
    /// At once, although it was ejected.
    Forgiven,
}

/// Held by all that works on a drive during one stay. With the last of them ends the fence, if there is one.
pub(crate) struct Alive {
    core: Weak<Core>,
    side: Side,
}

impl Alive {
    pub(crate) fn new(core: &Arc<Core>, side: Side) -> Self {
        Self { core: Arc::downgrade(core), side }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            core.drained(self.side);
        }
    }
}

pub(crate) struct Core {
    pub(crate) journal: Arc<Journal>,
    pub(crate) committer: Committer,
    /// What ages and schedules are measured by.
    pub(crate) running: Stopwatch,
    /// How long what was removed or overwritten is kept.
    pub(crate) trash_for: Option<Duration>,
    pub(crate) seats: PerSide<Seat>,
    pub(crate) nonce: Nonce,
    pub(crate) serials: Arc<Serials>,
    /// Rises with everything that somebody may wait for.
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) lost: mpsc::UnboundedSender<Lost>,
    pub(crate) room: Arc<Room>,
    pub(crate) buffers: Pool,
    /// For bodies of unknown length, while they are small; those who wait for a place have nothing else.
    pub(crate) beginnings: Pool,
    pub(crate) transfers: Pool,
    pub(crate) hot: Hot,
    pub(crate) claims: Arc<Claims>,
    pub(crate) users: RwLock<Users>,
    /// Until when each drive is to be left alone.
    pub(crate) parked: watch::Sender<PerSide<Option<Instant>>>,
    pub(crate) token: InstallToken,
    /// How long a drive may do nothing while calls on it are under way.
    pub(crate) stall_after: Arc<Mutex<Duration>>,
    /// Names that a folder gets at most; 0: any number.
    pub(crate) folder_entries_max: AtomicU64,
    /// Why nothing is served: a stick knows more than the journal.
    pub(crate) outdated: OnceLock<String>,
    pub(crate) history: Arc<History>,
    pub(crate) repairs: Repairs,
    pub(crate) scrubs: PerSide<Desk>,
    /// Held by whoever orders a scrub, from his look at the last order to the next one's record.
    pub(crate) scrub_orders: Mutex<()>,
    /// What others did to the drives' files, and what is to be taken in of it.
    pub(crate) ledger: Ledger,
    /// How much may lie aside on a drive.
    pub(crate) aside_max: AsideMax,
    pub(crate) inbox: Inbox,
    /// Drives that were refused, by place.
    pub(crate) refused: Mutex<Vec<(String, Notice, Moment)>>,
}

impl Core {
    pub(crate) fn seat(&self, side: Side) -> &Seat {
        self.seats.get(side)
    }

    /// The drives that are there.
    pub(crate) fn attachments(&self) -> Vec<Arc<Attachment>> {
        Side::BOTH.into_iter().filter_map(|side| self.seat(side).attachment()).collect()
    }

    /// The search for what others changed on a drive; `None` while there is none, and nothing to be taken in.
    pub(crate) fn search_status(&self, side: Side) -> Option<SearchStatus> {
        let attachment = self.seat(side).attachment()?;
        let ahead = attachment.ahead.lock();
        // In this order: a folder that is taken in becomes an errand first, and is done then.
        let taking_in = self.inbox.open(side);
        let asked = attachment.errands.folders();
        let Ahead { folders, settling } = *ahead;
        let search = SearchStatus { folders: folders + asked, settling, taking_in };
        (search != SearchStatus::default()).then_some(search)
    }

    pub(crate) fn present(&self) -> PerSide<bool> {
        PerSide::new(|side| self.seat(side).attachment().is_some())
    }

    /// Refuses everything once a stick has shown that the journal is older than it.
    pub(crate) fn check_journal(&self) -> Result<(), Refusal> {
        match self.outdated.get() {
            Some(why) => Err(Refusal::Unavailable { drive: None, message: why.clone() }),
            None => Ok(()),
        }
    }

    /// The journal is older than a stick: somebody put back an old boot disk. Nothing is served from it any more.
    pub(crate) fn condemn_journal(&self, why: &str) {
        self.outdated.get_or_init(|| why.to_owned());
        for attachment in self.attachments() {
            self.see_off(&attachment, why, Ending::Orderly);
        }
    }

    /// How what is removed or overwritten now is kept, if it is.
    pub(crate) fn keeping(&self, sweep: Option<Lsn>) -> Option<Keeping> {
        self.trash_for.map(|_| Keeping { at: self.running.at(clock::now()), wall_ns: clock::wall_ns(), sweep })
    }

    pub(crate) fn tell_change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Somebody waits for what the drives' lanes owe.
    pub(crate) fn hurry_lanes(&self) {
        for attachment in self.attachments() {
            attachment.wake.hurry();
        }
    }

    pub(crate) fn wake_lanes(&self) {
        for attachment in self.attachments() {
            attachment.wake.ring();
        }
    }

    /// A drive has failed: it is gone.
    pub(crate) fn lose(&self, attachment: &Attachment, why: &str) {
        self.see_off(attachment, why, Ending::Failure);
    }

    /// A drive is gone. What waits for it is told so; the watcher looks for its return.
    pub(crate) fn see_off(&self, attachment: &Attachment, why: &str, how: Ending) {
        let Some(attachment) = self.seat(attachment.side).detach(Some(attachment.arrival)) else { return };
        let side = attachment.side;
        self.seat(side).lost(why, how, clock::now());
        attachment.end();
        self.scrubs.get(side).ring();
        self.give_back_token(&attachment);
        self.committer.leave_soon(side, attachment.arrival);
        // The watcher ends before the mirror when the daemon stops.
        let _ = self.lost.send(Lost { side, visit: attachment.visit, parting: Parting::Failed });
        // One that flaps is better than none.
        if self.seat(side.other()).end_parking("it was parked, and the other drive has gone") {
            self.look_again(side.other());
        }
        self.tell_change();
    }

    /// A drive's stay ends, whether it was taken up yet or not.
    pub(crate) fn depart(&self, side: Side, visit: u64, why: &str, how: Ending) {
        match self.seat(side).attachment() {
            Some(attachment) if attachment.visit == visit => self.see_off(&attachment, why, how),
            Some(_) => {}
            None => {
                self.seat(side).leave(visit, why, how, clock::now());
                self.tell_change();
            }
        }
    }

    /// The last that was at work on a drive in its earlier stay has ended.
    fn drained(&self, side: Side) {
        if let Some(visit) = self.seat(side).drained() {
            let _ = self.lost.send(Lost { side, visit, parting: Parting::Drained });
        }
        self.tell_change();
    }

    /// Lets the other drive install, where this one had the token.
    pub(crate) fn give_back_token(&self, attachment: &Attachment) {
        if self.token.give_back(attachment.side, attachment.arrival)
            && let Some(other) = self.seat(attachment.side.other()).attachment()
        {
            other.wake.ring();
        }
    }

    /// Lets go of a drive that somebody wants to take out.
    pub(crate) fn eject(&self, attachment: &Attachment) {
        let Some(attachment) = self.seat(attachment.side).detach(Some(attachment.arrival)) else { return };
        let (side, visit) = (attachment.side, attachment.visit);
        self.seat(side).eject(visit);
        attachment.end();
        self.give_back_token(&attachment);
        self.committer.leave_soon(side, attachment.arrival);
        let _ = self.lost.send(Lost { side, visit, parting: Parting::Ejected });
        self.tell_change();
    }

    /// Ends a drive's work with the daemon.
    pub(crate) fn close_drive(&self, attachment: &Attachment) {
        if let Some(attachment) = self.seat(attachment.side).detach(Some(attachment.arrival)) {
            attachment.end();
            self.scrubs.get(attachment.side).ring();
        }
        self.tell_change();
    }

    /// A drive came too often: the watcher lets go of it, and leaves it alone until further word.
    pub(crate) fn park(&self, lost: Lost, until: Instant) {
        self.parked.send_modify(|parked| *parked.get_mut(lost.side) = Some(until));
        let _ = self.lost.send(lost);
        self.tell_change();
    }

    /// The watcher may look for a drive again.
    pub(crate) fn look_again(&self, side: Side) {
        self.parked.send_modify(|parked| *parked.get_mut(side) = None);
        self.tell_change();
    }

    /// Judges a failed operation on a drive: counts it, and lets the drive go if it is gone.
    pub(crate) fn complain(&self, attachment: &Attachment, error: &VolumeError) {
        // Of one that has left an error says nothing new.
        if attachment.is_gone() {
            return;
        }
        let seat = self.seat(attachment.side);
        match error.disposition {
            Disposition::DriveLost => {
                seat.count_write_error();
                self.lose(attachment, &error.to_string());
            }
            Disposition::BadRead => {
                seat.count_read_error();
                tracing::warn!(drive = %attachment.side, %error, "read error");
            }
            Disposition::NoSpace
            | Disposition::NotFound
            | Disposition::InTheWay
            | Disposition::Refused
            | Disposition::Shortage => {
                tracing::debug!(drive = %attachment.side, %error, "operation on a drive");
            }
        }
    }

    /// Why nothing can be stored now, and what to do.
    pub(crate) fn nobody_there(&self) -> Refusal {
        let last = |side: Side| match self.seat(side).path() {
            Some(path) => format!("{side} (last at {})", path.display()),
            None => side.to_string(),
        };
        let mut message = format!(
            "no drive is there: plug in and mount drive {} or {}, it is taken up by itself",
            last(Side::A),
            last(Side::B)
        );
        for (_, notice, _) in self.refused.lock().iter() {
            message.push_str("; ");
            message.push_str(&notice.what);
        }
        Refusal::Unavailable { drive: None, message }
    }
}

impl Core {
    /// A drive's lane made copies whole, some of them again.
    pub(crate) fn made_whole(&self, side: Side, whole: &[(NodeId, u64)], repaired: &[(NodeId, u64)]) {
        self.repairs.add(side, repaired);
        self.scrubs.get(side).made_whole(whole);
    }

    /// The installed copy of a version is damaged or gone: the lane makes it whole again. Blocks until that is noted.
    pub(crate) fn report_damage(&self, side: Side, place: Place, file: FileNode) {
        // Of a drive that was replaced meanwhile nothing is marked that could be damaged.
        let reporter = Reporter { side, drive: self.journal.enrolment().drives.get(side).id };
        let noted = self.committer.note(reporter, vec![DriveFact::Damaged { side, place, file }], Durable::Now);
        if noted.is_ok() {
            self.wake_lanes();
        }
    }

    /// Whether a drive still lacks something committed up to `head` that a drive has, or will have.
    pub(crate) fn lacks(&self, side: Side, head: Lsn) -> bool {
        let mut seen = NodeId::ROOT;
        self.still_lacks(side, head, &mut seen)
    }

    /// As [`Core::lacks`], for who asks again and again: `seen` is the node that was found lacking last, at first the
    /// root. A look from the root passes all that was owed and is not any more.
    pub(crate) fn still_lacks(&self, side: Side, head: Lsn, seen: &mut NodeId) -> bool {
        loop {
            match self.lacking(side, head, *seen) {
                Ok(Some(id)) => {
                    *seen = id;
                    return true;
                }
                // Nobody knows while the journal is closed.
                Err(_) => return true,
                Ok(None) if *seen == NodeId::ROOT => return false,
                // One before it may be owed again.
                Ok(None) => *seen = NodeId::ROOT,
            }
        }
    }

    /// The first node, from one on, of which a drive lacks something.
    fn lacking(&self, side: Side, head: Lsn, from: NodeId) -> Result<Option<NodeId>, StoreError> {
        const PAGE: usize = 64;
        let mut at = from;
        let mut losses = None;
        loop {
            let page = self.journal.snapshot().debts(side, at, PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(None) };
            at = last.next();
            let owed = page.iter().filter(|(_, debt)| debt.lsn <= head);
            for (id, debt) in owed {
                if losses.get_or_insert_with(|| self.seat(side).losses()).get(id) != Some(&debt.lsn) {
                    return Ok(Some(*id));
                }
            }
        }
    }

    /// Paths that a drive owes and no drive has whole.
    pub(crate) fn lost(&self, side: Side) -> u64 {
        let snapshot = self.journal.snapshot();
        let lost = self.seat(side).losses();
        // Nobody knows while the journal is closed.
        let is_owed = |id, lsn| snapshot.debt(side, id).is_ok_and(|debt| debt.is_some_and(|debt| debt.lsn == lsn));
        lost.into_iter().filter(|(id, lsn)| is_owed(*id, *lsn)).count() as u64
    }

    /// A drive was given a label.
    pub(crate) fn labelled(&self, drive: Reporter, serial: u64) -> Result<(), StoreError> {
        self.serials.set(drive.side, drive.drive, serial);
        let side = drive.side;
        self.committer.note(drive, vec![DriveFact::Labelled { side, serial }], Durable::Later).map(drop)
    }

    /// How a drive that is there gets what it lacks.
    pub(crate) fn way_back(&self, side: Side) -> DriveEvent {
        match self.journal.fill(side) {
            Ok(Some(_)) => DriveEvent::Backfill,
            // Nobody knows while the journal is closed; what is to be done is the same.
            Ok(None) | Err(_) => DriveEvent::Replay,
        }
    }
}
