//! An account of everything: what the audit log and the totals say of what real users did.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::panic,
    reason = "a test makes files, and stops at the first surprise"
)]

#[path = "accounts/people.rs"]
mod people;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use people::People;
use serde_json::{Value, json};
use twinstick_rig::{Binaries, Client, Drives, End, Link, Raw, Twins, wait_until};

const CLIENTS: usize = 8;
const PUTS: usize = 150;
/// Exit code of what is not allowed.
const DENIED: i32 = 6;
const USAGE: i32 = 2;
const NOT_FOUND: i32 = 4;

fn binaries() -> Binaries {
    Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"))
}

fn twins() -> Twins {
    Twins::new(binaries(), Drives::Plain)
}

/// The log as the client gives it, but for what it says of itself and of looks at the status.
fn log(client: &Client, words: &[&str]) -> Vec<Value> {
    let told = client.run(&[&["log", "--json"], words].concat()).expect(0);
    let lines: Vec<Value> = parsed(&told.stdout);
    lines.into_iter().filter(|line| line["command"] != "log" && line["command"] != "status").collect()
}

fn parsed(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("each line is whole")).collect()
}

/// The log's files, oldest first.
fn files(twins: &Twins) -> Vec<PathBuf> {
    let entries = fs::read_dir(twins.state().join("log")).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
    files.sort();
    files
}

/// What they have, line by line; the last byte is that of a line's end.
fn on_disk(twins: &Twins) -> Vec<Value> {
    let mut all = Vec::new();
    for file in files(twins) {
        let bytes = fs::read(&file).expect("a file of the log");
        assert!(bytes.is_empty() || bytes.ends_with(b"\n"), "{}: a torn end", file.display());
        all.extend(parsed(&bytes));
    }
    all
}

#[test]
fn each_request_is_one_line_that_says_who_did_what() {
    let people = People::new(twins());
    let (anna, ben, chief) = (people.client("anna"), people.client("ben"), people.client("chief"));
    anna.put("letter", b"dear ben").expect(0);
    let version = anna.run(&["info", "letter", "--json"]).expect(0).json()["version"].clone();
    anna.get("letter").expect(0);
    ben.get("/anna/letter").expect(DENIED);
    anna.run(&["mv", "letter", "kept"]).expect(0);
    anna.run(&["share", "kept", "ben"]).expect(0);
    ben.get("/anna/kept").expect(0);
    ben.get("nothing").expect(NOT_FOUND);
    anna.run(&["rm", "kept"]).expect(0);
    chief.run(&["ls", "-R", "/"]).expect(0);
    chief.run(&["scrub", "start"]).expect(0);
    people.stranger().run(&["ls"]).expect(DENIED);
    let mut raw = Raw::connect(people.twins.address());
    raw.send(b"{\"hello\":\"twinstick/1\",\"token\":\"tws1_wrong\"}\n");
    raw.answer().expect("a refusal");
    let lines = log(&chief, &[]);
    let brief = |line: &Value| {
        let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
        format!("{} {} {} {}", text("user"), text("command"), text("path"), text("outcome"))
    };
    let told: Vec<_> = lines.iter().map(brief).skip_while(|line| !line.contains("put")).collect();
    let expected = [
        "anna put anna/letter ok",
        "anna info anna/letter ok",
        "anna get anna/letter ok",
        "ben get anna/letter denied",
        "anna mv anna/letter ok",
        "anna share anna/kept ok",
        "ben get anna/kept ok",
        "ben get ben/nothing not-found",
        "anna rm anna/kept ok",
        "chief ls  ok",
        "chief scrub - ok",
        "- hello - denied",
        "- hello - denied",
    ];
    assert_eq!(told, expected);
    let of = |which: &str| lines.iter().find(|line| brief(line) == which).expect("it is there");
    let put = of("anna put anna/letter ok");
    assert_eq!((&put["bytes"], &put["lsn"], &put["drives"]), (&json!(8), &version, &json!(["a", "b"])));
    assert!(put["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{put}");
    assert!(put["microseconds"].as_u64() > Some(0) && put["time"].as_str().is_some_and(|time| time.ends_with('Z')));
    let get = of("anna get anna/letter ok");
    assert_eq!((&get["bytes"], &get["lsn"]), (&json!(8), &version));
    let from: Vec<_> = get["drives"].as_array().expect("drives").iter().filter_map(|drive| drive.as_str()).collect();
    assert!(["a", "b"].iter().any(|drive| from == [*drive]), "{get}");
    assert_eq!(of("anna mv anna/letter ok")["to"], "anna/kept");
    assert_eq!(of("anna share anna/kept ok")["detail"], "read ben");
    // The accounts were made on the machine itself.
    let made = lines.iter().find(|line| line["detail"] == "add-user chief admin").expect("it is there");
    assert_eq!((&made["address"], &made["command"]), (&json!("control"), &json!("account")));
    let all = fs::read_to_string(&files(&people.twins)[0]).expect("UTF-8");
    let secret = people.token("anna").rsplit('_').next().expect("a secret").to_owned();
    assert!(
        !all.contains("tws1_") && !all.contains(&secret) && !all.contains("dear"),
        "no token, and no byte of a body"
    );
    // Not for everybody.
    let denied = anna.run(&["log"]).expect(DENIED);
    assert!(denied.stderr.contains("only an admin may read the log"), "{}", denied.stderr);
    let totals = anna.status()["totals"].clone();
    assert_eq!(
        totals["ever"]["by_user"].as_object().map(|users| users.keys().collect::<Vec<_>>()),
        Some(vec![&"anna".to_owned()])
    );
    assert!(totals["since_start"]["requests"].as_u64() > Some(13), "{totals}");
    assert_eq!(chief.status()["totals"]["ever"]["by_user"]["ben"]["failed"], 2);
}

#[test]
fn filters_choose_lines_on_the_server() {
    let people = People::new(twins());
    let (anna, chief) = (people.client("anna"), people.client("chief"));
    for path in ["d/f", "d/in/g", "dd"] {
        anna.put(path, b"1").expect(0);
    }
    chief.put("/shared/f", b"1").expect(0);
    anna.run(&["mv", "dd", "d/moved"]).expect(0);
    let paths = |words: &[&str]| {
        let lines = log(&chief, words);
        let puts = lines.iter().filter(|line| line["command"] == "put" || line["command"] == "mv");
        puts.map(|line| line["path"].as_str().expect("a path").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths(&["--path", "/anna/d"]), ["anna/d/f", "anna/d/in/g", "anna/dd"]);
    assert_eq!(paths(&["--path", "/anna/d/in"]), ["anna/d/in/g"]);
    assert_eq!(paths(&["--user", "chief"]), ["shared/f"]);
    assert_eq!(paths(&["--user", "anna", "--path", "/shared"]), [""; 0]);
    assert_eq!(paths(&["--path", "/anna/d", "-n", "1"]), ["anna/dd"]);
    assert_eq!(paths(&["--since", "1h"]).len(), 5);
    assert_eq!(paths(&["--since", "2100-01-01T00:00:00Z"]), [""; 0]);
    chief.run(&["log", "--since", "soon"]).expect(USAGE);
    chief.run(&["log", "--path", "../x"]).expect(USAGE);
    let shown = String::from_utf8(chief.run(&["log", "--path", "/anna/dd"]).expect(0).stdout).expect("UTF-8");
    assert!(shown.contains("  anna  127.0.0.1:") && shown.contains("  mv /anna/dd -> /anna/d/moved  "), "{shown}");
}

#[test]
fn a_follower_sees_lines_as_they_come() {
    let twins = twins();
    let client = twins.client();
    client.put("before", b"1").expect(0);
    let mut follower = Command::new(env!("CARGO_BIN_EXE_fget"))
        .args(["--server", twins.address(), "log", "--follow", "--json", "--path", "/"])
        .env("HOME", twins.home())
        .stdout(Stdio::piped())
        .spawn()
        .expect("fget");
    let mut lines = BufReader::new(follower.stdout.take().expect("a pipe")).lines();
    let mut next =
        || -> Value { serde_json::from_str(&lines.next().expect("a line").expect("UTF-8")).expect("a whole line") };
    assert_eq!(next()["path"], "before");
    for number in 0..3 {
        client.put(&format!("later-{number}"), b"1").expect(0);
        assert_eq!(next()["path"], format!("later-{number}"));
    }
    follower.kill().expect("it runs");
    follower.wait().expect("it ends");
    wait_until("the daemon notes that its follower left", || {
        let lines = parsed(&client.run(&["log", "--json"]).expect(0).stdout);
        lines.iter().any(|line| line["detail"] == "follow, path /" && line["outcome"] == "client-left")
    });
}

#[test]
fn a_follower_is_told_when_the_daemon_stops() {
    let mut twins = twins();
    let address = twins.address().to_owned();
    twins.client().put("f", b"1").expect(0);
    let mut raw = Raw::greeted(&address);
    raw.send(b"{\"op\":\"log\",\"follow\":true}\n");
    assert_eq!(raw.answer().expect("a header"), json!({"ok": true, "chunked": true}));
    let len: usize = raw.line().trim().parse().expect("a chunk");
    assert_eq!(parsed(&raw.bytes(len))[0]["path"], "f");
    twins.end(End::Drain);
    assert_eq!(raw.line(), "0\n");
    assert_eq!(raw.answer().expect("a reason")["error"], "unavailable");
    let told = on_disk(&twins);
    assert_eq!(told.last().expect("the follower's")["outcome"], "unavailable");
}

#[test]
fn under_load_no_line_is_lost_and_none_is_mixed_with_another() {
    let config = |_: &std::path::Path| "audit_log_bytes = \"64KiB\"\naudit_log_files = 50\n".to_owned();
    let mut twins = Twins::with_config(binaries(), Drives::Plain, config);
    load(&twins);
    let status = twins.client().status();
    let counted = &status["totals"]["since_start"]["by_command"]["put"];
    assert_eq!(counted["requests"], CLIENTS * PUTS);
    assert_eq!(status["totals"]["dropped_lines"], 0);
    twins.end(End::Drain);
    assert!(files(&twins).len() > 2, "it was rotated");
    let mut paths: Vec<_> = on_disk(&twins).iter().filter(|line| line["command"] == "put").map(path_of).collect();
    assert_eq!(paths.len(), CLIENTS * PUTS);
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), CLIENTS * PUTS, "each is there once");
    // What was counted before is counted on.
    twins.serve();
    let totals = twins.client().status()["totals"].clone();
    assert_eq!(totals["ever"]["by_command"]["put"], *counted);
    assert!(totals["since_start"]["by_command"]["put"].is_null());
}

fn path_of(line: &Value) -> String {
    line["path"].as_str().expect("a path").to_owned()
}

/// Puts by some clients at a time, each under a name of its own.
fn load(twins: &Twins) {
    let address = twins.address();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut link = Link::connect(address).expect("a connection");
                for number in 0..PUTS {
                    link.put(&format!("c{client}/f{number}"), b"12345", None).expect("an answer");
                }
            });
        }
    });
}

#[test]
fn a_killed_daemon_leaves_whole_lines_and_counts_them() {
    let mut twins = twins();
    load(&twins);
    // All that was done up to here is written.
    let told = log(&twins.client(), &[]).len();
    assert_eq!(told, CLIENTS * PUTS);
    twins.end(End::Kill);
    twins.serve();
    let puts = on_disk(&twins).iter().filter(|line| line["command"] == "put").count();
    assert_eq!(puts, told);
    let ever = twins.client().status()["totals"]["ever"]["by_command"]["put"].clone();
    assert_eq!((&ever["requests"], &ever["bytes_in"]), (&json!(told), &json!(told * 5)));
    // And once more, in the middle of it.
    let address = twins.address().to_owned();
    let asking = thread::spawn(move || {
        let Ok(mut link) = Link::connect(&address) else { return };
        for number in 0.. {
            if link.put(&format!("more-{number}"), b"12345", None).is_err() {
                return;
            }
        }
    });
    let more = |twins: &Twins| {
        let all = files(twins).iter().map(|file| fs::read_to_string(file).expect("UTF-8")).collect::<String>();
        all.contains("\"more-")
    };
    wait_until("some of it is written", || more(&twins));
    twins.end(End::Kill);
    asking.join().expect("it ends");
    twins.serve();
    twins.client().put("last", b"1").expect(0);
    let lines = log(&twins.client(), &[]);
    assert_eq!(
        lines.len(),
        on_disk(&twins).iter().filter(|line| line["command"] != "log" && line["command"] != "status").count()
    );
    let ever = twins.client().status()["totals"]["ever"]["by_command"]["put"]["requests"].clone();
    assert_eq!(ever, lines.iter().filter(|line| line["command"] == "put").count());
}

#[test]
fn a_log_that_finds_no_room_holds_nobody_up() {
    let twins = twins();
    let client = twins.client();
    // Whatever is written to it finds no room.
    fs::create_dir_all(twins.state().join("log")).expect("room");
    let file = twins.state().join("log/audit-0000000001.jsonl");
    assert!(!file.exists(), "nobody asked for anything");
    std::os::unix::fs::symlink("/dev/full", &file).expect("a link");
    load(&twins);
    wait_until("it is counted", || {
        client.status()["totals"]["dropped_lines"].as_u64() >= Some((CLIENTS * PUTS) as u64)
    });
    assert!(String::from_utf8_lossy(&client.run(&["status"]).expect(0).stdout).contains("missing in the log"));
    wait_until("it is told", || twins.log().contains("lines of the audit log are dropped"));
    fs::remove_file(&file).expect("it is there");
    client.put("after", b"1").expect(0);
    let lines = parsed(&client.run(&["log", "--json"]).expect(0).stdout);
    assert_eq!(lines[0]["missing"], "dropped");
    assert!(lines[0]["lines"].as_u64() >= Some((CLIENTS * PUTS) as u64), "{}", lines[0]);
    assert!(lines.iter().any(|line| line["path"] == "after"));
    wait_until("that is told", || twins.log().contains("the audit log is written again"));
    assert_eq!(client.status()["totals"]["since_start"]["by_command"]["put"]["requests"], CLIENTS * PUTS + 1);
    twins.check_identical();
}

#[test]
fn a_log_that_is_switched_off_writes_nothing_and_says_so() {
    let twins = Twins::with_config(binaries(), Drives::Plain, |_| "audit_log_files = 0\n".to_owned());
    twins.client().put("f", b"1").expect(0);
    let refused = twins.client().run(&["log"]).expect(NOT_FOUND);
    assert!(refused.stderr.contains("audit_log_files is 0"), "{}", refused.stderr);
    assert!(files(&twins).is_empty());
    assert_eq!(twins.client().status()["totals"]["since_start"]["by_command"]["put"]["requests"], 1);
    // It is taken up without a restart.
    twins.configure("audit_log_files = 2\n");
    twins.process().signal(rustix::process::Signal::HUP);
    wait_until("there is a log", || twins.client().run(&["log"]).code == 0);
}
