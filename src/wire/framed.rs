//! Lines and bodies over a byte stream, each with a limit and a time.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::units;
use crate::wire::limits::{BODY_READ_BYTES_MAX, READ_BYTES};
use crate::wire::patience::{Metered, Moved, Pace, Patience};
use crate::wire::spare;

/// Bodies from here on may be written to files as they are.
const DIRECT_BYTES_MIN: usize = 64 * 1024;
/// What the kernel wants of memory that it writes to a medium itself.
const ALIGNMENT: usize = 4096;

/// Why no line or body came, or none could be sent.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the connection ended in the middle")]
    Ended,
    #[error("a line is longer than {limit} bytes")]
    LineTooLong { limit: usize },
    #[error("a chunk begins with a line of its length in digits, at most 16777216, not with {0:?}")]
    BadChunk(String),
    #[error("the body has more than {limit} bytes")]
    BodyTooLarge { limit: u64 },
    #[error("no byte moved for {} s", .after.as_secs())]
    Stalled { after: Duration },
    #[error("{}", too_slow(*moved, *after, *rate_min))]
    TooSlow { moved: u64, after: Duration, rate_min: u64 },
    #[error("{0}")]
    Io(#[from] io::Error),
}

fn too_slow(moved: u64, after: Duration, rate_min: u64) -> String {
    let [moved, rate_min] = [moved, rate_min].map(units::bytes);
    format!("{moved} moved in {} s of waiting for them: at least {rate_min} a second are asked", after.as_secs())
}

/// A byte stream with what was read ahead of it.
#[derive(Debug)]
pub struct Framed<S> {
    stream: S,
    /// Without memory of its own while there is nothing to read.
    buffer: Vec<u8>,
    /// Invariant: `buffer[..start]` was handed out, and `start <= scanned <= buffer.len()`.
    start: usize,
    /// Up to here the buffer was searched for a newline.
    scanned: usize,
    /// Bytes that had come of what broke off.
    broken_off: usize,
    /// With whoever is too slow a read or write fails.
    patience: Patience,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Framed<Metered<S>> {
    /// A stream that counts for itself what moves.
    pub fn new(stream: S, pace: Pace) -> Self {
        let stream = Metered::new(stream);
        let moved = stream.moved();
        Self::over(stream, moved, pace)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Framed<S> {
    /// A stream over another one, which counts what moves.
    pub fn over(stream: S, moved: Moved, pace: Pace) -> Self {
        Self { stream, buffer: Vec::new(), start: 0, scanned: 0, broken_off: 0, patience: Patience::new(pace, moved) }
    }

    /// What is asked of the other end from now on; what it has sent ahead of that counts.
    pub fn set_pace(&mut self, pace: Pace) {
        let ahead = self.buffered().len() as u64;
        self.patience.begin(pace, ahead);
    }

    /// Up to the next [`Framed::set_pace`] no rate is asked, as of who reads along what others do.
    pub fn ask_no_rate(&mut self) {
        self.patience.ask_no_rate();
    }

    /// What the bytes come from, for what it tells beside them.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Bytes that were read and not yet handed out.
    pub fn buffered(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads what there is behind what is buffered; 0 at the stream's end. Loses nothing when dropped.
    pub async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Reads without waiting; `None` where nothing has come.
    pub async fn fill_now(&mut self) -> Option<io::Result<usize>> {
        poll_fn(|cx| match self.poll_fill(cx) {
            Poll::Ready(read) => Poll::Ready(Some(read)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        let polled = pin!(self.stream.read_buf(&mut self.buffer)).poll(cx);
        if polled.is_pending() {
            self.release();
        }
        polled
    }

    fn make_room(&mut self) {
        if self.buffer.capacity() == 0 {
            self.buffer = spare::take();
        }
        if self.start > 0 && (self.start == self.buffer.len() || self.buffer.len() == self.buffer.capacity()) {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        if self.buffer.len() == self.buffer.capacity() {
            self.buffer.reserve(READ_BYTES);
        }
    }

    /// Gives the buffer's memory back, where all of it was handed out.
    pub fn release(&mut self) {
        if self.start == self.buffer.len() {
            spare::give(std::mem::take(&mut self.buffer));
            (self.start, self.scanned) = (0, 0);
        }
    }

    /// The next line without its newline, however long it takes; `None` where the stream ends before it begins.
    /// Loses nothing when dropped.
    pub async fn line(&mut self, limit: usize) -> Result<Option<&[u8]>, FrameError> {
        let found = loop {
            if let Some(found) = self.find_line(limit)? {
                break found;
            }
            if self.fill().await? == 0 {
                return if self.buffered().is_empty() { Ok(None) } else { Err(FrameError::Ended) };
            }
        };
        Ok(self.buffer.get(found))
    }

    /// A line that has to come while others wait for it: its end and a standstill are errors.
    pub async fn line_in_time(&mut self, limit: usize) -> Result<&[u8], FrameError> {
        let found = loop {
            if let Some(found) = self.find_line(limit)? {
                break found;
            }
            if self.fill_in_time().await? == 0 {
                return Err(FrameError::Ended);
            }
        };
        Ok(self.buffer.get(found).unwrap_or_default())
    }

    /// As [`Framed::fill`], of bytes that are due.
    async fn fill_in_time(&mut self) -> Result<usize, FrameError> {
        loop {
            let began = Instant::now();
            let read = timeout(self.patience.left(), self.fill()).await;
            self.patience.count(began.elapsed());
            match read {
                Ok(read) => return Ok(read?),
                Err(_) => self.patience.judge()?,
            }
        }
    }

    fn find_line(&mut self, limit: usize) -> Result<Option<Range<usize>>, FrameError> {
        let unseen = self.buffer.get(self.scanned..).unwrap_or_default();
        let newline = unseen.iter().position(|byte| *byte == b'\n').map(|at| self.scanned + at);
        let bytes = newline.map_or(self.buffer.len(), |at| at + 1) - self.start;
        if bytes > limit || (newline.is_none() && bytes == limit) {
            return Err(FrameError::LineTooLong { limit });
        }
        let Some(newline) = newline else {
            self.scanned = self.buffer.len();
            return Ok(None);
        };
        let found = self.start..newline;
        self.start = newline + 1;
        self.scanned = self.start;
        Ok(Some(found))
    }

    /// The next `want` bytes, in memory of their own.
    pub async fn bytes(&mut self, want: usize) -> Result<Bytes, FrameError> {
        let ready = self.buffered();
        if let Some(all) = ready.get(..want) {
            let all = Bytes::copy_from_slice(all);
            self.hand_out(want);
            return Ok(all);
        }
        let mut bytes = aligned(want);
        bytes.extend_from_slice(ready);
        self.hand_out(bytes.len());
        self.release();
        while bytes.len() < want {
            let missing = want - bytes.len();
            let mut room = (&mut bytes).limit(missing.min(BODY_READ_BYTES_MAX));
            let read = self.patience.wait(self.stream.read_buf(&mut room)).await;
            if let Some(error) = read.map_or_else(Some, |read| (read == 0).then_some(FrameError::Ended)) {
                self.broken_off = bytes.len();
                return Err(error);
            }
        }
        Ok(bytes.freeze())
    }

    /// Bytes that had come of those that [`Framed::bytes`] failed to get last.
    pub(super) fn broken_off(&self) -> usize {
        self.broken_off
    }

    fn hand_out(&mut self, bytes: usize) {
        self.start += bytes;
        self.scanned = self.scanned.max(self.start);
    }

    /// Sends all parts, in one write where the stream takes them.
    pub async fn send<'a>(&mut self, parts: impl IntoIterator<Item = &'a [u8]>) -> Result<(), FrameError> {
        let mut slices: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).map(IoSlice::new).collect();
        let mut left = slices.as_mut_slice();
        while !left.is_empty() {
            let sent = self.patience.wait(self.stream.write_vectored(left)).await?;
            if sent == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            IoSlice::advance_slices(&mut left, sent);
        }
        self.patience.wait(self.stream.flush()).await
    }

    /// Says that no more will be sent.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Forgets what was read and not handed out.
    pub fn discard_buffered(&mut self) -> usize {
        let discarded = self.buffered().len();
        self.hand_out(discarded);
        discarded
    }
}

/// Room for so many bytes; for many of them so that a file can be written from there without a copy of the kernel's.
fn aligned(want: usize) -> BytesMut {
    if want < DIRECT_BYTES_MIN {
        return BytesMut::with_capacity(want);
    }
    let mut bytes = BytesMut::with_capacity(want + ALIGNMENT);
    let ahead = bytes.as_ptr().align_offset(ALIGNMENT);
    // A platform may decline to say.
    if ahead < ALIGNMENT {
        bytes.put_bytes(0, ahead);
        bytes.advance(ahead);
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const PACE: Pace = Pace { stall: Duration::from_secs(30), rate_min: 0 };

    #[tokio::test]
    async fn lines_come_one_by_one_however_the_bytes_are_cut() {
        for cut in [1, 3, 100] {
            let (mut client, server) = tokio::io::duplex(cut);
            let sender = tokio::spawn(async move { client.write_all(b"one\n\ntwo\nthr").await.unwrap() });
            let mut framed = Framed::new(server, PACE);
            assert_eq!(framed.line(16).await.unwrap().unwrap(), b"one");
            assert_eq!(framed.line(16).await.unwrap().unwrap(), b"");
            assert_eq!(framed.line(16).await.unwrap().unwrap(), b"two");
            assert!(matches!(framed.line(16).await, Err(FrameError::Ended)));
            sender.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_line_may_be_as_long_as_its_limit_and_no_longer() {
        for (bytes, fits) in [(15, true), (16, false), (1000, false)] {
            let (mut client, server) = tokio::io::duplex(4096);
            let mut line = vec![b'x'; bytes];
            line.push(b'\n');
            client.write_all(&line).await.unwrap();
            let mut framed = Framed::new(server, PACE);
            assert_eq!(framed.line(16).await.is_ok(), fits, "{bytes}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_between_lines_ends_well() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"one\n").await.unwrap();
        drop(client);
        let mut framed = Framed::new(server, PACE);
        assert!(framed.line(16).await.unwrap().is_some());
        assert!(framed.line(16).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_waiting_connection_holds_no_buffer() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut framed = Framed::new(server, PACE);
        assert!(framed.fill_now().await.is_none());
        assert_eq!(framed.buffer.capacity(), 0);
        client.write_all(b"one\n").await.unwrap();
        framed.line(16).await.unwrap();
        framed.release();
        assert_eq!(framed.buffer.capacity(), 0);
    }

    #[tokio::test]
    async fn parts_arrive_in_order_through_a_narrow_stream() {
        let (client, mut server) = tokio::io::duplex(3);
        let sender = tokio::spawn(async move {
            let mut framed = Framed::new(client, PACE);
            framed.send([&b""[..], b"head\n", b"", b"body", b"trailer\n"]).await.unwrap();
        });
        let mut all = String::new();
        server.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "head\nbodytrailer\n");
        sender.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_named() {
        let (_client, server) = tokio::io::duplex(64);
        let mut framed = Framed::new(server, PACE);
        assert!(matches!(framed.bytes(5).await, Err(FrameError::Stalled { .. })));
        assert!(matches!(framed.line_in_time(5).await, Err(FrameError::Stalled { .. })));
    }
}
