//! `fget` against a server that says what each test wants: output, exit codes, repetitions.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use common::script::{Reply, Script, refusal, with_body};

const GET: &str = "{\"ok\":true,\"len\":<len>,\"lsn\":17,\"mtime\":\"2026-02-03T04:05:06.5Z\",\"executable\":true}";
const RECEIPT: &str = "{\"ok\":true,\"lsn\":18,\"crc32\":\"3610a686\",\"drives\":[\"a\"]}\n";

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn status(document: &str) -> Script {
    Script::saying(with_body("{\"ok\":true,\"len\":<len>}", document.trim_end().as_bytes()))
}

const HEALTHY: &str = include_str!("fixtures/cli/status-healthy.json");
const REPLAYING: &str = include_str!("fixtures/cli/status-replaying.json");

#[test]
fn the_help_is_what_it_was() {
    let (code, out, err) = run(common::fget().arg("--help"));
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, include_str!("fixtures/cli/help.txt"));
}

#[test]
fn a_wrong_command_line_exits_2() {
    for words in [&["fetch"][..], &[], &["get"], &["mv", "a"], &["--server", "pi:port", "ls"], &["put", "-"]] {
        let (code, out, err) = run(common::fget().args(words));
        assert_eq!((code, out.as_str()), (2, ""), "{words:?}: {err}");
        assert!(!err.is_empty());
    }
}

#[test]
fn a_refused_connection_says_where_and_what_to_do() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, out, err) = run(common::fget().env("FGET_SERVER", address.to_string()).args(["get", "a", "-"]));
    assert_eq!((code, out.as_str()), (5, ""));
    assert!(err.starts_with(&format!("fget: no twinstickd answers at {address}: ")), "{err}");
    assert!(err.contains("twinstickd serve") && err.contains("FGET_SERVER"), "{err}");
    let (code, _, _) = run(common::fget().env("FGET_SERVER", address.to_string()).args(["status", "--check"]));
    assert_eq!(code, 4);
}

#[test]
fn the_server_is_named_by_flag_then_environment_then_file() {
    let script = Script::saying(with_body("{\"ok\":true,\"len\":<len>}", b""));
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("fget")).unwrap();
    let address = script.fget().get_args().nth(1).unwrap().to_str().unwrap().to_owned();
    std::fs::write(folder.path().join("fget/config.toml"), format!("server = \"{address}\"\n")).unwrap();
    let file = |command: &mut Command| run(command.env("XDG_CONFIG_HOME", folder.path()).arg("ls")).0;
    assert_eq!(file(&mut common::fget()), 0);
    assert_eq!(file(common::fget().env("FGET_SERVER", "127.0.0.1:1")), 5);
    assert_eq!(file(script.fget().env("FGET_SERVER", "127.0.0.1:1")), 0);
    std::fs::write(folder.path().join("fget/config.toml"), "sever = \"x\"\n").unwrap();
    assert_eq!(file(&mut common::fget()), 2);
}

#[test]
fn status_is_a_picture_for_people_and_a_document_for_scripts() {
    let (healthy, replaying) = (status(HEALTHY), status(REPLAYING));
    let address = |script: &Script| script.fget().get_args().nth(1).unwrap().to_str().unwrap().to_owned();
    for (script, picture) in [
        (&healthy, include_str!("fixtures/cli/status-healthy.txt")),
        (&replaying, include_str!("fixtures/cli/status-replaying.txt")),
    ] {
        let (code, out, err) = run(script.fget().arg("status"));
        assert_eq!((code, err.as_str()), (0, ""));
        assert_eq!(out, picture.replace("127.0.0.1:8946", &address(script)));
    }
    assert_eq!(run(healthy.fget().args(["status", "--json"])).1, HEALTHY);
    assert_eq!(run(healthy.fget().args(["status", "-x"])).1, "all drives are healthy\n");
    assert_eq!(run(healthy.fget().args(["status", "--check"])).0, 0);
    assert_eq!(run(replaying.fget().args(["status", "--check"])).0, 1);
    let unusable = status(&REPLAYING.replace("degraded", "unusable"));
    assert_eq!(run(unusable.fget().args(["STATUS", "--check"])).0, 2);
    assert_eq!(run(healthy.fget().args(["status", "--wait"])).0, 0);
    assert_eq!(healthy.requests().last().unwrap()["wait"], true);
}

#[test]
fn ls_and_info_have_a_form_for_people_and_one_for_scripts() {
    let entries = "{\"name\":\"b.txt\",\"kind\":\"file\",\"size\":11,\"modified\":\"2026-02-03T04:05:06.5Z\",\"lsn\":17,\"crc32\":\"0d4a1185\"}\n\
                   {\"name\":\"sub\",\"kind\":\"folder\",\"size\":0,\"modified\":\"2026-02-03T04:05:06Z\",\"lsn\":16}\n";
    let script = Script::saying(with_body("{\"ok\":true,\"len\":<len>}", entries.as_bytes()));
    assert_eq!(run(script.fget().args(["ls", "a"])).1, "b.txt\nsub/\n");
    assert_eq!(
        run(script.fget().args(["view", "-l", "a"])).1,
        "11  2026-02-03T04:05:06Z  0d4a1185  b.txt\n -  2026-02-03T04:05:06Z  -         sub/\n"
    );
    let json = run(script.fget().args(["LS", "-R", "--json", "a"])).1;
    assert!(json.starts_with("{\"output_version\":1,\"path\":\"a\",\"entries\":[{\"name\":\"b.txt\","), "{json}");
    assert_eq!(script.requests().last().unwrap()["recursive"], true);

    let info = "{\"ok\":true,\"path\":\"a/b.txt\",\"kind\":\"file\",\"size\":11,\"modified\":\"2026-02-03T04:05:06.5Z\",\
                \"crc32\":\"0d4a1185\",\"owner\":\"local\",\"lsn\":17,\"executable\":true,\"drives\":[\
                {\"name\":\"a\",\"present\":true,\"copy\":\"installed\",\"durable\":true,\"last_verified\":\"2026-02-04T00:00:00Z\"},\
                {\"name\":\"b\",\"present\":false,\"copy\":\"missing\",\"durable\":false,\"last_verified\":null}]}\n";
    let script = Script::saying(info);
    assert_eq!(run(script.fget().args(["info", "a/b.txt"])).1, include_str!("fixtures/cli/info.txt"));
    let json: serde_json::Value =
        serde_json::from_str(&run(script.fget().args(["INFO", "--json", "a/b.txt"])).1).unwrap();
    assert_eq!(json["output_version"], 1);
    assert_eq!(json["version"], 17);
    assert_eq!(json["drives"][1]["copy"], "missing");
}

#[test]
fn a_download_appears_whole_with_its_time_and_its_executable_bit() {
    use std::os::unix::fs::MetadataExt;
    let script = Script::saying(with_body(GET, b"hello"));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(script.fget().args(["get", "a/tool"]).current_dir(folder.path())).0, 0);
    let meta = std::fs::metadata(folder.path().join("tool")).unwrap();
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_770_091_506, 500_000_000));
    assert_ne!(meta.mode() & 0o100, 0);
    assert_eq!(run(script.fget().args(["get", "a/tool"]).arg(folder.path())).0, 0);
    assert_eq!(run(script.fget().args(["get", "a/tool", "-"])).1, "hello");
}

#[test]
fn damaged_bytes_exit_8_and_leave_nothing() {
    let mut answer = with_body(GET, b"hello");
    let at = answer.windows(5).position(|part| part == b"hello").unwrap();
    answer[at] = b'j';
    let script = Script::saying(answer);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "old").unwrap();
    let (code, _, err) = run(script.fget().args(["get", "file"]).current_dir(folder.path()));
    assert_eq!(code, 8, "{err}");
    assert_eq!(std::fs::read_to_string(folder.path().join("file")).unwrap(), "old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_superseded_or_broken_download_begins_again() {
    let superseded = {
        let mut answer = with_body(GET, b"hello");
        answer.truncate(answer.len() - "{\"ok\":true,\"crc32\":\"3610a686\"}\n".len());
        [answer, refusal("superseded")].concat()
    };
    let script = Script::start(move |number, _| match number {
        0 => Reply::Say(superseded.clone()),
        1 => Reply::BreakOff(with_body(GET, b"hello")[..100].to_vec()),
        _ => Reply::Say(with_body(GET, b"world!")),
    });
    let folder = tempfile::tempdir().unwrap();
    let (code, _, err) = run(script.fget().args(["get", "file"]).current_dir(folder.path()));
    assert_eq!(code, 0, "{err}");
    assert_eq!(std::fs::read_to_string(folder.path().join("file")).unwrap(), "world!");
    assert_eq!(script.requests().len(), 3);
}

#[test]
fn a_lost_answer_is_asked_for_again_under_the_same_id() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "hello").unwrap();
    for words in [&["put", "file"][..], &["rm", "file"], &["mkdir", "folder"], &["mv", "file", "other"]] {
        let script = Script::start(|number, _| if number < 2 { Reply::HangUp } else { Reply::Say(RECEIPT.into()) });
        let (code, _, err) = run(script.fget().args(words).current_dir(folder.path()));
        assert_eq!(code, 0, "{words:?}: {err}");
        let requests = script.requests();
        assert_eq!(requests.len(), 3);
        assert!(requests.iter().all(|request| request == &requests[0]), "{requests:?}");
        assert!(requests[0]["id"].as_str().is_some_and(|id| id.len() == 32));
    }
}

#[test]
fn a_busy_server_is_asked_again_and_an_unavailable_one_is_not() {
    let busy = Script::start(|number, _| Reply::Say(if number == 0 { refusal("busy") } else { RECEIPT.into() }));
    assert_eq!(run(busy.fget().args(["rm", "a"])).0, 0);
    let unavailable = Script::saying(refusal("unavailable"));
    let (code, _, err) = run(unavailable.fget().args(["get", "a", "-"]));
    assert_eq!((code, err.as_str()), (5, "fget: as the script says\n"));
    assert_eq!(unavailable.requests().len(), 1);
}

#[test]
fn refusals_exit_as_the_manual_says() {
    for (name, expected) in [
        ("not-found", 4),
        ("denied", 6),
        ("no-space", 7),
        ("bad-checksum", 8),
        ("exists", 9),
        ("is-a-directory", 9),
        ("journal-unavailable", 5),
        ("something-new", 1),
    ] {
        let script = Script::saying(refusal(name));
        assert_eq!(run(script.fget().args(["rm", "a"])).0, expected, "{name}");
    }
}

#[test]
fn fewer_copies_than_asked_for_exit_10_though_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "hello").unwrap();
    let script = Script::saying(RECEIPT);
    let (code, _, err) = run(script.fget().args(["put", "--copies", "2", "file"]).current_dir(folder.path()));
    assert_eq!((code, err.as_str()), (10, "fget: stored on drive a, 2 copies were asked for: see 'fget status'\n"));
    assert_eq!(run(script.fget().args(["put", "--copies", "1", "file"]).current_dir(folder.path())).0, 0);
}

#[test]
fn standard_input_is_put_with_its_length_where_it_is_short() {
    let script = Script::saying(RECEIPT);
    let mut put = script.fget().args(["put", "-", "a/b"]).stdin(Stdio::piped()).spawn().unwrap();
    put.stdin.take().unwrap().write_all(b"hello").unwrap();
    assert!(put.wait().unwrap().success());
    let request = &script.requests()[0];
    assert_eq!((&request["path"], &request["len"]), (&"a/b".into(), &5.into()));
}

#[test]
fn a_folder_takes_in_what_is_moved_or_put_there() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "hello").unwrap();
    let info = "{\"ok\":true,\"path\":\"d\",\"kind\":\"folder\",\"size\":0,\"modified\":\"2026-02-04T00:00:00Z\",\
                \"owner\":\"\",\"lsn\":1,\"executable\":false,\"drives\":[]}\n";
    let start = || {
        Script::start(move |_, request| {
            let taken = |key: &str| request[key] == "d";
            Reply::Say(match request["op"].as_str() {
                Some("info") => info.into(),
                Some("mv") if taken("to") => refusal("exists"),
                Some("put") if taken("path") => refusal("is-a-directory"),
                _ => RECEIPT.into(),
            })
        })
    };
    for to in ["d", "d/"] {
        let script = start();
        assert_eq!(run(script.fget().args(["mv", "x/file", to])).0, 0, "{to}");
        assert_eq!(script.requests().last().unwrap()["to"], "d/file");
        let script = start();
        assert_eq!(run(script.fget().args(["put", "file", to]).current_dir(folder.path())).0, 0, "{to}");
        assert_eq!(script.requests().last().unwrap()["path"], "d/file");
    }
}

#[test]
fn an_interrupt_exits_130_and_leaves_no_half_file() {
    let half = with_body(&GET.replace("<len>", "1000000"), b"hello");
    let (asked, was_asked) = std::sync::mpsc::channel();
    let script = Script::start(move |_, _| {
        asked.send(()).unwrap();
        Reply::Say(half[..100].to_vec())
    });
    let folder = tempfile::tempdir().unwrap();
    let mut get = script.fget().args(["get", "file"]).current_dir(folder.path()).spawn().unwrap();
    was_asked.recv_timeout(common::PATIENCE).unwrap();
    let pid = rustix::process::Pid::from_child(&get);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(get.wait().unwrap().code(), Some(130));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
