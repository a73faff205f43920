//! What one user may have of the server, and what is left for others.

use std::time::Duration;

use serde_json::{Value, json};
use twinstick::digest::Crc32;
use twinstick_rig::{End, Raw, wait_until};

use crate::people::People;
use crate::{DENIED, staged, twins};

const LARGE: usize = 1 << 20;

/// Users, and the settings that they live with.
pub(crate) fn people_with(limits: &str) -> People {
    let mut people = People::new(twins());
    people.twins.end(End::Drain);
    people.twins.configure(&format!("[limits]\n{limits}"));
    people.twins.serve();
    people
}

pub(crate) fn hello(people: &People, name: &str) -> (Raw, Value) {
    let mut raw = Raw::connect(people.twins.address());
    raw.send(format!("{}\n", json!({"hello": "twinstick/1", "token": people.token(name)})).as_bytes());
    let answer = raw.answer().expect("an answer");
    (raw, answer)
}

pub(crate) fn connections() {
    let people = people_with("user_connections_max = 2\n");
    let (first, said) = hello(&people, "anna");
    assert_eq!(said["ok"], true, "{said}");
    let (mut second, _) = hello(&people, "anna");
    let (_, refused) = hello(&people, "anna");
    assert_eq!((&refused["error"], &refused["close"]), (&json!("busy"), &json!(true)), "{refused}");
    assert_eq!(refused["retry_after"], 5, "{refused}");
    assert!(refused["message"].as_str().is_some_and(|text| text.contains("come back in 5 s")), "{refused}");
    people.client("ben").run(&["ls"]).expect(0);
    // Another hello on one's own connection is no other connection.
    second.send(format!("{}\n", json!({"hello": "twinstick/1", "token": people.token("anna")})).as_bytes());
    assert_eq!(second.answer().expect("an answer")["ok"], true);
    drop(first);
    wait_until("a place is free again", || hello(&people, "anna").1["ok"] == true);
}

pub(crate) fn rate() {
    let people = people_with("user_requests_per_second = 5\n");
    let (mut anna, _) = hello(&people, "anna");
    // A put that is refused takes its body with it, so that what follows is understood.
    let asked = 40;
    for number in 0..asked {
        let body = format!("{}\nhello{}\n", json!({"op": "put", "path": "f", "len": 5}), json!({"crc32": "3610a686"}));
        anna.send(if number % 2 == 0 { b"{\"op\":\"usage\"}\n".as_slice() } else { body.as_bytes() });
    }
    let answers: Vec<_> = (0..asked).map(|_| anna.answer().expect("an answer")).collect();
    let (taken, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer["ok"] == true);
    assert!(taken.len() >= 10, "two seconds' worth at once: {taken:?}");
    assert!(!refused.is_empty(), "{answers:?}");
    for answer in refused {
        assert_eq!((&answer["error"], &answer["close"]), (&json!("busy"), &Value::Null), "{answer}");
        assert!(answer["retry_after"].as_u64().is_some_and(|seconds| seconds >= 1), "{answer}");
    }
    // Others have a rate of their own, and fget comes back when it was told to.
    people.client("ben").run(&["ls"]).expect(0);
    people.client("anna").run(&["ls"]).expect(0);
}

pub(crate) fn places() {
    let people = people_with("transfers_max = 4\n");
    let body = vec![7; LARGE];
    let trailer = format!("{}\n", json!({"crc32": Crc32::of(&body).to_string()}));
    // Each has begun a large file, and sends no more of it.
    let mut dawdlers: Vec<_> = (0..6)
        .map(|number| {
            let (mut ben, _) = hello(&people, "ben");
            ben.send(format!("{}\n", json!({"op": "put", "path": format!("slow/{number}"), "len": LARGE})).as_bytes());
            ben.send(&body[..LARGE / 2]);
            ben
        })
        .collect();
    wait_until("half of the places are taken", || staged(&people.twins) == 4);
    let anna = people.client("anna");
    anna.put("large", &body).expect(0);
    assert_eq!(anna.get("large").expect(0).stdout, body);
    assert_eq!(staged(&people.twins), 4, "no more than half of the places are one user's");
    people.client("ben").put("small", b"needs no place").expect(0);
    for ben in &mut dawdlers {
        ben.send(&body[LARGE / 2..]);
        ben.send(trailer.as_bytes());
    }
    for ben in &mut dawdlers {
        let answer = ben.answer().expect("an answer");
        assert_eq!(answer["ok"], true, "{answer}");
    }
    people.twins.check_identical_by(&people.client("chief"));
}

pub(crate) fn urgency() {
    let people = people_with("stall_timeout = \"1m\"\n");
    let (anna, chief) = (people.client("anna"), people.client("chief"));
    let denied = anna.run(&["--priority", "high", "ls"]).expect(DENIED);
    assert!(denied.stderr.contains("only an admin may go before all others"), "{}", denied.stderr);
    let local = people.twins.home().join("up");
    let bytes: Vec<u8> = (0..3 * LARGE / 2).map(|byte| (byte % 251) as u8).collect();
    std::fs::write(&local, &bytes).expect("a new file");
    let local = local.to_string_lossy();
    let begun = std::time::Instant::now();
    anna.run(&["--priority", "low", "--bwlimit", "1MiB", "put", &local, "low"]).expect(0);
    assert!(begun.elapsed() >= Duration::from_secs(1), "it went faster than it may: {:?}", begun.elapsed());
    assert_eq!(anna.run(&["get", "--bwlimit", "2MiB", "low", "-"]).expect(0).stdout, bytes);
    assert_eq!(chief.run(&["get", "--priority", "high", "/anna/low", "-"]).expect(0).stdout, bytes);
    for (words, advice) in
        [(["--bwlimit", "5KiB"], "at least 16"), (["--bwlimit", "fast"], "no size"), (["--priority", "urgent"], "low")]
    {
        let refused = anna.run(&[&words[..], &["ls"]].concat()).expect(2);
        assert!(refused.stderr.contains(advice), "{}", refused.stderr);
    }
}

/// However little memory there is, who reads what is sent gets on, and so does whoever comes next.
pub(crate) fn little_memory() {
    let people = people_with("buffer_bytes_max = \"4MiB\"\ntransfers_max = 30\n");
    let body: Vec<u8> = (0..4 * LARGE).map(|byte| (byte % 251) as u8).collect();
    people.client("anna").put("large", &body).expect(0);
    let readers: Vec<_> = (0..24)
        .map(|_| {
            let (mut anna, _) = hello(&people, "anna");
            anna.send(b"{\"op\":\"get\",\"path\":\"large\"}\n");
            let body = body.clone();
            std::thread::spawn(move || {
                assert_eq!(anna.answer().expect("a header")["len"], body.len());
                assert!(anna.bytes(body.len()) == body);
                assert_eq!(anna.answer().expect("a trailer")["ok"], true);
            })
        })
        .collect();
    for reader in readers {
        reader.join().expect("the whole file");
    }
    people.twins.check_identical_by(&people.client("chief"));
}

/// What is cut off by the daemon's end is told so, and stands in the log, though it waits for its place.
pub(crate) fn cut_off() {
    let mut people = people_with("transfers_max = 1\ndrain_timeout = \"1s\"\n");
    people.client("anna").put("large", &vec![7; LARGE]).expect(0);
    let mut waiting: Vec<_> = (0..8)
        .map(|number| {
            let (mut ben, _) = hello(&people, "ben");
            ben.send(format!("{}\n", json!({"op": "put", "path": format!("slow/{number}"), "len": LARGE})).as_bytes());
            ben.send(&vec![7; LARGE / 2]);
            ben
        })
        .collect();
    wait_until("one has the only place", || staged(&people.twins) == 2);
    people.twins.end(End::Drain);
    for ben in &mut waiting {
        let answer = ben.answer().expect("a word of why");
        assert_eq!((&answer["error"], &answer["close"]), (&json!("unavailable"), &json!(true)), "{answer}");
    }
    people.twins.serve();
    let log = people.client("chief").run(&["log", "--user", "ben"]).expect(0);
    let log = String::from_utf8(log.stdout).expect("UTF-8");
    assert_eq!(log.lines().filter(|line| line.contains(" put ")).count(), 8, "{log}");
}
