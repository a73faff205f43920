//! PROTOCOL.md is true: its examples are what the daemon does, its numbers those of the code.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::Daemon;
use common::replay::{matches, of_markdown, replay};
use twinstick::path::{NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX};
use twinstick::server::Limits;
use twinstick::wire::{ErrorName, Op, limits};

const PAGE: &str = include_str!("../PROTOCOL.md");

#[test]
fn the_examples_are_what_the_daemon_does() {
    let exchanges = of_markdown(PAGE);
    assert!(exchanges.len() >= 10, "the page has its examples");
    let daemon = Daemon::start();
    for exchange in &exchanges {
        replay(exchange, daemon.connect());
    }
}

#[test]
fn every_error_and_operation_is_described() {
    for name in ErrorName::ALL {
        assert!(PAGE.contains(&format!("\n| `{name}` |")), "{name}");
    }
    for op in Op::ALL {
        assert!(PAGE.contains(&format!("\"op\":\"{}\"", op.as_str())), "{}", op.as_str());
    }
}

#[test]
fn the_limits_are_those_of_the_code() {
    let defaults = Limits::default();
    let seconds = |time: Duration| format!("{} s", time.as_secs());
    let bytes = |number: u64| format!("{number} bytes");
    for (limit, number) in [
        ("a line, with its newline", bytes(limits::HEADER_BYTES_MAX as u64)),
        ("a path", bytes(PATH_BYTES_MAX as u64)),
        ("a name", bytes(NAME_BYTES_MAX as u64)),
        ("names in a path", PATH_DEPTH_MAX.to_string()),
        ("an id", bytes(limits::ID_BYTES_MAX as u64)),
        ("a chunk", bytes(limits::CHUNK_BYTES_MAX)),
        ("a chunk's length line", bytes(limits::CHUNK_LINE_BYTES_MAX as u64)),
        ("a message in an error", bytes(limits::MESSAGE_BYTES_MAX as u64)),
        ("a body", bytes(defaults.body_bytes_max.get())),
        ("names in one folder, files and folders together; 0: any number", defaults.folder_entries_max.to_string()),
        ("entries of one `ls`", defaults.list_entries_max.to_string()),
        ("a refused body that is read on", bytes(defaults.discard_bytes_max)),
        ("a text that is edited by sentences, a body of `commit` or `append`", bytes(defaults.edit_bytes_max.get())),
        ("a file that is appended to", bytes(defaults.append_bytes_max.get())),
        ("sentences that are edited at one time", defaults.edits_max.to_string()),
        ("until others may take a sentence that is not worked at", seconds(defaults.edit_idle_timeout)),
        ("connections", defaults.connections_max.to_string()),
        ("from the connection to the hello", seconds(defaults.hello_timeout)),
        ("between two requests", seconds(defaults.idle_timeout)),
        ("from a header's first byte to its end", seconds(defaults.header_timeout)),
        ("without a byte in a body, either way", seconds(defaults.stall_timeout)),
        (
            "a body, either way, of whoever the server waits for, measured over `stall_timeout`; `\"0\"`: any rate",
            format!("{} a second", bytes(defaults.rate_min)),
        ),
        ("for requests under way when the daemon stops", seconds(defaults.drain_timeout)),
    ] {
        assert!(PAGE.contains(&format!("\n| {limit} | {number} |")), "{limit}: {number}");
    }
    let quarter = defaults.connections_max.get() / 4;
    assert!(PAGE.contains(&format!("the last {quarter} places")), "{quarter}");
    assert_eq!(limits::ID_BYTES_MAX, twinstick::mirror::request::REQUEST_ID_BYTES_MAX);
}

#[test]
fn wildcards_match_what_they_stand_for_and_no_more() {
    assert!(matches("{\"lsn\":<n>}", "{\"lsn\":17}"));
    assert!(!matches("{\"lsn\":<n>}", "{\"lsn\":}"));
    assert!(!matches("{\"lsn\":<n>}", "{\"lsn\":17,\"x\":1}"));
    assert!(matches("<crc>/<time>/<any>", "0d4a1185/2026-01-01T00:00:00Z/x"));
    assert!(!matches("<crc>", "0D4A1185"));
    assert!(!matches("<time>", "now"));
}
