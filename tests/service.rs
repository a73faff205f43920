//! The daemon as a service manager sees it: what it tells, and when it keeps silent.
#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "tests")]

use std::process::ExitCode;
use std::time::Duration;

use tempfile::TempDir;
use twinstick_rig::{Binaries, Content, Drives, End, Frozen, Needs, Notices, Side, Trials, Twins, wait_until};

/// Room on each drive, and on the boot disk.
const DISK_BYTES: u64 = 128 << 20;
/// The service manager's patience.
const WATCHDOG: Duration = Duration::from_millis(600);
/// Keep-alives after which a daemon counts as alive: those of several intervals.
const KEEP_ALIVES: usize = 8;

/// With the default `drain_timeout`: as long as the unit's TimeoutStopSec=.
const STOPPING: &str = "STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000";

fn main() -> ExitCode {
    Trials::default()
        .with("a_service_tells_that_it_is_ready_alive_and_stopping", Needs::Nothing, tells)
        .with("without_a_watchdog_there_are_no_keep_alives", Needs::Nothing, no_watchdog)
        .with("the_time_for_stopping_follows_drain_timeout", Needs::Nothing, patient)
        .with("keep_alives_stop_while_the_boot_disk_hangs", Needs::LoopMounts, hung_boot_disk)
        .with("a_drive_that_hangs_stops_no_keep_alive", Needs::LoopMounts, hung_drive)
        .main()
}

/// A mirror whose daemon reports to a service manager.
struct Service {
    twins: Twins,
    notices: Notices,
    // Dropped last: the socket lies in it.
    _folder: TempDir,
}

impl Service {
    fn start(mut twins: Twins, watchdog: Option<Duration>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let notices = Notices::listen(folder.path());
        twins.end(End::Drain);
        twins.set_variable("NOTIFY_SOCKET", notices.path());
        if let Some(watchdog) = watchdog {
            twins.set_variable("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        twins.serve();
        assert_eq!(notices.next(), "READY=1");
        Self { twins, notices, _folder: folder }
    }

    #[track_caller]
    fn check_alive(&self) {
        self.notices.forget();
        for _ in 0..KEEP_ALIVES {
            assert_eq!(self.notices.next(), "WATCHDOG=1");
        }
    }

    /// Begins a PUT that waits for a disk, and shows that it waits until the disk goes on.
    fn put_that_waits(&self, frozen: Frozen, meanwhile: impl FnOnce()) {
        let client = self.twins.client();
        let put = std::thread::spawn(move || client.put("letter", &Content { seed: 1, len: 5000 }.bytes()));
        meanwhile();
        assert!(!put.is_finished(), "nothing is acknowledged that a disk has not taken");
        drop(frozen);
        put.join().expect("a client").expect(0);
    }
}

fn binaries() -> Binaries {
    Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"))
}

fn tells() {
    let mut service = Service::start(Twins::new(binaries(), Drives::Plain), Some(WATCHDOG));
    service.check_alive();
    service.notices.forget();
    service.twins.end(End::Drain);
    let mut last = service.notices.next();
    while last == "WATCHDOG=1" {
        last = service.notices.next();
    }
    assert_eq!(last, STOPPING);
    assert_eq!(service.notices.within(WATCHDOG), None, "after that nothing is told");
}

fn no_watchdog() {
    let mut service = Service::start(Twins::new(binaries(), Drives::Plain), None);
    service.twins.client().put("letter", b"x").expect(0);
    service.twins.end(End::Drain);
    assert_eq!(service.notices.next(), STOPPING);
}

fn patient() {
    let config = "[limits]\ndrain_timeout = \"10m\"\n";
    let twins = Twins::with_config(binaries(), Drives::Plain, |_| config.to_owned());
    let mut service = Service::start(twins, None);
    service.twins.end(End::Drain);
    assert_eq!(service.notices.next(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=630000000");
}

fn hung_boot_disk() {
    let twins = Twins::with_boot_disk(binaries(), Drives::Loop { bytes: DISK_BYTES }, DISK_BYTES);
    let service = Service::start(twins, Some(WATCHDOG));
    service.check_alive();
    service.put_that_waits(service.twins.boot_disk().freeze(), || {
        wait_until("the log says why no keep-alive is sent", || {
            let log = service.twins.log();
            log.lines().any(|line| line.contains("no keep-alive") && line.contains("journal"))
        });
        let blamed =
            |part: &str| service.twins.log().lines().any(|line| line.contains("no keep-alive") && line.contains(part));
        assert!(!blamed("watcher") && !blamed("server"), "these move: {}", service.twins.log());
        service.notices.forget();
        assert_eq!(service.notices.within(3 * WATCHDOG), None, "the service manager kills it");
    });
    service.check_alive();
    service.twins.check_identical();
}

fn hung_drive() {
    let twins = Twins::with_boot_disk(binaries(), Drives::Loop { bytes: DISK_BYTES }, DISK_BYTES);
    let service = Service::start(twins, Some(WATCHDOG));
    service.put_that_waits(service.twins.stick(Side::B).freeze(), || service.check_alive());
    service.twins.check_identical();
}
