//! What the committer's news means for the drives.

use std::sync::{Arc, OnceLock, Weak};

use crate::clock;
use crate::ids::Lsn;
use crate::journal::{Change, Released};
use crate::mirror::committer::{Audience, Names};
use crate::mirror::core::Core;
use crate::mirror::flaps::Ending;
use crate::mirror::history::Moment;
use crate::mirror::release::let_go;

/// What the committer tells, handed on. Weak: the committer must not keep the mirror alive.
#[derive(Default)]
pub(crate) struct Listener(OnceLock<Weak<Core>>);

impl Listener {
    /// Begins to hand on; nothing is committed before.
    pub(crate) fn listen(&self, core: &Arc<Core>) {
        self.0.get_or_init(|| Arc::downgrade(core));
    }

    fn core(&self) -> Option<Arc<Core>> {
        self.0.get().and_then(Weak::upgrade)
    }

    /// `told`: what the drive has to tell of first, in case that the journal is lost: why it is not needed any more.
    fn release(core: &Core, released: &[Released], told: Option<Lsn>) {
        for item in released {
            if let Some(attachment) = core.seat(item.side).releaser(item) {
                let_go(&attachment, item, told);
            }
        }
    }
}

impl Audience for Listener {
    fn committed(&self, changes: &[Change], released: &[Released], names: Names) {
        let Some(core) = self.core() else { return };
        let head = core.journal.head();
        Self::release(&core, released, Some(head));
        for attachment in core.attachments() {
            attachment.log.later(changes, head);
            match names {
                _ if changes.is_empty() => {}
                Names::CanWait => attachment.wake.ring_softly(clock::now()),
                Names::Now => attachment.wake.hurry(),
            }
        }
        core.tell_change();
    }

    fn noted(&self, released: &[Released]) {
        let Some(core) = self.core() else { return };
        Self::release(&core, released, None);
        core.tell_change();
    }

    fn closed(&self) {
        let Some(core) = self.core() else { return };
        core.history.journal_closed(Moment::now());
    }

    fn reopened(&self) {
        let Some(core) = self.core() else { return };
        core.history.journal_opened(Moment::now());
        for attachment in core.attachments() {
            core.see_off(&attachment, "the journal was opened anew: the drive is verified again", Ending::Orderly);
        }
        core.tell_change();
    }
}
