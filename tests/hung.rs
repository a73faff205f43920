//! Sticks that hang, and one that is only slow.
//!
//! The drive is an ext4 file system on a loop device over a file of a FUSE file system, which keeps all that is asked of
//! it until it is told to go on: as a stick whose controller stopped. What clients wait for is printed; with
//! `TWINSTICK_FULL=1` the stick hangs for two minutes with the default settings, and the waits are checked too.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests"
)]

use std::net::TcpStream;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use twinstick_rig::{
    Binaries, Client, Drives, End, Medium, Mounted, Needs, Pull, Side, Trials, Twins, is_full, seconds, wait_until,
};

const DRIVE_BYTES: u64 = 128 << 20;
/// More than goes through the drive log.
const LARGE: usize = 3 << 20;
/// More than is written between two syncs.
const SLOW: usize = 24 << 20;
const CLIENTS: usize = 4;
/// What a client may wait beyond `stall_after`.
const LATE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    Trials::default()
        .with("clients_wait_once_for_a_stick_that_hangs_and_it_is_replayed_when_it_goes_on", Needs::LoopMounts, hangs)
        .with(
            "a_daemon_starts_without_a_stick_that_hangs_and_takes_it_up_when_it_goes_on",
            Needs::LoopMounts,
            hangs_at_start,
        )
        .with("the_daemon_stops_although_a_stick_hangs", Needs::LoopMounts, stops)
        .with("a_slow_stick_that_still_writes_is_not_thrown_out", Needs::LoopMounts, slow)
        .main()
}

/// How long the stick hangs, and after how long it counts as gone.
fn times() -> (Duration, Duration) {
    if is_full() {
        (Duration::from_mins(2), Duration::from_secs(5))
    } else {
        (Duration::from_secs(4), Duration::from_secs(1))
    }
}

/// Two sticks, of which b lies on a medium of its own.
struct Stand {
    twins: Twins,
    medium: Medium,
    mounted: Mounted,
}

impl Stand {
    fn new(stall_after: Duration) -> Self {
        let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
        let config = format!("flaps_max = 1000\nstall_after = \"{}s\"\n", stall_after.as_secs());
        let mut twins = Twins::with_config(binaries, Drives::Loop { bytes: DRIVE_BYTES }, |_| config.clone());
        twins.client().put("before", b"1").expect(0);
        twins.check_identical();
        let (root, image) = (twins.root(Side::B).to_owned(), twins.stick(Side::B).image().to_owned());
        twins.pull(Side::B, Pull::Unmount);
        let medium = Medium::new(&image, &twins.dir().join("fuse"));
        let mounted = Mounted::image(medium.file(), &root, "rw");
        twins.check_identical();
        Self { twins, medium, mounted }
    }

    fn end(mut self) {
        self.twins.end(End::Drain);
        self.mounted.unmount();
    }
}

/// Puts and gets until the stick is out, and twice after that; each wait.
fn work(client: &Client, number: usize) -> Vec<(String, Duration)> {
    let mut waits = Vec::new();
    let mut after = 0;
    for turn in 0.. {
        let bytes = vec![number as u8; if (number + turn).is_multiple_of(2) { 1000 } else { LARGE }];
        let name = format!("hung/{number}-{turn}");
        let mut timed = |what: &str, act: &dyn Fn()| {
            let begun = Instant::now();
            act();
            waits.push((format!("{what} {name}, {} B", bytes.len()), begun.elapsed()));
        };
        timed("put", &|| drop(client.put(&name, &bytes).expect(0)));
        timed("get", &|| assert_eq!(client.get(&name).expect(0).stdout, bytes));
        after += usize::from(client.state(Side::B) == "fenced");
        if after > 2 {
            break;
        }
    }
    waits
}

fn hangs() {
    let (hang, stall_after) = times();
    let stand = Stand::new(stall_after);
    let client = stand.twins.client();
    stand.medium.hang();
    let begun = Instant::now();
    let waits: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn({
                    let client = client.clone();
                    move || work(&client, number)
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a client that fails in nothing")).collect()
    });
    let (longest, wait) = waits.iter().max_by_key(|(_, wait)| *wait).expect("waits");
    let longer = waits.iter().filter(|(_, wait)| *wait >= stall_after / 2).count();
    println!(
        "stall_after {}: longest wait {} ({longest}); {longer} of {} waits, of {CLIENTS} clients, above half of that",
        seconds(stall_after),
        seconds(*wait),
        waits.len()
    );
    if is_full() {
        assert!(*wait <= stall_after + LATE, "{longest}: {}", seconds(*wait));
        assert!(longer <= CLIENTS, "once each: {waits:#?}");
    }
    let notices = client.notices();
    assert!(notices.contains("drive b is fenced off") && notices.contains("does not answer"), "{notices}");

    // It stays so, whatever becomes of the mount.
    while begun.elapsed() < hang {
        assert_eq!(client.state(Side::B), "fenced");
        thread::sleep(Duration::from_millis(100));
    }
    stand.medium.go_on();
    stand.twins.check_identical();
    let log = stand.twins.log();
    let states: Vec<_> =
        log.lines().filter(|line| line.contains("drive state") && line.contains("to=fenced")).collect();
    assert_eq!(states.len(), 1, "fenced once: {states:#?}");
    stand.end();
}

fn hangs_at_start() {
    let (_, stall_after) = times();
    let mut stand = Stand::new(stall_after);
    stand.twins.end(End::Drain);
    stand.medium.hang();
    stand.twins.serve();
    let client = stand.twins.client();
    client.put("meanwhile", b"2").expect(0);
    assert_eq!(client.get("meanwhile").expect(0).stdout, b"2");
    assert_eq!(client.state(Side::A), "in-sync");
    assert_ne!(client.state(Side::B), "in-sync");
    stand.medium.go_on();
    stand.twins.check_identical();
    stand.end();
}

fn stops() {
    let (_, stall_after) = times();
    let mut stand = Stand::new(stall_after);
    stand.medium.hang();
    stand.twins.client().put("while it hangs", b"2").expect(0);
    // Threads that wait in the kernel for a block device cannot be ended by anybody: the process is gone when the stick
    // answers, or is pulled. Everything else has come to its end by then.
    let (twins, medium) = (&mut stand.twins, &stand.medium);
    let address = twins.address().to_owned();
    thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("nobody listens any more", || TcpStream::connect(&address).is_err());
            medium.go_on();
        });
        twins.end(End::Drain);
    });
    stand.twins.serve();
    stand.twins.check_identical();
    stand.end();
}

fn slow() {
    let (_, stall_after) = times();
    let stand = Stand::new(stall_after);
    let client = stand.twins.client();
    // A request to the medium has a mebibyte at most, and takes a fraction of that time; a sync several times as long.
    stand.medium.set_pace(Some(SLOW as u32 / (4 * stall_after.as_secs() as u32)));
    let begun = Instant::now();
    let bytes = vec![7; SLOW];
    client.put("slow", &bytes).expect(0);
    println!("stall_after {}: {SLOW} B in {}", seconds(stall_after), seconds(begun.elapsed()));
    assert!(begun.elapsed() > 2 * stall_after, "slow indeed");
    assert_eq!(client.get("slow").expect(0).stdout, bytes);
    stand.medium.set_pace(None);
    stand.twins.check_identical();
    let log = stand.twins.log();
    assert!(!log.contains("to=fenced"), "slow, not gone: {log}");
    stand.end();
}
