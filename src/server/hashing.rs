//! Where passwords are hashed: few at a time, since each takes long and 19 MiB, and never where sessions run.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::accounts::NoMemory;
use crate::wire::{ErrorName, Fault};

/// At one time, of all clients together.
const AT_ONCE: usize = 2;
/// Those and the ones that wait for their turn; `busy` beyond.
const PLACES: usize = 32;

pub(crate) struct Hashing {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Default for Hashing {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(PLACES)), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Hashing {
    /// Runs `work` in its turn. Work that has begun keeps its place to its end, whether anybody waits for it or not.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, NoMemory> + Send + 'static,
    ) -> Result<T, Fault> {
        let busy = |why: String| Fault::new(ErrorName::Busy, why);
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| busy("too many passwords are being checked: try again".to_owned()))?;
        // Neither semaphore is ever closed.
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|error| busy(error.to_string()))?;
        let worked = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((place, turn));
            done
        });
        match worked.await {
            Ok(done) => done.map_err(|error| busy(error.to_string())),
            Err(error) => Err(busy(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn no_more_are_at_it_than_may_be_and_no_more_wait_than_have_places() {
        let hashing = Arc::new(Hashing::default());
        let (began, beginnings) = mpsc::channel();
        let mut ends = Vec::new();
        let mut waiting = Vec::new();
        for _ in 0..PLACES {
            let (end, ended) = mpsc::channel::<()>();
            let (hashing, began) = (Arc::clone(&hashing), began.clone());
            waiting.push(tokio::spawn(async move {
                hashing
                    .run(move || {
                        began.send(()).unwrap();
                        ended.recv().unwrap();
                        Ok(())
                    })
                    .await
            }));
            ends.push(end);
        }
        while hashing.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hashing.run(|| Ok(())).await.unwrap_err().error, ErrorName::Busy);
        for _ in 0..AT_ONCE {
            beginnings.recv().unwrap();
        }
        // Whoever does not wait any more has left no work that others would meet.
        waiting[PLACES - 1].abort();
        while hashing.places.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(beginnings.try_recv().is_err(), "the third waits for one of the two");
        for end in &ends {
            end.send(()).unwrap_or_default();
        }
        for work in waiting.drain(..PLACES - 1) {
            work.await.unwrap().unwrap();
        }
        hashing.run(|| Ok(())).await.unwrap();
    }
}
