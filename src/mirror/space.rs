//! Room for what is on its way, on both drives: a mirror that only one of them can hold is no mirror.
//!
//! What is in the trash counts as obtainable: it is let go of, the oldest first, before anything is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::ids::{PerSide, Side};
use crate::mirror::attachment::Attachment;
use crate::mirror::core::Core;
use crate::mirror::fair::{Class, Flow};
use crate::mirror::refusal::Refusal;
use crate::mirror::state::DriveState;
use crate::mirror::steps::Moment;
use crate::mirror::trash;

/// Bytes that stay free on a drive, for names, logs and the file system itself.
const MARGIN_BYTES: u64 = 1 << 20;
/// How long an upload waits for room that is being made, those before it included.
const ROOM_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at a drive whose lane is in the midst of a step, of whose end nobody need be told.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What all uploads together have taken of the drives' room.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Bytes that they have announced and not yet written.
    reserved: AtomicU64,
    /// Bytes that they wrote since the drives were last asked for their room, at most.
    written: AtomicU64,
    /// Held by the one who makes room: two at once would let go of the same things, and the slower one find them gone.
    making: tokio::sync::Mutex<()>,
}

/// Room that an upload has; given back when this is dropped.
pub(crate) struct Reservation {
    room: Arc<Room>,
    bytes: u64,
}

/// Takes room for `bytes` on both drives. An absent drive has what it last had, less what it owes.
pub(crate) async fn reserve(core: &Core, bytes: u64) -> Result<Reservation, Refusal> {
    let mut reservation = Reservation { room: Arc::clone(&core.room), bytes: 0 };
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
        self.spend(self.bytes);
        let before = self.room.reserved.fetch_add(bytes, Ordering::AcqRel);
        self.bytes = bytes;
        let written = self.room.written.load(Ordering::Acquire);
        if bytes == 0 || lack(core, bytes, before.saturating_add(written)).is_none() {
            return Ok(());
        }
        let made = self.make_room(core, before).await;
        if made.is_err() {
            self.spend(self.bytes);
        }
        made
    }

    /// So much of it is written, or not needed any more.
    pub(crate) fn spend(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        // Before the room is given back: the figures of the drives may not know of it.
        self.room.written.fetch_add(bytes, Ordering::AcqRel);
        self.room.reserved.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Others free room on a stick, too: only fresh figures refuse, and only when the trash has not enough.
    async fn make_room(&self, core: &Core, before: u64) -> Result<(), Refusal> {
        let deadline = Instant::now() + ROOM_WITHIN;
        let _making = timeout_at(deadline, self.room.making.lock()).await;
        let mut changed = core.changed.subscribe();
        loop {
            // Before the look: what changes behind it is told.
            let mut news = PerSide::new(|side| Some(News::new(core.seat(side).attachment()?)));
            refresh(core).await;
            // Of those who came before it some have written all, or given up.
            let others = self.room.reserved.load(Ordering::Acquire).saturating_sub(self.bytes);
            let Some(lack) = lack(core, self.bytes, before.min(others)) else { return Ok(()) };
            let news = news.get_mut(lack.drive).as_mut();
            let coming = news.as_ref().map(|news| news.coming(core, lack.drive)).unwrap_or_default();
            let enough = coming.stages > 0 || coming.is_moving || lack.short <= coming.bytes;
            if !enough && trash::free(core, lack.short - coming.bytes).await? {
                continue;
            }
            let until = if coming.is_moving { deadline.min(Instant::now() + LOOK_AGAIN) } else { deadline };
            let told = async {
                match news {
                    Some(news) => tokio::select! { _ = changed.changed() => {} () = news.told() => {} },
                    None => drop(changed.changed().await),
                }
            };
            if coming.is_some() && Instant::now() < deadline {
                core.hurry_lanes();
                // What it was is seen by the next look.
                let _ = timeout_at(until, told).await;
            } else {
                return Err(Refusal::NoSpace { drive: lack.drive, free: lack.free, needed: lack.needed });
            }
        }
    }
}

/// What a drive is about to free.
#[derive(Default)]
struct Coming {
    /// Bytes that were removed, and are still there.
    bytes: u64,
    /// Stages that nobody needs, of any size.
    stages: u64,
    /// A stage that waits for its name counts twice until it has it.
    settles: bool,
    /// Names are changed that are not on record yet: what the journal says of them is of the past.
    is_moving: bool,
}

impl Coming {
    fn is_some(&self) -> bool {
        self.bytes > 0 || self.stages > 0 || self.settles || self.is_moving
    }
}

/// What happens on a drive since a moment.
struct News {
    attachment: Arc<Attachment>,
    leaving: watch::Receiver<u64>,
    begun: Moment,
}

impl News {
    fn new(attachment: Arc<Attachment>) -> Self {
        Self { leaving: attachment.leaving.subscribe(), begun: attachment.steps.now(), attachment }
    }

    fn coming(&self, core: &Core, side: Side) -> Coming {
        // A full drive's debts wait for room themselves.
        let settles = core.seat(side).state() != DriveState::Full && core.journal.behind(side).1 > 0;
        let (bytes, stages) = (trash::to_be_freed(core, side), *self.leaving.borrow());
        Coming { bytes, stages, settles, is_moving: !self.attachment.steps.were_at_rest_since(self.begun) }
    }

    /// Returns when a stage has gone.
    async fn told(&mut self) {
        if self.leaving.changed().await.is_err() {
            // The drive has left: that is told otherwise.
            std::future::pending::<()>().await;
        }
    }
}

/// Whether both drives have room for so much, as far as they have told; what is in the trash counts.
pub(crate) fn has_room(core: &Core, bytes: u64) -> bool {
    let obtainable = core.journal.trash_size().1;
    let before = core.room.reserved.load(Ordering::Acquire);
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
    core.room.written.store(0, Ordering::Release);
    for attachment in core.attachments() {
        let volume = Arc::clone(&attachment.volume);
        if let Ok(Ok(space)) = attachment.io.run(Flow::own(Class::Interactive).call(), move || volume.space()).await {
            core.seat(attachment.side).set_space(space);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.spend(self.bytes);
    }
}
