//! The thread of a drive that came: `arrive` verifies it, then its lane runs until it is lost.

mod arrive;
mod fresh;
mod hold;
mod look;
mod tell;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::ids::{Lsn, NodeId, PerSide};
use crate::journal::DriveFact;
use crate::mirror::attachment::Attachment;
use crate::mirror::committer::{Durable, Reporter};
use crate::mirror::core::Core;
use crate::mirror::label::{self, Label, LabelError};
use crate::mirror::lane::{Lane, LaneError, Neighbour, Stay, Step};
use crate::mirror::lane_thread::fresh::Fresh;
use crate::mirror::lane_thread::hold::{Hold, Stream};
use crate::mirror::lane_thread::look::Help;
use crate::mirror::log_thread::Settled;
use crate::mirror::manifest::{Keeper, Turn};
use crate::mirror::patient::Patient;
use crate::mirror::peer::Peer;
use crate::mirror::reconcile::hints::Hints;
use crate::mirror::reconcile::inbox::Job;
use crate::mirror::reconcile::survey::Next;
use crate::mirror::request::AsideItem;
use crate::mirror::state::DriveState;
use crate::mirror::trash;
use crate::mirror::volume::{FsKind, Volume};

pub(crate) use arrive::start;

/// Quiet time before a checkpoint.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(1);
/// With so much there is one as soon as nothing is left to do: to read it back, should the drive leave, takes longer.
const MUCH: Fresh = Fresh { files: 64, bytes: 8 << 20 };
/// Between two checkpoints under load.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// What may be installed between two checkpoints, beside one step's: all of it is read back when the drive leaves in
/// disorder and comes back, before anything is copied.
const UNSETTLED_MAX: Fresh = Fresh { files: 2048, bytes: 64 << 20 };
/// Before debts are tried again that could not be worked off.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Before a file is tried again whose only copy is damaged, though nothing has changed.
const RETRY_HOPELESS_AFTER: Duration = Duration::from_mins(10);
/// For what is still owed when the daemon stops, so that the next start has nothing to redo.
const SETTLE_AT_MOST: Duration = Duration::from_secs(5);
/// How often that is looked at, once the lane itself has nothing to do.
const SETTLE_LOOK: Duration = Duration::from_millis(10);
/// A lane without work sleeps until it is woken; this only bounds one sleep.
const SLEEP_MAX: Duration = Duration::from_hours(1);

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
    /// What was installed since the last checkpoint.
    fresh: Fresh,
    /// What the drive was last found to lack of that.
    lacking: NodeId,
    hold: Hold,
}

impl Worker<'_> {
    fn run(mut self) {
        let mut scan = self.scan();
        self.tell_arrival(&scan);
        let mut checkpointed = clock::now();
        let mut forgotten = checkpointed;
        let mut unsettled = true;
        let mut closing: Option<Instant> = None;
        // From here on the log is told of commits; those before are in the debts.
        let begun = self.keeper.take_debts(&self.core.journal, self.replay_head).and_then(|()| self.take_stock());
        if let Err(error) = begun.and_then(|()| self.begin_search()) {
            return self.fail(&error);
        }
        self.lane.set_told(self.replay_head);
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
            if closing.is_none()
                && let Some(until) = self.held_until()
            {
                if let Err(error) = self.look_until(until) {
                    return self.fail(&error);
                }
                continue;
            }
            let step = match self.step() {
                Ok(step) => step,
                Err(error) => return self.fail(&error),
            };
            unsettled |= step.worked;
            self.fresh = self.fresh.plus(step.fresh);
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
            let quiet = (step.seen == 0 || !step.worked) && !more && !step.has_settled;
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
            let due = now.duration_since(checkpointed) > CHECKPOINT_EVERY
                || self.fresh.is_beyond(if quiet { MUCH } else { UNSETTLED_MAX });
            let wait = match (quiet, unsettled) {
                (false, _) => None,
                (true, true) if due => None,
                (true, true) => Some(CHECKPOINT_AFTER),
                (true, false) if self.lane.stays().is_empty() && !self.lane.awaits_peer() => Some(SLEEP_MAX),
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
                (unsettled, self.fresh) = (false, Fresh::default());
            } else if is_idle {
                let retried = if now.duration_since(forgotten) > RETRY_HOPELESS_AFTER {
                    forgotten = now;
                    self.lane.forget_stays();
                    Ok(())
                } else {
                    self.lane.retry_stays()
                };
                if let Err(error) = retried {
                    return self.fail(&error.into());
                }
                self.asked_for_room = false;
            }
        }
    }

    /// A turn of the search, or a pause where there is nothing to look at.
    fn look_until(&mut self, until: Instant) -> Result<(), LaneError> {
        match self.look()? {
            Next::Now => {}
            Next::At(at) => self.attachment.wake.doze(until.min(at)),
            Next::Asked => self.attachment.wake.doze(until),
        }
        Ok(())
    }

    /// Until when small uploads go first; a drive that is behind has its debts first.
    fn held_until(&mut self) -> Option<Instant> {
        if self.attachment.wake.take_hurry() {
            self.hold.hurry();
        }
        let log = &self.attachment.log;
        let caught_up = self.core.seat(self.attachment.side).state() == DriveState::InSync;
        if !caught_up || !log.may_hold() {
            return None;
        }
        self.hold.until(clock::now(), Stream { last: self.attachment.wake.busy_at(), pace: log.pace() })
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
            return Ok(Done::default());
        }
        let done = self.install();
        self.core.give_back_token(self.attachment);
        done
    }

    fn install(&mut self) -> Result<Done, LaneError> {
        let other = self.core.seat(self.attachment.side.other()).attachment();
        let peer = other.as_ref().map(|other| Neighbour {
            volume: Arc::new(Patient::new(Arc::new(Peer::new(other)))),
            steps: Arc::clone(&other.steps),
        });
        let under_way = self.attachment.steps.begin();
        let Step { facts, barrier, seen, whole, repaired, peer_error, aside, has_settled } =
            self.lane.step(peer, clock::wall_ns())?;
        if seen == 0 {
            self.hold.rest();
        }
        if let (Some(error), Some(other)) = (&peer_error, &other) {
            self.core.complain(other, error);
        }
        let worked = !facts.is_empty();
        let fresh = Fresh::of(&whole);
        if worked {
            let durable = if barrier { Durable::Now } else { Durable::Later };
            // Before a debt is settled, what it was about is durable here.
            if self.attachment.log.flush().is_none() {
                return Ok(Done { seen: 0, worked, has_settled, fresh });
            }
            self.core.committer.note(self.reporter(), facts, durable)?;
            self.add_jobs(aside.into_iter().map(Job::Aside));
            match self.attachment.log.settle() {
                None => return Ok(Done { seen: 0, worked, has_settled, fresh }),
                Some(Settled::Done) => {}
                Some(Settled::WaitsForManifest) => self.list()?,
            }
        }
        drop(under_way);
        if self.attachment.steps.take_awaited()
            && let Some(other) = self.core.seat(self.attachment.side.other()).attachment()
        {
            other.wake.ring();
        }
        self.core.made_whole(self.attachment.side, &whole, &repaired);
        Ok(Done { seen, worked, has_settled, fresh })
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

/// What came of a step, for the loop around it.
#[derive(Default)]
struct Done {
    seen: usize,
    worked: bool,
    has_settled: bool,
    fresh: Fresh,
}

#[cfg(test)]
mod tests;
