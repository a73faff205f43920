//! Many clients, and some that nobody wants: the rest are served, and nothing stays behind.
//!
//! `TWINSTICK_FULL=1` runs the full figures; `TWINSTICK_BIN_DIR=target/release` tests the release binaries.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

mod common;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::guest::{Guest, HELLO, run, until};
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;
use twinstick_rig::{Binaries, Drives, Memory, Needs, Process, Side, Trials, Twins, is_full, stages, wait_until};

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const CROWD: usize = 1000;
/// What an idle connection may hold. A read buffer alone would be 32 KiB.
const IDLE_BYTES_MAX: u64 = 8 << 10;
/// What the allocator may keep after a crowd: pages of its arenas that are in use in part, one arena a thread.
const KEPT_KIB_MAX: u64 = 4 << 10;
/// Room on a drive that can hold one large file and not two.
const DRIVE_BYTES: u64 = 128 << 20;

fn main() -> ExitCode {
    Trials::default()
        .with("a_thousand_clients_at_once_are_served_while_two_dawdle", Needs::Nothing, thousand)
        .with("an_idle_connection_holds_no_buffer", Needs::Nothing, idle_connections)
        .with("nothing_stays_behind_when_a_crowd_has_passed", Needs::Nothing, passing_crowd)
        .with("a_client_that_is_killed_in_mid_put_leaves_nothing_behind", Needs::LoopMounts, killed_client)
        .with("one_address_that_floods_shuts_out_no_other", Needs::Nothing, flood)
        .with("a_connection_idle_longest_makes_room_and_is_told_so", Needs::Nothing, displaced)
        .with("all_who_come_to_a_full_house_are_told_busy", Needs::Nothing, busy)
        .with("a_lack_of_descriptors_is_survived", Needs::Nothing, descriptors)
        .main()
}

fn twins(config: &str) -> (Twins, SocketAddr) {
    on(Drives::Plain, config)
}

fn on(drives: Drives, config: &str) -> (Twins, SocketAddr) {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let mut twins = Twins::new(binaries, drives);
    if !config.is_empty() {
        twins.end(twinstick_rig::End::Drain);
        twins.configure(config);
        twins.serve();
    }
    let address = twins.address().parse().unwrap();
    (twins, address)
}

fn thousand() {
    // The dawdlers are still there at the end because nobody hurries them.
    let (twins, address) = twins("[limits]\nheader_timeout = \"10m\"\nstall_timeout = \"10m\"\n");
    twins.client().put("long", &vec![7; 32 << 20]).expect(0);
    run(async {
        let mut half = Guest::greeted(address, HERE).await.unwrap();
        half.send(b"{\"op\":\"put\",\"pa").await.unwrap();
        let mut slow = Guest::greeted(address, HERE).await.unwrap();
        let len = slow.begin_get("long").await.unwrap()["len"].as_u64().unwrap();
        let reader = tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_secs(1));
            for read in 0..len {
                every.tick().await;
                assert_eq!(slow.bytes(1).await.unwrap(), [7], "byte {read}");
            }
        });
        let together = Arc::new(Barrier::new(CROWD));
        let mut crowd = JoinSet::new();
        for number in 0..CROWD {
            let together = Arc::clone(&together);
            crowd.spawn(async move {
                let mut guest = Guest::connect(address, HERE).await.unwrap();
                together.wait().await;
                guest.send(HELLO.as_bytes()).await.unwrap();
                assert_eq!(guest.answer().await.unwrap()["ok"], true);
                let (path, bytes) = (format!("crowd/{number}"), format!("of client {number}").repeat(20));
                let answer = guest.put(&path, bytes.as_bytes()).await.unwrap();
                assert_eq!(answer["ok"], true, "{answer}");
                assert_eq!(guest.get(&path).await.unwrap().unwrap(), bytes.as_bytes());
            });
        }
        let begin = tokio::time::Instant::now();
        while let Some(served) = crowd.join_next().await {
            served.unwrap();
        }
        println!("{CROWD} clients put and got a file of their own in {:?}", begin.elapsed());
        assert!(half.is_silent(), "it still waits for the rest of the header");
        assert!(!reader.is_finished(), "it still reads");
        reader.abort();
    });
    twins.check_identical();
}

fn idle_connections() {
    let (twins, address) = twins("");
    run(async {
        let open = async || {
            let mut guests = Vec::new();
            for number in 0..CROWD {
                let mut guest = Guest::greeted(address, HERE).await.unwrap();
                // Each had a buffer for its body once.
                let answer = guest.put(&format!("idle-{}", number % 10), &vec![1; 40_000]).await.unwrap();
                assert_eq!(answer["ok"], true, "{answer}");
                guests.push(guest);
            }
            guests
        };
        // What the first crowd leaves in the allocator is none of the second one's.
        let sockets = twins.process().sockets();
        drop(open().await);
        until("the first crowd has gone", async || twins.process().sockets() <= sockets).await;
        let before = twins.process().memory_kib(Memory::Now);
        let guests = open().await;
        let after = twins.process().memory_kib(Memory::Now);
        let each = after.saturating_sub(before) * 1024 / CROWD as u64;
        println!("{CROWD} idle connections: {before} KiB resident before, {after} KiB with them, {each} bytes each");
        assert!(each <= IDLE_BYTES_MAX, "{each} bytes each");
        drop(guests);
    });
}

/// The daemon's process, when it has open what it opens once there is something to write, and keeps open from then on.
fn warmed_up(twins: &Twins) -> Process {
    twins.client().put("small", &[3; 1000]).expect(0);
    let process = twins.process();
    wait_until("all its files are open", || process.open("/manifest/") == 2 && process.open("/log/audit-") == 1);
    process
}

fn passing_crowd() {
    let (twins, address) = twins("");
    let (warm_up, crowd) = if is_full() { (10_000, 100_000) } else { (1000, 3000) };
    let process = warmed_up(&twins);
    let (descriptors, threads) = (process.descriptors(), process.threads());
    let gone = || {
        wait_until("descriptors are where they were", || process.descriptors() <= descriptors);
        for side in Side::BOTH {
            wait_until("no stage is left", || stages(twins.root(side)).is_empty());
        }
        process.memory_kib(Memory::Now)
    };
    run(pass(address, warm_up));
    let memory = gone();
    run(pass(address, crowd));
    let memory_after = gone();
    // Those for blocking work end when they have been idle for ten seconds.
    wait_until("threads are where they were", || process.threads() <= threads);
    println!(
        "{crowd} connections after {warm_up}: {descriptors} descriptors and {threads} threads again, resident \
         {memory} KiB before and {memory_after} KiB after"
    );
    assert!(memory_after <= memory + KEPT_KIB_MAX, "{memory} KiB before, {memory_after} KiB after");
    assert_eq!(twins.client().get("small").expect(0).stdout, [3; 1000]);
    twins.check_identical();
}

/// Lets so many connections come and go, 64 at a time: some do as they should, others end in all the wrong ways.
async fn pass(address: SocketAddr, count: usize) {
    let places = Arc::new(Semaphore::new(64));
    let mut guests = JoinSet::new();
    for number in 0..count {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        // Ports of one address run out while the kernel remembers closed connections.
        let from = Ipv4Addr::new(127, 0, 1 + (number / 20_000) as u8, 1 + (number % 100) as u8);
        guests.spawn(async move {
            come_and_go(address, from, number).await;
            drop(place);
        });
        while let Some(ended) = guests.try_join_next() {
            ended.unwrap();
        }
    }
    while let Some(ended) = guests.join_next().await {
        ended.unwrap();
    }
}

async fn come_and_go(address: SocketAddr, from: Ipv4Addr, number: usize) {
    match number % 8 {
        0 => {
            let mut half = Guest::connect(address, from).await.unwrap();
            half.send(b"{\"hello\":\"twin").await.unwrap();
        }
        1 => Guest::greeted(address, from).await.unwrap().reset(),
        2 => {
            let mut other = Guest::connect(address, from).await.unwrap();
            other.send(b"{\"hello\":\"twinstick/9\"}\n").await.unwrap();
            assert_eq!(other.answer().await.unwrap()["error"], "unsupported-version");
        }
        3 => {
            let mut killed = Guest::greeted(address, from).await.unwrap();
            killed.begin_put(&format!("never-{number}"), 1 << 20).await.unwrap();
            killed.send(&vec![9; 300_000]).await.unwrap();
            killed.reset();
        }
        _ => {
            let mut guest = Guest::greeted(address, from).await.unwrap();
            assert_eq!(guest.get("small").await.unwrap().unwrap(), [3; 1000]);
        }
    }
}

fn killed_client() {
    let (twins, address) = on(Drives::Loop { bytes: DRIVE_BYTES }, "");
    let half = usize::try_from(DRIVE_BYTES).unwrap() / 2;
    let process = warmed_up(&twins);
    let open = process.open_files();
    let staged = || Side::BOTH.into_iter().all(|side| !stages(twins.root(side)).is_empty());
    let nothing_left = || {
        for side in Side::BOTH {
            wait_until("no stage is left", || stages(twins.root(side)).is_empty());
        }
        let is_closed = |now: &[String]| now.len() <= open.len() && !now.iter().any(|file| file.contains("/stage/"));
        wait_until("its descriptors are closed", || is_closed(&process.open_files()));
    };

    let mut fget = Command::new(&twins.client().fget);
    fget.args(["--server", twins.address(), "-q", "put", "-", "never"]).stdin(Stdio::piped());
    let mut fget = fget.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    fget.stdin.as_mut().unwrap().write_all(&vec![5; 8 << 20]).unwrap();
    wait_until("its stages are on both drives", staged);
    fget.kill().unwrap();
    fget.wait().unwrap();
    nothing_left();

    run(async {
        let mut guest = Guest::greeted(address, HERE).await.unwrap();
        // More than half of a drive is spoken for.
        guest.begin_put("never", half).await.unwrap();
        guest.send(&vec![5; 8 << 20]).await.unwrap();
        until("its stages are on both drives", async || staged()).await;
        guest.reset();
    });
    nothing_left();
    twins.client().put("whole", &vec![6; half]).expect(0);
    twins.client().get("never").expect(4);
    twins.check_identical();
}

const FEW_PLACES: &str = "[limits]\nconnections_max = 40\n";

/// Begins a put that does not end, so that the place is not given to another.
async fn at_work(address: SocketAddr, from: Ipv4Addr, number: usize) -> Result<Guest, String> {
    let mut guest = Guest::greeted(address, from).await.map_err(|error| error.to_string())?;
    guest.begin_put(&format!("endless-{from}-{number}"), 100).await.map_err(|error| error.to_string())?;
    Ok(guest)
}

fn flood() {
    let (_twins, address) = twins(FEW_PLACES);
    let (flooder, other) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    run(async {
        let (mut taken, mut refused) = (Vec::new(), Vec::new());
        for number in 0..60 {
            match at_work(address, flooder, number).await {
                Ok(guest) => taken.push(guest),
                Err(why) => refused.push(why),
            }
        }
        assert_eq!(taken.len(), 30, "{refused:?}");
        assert!(refused.iter().all(|why| why.contains("\"busy\"")), "{refused:?}");
        for number in 0..8 {
            let mut guest = at_work(address, other, number).await.unwrap();
            assert!(guest.is_silent());
            guest.send(&[0; 10]).await.unwrap();
            taken.push(guest);
        }
    });
}

fn displaced() {
    let (_twins, address) = twins("[limits]\nconnections_max = 4\n");
    run(async {
        let mut idle = Guest::greeted(address, HERE).await.unwrap();
        let mut working = [at_work(address, HERE, 0).await.unwrap(), at_work(address, HERE, 1).await.unwrap()];
        let mut newcomer = None;
        until("the idle one has been idle for long enough", async || {
            newcomer = Guest::greeted(address, HERE).await.ok();
            newcomer.is_some()
        })
        .await;
        let told = idle.answer().await.unwrap();
        assert_eq!((&told["error"], &told["close"]), (&"busy".into(), &true.into()), "{told}");
        assert!(newcomer.unwrap().get("none").await.unwrap().is_err_and(|answer| answer["error"] == "not-found"));
        for guest in &mut working {
            assert!(guest.is_silent(), "a request under way is never cut off");
        }
    });
}

fn busy() {
    let (_twins, address) = twins("[limits]\nconnections_max = 4\n");
    run(async {
        let mut inside = Vec::new();
        for number in 0..3 {
            inside.push(at_work(address, HERE, number).await.unwrap());
        }
        let mut crowd = JoinSet::new();
        let together = Arc::new(Barrier::new(CROWD));
        for _ in 0..CROWD {
            let together = Arc::clone(&together);
            crowd.spawn(async move {
                let mut guest = Guest::connect(address, HERE).await.unwrap();
                together.wait().await;
                let answer = guest.answer().await.unwrap();
                assert_eq!((&answer["error"], &answer["close"]), (&"busy".into(), &true.into()), "{answer}");
            });
        }
        // The refusals hold up nobody who has a place.
        let mut other = Guest::greeted(address, Ipv4Addr::new(127, 0, 0, 9)).await.unwrap();
        assert!(other.get("none").await.unwrap().is_err());
        while let Some(told) = crowd.join_next().await {
            told.unwrap();
        }
    });
}

fn descriptors() {
    let (twins, address) = twins("");
    let process = twins.process();
    run(async {
        let mut first = Guest::greeted(address, HERE).await.unwrap();
        let before = process.limit_descriptors(process.descriptors() as u64 + 5);
        let mut waiting = Vec::new();
        for _ in 0..20 {
            waiting.push(Guest::connect(address, HERE).await.unwrap());
        }
        until("the shortage is told", async || twins.log().contains("no connection can be accepted now")).await;
        assert!(first.get("none").await.unwrap().is_err_and(|answer| answer["error"] == "not-found"));
        process.limit_descriptors(before);
        for guest in &mut waiting {
            guest.send(HELLO.as_bytes()).await.unwrap();
            let answer = guest.answer().await.unwrap();
            // One that was accepted early and said nothing may have had to make room.
            assert!(answer["ok"] == true || answer["error"] == "busy", "{answer}");
        }
    });
    let client = twins.client();
    client.put("after", b"wards").expect(0);
    twins.check_identical();
    let told = twins.log().matches("accepted").count();
    assert!(told <= 20, "{}", twins.log());
    assert!(!twins.log().contains("to=absent"), "no drive is blamed for it: {}", twins.log());
}
