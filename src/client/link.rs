//! One connection to a server, one request at a time.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::bandwidth::Bandwidth;
use crate::client::error::ClientError;
use crate::client::limits::{CONNECT_TIMEOUT, STALL_TIMEOUT};
use crate::client::trust::{Stream, Trust};
use crate::wire::limits::HEADER_BYTES_MAX;
use crate::wire::{
    AnswerError, BodyAnswer, BodyReader, FrameError, Framed, HelloAnswer, Metered, MutationAnswer, Pace, Priority,
    RequestLine, Secret, Trailer, VERSION, line_of, read_answer,
};

/// Where in an exchange the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    /// The next request can be sent.
    Over,
    /// Something is owed by one side. Left in the middle, the connection is of no more use.
    UnderWay,
    /// All of the request is sent, and nothing has come back.
    Unanswered,
}

/// How a client's requests are to be taken.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    pub priority: Priority,
    pub bandwidth: Option<Arc<Bandwidth>>,
}

/// Whether an answer may take as long as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    Limited,
    Endless,
}

pub(crate) struct Link {
    framed: Framed<Metered<Box<dyn Stream>>>,
    address: String,
    /// The hello, which leaves with the first request.
    hello: Vec<u8>,
    hello_answer_due: bool,
    exchange: Exchange,
    bandwidth: Option<Arc<Bandwidth>>,
}

/// An address with a zone, `[fe80::1%eth0]:8946`, is understood by the system's resolver alone, without its brackets.
async fn dial(address: &str) -> std::io::Result<TcpStream> {
    let zoned = address.strip_prefix('[').and_then(|rest| rest.split_once("]:")).filter(|(host, _)| host.contains('%'));
    match zoned.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?))) {
        Some(zoned) => TcpStream::connect(zoned).await,
        None => TcpStream::connect(address).await,
    }
}

impl Link {
    pub(crate) async fn connect(
        address: &str,
        token: Option<&Secret>,
        trust: &Trust,
        manner: &Manner,
    ) -> Result<Self, ClientError> {
        let unreachable = |source| ClientError::Unreachable { address: address.to_owned(), source };
        let stream = timeout(CONNECT_TIMEOUT, dial(address)).await;
        let stream = stream.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let stream = trust.secure(stream, address).await?;
        let token = token.cloned();
        // What is usual is not said.
        let priority = Some(manner.priority).filter(|priority| *priority != Priority::default());
        let hello = RequestLine { hello: Some(VERSION.to_owned()), token, priority, ..RequestLine::default() };
        Ok(Self {
            framed: Framed::new(stream, Pace { stall: STALL_TIMEOUT, rate_min: 0 }),
            address: address.to_owned(),
            hello: line_of(&hello),
            hello_answer_due: true,
            exchange: Exchange::Over,
            bandwidth: manner.bandwidth.clone(),
        })
    }

    /// Whether another request can be sent.
    pub(crate) fn is_usable(&self) -> bool {
        self.exchange == Exchange::Over
    }

    /// Whether what was asked for may have been done, and nobody says so.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.exchange == Exchange::Unanswered
    }

    /// All of a request is sent.
    pub(crate) fn sent(&mut self) {
        self.exchange = Exchange::Unanswered;
    }

    /// Begins an exchange: the bytes of its header line, behind the hello where that is still due.
    pub(crate) fn head(&mut self, line: &RequestLine) -> Vec<u8> {
        self.exchange = Exchange::UnderWay;
        let mut bytes = std::mem::take(&mut self.hello);
        bytes.extend(line_of(line));
        bytes
    }

    pub(crate) async fn send(&mut self, parts: &[&[u8]]) -> Result<(), ClientError> {
        let sent = self.framed.send(parts.iter().copied()).await;
        sent.map_err(|source| self.lost(source))
    }

    /// Sends a piece of a body, no faster than it may go.
    pub(crate) async fn send_piece(&mut self, lead: &[u8], piece: &[u8], tail: &[u8]) -> Result<(), ClientError> {
        let Some(bandwidth) = self.bandwidth.clone() else { return self.send(&[lead, piece, tail]).await };
        self.send(&[lead]).await?;
        for part in piece.chunks(bandwidth.part()) {
            bandwidth.pass(part.len()).await;
            self.send(&[part]).await?;
        }
        self.send(&[tail]).await
    }

    /// Sends a request that has no body.
    pub(crate) async fn ask(&mut self, line: &RequestLine) -> Result<(), ClientError> {
        let head = self.head(line);
        self.send(&[&head]).await?;
        self.sent();
        Ok(())
    }

    /// Says hello, unless that was done.
    pub(crate) async fn arrive(&mut self) -> Result<(), ClientError> {
        if self.hello_answer_due { self.greet().await.map(drop) } else { Ok(()) }
    }

    /// Says hello before there is a request.
    pub(crate) async fn greet(&mut self) -> Result<Option<String>, ClientError> {
        let hello = std::mem::take(&mut self.hello);
        self.send(&[&hello]).await?;
        let answer = self.line::<HelloAnswer>(Patience::Limited).await?;
        self.hello_answer_due = false;
        Ok(answer.user)
    }

    /// Says hello without a token, for who has none yet.
    pub(crate) async fn greet_to_log_in(&mut self) -> Result<(), ClientError> {
        let hello = RequestLine { hello: Some(VERSION.to_owned()), login: true, ..RequestLine::default() };
        self.hello = line_of(&hello);
        self.greet().await.map(drop)
    }

    /// The line that ends an exchange.
    pub(crate) async fn last<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        let answer = self.answer(Patience::Limited).await?;
        self.exchange = Exchange::Over;
        Ok(answer)
    }

    /// As [`Link::last`], for one that may take as long as it likes.
    pub(crate) async fn last_in_its_time<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        let answer = self.answer(Patience::Endless).await?;
        self.exchange = Exchange::Over;
        Ok(answer)
    }

    /// A line of the server's. A refusal ends the exchange.
    pub(crate) async fn answer<T: DeserializeOwned>(&mut self, patience: Patience) -> Result<T, ClientError> {
        if self.hello_answer_due {
            self.line::<HelloAnswer>(Patience::Limited).await?;
            self.hello_answer_due = false;
        }
        self.line(patience).await
    }

    async fn line<T: DeserializeOwned>(&mut self, patience: Patience) -> Result<T, ClientError> {
        let line = match patience {
            Patience::Limited => self.framed.line_in_time(HEADER_BYTES_MAX).await,
            Patience::Endless => {
                self.framed.line(HEADER_BYTES_MAX).await.and_then(|line| line.ok_or(FrameError::Ended))
            }
        };
        let read = match line {
            Ok(line) => read_answer(line),
            Err(source) => return Err(self.lost(source)),
        };
        read.map_err(|error| {
            if let AnswerError::Refused(fault) = &error {
                self.exchange = if fault.close { Exchange::UnderWay } else { Exchange::Over };
            }
            ClientError::of_answer(error, &self.address)
        })
    }

    /// Whether the server has said something, though it is not its turn: it refuses a body before its end.
    pub(crate) async fn spoke_early(&mut self) -> bool {
        if self.framed.buffered().len() < HEADER_BYTES_MAX {
            // A lost connection shows at the next write.
            drop(self.framed.fill_now().await);
        }
        // A hello's answer alone is what was expected.
        self.framed.buffered().split(|byte| *byte == b'\n').count() > 1 + usize::from(self.hello_answer_due)
    }

    /// Why a body could not be sent to its end: a server that refuses one says so before it closes.
    /// The connection is of no more use behind it.
    pub(crate) async fn parting_word(&mut self, otherwise: ClientError) -> ClientError {
        let answer = self.answer::<MutationAnswer>(Patience::Limited).await;
        self.exchange = Exchange::UnderWay;
        match answer {
            Err(refused @ ClientError::Refused(_)) => refused,
            Ok(_) | Err(_) => otherwise,
        }
    }

    /// An answer that came before the body was sent.
    pub(crate) async fn early_refusal(&mut self) -> ClientError {
        let otherwise = self.lost(FrameError::Ended);
        self.parting_word(otherwise).await
    }

    /// The next piece of an answer's body.
    pub(crate) async fn piece(&mut self, body: &mut BodyReader) -> Result<Option<Bytes>, ClientError> {
        let piece = body.next(&mut self.framed).await.map_err(|source| self.lost(source))?;
        if let (Some(bandwidth), Some(piece)) = (&self.bandwidth, &piece) {
            bandwidth.pass(piece.len()).await;
        }
        Ok(piece)
    }

    /// A whole body of the server's, checked against its trailer.
    pub(crate) async fn small_body(&mut self, what: &str, patience: Patience) -> Result<Vec<u8>, ClientError> {
        let BodyAnswer { len, .. } = self.answer(patience).await?;
        let mut reader = BodyReader::new(crate::wire::BodyLength::Known(len), u64::MAX);
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&mut reader).await? {
            body.extend_from_slice(&piece);
        }
        let Trailer { crc32: expected, .. } = self.last().await?;
        let actual = crate::digest::Crc32::of(&body);
        if actual == expected {
            Ok(body)
        } else {
            Err(ClientError::Damaged { path: what.to_owned(), expected, actual })
        }
    }

    fn lost(&self, source: FrameError) -> ClientError {
        ClientError::Lost { address: self.address.clone(), source }
    }
}
