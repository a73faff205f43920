//! A drive's own threads for reading and staging, so that a drive that hangs holds up nobody else.
//!
//! What waits for them is served in turn (`mirror/fair`), and some of the threads are never a large transfer's: however much of
//! that there is, a small read finds one that is free, and the drive's own queue stays short enough for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{oneshot, watch};

use crate::mirror::fair::{Class, FairQueue, Share};

/// Threads of one drive's pool.
const THREADS: usize = 6;

/// How many threads a class may have at one time, with those below it.
fn threads_max(class: Class) -> usize {
    match class {
        Class::Interactive => THREADS,
        Class::Bulk => 4,
        Class::Background => 2,
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// The drive has left while an operation on it was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the drive has left")]
pub(crate) struct Gone;

#[derive(Default)]
struct Queue {
    jobs: FairQueue<Job>,
    /// Threads at work, by class.
    busy: [usize; Class::ALL.len()],
    closed: bool,
}

impl Queue {
    fn next(&mut self) -> Option<(Class, Job)> {
        let busy = self.busy;
        let is_free = |class: Class| {
            let with_those_below = busy.iter().skip(class as usize).sum::<usize>();
            with_those_below < threads_max(class)
        };
        let (flow, job) = self.jobs.pop_if(|class, _| is_free(class))?;
        self.count(flow.class, |busy| busy + 1);
        Some((flow.class, job))
    }

    fn count(&mut self, class: Class, change: impl FnOnce(usize) -> usize) {
        if let Some(busy) = self.busy.get_mut(class as usize) {
            *busy = change(*busy);
        }
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    /// Jobs queued or running.
    depth: AtomicUsize,
    /// Jobs ever queued.
    started: AtomicU64,
}

/// Runs operations on a drive, off the async workers. Its threads end when it is closed and empty.
pub(crate) struct IoPool {
    shared: Arc<Shared>,
    gone: watch::Receiver<bool>,
}

impl IoPool {
    /// `alive` is held until the last thread has ended.
    pub(crate) fn start(
        name: &str,
        gone: watch::Receiver<bool>,
        alive: &Arc<impl Send + Sync + 'static>,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        for number in 0..THREADS {
            let (shared, alive) = (Arc::clone(&shared), Arc::clone(alive));
            std::thread::Builder::new().name(format!("{name}-io{number}")).spawn(move || {
                run(&shared);
                drop(alive);
            })?;
        }
        Ok(Self { shared, gone })
    }

    /// Runs a job on one of the threads. Does not wait for it any longer once the drive has left.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        share: Share,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Gone> {
        let answer = self.start_job(share, job)?;
        self.wait(answer).await
    }

    /// As [`IoPool::run`], for a thread that may wait.
    pub(crate) fn run_and_wait<T: Send + 'static>(
        &self,
        share: Share,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Gone> {
        wait_for(self.run(share, job))
    }

    /// Queues a job; its answer is for [`IoPool::wait`].
    pub(crate) fn start_job<T: Send + 'static>(
        &self,
        share: Share,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, Gone> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Nobody may wait for it any more.
            let _ = reply.send(job());
        });
        {
            let mut queue = self.shared.queue.lock();
            if queue.closed {
                return Err(Gone);
            }
            queue.jobs.push(share, job);
        }
        self.shared.depth.fetch_add(1, Ordering::Relaxed);
        self.shared.started.fetch_add(1, Ordering::Relaxed);
        self.shared.ready.notify_one();
        Ok(answer)
    }

    pub(crate) async fn wait<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, Gone> {
        let mut gone = self.gone.clone();
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| Gone),
            _ = gone.wait_for(|gone| *gone) => Err(Gone),
        }
    }

    /// Jobs queued or running: how busy the drive is.
    pub(crate) fn depth(&self) -> usize {
        self.shared.depth.load(Ordering::Relaxed)
    }

    /// Jobs ever queued: whether somebody was at work meanwhile.
    pub(crate) fn started(&self) -> u64 {
        self.shared.started.load(Ordering::Relaxed)
    }

    /// Takes no more jobs; those that wait are dropped.
    pub(crate) fn close(&self) {
        let mut queue = self.shared.queue.lock();
        queue.closed = true;
        let jobs = queue.jobs.drain();
        drop(queue);
        // Each has something that its end lets go of, and that may ask this pool.
        drop(jobs);
        self.shared.ready.notify_all();
    }
}

impl Drop for IoPool {
    fn drop(&mut self) {
        self.close();
    }
}

/// Waits for a future that needs no runtime.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn run(shared: &Shared) {
    loop {
        let (class, job) = {
            let mut queue = shared.queue.lock();
            loop {
                if let Some(next) = queue.next() {
                    break next;
                }
                if queue.closed {
                    return;
                }
                shared.ready.wait(&mut queue);
            }
        };
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("an operation on a drive panicked");
        }
        shared.depth.fetch_sub(1, Ordering::Relaxed);
        shared.queue.lock().count(class, |busy| busy - 1);
    }
}
