//! Many users at once, measured: what one user's work costs the others, and what a connection costs the daemon.
//!
//! `cargo bench --bench users [SECTION...]` runs for some minutes, prints a line for each figure, and asserts nothing: ratios inside
//! one run are what counts. Sections: crowd, held, held_tls, editing, flood, tokens. As root the drives are loop-mounted ext4 images,
//! else folders.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement says its figures, and stops at the first surprise"
)]

#[path = "../../tests/tls/ends.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod ends;
mod held;
#[path = "../../tests/accounts/people.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod people;
mod probe;

use std::process::ExitCode;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use people::People;
use probe::{Probe, Times};
use rustix::process::{Resource, Rlimit, setrlimit};
use twinstick_rig::{Binaries, Drives, Needs, Side, Trials, Twins, fill_and_bypass};

/// Rounds of each figure; what is printed is the median of them.
const ROUNDS: usize = 5;
/// Clients that come at once.
const CROWD: usize = 1000;
/// Editing sessions that are open while others work.
const EDITORS: usize = 64;
/// Uploads at once of the one who floods.
const FLOOD: usize = 16;
const FLOOD_BYTES: usize = 64 << 20;
/// The one large upload beside the editors.
const UPLOAD_BYTES: usize = 1 << 30;
/// How long each side of a ratio is measured for in a round.
const ROUND: Duration = Duration::from_secs(5);
const SMALL: usize = 4096;
const FILES: usize = 256;
const DRIVE_BYTES: u64 = 4 << 30;

fn main() -> ExitCode {
    raise_descriptors();
    Trials::default()
        .with("crowd", Needs::LoopMounts, crowd)
        .with("held", Needs::LoopMounts, held::in_clear)
        .with("held_tls", Needs::LoopMounts, held::by_tls)
        .with("editing", Needs::LoopMounts, editing)
        .with("flood", Needs::LoopMounts, flood)
        .with("tokens", Needs::LoopMounts, tokens)
        .main()
}

/// Each connection takes one on either side, and the daemon keeps two more for its files.
fn raise_descriptors() {
    let most = Some(1 << 17);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }) {
        println!("the limit on open files stays as it is ({error}): 10,000 connections may be too many");
    }
}

fn twins() -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let twins = Twins::without_trash(binaries, Drives::Loop { bytes: DRIVE_BYTES });
    for side in Side::BOTH {
        fill_and_bypass(twins.root(side));
    }
    twins
}

/// A mirror with users, whose files some small ones are.
fn people() -> People {
    let people = People::new(twins());
    let mut anna = Probe::new(people.twins.address(), Some(&people.token("anna")));
    for file in 0..FILES {
        anna.put(&format!("small/{file}"), &[file as u8; SMALL]);
    }
    people
}

fn crowd() {
    let people = people();
    let (address, token) = (people.twins.address(), people.token("anna"));
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let (ready, together) = (Barrier::new(CROWD + 1), Barrier::new(CROWD + 1));
        let begun = thread::scope(|scope| {
            for number in 0..CROWD {
                let (ready, together, token) = (&ready, &together, &token);
                thread::Builder::new()
                    .stack_size(64 << 10)
                    .spawn_scoped(scope, move || {
                        ready.wait();
                        together.wait();
                        let mut client = Probe::new(address, Some(token));
                        assert_eq!(client.get(&format!("small/{}", number % FILES)), SMALL);
                    })
                    .unwrap();
            }
            ready.wait();
            let begun = Instant::now();
            together.wait();
            begun
        });
        times.push(begun.elapsed());
    }
    println!("{CROWD} clients at once connect, say hello with a token, GET 4 KiB and close: {:?}", median(times));
}

/// What a small GET of another user takes while somebody types and somebody else uploads a large file.
fn editing() {
    let people = people();
    let address = people.twins.address().to_owned();
    let (anna, ben) = (people.token("anna"), people.token("ben"));
    let (mut idle, mut loaded) = (Times::default(), Times::default());
    let mut rates = Vec::new();
    Probe::new(&address, Some(&ben)).put("text", "A sentence. ".repeat(EDITORS).as_bytes());
    for _ in 0..ROUNDS {
        let mut reader = Probe::new(&address, Some(&anna));
        idle.add(reader.gets_for(ROUND, FILES));
        // Each has a sentence of its own, and thinks about how it goes on.
        let editors: Vec<_> = (0..EDITORS)
            .map(|sentence| {
                let mut editor = Probe::new(&address, Some(&ben));
                editor.edit("text", sentence);
                editor
            })
            .collect();
        let done = AtomicBool::new(false);
        let took = thread::scope(|scope| {
            let upload = scope.spawn(|| {
                probe::give_way();
                let begun = Instant::now();
                Probe::new(&address, Some(&ben)).put_large("large", UPLOAD_BYTES, &AtomicBool::new(false));
                done.store(true, Ordering::Release);
                begun.elapsed()
            });
            loaded.add(reader.gets_until(&done, FILES));
            upload.join().unwrap()
        });
        rates.push(UPLOAD_BYTES as f64 / took.as_secs_f64() / 1e6);
        drop(editors);
    }
    rates.sort_by(f64::total_cmp);
    let rate = rates[rates.len() / 2];
    println!("small GETs, idle: {idle}");
    println!("small GETs beside {EDITORS} editing sessions and an upload of 1 GiB at {rate:.0} MB/s: {loaded}");
    println!("p99 {:.2} times the idle one", loaded.p99() / idle.p99());
}

/// What small requests of one user take while another one uploads all that goes.
fn flood() {
    let people = people();
    let address = people.twins.address().to_owned();
    let (anna, ben) = (people.token("anna"), people.token("ben"));
    let sent = AtomicU64::new(0);
    let mut times: [[Times; 2]; 2] = Default::default();
    let mut flooded = Duration::ZERO;
    for _ in 0..ROUNDS {
        for (beside, flooding) in [(0, false), (1, true)] {
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                let begun = Instant::now();
                for number in 0..if flooding { FLOOD } else { 0 } {
                    let (address, ben, stop, sent) = (&address, &ben, &stop, &sent);
                    scope.spawn(move || {
                        // Its work would be another machine's: the daemon's share of this one is what is measured.
                        probe::give_way();
                        let mut client = Probe::new(address, Some(ben));
                        while !stop.load(Ordering::Acquire)
                            && client.put_large(&format!("flood/{number}"), FLOOD_BYTES, stop)
                        {
                            sent.fetch_add(FLOOD_BYTES as u64, Ordering::Relaxed);
                        }
                    });
                }
                let mut client = Probe::new(&address, Some(&anna));
                if flooding {
                    thread::sleep(Duration::from_secs(1));
                }
                times[0][beside].add(client.gets_for(ROUND, FILES));
                times[1][beside].add(client.puts_for(ROUND, FILES));
                stop.store(true, Ordering::Release);
                if flooding {
                    flooded += begun.elapsed();
                }
            });
            people.client("chief").run(&["status", "--wait"]).expect(0);
        }
    }
    let rate = sent.load(Ordering::Relaxed) as f64 / flooded.as_secs_f64() / 1e6;
    println!("another user's flood: {FLOOD} uploads of 64 MiB at a time, {rate:.0} MB/s");
    for (what, [idle, loaded]) in ["GET", "PUT"].iter().zip(&times) {
        println!("small {what}s, idle: {idle}");
        println!("small {what}s beside the flood: {loaded}");
        println!("{what} p99 {:.2} times the idle one", loaded.p99() / idle.p99());
    }
}

/// What is wrong with a token does not show in the time that its refusal takes.
fn tokens() {
    let people = people();
    let token = people.token("anna");
    let (id, secret) = token.rsplit_once('_').unwrap();
    let other_digit = |digit: &str| if digit == "0" { "1" } else { "0" };
    let changed = |text: &str, at: usize| format!("{}{}{}", &text[..at], other_digit(&text[at..=at]), &text[at + 1..]);
    let wrong = [
        ("first digit of the secret", format!("{id}_{}", changed(secret, 0))),
        ("last digit of the secret", format!("{id}_{}", changed(secret, secret.len() - 1))),
        ("token that nobody has", format!("{}_{secret}", changed(id, id.len() - 1))),
    ];
    let mut all: Vec<_> = wrong.iter().map(|(what, token)| (*what, token, Times::default())).collect();
    for round in 0..ROUNDS * 400 {
        for (kind, (_, token, times)) in all.iter_mut().enumerate() {
            // Each address may try a few times only.
            let number = round * wrong.len() + kind;
            let from = [127, 1, (number / 200) as u8, (number % 200 + 1) as u8];
            times.add(vec![Probe::refused(people.twins.address(), from.into(), token)]);
        }
    }
    for (what, _, times) in &all {
        println!("refused for its wrong {what}: {times}");
    }
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}
