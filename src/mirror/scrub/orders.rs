//! Ordering scrubs: by hand, and by the schedule.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::elapsed::Elapsed;
use crate::ids::Side;
use crate::journal::store::StoreError;
use crate::journal::{DriveFact, ScrubCause, ScrubOrder};
use crate::mirror::committer::{Durable, Reporter};
use crate::mirror::core::Core;
use crate::mirror::mirror::Mirror;
use crate::mirror::refusal::Refusal;

/// A scrub that is due while the last one is not through is looked for again so often.
const LOOK_EVERY: Duration = Duration::from_hours(1);

/// What came of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubAnswer {
    Started,
    Resumed,
    Paused,
    /// It was so before.
    AlreadyRunning,
    AlreadyPaused,
    NothingToPause,
}

/// Where the last order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// None was ever given, or every drive that is there is through.
    Done,
    Running,
    Paused,
}

impl Core {
    /// Where the last order stands. A drive that is away holds up nobody: it goes on when it comes.
    fn scrub_standing(&self) -> Result<(Option<ScrubOrder>, Standing), StoreError> {
        let Some(order) = self.journal.scrub_order()? else { return Ok((None, Standing::Done)) };
        let through = |side: Side| {
            let progress = self.scrubs.get(side).progress();
            progress.number == order.number && progress.ended_ns.is_some()
        };
        let present = self.present();
        let nobody = Side::BOTH.into_iter().all(|side| !*present.get(side));
        let done = Side::BOTH.into_iter().all(|side| through(side) || !(*present.get(side) || nobody));
        let standing = match (done, order.paused) {
            (true, _) => Standing::Done,
            (false, true) => Standing::Paused,
            (false, false) => Standing::Running,
        };
        Ok((Some(order), standing))
    }

    fn order_scrub(&self, order: ScrubOrder) -> Result<(), StoreError> {
        // Both drives are meant; one of them has to stand for the fact.
        let side = Side::A;
        let reporter = Reporter { side, drive: self.journal.enrolment().drives.get(side).id };
        self.committer.note(reporter, vec![DriveFact::ScrubOrdered(order)], Durable::Now)?;
        for side in Side::BOTH {
            self.scrubs.get(side).ring();
        }
        Ok(())
    }

    fn start_scrub(&self, cause: ScrubCause) -> Result<ScrubAnswer, StoreError> {
        let _turn = self.scrub_orders.lock();
        let (order, standing) = self.scrub_standing()?;
        match (standing, order) {
            (Standing::Running, _) => Ok(ScrubAnswer::AlreadyRunning),
            (Standing::Paused, Some(order)) => {
                self.order_scrub(ScrubOrder { paused: false, ..order })?;
                Ok(ScrubAnswer::Resumed)
            }
            (Standing::Done | Standing::Paused, order) => {
                let number = order.map_or(0, |order| order.number) + 1;
                let (ordered_ns, ordered) = (clock::wall_ns(), self.running.at(clock::now()));
                self.order_scrub(ScrubOrder { number, cause, paused: false, ordered_ns, ordered })?;
                Ok(ScrubAnswer::Started)
            }
        }
    }

    fn pause_scrub(&self) -> Result<ScrubAnswer, StoreError> {
        let _turn = self.scrub_orders.lock();
        match self.scrub_standing()? {
            (Some(order), Standing::Running) => {
                self.order_scrub(ScrubOrder { paused: true, ..order })?;
                Ok(ScrubAnswer::Paused)
            }
            (_, Standing::Paused) => Ok(ScrubAnswer::AlreadyPaused),
            (Some(_) | None, Standing::Done) | (None, Standing::Running) => Ok(ScrubAnswer::NothingToPause),
        }
    }
}

impl Mirror {
    /// Begins a scrub of both drives, or resumes the one that is paused.
    pub async fn start_scrub(&self) -> Result<ScrubAnswer, Refusal> {
        self.order(|core| core.start_scrub(ScrubCause::Asked)).await
    }

    /// Holds a scrub where it is, until it is started again.
    pub async fn pause_scrub(&self) -> Result<ScrubAnswer, Refusal> {
        self.order(Core::pause_scrub).await
    }

    /// Begins a scrub if the last one was ordered so long ago, in running time; how long until that is to be asked
    /// again. One that is paused stays so: somebody wanted it.
    pub async fn scrub_when_due(&self, every: Duration) -> Result<Duration, Refusal> {
        let core = Arc::clone(&self.core);
        let look = move || {
            let (order, standing) = core.scrub_standing()?;
            let last = order.map(|order| order.ordered).unwrap_or_default();
            Ok(match due(core.running.at(clock::now()), last, every, standing) {
                Due::Now => {
                    core.start_scrub(ScrubCause::Scheduled)?;
                    every
                }
                Due::In(time) => time,
            })
        };
        blocking(look).await
    }

    async fn order(
        &self,
        give: impl FnOnce(&Core) -> Result<ScrubAnswer, StoreError> + Send + 'static,
    ) -> Result<ScrubAnswer, Refusal> {
        self.core.check_journal()?;
        let core = Arc::clone(&self.core);
        blocking(move || give(&core)).await
    }
}

/// When a scrub begins by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Now,
    In(Duration),
}

/// `last` is when the last scrub was ordered; for a new mirror its beginning.
fn due(now: Elapsed, last: Elapsed, every: Duration, standing: Standing) -> Due {
    let left = every.saturating_sub(now.since(last));
    match standing {
        Standing::Done if left.is_zero() => Due::Now,
        Standing::Done => Due::In(left),
        Standing::Running | Standing::Paused => Due::In(left.max(LOOK_EVERY)),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| Refusal::JournalUnavailable(error.to_string())),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONTH: Duration = Duration::from_hours(24 * 30);

    #[test]
    fn a_scrub_is_due_by_the_time_that_the_mirror_has_been_running() {
        let last = Elapsed(1000);
        let due_after = |time| due(last.after(time), last, MONTH, Standing::Done);
        assert_eq!(due_after(Duration::ZERO), Due::In(MONTH));
        assert_eq!(due_after(Duration::from_hours(24 * 29)), Due::In(Duration::from_hours(24)));
        assert_eq!(due_after(MONTH), Due::Now);
        // A crash took the record of the last hours: later, and not at once.
        assert_eq!(due(Elapsed(1), last, MONTH, Standing::Done), Due::In(MONTH));
    }

    #[test]
    fn a_scrub_that_is_paused_or_not_through_is_not_followed_by_another() {
        for standing in [Standing::Running, Standing::Paused] {
            assert_eq!(due(Elapsed(0).after(2 * MONTH), Elapsed(0), MONTH, standing), Due::In(LOOK_EVERY));
        }
    }
}
