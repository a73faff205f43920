//! Bodies: a known number of bytes, or chunks.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::wire::framed::{FrameError, Framed};
use crate::wire::limits::{CHUNK_BYTES_MAX, CHUNK_LINE_BYTES_MAX, PIECE_BYTES_MAX};

/// How a body's end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    Known(u64),
    Chunked,
}

/// Where in a body its reader is. Reads no byte past the body's end.
#[derive(Debug)]
pub struct BodyReader {
    length: BodyLength,
    /// Bytes to come of the body, or of the chunk under way.
    left: u64,
    /// Bytes read so far, those of a piece that broke off too.
    read: u64,
    bytes_max: u64,
    ended: bool,
}

impl BodyReader {
    pub fn new(length: BodyLength, bytes_max: u64) -> Self {
        let left = match length {
            BodyLength::Known(len) => len,
            BodyLength::Chunked => 0,
        };
        Self { length, left, read: 0, bytes_max, ended: false }
    }

    /// Bytes read so far.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Bytes of the body that are still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self.length {
            BodyLength::Known(_) => Some(self.left),
            BodyLength::Chunked => None,
        }
    }

    /// Bytes of the body that are still to come at least.
    pub fn missing(&self) -> u64 {
        self.left
    }

    /// Whether there is a next piece. Of chunks it is the next one's length that tells, which is waited for.
    pub async fn has_more<S>(&mut self, framed: &mut Framed<S>) -> Result<bool, FrameError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.left == 0 && !self.ended {
            match self.length {
                BodyLength::Known(_) => self.ended = true,
                BodyLength::Chunked => self.begin_chunk(framed).await?,
            }
        }
        Ok(!self.ended)
    }

    /// The next piece, at most [`PIECE_BYTES_MAX`] long; `None` after the last.
    pub async fn next<S>(&mut self, framed: &mut Framed<S>) -> Result<Option<Bytes>, FrameError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.next_within(framed, PIECE_BYTES_MAX).await
    }

    /// The same, where there is room for `most` bytes.
    pub async fn next_within<S>(&mut self, framed: &mut Framed<S>, most: usize) -> Result<Option<Bytes>, FrameError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.has_more(framed).await? {
            return Ok(None);
        }
        if self.read.saturating_add(self.left) > self.bytes_max {
            return Err(FrameError::BodyTooLarge { limit: self.bytes_max });
        }
        let most = most.min(PIECE_BYTES_MAX);
        let want = usize::try_from(self.left).map_or(most, |left| left.min(most));
        let piece = match framed.bytes(want).await {
            Ok(piece) => piece,
            Err(broken) => {
                self.read += framed.broken_off() as u64;
                return Err(broken);
            }
        };
        self.left -= piece.len() as u64;
        self.read += piece.len() as u64;
        Ok(Some(piece))
    }

    async fn begin_chunk<S>(&mut self, framed: &mut Framed<S>) -> Result<(), FrameError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let line = framed.line_in_time(CHUNK_LINE_BYTES_MAX).await?;
        let text = std::str::from_utf8(line).unwrap_or_default();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let len = text.parse::<u64>().ok().filter(|len| digits && *len <= CHUNK_BYTES_MAX);
        self.left = len.ok_or_else(|| FrameError::BadChunk(String::from_utf8_lossy(line).into_owned()))?;
        self.ended = self.left == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::wire::Pace;

    async fn read_all(sent: &[u8], length: BodyLength, bytes_max: u64) -> Result<(Vec<u8>, Vec<u8>), FrameError> {
        let (mut client, server) = tokio::io::duplex(7);
        let sent = sent.to_vec();
        let sender = tokio::spawn(async move { client.write_all(&sent).await });
        let mut framed = Framed::new(server, Pace { stall: Duration::from_secs(30), rate_min: 0 });
        let mut reader = BodyReader::new(length, bytes_max);
        let mut body = Vec::new();
        while let Some(piece) = reader.next(&mut framed).await? {
            body.extend_from_slice(&piece);
        }
        let rest = framed.line_in_time(64).await?.to_vec();
        sender.await.unwrap().unwrap();
        Ok((body, rest))
    }

    #[tokio::test]
    async fn a_body_ends_where_its_length_says() {
        let (body, rest) = read_all(b"hello worldtrailer\n", BodyLength::Known(11), 100).await.unwrap();
        assert_eq!((body.as_slice(), rest.as_slice()), (&b"hello world"[..], &b"trailer"[..]));
    }

    #[tokio::test]
    async fn chunks_end_with_a_line_of_zero() {
        let (body, rest) = read_all(b"5\nhello6\n world0\ntrailer\n", BodyLength::Chunked, 11).await.unwrap();
        assert_eq!((body.as_slice(), rest.as_slice()), (&b"hello world"[..], &b"trailer"[..]));
    }

    #[tokio::test]
    async fn a_chunk_without_a_plain_length_is_refused() {
        for bad in [&b"x\n"[..], b"-1\n", b"+1\n", b"\n", b" 1\n", b"16777217\n", b"99999999999999999999999\n"] {
            let error = read_all(bad, BodyLength::Chunked, u64::MAX).await.unwrap_err();
            assert!(matches!(error, FrameError::BadChunk(_)), "{bad:?}: {error}");
        }
    }

    #[tokio::test]
    async fn a_body_over_its_limit_is_refused_before_it_is_read() {
        let error = read_all(b"5\nhello6\n world0\n\n", BodyLength::Chunked, 10).await.unwrap_err();
        assert!(matches!(error, FrameError::BodyTooLarge { limit: 10 }));
    }

    #[tokio::test]
    async fn what_came_of_a_piece_that_broke_off_counts() {
        for (sent, length, came) in
            [(&b"hello"[..], BodyLength::Known(11), 5), (b"5\nhello6\n w", BodyLength::Chunked, 7)]
        {
            let (mut client, server) = tokio::io::duplex(64);
            client.write_all(sent).await.unwrap();
            drop(client);
            let mut framed = Framed::new(server, Pace { stall: Duration::from_secs(30), rate_min: 0 });
            let mut reader = BodyReader::new(length, 100);
            while let Ok(piece) = reader.next(&mut framed).await {
                assert!(piece.is_some(), "it has no end");
            }
            assert_eq!(reader.read(), came);
        }
    }

    #[tokio::test]
    async fn a_body_cut_short_is_no_body() {
        let error = read_all(b"hello", BodyLength::Known(11), 100).await.unwrap_err();
        assert!(matches!(error, FrameError::Ended));
    }
}
