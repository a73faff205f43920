//! Puts with a condition: whoever looks first and then writes loses nothing of what others wrote between.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

use std::thread;

use serde_json::json;
use twinstick_rig::{Binaries, Drives, Raw, Twins};

const WRITERS: usize = 8;
const ADDITIONS: usize = 12;

fn twins() -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    Twins::new(binaries, Drives::Plain)
}

#[test]
fn a_version_is_replaced_only_by_who_has_seen_it() {
    let twins = twins();
    let client = twins.client();
    let local = twins.home().join("f");
    std::fs::write(&local, "one").expect("room");
    let put = |words: &[&str]| client.run(&[&["put", local.to_str().expect("UTF-8"), "f"], words].concat());
    put(&["--if-version", "1"]).expect(9);
    client.run(&["info", "f"]).expect(4);
    put(&["--if-absent"]).expect(0);
    put(&["--if-absent"]).expect(9);
    let seen = client.run(&["info", "f", "--json"]).expect(0).json()["version"].to_string();
    client.put("f", b"another's").expect(0);
    let refused = put(&["--if-version", &seen]).expect(9);
    assert!(refused.stderr.contains("by now"), "{}", refused.stderr);
    assert_eq!(client.get("f").expect(0).stdout, b"another's");
    let now = client.run(&["info", "f", "--json"]).expect(0).json()["version"].to_string();
    put(&["--if-version", &now]).expect(0);
    assert_eq!(client.get("f").expect(0).stdout, b"one");
    put(&["--if-version", &now, "--if-absent"]).expect(2);
    twins.check_identical();
}

/// Each adds to what it has read, and begins anew where somebody was faster: no addition is lost.
#[test]
fn additions_of_many_are_all_there() {
    let twins = twins();
    twins.client().put("sum", b"").expect(0);
    let address = twins.address();
    let retries: usize = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || add(address, writer))).collect();
        writers.into_iter().map(|writer| writer.join().expect("it ends")).sum()
    });
    assert!(retries > 0, "they met");
    let text = String::from_utf8(twins.client().get("sum").expect(0).stdout).expect("UTF-8");
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    let mut expected: Vec<_> =
        (0..WRITERS).flat_map(|writer| (0..ADDITIONS).map(move |number| format!("{writer}-{number}"))).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    twins.check_identical();
}

fn add(address: &str, writer: usize) -> usize {
    let mut raw = Raw::greeted(address);
    let mut retries = 0;
    for number in 0..ADDITIONS {
        loop {
            raw.send(b"{\"op\":\"get\",\"path\":\"sum\"}\n");
            let head = raw.answer().expect("the head");
            let mut bytes = raw.bytes(head["len"].as_u64().expect("a length") as usize);
            assert_eq!(raw.answer().expect("a trailer")["ok"], true);
            bytes.extend(format!("{writer}-{number}\n").into_bytes());
            let put = json!({"op": "put", "path": "sum", "len": bytes.len(), "if_version": head["lsn"]});
            raw.send(format!("{put}\n").as_bytes());
            raw.send(&bytes);
            raw.send(format!("{{\"crc32\":\"{:08x}\"}}\n", crc32fast::hash(&bytes)).as_bytes());
            let answer = raw.answer().expect("an answer");
            if answer["ok"] == true {
                break;
            }
            assert_eq!(answer["error"], "other-version", "{answer}");
            retries += 1;
        }
    }
    retries
}
