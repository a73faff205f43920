//! How a drive that came is verified and taken up, or turned away.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock;
use crate::ids::{Lsn, NodeId, PerSide, Side};
use crate::journal::store::StoreError;
use crate::journal::{Attached, DriveFact};
use crate::mirror::attachment::{Attachment, NewDrive};
use crate::mirror::committer::{Durable, Reporter};
use crate::mirror::core::{Alive, Core, Lost, Parting};
use crate::mirror::drive_log::DriveLog;
use crate::mirror::flaps::Ending;
use crate::mirror::io::IoPool;
use crate::mirror::label::{self, Label, LabelError};
use crate::mirror::lane::{Known, Lane, LaneError, look_again, reclaim};
use crate::mirror::lane_thread::Worker;
use crate::mirror::lane_thread::fresh::Fresh;
use crate::mirror::lane_thread::hold::Hold;
use crate::mirror::log_thread::LogHandle;
use crate::mirror::manifest::{Head, Keeper};
use crate::mirror::os_volume::{MountPoint, Unmounted};
use crate::mirror::own_folders::OwnFolders;
use crate::mirror::patient::Patient;
use crate::mirror::reconcile::hints::Hints;
use crate::mirror::reconcile::inbox::Errands;
use crate::mirror::release::let_go;
use crate::mirror::scrub;
use crate::mirror::seat::{Ejection, Other, Welcome};
use crate::mirror::set_apart::set_apart;
use crate::mirror::state::DriveEvent;
use crate::mirror::watched::{self, Watched};

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
        let unmounted = mount.as_ref().map_or(Unmounted::Nothing, MountPoint::unmount);
        core.seat(side).ejected(visit, unmounted, mount.and_then(|mount| mount.entry()));
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
    let patient = Patient::new(Arc::new(OwnFolders::new(Arc::clone(&watched) as _)));
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
    let (label, known) = welcome(core, drive)?;
    let exposed = core.committer.detach(side).map_err(|_| Turned::Closed)?;
    let volume = drive.volume.as_ref();
    let mut arrived = reclaim(&core.journal, volume, side, (known, exposed), clock::wall_ns())?;
    match known {
        Known::Recorded => {}
        // Last: cut short before, all of it is found out again.
        Known::Maybe => arrived.facts.push(DriveFact::Returned { side }),
    }
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
    let attachment = attach(core, drive, &label, log, watched, alive)?;
    let telling = Box::new(Arc::clone(&attachment));
    let mut lane = Lane::new(side, label.arrivals, Arc::clone(&core.journal), Arc::clone(&drive.volume), telling);
    lane.set_shaken(arrived.shaken);
    let replay_head = core.journal.head();
    let fresh = Fresh { files: arrived.files, bytes: arrived.bytes };
    if fresh != Fresh::default() {
        let Fresh { files, bytes } = fresh;
        tracing::info!(drive = %side, files, bytes, "read back what was installed since the last checkpoint");
    }
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
        fresh,
        lacking: NodeId::ROOT,
        hold: Hold::default(),
    };
    let arrival = attachment.arrival;
    work.run();
    core.committer.retire_soon(side, arrival);
    Ok(())
}

/// Checks the label against the journal, and writes the new arrival and epoch into it.
fn welcome(core: &Core, drive: &NewDrive) -> Result<(Label, Known), Turned> {
    let (epoch, head) = (core.journal.epoch(), core.journal.head());
    let label = &drive.label;
    let (known, committed) = if core.journal.is_waived(drive.side)? {
        set_apart(drive.volume.as_ref()).map_err(LaneError::from)?;
        (Known::Maybe, Lsn(0))
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
    } else {
        (Known::Recorded, label.committed)
    };
    let enrolment = core.journal.enrolment();
    let enrolled = PerSide::new(|side| enrolment.drives.get(side).id);
    if *enrolled.get(drive.side) != label.drive {
        return Err(Turned::Replaced);
    }
    let label = Label { epoch, enrolled, committed, arrivals: label.arrivals.next(), ..label.clone() };
    let serial = label::write(drive.volume.as_ref(), &label)?;
    let reporter = Reporter { side: drive.side, drive: label.drive };
    core.labelled(reporter, serial)?;
    Ok((label, known))
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
        volume: Arc::new(OwnFolders::new(Arc::clone(watched) as _)),
        watched: Arc::clone(watched),
        io,
        log,
        wake: Arc::default(),
        errands: Errands::default(),
        steps: Arc::default(),
        ahead: Mutex::default(),
        leaving: watch::channel(0).0,
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
        let_go(&attachment, item, None);
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
