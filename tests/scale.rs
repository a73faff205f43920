//! What a replay costs depends on what changed while the drive was away, not on how much there is.
//!
//! `TWINSTICK_FULL=1` runs the full figures, and holds the times against them; `TWINSTICK_BIN_DIR=target/release` tests
//! the release binaries.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "tests"
)]

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use twinstick_rig::{Binaries, Content, Drives, Needs, Pull, Raw, Side, Trials, Twins, is_full, seconds, wait_until};

/// Files before each measurement, in everyday runs and in full ones.
const TREES: [usize; 2] = [1_000, 10_000];
const TREES_FULL: [usize; 2] = [1_000, 100_000];
/// Replays measured at each size; the median counts.
const ROUNDS: usize = 3;
const ROUNDS_FULL: usize = 9;
/// Files overwritten, added and removed while the drive is away: a hundred changes.
const OVERWRITTEN: usize = 50;
/// Folders that those overwritten lie in.
const OVERWRITTEN_FOLDERS: usize = 10;
const ADDED: usize = 30;
const REMOVED: usize = 20;
const FILES_A_FOLDER: usize = 100;
const FILE_BYTES: usize = 2_000;
const CONNECTIONS: usize = 32;
/// How much longer a replay may take in the larger tree.
const RATIO_MAX: f64 = 1.2;

fn main() -> ExitCode {
    Trials::default()
        .with("a_hundred_changes_are_the_same_work_in_a_small_tree_and_in_a_large_one", Needs::LoopMounts, replays)
        .main()
}

fn replays() {
    let (trees, rounds) = if is_full() { (TREES_FULL, ROUNDS_FULL) } else { (TREES, ROUNDS) };
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let mut twins = Twins::new(binaries, Drives::Loop { bytes: 2 << 30 });
    let mut tree = Tree::default();
    let mut medians = Vec::new();
    for files in trees {
        tree.grow(&twins, files);
        twins.client().run(&["status", "--wait"]).expect(0);
        let mut times: Vec<_> = (0..rounds).map(|round| replay(&mut twins, &mut tree, round)).collect();
        times.sort();
        let median = times[rounds / 2];
        println!("100 changes among {files} files: {} to {}", seconds(times[0]), seconds(times[rounds - 1]));
        println!("100 changes among {files} files, median: {} ms", median.as_millis());
        medians.push(median);
    }
    twins.check_identical();
    let ratio = medians[1].as_secs_f64() / medians[0].as_secs_f64();
    println!("{} files to {}: {ratio:.2} times as long", trees[0], trees[1]);
    assert!(!is_full() || ratio <= RATIO_MAX, "{ratio:.2}, at most {RATIO_MAX}");
}

/// A hundred changes while b is away, and the time from its mount's return until it owes nothing.
fn replay(twins: &mut Twins, tree: &mut Tree, round: usize) -> Duration {
    // What was installed since the last checkpoint is read back first; that is not what is measured.
    let client = twins.client();
    wait_until("both drives have checkpointed", || client.status()["journal"]["entries"] == 0);
    twins.pull(Side::B, Pull::Unmount);
    tree.change(twins, round);
    // The mount itself waits until the kernel has let go of what it knew of the files: a matter of the cache, not ours.
    twins.stick_mut(Side::B).bring_back();
    let begin = Instant::now();
    twins.client().run(&["status", "--wait"]).expect(0);
    let taken = begin.elapsed();
    let work = twins.client().drive(Side::B)["replay"].clone();
    let copied = OVERWRITTEN + ADDED;
    for (what, expected) in [("copied_files", copied), ("copied_bytes", copied * FILE_BYTES), ("removed", REMOVED)] {
        assert_eq!(work[what], expected, "{what} of {work}");
    }
    taken
}

/// Files by number, the oldest at the front: `gone` of them were removed.
#[derive(Default)]
struct Tree {
    gone: usize,
    files: usize,
}

impl Tree {
    fn grow(&mut self, twins: &Twins, files: usize) {
        put(twins, &(self.files..self.gone + files).collect::<Vec<_>>(), 0);
        self.files = self.gone + files;
    }

    /// Removes the oldest, adds as many as a round adds, and overwrites some that are spread over all.
    fn change(&mut self, twins: &Twins, round: usize) {
        let mut requests = Raw::greeted(twins.address());
        for number in self.gone..self.gone + REMOVED {
            expect_ok(&mut requests, &json!({ "op": "rm", "path": path(number) }), &[]);
        }
        self.gone += REMOVED;
        // As many folders in either tree: what a drive must look up is part of the change.
        let (there, each) = (self.files - self.gone, OVERWRITTEN / OVERWRITTEN_FOLDERS);
        let first = |folder: usize| self.gone + folder * there / OVERWRITTEN_FOLDERS;
        let spread: Vec<_> = (0..OVERWRITTEN_FOLDERS).flat_map(|folder| first(folder)..first(folder) + each).collect();
        put(twins, &spread, 1 + round as u64);
        put(twins, &(self.files..self.files + ADDED).collect::<Vec<_>>(), 0);
        self.files += ADDED;
    }
}

fn path(number: usize) -> String {
    format!("folder-{:04}/file-{number:06}", number / FILES_A_FOLDER)
}

fn put(twins: &Twins, numbers: &[usize], seed: u64) {
    thread::scope(|scope| {
        for part in numbers.chunks(numbers.len().div_ceil(CONNECTIONS).max(1)) {
            scope.spawn(move || {
                let mut connection = Raw::greeted(twins.address());
                for number in part {
                    let content = Content { seed: seed << 32 | *number as u64, len: FILE_BYTES };
                    let header = json!({ "op": "put", "path": path(*number), "len": FILE_BYTES });
                    expect_ok(&mut connection, &header, &content.bytes());
                }
            });
        }
    });
}

fn expect_ok(connection: &mut Raw, header: &Value, body: &[u8]) {
    let mut request = format!("{header}\n").into_bytes();
    if !body.is_empty() {
        request.extend(body);
        request.extend(format!("{{\"crc32\":\"{:08x}\"}}\n", crc32fast::hash(body)).as_bytes());
    }
    connection.send(&request);
    let answer = connection.answer().expect("an answer");
    assert_eq!(answer["ok"], true, "{header}: {answer}");
}
