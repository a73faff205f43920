//! A client that says what it likes: raw lines and bytes on a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;

use crate::wait::PATIENCE;

/// A connection on which nothing is checked before it is sent.
pub struct Raw(BufReader<TcpStream>);

impl Raw {
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("a daemon that listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        Self(BufReader::new(stream))
    }

    /// Connects and exchanges hellos.
    pub fn greeted(address: &str) -> Self {
        let mut raw = Self::connect(address);
        raw.send(b"{\"hello\":\"twinstick/1\"}\n");
        let answer = raw.answer().expect("an answer to the hello");
        assert_eq!(answer["ok"], true, "{answer}");
        raw
    }

    /// Sends bytes as they are. The other end may have closed already: its answer says why.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.get_mut().write_all(bytes);
    }

    /// Says that nothing more will come.
    pub fn finish(&mut self) {
        let _ = self.0.get_mut().shutdown(Shutdown::Write);
    }

    /// The next line; nothing if the other end closed without a word.
    pub fn answer(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// The next line as it is.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).expect("as many bytes as were announced");
        bytes
    }
}
