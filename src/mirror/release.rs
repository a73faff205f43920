//! Letting go of stages that nobody needs.

use std::sync::Arc;

use crate::ids::Lsn;
use crate::journal::{Released, Stage};
use crate::mirror::attachment::Attachment;
use crate::mirror::fair::{Class, Flow};
use crate::mirror::layout;
use crate::mirror::patient::TRY_AGAIN_AFTER;
use crate::mirror::volume::Disposition;

/// Tries to remove a stage that nobody needs.
const DROP_TRIES: u32 = 3;

/// Lets go of a stage on a drive that is there.
pub(crate) fn let_go(attachment: &Arc<Attachment>, released: &Released, told: Option<Lsn>) {
    match released.stage {
        Stage::Log { arrival, segment, .. } => attachment.log.release(arrival, segment, released.ticket),
        Stage::File => drop_stage_once_told(attachment, &layout::stage(released.ticket), told),
    }
}

/// Removes a stage that nobody needs, in the drive's own time.
pub(crate) fn drop_stage(attachment: &Arc<Attachment>, path: &str) {
    drop_stage_once_told(attachment, path, None);
}

fn drop_stage_once_told(attachment: &Arc<Attachment>, path: &str, told: Option<Lsn>) {
    drop_stage_trying(Leaving::begin(attachment), path, told, DROP_TRIES);
}

/// A stage that is being removed; counted until this is dropped.
struct Leaving(Arc<Attachment>);

impl Leaving {
    fn begin(attachment: &Arc<Attachment>) -> Self {
        attachment.leaving.send_modify(|count| *count += 1);
        Self(Arc::clone(attachment))
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leaving.send_modify(|count| *count -= 1);
    }
}

/// A drive that has left is swept when it comes back, and so is a stage that stays behind an error that does not pass.
fn drop_stage_trying(leaving: Leaving, path: &str, told: Option<Lsn>, tries: u32) {
    let attachment = Arc::clone(&leaving.0);
    let (volume, path) = (Arc::clone(&attachment.volume), path.to_owned());
    let _ = attachment.io.start_job(Flow::own(Class::Background).call(), move || {
        if told.is_some_and(|lsn| leaving.0.log.tell(lsn).is_none()) {
            return;
        }
        let Err(error) = volume.remove_file(&path) else { return };
        let left = match error.disposition {
            Disposition::NotFound => return,
            // Until it has passed: it says nothing of the stage.
            Disposition::Shortage => tries,
            Disposition::DriveLost
            | Disposition::NoSpace
            | Disposition::Refused
            | Disposition::InTheWay
            | Disposition::BadRead => tries - 1,
        };
        if left == 0 || leaving.0.is_gone() {
            tracing::warn!(%error, "a stage stays");
            return;
        }
        std::thread::sleep(TRY_AGAIN_AFTER);
        // Behind what others asked for meanwhile.
        drop_stage_trying(leaving, &path, None, left);
    });
}
