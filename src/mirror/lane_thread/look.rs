//! The lane's thread, when nothing is owed: it looks for what somebody else changed on the drive.

use std::time::Duration;

use crate::clock;
use crate::ids::NodeId;
use crate::mirror::committer::Durable;
use crate::mirror::lane::{Finding, Look};
use crate::mirror::lane_thread::{LaneError, Worker};
use crate::mirror::reconcile::inbox::Job;
use crate::mirror::reconcile::intake;
use crate::mirror::reconcile::ledger::Deed;
use crate::mirror::reconcile::survey::{Depth, Next};

/// Before the search goes on, where more was found than is taken in.
const LATER: Duration = Duration::from_secs(1);

impl Worker<'_> {
    /// A drive came: nobody can know that nobody changed anything. What still lies aside is taken in first.
    pub(super) fn begin_search(&mut self) -> Result<(), LaneError> {
        let items = intake::items(self.attachment.volume.as_ref())?;
        self.add_jobs(items.into_iter().map(Job::Aside));
        self.lane.search(NodeId::ROOT, Depth::WithAllBelow);
        Ok(())
    }

    /// One turn of the search; when the next one is due.
    pub(super) fn look(&mut self) -> Result<Next, LaneError> {
        let errands = &self.attachment.errands;
        self.lane.count_taken_in(errands.take_taken_in());
        for folder in errands.take_folders() {
            self.lane.search(folder, Depth::Alone);
        }
        if self.core.inbox.is_full() {
            return Ok(Next::At(clock::now() + LATER));
        }
        let Look { facts, findings, newcomers, next, .. } = self.lane.look(clock::now(), clock::wall_ns())?;
        for finding in findings {
            self.say(finding);
        }
        self.add_jobs(newcomers.into_iter().map(Job::Newcomer));
        if facts.is_empty() {
            return Ok(next);
        }
        self.core.committer.note(self.reporter(), facts, Durable::Now)?;
        // There may be debts now.
        Ok(Next::Now)
    }

    pub(super) fn add_jobs(&self, jobs: impl Iterator<Item = Job>) {
        self.core.inbox.add(self.attachment.side, self.attachment.arrival, jobs);
    }

    fn say(&self, finding: Finding) {
        let side = self.attachment.side;
        let (path, deed) = match finding {
            Finding::Changed(path) => (path.to_string(), Deed::Changed),
            Finding::Missing(path) => (path.to_string(), Deed::Missing),
            Finding::BadName(path) => (path, Deed::Refused("the mirror can have no such name".to_owned())),
            Finding::NoFile(path) => (path.to_string(), Deed::Refused("it is neither a file nor a folder".to_owned())),
        };
        tracing::warn!(drive = %side, path, ?deed, "somebody else was here");
        self.core.ledger.add(clock::wall_ns(), side, &path, deed);
    }
}
