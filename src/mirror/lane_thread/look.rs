//! The lane's thread, when it installs nothing: it looks for what somebody else changed on the drive.

use std::time::Duration;

use crate::clock;
use crate::ids::NodeId;
use crate::journal::{Node, Resolved};
use crate::mirror::attachment::Attachment;
use crate::mirror::committer::Durable;
use crate::mirror::extent;
use crate::mirror::lane::{Finding, Look};
use crate::mirror::lane_thread::{LaneError, Worker};
use crate::mirror::reconcile::hints::Told;
use crate::mirror::reconcile::inbox::{Job, Newcomer};
use crate::mirror::reconcile::intake;
use crate::mirror::reconcile::ledger::Deed;
use crate::mirror::reconcile::refusals::Again;
use crate::mirror::reconcile::shelf::describe;
use crate::mirror::reconcile::stock::Totals;
use crate::mirror::reconcile::survey::{Depth, Next, TURN_NAMES_MAX};
use crate::mirror::space;
use crate::mirror::status::AsideStatus;
use crate::units::one_line;

/// Whether something came that may help with what was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Help {
    Came,
    None,
}

/// Names that are looked at between two steps of other work: more than a step changes.
const NAMES_TAKEN_MAX: usize = 1024;
/// Things that lie aside, the newest, that a status names.
const ASIDE_NAMED_MAX: usize = 10;
/// Before the search goes on, where more was found than is taken in.
const LATER: Duration = Duration::from_secs(1);

impl Worker<'_> {
    /// A drive came: what lies aside on it is part of what may lie there.
    pub(super) fn take_stock(&mut self) -> Result<(), LaneError> {
        self.lane.take_stock(self.core.aside_max)?;
        self.tell_aside();
        Ok(())
    }

    /// Shows how much lies aside, and the newest of it.
    pub(super) fn tell_aside(&mut self) {
        self.lane.note_taken(&self.attachment.errands.take_taken());
        let (side, volume) = (self.attachment.side, &self.attachment.volume);
        let shown = std::mem::take(&mut self.newest_aside);
        for (name, worth) in self.lane.stock().newest(ASIDE_NAMED_MAX) {
            let known = shown.iter().find(|(known, item)| known == name && item.worth == worth);
            let item = match known {
                Some((_, item)) => Some(item.clone()),
                // What is wrong with it is for whoever needs it to find out.
                None => describe(side, volume.as_ref(), name, worth).ok().flatten(),
            };
            self.newest_aside.extend(item.map(|item| (name.to_owned(), item)));
        }
        let Totals { items, bytes, bytes_max } = self.lane.stock().totals();
        let newest = self.newest_aside.iter().map(|(_, item)| item.clone()).collect();
        self.core.seat(side).set_aside(AsideStatus { items, bytes, bytes_max, newest });
    }

    /// A drive came: nobody can know that nobody changed anything. What still lies aside is taken in first.
    pub(super) fn begin_search(&mut self) -> Result<(), LaneError> {
        let items = intake::items(self.volume.as_ref())?;
        self.add_jobs(items.into_iter().map(Job::Aside));
        self.lane.search(NodeId::ROOT, Depth::WithAllBelow);
        *self.attachment.ahead.lock() = self.lane.ahead();
        Ok(())
    }

    /// Tries again what was not taken in and may be now.
    pub(super) fn retry_refused(&mut self, help: Help) -> Result<(), LaneError> {
        let (core, errands, now) = (self.core, &self.attachment.errands, clock::now());
        let waits_for_room = errands.refusals().waits_for_room();
        if waits_for_room {
            // It may be more by now, by whomever.
            self.tell_space();
        }
        let again = match help {
            Help::Came => errands.refusals().take_all(now),
            Help::None => errands.refusals().take(now, |bytes| space::has_room(core, bytes)),
        };
        let Again { items, folders, search } = again;
        if search {
            return self.begin_search();
        }
        self.add_jobs(items.into_iter().map(Job::Aside));
        for path in folders {
            match core.journal.resolve(&path)? {
                Resolved::Root => self.lane.search(NodeId::ROOT, Depth::Alone),
                Resolved::Found(_, Node::Folder(folder)) => self.lane.search(folder.id, Depth::Alone),
                // What was in it has gone with it, or is found in the folder above.
                Resolved::Found(_, Node::File(_)) | Resolved::Missing { .. } | Resolved::BelowAFile { .. } => {}
            }
        }
        Ok(())
    }

    /// One turn of the search; when the next one is due.
    pub(super) fn look(&mut self) -> Result<Next, LaneError> {
        self.take_errands();
        if self.core.inbox.is_full() {
            return Ok(Next::At(clock::now() + LATER));
        }
        let told = self.take_hints().sooner(self.attachment.errands.refusals().next(clock::now()));
        let mut watch = |folder: &str| self.hints.watch(folder);
        let look = self.lane.look(clock::now(), clock::wall_ns(), &mut watch)?;
        let Look { facts, findings, newcomers, next, passed_over, .. } = look;
        if passed_over {
            self.attachment.errands.refusals().miss(clock::now());
        }
        for finding in findings {
            self.say(finding);
        }
        self.hand_on(newcomers);
        if self.core.search_status(self.attachment.side).is_none() {
            self.lane.forget_sighted();
        }
        if facts.is_empty() {
            return Ok(next.sooner(told));
        }
        self.core.committer.note(self.reporter(), facts, Durable::Now)?;
        // There may be debts now.
        Ok(Next::Now)
    }

    fn take_errands(&mut self) {
        let Attachment { errands, ahead, .. } = self.attachment.as_ref();
        let mut ahead = ahead.lock();
        for folder in errands.take_folders() {
            self.lane.search(folder, Depth::Alone);
        }
        if errands.take_everywhere() {
            self.lane.search(NodeId::ROOT, Depth::WithAllBelow);
        }
        *ahead = self.lane.ahead();
    }

    fn hand_on(&self, newcomers: Vec<Newcomer>) {
        let mut ahead = self.attachment.ahead.lock();
        self.add_jobs(newcomers.into_iter().map(Job::Newcomer));
        *ahead = self.lane.ahead();
    }

    /// Among much work of the lane's own, looks at some of what the kernel told of it: it would become too much.
    pub(super) fn look_at_pressing_hints(&mut self) -> Result<(), LaneError> {
        if !self.hints.are_pressing() {
            return Ok(());
        }
        match self.hints.take(clock::now(), NAMES_TAKEN_MAX) {
            Told::Nothing | Told::Later(_) => {}
            Told::Everything => self.lane.search(NodeId::ROOT, Depth::WithAllBelow),
            Told::Names(names) => {
                let mut watch = |folder: &str| self.hints.watch(folder);
                let Look { findings, passed_over, .. } = self.lane.look_at_names(&names, clock::now(), &mut watch)?;
                if passed_over {
                    self.attachment.errands.refusals().miss(clock::now());
                }
                for finding in findings {
                    self.say(finding);
                }
            }
        }
        *self.attachment.ahead.lock() = self.lane.ahead();
        Ok(())
    }

    /// Hands to the lane what the kernel told; when there is more.
    fn take_hints(&mut self) -> Next {
        match self.hints.take(clock::now(), TURN_NAMES_MAX) {
            Told::Nothing => Next::Asked,
            Told::Later(at) => Next::At(at),
            Told::Names(names) => {
                self.lane.look_at_hints(names);
                Next::Now
            }
            Told::Everything => {
                self.lane.search(NodeId::ROOT, Depth::WithAllBelow);
                Next::Now
            }
        }
    }

    pub(super) fn add_jobs(&self, jobs: impl Iterator<Item = Job>) {
        self.core.inbox.add(self.attachment.side, self.attachment.arrival, jobs);
    }

    fn say(&self, finding: Finding) {
        let side = self.attachment.side;
        let (path, deed) = match finding {
            Finding::Changed(path, backing) => (path.to_string(), Deed::Changed(backing)),
            Finding::Missing(path, backing) => (path.to_string(), Deed::Missing(backing)),
            Finding::BadName(path) => (one_line(&path), Deed::Refused("the mirror can have no such name".to_owned())),
            Finding::NoFile(path) => (path.to_string(), Deed::Refused("it is neither a file nor a folder".to_owned())),
            Finding::Beyond(folder) => {
                let (path, why) = extent::beyond(&folder.to_string());
                (path, Deed::Refused(why))
            }
        };
        tracing::warn!(drive = %side, path, ?deed, "somebody else was here");
        self.core.ledger.add(clock::wall_ns(), side, &path, deed);
    }
}
