//! A client of the wire that never waits for ever: one connection a request.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

/// Longer than any answer may take: `stall_after`, and what a loaded machine adds.
pub(crate) const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// How a request ended.
pub(crate) enum Reply {
    Done(Value),
    Refused {
        error: String,
        message: String,
    },
    /// No answer, or half of one.
    None(String),
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(answer) => write!(f, "{answer}"),
            Self::Refused { error, message } => write!(f, "{error}: {message}"),
            Self::None(why) => write!(f, "no answer: {why}"),
        }
    }
}

pub(crate) fn put(address: &str, path: &str, bytes: &[u8]) -> Reply {
    let crc32 = format!("{:08x}", crc32fast::hash(bytes));
    let mut body = bytes.to_vec();
    body.extend_from_slice(format!("{{\"crc32\":\"{crc32}\"}}\n").as_bytes());
    ask(address, &json!({"op": "put", "path": path, "len": bytes.len()}), &body)
}

/// A request whose answer is one line.
pub(crate) fn ask(address: &str, request: &Value, body: &[u8]) -> Reply {
    let answer = open(address, request, body).and_then(|mut stream| line(&mut stream));
    match answer {
        Err(error) => Reply::None(error.to_string()),
        Ok(answer) => judge(answer),
    }
}

/// A request whose answer has a body; refused too where the body breaks off.
pub(crate) fn fetch(address: &str, request: &Value) -> Result<Vec<u8>, Reply> {
    let none = |error: io::Error| Reply::None(error.to_string());
    let mut stream = open(address, request, &[]).map_err(none)?;
    let answer = match judge(line(&mut stream).map_err(none)?) {
        Reply::Done(answer) => answer,
        other => return Err(other),
    };
    let mut bytes = vec![0; answer["len"].as_u64().unwrap_or_default() as usize];
    stream.read_exact(&mut bytes).map_err(none)?;
    match judge(line(&mut stream).map_err(none)?) {
        Reply::Done(trailer) if trailer["crc32"] == format!("{:08x}", crc32fast::hash(&bytes)) => Ok(bytes),
        Reply::Done(trailer) => Err(Reply::None(format!("another checksum than {trailer}"))),
        other => Err(other),
    }
}

fn open(address: &str, request: &Value, body: &[u8]) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWERED_WITHIN))?;
    stream.set_write_timeout(Some(ANSWERED_WITHIN))?;
    let mut stream = BufReader::new(stream);
    let mut text = format!("{{\"hello\":\"twinstick/1\"}}\n{request}\n").into_bytes();
    text.extend_from_slice(body);
    stream.get_mut().write_all(&text)?;
    line(&mut stream)?;
    Ok(stream)
}

fn line(stream: &mut BufReader<TcpStream>) -> io::Result<Value> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

fn judge(answer: Value) -> Reply {
    if answer["ok"] == true {
        return Reply::Done(answer);
    }
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    Reply::Refused { error: text("error"), message: text("message") }
}
