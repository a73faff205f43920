//! A blank stick in place of one that is gone, filled while clients go on and while it is cut short again and again.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::client::Client;
use crate::content::Content;
use crate::daemon::End;
use crate::scale::Scale;
use crate::stick::{Pull, Side};
use crate::twins::{Drives, Twins};
use crate::wait::{Stop, wait_until};

/// Work that may be done twice for each interruption, but for one file.
const REPEATED_BYTES_MAX: u64 = 64 << 20;
const SMALL_BYTES: usize = 4096;
const CLIENTS: usize = 4;
const CUTS: u64 = 5;

/// Where the backfill is cut short, and how.
#[derive(Clone, Copy)]
enum Cut {
    /// When so many percent of the paths are left.
    Left(u64, How),
    /// While the largest file is copied.
    InLargest(How),
}

#[derive(Clone, Copy)]
enum How {
    Kill,
    Pull(Pull),
}

/// Fills a drive enrolled in place of b; `pulls` are ways for a drive to leave.
pub fn a_blank_stick_is_filled_under_load_though_it_is_cut_short(
    twins: &mut Twins,
    drives: Drives,
    scale: Scale,
    pulls: [Pull; 2],
) {
    twins.end(End::Drain);
    twins.set_variable("TWINSTICKD_LOG", "info,twinstick::mirror::lane=debug");
    twins.serve();
    populate(twins, scale);
    twins.pull(Side::B, pulls[0]);
    twins.exchange(Side::B, "b-new", drives);
    let path = twins.root(Side::B).to_owned();
    let client = &twins.client();
    let stop = &AtomicBool::new(false);
    let stored = thread::scope(|scope| {
        let _stop = Stop(stop);
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || store(client, number, stop))).collect();
        twins.replace(Side::B, &path, &[]).expect(0);
        wait_until("the new drive is filled", || client.state(Side::B) == "backfilling");
        cut_short_again_and_again(twins, scale, pulls);
        wait_until("the backfill ends", || client.state(Side::B) == "in-sync");
        stop.store(true, Ordering::Release);
        clients.into_iter().map(|client| client.join().expect("a client's thread")).collect::<Vec<_>>()
    });
    twins.check_identical();
    for (number, file) in stored.iter().enumerate() {
        for (slot, content) in file.last.iter().enumerate() {
            let bytes = fs::read(twins.root(Side::B).join(slot_path(number, slot))).expect("what was stored");
            assert_eq!(Content::of(&bytes), *content, "client {number}, file {slot}");
        }
    }
    let puts: u64 = stored.iter().map(|stored| stored.puts).sum();
    println!("{puts} puts of {CLIENTS} clients meanwhile");
    report(&twins.log(), CUTS, scale);
}

/// What a client stored: of each of its files the last content.
struct Stored {
    last: [Option<Content>; 10],
    puts: u64,
}

/// Stores files again and again; a put that fails since the daemon was killed is sent again until it succeeds.
fn store(client: &Client, number: usize, stop: &AtomicBool) -> Stored {
    let mut stored = Stored { last: [None; 10], puts: 0 };
    while !stop.load(Ordering::Acquire) || stored.puts < 10 {
        let slot = (stored.puts % 10) as usize;
        let content =
            Content { seed: stored.puts * 1000 + number as u64, len: 16 + (stored.puts as usize * 977) % 70_000 };
        let path = slot_path(number, slot);
        wait_until("a put succeeds", || client.put(&path, &content.bytes()).code == 0);
        wait_until("a get succeeds", || {
            let outcome = client.get(&path);
            assert!(outcome.code != 0 || Content::of(&outcome.stdout) == Some(content), "{path} is not what was put");
            outcome.code == 0
        });
        *stored.last.get_mut(slot).expect("a slot") = Some(content);
        stored.puts += 1;
    }
    stored
}

fn slot_path(number: usize, slot: usize) -> String {
    format!("client-{number}/{slot}")
}

fn cut_short_again_and_again(twins: &mut Twins, scale: Scale, pulls: [Pull; 2]) {
    let cuts = [
        Cut::InLargest(How::Kill),
        Cut::InLargest(How::Pull(pulls[0])),
        Cut::Left(80, How::Kill),
        Cut::Left(60, How::Pull(pulls[1])),
        Cut::Left(40, How::Kill),
    ];
    assert_eq!(cuts.len() as u64, CUTS);
    let (mut seen, total) = (0, scale.fill_files as u64);
    for (number, cut) in cuts.into_iter().enumerate() {
        let behind = cut_short(twins, scale, total, cut, &mut seen);
        println!("cut {number}: {behind}");
    }
}

/// Many small files, and a large one among them.
fn populate(twins: &Twins, scale: Scale) {
    let local = twins.home().join("fill");
    for part in ["fill/one", "fill/two"] {
        fs::create_dir_all(twins.home().join(part)).expect("a new folder");
    }
    for number in 0..scale.fill_files {
        let part = if number < scale.fill_files / 10 { "one" } else { "two" };
        let content = Content { seed: number as u64, len: SMALL_BYTES - number % 1000 };
        fs::write(local.join(format!("{part}/{number:05}")), content.bytes()).expect("room");
    }
    let largest = Content { seed: 1, len: scale.fill_largest_bytes };
    fs::write(twins.home().join("largest"), largest.bytes()).expect("room");
    let client = twins.client();
    client.run(&["put", "-r", "-q", "fill/one"]).expect(0);
    client.run(&["put", "-q", "largest"]).expect(0);
    client.run(&["put", "-r", "-q", "fill/two"]).expect(0);
    client.run(&["status", "--wait"]).expect(0);
    fs::remove_dir_all(local).expect("our own files");
}

/// What is left when the drive is at work again.
fn cut_short(twins: &mut Twins, scale: Scale, total: u64, cut: Cut, seen: &mut usize) -> Value {
    let how = match cut {
        Cut::Left(percent, how) => {
            wait_until("the backfill goes on", || {
                let drive = twins.client().drive(Side::B);
                assert_eq!(drive["state"], "backfilling", "{drive}");
                drive["behind"]["paths"].as_u64().expect("a number") * 100 <= total * percent
            });
            how
        }
        Cut::InLargest(how) => {
            wait_until("the largest file is copied", || {
                let copies = copies(&twins.log());
                copies.iter().skip(*seen).any(|copy| copy.bytes == scale.fill_largest_bytes as u64)
            });
            how
        }
    };
    match how {
        How::Kill => {
            twins.end(End::Kill);
            *seen = copies(&twins.log()).len();
            twins.serve();
        }
        How::Pull(pull) => {
            twins.pull(Side::B, pull);
            *seen = copies(&twins.log()).len();
            twins.bring_back(Side::B);
        }
    }
    wait_until("the drive is verified", || twins.client().state(Side::B) != "verifying");
    let drive = twins.client().drive(Side::B);
    assert_eq!(drive["state"], "backfilling", "it goes on where it was");
    drive["behind"].clone()
}

/// A file that was begun to be copied to a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Begun {
    /// Node and LSN: a version of a file.
    version: (String, String),
    bytes: u64,
}

/// What the log says was copied, in order.
fn copies(log: &str) -> Vec<Begun> {
    let field = |line: &str, name: &str| {
        let value = line.split_whitespace().find_map(|word| word.strip_prefix(name));
        value.unwrap_or_else(|| panic!("no {name} in {line}")).to_owned()
    };
    let begun = |line: &str| Begun {
        version: (field(line, "node="), field(line, "lsn=")),
        bytes: field(line, "bytes=").parse().expect("a number"),
    };
    let plain = log.lines().map(without_colours);
    plain.filter(|line| line.contains("copies") && line.contains("drive=b")).map(|line| begun(&line)).collect()
}

fn without_colours(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

/// Panics unless what was copied more than once is at most a file, or 64 MiB, for each cut.
fn report(log: &str, cuts: u64, scale: Scale) {
    let mut times: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    for copy in copies(log) {
        times.entry(copy.version).or_insert((0, copy.bytes)).0 += 1;
    }
    let repeated: u64 = times.values().map(|(times, bytes)| (times - 1) * bytes).sum();
    let files = times.values().filter(|(times, _)| *times > 1).count();
    let largest = scale.fill_largest_bytes as u64;
    // Two of the cuts come while the largest file is copied; the others stand before small ones.
    let allowed = 2 * largest.max(REPEATED_BYTES_MAX) + (cuts - 2) * REPEATED_BYTES_MAX;
    println!("{} files copied, {files} of them again ({repeated} bytes, {allowed} allowed)", times.len());
    assert!(times.len() >= scale.fill_files, "the log tells of {} copies only", times.len());
    assert!(repeated <= allowed, "{repeated} bytes were copied again, {allowed} are allowed");
}
