//! The thread of a drive that came: verifies it, then runs its lane until it is lost.

mod look;
mod tell;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock;
use crate::ids::{Lsn, NodeId, PerSide, Side};
use crate::journal::store::StoreError;
use crate::journal::{Attached, DriveFact};
use crate::mirror::attachment::{Attachment, NewDrive};
use crate::mirror::committer::{Durable, Reporter};
use crate::mirror::core::{Alive, Core, Lost, Parting, let_go};
use crate::mirror::drive_log::DriveLog;
use crate::mirror::flaps::Ending;
use crate::mirror::io::IoPool;
use crate::mirror::label::{self, Label, LabelError};
use crate::mirror::lane::{Lane, LaneError, Stay, Step, look_again, reclaim};
use crate::mirror::lane_thread::look::Help;
use crate::mirror::log_thread::{LogHandle, Settled};
use crate::mirror::manifest::{Head, Keeper, Turn};
use crate::mirror::os_volume::Unmounted;
use crate::mirror::patient::Patient;
use crate::mirror::peer::Peer;
use crate::mirror::reconcile::hints::Hints;
use crate::mirror::reconcile::inbox::{Errands, Job};
use crate::mirror::reconcile::survey::Next;
use crate::mirror::request::AsideItem;
use crate::mirror::scrub;
use crate::mirror::seat::{Ejection, Other, Welcome};
use crate::mirror::set_apart::set_apart;
use crate::mirror::state::DriveEvent;
use crate::mirror::trash;
use crate::mirror::volume::{FsKind, Volume};
use crate::mirror::watched::{self, Watched};

/// Quiet time before a checkpoint.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(1);
/// Between two checkpoints under load.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// Before debts are tried again that could not be worked off.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// For what is still owed when the daemon stops, so that the next start has nothing to redo.
const SETTLE_AT_MOST: Duration = Duration::from_secs(5);
/// How often that is looked at, once the lane itself has nothing to do.
const SETTLE_LOOK: Duration = Duration::from_millis(10);
/// A lane without work sleeps until it is woken; this only bounds one sleep.
const SLEEP_MAX: Duration = Duration::from_hours(1);

/// What is told of a drive that stalled.
const STALLED: &str = "it does not answer: nothing on it has moved for too long";

/// Why a drive that came is not taken up.
#[derive(Debug, thiserror::Error)]
enum Turned {
    #[error(transparent)]
    Lane(#[from] LaneError),
    #[error(transparent)]
    Label(#[from] LabelError),
    #[error("starting its threads: {0}")]
    Threads(#[from] std::io::Error),
    /// The journal is older than the stick: somebody put back an old boot disk.
    #[error(
        "drive {side} has epoch {label_epoch} and LSN {label_lsn} in its label, the journal only epoch {epoch} and LSN \
         {head}: the journal is older than the stick, so nothing is served; stop twinstickd and put back the newer \
         state directory, or rebuild the journal from the sticks: {command}"
    )]
    Ahead { side: Side, label_epoch: u64, label_lsn: Lsn, epoch: u64, head: Lsn, command: String },
    /// Another stick showed that the journal is older than the sticks.
    #[error("{0}")]
    Outdated(String),
    #[error("another drive was enrolled in its place")]
    Replaced,
    #[error("the journal is closed")]
    Closed,
    #[error("it left while it was verified")]
    Left,
}

impl From<StoreError> for Turned {
    fn from(error: StoreError) -> Self {
        Self::Lane(error.into())
    }
}

impl Turned {
    /// What it says of the drive.
    fn ending(&self) -> Ending {
        match self {
            Self::Lane(LaneError::Volume(_)) | Self::Label(_) => Ending::Failure,
            Self::Lane(LaneError::Store(_))
            | Self::Threads(_)
            | Self::Ahead { .. }
            | Self::Outdated(_)
            | Self::Replaced
            | Self::Closed
            | Self::Left => Ending::Orderly,
        }
    }
}

/// Takes up a drive, on a thread of its own.
pub(crate) fn start(core: &Arc<Core>, drive: NewDrive) {
    let side = drive.side;
    let lost = Lost { side, visit: drive.visit, parting: Parting::Failed };
    let other = match core.seat(side.other()).attachment() {
        Some(_) => Other::There,
        None => Other::Away,
    };
    let welcome = core.seat(side).arrive(drive.visit, drive.diskseq, other, clock::now(), clock::wall_ns());
    let work_core = Arc::clone(core);
    // Closing its handles can block as long as the drive does.
    let work = move || match welcome {
        Welcome::Seated => stay(&work_core, drive),
        // One that is fenced is looked at again when the fence ends.
        Welcome::Taken | Welcome::Fenced => drop(drive),
        Welcome::Parked { until } => {
            // First all handles: whoever reads that it is parked may unmount it.
            drop(drive);
            work_core.park(lost, until);
        }
    };
    if let Err(error) = std::thread::Builder::new().name(format!("lane-{side}")).spawn(work) {
        turn_away(core, lost, &error.into());
    }
}

/// A drive's stay, from its verification to its end.
fn stay(core: &Arc<Core>, drive: NewDrive) {
    let (side, visit) = (drive.side, drive.visit);
    let alive = Arc::new(Alive::new(core, side));
    core.seat(side).begin(&alive, drive.path.clone(), drive.diskseq);
    let mount = drive.volume.mount_point();
    let ended = watch(core, drive).and_then(|(drive, watched)| {
        let ended = run(core, &drive, &watched, &alive);
        watched.revoke();
        // Whatever is still open on it may be busy for as long as the drive likes.
        watched.settle();
        ended
    });
    drop(alive);
    if core.seat(side).ejection() == Some(Ejection::UnderWay { visit }) {
        let unmounted = mount.map_or(Unmounted::Nothing, |mount| mount.unmount());
        core.seat(side).ejected(visit, unmounted);
        core.tell_change();
    }
    if let Err(reason) = ended {
        turn_away(core, Lost { side, visit, parting: Parting::Failed }, &reason);
    }
}

/// Puts a drive under watch: one that stalls is given up, whoever waits for it.
fn watch(core: &Arc<Core>, drive: NewDrive) -> Result<(NewDrive, Arc<Watched>), Turned> {
    let (side, visit) = (drive.side, drive.visit);
    let watched = Arc::new(Watched::new(side.name(), drive.volume)?);
    let (volume, weak, stall_after) = (Arc::clone(&watched), Arc::downgrade(core), Arc::clone(&core.stall_after));
    std::thread::Builder::new().name(format!("{side}-watch")).spawn(move || {
        if watched::stalls(&volume, || *stall_after.lock()) {
            // Fenced first: calls that are refused from then on are not its failures.
            if let Some(core) = weak.upgrade() {
                core.depart(side, visit, STALLED, Ending::Stall);
            }
            volume.revoke();
        }
    })?;
    let patient = Patient::new(Arc::clone(&watched) as _);
    Ok((NewDrive { volume: Arc::new(patient), ..drive }, watched))
}

fn turn_away(core: &Core, lost: Lost, reason: &Turned) {
    let seat = core.seat(lost.side);
    match reason {
        Turned::Outdated(_) => seat.apply_to(lost.visit, DriveEvent::Fault, Some(reason.to_string())),
        Turned::Ahead { .. } => {
            tracing::error!(drive = %lost.side, %reason, "drive refused, and nothing served");
            core.condemn_journal(&reason.to_string());
            seat.apply_to(lost.visit, DriveEvent::Fault, Some(reason.to_string()));
        }
        Turned::Lane(_) | Turned::Label(_) | Turned::Threads(_) | Turned::Replaced | Turned::Closed | Turned::Left => {
            seat.leave(lost.visit, &reason.to_string(), reason.ending(), clock::now());
            // The watcher brings it again.
            let _ = core.lost.send(lost);
        }
    }
    core.tell_change();
}

fn run(core: &Arc<Core>, drive: &NewDrive, watched: &Arc<Watched>, alive: &Arc<Alive>) -> Result<(), Turned> {
    let side = drive.side;
    if let Some(why) = core.outdated.get() {
        return Err(Turned::Outdated(why.clone()));
    }
    let label = welcome(core, drive)?;
    let exposed = core.committer.detach(side).map_err(|_| Turned::Closed)?;
    let volume = drive.volume.as_ref();
    let arrived = reclaim(&core.journal, volume, side, exposed, clock::wall_ns())?;
    let keeper = open_manifest(core, drive, &label)?;
    // What this lets go of on this drive waits at the seat.
    let reporter = Reporter { side, drive: label.drive };
    core.committer.note(reporter, arrived.facts, Durable::Now)?;
    let namespace = volume.namespace();
    if *core.journal.namespaces()?.get(side) != namespace {
        core.committer.note(reporter, vec![DriveFact::Names { side, namespace }], Durable::Now)?;
    }
    let (paths, bytes) = core.journal.behind(side);
    core.committer.note(reporter, vec![DriveFact::Fills { side, paths, bytes }], Durable::Later)?;
    let log = DriveLog::begin(Arc::clone(&drive.volume), label.drive, label.arrivals, arrived.staged)
        .map_err(LaneError::from)?;
    let mut lane = Lane::new(side, label.arrivals, Arc::clone(&core.journal), Arc::clone(&drive.volume));
    lane.set_shaken(arrived.shaken);
    let attachment = attach(core, drive, &label, log, watched, alive)?;
    let replay_head = core.journal.head();
    let hints = Hints::start(side, &drive.path, &attachment.wake)?;
    let (volume, newest_aside, asked_for_room) = (Arc::clone(&drive.volume), Vec::new(), false);
    let work = Worker {
        core,
        attachment: &attachment,
        volume,
        lane,
        keeper,
        hints,
        label,
        newest_aside,
        asked_for_room,
        replay_head,
    };
    let arrival = attachment.arrival;
    work.run();
    core.committer.retire_soon(side, arrival);
    Ok(())
}

/// Checks the label against the journal, and writes the new arrival and epoch into it.
fn welcome(core: &Core, drive: &NewDrive) -> Result<Label, Turned> {
    let (epoch, head) = (core.journal.epoch(), core.journal.head());
    let label = &drive.label;
    let waived = core.journal.is_waived(drive.side)?;
    if waived {
        set_apart(drive.volume.as_ref()).map_err(LaneError::from)?;
    } else if label.epoch > epoch || label.committed > head {
        let side = drive.side;
        return Err(Turned::Ahead {
            side,
            label_epoch: label.epoch.0,
            label_lsn: label.committed,
            epoch: epoch.0,
            head,
            command: adopt_command(core, drive),
        });
    }
    let enrolment = core.journal.enrolment();
    let enrolled = PerSide::new(|side| enrolment.drives.get(side).id);
    if *enrolled.get(drive.side) != label.drive {
        return Err(Turned::Replaced);
    }
    let committed = if waived { Lsn(0) } else { label.committed };
    let label = Label { epoch, enrolled, committed, arrivals: label.arrivals.next(), ..label.clone() };
    let serial = label::write(drive.volume.as_ref(), &label)?;
    let reporter = Reporter { side: drive.side, drive: label.drive };
    core.labelled(reporter, serial)?;
    if waived {
        core.committer.note(reporter, vec![DriveFact::Returned { side: drive.side }], Durable::Now)?;
    }
    Ok(label)
}

/// The command that rebuilds the journal from this drive and the other one.
fn adopt_command(core: &Core, drive: &NewDrive) -> String {
    let enrolment = core.journal.enrolment();
    let other = drive.side.other();
    let enrolled = || enrolment.drives.get(other).place.clone();
    let other = core.seat(other).path().map_or_else(enrolled, |path| path.display().to_string());
    let plain = if enrolment.plain { " --plain-directory" } else { "" };
    format!("twinstickd adopt --drive {} --drive {other}{plain}", drive.path.display())
}

/// Opens the drive's manifest and brings it up to what is known before any debt is settled.
fn open_manifest(core: &Core, drive: &NewDrive, label: &Label) -> Result<Keeper, Turned> {
    let enrolment = core.journal.enrolment().as_ref().clone();
    let head = Head { drive: label.drive, enrolment, epoch: label.epoch };
    let volume = Arc::clone(&drive.volume);
    let mut keeper = Keeper::open(volume, drive.side, head, label.committed).map_err(LaneError::from)?;
    keeper.take_segments()?;
    keeper.take_debts(&core.journal, core.journal.head())?;
    Ok(keeper)
}

fn attach(
    core: &Arc<Core>,
    drive: &NewDrive,
    label: &Label,
    log: DriveLog,
    watched: &Arc<Watched>,
    alive: &Arc<Alive>,
) -> Result<Arc<Attachment>, Turned> {
    let side = drive.side;
    let (gone, watch) = watch::channel(false);
    let io = IoPool::start(side.name(), watch, alive)?;
    let weak = Arc::downgrade(core);
    let arrival = label.arrivals;
    let failed = move |error: crate::mirror::volume::VolumeError| {
        let Some(core) = weak.upgrade() else { return };
        if let Some(attachment) = core.seat(side).attachment().filter(|there| there.arrival == arrival) {
            tracing::warn!(drive = %side, %error, "drive log");
            core.seat(side).count_write_error();
            core.lose(&attachment, &error.to_string());
        }
    };
    let log = LogHandle::start(side.name(), log, alive, failed)?;
    let attachment = Arc::new(Attachment {
        side,
        visit: drive.visit,
        arrival,
        volume: Arc::clone(watched) as _,
        watched: Arc::clone(watched),
        io,
        log,
        wake: Arc::default(),
        errands: Errands::default(),
        gone,
    });
    let seat = core.seat(side);
    if let Ok(space) = drive.volume.space() {
        seat.set_space(space);
    }
    let reporter = Reporter { side, drive: label.drive };
    loop {
        // Clients did not wait: what they changed meanwhile may not be where it was looked for.
        let facts = look_again(&core.journal, drive.volume.as_ref(), side, clock::wall_ns())?;
        if !facts.is_empty() {
            core.committer.note(reporter, facts, Durable::Now)?;
        }
        match core.committer.attach(side, label.drive, arrival).map_err(|_| Turned::Closed)? {
            Attached::Yes => break,
            Attached::InDoubt => {}
            Attached::Replaced => return Err(Turned::Replaced),
        }
    }
    let Some(released) = seat.attach(&attachment, core.way_back(side)) else {
        attachment.end();
        return Err(Turned::Left);
    };
    for item in &released {
        let_go(&attachment, item);
    }
    // It may hold what the other waits for.
    for other in core.attachments() {
        other.wake.ring_for_retry();
    }
    if let Err(error) = scrub::start(core, &attachment, reporter) {
        tracing::warn!(drive = %side, %error, "no scrub while the drive stays: its thread does not start");
    }
    core.tell_change();
    Ok(attachment)
}

struct Worker<'a> {
    core: &'a Arc<Core>,
    attachment: &'a Arc<Attachment>,
    /// The drive, for work that waits.
    volume: Arc<dyn Volume>,
    lane: Lane,
    keeper: Keeper,
    hints: Hints,
    label: Label,
    /// Whether the trash was asked for room since the debts that stay were last tried.
    asked_for_room: bool,
    /// The newest things that lie aside, by their names, newest first.
    newest_aside: Vec<(String, AsideItem)>,
    /// What was committed up to here was missed while the drive was away.
    replay_head: Lsn,
}

impl Worker<'_> {
    fn run(mut self) {
        let mut scan = self.scan();
        self.tell_arrival(&scan);
        let mut checkpointed = clock::now();
        let mut unsettled = true;
        let mut closing: Option<Instant> = None;
        // From here on the log is told of commits; those before are in the debts.
        let begun = self.keeper.take_debts(&self.core.journal, self.replay_head).and_then(|()| self.take_stock());
        if let Err(error) = begun.and_then(|()| self.begin_search()) {
            return self.fail(&error);
        }
        while !self.attachment.is_gone() {
            if self.attachment.wake.is_closing() {
                closing.get_or_insert_with(clock::now);
            }
            let has_help_come = self.attachment.wake.take_retry();
            if has_help_come {
                self.forget_stays();
            }
            let help = if has_help_come { Help::Came } else { Help::None };
            if let Err(error) = self.retry_refused(help) {
                return self.fail(&error);
            }
            let step = match self.step() {
                Ok(step) => step,
                Err(error) => return self.fail(&error),
            };
            unsettled |= step.worked;
            self.tell(&mut scan, &step);
            let turn = match closing {
                Some(_) => Ok(Turn::Done),
                None => self.keeper.turn(&self.core.journal, || self.attachment.log.position()),
            };
            let more = match turn {
                Ok(turn) => turn == Turn::More,
                Err(error) => return self.fail(&error),
            };
            self.tell_of_manifest();
            let quiet = (step.seen == 0 || !step.worked) && !more;
            let now = clock::now();
            // Stages that are not needed any more are removed by the drive's other threads.
            let at_rest = quiet && self.attachment.io.depth() == 0;
            if closing.is_some_and(|since| at_rest || now.duration_since(since) > SETTLE_AT_MOST) {
                return self.close(unsettled);
            }
            let next = match (closing, quiet) {
                (Some(_), _) => Ok(Next::Asked),
                (None, true) => self.look(),
                (None, false) => self.look_at_pressing_hints().map(|()| Next::Now),
            };
            let next = match next {
                Ok(next) => next,
                Err(error) => return self.fail(&error),
            };
            let due = now.duration_since(checkpointed) > CHECKPOINT_EVERY;
            let wait = match (quiet, unsettled) {
                (false, _) => None,
                (true, true) => Some(CHECKPOINT_AFTER),
                (true, false) if self.lane.stays().is_empty() => Some(SLEEP_MAX),
                (true, false) => Some(RETRY_AFTER),
            };
            let wait = match next {
                Next::Now => None,
                Next::At(at) => wait.map(|wait| wait.min(at.saturating_duration_since(now))),
                Next::Asked => wait,
            };
            let wait = if closing.is_some() { wait.map(|wait| wait.min(SETTLE_LOOK)) } else { wait };
            let rung = wait.is_some_and(|wait| self.attachment.wake.wait(wait));
            let is_idle = wait.is_some() && !rung;
            if unsettled && (due || is_idle) {
                if let Err(error) = self.checkpoint() {
                    return self.fail(&error);
                }
                checkpointed = clock::now();
                unsettled = false;
            } else if is_idle {
                self.forget_stays();
            }
        }
    }

    fn forget_stays(&mut self) {
        self.lane.forget_stays();
        self.asked_for_room = false;
    }

    /// Has the trash make room for what does not fit, once for each try.
    fn ask_for_room(&mut self, stays: &[(NodeId, Stay)]) {
        if !std::mem::replace(&mut self.asked_for_room, true) {
            let stuck: Vec<_> = stays.iter().filter(|(_, stay)| *stay == Stay::NoRoom).map(|(id, _)| *id).collect();
            // Nobody knows while the journal is closed; it is asked again with the next try.
            let _ = trash::free_for_lane(self.core, self.attachment.side, &stuck);
        }
    }

    /// A step, on FAT only with the token; the lane is woken when the other drive gives it back.
    fn step(&mut self) -> Result<Done, LaneError> {
        let (side, arrival) = (self.attachment.side, self.attachment.arrival);
        if self.attachment.volume.kind() == FsKind::Atomic {
            return self.install();
        }
        if !self.core.token.take(side, arrival) {
            return Ok(Done { seen: 0, worked: false });
        }
        let done = self.install();
        self.core.give_back_token(self.attachment);
        done
    }

    fn install(&mut self) -> Result<Done, LaneError> {
        let other = self.core.seat(self.attachment.side.other()).attachment();
        let peer = |other| Arc::new(Patient::new(Arc::new(Peer::new(other)))) as Arc<dyn Volume>;
        let peer = other.as_ref().map(peer);
        let before = self.lane.work();
        // The drive itself says what is done to it, in case that the journal is lost.
        if self.attachment.log.flush().is_none() {
            return Ok(Done { seen: 0, worked: false });
        }
        let Step { facts, barrier, seen, repaired, peer_error, aside } = self.lane.step(peer, clock::wall_ns())?;
        if let (Some(error), Some(other)) = (&peer_error, &other) {
            self.core.complain(other, error);
        }
        let worked = !facts.is_empty();
        if worked {
            // What was copied from the other drive is not to be copied again after a crash.
            let copied = self.lane.work().copied_files > before.copied_files;
            let durable = if barrier || copied { Durable::Now } else { Durable::Later };
            // Before a debt is settled, what it was about is durable here.
            if self.attachment.log.flush().is_none() {
                return Ok(Done { seen: 0, worked });
            }
            self.core.committer.note(self.reporter(), facts, durable)?;
            self.add_jobs(aside.into_iter().map(Job::Aside));
            match self.attachment.log.settle() {
                None => return Ok(Done { seen: 0, worked }),
                Some(Settled::Done) => {}
                Some(Settled::WaitsForManifest) => self.list()?,
            }
        }
        self.core.repaired(self.attachment.side, &repaired);
        Ok(Done { seen, worked })
    }

    fn reporter(&self) -> Reporter {
        Reporter { side: self.attachment.side, drive: self.label.drive }
    }

    /// Puts what the log says of commits into the manifest, so that its segments may go.
    fn list(&mut self) -> Result<(), LaneError> {
        let Some(taken) = self.attachment.log.take() else { return Ok(()) };
        self.keeper.take(&taken)?;
        self.keeper.sync()?;
        self.attachment.log.listed();
        self.attachment.log.settle();
        Ok(())
    }

    /// A moment when all that was installed is synced and recorded.
    fn checkpoint(&mut self) -> Result<(), LaneError> {
        let Some(taken) = self.attachment.log.take() else { return Ok(()) };
        self.keeper.take(&taken)?;
        let side = self.attachment.side;
        self.volume.sync_all()?;
        let enrolment = self.core.journal.enrolment();
        self.label.enrolled = PerSide::new(|side| enrolment.drives.get(side).id);
        self.label.committed = self.keeper.covered();
        self.label.epoch = self.core.journal.epoch();
        let serial = match label::write(self.volume.as_ref(), &self.label) {
            Ok(serial) => serial,
            Err(LabelError::Volume(error)) => return Err(error.into()),
            Err(error) => {
                self.core.lose(self.attachment, &error.to_string());
                return Ok(());
            }
        };
        // The label's sync has flushed the drive's own cache too.
        self.attachment.log.listed();
        self.attachment.log.settle();
        self.core.labelled(self.reporter(), serial)?;
        self.core.committer.note(self.reporter(), vec![DriveFact::Checkpoint { side }], Durable::Later)?;
        Ok(())
    }

    /// The end with the daemon: what is installed is on record, so that the next start has nothing to find out.
    fn close(&mut self, unsettled: bool) {
        if unsettled && let Err(error) = self.checkpoint() {
            self.fail(&error);
        }
        if self.attachment.wake.is_ejecting() {
            self.core.eject(self.attachment);
        } else {
            self.core.close_drive(self.attachment);
        }
    }

    fn fail(&self, error: &LaneError) {
        match error {
            // It was let go of in the middle of a step.
            LaneError::Volume(_) if self.attachment.is_gone() => {}
            LaneError::Volume(error) => {
                self.core.seat(self.attachment.side).count_write_error();
                tracing::warn!(drive = %self.attachment.side, %error, "lane");
                self.core.lose(self.attachment, &error.to_string());
            }
            // The committer opens the journal again, and lets every drive come anew.
            LaneError::Store(error) => {
                tracing::warn!(drive = %self.attachment.side, %error, "lane stops until the journal is open again");
                while !self.attachment.is_gone() {
                    self.attachment.wake.wait(SLEEP_MAX);
                }
            }
        }
    }
}

struct Done {
    seen: usize,
    worked: bool,
}
