//! What a small request costs, counted rather than timed: system calls, syncs, bytes written to the boot disk, allocations.
//!
//! Counts are the same on a fast machine and on a slow one, so each of them is held to a bound: `limits` has them all. How long
//! requests take is for `benches/` and `bench/`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod allocations;
mod limits;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, ExitCode};
use std::thread;

use limits::{
    AUDIT_BYTES_MAX, AVERAGE_TOLERANCE, BOOT_DISK_BYTES_MAX, CROWD, CROWD_PUTS, CROWD_SYNCS_MAX, Calls, GET_IN_MEMORY,
    GET_IN_PAGE_CACHE, JOURNAL_BYTES_MAX, JOURNAL_LOG_BYTES_MAX, PUT_SYNCS, PUT_SYNCS_BEHIND, SMALL,
    STREAM_SYNCS_BEHIND_MAX, SYNC_TIME, Sync,
};
use twinstick_rig::{
    Binaries, Drives, End, Link, Needs, Reply, Side, SystemCall, Trials, Twins, calls_delayed, calls_during,
    count_by_name, written,
};

/// Files that are read in turn.
const FILES: usize = 20;
/// GETs of a round. What is seen is the median of the rounds: a search for changes, a manifest fall into one or two of them.
const GETS: usize = 300;
const GET_ROUNDS: usize = 5;
const LONE_PUTS: usize = 5;
const STREAM_PUTS: usize = 200;
const SYNCS: &str = "fsync,fdatasync,syncfs,sync,msync,sync_file_range";
const WRITES: &str = "write,writev,pwrite64,pwritev,pwritev2";
const DRIVE_BYTES: u64 = 256 << 20;
/// Smaller ones have blocks of 1 KiB.
const BOOT_BYTES: u64 = 512 << 20;

fn main() -> ExitCode {
    if let Some(code) = allocations::serve_if_asked() {
        return code;
    }
    Trials::default()
        .with("a_get_of_a_file_read_lately_touches_no_drive", Needs::Strace, get_in_memory)
        .with("a_get_from_the_page_cache_makes_no_call_too_many", Needs::Strace, get_in_page_cache)
        .with("a_lone_put_syncs_each_medium_once_before_its_answer", Needs::Strace, lone_put)
        .with("puts_that_come_one_after_another_get_their_names_together", Needs::Strace, stream)
        .with("a_crowd_shares_its_syncs", Needs::Strace, crowd_syncs)
        .with("the_journal_is_given_few_bytes_a_put", Needs::Strace, journal_bytes)
        .with("the_boot_disk_is_given_few_bytes_a_put", Needs::LoopMounts, boot_disk_bytes)
        .with("small_requests_allocate_little", Needs::Nothing, allocations::small_requests)
        .main()
}

fn binaries() -> Binaries {
    Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"))
}

fn twins() -> Twins {
    ready(Twins::new(binaries(), Drives::Plain))
}

/// Both drives are there, and have nothing to do.
fn ready(twins: Twins) -> Twins {
    settle(&twins);
    twins
}

fn settle(twins: &Twins) {
    twins.client().run(&["status", "--wait"]).expect(0);
}

fn put(link: &mut Link, path: &str) {
    assert_eq!(link.put(path, &[7; SMALL], None).unwrap(), Reply::Done(Vec::new()));
}

fn get_in_memory() {
    check_gets(&twins(), &GET_IN_MEMORY);
}

fn get_in_page_cache() {
    let config = |_: &_| "[limits]\nread_cache_bytes_max = \"0\"\n".to_owned();
    check_gets(&ready(Twins::with_config(binaries(), Drives::Plain, config)), &GET_IN_PAGE_CACHE);
}

fn check_gets(twins: &Twins, budget: &Calls) {
    let mut link = Link::connect(twins.address()).unwrap();
    for file in 0..FILES {
        put(&mut link, &file.to_string());
    }
    settle(twins);
    let mut get = |count: usize| {
        for number in 0..count {
            let reply = link.get(&(number % FILES).to_string()).unwrap();
            assert_eq!(reply, Reply::Done(vec![7; SMALL]));
        }
    };
    // From here on they are hot.
    get(FILES);
    let rounds = [(); GET_ROUNDS].map(|()| count_by_name(&serving(calls_during(twins.pid(), "all", || get(GETS)))));
    let average = |name: &str| {
        let mut counts = rounds.each_ref().map(|counts| counts.get(name).copied().unwrap_or(0));
        counts.sort_unstable();
        counts.get(GET_ROUNDS / 2).map_or(0.0, |median| *median as f64 / GETS as f64)
    };
    let names: BTreeSet<&str> = rounds.iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
    let averages: BTreeMap<&str, f64> = names.into_iter().map(|name| (name, average(name))).collect();
    println!("calls of a GET: {averages:.2?}");
    let mut others: f64 = averages.values().sum();
    for (name, expected) in budget.each {
        let seen = average(name);
        assert!(
            (seen - *expected as f64).abs() < AVERAGE_TOLERANCE,
            "{seen} {name} a GET, not {expected}: {averages:?}"
        );
        others -= seen;
    }
    assert!(others < budget.others_max, "{others} other calls a GET: {averages:?}");
}

/// The calls of threads that serve clients: those of lanes and watches come by time.
fn serving(mut calls: Vec<SystemCall>) -> Vec<SystemCall> {
    let serves = |thread: &str| {
        thread.starts_with("tokio") || thread == "transfer" || thread.contains("-io") || thread.ends_with("-close")
    };
    // With fcntl a debug build's standard library asks before each close whether that descriptor is open. What was waited for
    // when strace came is called again.
    let counts = |call: &SystemCall| call.name != "fcntl" && call.name != "restart_syscall";
    calls.retain(|call| serves(&call.thread) && counts(call));
    calls
}

/// What a call syncs; `None`: it is no sync.
fn sync(call: &SystemCall) -> Option<Sync> {
    if !SYNCS.split(',').any(|name| name == call.name) {
        return None;
    }
    let path = path(call);
    Some(if path.contains("/.twinstick/log/") {
        Sync::DriveLog
    } else if path.contains("/state/journal/") {
        if path.contains("/wal-") { Sync::Journal } else { Sync::Store }
    } else if path.contains("/a/") || path.contains("/b/") || path.ends_with("/a") || path.ends_with("/b") {
        Sync::Drive
    } else {
        Sync::Other
    })
}

/// The path of the descriptor that is a call's first argument.
fn path(call: &SystemCall) -> &str {
    let (_, path) = call.rest.split_once('<').unwrap_or_default();
    path.split_once('>').map_or("", |(path, _)| path)
}

fn count_syncs(calls: &[SystemCall]) -> BTreeMap<Sync, usize> {
    let mut counts = BTreeMap::new();
    for kind in calls.iter().filter_map(sync) {
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

fn lone_put() {
    let twins = twins();
    let mut link = Link::connect(twins.address()).unwrap();
    // The first one makes folders and files that stay.
    put(&mut link, "first");
    settle(&twins);
    let filter = format!("{SYNCS},recvfrom,writev");
    for number in 0..LONE_PUTS {
        let calls = calls_during(twins.pid(), &filter, || {
            put(&mut link, &format!("{number}"));
            settle(&twins);
        });
        let begun = calls.iter().position(|call| call.name == "recvfrom" && call.rest.contains("\\\"put\\\""));
        let calls = &calls[begun.expect("the PUT is seen")..];
        let answered = calls.iter().position(|call| call.name == "writev" && path(call).starts_with("socket:"));
        let (before, behind) = calls.split_at(answered.expect("its answer is seen"));
        let expected = |budget: &[(Sync, usize)]| budget.iter().copied().collect::<BTreeMap<_, _>>();
        assert_eq!(count_syncs(before), expected(PUT_SYNCS), "until the answer: {before:#?}");
        // The journal's notes of that wait for the next commit, or for a checkpoint.
        let mut behind_counts = count_syncs(behind);
        behind_counts.retain(|kind, _| !matches!(kind, Sync::Journal | Sync::Store));
        assert_eq!(behind_counts, expected(PUT_SYNCS_BEHIND), "behind it: {behind:#?}");
    }
}

fn stream() {
    let twins = twins();
    let mut link = Link::connect(twins.address()).unwrap();
    let calls = calls_during(twins.pid(), SYNCS, || {
        for number in 0..STREAM_PUTS {
            put(&mut link, &number.to_string());
        }
    });
    let counts = count_syncs(&calls);
    println!("syncs of {STREAM_PUTS} PUTs on one connection: {counts:?}");
    let all: usize = counts.values().sum();
    let needed: usize = PUT_SYNCS.iter().map(|(_, count)| count * STREAM_PUTS).sum();
    assert!(all >= needed, "{all} syncs: an answer came before its PUT was durable");
    let behind = (all - needed) as f64 / STREAM_PUTS as f64;
    assert!(behind < STREAM_SYNCS_BEHIND_MAX, "{behind} syncs a PUT beyond those of its answer: {counts:?}");
}

/// Many at once: so many PUTs.
fn crowd(address: &str) -> f64 {
    thread::scope(|scope| {
        for client in 0..CROWD {
            scope.spawn(move || {
                let mut link = Link::connect(address).unwrap();
                (0..CROWD_PUTS).for_each(|number| put(&mut link, &format!("{client}-{number}")));
            });
        }
    });
    (CROWD * CROWD_PUTS) as f64
}

fn crowd_syncs() {
    let twins = twins();
    let mut puts = 0.0;
    let calls = calls_delayed(twins.pid(), SYNCS, SYNC_TIME, || puts = crowd(twins.address()));
    let counts = count_syncs(&calls);
    println!("syncs of {puts} PUTs on {CROWD} connections: {counts:?}");
    for (kind, most) in CROWD_SYNCS_MAX {
        let average = counts.get(kind).copied().unwrap_or(0) as f64 / puts;
        assert!(average <= *most, "{average} syncs a PUT of {kind:?}, more than {most}");
    }
}

fn journal_bytes() {
    let mut twins = twins();
    let mut puts = 0.0;
    let calls = calls_during(twins.pid(), WRITES, || {
        puts = crowd(twins.address());
        settle(&twins);
        // What the journal's log has goes to its store then.
        twins.end(End::Drain);
    });
    let written = |part: &str| {
        let calls = calls.iter().filter(|call| path(call).contains(part));
        // One that strace was detached in has no result; it is one of thousands.
        calls.filter_map(|call| call.result).sum::<i64>() as f64 / puts
    };
    let (log, journal) = (written("/state/journal/wal-"), written("/state/journal/"));
    let (audit, state) = (written("/state/log/"), written("/state/"));
    println!(
        "bytes written for a PUT of {puts} on {CROWD} connections: {log:.0} journal's log, {journal:.0} with its store, \
         {audit:.0} audit log, {state:.0} in all"
    );
    assert!(log > 0.0 && log < JOURNAL_LOG_BYTES_MAX, "{log} bytes of the journal's log a PUT");
    assert!(journal < JOURNAL_BYTES_MAX, "{journal} bytes of journal a PUT");
    assert!(audit < AUDIT_BYTES_MAX, "{audit} bytes of audit log a PUT");
    assert!(state < JOURNAL_BYTES_MAX + AUDIT_BYTES_MAX, "{state} bytes a PUT in the state directory");
}

fn boot_disk_bytes() {
    let mut twins = ready(Twins::with_boot_disk(binaries(), Drives::Loop { bytes: DRIVE_BYTES }, BOOT_BYTES));
    let root = &twins.boot_disk().root().to_owned();
    // A new ext4 writes the tables that mkfs left out for as long as it takes.
    for root in [root.as_path(), twins.root(Side::A), twins.root(Side::B)] {
        assert!(Command::new("mount").args(["-o", "remount,noinit_itable"]).arg(root).status().unwrap().success());
    }
    let synced = || {
        assert!(Command::new("sync").arg("-f").arg(root).status().unwrap().success());
        written(root)
    };
    let before = synced();
    let puts = crowd(twins.address());
    settle(&twins);
    twins.end(End::Drain);
    let after = synced();
    let (requests, sectors) = (after.0 - before.0, after.1 - before.1);
    let bytes = (sectors * 512) as f64 / puts;
    println!("the boot disk's device for {puts} PUTs: {requests} write requests, {bytes:.0} bytes a PUT");
    assert!(bytes < BOOT_DISK_BYTES_MAX, "{bytes} bytes a PUT on the boot disk");
}
