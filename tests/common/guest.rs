//! An asynchronous client that does as it is told, also what none should do.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use twinstick::digest::Crc32;
use twinstick_rig::PATIENCE;

pub(crate) const HELLO: &str = "{\"hello\":\"twinstick/1\"}\n";

/// One connection.
pub(crate) struct Guest(BufReader<TcpStream>);

impl Guest {
    /// Connects from one of the loopback's addresses: each has ports of its own, and is a host of its own.
    pub(crate) async fn connect(to: SocketAddr, from: Ipv4Addr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((from, 0)))?;
        Ok(Self(BufReader::new(patiently(socket.connect(to)).await?)))
    }

    /// Connects and exchanges hellos.
    pub(crate) async fn greeted(to: SocketAddr, from: Ipv4Addr) -> io::Result<Self> {
        let mut guest = Self::connect(to, from).await?;
        guest.send(HELLO.as_bytes()).await?;
        let answer = guest.answer().await?;
        if answer["ok"] == true { Ok(guest) } else { Err(io::Error::other(answer.to_string())) }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        patiently(self.0.get_mut().write_all(bytes)).await
    }

    /// The next line; an end without one is an error.
    pub(crate) async fn answer(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        match patiently(self.0.read_line(&mut line)).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => serde_json::from_str(&line).map_err(io::Error::other),
        }
    }

    /// Begins a body of `len` bytes.
    pub(crate) async fn begin_put(&mut self, path: &str, len: usize) -> io::Result<()> {
        self.send(format!("{}\n", json!({"op": "put", "path": path, "len": len})).as_bytes()).await
    }

    /// Puts a file; the answer.
    pub(crate) async fn put(&mut self, path: &str, bytes: &[u8]) -> io::Result<Value> {
        let head = format!("{}\n", json!({"op": "put", "path": path, "len": bytes.len()}));
        let trailer = format!("{}\n", json!({"crc32": Crc32::of(bytes).to_string()}));
        let whole = [head.as_bytes(), bytes, trailer.as_bytes()].concat();
        // The answer may come before the last byte was taken, and says more than the error.
        let sent = self.send(&whole).await;
        self.answer().await.or_else(|error| sent.and(Err(error)))
    }

    /// Asks for a file; the header.
    pub(crate) async fn begin_get(&mut self, path: &str) -> io::Result<Value> {
        let sent = self.send(format!("{}\n", json!({"op": "get", "path": path})).as_bytes()).await;
        self.answer().await.or_else(|error| sent.and(Err(error)))
    }

    /// Gets a file; `Err` in the inside is the refusal.
    pub(crate) async fn get(&mut self, path: &str) -> io::Result<Result<Vec<u8>, Value>> {
        let head = self.begin_get(path).await?;
        let Some(len) = head["len"].as_u64() else { return Ok(Err(head)) };
        let bytes = self.bytes(len as usize).await?;
        let trailer = self.answer().await?;
        Ok(if trailer["crc32"] == Crc32::of(&bytes).to_string() { Ok(bytes) } else { Err(trailer) })
    }

    pub(crate) async fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        patiently(self.0.read_exact(&mut bytes)).await?;
        Ok(bytes)
    }

    /// Whether the other end has neither said a word nor closed.
    pub(crate) fn is_silent(&self) -> bool {
        let mut byte = [0];
        let read = self.0.get_ref().try_read(&mut byte);
        self.0.buffer().is_empty() && read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Ends as a client's machine does that lost its power and came back.
    pub(crate) fn reset(self) {
        self.0.get_ref().set_zero_linger().unwrap();
    }
}

async fn patiently<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Waits for a condition of the kind that only a look tells.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let looks = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, looks).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

/// Runs a test's clients.
pub(crate) fn run<T>(clients: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(clients)
}
