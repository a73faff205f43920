//! The service under a real systemd, on a machine whose USB sticks are really pulled: `just pi`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod vm;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use libtest_mimic::{Arguments, Completion, Trial};
use twinstick_rig::{Binaries, Client, Content, Side, wait_until};

use crate::vm::{Cache, Disks, Machine};

/// Asks for these tests, which fetch a Debian system and boot it.
const WANTED: &str = "TWINSTICK_VM";
const INSTALL: &str = "/opt/twinstick/systemd/install --bin /opt/twinstick";
/// The watchdog's interval while it is watched, and the keep-alives that are waited for.
const WATCHDOG_SECONDS: u32 = 6;
const KEEP_ALIVES: usize = 3;

type Test = (&'static str, fn(&Cache));

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let missing = match std::env::var_os(WANTED) {
        Some(_) => vm::missing(),
        None => Some(format!("takes minutes and fetches a Debian system: just pi, or {WANTED}=1")),
    };
    let cache = Arc::new(Cache::new());
    let tests: [Test; 3] = [
        ("the_service_lives_through_pulls_and_boots_on_ext4", whole),
        ("a_pulled_exfat_stick_is_replayed", |cache| short(cache, "exfat")),
        ("a_pulled_vfat_stick_is_replayed", |cache| short(cache, "vfat")),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        let (missing, cache) = (missing.clone(), Arc::clone(&cache));
        Trial::ignorable_test(name, move || {
            if let Some(reason) = missing {
                return Ok(Completion::ignored_with(reason));
            }
            test(&cache);
            Ok(Completion::Completed)
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn binaries() -> Binaries {
    Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"))
}

/// A laptop beside the machine, and what it stored there.
struct Laptop {
    client: Client,
    home: tempfile::TempDir,
    /// The admin's, which the installing script made.
    token: String,
    /// Of the machine's key, as the script showed it.
    fingerprint: String,
    stored: BTreeMap<String, Content>,
}

impl Laptop {
    /// `said`: what the installing script said.
    fn beside(machine: &Machine<'_>, said: &str) -> Self {
        let token =
            said.lines().rev().map(str::trim).find(|line| line.starts_with("tws1_")).expect("a token").to_owned();
        let fingerprint = said
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| line.starts_with("sha256:"))
            .expect("a fingerprint")
            .to_owned();
        let home = tempfile::tempdir().unwrap();
        let client = Client { fget: binaries().fget, address: machine.address.clone(), home: home.path().to_owned() };
        let laptop = Self { client, home, token, fingerprint, stored: BTreeMap::new() };
        laptop.log_in();
        laptop
    }

    /// Goes on with a machine that was booted anew.
    fn moved_to(mut self, machine: &Machine<'_>) -> Self {
        self.client.address.clone_from(&machine.address);
        wait_until("the daemon knows the laptop again", || self.try_to_log_in());
        self
    }

    fn try_to_log_in(&self) -> bool {
        self.client.run_on(&["login", "--fingerprint", &self.fingerprint], self.token.as_bytes()).code == 0
    }

    fn log_in(&self) {
        assert!(self.try_to_log_in(), "the token is not taken");
    }

    /// Stores files, each of which must be taken, while `meanwhile` goes on.
    #[track_caller]
    fn put_while(&mut self, meanwhile: impl FnOnce(&Client, &AtomicU64)) {
        let (done, count) = (AtomicBool::new(false), AtomicU64::new(0));
        let first = self.stored.len() as u64;
        let client = self.client.clone();
        std::thread::scope(|scope| {
            let puts = scope.spawn(|| {
                let mut stored = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let seed = first + stored.len() as u64;
                    // Some go through the drives' logs, some are staged in files.
                    let content = Content { seed, len: if seed.is_multiple_of(3) { 300_000 } else { 9_000 } };
                    client.put(&format!("/{seed}"), &content.bytes()).expect(0);
                    stored.push((format!("{seed}"), content));
                    count.fetch_add(1, Ordering::Relaxed);
                }
                stored
            });
            let end = EndOnDrop(&done);
            meanwhile(&self.client, &count);
            drop(end);
            self.stored.extend(puts.join().unwrap());
        });
    }

    fn put(&mut self, name: &str, len: usize) {
        let content = Content { seed: len as u64, len };
        self.client.put(&format!("/{name}"), &content.bytes()).expect(0);
        self.stored.insert(name.to_owned(), content);
    }

    /// All that was stored is there, on both sticks.
    #[track_caller]
    fn check(&self, machine: &mut Machine<'_>) {
        self.client.run(&["status", "--wait"]).expect(0);
        let differences =
            machine.must("cd /media/twinstick && diff -r -x .twinstick -x lost+found a b && ls a | grep -vc lost");
        assert_eq!(differences, self.stored.len().to_string(), "no difference, and as many names as files were stored");
        // Under emulation each takes its time.
        for (name, content) in self.stored.iter().step_by(10) {
            assert!(self.client.get(&format!("/{name}")).expect(0).stdout == content.bytes(), "{name} has other bytes");
        }
        println!("{} files are the same on both sticks, and as they were stored", self.stored.len());
    }
}

/// Lets the puts end also when the test fails.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[track_caller]
fn wait_for(client: &Client, side: Side, state: &str) {
    let took = wait_until(&format!("stick {} is {state}", side.name()), || client.state(side) == state);
    println!("stick {} is {state} after {:.1} s", side.name(), took.as_secs_f64());
}

/// Waits until the puts have gone on for a while.
#[track_caller]
fn wait_for_puts(count: &AtomicU64, more: u64) {
    let target = count.load(Ordering::Relaxed) + more;
    wait_until("puts go on", || count.load(Ordering::Relaxed) >= target);
}

/// The daemon's process: the same one as long as nobody restarts it.
fn process(machine: &mut Machine<'_>) -> String {
    machine.must("systemctl is-active --quiet twinstickd && systemctl show -P MainPID twinstickd")
}

fn stick_device(machine: &mut Machine<'_>, side: Side) -> String {
    let find = format!("realpath -e /dev/disk/by-id/usb-*twin-{}*", side.name());
    wait_until("the stick is noticed", || machine.run(&find).0 == 0);
    machine.must(&find)
}

/// Installs on two new sticks.
fn install(machine: &mut Machine<'_>, format: &str) -> String {
    let (a, b) = (stick_device(machine, Side::A), stick_device(machine, Side::B));
    let said = machine.must(&format!(
        "printf '%s\\n' {a} {b} | {INSTALL} --a {a} --b {b} --format={format} --listen 0.0.0.0:8946 --yes"
    ));
    println!("{said}");
    assert!(said.contains("twinstickd cert"), "a network is served by TLS alone: {said}");
    said
}

fn whole(cache: &Cache) {
    let disks = Disks::new(&binaries(), cache);
    let mut machine = Machine::boot(&disks, &Side::BOTH);
    refusals(&mut machine);
    let said = install(&mut machine, "ext4");
    let mut laptop = Laptop::beside(&machine, &said);
    for side in Side::BOTH {
        wait_for(&laptop.client, side, "in-sync");
    }
    laptop.put("letter", 11);
    installed_again(&mut machine);
    check_sandbox(&mut machine);
    watch_closely(&mut machine);
    let daemon = process(&mut machine);
    pulls(&mut machine, &mut laptop);
    keep_alives(&mut machine);
    hung_stick(&mut machine, &mut laptop);
    machine.must("systemctl reload twinstickd");
    laptop.check(&mut machine);
    assert_eq!(process(&mut machine), daemon, "no restart, in all this");
    hung_boot_disk(&mut machine, &mut laptop);
    stop(&mut machine);
    machine.power_off();
    one_stick_missing(&disks, laptop);
}

fn short(cache: &Cache, format: &str) {
    let disks = Disks::new(&binaries(), cache);
    let mut machine = Machine::boot(&disks, &Side::BOTH);
    let said = install(&mut machine, format);
    println!("{}", machine.must("findmnt -nt vfat,exfat -o TARGET,OPTIONS"));
    let mut laptop = Laptop::beside(&machine, &said);
    for side in Side::BOTH {
        wait_for(&laptop.client, side, "in-sync");
    }
    installed_again(&mut machine);
    let daemon = process(&mut machine);
    pulls(&mut machine, &mut laptop);
    assert_eq!(process(&mut machine), daemon, "no restart");
    stop(&mut machine);
}

/// What the installation refuses, and that it changes nothing then.
fn refusals(machine: &mut Machine<'_>) {
    let before = "find /etc /usr/local /media /var/lib/twinstick 2>/dev/null | sort | cksum";
    let found = machine.must(before);
    let b = stick_device(machine, Side::B);
    for (words, reason) in [
        ("--yes".to_owned(), "no file system is labelled TWIN-A"),
        (format!("--yes --a /dev/vda --b {b} --format"), "the disk that this machine runs from"),
        (format!("--yes --a {b} --b {b}"), "the same stick"),
        (format!("--yes --a {b} --b /dev/nothing"), "no block device"),
    ] {
        let (code, said) = machine.run(&format!("{INSTALL} {words} </dev/null"));
        assert!(code == 1 && said.contains(reason), "{words}: {code}: {said}");
    }
    let a = stick_device(machine, Side::A);
    let (code, said) = machine.run(&format!("echo yes | {INSTALL} --yes --a {a} --b {b} --format"));
    assert!(code == 1 && said.contains("is not /dev/"), "{said}");
    let (code, said) = machine.run(&format!("printf '\\n\\n' | {INSTALL} --yes --a {a} --b {b} --format"));
    assert!(code == 1 && said.contains("has no file system"), "{said}");
    data_is_safe(machine, &a, &b);
    assert_eq!(machine.must(before), found);
}

/// Sticks that are in use, or have files on them, are refused.
fn data_is_safe(machine: &mut Machine<'_>, a: &str, b: &str) {
    machine.must(&format!("mkfs.ext4 -qF {a} && mkfs.ext4 -qF {b} && mount {b} /mnt && touch /mnt/photo"));
    let install = format!("{INSTALL} --yes --a {a} --b {b} </dev/null");
    for (then, reason) in [("true", "is mounted at /mnt; unmount it first"), ("umount /mnt", "has files on it")] {
        machine.must(then);
        let (code, said) = machine.run(&install);
        assert!(code == 1 && said.contains(reason), "{said}");
    }
    machine.must(&format!("mount {b} /mnt && rm /mnt/photo && umount /mnt && wipefs -aq {a} {b}"));
}

fn installed_again(machine: &mut Machine<'_>) {
    let daemon = process(machine);
    let said = machine.must(&format!("{INSTALL} --yes"));
    assert!(!said.contains("enrol"), "{said}");
    assert_eq!(process(machine), daemon, "nothing has changed, so nothing was restarted");
    let said = machine.must(&format!("{INSTALL} --dry-run"));
    assert!(said.contains("this was a dry run"), "{said}");
}

/// The daemon sees what it has to, and no more than it should.
fn check_sandbox(machine: &mut Machine<'_>) {
    let daemon = process(machine);
    for side in Side::BOTH {
        let device = machine.must(&format!("mountpoint -d /media/twinstick/{}", side.name()));
        for file in ["stat", "diskseq"] {
            machine.must(&format!("nsenter -m -t {daemon} cat /sys/dev/block/{device}/{file}"));
        }
    }
    machine.must(&format!("! nsenter -m -t {daemon} ls /dev/vda 2>/dev/null"));
    let log = machine.must("journalctl -u twinstickd -o cat");
    assert!(!log.contains("open files"), "the limit on descriptors was raised: {log}");
    println!("{}", machine.must("systemd-analyze security --no-pager twinstickd | tail -n 1"));
    println!(
        "{}",
        machine.must("systemd-analyze verify twinstickd.service media-twinstick-{a,b}.mount && echo verified")
    );
}

/// A short watchdog, so that nobody waits for a long one.
fn watch_closely(machine: &mut Machine<'_>) {
    machine.must(&format!(
        "mkdir -p /run/systemd/system/twinstickd.service.d &&
         printf '[Service]\nWatchdogSec={WATCHDOG_SECONDS}\nTimeoutAbortSec=5\n' >/run/systemd/system/twinstickd.service.d/test.conf &&
         systemctl daemon-reload && systemctl restart twinstickd"
    ));
}

/// Keep-alives come, one after the other.
#[track_caller]
fn keep_alives(machine: &mut Machine<'_>) {
    let last = "systemctl show -P WatchdogTimestampMonotonic twinstickd";
    for _ in 0..KEEP_ALIVES {
        let before = machine.must(last);
        wait_until("a keep-alive", || machine.must(last) != before);
    }
    assert_eq!(machine.must("systemctl show -P NRestarts twinstickd"), "0");
}

/// Each stick is pulled in the midst of uploads, and comes back; no client notices.
fn pulls(machine: &mut Machine<'_>, laptop: &mut Laptop) {
    for side in [Side::B, Side::A] {
        laptop.put_while(|client, count| {
            wait_for_puts(count, 5);
            machine.pull(side);
            wait_for(client, side, "absent");
            assert_eq!(client.run(&["status", "--check"]).code, 1, "degraded");
            wait_until("the dead mount is gone", || {
                machine.run(&format!("findmnt /media/twinstick/{}", side.name())).0 != 0
            });
            wait_for_puts(count, 5);
            check_bare(machine, side);
            machine.plug(side);
            wait_for(client, side, "in-sync");
            wait_for_puts(count, 5);
        });
        laptop.check(machine);
    }
}

/// The folder of the boot disk where the stick should be.
#[track_caller]
fn check_bare(machine: &mut Machine<'_>, side: Side) {
    let place = format!("/media/twinstick/{}", side.name());
    assert_eq!(machine.must(&format!("ls -A {place}")), "");
    machine.must(&format!("lsattr -d {place} | grep -q ^....i"));
    let (code, said) = machine.run(&format!("touch {place}/x"));
    assert!(code != 0 && said.contains("not permitted"), "not even root writes there: {said}");
}

/// A stick on which writes hang does not cost the service.
fn hung_stick(machine: &mut Machine<'_>, laptop: &mut Laptop) {
    machine.must("fsfreeze -f /media/twinstick/b");
    let client = laptop.client.clone();
    let content = Content { seed: 77, len: 5000 };
    let bytes = content.bytes();
    let put = std::thread::spawn(move || client.put("/patience", &bytes));
    keep_alives(machine);
    assert!(!put.is_finished(), "nothing is acknowledged that a stick has not taken");
    machine.must("fsfreeze -u /media/twinstick/b");
    put.join().unwrap().expect(0);
    laptop.stored.insert("patience".into(), content);
}

/// A boot disk on which writes hang costs the service, and it is there again when they go on.
fn hung_boot_disk(machine: &mut Machine<'_>, laptop: &mut Laptop) {
    let client = laptop.client.clone();
    let content = Content { seed: 78, len: 5000 };
    let bytes = content.bytes();
    machine.must("fsfreeze -f /");
    let put = std::thread::spawn(move || client.put("/hope", &bytes));
    wait_until("systemd has had enough", || machine.must("systemctl show -P Result twinstickd") == "watchdog");
    machine.must("fsfreeze -u /");
    let _ = put.join().expect("a client");
    wait_until("systemd has started it again", || machine.run("systemctl is-active --quiet twinstickd").0 == 0);
    assert_eq!(machine.must("systemctl show -P NRestarts twinstickd"), "1");
    println!("{}", machine.must("journalctl -u twinstickd -o short-monotonic | grep -i -e keep-alive -e watchdog"));
    // Whatever became of the first attempt.
    laptop.client.put("/hope", &content.bytes()).expect(0);
    laptop.stored.insert("hope".into(), content);
    laptop.check(machine);
}

fn stop(machine: &mut Machine<'_>) {
    machine.must("systemctl stop twinstickd");
    assert_eq!(machine.must("systemctl show -P Result twinstickd"), "success");
    assert_eq!(machine.must("systemctl show -P ExecMainStatus twinstickd"), "0");
    println!("{}", machine.must("journalctl -u twinstickd -o short-monotonic | tail -n 4"));
}

/// A boot with stick b away: the service is ready without it, and takes it up when it comes.
fn one_stick_missing(disks: &Disks, laptop: Laptop) {
    let mut machine = Machine::boot(disks, &[Side::A]);
    let mut laptop = laptop.moved_to(&machine);
    wait_until("the service is ready", || machine.run("systemctl is-active --quiet twinstickd").0 == 0);
    let jobs = machine.must("systemctl list-jobs --no-legend");
    assert!(!jobs.contains("twinstick-b") && !jobs.contains("TWIN"), "nothing waits for the stick: {jobs}");
    println!("{}", machine.must("systemd-analyze"));
    wait_for(&laptop.client, Side::A, "in-sync");
    assert_eq!(laptop.client.state(Side::B), "absent");
    laptop.put("while b was away", 70_000);
    machine.plug(Side::B);
    wait_for(&laptop.client, Side::B, "in-sync");
    laptop.check(&mut machine);
    uninstall(&mut machine, &laptop);
    machine.power_off();
}

/// All is taken back; the files on the sticks and the journal stay.
fn uninstall(machine: &mut Machine<'_>, laptop: &Laptop) {
    machine.must(&format!("{INSTALL} --uninstall --yes"));
    let left = machine.must(
        "find /etc /usr/local /media -name '*twinstick*' ; systemctl list-unit-files --no-legend '*twinstick*'; id -u twinstick",
    );
    assert!(left.lines().count() == 1, "only the user is left: {left}");
    machine.must("test -d /var/lib/twinstick/journal");
    let files = machine.must("mount -o ro /dev/disk/by-label/TWIN-B /mnt && ls /mnt | grep -vc lost");
    assert_eq!(files, laptop.stored.len().to_string());
    assert!(Path::new(laptop.home.path()).exists());
}
