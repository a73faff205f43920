//! How long the other end may keep one waiting for a body: by silence, and by a least rate.
//!
//! Only time counts in which bytes of the other end's were waited for, or room in its socket: whoever is slow because this end
//! makes it wait has all of its time left. What moved is counted where it leaves and comes, below TLS.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

use crate::wire::framed::FrameError;

/// Bytes that moved, either way.
#[derive(Clone, Debug, Default)]
pub struct Moved(Arc<AtomicU64>);

impl Moved {
    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream whose bytes are counted.
#[derive(Debug)]
pub struct Metered<S> {
    stream: S,
    moved: Moved,
}

impl<S> Metered<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, moved: Moved::default() }
    }

    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// What moves through it.
    pub fn moved(&self) -> Moved {
        self.moved.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        self.moved.add(into.filled().len() - before);
        polled
    }
}

impl<S: AsyncWrite + Unpin> Metered<S> {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.moved.add(bytes);
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What is asked of the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Without a byte it has so long, and its rate is measured over so long.
    pub stall: Duration,
    /// Bytes a second; 0: any rate.
    pub rate_min: u64,
}

/// What is left of it.
#[derive(Debug)]
pub(super) struct Patience {
    pace: Pace,
    moved: Moved,
    /// What had moved when the window began.
    from: u64,
    /// Of this window.
    waited: Duration,
    /// What had moved when it was last looked.
    seen: u64,
    /// How long nothing has moved since then.
    silent: Duration,
}

impl Patience {
    pub(super) fn new(pace: Pace, moved: Moved) -> Self {
        Self { pace, from: moved.get(), waited: Duration::ZERO, seen: moved.get(), silent: Duration::ZERO, moved }
    }

    /// Begins anew, with so many bytes already there.
    pub(super) fn begin(&mut self, pace: Pace, ahead: u64) {
        *self = Self::new(pace, self.moved.clone());
        self.from = self.from.saturating_sub(ahead);
    }

    /// The same, whatever the rate.
    pub(super) fn ask_no_rate(&mut self) {
        self.begin(Pace { rate_min: 0, ..self.pace }, 0);
    }

    /// Waits for the other end.
    pub(super) async fn wait<T>(&mut self, work: impl Future<Output = io::Result<T>>) -> Result<T, FrameError> {
        let mut work = pin!(work);
        loop {
            let began = Instant::now();
            let done = timeout(self.left(), work.as_mut()).await;
            self.count(began.elapsed());
            match done {
                Ok(done) => return Ok(done?),
                Err(_) => self.judge()?,
            }
        }
    }

    /// How long to wait until there is something to judge.
    pub(super) fn left(&self) -> Duration {
        let until_stalled = self.pace.stall.saturating_sub(self.silent);
        match self.pace.rate_min {
            0 => until_stalled,
            _ => until_stalled.min(self.pace.stall.saturating_sub(self.waited)),
        }
    }

    /// So long the other end was waited for.
    pub(super) fn count(&mut self, waited: Duration) {
        self.waited += waited;
        let moved = self.moved.get();
        self.silent = if moved == self.seen { self.silent + waited } else { Duration::ZERO };
        self.seen = moved;
    }

    /// Called where nothing more is at hand: bytes that have come are taken first, however late one comes to them.
    pub(super) fn judge(&mut self) -> Result<(), FrameError> {
        let after = self.pace.stall;
        if self.silent >= after {
            self.begin(self.pace, 0);
            return Err(FrameError::Stalled { after });
        }
        if self.waited >= after && self.pace.rate_min > 0 {
            let moved = self.seen - self.from;
            let asked = (u128::from(self.pace.rate_min) * after.as_millis() / 1000) as u64;
            let silent = self.silent;
            self.begin(self.pace, 0);
            self.silent = silent;
            if moved < asked {
                // What is said next has a time of its own.
                self.silent = Duration::ZERO;
                return Err(FrameError::TooSlow { moved, after, rate_min: self.pace.rate_min });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::sleep;

    use super::*;

    const PACE: Pace = Pace { stall: Duration::from_secs(10), rate_min: 100 };

    /// Reads what a writer sends, so many bytes at a time with a pause before each; how it ended.
    async fn read_from(bytes: usize, pause: Duration, count: usize, pace: Pace) -> Result<(), FrameError> {
        let (mut writer, reader) = duplex(1 << 20);
        let sending = tokio::spawn(async move {
            for _ in 0..count {
                sleep(pause).await;
                if writer.write_all(&vec![7; bytes]).await.is_err() {
                    return;
                }
            }
        });
        let mut reader = Metered::new(reader);
        let mut patience = Patience::new(pace, reader.moved());
        let (mut left, mut piece) = (bytes * count, vec![0; 1 << 16]);
        while left > 0 {
            left -= patience.wait(reader.read(&mut piece)).await?;
        }
        sending.await.unwrap();
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_falls_silent_and_is_too_slow_is_named_with_the_least_rate() {
        let error = read_from(99, Duration::from_secs(1), 100, PACE).await.unwrap_err();
        assert!(matches!(error, FrameError::TooSlow { moved: 800..=999, .. }), "{error}");
        assert!(error.to_string().contains("100 B a second"), "{error}");
        read_from(150, Duration::from_secs(1), 100, PACE).await.unwrap();
        read_from(1, Duration::from_secs(1), 100, Pace { rate_min: 0, ..PACE }).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn bursts_are_as_good_as_an_even_stream_and_silence_is_not() {
        read_from(2000, Duration::from_secs(9), 20, PACE).await.unwrap();
        let error = read_from(1 << 16, Duration::from_secs(11), 5, PACE).await.unwrap_err();
        assert!(matches!(error, FrameError::Stalled { .. }), "{error}");
        let error = read_from(1 << 16, Duration::from_secs(11), 5, Pace { rate_min: 0, ..PACE }).await.unwrap_err();
        assert!(matches!(error, FrameError::Stalled { .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_for_the_other_end_counts_for_nothing() {
        let (mut writer, reader) = duplex(16);
        tokio::spawn(async move {
            loop {
                if writer.write_all(b"1234").await.is_err() {
                    return;
                }
            }
        });
        let mut reader = Metered::new(reader);
        let mut patience = Patience::new(PACE, reader.moved());
        let mut piece = [0; 4];
        for _ in 0..100 {
            // Four bytes in a minute are all that this end takes.
            sleep(Duration::from_mins(1)).await;
            patience.wait(reader.read(&mut piece)).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_measured_by_what_its_socket_takes() {
        for (rate, is_slow) in [(50_usize, true), (200, false)] {
            let (mut reader, writer) = duplex(64);
            tokio::spawn(async move {
                let mut piece = vec![0; rate];
                while reader.read_exact(&mut piece).await.is_ok() {
                    sleep(Duration::from_secs(1)).await;
                }
            });
            let bytes = vec![7; 20_000];
            let mut writer = Metered::new(writer);
            let mut patience = Patience::new(PACE, writer.moved());
            let done = patience.wait(writer.write_all(&bytes)).await;
            assert_eq!(matches!(done, Err(FrameError::TooSlow { .. })), is_slow, "{done:?}");
            assert_eq!(done.is_ok(), !is_slow);
        }
    }
}
