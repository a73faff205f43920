//! The daemon's end, new settings while it runs, and what its log says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::guest::{Guest, run, until};
use rustix::process::Signal;
use serde_json::Value;
use tokio::task::JoinSet;
use twinstick_rig::{Binaries, Content, Drives, End, Needs, Process, Side, Trials, Twins, stages, wait_until};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const CLIENTS: u64 = 128;
/// `drain_timeout` of the tests, and what comes on top at most: requests that are cut off, what the lanes still
/// have to do, the drives' closing, and a look at a drive.
const DRAIN: Duration = Duration::from_secs(2);
const CLOSING: Duration = Duration::from_secs(3 + 10 + 1);

fn main() -> ExitCode {
    Trials::default()
        .with("a_drained_daemon_answers_everybody_and_leaves_nothing_to_redo", Needs::Nothing, load)
        .with("a_request_that_takes_too_long_for_a_drain_is_cut_off_by_name", Needs::Nothing, cut_off)
        .with("a_second_sigterm_hurries", Needs::Nothing, hurry)
        .with("new_settings_take_effect_at_sighup_and_bad_ones_do_not", Needs::Nothing, reload)
        .with("requests_leave_no_line_in_the_log_unless_asked_for", Needs::Nothing, log_level)
        .with("a_log_of_json_has_one_object_a_line", Needs::Nothing, json)
        .with("a_log_that_leads_to_the_journal_has_its_priorities", Needs::Nothing, journald)
        .with("what_libraries_note_for_themselves_is_in_no_log", Needs::Nothing, libraries)
        .with("a_stderr_that_is_lost_or_stuck_stops_nobody", Needs::Nothing, lost_stderr)
        .main()
}

fn twins(config: &str) -> (Twins, SocketAddr) {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let mut twins = Twins::new(binaries, Drives::Plain);
    twins.end(End::Drain);
    twins.configure(config);
    twins.serve();
    let address = twins.address().parse().unwrap();
    (twins, address)
}

/// What one client was promised, and how it ended.
#[derive(Default)]
struct Story {
    acknowledged: Vec<(String, Content)>,
    /// Anything that was neither an answer nor a refusal by name.
    silence: Option<String>,
}

fn load() {
    let (mut twins, address) = twins(&format!("[limits]\ndrain_timeout = \"{}s\"\n", DRAIN.as_secs()));
    let answered = Arc::new(AtomicUsize::new(0));
    let process = twins.process();
    let (stories, begin) = run(async {
        let mut idle = Guest::greeted(address, HERE).await.unwrap();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            clients.spawn(work(address, number, Arc::clone(&answered)));
        }
        until("the load is on", async || answered.load(Ordering::Relaxed) > 1500).await;
        let begin = Instant::now();
        process.signal(Signal::TERM);
        let told = idle.answer().await.unwrap();
        assert_eq!((&told["error"], &told["close"]), (&"unavailable".into(), &true.into()));
        (clients.join_all().await, begin)
    });
    twins.ended();
    let took = begin.elapsed();
    assert!(took < DRAIN + CLOSING, "{took:?}");
    no_stage(&twins);
    let silent: Vec<_> = stories.iter().filter_map(|story| story.silence.as_ref()).collect();
    assert!(silent.is_empty(), "{silent:#?}");

    twins.serve();
    let status = twins.client().status();
    assert_eq!(status["journal"]["entries"], 0, "{status}");
    for drive in status["drives"].as_array().unwrap() {
        assert_eq!(drive["behind"]["paths"], 0, "{status}");
        for figure in ["paths", "copied_files", "moved", "removed", "made_folders"] {
            assert!(drive["replay"].is_null() || drive["replay"][figure] == 0, "{status}");
        }
    }
    twins.check_identical();
    let acknowledged: Vec<_> = stories.into_iter().flat_map(|story| story.acknowledged).collect();
    for (path, content) in &acknowledged {
        let bytes = std::fs::read(twins.root(Side::A).join(path)).unwrap();
        assert!(bytes == content.bytes(), "{path}");
    }
    println!(
        "{CLIENTS} clients at work, SIGTERM: each answered or refused by name, gone after {took:?}; {} acknowledged \
         files are there, nothing to redo at the next start",
        acknowledged.len()
    );
}

/// Puts and gets until it is told to stop; each request must be answered.
async fn work(address: SocketAddr, client: u64, answered: Arc<AtomicUsize>) -> Story {
    let mut story = Story::default();
    let mut guest = Guest::greeted(address, HERE).await.unwrap();
    for number in 0.. {
        let seed = client * 100_000 + number;
        let content = Content { seed, len: [100, 1000, 3000, 100_000][(seed % 4) as usize] };
        let path = format!("client-{client}/{number}");
        let outcome = match guest.put(&path, &content.bytes()).await {
            Ok(answer) if answer["ok"] == true => {
                story.acknowledged.push((path.clone(), content));
                guest.get(&path).await
            }
            other => other.map(Err),
        };
        match outcome {
            Ok(Ok(bytes)) => assert_eq!(bytes.len(), content.len),
            Ok(Err(refused)) if refused["error"] == "unavailable" && refused["close"] == true => return story,
            other => {
                story.silence = Some(format!("{path}: {other:?}"));
                return story;
            }
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
    story
}

fn no_stage(twins: &Twins) {
    for side in Side::BOTH {
        assert!(stages(twins.root(side)).is_empty(), "{:?}", stages(twins.root(side)));
    }
}

fn cut_off() {
    let (mut twins, address) = twins(&format!("[limits]\ndrain_timeout = \"{}s\"\n", DRAIN.as_secs()));
    let begin = run(async {
        let mut endless = Guest::greeted(address, HERE).await.unwrap();
        endless.begin_put("endless", 1 << 20).await.unwrap();
        endless.send(&vec![1; 300_000]).await.unwrap();
        until("its stages are on both drives", async || {
            Side::BOTH.into_iter().all(|side| !stages(twins.root(side)).is_empty())
        })
        .await;
        let begin = Instant::now();
        twins.process().signal(Signal::TERM);
        let told = endless.answer().await.unwrap();
        assert_eq!((&told["error"], &told["close"]), (&"unavailable".into(), &true.into()), "{told}");
        begin
    });
    twins.ended();
    println!("an endless put: gone {:?} after SIGTERM, with drain_timeout at {DRAIN:?}", begin.elapsed());
    assert!(begin.elapsed() < DRAIN + CLOSING, "{:?}", begin.elapsed());
    no_stage(&twins);
}

fn hurry() {
    let (mut twins, address) = twins("[limits]\ndrain_timeout = \"1h\"\n");
    run(async {
        let mut endless = Guest::greeted(address, HERE).await.unwrap();
        endless.begin_put("endless", 1 << 20).await.unwrap();
        let from = twins.log().len();
        twins.process().signal(Signal::TERM);
        until("it drains", async || twins.log()[from..].contains("stopping")).await;
        assert!(endless.is_silent());
        twins.process().signal(Signal::TERM);
        assert_eq!(endless.answer().await.unwrap()["error"], "unavailable");
    });
    twins.ended();
}

fn reload() {
    let (twins, address) = twins("");
    let reloaded = |config: &str, says: &str| {
        let from = twins.log().len();
        twins.configure(config);
        twins.process().signal(Signal::HUP);
        wait_until("the log says what became of it", || twins.log()[from..].contains(says));
        twins.log()[from..].to_owned()
    };
    reloaded("log_level = \"debug\"\n[limits]\nconnections_max = 2\nidle_timeout = \"1s\"\n", "in force");
    run(async {
        let mut inside = Guest::greeted(address, HERE).await.unwrap();
        inside.begin_put("endless", 100).await.unwrap();
        let mut idle = Guest::greeted(address, Ipv4Addr::new(127, 0, 0, 7)).await.unwrap();
        let mut third = Guest::connect(address, Ipv4Addr::new(127, 0, 0, 8)).await.unwrap();
        assert_eq!(third.answer().await.unwrap()["error"], "busy");
        assert_eq!(idle.answer().await.unwrap()["error"], "timeout");
        until("sessions are logged", async || twins.log().contains("session ended")).await;
    });

    let told = reloaded("[limits]\nidle_timeout = \"1s\"\nconections_max = 3\n", "kept as it was");
    assert!(told.contains("line 3") && told.contains("conections_max"), "{told}");
    run(async {
        let mut idle = Guest::greeted(address, HERE).await.unwrap();
        assert_eq!(idle.answer().await.unwrap()["error"], "timeout", "the old one is still in force");
    });

    let told = reloaded("state = \"/elsewhere\"\nlog_format = \"json\"\nprobe_every = \"200ms\"\n", "needs a restart");
    // Flags win over the file, so nothing changes for the state's folder.
    assert!(told.contains("log_format") && !told.contains("state"), "{told}");
    twins.client().put("well", b"and good").expect(0);
    twins.check_identical();
}

fn log_level() {
    let (twins, address) = twins("");
    twins.check_identical();
    let from = twins.log().len();
    run(async {
        for number in 0..20 {
            let mut guest = Guest::greeted(address, HERE).await.unwrap();
            assert_eq!(guest.put(&format!("{number}"), b"bytes").await.unwrap()["ok"], true);
            assert!(guest.get("none").await.unwrap().is_err());
            guest.send(b"rubbish\n").await.unwrap();
            assert_eq!(guest.answer().await.unwrap()["error"], "bad-request");
            Guest::greeted(address, HERE).await.unwrap().reset();
        }
    });
    twins.check_identical();
    assert_eq!(&twins.log()[from..], "");
}

/// Starts the daemon of an ended mirror with a pipe for stderr, and gives its log up to the line that it listens.
fn piped(twins: &Twins) -> (Child, BufReader<std::process::ChildStderr>, Vec<String>) {
    let mut child = twins.serve_command().stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut lines = Vec::new();
    while !lines.last().is_some_and(|line: &String| line.starts_with("listening on ")) {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "{lines:?}");
        lines.push(line);
    }
    (child, stderr, lines)
}

fn address_of(lines: &[String]) -> SocketAddr {
    lines.last().unwrap().trim().strip_prefix("listening on ").unwrap().parse().unwrap()
}

fn json() {
    let (mut twins, _) = twins("log_format = \"json\"\n");
    twins.end(End::Drain);
    let (mut child, mut stderr, mut lines) = piped(&twins);
    Process::new(child.id()).signal(Signal::TERM);
    assert!(child.wait().unwrap().success());
    lines.pop();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    lines.extend(rest.lines().map(str::to_owned));
    assert!(lines.len() >= 5, "{lines:?}");
    for line in &lines {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
    }
    assert!(lines.iter().any(|line| line.contains("\"to\":\"in-sync\"")), "{lines:?}");
}

fn journald() {
    let (mut twins, _) = twins("");
    twins.end(End::Drain);
    let log = twins.home().join("journal");
    let file = File::create(&log).unwrap();
    let meta = file.metadata().unwrap();
    let mut command = twins.serve_command();
    command.env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino())).stderr(file);
    let mut child = command.spawn().unwrap();
    let read = || std::fs::read_to_string(&log).unwrap();
    // Nothing stands before the line that scripts wait for.
    wait_until("it listens", || read().lines().any(|line| line.starts_with("listening on ")));
    Process::new(child.id()).signal(Signal::TERM);
    assert!(child.wait().unwrap().success());
    assert!(read().lines().any(|line| line.starts_with("<6>drive state")), "{}", read());
    assert!(read().lines().all(|line| line.starts_with('<') || line.starts_with("listening on ")), "{}", read());
}

/// sled's steps, told where a thread ends, ended the daemon.
fn libraries() {
    let (mut twins, _) = twins("log_level = \"trace\"\n");
    twins.client().put("f", b"bytes").expect(0);
    // Settings that are read again leave it so.
    twins.process().signal(Signal::HUP);
    wait_until("the settings are read", || twins.log().contains("in force"));
    twins.client().put("g", b"bytes").expect(0);
    twins.end(End::Drain);
    let log = twins.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the daemon's own lines are there: {log}");
    assert!(!log.contains("make_stable"), "{log}");
}

fn lost_stderr() {
    let (mut twins, _) = twins("log_level = \"trace\"\n");
    twins.end(End::Drain);
    for lost in [true, false] {
        let (mut child, stderr, lines) = piped(&twins);
        // Either nobody reads the pipe any more, or nobody empties it.
        let stuck = if lost { None } else { Some(stderr) };
        run(async {
            for number in 0..2000 {
                let mut guest = Guest::greeted(address_of(&lines), HERE).await.unwrap();
                if number % 100 == 0 {
                    assert_eq!(guest.put(&format!("{number}"), b"bytes").await.unwrap()["ok"], true);
                }
                guest.reset();
            }
        });
        Process::new(child.id()).signal(Signal::TERM);
        assert!(child.wait().unwrap().success());
        drop(stuck);
    }
}
