//! A client that speaks the wire itself, so that it knows what it was told before a connection broke.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::wait::PATIENCE;

/// What the daemon said to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done; for a GET with the bytes.
    Done(Vec<u8>),
    /// The error's name.
    Refused(String),
}

/// A connection. After an error it is of no use, and what became of the request is not known.
pub struct Link(BufReader<TcpStream>);

impl Link {
    pub fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut link = Self(BufReader::new(stream));
        link.send(&json!({"hello": "twinstick/1"}), &[])?;
        let hello = link.line()?;
        if hello["ok"] == true { Ok(link) } else { Err(io::Error::other(hello.to_string())) }
    }

    pub fn put(&mut self, path: &str, bytes: &[u8], id: Option<&str>) -> io::Result<Reply> {
        let request = with_id(json!({"op": "put", "path": path, "len": bytes.len()}), id);
        let trailer = format!("{{\"crc32\":\"{:08x}\"}}\n", crc32fast::hash(bytes));
        self.send(&request, &[bytes, trailer.as_bytes()])?;
        self.reply()
    }

    pub fn remove(&mut self, path: &str, id: Option<&str>) -> io::Result<Reply> {
        self.send(&with_id(json!({"op": "rm", "path": path}), id), &[])?;
        self.reply()
    }

    /// Moves a file to a free name.
    pub fn rename(&mut self, from: &str, to: &str, id: Option<&str>) -> io::Result<Reply> {
        self.send(&with_id(json!({"op": "mv", "path": from, "to": to}), id), &[])?;
        self.reply()
    }

    /// Gets a file. Bytes that do not match the trailer are an error like a broken connection: the client was told.
    pub fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.send(&json!({"op": "get", "path": path}), &[])?;
        let answer = self.line()?;
        let Some(len) = answer["len"].as_u64() else { return refused(&answer) };
        let mut bytes = vec![0; len as usize];
        self.0.read_exact(&mut bytes)?;
        let trailer = self.line()?;
        if trailer["ok"] != true {
            return refused(&trailer);
        }
        let crc32 = format!("{:08x}", crc32fast::hash(&bytes));
        assert_eq!(trailer["crc32"], crc32.as_str(), "{path}: the trailer is not that of the bytes");
        Ok(Reply::Done(bytes))
    }

    /// How the mirror is.
    pub fn status(&mut self) -> io::Result<Value> {
        self.send(&json!({"op": "status"}), &[])?;
        let answer = self.line()?;
        let len = answer["len"].as_u64().ok_or_else(|| io::Error::other(answer.to_string()))?;
        let mut document = vec![0; len as usize];
        self.0.read_exact(&mut document)?;
        self.line()?;
        Ok(serde_json::from_slice(&document)?)
    }

    fn send(&mut self, request: &Value, body: &[&[u8]]) -> io::Result<()> {
        let mut bytes = format!("{request}\n").into_bytes();
        body.iter().for_each(|part| bytes.extend_from_slice(part));
        self.0.get_mut().write_all(&bytes)
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let answer = self.line()?;
        if answer["ok"] == true { Ok(Reply::Done(Vec::new())) } else { refused(&answer) }
    }

    fn line(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => {
                Ok(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}")))
            }
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("the daemon says nothing for {PATIENCE:?}")
            }
            Err(error) => Err(error),
        }
    }
}

/// An error after which the connection ends may have come before the request was read.
fn refused(answer: &Value) -> io::Result<Reply> {
    let name = answer["error"].as_str().unwrap_or_else(|| panic!("neither an answer nor an error: {answer}"));
    if answer["close"] == true {
        return Err(io::Error::other(name.to_owned()));
    }
    Ok(Reply::Refused(name.to_owned()))
}

fn with_id(mut request: Value, id: Option<&str>) -> Value {
    if let Some(id) = id {
        request["id"] = id.into();
    }
    request
}
