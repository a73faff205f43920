//! The mirror as the server sees it: two drives, one journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::elapsed::{Elapsed, Stopwatch};
use crate::ids::{DriveId, PerSide, Side};
use crate::journal::buffered::{BufferedStore, StoreFolder};
use crate::journal::store::StoreError;
use crate::journal::{DriveFact, Enrolled, Enrolment, Journal, Writer};
use crate::mirror::attachment::NewDrive;
use crate::mirror::committer::{Audience, Committer, Durable, Reporter};
use crate::mirror::core::{Core, Lost, Parting};
use crate::mirror::flaps::Ending;
use crate::mirror::history::{History, Moment};
use crate::mirror::hot::Hot;
use crate::mirror::label::Serials;
use crate::mirror::lane_thread;
use crate::mirror::limits::MirrorLimits;
use crate::mirror::listener::Listener;
use crate::mirror::pool::Pool;
use crate::mirror::reconcile::inbox::Inbox;
use crate::mirror::reconcile::ledger::Ledger;
use crate::mirror::repairs::Repairs;
use crate::mirror::scrub::Desk;
use crate::mirror::seat::{Ejection, Seat};
use crate::mirror::state::DriveState;
use crate::mirror::status::{Behind, Notice};
use crate::namespace::Namespace;

/// Files that a drive has alone, counted before it is replaced.
const ONLY_MAX: usize = 10_000;
/// One part of so many of the memory for bodies is for the beginnings of those whose length nobody knows.
const BEGINNINGS_PART: u64 = 8;
/// The journal's folder in the state directory.
pub(crate) const JOURNAL_FOLDER: &str = "journal";

/// Whether versions that only a replaced drive has may be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Refused,
    Accepted,
}

/// Why a drive is not replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    #[error("drive {0} is there and in use: take it out first")]
    Present(Side),
    #[error(
        "the old drive {side} alone has the current version of {count}{} file(s), such as {example}: put it in again \
         until both drives are in sync, or give these versions up with --accept-loss",
        if count == at_most { " or more" } else { "" }
    )]
    OnlyThere { side: Side, count: usize, at_most: usize, example: String },
    /// A stick has shown that it knows more than the journal.
    #[error("nothing is replaced: {0}")]
    Outdated(String),
    #[error("the journal: {0}")]
    Journal(#[from] StoreError),
}

/// Why a drive cannot be taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("drive {side} is not parked, it is {state}")]
pub struct NotParked {
    pub side: Side,
    pub state: DriveState,
}

/// Two drives, one journal.
pub struct Mirror {
    pub(super) core: Arc<Core>,
    pub(super) tickets: AtomicU64,
}

impl Mirror {
    /// Begins the journal of a new mirror in an empty state directory.
    pub fn create(state: &Path, enrolment: &Enrolment) -> Result<(), StoreError> {
        Self::create_for(state, enrolment, PerSide::default())
    }

    /// As [`Mirror::create`], for drives that ask this of names.
    pub fn create_for(state: &Path, enrolment: &Enrolment, namespaces: PerSide<Namespace>) -> Result<(), StoreError> {
        let store = BufferedStore::open(&state.join(JOURNAL_FOLDER))?;
        Writer::note_names(&store, namespaces)?;
        Writer::create(&store, enrolment)
    }

    /// Whether a state directory has a journal.
    pub fn exists(state: &Path) -> bool {
        Self::journal_folder(state).is_dir()
    }

    /// Where the journal of a state directory lies.
    pub fn journal_folder(state: &Path) -> PathBuf {
        state.join(JOURNAL_FOLDER)
    }

    /// Opens a mirror without drives; they come by [`Mirror::arrived`]. What the mirror finds lost it says
    /// on the channel.
    pub fn start(state: &Path, limits: MirrorLimits) -> Result<(Arc<Self>, mpsc::UnboundedReceiver<Lost>), StoreError> {
        let folder = state.join(JOURNAL_FOLDER);
        let (journal, writer) = Writer::open(Arc::new(BufferedStore::open(&folder)?))?;
        let nonce = writer.nonce().ok_or(StoreError::Dead)?;
        let opener = Box::new(StoreFolder::new(folder));
        let (lost, losses) = mpsc::unbounded_channel();
        let listener = Arc::new(Listener::default());
        let running = Stopwatch::start(writer.elapsed(), clock::now());
        let audience = Arc::clone(&listener) as Arc<dyn Audience>;
        let committer = Committer::start(writer, opener, audience, limits.journal_entries_max, running)?;
        let (history, now) = (Arc::new(History::default()), Moment::now());
        history.add(now.wall_ns, None, format!("twinstickd started, epoch {}", journal.epoch()));
        let serials = serials(&journal)?;
        let beginnings = limits.buffer_bytes_max / BEGINNINGS_PART;
        let desk = |side| Ok::<_, StoreError>(Desk::new(journal.scrub_progress(side)?.unwrap_or_default()));
        let scrubs = PerSide { a: desk(Side::A)?, b: desk(Side::B)? };
        let core = Arc::new(Core {
            seats: PerSide::new(|side| Seat::new(side, limits.flaps_max, Arc::clone(&history), now)),
            journal,
            committer,
            running,
            trash_for: limits.trash_for,
            nonce,
            changed: watch::channel(0).0,
            lost,
            room: Arc::default(),
            buffers: Pool::of_bytes(limits.buffer_bytes_max - beginnings),
            beginnings: Pool::of_bytes(beginnings),
            transfers: Pool::of_transfers(limits.transfers_max as u64),
            hot: Hot::new(limits.read_cache_bytes_max),
            claims: Arc::default(),
            users: parking_lot::RwLock::default(),
            serials,
            parked: watch::channel(PerSide::default()).0,
            token: crate::mirror::token::InstallToken::default(),
            stall_after: Arc::new(Mutex::new(limits.stall_after)),
            folder_entries_max: limits.folder_entries_max.into(),
            outdated: std::sync::OnceLock::new(),
            history,
            repairs: Repairs::default(),
            scrubs,
            scrub_orders: Mutex::new(()),
            ledger: Ledger::default(),
            aside_max: limits.aside_max,
            inbox: Inbox::default(),
            refused: Mutex::new(Vec::new()),
        });
        listener.listen(&core);
        Ok((Arc::new(Self { core, tickets: AtomicU64::new(0) }), losses))
    }

    pub fn enrolment(&self) -> Arc<Enrolment> {
        self.core.journal.enrolment()
    }

    /// The watcher found a drive of this mirror.
    pub fn arrived(&self, drive: NewDrive) {
        self.accepted(&drive.path);
        lane_thread::start(&self.core, drive);
    }

    /// The watcher saw a drive leave that came with `visit`.
    pub fn departed(&self, side: Side, visit: u64, why: &str, how: Ending) {
        self.core.depart(side, visit, why, how);
    }

    /// Goes on by another limit for names in a folder; those that are there stay.
    pub fn set_folder_entries_max(&self, most: u64) {
        self.core.folder_entries_max.store(most, Ordering::Relaxed);
    }

    /// Goes on by another limit for drives that do nothing.
    pub fn set_stall_after(&self, stall_after: Duration) {
        *self.core.stall_after.lock() = stall_after;
    }

    /// What tells an older copy of a drive.
    pub fn serials(&self) -> Arc<Serials> {
        Arc::clone(&self.core.serials)
    }

    /// Until when each drive is left alone as it came and went too often; the watcher must have no hand on it.
    pub fn parked(&self) -> watch::Receiver<PerSide<Option<Instant>>> {
        self.core.parked.subscribe()
    }

    /// Takes up a parked drive again at once: somebody has seen to it. Its flaps are forgotten.
    pub fn unpark(&self, side: Side) -> Result<(), NotParked> {
        let ejection = self.core.seat(side).ejection();
        if !self.core.seat(side).unpark("it was parked, and is looked for again") {
            return Err(NotParked { side, state: self.core.seat(side).state() });
        }
        if let Some(Ejection::UnderWay { visit } | Ejection::Over { visit, .. }) = ejection {
            let _ = self.core.lost.send(Lost { side, visit, parting: Parting::Forgiven });
        }
        self.core.look_again(side);
        Ok(())
    }

    /// Looks again for the drives that were to be left alone until `now`.
    pub fn end_parking(&self, now: Instant) {
        let parked = *self.core.parked.borrow();
        for (side, until) in parked.iter() {
            if until.is_some_and(|until| until <= now) {
                self.core.seat(side).end_parking("it was parked for a while, and is looked for again");
                self.core.look_again(side);
            }
        }
    }

    /// Enrols a drive, labelled as such, in place of one that is not there; it is filled when it comes.
    ///
    /// Refused while the old one is there, and where that one alone has something, unless `loss` accepts it.
    pub async fn replace(&self, side: Side, drive: Enrolled, loss: Loss) -> Result<(), ReplaceError> {
        self.check_replace(side, loss)?;
        self.core.committer.replace(side, drive).await?;
        self.core.seat(side).forget();
        self.core.repairs.forget(side);
        self.core.scrubs.get(side).forget();
        // Flaps of the old one say nothing of the new one.
        let _ = self.unpark(side);
        let what = "replaced: another stick was enrolled in its place, and is filled when it comes";
        self.core.history.add(clock::wall_ns(), Some(side), what);
        self.core.tell_change();
        Ok(())
    }

    /// Notes what a drive that was just enrolled asks of names.
    pub fn note_names(&self, side: Side, drive: DriveId, namespace: Namespace) -> Result<(), StoreError> {
        let fact = DriveFact::Names { side, namespace };
        self.core.committer.note(Reporter { side, drive }, vec![fact], Durable::Now).map(drop)
    }

    /// Whether a drive has versions that the other lacks.
    pub fn has_sole_copies(&self, side: Side) -> Result<bool, StoreError> {
        Ok(!self.core.journal.only_on(side, 1)?.is_empty())
    }

    /// What the mirror has that a drive could not take, at most `limit` of it, in words.
    pub fn misfits(&self, namespace: Namespace, limit: usize) -> Result<Vec<String>, StoreError> {
        self.core.journal.misfits(namespace, limit)
    }

    /// Whether a drive can be replaced now.
    pub fn check_replace(&self, side: Side, loss: Loss) -> Result<(), ReplaceError> {
        if let Some(why) = self.core.outdated.get() {
            return Err(ReplaceError::Outdated(why.clone()));
        }
        match self.core.seat(side).state() {
            DriveState::Absent | DriveState::Faulted | DriveState::Fenced | DriveState::Parked => {}
            DriveState::Verifying
            | DriveState::Replaying
            | DriveState::Backfilling
            | DriveState::InSync
            | DriveState::Full => return Err(ReplaceError::Present(side)),
        }
        let only = self.core.journal.only_on(side, ONLY_MAX)?;
        match (only.first(), loss) {
            (None, _) | (Some(_), Loss::Accepted) => Ok(()),
            (Some(first), Loss::Refused) => {
                let example = self.core.journal.path_of(first)?.map_or_else(String::new, |path| path.to_string());
                Err(ReplaceError::OnlyThere { side, count: only.len(), at_most: ONLY_MAX, example })
            }
        }
    }

    /// How long the mirror has been running, all its runs together.
    pub fn elapsed(&self) -> Elapsed {
        self.core.running.at(clock::now())
    }

    /// Bytes that a drive needs for all files.
    pub fn total_bytes(&self) -> Result<u64, StoreError> {
        self.core.journal.total_bytes()
    }

    /// What a drive is behind.
    pub fn behind(&self, side: Side) -> Behind {
        let (paths, bytes) = self.core.journal.behind(side);
        Behind { paths, bytes }
    }

    /// Where a drive is or was last seen.
    pub fn last_place(&self, side: Side) -> PathBuf {
        let enrolled = || PathBuf::from(&self.enrolment().drives.get(side).place);
        self.core.seat(side).path().unwrap_or_else(enrolled)
    }

    /// Whether a drive is in use.
    pub fn is_anybody_there(&self) -> bool {
        self.core.present() != PerSide::default()
    }

    /// Whether a drive is not there.
    pub fn is_absent(&self, side: Side) -> bool {
        self.core.seat(side).state() == DriveState::Absent
    }

    /// The watcher found a drive that is not to be used.
    pub fn refused(&self, place: &Path, notice: Notice) {
        let place = place.display().to_string();
        let now = Moment::now();
        self.core.history.add(now.wall_ns, None, notice.what.clone());
        let mut refused = self.core.refused.lock();
        refused.retain(|(other, _, _)| *other != place);
        refused.push((place, notice, now));
    }

    /// Returns once the journal's writer has done what was asked of it so far; a hung boot disk holds it up, a hung
    /// drive does not. Nothing is written for it. `Err` says that the writer has ended.
    pub async fn ping_journal(&self) -> Result<(), String> {
        self.core.committer.ping().await.map_err(|ended| ended.to_string())
    }

    /// What the watcher found there is not there any more, or is none to be refused.
    pub fn accepted(&self, place: &Path) {
        let place = place.display().to_string();
        self.core.refused.lock().retain(|(other, _, _)| *other != place);
    }

    /// Ends the drives' work with a checkpoint each, and closes the journal. A drive that hangs is not waited for
    /// longer than `at_most`; it is verified when it is next seen.
    pub async fn close(&self, at_most: Duration) {
        for attachment in self.core.attachments() {
            attachment.wake.ring_for_close();
            self.core.scrubs.get(attachment.side).ring();
        }
        let mut changed = self.core.changed.subscribe();
        let closed = async {
            while Side::BOTH.into_iter().any(|side| self.core.seat(side).attachment().is_some()) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(at_most, closed).await.is_err() {
            tracing::warn!("a drive did not come to an end; it is verified at the next start");
        }
        let core = Arc::clone(&self.core);
        if tokio::task::spawn_blocking(move || core.committer.stop()).await.is_err() {
            tracing::error!("closing the journal failed");
        }
    }
}

fn serials(journal: &Journal) -> Result<Arc<Serials>, StoreError> {
    let serials = Serials::default();
    for side in Side::BOTH {
        if let Some(serial) = journal.label_serial(side)? {
            serials.set(side, journal.enrolment().drives.get(side).id, serial);
        }
    }
    Ok(Arc::new(serials))
}
