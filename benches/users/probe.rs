//! A client that waits for each answer and notes how long it took.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use serde_json::{Value, json};
use twinstick::digest::Crc32;

/// How long an answer may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_mins(2);
/// What is handed to the socket at once.
const PIECE: usize = 64 << 10;

/// One connection.
pub(crate) struct Probe(BufReader<TcpStream>);

/// How long requests took, by rounds.
#[derive(Default)]
pub(crate) struct Times(Vec<Vec<Duration>>);

impl Probe {
    /// Connects and says hello.
    pub(crate) fn new(address: &str, token: Option<&str>) -> Self {
        let mut probe = Self::on(TcpStream::connect(address).unwrap());
        probe.send(&hello(token));
        let answer = probe.answer();
        assert_eq!(answer["ok"], true, "{answer}");
        probe
    }

    fn on(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// How long it takes to be refused for a token, from an address of its own.
    pub(crate) fn refused(address: &str, from: IpAddr, token: &str) -> Duration {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from((from, 0))).unwrap();
        connect(&socket, &address.parse::<SocketAddr>().unwrap()).unwrap();
        let mut probe = Self::on(socket.into());
        let begun = Instant::now();
        probe.send(&hello(Some(token)));
        assert_eq!(probe.answer()["error"], "denied");
        begun.elapsed()
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Gets a file; its length.
    pub(crate) fn get(&mut self, path: &str) -> usize {
        self.send(format!("{}\n", json!({"op": "get", "path": path})).as_bytes());
        let head = self.answer();
        let len = head["len"].as_u64().unwrap_or_else(|| panic!("{head}")) as usize;
        let mut body = vec![0; len];
        self.0.read_exact(&mut body).unwrap();
        assert_eq!(self.answer()["crc32"], Crc32::of(&body).to_string());
        len
    }

    fn get_small(&mut self, number: usize) {
        assert_eq!(self.get(&format!("small/{number}")), super::SMALL);
    }

    pub(crate) fn put(&mut self, path: &str, bytes: &[u8]) {
        let head = json!({"op": "put", "path": path, "len": bytes.len()});
        let trailer = json!({"crc32": Crc32::of(bytes).to_string()});
        self.send(&[format!("{head}\n").as_bytes(), bytes, format!("{trailer}\n").as_bytes()].concat());
        let answer = self.answer();
        assert_eq!(answer["ok"], true, "{answer}");
    }

    /// Puts a large file, unless it is stopped in the middle; whether it was stored.
    pub(crate) fn put_large(&mut self, path: &str, len: usize, stop: &AtomicBool) -> bool {
        let piece: Vec<u8> = (0..PIECE).map(|byte| (byte % 251) as u8).collect();
        self.send(format!("{}\n", json!({"op": "put", "path": path, "len": len})).as_bytes());
        let mut crc = crc32fast::Hasher::new();
        for _ in 0..len / PIECE {
            if stop.load(Ordering::Acquire) {
                return false;
            }
            crc.update(&piece);
            self.send(&piece);
        }
        self.send(format!("{}\n", json!({"crc32": Crc32(crc.finalize()).to_string()})).as_bytes());
        let answer = self.answer();
        assert_eq!(answer["ok"], true, "{answer}");
        true
    }

    /// Begins to edit a sentence of a text, and does not go on.
    pub(crate) fn edit(&mut self, path: &str, sentence: usize) {
        self.send(format!("{}\n", json!({"op": "edit", "path": path, "sentence": sentence})).as_bytes());
        let head = self.answer();
        let len = head["len"].as_u64().unwrap_or_else(|| panic!("{head}")) as usize;
        self.0.read_exact(&mut vec![0; len]).unwrap();
        assert_eq!(self.answer()["ok"], true);
    }

    pub(crate) fn gets_for(&mut self, at_most: Duration, files: usize) -> Vec<Duration> {
        let end = Instant::now() + at_most;
        self.timed(|| Instant::now() > end, |probe, number| probe.get_small(number % files))
    }

    pub(crate) fn gets_until(&mut self, done: &AtomicBool, files: usize) -> Vec<Duration> {
        self.timed(|| done.load(Ordering::Acquire), |probe, number| probe.get_small(number % files))
    }

    pub(crate) fn puts_for(&mut self, at_most: Duration, files: usize) -> Vec<Duration> {
        let end = Instant::now() + at_most;
        let put =
            |probe: &mut Self, number| probe.put(&format!("own/{}", number % files), &[number as u8; super::SMALL]);
        self.timed(|| Instant::now() > end, put)
    }

    fn timed(&mut self, is_over: impl Fn() -> bool, request: impl Fn(&mut Self, usize)) -> Vec<Duration> {
        let mut times = Vec::new();
        while !is_over() {
            let begun = Instant::now();
            request(self, times.len());
            times.push(begun.elapsed());
        }
        times
    }
}

/// Has the calling thread work with what of the processors nobody else wants.
pub(crate) fn give_way() {
    rustix::process::setpriority_process(Some(rustix::thread::gettid()), 19).unwrap();
}

pub(crate) fn hello(token: Option<&str>) -> Vec<u8> {
    let mut hello = json!({"hello": "twinstick/1"});
    if let Some(token) = token {
        hello["token"] = token.into();
    }
    format!("{hello}\n").into_bytes()
}

impl Times {
    pub(crate) fn add(&mut self, mut round: Vec<Duration>) {
        round.sort_unstable();
        self.0.push(round);
    }

    /// The median of the rounds, in seconds.
    pub(crate) fn p99(&self) -> f64 {
        self.of_rounds(0.99).as_secs_f64()
    }

    fn of_rounds(&self, part: f64) -> Duration {
        let of_round = |round: &Vec<Duration>| round[((round.len() - 1) as f64 * part) as usize];
        super::median(self.0.iter().map(of_round).collect())
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.0.iter().map(Vec::len).sum();
        let most = self.0.iter().filter_map(|round| round.last()).max().unwrap();
        write!(
            f,
            "p50 {:?}, p99 {:?}, at most {most:?}, {count} in {} rounds",
            self.of_rounds(0.5),
            self.of_rounds(0.99),
            self.0.len()
        )
    }
}
