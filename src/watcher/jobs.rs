//! The looks under way on blocking threads: at most one of a kind, and one more after it when asked meanwhile.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tokio::task::JoinSet;

use crate::ids::Side;
use crate::mirror::os_volume::MountId;
use crate::watcher::look::Looked;
use crate::watcher::sighting::{Departure, Visit};

/// Most jobs at once. A hung drive holds one for each mount that was made at its place since.
const JOBS_MAX: usize = 64;

/// What a job is about. A place that another mount covers now is another one: what hangs below does not hold it up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Job {
    Look { place: PathBuf, mount: Option<MountId> },
    Probe { side: Side, visit: Visit },
    Expand,
}

#[derive(Debug)]
pub(super) enum Done {
    Looked {
        looked: Looked,
        /// The watcher's, when the look was asked for.
        renewals: u64,
    },
    Probed(Result<(), Departure>),
    Expanded(Vec<PathBuf>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    Yes,
    No,
}

#[derive(Default)]
pub(super) struct Jobs {
    running: JoinSet<(Job, Done)>,
    /// Invariant: has every running job.
    asked: BTreeMap<Job, Again>,
}

impl Jobs {
    /// Starts a job, or notes that it is wanted once more after the one that is running.
    pub(super) fn start(&mut self, job: Job, work: impl FnOnce() -> Done + Send + 'static) {
        if let Some(again) = self.asked.get_mut(&job) {
            *again = Again::Yes;
        } else if self.asked.len() < JOBS_MAX {
            self.asked.insert(job.clone(), Again::No);
            self.running.spawn_blocking(move || (job, work()));
        }
    }

    /// The next job that ends, and whether it was asked for again since it began. Waits for ever if none runs.
    pub(super) async fn next(&mut self) -> (Job, Done, Again) {
        loop {
            match self.running.join_next().await {
                Some(Ok((job, done))) => {
                    let again = self.asked.remove(&job).unwrap_or(Again::No);
                    return (job, done, again);
                }
                Some(Err(error)) => tracing::error!(%error, "a look at a drive broke off"),
                None => std::future::pending().await,
            }
        }
    }

    pub(super) fn is_running(&self, job: &Job) -> bool {
        self.asked.contains_key(job)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    fn look(place: &str) -> Job {
        Job::Look { place: place.into(), mount: None }
    }

    #[tokio::test]
    async fn a_job_that_hangs_holds_up_no_other_and_is_not_started_twice() {
        let mut jobs = Jobs::default();
        let (free, hung) = std::sync::mpsc::channel::<()>();
        let empty = || Done::Expanded(Vec::new());
        jobs.start(look("/hung"), move || {
            hung.recv().unwrap();
            empty()
        });
        jobs.start(look("/hung"), || unreachable!("one at a time"));
        jobs.start(look("/other"), empty);

        let (job, _, again) = jobs.next().await;
        assert_eq!((job, again), (look("/other"), Again::No));
        assert!(jobs.is_running(&look("/hung")));
        free.send(()).unwrap();
        let (job, _, again) = jobs.next().await;
        assert_eq!((job, again), (look("/hung"), Again::Yes));
        assert!(!jobs.is_running(&look("/hung")));
    }
}
