//! One connection's framing, times and refusals, up to the next request that can be performed.
//!
//! Everything that needs no mirror is answered here: hellos, rubbish, limits.

use std::sync::Arc;

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::server::limits::{LINGER, Limits};
use crate::wire::limits::{HEADER_BYTES_MAX, READ_BYTES};
use crate::wire::{
    BodyAnswer, BodyReader, ErrorName, Fault, FrameError, Framed, HelloAnswer, Request, RequestError, Trailer, line_of,
};

/// What the hello is answered with.
const SERVER: &str = concat!("twinstick/", env!("CARGO_PKG_VERSION"));

/// Why a session ends. Where the client was owed a word, it has it already.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Close {
    #[error("the client left")]
    ClientLeft,
    #[error("the daemon stops")]
    Draining,
    #[error("refused: {0}")]
    Refused(Fault),
    #[error("lost: {0}")]
    Lost(#[from] FrameError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeting {
    Awaited,
    Done,
}

/// A client's connection.
pub(crate) struct Connection<S> {
    framed: Framed<S>,
    limits: Arc<Limits>,
    stop: watch::Receiver<bool>,
    greeting: Greeting,
    /// The hello's answer, which leaves with the next one or before the next wait for the client.
    held: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// `stop` becoming true ends the connection as soon as no request is under way.
    pub(crate) fn new(stream: S, limits: Arc<Limits>, stop: watch::Receiver<bool>) -> Self {
        let framed = Framed::new(stream, limits.stall_timeout);
        Self { framed, limits, stop, greeting: Greeting::Awaited, held: Vec::new() }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The next request that is not answered here already.
    pub(crate) async fn next_request(&mut self) -> Result<Request, Close> {
        loop {
            self.begin_header().await?;
            let after = self.limits.header_timeout;
            let read = match timeout(after, self.framed.line(HEADER_BYTES_MAX)).await {
                Ok(Ok(Some(line))) => Request::read(line),
                Ok(Ok(None)) => return Err(Close::ClientLeft),
                Ok(Err(error)) => return Err(self.broken(error, "the header").await),
                Err(_) => {
                    let message = format!("a header has {} s to its end", after.as_secs());
                    return Err(self.end(Fault::new(ErrorName::Timeout, message)).await);
                }
            };
            if let Some(request) = self.admit(read).await? {
                return Ok(request);
            }
        }
    }

    /// Waits for the first byte of the next header.
    async fn begin_header(&mut self) -> Result<(), Close> {
        if !self.framed.buffered().contains(&b'\n') {
            self.send_held().await?;
        }
        if *self.stop.borrow() {
            return Err(Close::Draining);
        }
        if !self.framed.buffered().is_empty() {
            return Ok(());
        }
        self.framed.release();
        let (after, what) = match self.greeting {
            Greeting::Awaited => (self.limits.hello_timeout, "the hello"),
            Greeting::Done => (self.limits.idle_timeout, "the next request"),
        };
        let read = tokio::select! {
            biased;
            read = timeout(after, self.framed.fill()) => read,
            _ = self.stop.wait_for(|stop| *stop) => return Err(Close::Draining),
        };
        match read {
            Ok(Ok(0)) => Err(Close::ClientLeft),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(FrameError::from(error).into()),
            Err(_) => {
                let message = format!("{what} did not come within {} s: connect again", after.as_secs());
                Err(self.end(Fault::new(ErrorName::Timeout, message)).await)
            }
        }
    }

    /// Answers hellos and what is no request.
    async fn admit(&mut self, read: Result<Request, RequestError>) -> Result<Option<Request>, Close> {
        match (self.greeting, read) {
            (_, Ok(Request::Hello)) => {
                self.greeting = Greeting::Done;
                self.held = line_of(&HelloAnswer { ok: true, server: SERVER.to_owned() });
                Ok(None)
            }
            (_, Err(error @ (RequestError::UnsupportedVersion(_) | RequestError::NotJson(_)))) => {
                Err(self.end(error.fault()).await)
            }
            (Greeting::Awaited, _) => {
                let message = format!("the first line is the hello: {{\"hello\":\"{}\"}}", crate::wire::VERSION);
                Err(self.end(Fault::new(ErrorName::BadRequest, message)).await)
            }
            (Greeting::Done, Ok(request)) => Ok(Some(request)),
            (Greeting::Done, Err(error)) => {
                let fault = error.fault();
                if fault.close {
                    return Err(self.end(fault).await);
                }
                self.answer(&fault).await.map(|()| None)
            }
        }
    }

    /// Sends parts in one write, behind the hello's answer where that is still due.
    pub(crate) async fn send<const N: usize>(&mut self, parts: [&[u8]; N]) -> Result<(), Close> {
        let held = std::mem::take(&mut self.held);
        Ok(self.framed.send(std::iter::once(held.as_slice()).chain(parts)).await?)
    }

    async fn send_held(&mut self) -> Result<(), Close> {
        if self.held.is_empty() { Ok(()) } else { self.send([]).await }
    }

    /// Sends one line.
    pub(crate) async fn answer<T: Serialize>(&mut self, answer: &T) -> Result<(), Close> {
        self.send([&line_of(answer)]).await
    }

    /// Sends a body that is at hand, with its header and trailer.
    pub(crate) async fn answer_body(&mut self, body: &[u8]) -> Result<(), Close> {
        let head = line_of(&BodyAnswer { ok: true, len: body.len() as u64 });
        let trailer = line_of(&Trailer::of_server(crate::digest::Crc32::of(body)));
        self.send([&head, body, &trailer]).await
    }

    /// Sends the connection's last line, and reads on for a moment: a close with unread bytes
    /// would make the kernel send a reset, which can destroy the line before the client has read it.
    pub(crate) async fn end(&mut self, fault: Fault) -> Close {
        let fault = fault.closing();
        if let Err(close) = self.answer(&fault).await {
            return close;
        }
        self.linger().await;
        Close::Refused(fault)
    }

    async fn linger(&mut self) {
        let discard_bytes_max = self.limits.discard_bytes_max;
        let framed = &mut self.framed;
        let read_on = async {
            framed.shutdown().await?;
            let mut discarded = 0;
            while discarded <= discard_bytes_max {
                discarded += framed.discard_buffered() as u64;
                if framed.fill().await? == 0 {
                    break;
                }
            }
            std::io::Result::Ok(())
        };
        // Whatever happens here, the connection is over.
        drop(timeout(LINGER, read_on).await);
    }

    /// Ends a connection whose bytes make no sense any more; `what` was being read.
    pub(crate) async fn broken(&mut self, error: FrameError, what: &str) -> Close {
        let name = match &error {
            FrameError::Ended | FrameError::BadChunk(_) => ErrorName::BadRequest,
            FrameError::LineTooLong { .. } | FrameError::BodyTooLarge { .. } => ErrorName::TooLarge,
            FrameError::Stalled { .. } => ErrorName::Timeout,
            FrameError::Io(_) => return Close::Lost(error),
        };
        self.end(Fault::new(name, format!("{what}: {error}: nothing was stored"))).await
    }

    /// The next piece of a body.
    pub(crate) async fn piece(&mut self, body: &mut BodyReader) -> Result<Option<bytes::Bytes>, Close> {
        match body.next(&mut self.framed).await {
            Ok(piece) => Ok(piece),
            Err(error) => {
                let what = format!("the body after {} bytes", body.read());
                Err(self.broken(error, &what).await)
            }
        }
    }

    /// The line behind a body that was read to its end.
    pub(crate) async fn trailer(&mut self, body: &BodyReader) -> Result<Trailer, Close> {
        let read = match self.framed.line_in_time(HEADER_BYTES_MAX).await {
            Ok(line) => serde_json::from_slice(line).map_err(|error| error.to_string()),
            Err(FrameError::LineTooLong { .. }) => Err("it has no end".to_owned()),
            Err(error) => return Err(self.broken(error, "the trailer").await),
        };
        self.framed.release();
        match read {
            Ok(trailer) => Ok(trailer),
            Err(why) => {
                let message = format!(
                    "behind the body's {} bytes comes no trailer {{\"crc32\":\"<8 hex digits>\"}}: {why}: \
                     nothing was stored; is the body longer than it was said to be?",
                    body.read()
                );
                Err(self.end(Fault::new(ErrorName::BadRequest, message)).await)
            }
        }
    }

    /// Refuses a PUT at once, and drops what is left of its body so that the next request can be read.
    pub(crate) async fn refuse_body(&mut self, fault: Fault, mut body: BodyReader) -> Result<(), Close> {
        let discard_bytes_max = self.limits.discard_bytes_max;
        if body.left().is_some_and(|left| left > discard_bytes_max) {
            return Err(self.end(fault).await);
        }
        self.answer(&fault).await?;
        let start = body.read();
        while self.piece(&mut body).await?.is_some() {
            if body.read() - start > discard_bytes_max {
                self.linger().await;
                return Err(Close::Refused(fault));
            }
        }
        self.trailer(&body).await.map(|_| ())
    }

    /// Waits for `work` while the client stays and the daemon runs.
    pub(crate) async fn while_connected<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Close> {
        self.send_held().await?;
        let mut work = std::pin::pin!(work);
        loop {
            let may_read = self.framed.buffered().len() < READ_BYTES;
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                _ = self.stop.wait_for(|stop| *stop) => break,
                read = self.framed.fill(), if may_read => if read.map_err(FrameError::from)? == 0 {
                    return Err(Close::ClientLeft);
                },
            }
        }
        Err(self.end(Fault::new(ErrorName::Unavailable, "the daemon stops: connect again when it runs")).await)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::wire::BodyLength;

    const HELLO: &str = "{\"hello\":\"twinstick/1\"}\n";

    fn pair() -> (DuplexStream, Connection<DuplexStream>, watch::Sender<bool>) {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let (stop, stopped) = watch::channel(false);
        (client, Connection::new(server, Arc::new(Limits::default()), stopped), stop)
    }

    /// Sends `text`, closes, and gives what came back, line by line, with the server's close.
    async fn ask(text: impl AsRef<[u8]>) -> (Vec<serde_json::Value>, Close) {
        let (mut client, mut connection, _stop) = pair();
        client.write_all(text.as_ref()).await.unwrap();
        client.shutdown().await.unwrap();
        let close = match connection.next_request().await {
            Ok(request) => panic!("no test asks for something that needs the mirror: {request:?}"),
            Err(close) => close,
        };
        drop(connection);
        let mut all = String::new();
        client.read_to_string(&mut all).await.unwrap();
        (all.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), close)
    }

    async fn named(text: impl AsRef<[u8]>, error: &str) {
        let text = text.as_ref();
        let shown = String::from_utf8_lossy(text.get(..80).unwrap_or(text)).into_owned();
        let (lines, close) = ask(text).await;
        let last = lines.last().unwrap();
        assert_eq!(last["error"], error, "{shown}");
        assert_eq!(last["close"], true, "{shown}");
        assert!(matches!(close, Close::Refused(_)), "{shown}: {close}");
    }

    #[tokio::test]
    async fn a_hello_is_answered_with_the_servers_version() {
        let (lines, close) = ask(HELLO).await;
        let version = format!("twinstick/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(lines, [serde_json::json!({"ok": true, "server": version})]);
        assert!(matches!(close, Close::ClientLeft));
    }

    #[tokio::test]
    async fn what_comes_before_the_hello_is_refused() {
        named("{\"op\":\"status\"}\n", "bad-request").await;
        named("{\"op\":\"nonsense\"}\n", "bad-request").await;
        named("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "bad-request").await;
    }

    #[tokio::test]
    async fn another_version_is_refused_by_name() {
        named("{\"hello\":\"twinstick/2\"}\n", "unsupported-version").await;
    }

    #[tokio::test]
    async fn rubbish_is_refused_by_name() {
        for rubbish in ["\n", "hello\n", "[]\n", "{\"op\":\n", "{\"op\":1}\n", "{\"path\":\"a\"}\n", "\u{0}\u{1}\n"] {
            named(format!("{HELLO}{rubbish}"), "bad-request").await;
        }
        named([HELLO.as_bytes(), b"\xff\xfe\n"].concat(), "bad-request").await;
    }

    #[tokio::test]
    async fn an_unknown_operation_leaves_the_session_open() {
        let (lines, close) = ask(format!("{HELLO}{{\"op\":\"chmod\"}}\n{{\"op\":\"chown\"}}\n")).await;
        let errors: Vec<_> = lines.iter().skip(1).map(|line| line["error"].as_str().unwrap()).collect();
        assert_eq!(errors, ["unknown-op", "unknown-op"]);
        assert!(matches!(close, Close::ClientLeft));
    }

    #[tokio::test]
    async fn a_header_without_an_end_is_refused_at_its_limit() {
        named(format!("{HELLO}{}", "x".repeat(HEADER_BYTES_MAX)), "too-large").await;
        named("y".repeat(HEADER_BYTES_MAX), "too-large").await;
    }

    #[tokio::test]
    async fn a_header_cut_off_is_named() {
        named(format!("{HELLO}{{\"op\":\"sta"), "bad-request").await;
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_named_wherever_it_begins() {
        for text in ["", "{\"hel", HELLO, "{\"hello\":\"twinstick/1\"}\n{\"op\":"] {
            let (mut client, mut connection, _stop) = pair();
            client.write_all(text.as_bytes()).await.unwrap();
            assert!(matches!(connection.next_request().await, Err(Close::Refused(_))), "{text}");
            drop(connection);
            let mut all = String::new();
            client.read_to_string(&mut all).await.unwrap();
            assert!(all.lines().last().unwrap().contains("\"timeout\""), "{text}: {all}");
        }
    }

    #[tokio::test]
    async fn an_idle_connection_ends_at_once_when_the_daemon_stops() {
        let (mut client, mut connection, stop) = pair();
        client.write_all(HELLO.as_bytes()).await.unwrap();
        stop.send(true).unwrap();
        assert!(matches!(connection.next_request().await, Err(Close::Draining)));
    }

    #[tokio::test]
    async fn the_body_of_a_refused_put_is_dropped_and_the_next_request_is_read() {
        for (length, body) in [(BodyLength::Known(11), "hello world"), (BodyLength::Chunked, "5\nhello6\n world0\n")] {
            let (mut client, mut connection, _stop) = pair();
            let text = format!("{HELLO}{body}{{\"crc32\":\"0d4a1185\"}}\n{{\"op\":\"info\",\"path\":\"a\"}}\n");
            client.write_all(text.as_bytes()).await.unwrap();
            // As after a hello and a put's header.
            assert_eq!(connection.framed.line(100).await.unwrap().unwrap().len(), HELLO.len() - 1);
            connection.greeting = Greeting::Done;
            let fault = Fault::new(ErrorName::NoSpace, "drive b has 0 bytes free");
            connection.refuse_body(fault, BodyReader::new(length, 100)).await.unwrap();
            let next = connection.next_request().await.unwrap();
            assert_eq!(next, Request::Info { path: "a".to_owned() });
        }
    }

    #[tokio::test]
    async fn a_refused_body_over_its_bound_closes_the_connection_after_the_error() {
        let (mut client, mut connection, _stop) = pair();
        let len = connection.limits.discard_bytes_max + 1;
        client.shutdown().await.unwrap();
        let fault = Fault::new(ErrorName::NoSpace, "drive b has 0 bytes free");
        let body = BodyReader::new(BodyLength::Known(len), u64::MAX);
        assert!(matches!(connection.refuse_body(fault, body).await, Err(Close::Refused(_))));
        drop(connection);
        let mut all = String::new();
        client.read_to_string(&mut all).await.unwrap();
        assert!(all.contains("\"no-space\"") && all.contains("\"close\":true"), "{all}");
    }

    #[tokio::test]
    async fn a_body_longer_than_declared_is_named_and_closes() {
        let (mut client, mut connection, _stop) = pair();
        client.write_all(b"hello world and more{\"crc32\":\"0d4a1185\"}\n").await.unwrap();
        client.shutdown().await.unwrap();
        let mut body = BodyReader::new(BodyLength::Known(11), 100);
        while connection.piece(&mut body).await.unwrap().is_some() {}
        let Err(Close::Refused(fault)) = connection.trailer(&body).await else { panic!("no refusal") };
        assert_eq!(fault.error, ErrorName::BadRequest);
    }

    #[tokio::test]
    async fn waiting_for_the_mirror_ends_with_the_client_or_the_daemon() {
        let (client, mut connection, _stop) = pair();
        drop(client);
        let waited = connection.while_connected(std::future::pending::<()>()).await;
        assert!(matches!(waited, Err(Close::ClientLeft)));
        let (mut client, mut connection, stop) = pair();
        client.write_all(b"{\"op\":\"status\"}\n").await.unwrap();
        client.shutdown().await.unwrap();
        stop.send(true).unwrap();
        let waited = connection.while_connected(std::future::pending::<()>()).await;
        assert!(matches!(waited, Err(Close::Refused(fault)) if fault.error == ErrorName::Unavailable));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_outlasts_the_idle_time() {
        let (_client, mut connection, _stop) = pair();
        let long = connection.limits.idle_timeout * 3;
        assert_eq!(
            connection
                .while_connected(async {
                    tokio::time::sleep(long).await;
                    7
                })
                .await
                .unwrap(),
            7
        );
    }
}
