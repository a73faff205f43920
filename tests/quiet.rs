//! A daemon that has nothing to do does nothing, and one that moves large files stays small.
//!
//! `TWINSTICK_FULL=1` runs the full figures; `TWINSTICK_BIN_DIR=target/release` tests the release binaries.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "tests"
)]

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use twinstick_rig::{Binaries, Content, Drives, Memory, Needs, Side, Trials, Twins, is_full, wait_until, written};

const DRIVE_BYTES: u64 = 256 << 20;
const BOOT_BYTES: u64 = 64 << 20;
/// What a GET or PUT of any length may take.
const PEAK_KIB_MAX: u64 = 64 << 10;
/// What a daemon without clients may take.
const IDLE_KIB_MAX: u64 = 20 << 10;
/// Ticks in a second, of the kernel's interface.
const TICKS: u64 = 100;
/// Time without a write after which a file system has come to rest: ext4 commits every five seconds.
const REST: Duration = Duration::from_secs(7);

fn main() -> ExitCode {
    Trials::default()
        .with("an_idle_mirror_writes_nothing_and_takes_next_to_no_time", Needs::LoopMounts, idle)
        .with("a_large_file_takes_no_more_memory_than_a_small_one", Needs::Nothing, large_file)
        .main()
}

fn binaries() -> Binaries {
    Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"))
}

fn idle() {
    let twins = Twins::with_boot_disk(binaries(), Drives::Loop { bytes: DRIVE_BYTES }, BOOT_BYTES);
    let roots = [twins.root(Side::A), twins.root(Side::B), twins.boot_disk().root()];
    for root in roots {
        // A new ext4 writes the tables that mkfs left out for as long as it takes.
        let remounted = Command::new("mount").args(["-o", "remount,noinit_itable"]).arg(root).status().unwrap();
        assert!(remounted.success());
    }
    let client = twins.client();
    for seed in 0..20 {
        client.put(&format!("{seed}"), &Content { seed, len: 1000 << seed.min(12) }.bytes()).expect(0);
    }
    twins.check_identical();
    rest(roots);
    for root in roots {
        // What the last checkpoint left in the kernel's cache, it would write half a minute later.
        assert!(Command::new("sync").arg("-f").arg(root).status().unwrap().success());
    }
    let before = rest(roots);

    let time = Duration::from_secs(if is_full() { 600 } else { 6 });
    let (ticks, begin) = (twins.process().ticks(), Instant::now());
    // The one time that is waited for: idle minutes are what this is about.
    std::thread::sleep(time);
    let (worked, elapsed) = (twins.process().ticks() - ticks, begin.elapsed());
    let after = roots.map(written);
    let share = worked as f64 / (TICKS as f64 * elapsed.as_secs_f64());
    let memory = twins.process().memory_kib(Memory::Now);
    println!(
        "{} s idle: {worked} ticks of work, {:.3} % of a core, {memory} KiB resident; write requests and sectors of \
         drive a, drive b and the boot disk before: {before:?}, after: {after:?}",
        elapsed.as_secs(),
        share * 100.0
    );
    assert_eq!(before, after, "nothing is written");
    // Of a debug build or a short time this is only a rough figure: in six seconds a tick is 0.17 %.
    let share_max = if is_full() { 0.001 } else { 0.02 };
    assert!(share < share_max, "{:.3} % of a core", share * 100.0);
    assert!(memory < idle_kib_max(), "{memory} KiB resident");
}

/// Waits until all is written that is on its way to the devices, and gives what was.
fn rest(roots: [&Path; 3]) -> [(u64, u64); 3] {
    let (mut before, mut since) = (roots.map(written), Instant::now());
    wait_until("the file systems have come to rest", || {
        let seen = roots.map(written);
        if seen != before {
            (before, since) = (seen, Instant::now());
        }
        since.elapsed() >= REST
    });
    before
}

fn large_file() {
    let twins = Twins::new(binaries(), Drives::Plain);
    let (process, client) = (twins.process(), twins.client());
    wait_until("both drives are there", || client.state(Side::A) == "in-sync" && client.state(Side::B) == "in-sync");
    let idle = process.memory_kib(Memory::Now);
    let mebibytes = if is_full() { 2048 } else { 128 };
    let source = twins.home().join("large");
    let mut file = BufWriter::new(File::create(&source).unwrap());
    for number in 0..mebibytes {
        let mut piece = Content { seed: 1, len: 1 << 20 }.bytes();
        piece[..8].copy_from_slice(&u64::to_le_bytes(number));
        file.write_all(&piece).unwrap();
    }
    drop(file.into_inner().unwrap());

    client.run(&["-q", "put", "large", "large"]).expect(0);
    let put = process.memory_kib(Memory::Peak);
    client.run(&["-q", "get", "large", "back"]).expect(0);
    let get = process.memory_kib(Memory::Peak);
    assert!(is_same(&source, &twins.home().join("back")), "the same bytes came back");
    println!("{mebibytes} MiB: resident {idle} KiB idle, at most {put} KiB after the put, {get} KiB after the get");
    assert!(idle < idle_kib_max(), "{idle} KiB idle");
    assert!(get < PEAK_KIB_MAX, "{get} KiB at most");
}

/// A debug build's own file takes as much memory again.
fn idle_kib_max() -> u64 {
    if is_full() { IDLE_KIB_MAX } else { 2 * IDLE_KIB_MAX }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let (mut one, mut other) = (File::open(one).unwrap(), File::open(other).unwrap());
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = one.read(&mut left).unwrap();
        if read == 0 {
            return other.read(&mut right).unwrap() == 0;
        }
        if other.read_exact(&mut right[..read]).is_err() || left[..read] != right[..read] {
            return false;
        }
    }
}
