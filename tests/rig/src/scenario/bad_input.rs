//! What no well-behaved client sends.

use serde_json::{Value, json};

use crate::raw::Raw;
use crate::stick::Side;
use crate::tree;
use crate::twins::Twins;

/// Sends each of the paths (JSON strings, one a line) in each role, and bodies and headers that are wrong; each gets
/// the error that names the fault, and the file that was there before is all that is there after.
pub fn bad_input_gets_a_named_error_and_loses_nothing(twins: &Twins, hostile_paths: &str) {
    let client = twins.client();
    client.put("precious", b"precious bytes").expect(0);
    let paths: Vec<Value> =
        hostile_paths.lines().map(|line| serde_json::from_str(line).expect("a JSON string a line")).collect();
    assert!(!paths.is_empty());
    for path in &paths {
        for request in [
            json!({"op": "get", "path": path}),
            json!({"op": "rm", "path": path, "recursive": true}),
            json!({"op": "mkdir", "path": path, "recursive": true}),
            json!({"op": "info", "path": path}),
            json!({"op": "mv", "path": "precious", "to": path}),
            json!({"op": "put", "path": path, "len": 0}),
        ] {
            let mut raw = Raw::greeted(twins.address());
            raw.send(format!("{request}\n{{\"crc32\":\"00000000\"}}\n").as_bytes());
            expect_error(&mut raw, &["bad-path"], &request.to_string());
        }
    }
    bad_bodies(twins);
    bad_headers(twins);
    println!("{} hostile paths in six roles, bad bodies and headers: each refused by name", paths.len());

    twins.check_identical();
    assert_eq!(client.get("precious").expect(0).stdout, b"precious bytes");
    let names: Vec<_> = tree::walk(twins.root(Side::A)).into_keys().collect();
    assert_eq!(names, ["precious"], "nothing else was stored");
}

fn bad_bodies(twins: &Twins) {
    let put = |len: usize| format!("{}\n", json!({"op": "put", "path": "precious", "len": len}));
    let mut raw = Raw::greeted(twins.address());
    raw.send(format!("{}hello world{{\"crc32\":\"00000001\"}}\n", put(11)).as_bytes());
    expect_error(&mut raw, &["bad-checksum"], "a wrong CRC");

    let mut raw = Raw::greeted(twins.address());
    raw.send(format!("{}hello world{{\"crc32\":\"0d4a1185\"}}\n", put(5)).as_bytes());
    expect_error(&mut raw, &["bad-request"], "a body longer than declared");

    let mut raw = Raw::greeted(twins.address());
    raw.send(format!("{}hello world", put(100)).as_bytes());
    raw.finish();
    expect_error(&mut raw, &["bad-request"], "a body shorter than declared");
}

fn bad_headers(twins: &Twins) {
    for (what, sent, names) in [
        ("an unknown op", "{\"op\":\"format\"}\n".to_owned(), ["unknown-op"].as_slice()),
        ("no JSON", "GET / HTTP/1.1\n".to_owned(), &["bad-request"]),
        ("no op", "{}\n".to_owned(), &["bad-request"]),
        ("a header without an end", "x".repeat(20 << 10), &["bad-request", "too-large"]),
    ] {
        let mut raw = Raw::greeted(twins.address());
        raw.send(sent.as_bytes());
        expect_error(&mut raw, names, what);
    }
    let mut raw = Raw::connect(twins.address());
    raw.send(b"{\"hello\":\"twinstick/2\"}\n");
    expect_error(&mut raw, &["unsupported-version"], "another version");
    let mut raw = Raw::connect(twins.address());
    raw.send(b"{\"op\":\"get\",\"path\":\"precious\"}\n");
    expect_error(&mut raw, &["bad-request", "unsupported-version"], "no hello");
}

#[track_caller]
fn expect_error(raw: &mut Raw, names: &[&str], what: &str) {
    let answer = raw.answer().unwrap_or_else(|| panic!("{what}: dropped without a word"));
    assert_eq!(answer["ok"], false, "{what}: {answer}");
    assert!(names.iter().any(|name| answer["error"] == *name), "{what}: {answer}");
    assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {answer}");
}
