//! `fget status` over a real daemon: what happened, since when, what to do, how far.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

mod common;

use serde_json::Value;
use twinstick::wire::Time;
use twinstick_rig::{Binaries, Client, Content, Drives, End, Pull, Side, Twins, wait_until};

/// Exit code for what cannot be had now.
const UNAVAILABLE: i32 = 5;

fn twins() -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    Twins::new(binaries, Drives::Plain)
}

fn text(client: &Client, words: &[&str]) -> String {
    String::from_utf8(client.run(words).expect(0).stdout).unwrap()
}

/// The events of a drive, oldest first.
fn events(status: &Value, drive: &str) -> Vec<String> {
    let all = status["events"].as_array().unwrap();
    let of_drive = all.iter().filter(|event| event["drive"] == drive);
    of_drive.map(|event| event["what"].as_str().unwrap().to_owned()).collect()
}

fn time(value: &Value) -> Time {
    value.as_str().unwrap_or_else(|| panic!("no time: {value}")).parse().unwrap()
}

#[test]
fn a_pull_and_a_return_are_explained_and_listed() {
    let mut twins = twins();
    let client = twins.client();
    client.put("kept", b"1").expect(0);
    twins.check_identical();
    let before = client.status();
    // A machine that is short of room or memory may be warned of.
    assert!(before["state"] == "healthy" && !before["notices"].to_string().contains("\"drive\""), "{before}");

    twins.pull(Side::B, Pull::Rename);
    for seed in 0..20 {
        client.put(&format!("d/{seed}"), &Content { seed, len: 100_000 }.bytes()).expect(0);
    }
    client.run(&["rm", "kept"]).expect(0);
    let away = client.status();
    let notice = &away["notices"][0];
    assert_eq!((&notice["drive"], &away["drives"][1]["state"]), (&"b".into(), &"absent".into()), "{away}");
    let what = notice["what"].as_str().unwrap();
    assert!(what.starts_with("drive b is not there: ") && what.ends_with("; drive a goes on alone"), "{what}");
    assert_eq!(notice["action"], "plug in and mount drive b; it catches up by itself");
    assert_eq!(time(&notice["since"]), time(&away["drives"][1]["since"]));
    assert!(time(&notice["since"]) >= time(&before["drives"][1]["since"]) && notice["seconds"].is_u64(), "{away}");
    let picture = text(&client, &["status"]);
    assert!(
        picture.contains("\n          since 2") && picture.contains("action: plug in and mount drive b"),
        "{picture}"
    );
    assert!(picture.contains("b: 22 paths behind, 1.9 MiB"), "{picture}");

    twins.bring_back(Side::B);
    assert_eq!(text(&client, &["status", "--wait"]), "");
    let back = client.status();
    assert_eq!(back["state"], "healthy", "{back}");
    let scan = &back["drives"][1]["scan"];
    assert_eq!((&scan["kind"], &scan["running"], &scan["cause"]), (&"replay".into(), &false.into(), &"away".into()));
    assert_eq!((&scan["paths_total"], &scan["paths_done"]), (&22.into(), &22.into()), "{scan}");
    assert_eq!((&scan["bytes_total"], &scan["bytes_done"]), (&2_000_000.into(), &2_000_000.into()), "{scan}");
    assert!(scan.get("seconds_left").is_none() && time(&scan["began"]) >= time(&notice["since"]), "{scan}");
    assert_eq!(back["drives"][1]["replay"]["copied_files"], 20);
    let told = events(&back, "b");
    let [.., lost, arrived, done] = told.as_slice() else { panic!("{told:?}") };
    assert!(lost.starts_with("lost: "), "{lost}");
    assert!(arrived.starts_with("arrived at ") && arrived.contains("replay of 22 paths, 1.9 MiB"), "{arrived}");
    assert!(done.starts_with("replay done in ") && done.contains("20 files copied (1.9 MiB)"), "{done}");
    let picture = text(&client, &["status"]);
    assert!(picture.contains("scan: replay of b done in ") && picture.contains("\n  events:\n"), "{picture}");
    assert!(!text(&client, &["status", "-q"]).contains("events:"));
    assert!(text(&client, &["status", "-x"]).starts_with("all drives are healthy\n"));
}

#[test]
fn a_monitor_learns_whether_it_is_healthy_degraded_unusable_or_unknown() {
    let mut twins = twins();
    let client = twins.client();
    let check = |code| {
        let outcome = client.run(&["status", "--check"]).expect(code);
        let line = String::from_utf8(outcome.stdout.clone()).unwrap();
        assert_eq!((line.lines().count(), outcome.stderr.as_str()), (1, ""), "{line}");
        line
    };
    twins.check_identical();
    assert!(check(0).starts_with("healthy"));
    twins.pull(Side::B, Pull::Rename);
    assert!(check(1).starts_with("degraded: drive b is not there: "));
    twins.pull(Side::A, Pull::Rename);
    assert!(check(2).starts_with("unusable: drive a is not there: "));
    twins.end(End::Drain);
    assert!(check(4).starts_with("cannot tell: "));
}

#[test]
fn a_monitor_is_told_of_a_server_that_never_answers() {
    // It takes connections, and says nothing on them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let fget = |words: &[&str]| {
        common::fget().args(["--server", &address, "status", "--timeout", "200ms"]).args(words).output().unwrap()
    };
    let checked = fget(&["--check"]);
    assert_eq!(checked.status.code(), Some(4));
    assert_eq!(
        String::from_utf8_lossy(&checked.stdout),
        format!("cannot tell: {address} did not answer within 200ms\n")
    );
    assert_eq!(fget(&[]).status.code(), Some(UNAVAILABLE));
    let json = fget(&["--check", "--json"]);
    assert_eq!((json.status.code(), json.stdout.as_slice()), (Some(4), b"".as_slice()));
}

#[test]
fn a_wait_for_an_absent_drive_ends_with_its_return_or_its_time() {
    let mut twins = twins();
    let client = twins.client();
    twins.check_identical();
    twins.pull(Side::B, Pull::Rename);
    client.put("missed", b"1").expect(0);
    let late = client.run(&["status", "--wait", "--timeout", "300ms"]).expect(UNAVAILABLE);
    assert!(late.stdout.is_empty(), "{}", String::from_utf8_lossy(&late.stdout));
    assert!(late.stderr.contains("not in sync after") && late.stderr.contains("b is absent"), "{}", late.stderr);
    client.run(&["status", "--wait", "--check", "--timeout", "300ms"]).expect(1);

    let waiting = std::thread::spawn(move || client.run(&["status", "--wait", "--json"]));
    twins.bring_back(Side::B);
    let document = waiting.join().unwrap().expect(0).json();
    assert_eq!((&document["state"], &document["drives"][1]["behind"]["paths"]), (&"healthy".into(), &0.into()));
}

#[test]
fn what_only_an_absent_drive_has_is_counted_and_named() {
    let mut twins = twins();
    let client = twins.client();
    client.put("d/old", b"1").expect(0);
    twins.check_identical();
    twins.pull(Side::A, Pull::Rename);
    for number in 0..12 {
        client.put(&format!("d/{number:02}"), b"new").expect(0);
    }
    twins.pull(Side::B, Pull::Rename);
    assert_eq!(client.status()["unavailable"].to_string(), "[]", "with no drive there it is everything");
    twins.bring_back(Side::A);
    client.get("d/00").expect(UNAVAILABLE);

    let status = client.status();
    let unavailable = &status["unavailable"][0];
    assert_eq!((&unavailable["for"], &unavailable["count"]), (&"b".into(), &12.into()), "{status}");
    assert_eq!(unavailable["paths"].as_array().unwrap().len(), 10);
    assert_eq!(unavailable["at_least"], false);
    let picture = text(&client, &["status"]);
    assert!(picture.contains("12 files cannot be had: only drive b has the current version"), "{picture}");
    assert!(picture.contains("b: 2 other files cannot be had without it either"), "{picture}");
    wait_until("drive a's lane says what waits", || client.drive(Side::A)["waiting_count"] == 12);

    twins.bring_back(Side::B);
    client.run(&["status", "--wait"]).expect(0);
    assert_eq!(client.status()["unavailable"].to_string(), "[]");
    twins.check_identical();
}

#[test]
fn a_drive_that_was_away_for_too_many_changes_is_backfilled_and_says_so() {
    let mut twins = twins();
    let client = twins.client();
    twins.check_identical();
    // The journal keeps no more entries than these.
    let config = twins.home().parent().unwrap().join("twinstickd.toml");
    std::fs::write(config, "journal_entries_max = 20\n").unwrap();
    twins.end(End::Drain);
    twins.serve();
    twins.pull(Side::B, Pull::Rename);
    for seed in 0..40 {
        client.put(&format!("{seed}"), &Content { seed, len: 100_000 }.bytes()).expect(0);
    }
    let away = client.status();
    let scan = &away["drives"][1]["scan"];
    assert_eq!((&scan["kind"], &scan["cause"]), (&"backfill".into(), &"outgrown".into()), "{away}");
    assert_eq!((&scan["running"], &scan["paths_done"], &scan["paths_total"]), (&false.into(), &0.into(), &40.into()));
    assert!(away["notices"][0]["what"].as_str().unwrap().contains("will be backfilled"), "{away}");
    assert!(text(&client, &["status"]).contains("scan: backfill of b, decided on "), "{}", text(&client, &["status"]));

    twins.bring_back(Side::B);
    client.run(&["status", "--wait"]).expect(0);
    let back = client.status();
    let done = &back["drives"][1]["scan"];
    assert_eq!((&done["kind"], &done["running"], &done["began"]), (&"backfill".into(), &false.into(), &scan["began"]));
    assert_eq!((&done["paths_done"], &done["bytes_done"]), (&40.into(), &4_000_000.into()), "{done}");
    let told = events(&back, "b");
    assert!(told.iter().any(|what| what.contains("backfill of 40 paths, 3.8 MiB begins")), "{told:?}");
    assert!(told.last().unwrap().starts_with("backfill done in "), "{told:?}");
    twins.check_identical();
}

#[test]
fn the_machine_below_is_described() {
    let twins = twins();
    let host = twins.client().status()["host"].clone();
    let figure = |key: &str| host[key].as_u64().unwrap_or_else(|| panic!("no {key}: {host}"));
    assert!(figure("memory_total") >= figure("memory_available") && figure("process_memory") > 0, "{host}");
    let disks = host["disks"].as_array().unwrap();
    let holds =
        |what: &'static str| disks.iter().filter(move |disk| disk["holds"].as_array().unwrap().contains(&what.into()));
    for what in ["a", "b", "state"] {
        assert_eq!(holds(what).count(), 1, "{what}: {host}");
    }
    let statvfs = rustix::fs::statvfs(twins.home()).unwrap();
    let boot = holds("state").next().unwrap();
    assert_eq!(boot["size"], statvfs.f_blocks * statvfs.f_frsize, "{host}");
    assert!(boot["available"].as_u64().unwrap() > 0 && boot["kind"].is_string(), "{host}");
}
