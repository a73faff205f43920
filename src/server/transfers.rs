//! Where large transfers run: on workers of their own, which give way to those that small requests are served on.
//!
//! A worker is at a large body's piece for a good part of a millisecond: copies it from the network, checks it. Of many such
//! sessions a small request would wait for a turn behind each, however little it asks for itself.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};

use crate::nice::give_way;
use crate::wire::BodyLength;

/// Bodies from here on are large.
const LARGE_BYTES: u64 = 64 << 10;

/// The workers. They end with this.
#[derive(Debug)]
pub struct Workers(Runtime);

/// The way to them.
#[derive(Clone, Debug)]
pub struct Transfers {
    workers: Handle,
    under_way: Arc<watch::Sender<usize>>,
}

/// Counts one that is under way, until it has ended and let go of all that it had.
struct UnderWay(Arc<watch::Sender<usize>>);

impl UnderWay {
    fn begin(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Workers {
    pub fn start() -> io::Result<Self> {
        // The other half of the processors has none of them in a small request's way, also where giving way takes a while.
        let count = available_parallelism().map_or(1, |count| count.get().div_ceil(2));
        let builder = &mut Builder::new_multi_thread();
        builder.worker_threads(count).thread_name("transfer").on_thread_start(give_way).enable_all().build().map(Self)
    }

    pub fn transfers(&self) -> Transfers {
        Transfers { workers: self.0.handle().clone(), under_way: Arc::default() }
    }

    /// Ends them; what is still under way is dropped, or left where it cannot be ended.
    pub fn end(self, at_most: Duration) {
        self.0.shutdown_timeout(at_most);
    }
}

impl Transfers {
    /// Returns when all that ran there has ended, what was aborted too.
    pub(crate) async fn all_ended(&self) {
        let mut under_way = self.under_way.subscribe();
        // The sender is here.
        let _ = under_way.wait_for(|count| *count == 0).await;
    }

    /// Runs something there. It ends with whoever waits for it.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let under_way = UnderWay::begin(&self.under_way);
        let work = async move {
            // Dropped behind the work, also where that is aborted.
            let _under_way = under_way;
            work.await
        };
        match Ending(self.workers.spawn(work)).await {
            Ok(done) => Some(done),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The workers have ended.
            Err(_) => None,
        }
    }
}

/// Whether a body is for the workers; one of unknown length is, since it cannot be moved there in its middle.
pub(crate) fn is_large(length: BodyLength) -> bool {
    match length {
        BodyLength::Known(len) => len > LARGE_BYTES,
        BodyLength::Chunked => true,
    }
}

/// A task that is aborted when nobody waits for it any more.
struct Ending<T>(JoinHandle<T>);

impl<T> Future for Ending<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
