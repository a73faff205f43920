//! Clients that send what they should not get a named error, and harm nobody.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::io::{BufReader, Write};
use std::net::Shutdown;

use common::replay::{of_fixture, replay};
use common::{Daemon, line, rest};

const HELLO: &str = "{\"hello\":\"twinstick/1\"}\n";

/// Names in a drive's directory that are not twinstick's own.
fn names(daemon: &Daemon, drive: &str) -> Vec<String> {
    let entries = std::fs::read_dir(daemon.drive(drive)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".twinstick").collect()
}

/// Asks in one connection, and gives the lines of the answer behind the hello's.
fn ask(daemon: &Daemon, text: &str) -> Vec<serde_json::Value> {
    let mut stream = daemon.connect();
    stream.write_all(format!("{HELLO}{text}").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let all = String::from_utf8(rest(&mut stream)).unwrap();
    all.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn is_well(daemon: &Daemon) {
    let put = "{\"op\":\"put\",\"path\":\"well\",\"len\":5}\nhello{\"crc32\":\"3610a686\"}\n";
    let answers = ask(daemon, &format!("{put}{{\"op\":\"rm\",\"path\":\"well\"}}\n"));
    assert!(answers.len() == 2 && answers.iter().all(|answer| answer["ok"] == true), "{answers:?}");
}

fn spelled_out(path: &str) -> String {
    let Some(inside) = path.split_once('<').and_then(|(_, rest)| rest.split_once('>')) else { return path.to_owned() };
    let (kind, times) = inside.0.split_once(' ').unwrap();
    let times = times.parse::<usize>().unwrap();
    let long = match kind {
        "name" => "n".repeat(times),
        "deep" => vec!["d"; times].join("/"),
        "long" => vec!["nine-byte"; times / 10 + 1].join("/"),
        other => panic!("{other}"),
    };
    path.replace(&format!("<{}>", inside.0), &long)
}

#[test]
fn hostile_paths_are_refused_by_name_and_reach_no_drive() {
    let daemon = Daemon::start();
    let paths = include_str!("fixtures/wire/hostile-paths.txt");
    for path in paths.lines().map(spelled_out) {
        let requests = [
            format!("{{\"op\":\"put\",\"path\":\"{path}\",\"len\":5}}\nhello{{\"crc32\":\"3610a686\"}}\n"),
            format!("{{\"op\":\"get\",\"path\":\"{path}\"}}\n"),
            format!("{{\"op\":\"info\",\"path\":\"{path}\"}}\n"),
            format!("{{\"op\":\"ls\",\"path\":\"{path}\"}}\n"),
            format!("{{\"op\":\"mkdir\",\"path\":\"{path}\",\"recursive\":true}}\n"),
            format!("{{\"op\":\"rm\",\"path\":\"{path}\",\"recursive\":true}}\n"),
            format!("{{\"op\":\"mv\",\"path\":\"{path}\",\"to\":\"x\"}}\n"),
            format!("{{\"op\":\"mv\",\"path\":\"x\",\"to\":\"{path}\"}}\n"),
        ];
        let answers = ask(&daemon, &requests.concat());
        assert_eq!(answers.len(), requests.len(), "{path}: {answers:?}");
        for (request, answer) in requests.iter().zip(&answers) {
            assert_eq!(answer["error"], "bad-path", "{request}");
        }
    }
    is_well(&daemon);
    let waited = daemon.fget().args(["status", "--wait"]).output().unwrap();
    assert!(waited.status.success());
    for drive in ["a", "b"] {
        assert!(names(&daemon, drive).is_empty(), "{:?}", names(&daemon, drive));
    }
}

#[test]
fn a_trailing_slash_cannot_mean_a_file() {
    let daemon = Daemon::start();
    let put = "{\"op\":\"put\",\"path\":\"file\",\"len\":5}\nhello{\"crc32\":\"3610a686\"}\n";
    let requests = ["rm", "info", "ls", "get"].map(|op| format!("{{\"op\":\"{op}\",\"path\":\"file/\"}}\n"));
    let answers = ask(&daemon, &format!("{put}{}", requests.concat()));
    assert_eq!(answers[0]["ok"], true);
    assert_eq!(answers.len(), 5);
    for answer in &answers[1..] {
        assert_eq!(answer["error"], "bad-path", "{answer}");
    }
}

#[test]
fn misbehaving_clients_get_a_named_error_and_store_nothing() {
    let daemon = Daemon::start();
    let exchanges = of_fixture(include_str!("fixtures/wire/misbehaving-clients.txt"));
    assert!(exchanges.len() >= 15);
    for exchange in &exchanges {
        replay(exchange, daemon.connect());
        is_well(&daemon);
    }
    let listed = ask(&daemon, "{\"op\":\"ls\",\"recursive\":true}\n");
    assert_eq!(listed[0]["len"], 0, "{listed:?}");
}

#[test]
fn a_client_that_vanishes_in_mid_upload_stores_nothing() {
    let daemon = Daemon::start();
    for len in [1_000_u64, 10_000_000] {
        let mut stream = daemon.connect();
        writeln!(stream, "{HELLO}{{\"op\":\"put\",\"path\":\"half\",\"len\":{len}}}").unwrap();
        stream.write_all(&vec![7; usize::try_from(len / 2).unwrap()]).unwrap();
        drop(stream);
        let answers = ask(&daemon, "{\"op\":\"get\",\"path\":\"half\"}\n");
        assert_eq!(answers[0]["error"], "not-found");
    }
    is_well(&daemon);
}

#[test]
fn silent_and_babbling_clients_hold_nobody_up() {
    let daemon = Daemon::start();
    let crowd: Vec<_> = (0..300)
        .map(|number| {
            let mut stream = daemon.connect();
            match number % 4 {
                0 => {}
                1 => stream.write_all(b"{\"hello\":").unwrap(),
                2 => stream.write_all(HELLO.as_bytes()).unwrap(),
                _ => stream.write_all(&[0xff; 1000]).unwrap(),
            }
            stream
        })
        .collect();
    is_well(&daemon);
    drop(crowd);
    is_well(&daemon);
}

#[test]
fn a_stopping_daemon_tells_idle_clients_to_go_and_exits_well() {
    let mut daemon = Daemon::start();
    let mut idle = BufReader::new(daemon.connect());
    idle.get_mut().write_all(HELLO.as_bytes()).unwrap();
    assert!(line(&mut idle).contains("\"ok\":true"));
    assert_eq!(daemon.stop(), Some(0));
    let last: serde_json::Value = serde_json::from_slice(&rest(&mut idle)).unwrap();
    assert_eq!((&last["error"], &last["close"]), (&"unavailable".into(), &true.into()));
}
