//! Clients that send or read a byte now and then: they lose their place, and those who have to wait for the server do not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use twinstick::digest::Crc32;
use twinstick_rig::{Binaries, Drives, End, PATIENCE, Raw, Side, Twins, stages, wait_until};

const LARGE: usize = 4 << 20;
/// Between two crumbs of a slow client's.
const PAUSE: Duration = Duration::from_millis(20);

fn twins(limits: &str) -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let mut twins = Twins::new(binaries, Drives::Plain);
    twins.end(End::Drain);
    twins.configure(&format!("[limits]\n{limits}"));
    twins.serve();
    twins
}

/// A connection whose two directions are used at one time.
struct Both {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Both {
    fn greeted(twins: &Twins) -> Self {
        let writer = TcpStream::connect(twins.address()).unwrap();
        writer.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut both = Self { reader: BufReader::new(writer.try_clone().unwrap()), writer };
        both.writer.write_all(b"{\"hello\":\"twinstick/1\"}\n").unwrap();
        assert_eq!(both.answer()["ok"], true);
        both
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Sends a crumb again and again until there is an answer.
    fn answer_to_crumbs(&mut self, crumb: &[u8]) -> Value {
        let answered = AtomicBool::new(false);
        let mut writer = self.writer.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !answered.load(Ordering::Acquire) && writer.write_all(crumb).is_ok() {
                    sleep(PAUSE);
                }
            });
            let answer = self.answer();
            answered.store(true, Ordering::Release);
            answer
        })
    }
}

/// Ended as one that is silent is, with the least rate.
#[track_caller]
fn is_too_slow(answer: &Value) {
    assert_eq!((&answer["error"], &answer["close"]), (&json!("timeout"), &json!(true)), "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("at least 64.0 KiB a second are asked"), "{message}");
    assert!(!message.contains("after 0 bytes"), "some came: {message}");
}

#[test]
fn who_sends_a_crumb_now_and_then_is_ended_like_one_that_is_silent() {
    let twins = twins("stall_timeout = \"1s\"\nrate_min = \"64KiB\"\n");
    for (head, crumb) in [
        (json!({"op": "put", "path": "f", "len": LARGE}), b"x".as_slice()),
        (json!({"op": "put", "path": "f", "len": 60_000}), b"x"),
        (json!({"op": "put", "path": "f", "chunked": true}), b"1\nx"),
        (json!({"op": "append", "path": "f", "len": 60_000}), b"x"),
    ] {
        let mut slow = Both::greeted(&twins);
        writeln!(slow.writer, "{head}").unwrap();
        is_too_slow(&slow.answer_to_crumbs(crumb));
    }
    // What is refused is read to its end no slower.
    let mut slow = Both::greeted(&twins);
    writeln!(slow.writer, "{}", json!({"op": "put", "path": "../f", "len": 60_000})).unwrap();
    assert_eq!(slow.answer()["error"], "bad-path");
    is_too_slow(&slow.answer_to_crumbs(b"x"));
    assert_eq!(twins.client().run(&["ls"]).expect(0).stdout, b"", "nothing was stored");
    // Who is silent is told that, and not a rate.
    let mut silent = Both::greeted(&twins);
    writeln!(silent.writer, "{}", json!({"op": "put", "path": "f", "len": LARGE})).unwrap();
    let answer = silent.answer();
    assert!(answer["error"] == "timeout" && answer["message"].as_str().unwrap().contains("no byte moved"), "{answer}");
}

#[test]
fn who_reads_a_crumb_now_and_then_is_ended_and_the_log_says_why() {
    let twins = twins("stall_timeout = \"2s\"\nrate_min = \"512KiB\"\n");
    let large = vec![7; 16 * LARGE];
    twins.client().put("large", &large).expect(0);
    let mut slow = Both::greeted(&twins);
    writeln!(slow.writer, "{}", json!({"op": "get", "path": "large"})).unwrap();
    assert_eq!(slow.answer()["len"], large.len());
    let (mut crumb, mut read, deadline) = (vec![0; 4 << 10], 0, Instant::now() + PATIENCE * 4);
    let why = || {
        let log = String::from_utf8(twins.client().run(&["log", "--json"]).expect(0).stdout).unwrap();
        let mut lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.rfind(|line| line["command"] == "get" && line["outcome"] == "lost")
    };
    let line = loop {
        read += slow.reader.read(&mut crumb).unwrap_or(0);
        if let Some(line) = why() {
            break line;
        }
        assert!(Instant::now() < deadline && read < large.len(), "it goes on after {read} bytes");
    };
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("at least 512 KiB a second are asked") || message.contains("no byte moved"), "{message}");
}

#[test]
fn who_waits_for_the_server_is_slow_through_no_fault_of_its_own() {
    let twins = twins("stall_timeout = \"1s\"\nrate_min = \"64KiB\"\ntransfers_max = 1\n");
    let client = twins.client();
    client.put("text", b"One. Two.").expect(0);
    let body: Vec<u8> = (0..LARGE).map(|byte| (byte % 251) as u8).collect();
    let trailer = format!("{}\n", json!({"crc32": Crc32::of(&body).to_string()}));
    let put = |path: &str| format!("{}\n", json!({"op": "put", "path": path, "len": body.len()}));

    // Those who have nothing to send meanwhile.
    let mut idle = Raw::greeted(twins.address());
    let mut editor = Raw::greeted(twins.address());
    editor.send(b"{\"op\":\"edit\",\"path\":\"text\",\"sentence\":0}\n");
    let lease = editor.answer().unwrap()["lease"].clone();
    assert_eq!(editor.line(), "One.{\"ok\":true,\"crc32\":\"6426e370\"}\n");
    let mut follower = Raw::greeted(twins.address());
    follower.send(b"{\"op\":\"log\",\"path\":\"last\",\"follow\":true}\n");
    assert_eq!(follower.answer().unwrap()["chunked"], true);

    // It has the only place, is fast enough, and takes several times as long as anybody may be too slow.
    let mut first = Both::greeted(&twins);
    first.writer.write_all(put("first").as_bytes()).unwrap();
    std::thread::scope(|scope| {
        let mut writer = first.writer.try_clone().unwrap();
        let (bytes, end) = (&body, &trailer);
        scope.spawn(move || {
            for piece in bytes.chunks(LARGE / 64) {
                sleep(Duration::from_millis(100));
                writer.write_all(piece).unwrap();
            }
            writer.write_all(end.as_bytes()).unwrap();
        });
        wait_until("it has the place", || Side::BOTH.into_iter().all(|side| stages(twins.root(side)).len() == 1));
        let waiting: Vec<_> = (0..3)
            .map(|number| {
                let (twins, body, trailer, put) = (&twins, &body, &trailer, &put);
                scope.spawn(move || {
                    let mut second = Both::greeted(twins);
                    second.writer.write_all(put(&format!("waited/{number}")).as_bytes()).unwrap();
                    second.writer.write_all(body).unwrap();
                    second.writer.write_all(trailer.as_bytes()).unwrap();
                    let answer = second.answer();
                    assert_eq!(answer["ok"], true, "{answer}");
                })
            })
            .collect();
        let answer = first.answer();
        assert_eq!(answer["ok"], true, "{answer}");
        for waiting in waiting {
            waiting.join().unwrap();
        }
    });
    editor.send(
        format!(
            "{}\nUno.{}\n",
            json!({"op": "commit", "path": "text", "lease": lease, "len": 4}),
            json!({"crc32": Crc32::of(b"Uno.").to_string()})
        )
        .as_bytes(),
    );
    assert_eq!(editor.answer().unwrap()["ok"], true);
    idle.send(b"{\"op\":\"mkdir\",\"path\":\"last\"}\n");
    assert_eq!(idle.answer().unwrap()["ok"], true);
    let told = std::iter::repeat_with(|| follower.line()).find(|line| line.contains("\"path\":\"last\"")).unwrap();
    assert!(told.contains("\"command\":\"mkdir\""), "{told}");
    assert_eq!(client.get("text").expect(0).stdout, b"Uno. Two.");
    twins.check_identical();
}

#[test]
fn fget_within_its_own_limit_is_fast_enough() {
    let twins = twins("stall_timeout = \"2s\"\nrate_min = \"8KiB\"\n");
    let client = twins.client();
    let local = twins.home().join("up");
    let bytes: Vec<u8> = (0..100_000_u32).map(|byte| (byte % 251) as u8).collect();
    std::fs::write(&local, &bytes).unwrap();
    client.run(&["--bwlimit", "16KiB", "put", &local.to_string_lossy(), "slow"]).expect(0);
    assert_eq!(client.run(&["--bwlimit", "16KiB", "get", "slow", "-"]).expect(0).stdout, bytes);
}
