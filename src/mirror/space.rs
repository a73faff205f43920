//! Room for what is on its way, on both drives: a mirror that only one of them can hold is no mirror.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ids::Side;
use crate::mirror::core::Core;
use crate::mirror::request::Refusal;

/// Bytes that stay free on a drive, for names, logs and the file system itself.
const MARGIN_BYTES: u64 = 1 << 20;

/// Room that an upload has; given back when this is dropped.
pub(crate) struct Reservation {
    reserved: Arc<AtomicU64>,
    bytes: u64,
}

/// Takes room for `bytes` on both drives. An absent drive has what it last had, less what it owes.
pub(crate) async fn reserve(core: &Core, bytes: u64) -> Result<Reservation, Refusal> {
    let mut reservation = Reservation { reserved: Arc::clone(&core.reserved), bytes: 0 };
    reservation.renew(core, bytes).await?;
    Ok(reservation)
}

impl Reservation {
    /// Takes room for `bytes` in place of what it had, which is written by now. Refused it has none.
    pub(crate) async fn renew(&mut self, core: &Core, bytes: u64) -> Result<(), Refusal> {
        self.release();
        let before = self.reserved.fetch_add(bytes, Ordering::AcqRel);
        self.bytes = bytes;
        if bytes == 0 {
            return Ok(());
        }
        let refused = match lack(core, bytes, before) {
            // Others free room on a stick, too: only fresh figures refuse.
            Some(_) => {
                refresh(core).await;
                lack(core, bytes, before)
            }
            None => None,
        };
        match refused {
            Some(refusal) => {
                self.release();
                Err(refusal)
            }
            None => Ok(()),
        }
    }

    fn release(&mut self) {
        self.reserved.fetch_sub(std::mem::take(&mut self.bytes), Ordering::AcqRel);
    }
}

/// Why `bytes` beside `before` others have no room.
fn lack(core: &Core, bytes: u64, before: u64) -> Option<Refusal> {
    Side::BOTH.into_iter().find_map(|side| {
        let space = core.seat(side).space()?;
        let owed = core.journal.behind(side).1;
        let free = space.free.saturating_sub(owed).saturating_sub(before).saturating_sub(MARGIN_BYTES);
        (free < bytes).then_some(Refusal::NoSpace { drive: side, free, needed: bytes })
    })
}

/// Asks the drives themselves; one that does not say keeps what it last had.
pub(crate) async fn refresh(core: &Core) {
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
