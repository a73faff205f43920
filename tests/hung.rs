//! Sticks that hang, and one that is only slow.
//!
//! A stick that hangs keeps all that is asked of it until it is told to go on, as one whose controller stopped: once an
//! ext4 file system on a loop device over a file of a FUSE file system, so that there are block statistics; once a FUSE
//! file system itself, which has none. What clients wait for is printed; with `TWINSTICK_FULL=1` the stick hangs for
//! two minutes with the default settings, and the waits are checked too.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests"
)]

use std::fs::{self, File};
use std::net::TcpStream;
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use twinstick_rig::{
    Binaries, Client, Drives, End, Link, Medium, Mounted, Needs, Pull, Reply, Side, Trials, Twins, is_full, seconds,
    wait_until,
};

const DRIVE_BYTES: u64 = 128 << 20;
/// More than goes through the drive log.
const LARGE: usize = 3 << 20;
/// More than is written between two syncs.
const SLOW: usize = 24 << 20;
const CLIENTS: usize = 8;
/// What a client may wait beyond `stall_after`.
const LATE: Duration = Duration::from_millis(500);
/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    Trials::default()
        .with("clients_wait_once_for_a_stick_that_hangs_and_it_is_replayed_when_it_goes_on", Needs::LoopMounts, || {
            hangs(Ground::Device);
        })
        .with("so_they_do_for_one_that_has_no_block_device", Needs::LoopMounts, || hangs(Ground::Fuse))
        .with("a_daemon_starts_without_a_stick_that_hangs_and_takes_it_up_when_it_goes_on", Needs::LoopMounts, || {
            hangs_at_start(Ground::Device);
        })
        .with("so_it_does_without_one_that_has_no_block_device", Needs::LoopMounts, || hangs_at_start(Ground::Fuse))
        .with("the_daemon_stops_although_a_stick_hangs", Needs::LoopMounts, stops)
        .with("commands_end_with_a_word_when_a_stick_hangs", Needs::LoopMounts, || commands(Ground::Fuse))
        .with("so_they_do_on_a_block_device", Needs::LoopMounts, || commands(Ground::Device))
        .with("a_slow_stick_that_still_writes_is_not_thrown_out", Needs::LoopMounts, slow)
        .main()
}

/// What is below the file system of a stick that hangs.
#[derive(Clone, Copy)]
enum Ground {
    /// A block device, whose medium hangs.
    Device,
    /// Nothing that the kernel keeps statistics of: the file system itself hangs.
    Fuse,
}

/// The settings about hanging, and after how long a stick counts as gone by them.
fn settings() -> (&'static str, Duration) {
    // For the full figures the defaults.
    if is_full() { ("", Duration::from_secs(5)) } else { ("stall_after = \"1s\"\n", Duration::from_secs(1)) }
}

fn hangs_for() -> Duration {
    if is_full() { Duration::from_mins(2) } else { Duration::from_secs(4) }
}

/// Two sticks, of which b can hang.
struct Stand {
    twins: Twins,
    /// What b lies on, where that is no file system of its own.
    device: Option<(Medium, Mounted)>,
}

impl Stand {
    fn new(ground: Ground) -> Self {
        let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
        let config = format!("flaps_max = 1000\n{}", settings().0);
        let drives = match ground {
            Ground::Device => Drives::Loop { bytes: DRIVE_BYTES },
            Ground::Fuse => Drives::Faulty,
        };
        let mut twins = Twins::with_config(binaries, drives, |_| config.clone());
        twins.client().put("before", b"1").expect(0);
        twins.check_identical();
        let device = match ground {
            Ground::Device => {
                let (root, image) = (twins.root(Side::B).to_owned(), twins.stick(Side::B).image().to_owned());
                twins.pull(Side::B, Pull::Unmount);
                let medium = Medium::new(&image, &twins.dir().join("fuse"));
                let mounted = Mounted::image(medium.file(), &root, "rw");
                twins.check_identical();
                Some((medium, mounted))
            }
            Ground::Fuse => None,
        };
        Self { twins, device }
    }

    fn hang(&self) {
        match &self.device {
            Some((medium, _)) => medium.hang(),
            None => self.twins.stick(Side::B).medium().hang(),
        }
    }

    fn go_on(&self) {
        match &self.device {
            Some((medium, _)) => medium.go_on(),
            None => self.twins.stick(Side::B).medium().revive(),
        }
    }

    fn end(mut self) {
        self.twins.end(End::Drain);
        if let Some((_, mounted)) = self.device {
            mounted.unmount();
        }
    }
}

/// One request of a client.
struct Wait {
    what: String,
    begun: Instant,
    waited: Duration,
}

/// Puts, gets and removes one small and one large file until told to stop; each wait.
fn work(address: &str, number: usize, stop: &AtomicBool) -> Vec<Wait> {
    let mut link = Link::connect(address).expect("a connection");
    let mut waits = Vec::new();
    for turn in 0.. {
        let bytes = vec![turn as u8; if (number + turn).is_multiple_of(4) { LARGE } else { 1000 }];
        let name = format!("hung/{number}-{}", bytes.len());
        let mut timed = |what: &str, act: &mut dyn FnMut(&mut Link) -> std::io::Result<Reply>, answer: &[u8]| {
            let begun = Instant::now();
            let reply = act(&mut link).expect("a connection that lasts");
            let waited = begun.elapsed();
            assert!(reply == Reply::Done(answer.to_owned()), "{what} {name}: {reply:?}");
            waits.push(Wait { what: format!("{what} {name}"), begun, waited });
        };
        timed("put", &mut |link| link.put(&name, &bytes, None), &[]);
        timed("get", &mut |link| link.get(&name), &bytes);
        if turn % 3 == 0 {
            timed("rm", &mut |link| link.remove(&name, None), &[]);
        }
        if stop.load(Ordering::Acquire) {
            break;
        }
        thread::sleep(PAUSE);
    }
    waits
}

fn hangs(ground: Ground) {
    let stall_after = settings().1;
    let stand = Stand::new(ground);
    let client = stand.twins.client();
    let (address, stop) = (stand.twins.address(), AtomicBool::new(false));
    let waits: Vec<_> = thread::scope(|scope| {
        let work = |number| work(address, number, &stop);
        let workers: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || work(number))).collect();
        // A client that has found something out ends the test: the others are told to stop.
        let hung = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hang(&stand, &client)));
        stop.store(true, Ordering::Release);
        let waits = workers.into_iter().map(|worker| worker.join().expect("a client that fails in nothing")).collect();
        let begun = hung.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        print(begun, waits)
    });
    if is_full() {
        for (number, (longest, longer)) in waits.into_iter().enumerate() {
            let limit = stall_after + LATE;
            assert!(longest <= limit, "client {number} waited for {}", seconds(longest));
            assert!(longer <= 1, "client {number} waited {longer} times");
        }
    }
    stand.twins.check_identical();
    let log = stand.twins.log();
    let states: Vec<_> =
        log.lines().filter(|line| line.contains("drive state") && line.contains("to=fenced")).collect();
    assert_eq!(states.len(), 1, "fenced once: {states:#?}");
    stand.end();
}

/// Has the stick hang for a while under the load, and go on; when that began.
fn hang(stand: &Stand, client: &Client) -> Instant {
    wait_until("all clients are at work", || {
        client.run(&["ls", "hung"]).stdout.split(|b| *b == b'\n').count() > CLIENTS
    });
    stand.hang();
    let begun = Instant::now();
    wait_until("the stick is fenced", || client.state(Side::B) == "fenced");
    let notices = client.notices();
    assert!(notices.contains("drive b is fenced off") && notices.contains("does not answer"), "{notices}");
    // It stays so, whatever becomes of the mount.
    while begun.elapsed() < hangs_for() {
        assert_eq!(client.state(Side::B), "fenced");
        thread::sleep(Duration::from_millis(100));
    }
    stand.go_on();
    begun
}

/// Says what each client waited for while the stick hung; the longest wait, and how many were longer than half of
/// `stall_after`.
fn print(hung: Instant, clients: Vec<Vec<Wait>>) -> Vec<(Duration, usize)> {
    let (stall_after, hangs_for) = (settings().1, hangs_for());
    println!("stall_after {}, hung for {}", seconds(stall_after), seconds(hangs_for));
    let mut found = Vec::new();
    for (number, mut waits) in clients.into_iter().enumerate() {
        waits.retain(|wait| wait.begun + wait.waited >= hung && wait.begun < hung + hangs_for);
        waits.sort_by_key(|wait| std::cmp::Reverse(wait.waited));
        let longer = waits.iter().filter(|wait| wait.waited >= stall_after / 2).count();
        let (longest, next) = (&waits[0], waits.get(1).map_or(Duration::ZERO, |wait| wait.waited));
        println!(
            "client {number}: {} requests, the longest {} ({}), then {}",
            waits.len(),
            seconds(longest.waited),
            longest.what,
            seconds(next)
        );
        found.push((longest.waited, longer));
    }
    found
}

fn hangs_at_start(ground: Ground) {
    let mut stand = Stand::new(ground);
    stand.twins.end(End::Drain);
    stand.hang();
    stand.twins.serve();
    let client = stand.twins.client();
    client.put("meanwhile", b"2").expect(0);
    assert_eq!(client.get("meanwhile").expect(0).stdout, b"2");
    assert_eq!(client.state(Side::A), "in-sync");
    assert_ne!(client.state(Side::B), "in-sync");
    stand.go_on();
    stand.twins.check_identical();
    stand.end();
}

fn stops() {
    let mut stand = Stand::new(Ground::Device);
    stand.hang();
    stand.twins.client().put("while it hangs", b"2").expect(0);
    // Threads that wait in the kernel for a block device cannot be ended by anybody: the process is gone when the stick
    // answers, or is pulled. Everything else has come to its end by then.
    let address = stand.twins.address().to_owned();
    let Stand { twins, device: Some((medium, _)) } = &mut stand else { unreachable!("it was made with one") };
    thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("nobody listens any more", || TcpStream::connect(&address).is_err());
            medium.go_on();
        });
        twins.end(End::Drain);
    });
    twins.serve();
    twins.check_identical();
    stand.end();
}

/// Each says which drive does not answer, and fails as it does otherwise; it is gone when the kernel lets go of it.
fn commands(ground: Ground) {
    let mut stand = Stand::new(ground);
    stand.twins.client().put("large", &vec![1; LARGE]).expect(0);
    stand.twins.check_identical();
    stand.twins.end(End::Drain);
    let [a, b] = Side::BOTH.map(|side| stand.twins.root(side).display().to_string());
    let (drive_a, drive_b) = (format!("a={a}"), format!("b={b}"));
    let cases: [(i32, &[&str]); 3] = [
        (4, &["check"]),
        (1, &["adopt", "--drive", &a, "--drive", &b]),
        (1, &["init", "--adopt", "--drive", &drive_a, "--drive", &drive_b]),
    ];
    for (code, words) in cases {
        if let (Ground::Device, ["init", ..]) = (ground, words) {
            // What it asks of a stick that has a label comes from the cache.
            continue;
        }
        let told = stand.twins.dir().join("told");
        let stderr = File::create(&told).expect("a log");
        stand.hang();
        let mut child =
            stand.twins.command_line(words).stdout(Stdio::null()).stderr(stderr).spawn().expect("twinstickd");
        let word = format!("the drive at {b} does not answer");
        wait_until("it says which drive hangs", || {
            let ended = child.try_wait().expect("a child");
            let text = fs::read_to_string(&told).expect("a log");
            assert!(ended.is_none() || text.contains(&word), "{words:?}: {ended:?} {text}");
            text.contains(&word)
        });
        stand.go_on();
        let ended = child.wait().expect("a child");
        assert_eq!(ended.code(), Some(code), "{words:?}");
    }
    stand.twins.check(&[]).expect(0);
    stand.twins.serve();
    stand.twins.check_identical();
    stand.end();
}

fn slow() {
    let stall_after = settings().1;
    let stand = Stand::new(Ground::Device);
    let client = stand.twins.client();
    // A request to the medium has a mebibyte at most, and takes a fraction of that time; a sync several times as long.
    let pace = SLOW as u32 / (4 * stall_after.as_secs() as u32);
    let Some((medium, _)) = &stand.device else { unreachable!("it was made with one") };
    medium.set_pace(Some(pace));
    let begun = Instant::now();
    let bytes = vec![7; SLOW];
    client.put("slow", &bytes).expect(0);
    println!("stall_after {}: {SLOW} B in {}", seconds(stall_after), seconds(begun.elapsed()));
    assert!(begun.elapsed() > 2 * stall_after, "slow indeed");
    assert_eq!(client.get("slow").expect(0).stdout, bytes);
    medium.set_pace(None);
    stand.twins.check_identical();
    let log = stand.twins.log();
    assert!(!log.contains("to=fenced"), "slow, not gone: {log}");
    stand.end();
}
