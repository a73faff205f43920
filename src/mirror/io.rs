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
use crate::nice::give_way;

/// Threads of one drive's pool that serve small calls alone.
const PROMPT_THREADS: usize = 3;
/// Those that serve all others, and give way to the first ones for the processor too. What they have under way at the drive
/// is what a small write's sync waits for.
const PATIENT_THREADS: usize = 3;
/// Of these for the daemon's own work at one time.
const BACKGROUND_THREADS_MAX: usize = 2;

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Post {
    Prompt,
    Patient,
}

impl Post {
    fn of(class: Class) -> Self {
        match class {
            Class::Interactive => Self::Prompt,
            Class::Bulk | Class::Background => Self::Patient,
        }
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
    /// Threads at the daemon's own work.
    in_background: usize,
    closed: bool,
}

impl Queue {
    fn next(&mut self, post: Post) -> Option<(Class, Job)> {
        let in_background = self.in_background;
        let (flow, job) = self.jobs.pop_if(|class, _| {
            Post::of(class) == post && (class != Class::Background || in_background < BACKGROUND_THREADS_MAX)
        })?;
        self.in_background += usize::from(flow.class == Class::Background);
        Some((flow.class, job))
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// For prompt threads, and for patient ones.
    ready: [Condvar; 2],
    /// Jobs queued or running.
    depth: AtomicUsize,
    /// Jobs ever queued.
    started: AtomicU64,
}

impl Shared {
    fn ready(&self, post: Post) -> &Condvar {
        let [prompt, patient] = &self.ready;
        match post {
            Post::Prompt => prompt,
            Post::Patient => patient,
        }
    }
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
        for number in 0..PROMPT_THREADS + PATIENT_THREADS {
            let (shared, alive) = (Arc::clone(&shared), Arc::clone(alive));
            let post = if number < PROMPT_THREADS { Post::Prompt } else { Post::Patient };
            std::thread::Builder::new().name(format!("{name}-io{number}")).spawn(move || {
                if post == Post::Patient {
                    give_way();
                }
                run(&shared, post);
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
        let post = Post::of(share.flow.class);
        {
            let mut queue = self.shared.queue.lock();
            if queue.closed {
                return Err(Gone);
            }
            queue.jobs.push(share, job);
        }
        self.shared.depth.fetch_add(1, Ordering::Relaxed);
        self.shared.started.fetch_add(1, Ordering::Relaxed);
        self.shared.ready(post).notify_one();
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
        for ready in &self.shared.ready {
            ready.notify_all();
        }
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

fn run(shared: &Shared, post: Post) {
    loop {
        let (class, job) = {
            let mut queue = shared.queue.lock();
            loop {
                if let Some(next) = queue.next(post) {
                    break next;
                }
                if queue.closed {
                    return;
                }
                shared.ready(post).wait(&mut queue);
            }
        };
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("an operation on a drive panicked");
        }
        shared.depth.fetch_sub(1, Ordering::Relaxed);
        if class == Class::Background {
            shared.queue.lock().in_background -= 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::mirror::fair::Flow;

    /// Long enough for a machine that is busy with other tests.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn pool() -> (IoPool, watch::Sender<bool>) {
        let gone = watch::Sender::new(false);
        (IoPool::start("test", gone.subscribe(), &Arc::new(())).unwrap(), gone)
    }

    #[test]
    fn however_many_large_transfers_there_are_a_small_call_finds_a_thread() {
        let (pool, _gone) = pool();
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let (starts, started) = mpsc::channel();
        for class in [Class::Bulk, Class::Background] {
            for _ in 0..3 * PATIENT_THREADS {
                let (held, began) = (Arc::clone(&held), starts.clone());
                let stuck = move || {
                    began.send(class).unwrap();
                    // Until all are let go.
                    let _ = held.lock().recv();
                };
                drop(pool.start_job(Flow::own(class).call(), stuck).unwrap());
            }
        }
        for _ in 0..PATIENT_THREADS {
            started.recv_timeout(PATIENCE).unwrap();
        }
        for number in 0..100 {
            assert_eq!(pool.run_and_wait(Flow::own(Class::Interactive).call(), move || number), Ok(number));
        }
        assert!(started.try_recv().is_err(), "no more than their part of the threads");
        drop(release);
        for _ in PATIENT_THREADS..6 * PATIENT_THREADS {
            started.recv_timeout(PATIENCE).unwrap();
        }
    }

    #[test]
    fn a_drive_that_leaves_ends_all_waits_and_drops_what_was_queued() {
        let (pool, gone) = pool();
        let (release, held) = mpsc::channel::<()>();
        let stuck = pool.start_job(Flow::own(Class::Bulk).call(), move || held.recv().is_err()).unwrap();
        gone.send_replace(true);
        pool.close();
        assert_eq!(wait_for(pool.wait(stuck)), Err(Gone));
        assert_eq!(pool.run_and_wait(Flow::own(Class::Interactive).call(), || ()), Err(Gone));
        drop(release);
    }
}
