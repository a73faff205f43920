//! What it means that a block did not come from a copy.

use std::sync::Arc;

use crate::ids::Side;
use crate::journal::{Copy, Node, Resolved};
use crate::mirror::attachment::Attachment;
use crate::mirror::download::blocks::OpenCopy;
use crate::mirror::download::copies::{Candidate, Failure, Standing, sources};
use crate::mirror::download::{Download, TRIES_MAX};
use crate::mirror::fair::{Class, Flow};
use crate::mirror::places::Source;
use crate::mirror::volume::Disposition;

impl Download {
    /// A block did not come from a copy: the drive is gone, a lane is moving the file, or the copy is damaged.
    pub(super) async fn blame(&mut self, copy: OpenCopy, number: u64, failure: Failure) {
        let OpenCopy { attachment, source, standing, .. } = copy;
        if self.is_here(&attachment, &failure).await {
            let moving = self.is_moving(attachment.side, &source);
            self.judge(attachment.side, standing, moving, &failure, Some(number));
        }
    }

    /// The same of a copy that could not be opened.
    pub(super) async fn blame_unopened(&mut self, candidate: &Candidate, failure: &Failure) {
        let attachment = &candidate.attachment;
        if self.is_here(attachment, failure).await {
            let moving = candidate.sources.first().is_none_or(|source| self.is_moving(attachment.side, source));
            self.judge(attachment.side, candidate.standing, moving, failure, None);
        }
    }

    /// Whether a drive that failed is there all the same, so that it is about this file alone.
    async fn is_here(&self, attachment: &Arc<Attachment>, failure: &Failure) -> bool {
        match failure {
            Failure::Gone | Failure::Late => return false,
            Failure::Error(error) => self.core.complain(attachment, error),
            Failure::WrongBytes => {}
        }
        // What looks lost may be the whole drive: vfat tells ENOENT when the stick is gone.
        let volume = Arc::clone(&attachment.volume);
        if let Ok(Err(error)) = attachment.io.run(Flow::own(Class::Interactive).call(), move || volume.probe()).await
            && error.disposition == Disposition::DriveLost
        {
            self.core.lose(attachment, &error.to_string());
        }
        !attachment.is_gone()
    }

    /// Whether a lane may have put something else where this copy was looked for, or this copy elsewhere.
    fn is_moving(&self, side: Side, used: &Source) -> bool {
        let Ok(Resolved::Found(place, Node::File(file))) = self.core.journal.resolve(&self.path) else { return true };
        let owed = self.core.journal.snapshot().owes_way(side, file.id, &place);
        let now = sources(&self.core, side, &place, &file);
        // Nobody knows while the journal is closed.
        owed.unwrap_or(true) || now.map_or(true, |(_, sources)| sources.first() != Some(used))
    }

    fn judge(&mut self, side: Side, standing: Standing, moving: bool, failure: &Failure, block: Option<u64>) {
        self.tries += 1;
        // A copy in doubt is judged by its blocks; that its name is not there says only that a lane is at it.
        let whole_copy = standing == Standing::Recorded || block.is_none();
        if whole_copy && moving && self.tries < TRIES_MAX {
            self.suspects.push(side);
            return;
        }
        match block {
            Some(number) => drop(self.bad.insert((side, number))),
            None => self.lost.push(side),
        }
        match standing {
            Standing::Recorded => self.report_damage(side, failure),
            Standing::Doubtful => {}
        }
    }

    /// Has the lane mend the copy from the other drive.
    fn report_damage(&self, side: Side, failure: &Failure) {
        if let Failure::WrongBytes = failure {
            self.core.seat(side).count_checksum_error();
        }
        tracing::warn!(drive = %side, path = %self.path, "damaged copy: served from the other drive, to be mended");
        let Ok(Resolved::Found(place, Node::File(file))) = self.core.journal.resolve(&self.path) else { return };
        if file.version != self.file.version {
            return;
        }
        match file.copies.get(side) {
            // A stage is kept until the lane has made a whole file, of both copies where it must.
            Copy::Missing | Copy::Staged(_) => {}
            Copy::Installed { .. } => {
                let core = Arc::clone(&self.core);
                // The committer's answer is not for this task to wait for.
                tokio::task::spawn_blocking(move || core.report_damage(side, place, file));
            }
        }
    }
}
