//! Room for what is on its way, on both drives: a mirror that only one of them can hold is no mirror.
//!
//! What is in the trash counts as obtainable: it is let go of, the oldest first, before anything is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ids::Side;
use crate::mirror::core::Core;
use crate::mirror::request::Refusal;
use crate::mirror::trash;

/// Bytes that stay free on a drive, for names, logs and the file system itself.
const MARGIN_BYTES: u64 = 1 << 20;
/// Times that the trash is asked for room for one upload: others take what was made.
const FREE_ROUNDS_MAX: usize = 4;

/// Room that an upload has; given back when this is dropped.
pub(crate) struct Reservation {
    reserved: Arc<AtomicU64>,
    written: Arc<AtomicU64>,
    bytes: u64,
}

/// Takes room for `bytes` on both drives. An absent drive has what it last had, less what it owes.
pub(crate) async fn reserve(core: &Core, bytes: u64) -> Result<Reservation, Refusal> {
    let mut reservation =
        Reservation { reserved: Arc::clone(&core.reserved), written: Arc::clone(&core.written), bytes: 0 };
    reservation.renew(core, bytes).await?;
    Ok(reservation)
}

/// A drive that is too full, and by how much.
struct Lack {
    drive: Side,
    free: u64,
    needed: u64,
    /// What is to be freed for it, what others have reserved included.
    short: u64,
}

impl Reservation {
    /// Takes room for `bytes` in place of what it had, which is written by now. Refused it has none.
    pub(crate) async fn renew(&mut self, core: &Core, bytes: u64) -> Result<(), Refusal> {
        self.release();
        let before = self.reserved.fetch_add(bytes, Ordering::AcqRel);
        self.bytes = bytes;
        let written = self.written.load(Ordering::Acquire);
        if bytes == 0 || lack(core, bytes, before.saturating_add(written)).is_none() {
            return Ok(());
        }
        let made = make_room(core, bytes, before).await;
        if made.is_err() {
            self.release();
        }
        made
    }

    fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // Before the room is given back: the figures of the drives may not know of it.
        self.written.fetch_add(bytes, Ordering::AcqRel);
        self.reserved.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// Others free room on a stick, too: only fresh figures refuse, and only when the trash has not enough.
async fn make_room(core: &Core, bytes: u64, before: u64) -> Result<(), Refusal> {
    for _ in 0..FREE_ROUNDS_MAX {
        refresh(core).await;
        if lack(core, bytes, before).is_none() {
            return Ok(());
        }
        // What was removed just now is room, too.
        trash::unlinked(core).await;
        refresh(core).await;
        let Some(Lack { short, .. }) = lack(core, bytes, before) else { return Ok(()) };
        if !trash::free(core, short).await? {
            break;
        }
    }
    refresh(core).await;
    match lack(core, bytes, before) {
        Some(Lack { drive, free, needed, .. }) => Err(Refusal::NoSpace { drive, free, needed }),
        None => Ok(()),
    }
}

/// Whether both drives have room for so much, as far as they have told; what is in the trash counts.
pub(crate) fn has_room(core: &Core, bytes: u64) -> bool {
    let obtainable = core.journal.trash_size().1;
    let before = core.reserved.load(Ordering::Acquire);
    lack(core, bytes, before).is_none_or(|lack| lack.short <= obtainable)
}

/// Which drive has no room for `bytes` beside `before` others.
fn lack(core: &Core, bytes: u64, before: u64) -> Option<Lack> {
    Side::BOTH.into_iter().find_map(|side| {
        let space = core.seat(side).space()?;
        let owed = core.journal.behind(side).1;
        let taken = owed.saturating_add(before).saturating_add(MARGIN_BYTES);
        let wanted = taken.saturating_add(bytes);
        let mut free = space.free;
        if free < wanted && core.seat(side).attachment().is_none() {
            free = free.saturating_add(trash::to_be_freed(core, side));
        }
        let short = wanted.saturating_sub(free);
        (short > 0).then_some(Lack { drive: side, free: free.saturating_sub(taken), needed: bytes, short })
    })
}

/// Asks the drives themselves; one that does not say keeps what it last had.
pub(crate) async fn refresh(core: &Core) {
    core.written.store(0, Ordering::Release);
    for attachment in core.attachments() {
        let volume = Arc::clone(&attachment.volume);
        if let Ok(Ok(space)) = attachment.io.run(move || volume.space()).await {
            core.seat(attachment.side).set_space(space);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}
