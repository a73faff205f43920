//! How soon a drive that is mounted again gets the first of what it missed.

use std::fs;
use std::time::{Duration, Instant};

use crate::content::Content;
use crate::link::{Link, Reply};
use crate::load::{Sizes, Worker, run_while};
use crate::scale::is_full;
use crate::stick::{Pull, Side};
use crate::twins::Twins;
use crate::wait::{seconds, wait_until};

/// What the drive missed, each time.
const FILES: usize = 100;
/// From the mount to the first file under its name.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// Has drive b come back, with nobody else at work and beside clients that are, so many times each. The time is judged
/// with the full figures alone: a shared machine keeps none.
pub fn a_returned_drive_gets_its_first_file_at_once(twins: &mut Twins, turns: usize, clients: usize, ways: &[Pull]) {
    let mut workers = Worker::team(&twins.client(), clients, 7, Sizes { least: 0, most: 256 << 10 });
    for (turn, how) in (0..turns).zip(ways.iter().cycle()) {
        let idle = return_with_debts(twins, &format!("idle/{turn}"), *how);
        twins.check_identical();
        let busy = run_while(&mut workers, || return_with_debts(twins, &format!("busy/{turn}"), *how));
        for worker in &mut workers {
            assert_eq!(worker.take_failures(), Vec::<String>::new(), "{}", worker.name);
        }
        twins.check_identical();
        println!(
            "{how:?}: first of {FILES} files after {}; beside {clients} clients after {}",
            seconds(idle),
            seconds(busy)
        );
        if is_full() {
            assert!(idle.max(busy) <= FIRST_WITHIN, "{} and {}", seconds(idle), seconds(busy));
        }
    }
}

/// Pulls drive b, puts files and brings it back; the time from its mount to the first file that it missed: one of these, or
/// one of what others did meanwhile.
fn return_with_debts(twins: &mut Twins, folder: &str, how: Pull) -> Duration {
    twins.pull(Side::B, how);
    let mut link = Link::connect(twins.address()).expect("a connection");
    for number in 0..FILES {
        let bytes = Content { seed: number as u64, len: 30_000 }.bytes();
        let reply = link.put(&format!("{folder}/{number}"), &bytes, None).expect("an answer");
        assert_eq!(reply, Reply::Done(Vec::new()));
    }
    twins.stick_mut(Side::B).bring_back();
    let mounted = Instant::now();
    let there = twins.root(Side::B).join(folder);
    wait_until("a file is there", || {
        fs::read_dir(&there).is_ok_and(|mut files| files.next().is_some()) || has_copied(&mut link)
    });
    mounted.elapsed()
}

/// Whether the status tells of a file that drive b got in this stay.
fn has_copied(link: &mut Link) -> bool {
    let status = link.status().expect("a status");
    let drives = status["drives"].as_array().expect("drives");
    let b = drives.iter().find(|drive| drive["name"] == Side::B.name()).expect("drive b");
    let is_there = ["replaying", "in-sync"].contains(&b["state"].as_str().expect("a state"));
    is_there && b["replay"]["copied_files"].as_u64().is_some_and(|files| files > 0)
}
