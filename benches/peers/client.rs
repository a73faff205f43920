//! A connection to a server, over this project's wire or HTTP. Each body that comes is checked.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::content::{File, PIECE};

/// Files up to here go out with what is before and behind them in one write.
const TOGETHER_BYTES: u64 = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Wire,
    Http,
}

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    protocol: Protocol,
    line: String,
}

impl Client {
    pub(crate) async fn connect(protocol: Protocol, address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream: BufReader::with_capacity(PIECE, stream), protocol, line: String::new() };
        if protocol == Protocol::Wire {
            client.send(&json!({"hello": "twinstick/1"})).await?;
            client.answer().await?;
        }
        Ok(client)
    }

    pub(crate) async fn put(&mut self, path: &str, file: File) -> Result<()> {
        let (head, tail) = match self.protocol {
            Protocol::Wire => (
                format!("{}\n", json!({"op": "put", "path": path, "len": file.len})),
                format!("{{\"crc32\":\"{:08x}\"}}\n", file.crc32()),
            ),
            Protocol::Http => {
                (format!("PUT /{path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {}\r\n\r\n", file.len), String::new())
            }
        };
        let mut bytes = head.into_bytes();
        for piece in file.pieces() {
            if file.len <= TOGETHER_BYTES {
                bytes.extend_from_slice(piece);
            } else {
                self.stream.write_all(&bytes).await?;
                bytes.clear();
                self.stream.write_all(piece).await?;
            }
        }
        bytes.extend_from_slice(tail.as_bytes());
        self.stream.write_all(&bytes).await?;
        match self.protocol {
            Protocol::Wire => drop(self.answer().await?),
            // 201 or 204, without a body.
            Protocol::Http => {
                self.body().await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn get(&mut self, path: &str, file: File) -> Result<()> {
        match self.protocol {
            Protocol::Wire => self.send(&json!({"op": "get", "path": path})).await?,
            Protocol::Http => self.get_http(path).await?,
        }
        let (len, crc32) = self.fetch(|_| ()).await?;
        ensure!((len, crc32) == (file.len, file.crc32()), "{path}: {len} bytes with CRC-32 {crc32:08x} came");
        Ok(())
    }

    /// How many entries a folder has.
    pub(crate) async fn list(&mut self, path: &str) -> Result<usize> {
        let mut listed = Vec::new();
        match self.protocol {
            Protocol::Wire => self.send(&json!({"op": "ls", "path": path})).await?,
            Protocol::Http => self.get_http(&format!("{path}/")).await?,
        }
        self.fetch(|piece| listed.extend_from_slice(piece)).await?;
        // nginx tells one entry a line too, in brackets of their own.
        Ok(listed.split(|byte| *byte == b'\n').filter(|line| line.windows(6).any(|part| part == b"\"name\"")).count())
    }

    async fn get_http(&mut self, path: &str) -> Result<()> {
        let head = format!("GET /{path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        Ok(self.stream.write_all(head.as_bytes()).await?)
    }

    async fn send(&mut self, request: &Value) -> Result<()> {
        Ok(self.stream.write_all(format!("{request}\n").as_bytes()).await?)
    }

    async fn read_line(&mut self) -> Result<&str> {
        self.line.clear();
        self.stream.read_line(&mut self.line).await?;
        ensure!(self.line.ends_with('\n'), "the connection was closed");
        Ok(self.line.trim_end())
    }

    /// An answer of the wire, or its trailer.
    async fn answer(&mut self) -> Result<Value> {
        let line = self.read_line().await?;
        let answer: Value = serde_json::from_str(line)?;
        ensure!(answer["ok"] == true, "{answer}");
        Ok(answer)
    }

    /// The body of an answer: its length and CRC-32, which on the wire is that of the trailer.
    async fn fetch(&mut self, mut take: impl FnMut(&[u8])) -> Result<(u64, u32)> {
        let mut hasher = crc32fast::Hasher::new();
        let mut total = 0;
        let mut take = |piece: &[u8]| {
            hasher.update(piece);
            total += piece.len() as u64;
            take(piece);
        };
        match self.protocol {
            Protocol::Wire => {
                let len = self.answer().await?["len"].as_u64().context("an answer with a length")?;
                self.exactly(len, &mut take).await?;
                let trailer = self.answer().await?;
                let crc32 = hasher.finalize();
                ensure!(trailer["crc32"] == format!("{crc32:08x}"), "{trailer} behind bytes with {crc32:08x}");
                Ok((total, crc32))
            }
            Protocol::Http => {
                match self.body().await? {
                    Length::Known(len) => self.exactly(len, &mut take).await?,
                    Length::Chunked => loop {
                        let len = u64::from_str_radix(self.read_line().await?, 16)?;
                        self.exactly(len, &mut take).await?;
                        self.read_line().await?;
                        if len == 0 {
                            break;
                        }
                    },
                }
                Ok((total, hasher.finalize()))
            }
        }
    }

    /// The head of an answer by HTTP; what comes behind it.
    async fn body(&mut self) -> Result<Length> {
        let status = self.read_line().await?.to_owned();
        if !status.starts_with("HTTP/1.1 2") {
            bail!("{status}");
        }
        let mut length = Length::Known(0);
        loop {
            let line = self.read_line().await?.to_ascii_lowercase();
            match line.split_once(": ") {
                None => return Ok(length),
                Some(("content-length", len)) => length = Length::Known(len.parse()?),
                Some(("transfer-encoding", "chunked")) => length = Length::Chunked,
                Some(_) => {}
            }
        }
    }

    async fn exactly(&mut self, mut len: u64, take: &mut impl FnMut(&[u8])) -> Result<()> {
        while len > 0 {
            let come = self.stream.fill_buf().await?;
            ensure!(!come.is_empty(), "the connection was closed in a body");
            let taken = come.len().min(usize::try_from(len)?);
            take(&come[..taken]);
            self.stream.consume(taken);
            len -= taken as u64;
        }
        Ok(())
    }

    /// Closes it in good order.
    pub(crate) async fn close(mut self) {
        if self.stream.shutdown().await.is_ok() {
            // The server closes its side, which says that it has no more to do for this connection.
            drop(self.stream.read_u8().await);
        }
    }
}

enum Length {
    Known(u64),
    Chunked,
}
