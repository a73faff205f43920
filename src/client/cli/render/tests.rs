//! Documents and the texts that they become. `TWINSTICK_BLESS=1` writes the texts anew.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use super::*;

const SERVER: &str = "127.0.0.1:8946";

/// Every fixture, with what `--check` says of it.
const FIXTURES: [(&str, &str); 12] = [
    ("healthy", "healthy"),
    ("scrubbing", "healthy"),
    ("edited", "healthy"),
    ("replaying", "degraded: drive b is being brought up to date (200 paths, 715 MiB)"),
    ("backfilling", "degraded: drive b is new, and is being filled (15000 paths, 11.6 GiB)"),
    ("still", "degraded: drive b is being brought up to date (3 paths, 1.0 MiB)"),
    ("absent", "degraded: drive b is not there: it was unmounted; drive a goes on alone"),
    ("parked", "degraded: drive b is parked and left alone: it failed 3 times within an hour"),
    ("full", "degraded: drive b has no room for what it lacks (2 paths, 4.0 GiB); it is read from, and stays behind"),
    ("faulted", "unusable: nothing is served: the journal is older than the stick"),
    ("waiting", "degraded: drive b is not there: it was unmounted; drive a goes on alone"),
    ("host-low", "healthy: the boot disk has only 100 MiB left for the journal"),
];

fn path(name: &str, kind: &str) -> std::path::PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cli");
    format!("{folder}/status-{name}.{kind}").into()
}

fn document(name: &str) -> StatusDocument {
    serde_json::from_str(&std::fs::read_to_string(path(name, "json")).unwrap()).unwrap()
}

#[test]
fn every_document_becomes_its_text() {
    for (name, said) in FIXTURES {
        let document = document(name);
        let text = status(&document, SERVER, Remarks::Shown);
        if std::env::var_os("TWINSTICK_BLESS").is_some() {
            std::fs::write(path(name, "txt"), &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(path(name, "txt")).unwrap(), "{name}");
        assert_eq!(verdict(&document), format!("{said}\n"), "{name}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{name} is too wide:\n{text}");
    }
}

#[test]
fn without_problems_one_line_says_so_and_warnings_are_shown_too() {
    assert_eq!(problems(&document("healthy"), SERVER, Remarks::Shown), "all drives are healthy\n");
    let low = problems(&document("host-low"), SERVER, Remarks::Shown);
    assert!(low.starts_with("all drives are healthy\n  status: the boot disk"), "{low}");
    let away = document("absent");
    assert_eq!(problems(&away, SERVER, Remarks::Shown), status(&away, SERVER, Remarks::Shown));
}

#[test]
fn quiet_leaves_the_events_out() {
    assert!(status(&document("absent"), SERVER, Remarks::Shown).contains("\n  events:\n"));
    assert!(!status(&document("absent"), SERVER, Remarks::Quiet).contains("events:"));
}

#[test]
fn who_waits_is_told_what_for() {
    assert_eq!(waiting_for(&document("absent")), "b is absent");
    assert_eq!(
        waiting_for(&document("replaying")),
        "b replaying: 238 MiB of 953 MiB, 12 of 212 paths, at 11.9 MiB/s, about 1 min 0 s left"
    );
    assert_eq!(waiting_for(&document("parked")), "in sync, but for what is being written");
}

#[test]
fn a_daemon_of_the_first_version_is_understood() {
    let old = r#"{"output_version":1,"state":"degraded","journal":{"entries":1,"head_lsn":2,"writable":true},
        "drives":[{"name":"b","id":"00","state":"replaying","reason":null,"path":"/b","used":1,"size":2,
        "behind":{"paths":1,"bytes":1024},"errors":{"read":0,"write":0,"checksum":0},"something":{"new":[1]},
        "replay":{"running":true,"seconds":0,"paths":1,"copied_files":1,"copied_bytes":0,"moved":0,"removed":0,
        "made_folders":0,"unchanged":0}}]}"#;
    let text = status(&serde_json::from_str(old).unwrap(), SERVER, Remarks::Shown);
    assert!(text.contains("scan: replay of b, running for 0 s: 0 B of 1.0 KiB"), "{text}");
    assert!(text.contains("b: 1 path behind, 1.0 KiB"), "{text}");
}
