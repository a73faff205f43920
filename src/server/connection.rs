//! One connection's framing, times and refusals, up to the next request that can be performed.
//!
//! Everything that needs no mirror is answered here: hellos, rubbish, limits.

mod waiting;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::server::admission::{Displaced, Pass};
pub(crate) use crate::server::connection::waiting::Parting;
use crate::server::door::Guest;
use crate::server::entry::{Scribe, command_of};
use crate::server::limits::{LINGER, LINGER_STOPPING, Limits};
use crate::server::phase::{Phase, reached};
use crate::wire::limits::{HEADER_BYTES_MAX, PIECE_BYTES_MAX, READ_BYTES};
use crate::wire::{
    BodyAnswer, BodyReader, ErrorName, Fault, FrameError, Framed, HelloAnswer, Metered, Moved, Request, RequestError,
    Trailer, line_of,
};

/// What the hello is answered with.
const SERVER: &str = concat!("twinstick/", env!("CARGO_PKG_VERSION"));

/// What is said to those who are sent away because the daemon stops.
pub(crate) const STOPPING: &str = "the daemon stops: connect again when it runs";
/// What is said to those whose request took too long for that.
const CUT_OFF: &str = "the daemon stops, and this took too long: ask again when it runs, with the id if it has one";
/// What is said to those whose place somebody else has.
const DISPLACED: &str = "all places are taken, and this connection was idle longest: try again";

/// Why a session ends. Where the client was owed a word, it has it already.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Close {
    #[error("the client left")]
    ClientLeft,
    #[error("cut off in the middle of an answer: the daemon stops")]
    CutOff,
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

/// What a client without a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    Idle,
    /// Somebody sits there and writes.
    Editing,
}

/// What a connection goes by.
pub(crate) struct Terms {
    pub(crate) limits: watch::Receiver<Arc<Limits>>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) pass: Pass,
    pub(crate) guest: Guest,
    pub(crate) scribe: Scribe,
}

/// A client's connection.
pub(crate) struct Connection<S> {
    framed: Framed<S>,
    terms: Terms,
    greeting: Greeting,
    stay: Stay,
    /// The hello's answer, which leaves with the next one or before the next wait for the client.
    held: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<Metered<S>> {
    pub(crate) fn new(stream: S, terms: Terms) -> Self {
        let stream = Metered::new(stream);
        let moved = stream.moved();
        Self::over(stream, moved, terms)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection inside another one, which counts what moves.
    pub(crate) fn over(stream: S, moved: Moved, terms: Terms) -> Self {
        let framed = Framed::over(stream, moved, terms.limits.borrow().pace());
        Self { framed, terms, greeting: Greeting::Awaited, stay: Stay::Idle, held: Vec::new() }
    }

    /// The limits that are in force now.
    pub(crate) fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.terms.limits.borrow())
    }

    /// Says what the client will be about until the next request.
    pub(crate) fn set_stay(&mut self, stay: Stay) {
        self.stay = stay;
    }

    /// What the client follows until the next request has no rate of its own.
    pub(crate) fn ask_no_rate(&mut self) {
        self.framed.ask_no_rate();
    }

    /// Who the client is.
    pub(crate) fn guest(&mut self) -> &mut Guest {
        &mut self.terms.guest
    }

    /// Who writes down what is done here.
    pub(crate) fn scribe(&mut self) -> &mut Scribe {
        &mut self.terms.scribe
    }

    /// Counts a request, unless its user asks too much.
    pub(crate) fn ask(&self) -> Result<(), Fault> {
        self.terms.guest.ask(&self.terms.limits.borrow(), now())
    }

    /// Begins the audit log's line of a request.
    pub(crate) fn begin_entry(&mut self, request: &Request) {
        self.terms.guest.note_use();
        self.terms.scribe.begin(request, &self.terms.guest, now());
    }

    /// Ends it.
    pub(crate) fn end_entry(&mut self, outcome: &Result<(), Close>) {
        self.terms.scribe.end(outcome, now());
    }

    /// Ends a connection over a line that did not become a request.
    async fn turn_down(&mut self, command: &str, fault: Fault) -> Close {
        self.terms.scribe.refused(command, &fault, &self.terms.guest);
        self.end(fault).await
    }

    fn phase(&self) -> Phase {
        *self.terms.phase.borrow()
    }

    /// The next request that is not answered here already.
    pub(crate) async fn next_request(&mut self) -> Result<Request, Close> {
        loop {
            self.begin_header().await?;
            let read = self.header().await?;
            self.framed.set_pace(self.limits().pace());
            if let Some(request) = self.admit(read).await? {
                return match self.terms.pass.work() {
                    Ok(()) => Ok(request),
                    Err(Displaced) => Err(self.end(Fault::new(ErrorName::Busy, DISPLACED)).await),
                };
            }
        }
    }

    /// Waits for the first byte of the next header.
    async fn begin_header(&mut self) -> Result<(), Close> {
        if !self.framed.buffered().contains(&b'\n') {
            self.send_held().await?;
        }
        if self.phase() >= Phase::Draining {
            return Err(self.end(Fault::new(ErrorName::Unavailable, STOPPING)).await);
        }
        self.terms.pass.rest(now());
        let limits = self.limits();
        if !self.framed.buffered().is_empty() {
            return Ok(());
        }
        self.framed.release();
        let (after, what) = match (self.greeting, self.stay) {
            (Greeting::Awaited, _) => (limits.hello_timeout, "the hello"),
            (Greeting::Done, Stay::Idle) => (limits.idle_timeout, "the next request"),
            (Greeting::Done, Stay::Editing) => (limits.editors_timeout(), "the next request"),
        };
        // Not held while nothing is to do: others may come.
        drop(limits);
        let read = tokio::select! {
            biased;
            read = timeout(after, self.framed.fill()) => read,
            why = sent_away(&mut self.terms) => return Err(self.end(why).await),
        };
        match read {
            Ok(Ok(0)) => Err(Close::ClientLeft),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(FrameError::from(error).into()),
            Err(_) => Err(self.end(late(what, after)).await),
        }
    }

    /// Reads a header to its end.
    async fn header(&mut self) -> Result<Result<Request, RequestError>, Close> {
        let after = self.limits().header_timeout;
        let line = tokio::select! {
            biased;
            line = timeout(after, self.framed.line(HEADER_BYTES_MAX)) => line,
            why = sent_away(&mut self.terms) => return Err(self.end(why).await),
        };
        match line {
            Ok(Ok(Some(line))) => Ok(Request::read(line)),
            Ok(Ok(None)) => Err(Close::ClientLeft),
            Ok(Err(error)) => Err(self.broken(error, "the header").await),
            Err(_) => {
                let message = format!("a header has {} s to its end", after.as_secs());
                Err(self.end(Fault::new(ErrorName::Timeout, message)).await)
            }
        }
    }

    /// Answers hellos and what is no request.
    async fn admit(&mut self, read: Result<Request, RequestError>) -> Result<Option<Request>, Close> {
        match (self.greeting, read) {
            (_, Ok(Request::Hello(hello))) => {
                let limits = self.limits();
                let user = match self.terms.guest.greet(&hello, &limits, now()) {
                    Ok(user) => user,
                    Err(fault) => return Err(self.turn_down("hello", fault).await),
                };
                self.greeting = Greeting::Done;
                // Behind the answer to an earlier one.
                self.held.extend(line_of(&HelloAnswer { ok: true, server: SERVER.to_owned(), user }));
                Ok(None)
            }
            (_, Err(error @ (RequestError::UnsupportedVersion(_) | RequestError::NotJson(_)))) => {
                Err(self.turn_down(command_of(&error), error.fault()).await)
            }
            (Greeting::Awaited, _) => {
                let message = format!("the first line is the hello: {{\"hello\":\"{}\"}}", crate::wire::VERSION);
                Err(self.turn_down("hello", Fault::new(ErrorName::BadRequest, message)).await)
            }
            (Greeting::Done, Ok(request)) => match self.terms.guest.check_known(&request) {
                Ok(()) => Ok(Some(request)),
                Err(fault) => Err(self.turn_down("hello", fault).await),
            },
            (Greeting::Done, Err(error)) => {
                let fault = error.fault();
                if fault.close {
                    return Err(self.turn_down(command_of(&error), fault).await);
                }
                self.terms.scribe.refused(command_of(&error), &fault, &self.terms.guest);
                self.answer(&fault).await.map(|()| None)
            }
        }
    }

    /// Sends parts in one write, behind the hello's answer where that is still due.
    pub(crate) async fn send<const N: usize>(&mut self, parts: [&[u8]; N]) -> Result<(), Close> {
        let held = std::mem::take(&mut self.held);
        tokio::select! {
            biased;
            sent = self.framed.send(std::iter::once(held.as_slice()).chain(parts)) => Ok(sent?),
            // Half an answer cannot be followed by a word.
            () = reached(&mut self.terms.phase, Phase::Hurrying) => Err(Close::CutOff),
        }
    }

    async fn send_held(&mut self) -> Result<(), Close> {
        if self.held.is_empty() { Ok(()) } else { self.send([]).await }
    }

    /// Sends one line.
    pub(crate) async fn answer<T: Serialize>(&mut self, answer: &T) -> Result<(), Close> {
        self.send([&line_of(answer)]).await
    }

    /// Sends a refusal, and ends the connection where it is one of the client altogether.
    pub(crate) async fn refuse(&mut self, fault: &Fault) -> Result<(), Close> {
        self.terms.scribe.note_fault(fault);
        if fault.close { Err(self.end(fault.clone()).await) } else { self.answer(fault).await }
    }

    /// Sends a body that is at hand, with its header and trailer.
    pub(crate) async fn answer_body(&mut self, body: &[u8]) -> Result<(), Close> {
        let head = line_of(&BodyAnswer { ok: true, len: body.len() as u64 });
        let trailer = line_of(&Trailer::of_server(crate::digest::Crc32::of(body)));
        self.send([&head, body, &trailer]).await?;
        self.terms.scribe.note_bytes(body.len());
        Ok(())
    }

    /// Sends the connection's last line, and reads on for a moment: a close with unread bytes
    /// would make the kernel send a reset, which can destroy the line before the client has read it.
    pub(crate) async fn end(&mut self, fault: Fault) -> Close {
        // In memory of its own: few sessions need it, and all would have room for it.
        Box::pin(self.say_last(fault.closing())).await
    }

    async fn say_last(&mut self, fault: Fault) -> Close {
        self.terms.scribe.note_fault(&fault);
        let held = std::mem::take(&mut self.held);
        let line = line_of(&fault);
        if let Err(error) = self.framed.send([held.as_slice(), &line]).await {
            return error.into();
        }
        self.linger().await;
        Close::Refused(fault)
    }

    async fn linger(&mut self) {
        let discard_bytes_max = self.limits().discard_bytes_max;
        let at_most = self.lingers();
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
        drop(timeout(at_most, read_on).await);
    }

    fn lingers(&self) -> Duration {
        match self.phase() {
            Phase::Running => LINGER,
            Phase::Draining | Phase::Hurrying => LINGER_STOPPING,
        }
    }

    /// Ends a connection whose bytes make no sense any more; `what` was being read.
    pub(crate) async fn broken(&mut self, error: FrameError, what: &str) -> Close {
        let name = match &error {
            FrameError::Ended | FrameError::BadChunk(_) => ErrorName::BadRequest,
            FrameError::LineTooLong { .. } | FrameError::BodyTooLarge { .. } => ErrorName::TooLarge,
            FrameError::Stalled { .. } | FrameError::TooSlow { .. } => ErrorName::Timeout,
            FrameError::Io(_) => return Close::Lost(error),
        };
        self.end(Fault::new(name, format!("{what}: {error}: nothing was stored"))).await
    }

    /// The next piece of a body.
    pub(crate) async fn piece(&mut self, body: &mut BodyReader) -> Result<Option<bytes::Bytes>, Close> {
        self.piece_within(body, PIECE_BYTES_MAX).await
    }

    /// The same, where there is room for `most` bytes.
    pub(crate) async fn piece_within(
        &mut self,
        body: &mut BodyReader,
        most: usize,
    ) -> Result<Option<bytes::Bytes>, Close> {
        let read = tokio::select! {
            biased;
            read = body.next_within(&mut self.framed, most) => read,
            () = reached(&mut self.terms.phase, Phase::Hurrying) => {
                return Err(self.end(Fault::new(ErrorName::Unavailable, CUT_OFF)).await);
            }
        };
        match read {
            Ok(piece) => {
                self.terms.scribe.note_bytes(piece.as_ref().map_or(0, bytes::Bytes::len));
                Ok(piece)
            }
            Err(error) => Err(self.broken(error, &place_in(body)).await),
        }
    }

    /// Whether there is more of a body.
    pub(crate) async fn has_more(&mut self, body: &mut BodyReader) -> Result<bool, Close> {
        let read = tokio::select! {
            biased;
            read = body.has_more(&mut self.framed) => read,
            () = reached(&mut self.terms.phase, Phase::Hurrying) => {
                return Err(self.end(Fault::new(ErrorName::Unavailable, CUT_OFF)).await);
            }
        };
        match read {
            Ok(has_more) => Ok(has_more),
            Err(error) => Err(self.broken(error, &place_in(body)).await),
        }
    }

    /// The line behind a body that was read to its end.
    pub(crate) async fn trailer(&mut self, body: &BodyReader) -> Result<Trailer, Close> {
        let line = tokio::select! {
            biased;
            line = self.framed.line_in_time(HEADER_BYTES_MAX) => line,
            () = reached(&mut self.terms.phase, Phase::Hurrying) => {
                return Err(self.end(Fault::new(ErrorName::Unavailable, CUT_OFF)).await);
            }
        };
        let read = match line {
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
        let discard_bytes_max = self.limits().discard_bytes_max;
        if body.left().is_some_and(|left| left > discard_bytes_max) {
            return Err(self.end(fault).await);
        }
        self.refuse(&fault).await?;
        let start = body.read();
        while self.piece(&mut body).await?.is_some() {
            if body.read() - start > discard_bytes_max {
                self.linger().await;
                return Err(Close::Refused(fault));
            }
        }
        self.trailer(&body).await.map(|_| ())
    }

    /// Whether the daemon stops, so that what goes on for long is to be ended.
    pub(crate) fn is_draining(&self) -> bool {
        *self.terms.phase.borrow() != Phase::Running
    }

    /// Waits for `work` while the client stays and the daemon runs.
    pub(crate) async fn while_connected<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Close> {
        match self.until_sent_away(work).await? {
            Ok(done) => Ok(done),
            Err(why) => Err(self.end(why).await),
        }
    }

    /// The same, for who has something to say before the reason why the client has to go.
    pub(crate) async fn until_sent_away<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<Result<T, Fault>, Close> {
        self.send_held().await?;
        let mut work = std::pin::pin!(work);
        loop {
            let may_read = self.framed.buffered().len() < READ_BYTES;
            tokio::select! {
                biased;
                fault = self.terms.guest.expelled() => return Ok(Err(fault)),
                done = &mut work => return Ok(Ok(done)),
                () = reached(&mut self.terms.phase, Phase::Draining) => {
                    return Ok(Err(Fault::new(ErrorName::Unavailable, STOPPING)));
                }
                read = self.framed.fill(), if may_read => if read.map_err(FrameError::from)? == 0 {
                    return Err(Close::ClientLeft);
                },
            }
        }
    }
}

/// Where in a body its reader is, for people.
pub(crate) fn place_in(body: &BodyReader) -> String {
    format!("the body after {} bytes", body.read())
}

/// What is said when something was awaited in vain.
pub(crate) fn late(what: &str, after: Duration) -> Fault {
    Fault::new(ErrorName::Timeout, format!("{what} did not come within {} s: connect again", after.as_secs()))
}

/// Returns when a connection without a request has to go, and why.
pub(crate) async fn sent_away(terms: &mut Terms) -> Fault {
    tokio::select! {
        biased;
        () = reached(&mut terms.phase, Phase::Draining) => Fault::new(ErrorName::Unavailable, STOPPING),
        () = terms.pass.displaced() => Fault::new(ErrorName::Busy, DISPLACED),
    }
}

fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
