//! A server that says what a test wants it to say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// What becomes of a request.
pub(crate) enum Reply {
    Say(Vec<u8>),
    /// The connection is lost.
    HangUp,
    /// A part of the answer, and then it is lost.
    BreakOff(Vec<u8>),
}

/// A scripted server on a free port. One connection at a time.
pub(crate) struct Script {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Value>>>,
}

impl Script {
    /// `reply` is told the number of the request, from 0, and the request.
    pub(crate) fn start(mut reply: impl FnMut(usize, &Value) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                converse(stream.unwrap(), &seen, &mut reply);
            }
        });
        Self { address, requests }
    }

    /// The same answer to everything.
    pub(crate) fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_, _| Reply::Say(answer.clone()))
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }

    /// The client, pointed at this server.
    pub(crate) fn fget(&self) -> std::process::Command {
        let mut command = super::fget();
        command.arg("--server").arg(self.address.to_string());
        command
    }
}

fn converse(stream: TcpStream, seen: &Mutex<Vec<Value>>, reply: &mut impl FnMut(usize, &Value) -> Reply) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let request: Value = serde_json::from_str(&line).unwrap();
        if request["hello"].is_string() {
            reader.get_mut().write_all(b"{\"ok\":true,\"server\":\"script/1\"}\n").unwrap();
            continue;
        }
        if let (Some("put"), Some(len)) = (request["op"].as_str(), request["len"].as_u64()) {
            let mut body = vec![0; usize::try_from(len).unwrap()];
            reader.read_exact(&mut body).unwrap();
            reader.read_line(&mut String::new()).unwrap();
        }
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        match reply(number, &request) {
            Reply::Say(bytes) => reader.get_mut().write_all(&bytes).unwrap(),
            Reply::HangUp => return,
            Reply::BreakOff(bytes) => return reader.get_mut().write_all(&bytes).unwrap(),
        }
    }
}

/// An answer with a body and a right trailer.
pub(crate) fn with_body(head: &str, body: &[u8]) -> Vec<u8> {
    let trailer = format!("{{\"ok\":true,\"crc32\":\"{}\"}}\n", twinstick::digest::Crc32::of(body));
    [head.replace("<len>", &body.len().to_string()).as_bytes(), b"\n", body, trailer.as_bytes()].concat()
}

/// A refusal's line.
pub(crate) fn refusal(name: &str) -> Vec<u8> {
    format!("{{\"ok\":false,\"error\":\"{name}\",\"message\":\"as the script says\"}}\n").into_bytes()
}
