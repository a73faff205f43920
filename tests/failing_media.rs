//! Sticks and boot disks that are full or fail, with the real daemon and client: what clients see meanwhile, and that
//! all is well again by itself when the cause goes away.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use rustix::io::Errno;
use twinstick_rig::{
    Binaries, Call, Class, Client, Content, Drives, End, Needs, Pull, Side, Trials, Twins, inodes, wait_until,
};

/// Exit code for what cannot be had now.
const UNAVAILABLE: i32 = 5;
/// Exit code for no space.
const NO_SPACE: i32 = 7;
/// A file whose bytes go through the drive logs, and one whose bytes go to a stage of their own.
const SMALL: usize = 5000;
const LARGE: usize = 300_000;

fn main() -> ExitCode {
    Trials::default()
        .with("one_full_stick_refuses_puts_and_nothing_else_and_room_heals", Needs::LoopMounts, || full(&[Side::B]))
        .with("two_full_sticks_refuse_puts_and_nothing_else_and_room_heals", Needs::LoopMounts, || full(&Side::BOTH))
        .with("clients_who_overwrite_get_the_room_of_the_trash", Needs::LoopMounts, overwritten)
        .with("a_stick_that_fails_in_any_way_is_not_noticed_by_clients_and_heals", Needs::LoopMounts, failing)
        .with("a_large_file_comes_from_both_sticks_or_from_the_one_that_answers", Needs::LoopMounts, shared)
        .with("two_failing_sticks_give_a_clear_answer_and_heal", Needs::LoopMounts, both_failing)
        .with("a_failing_boot_disk_stops_changes_and_no_reads_and_heals", Needs::LoopMounts, boot_disk)
        .with(
            "a_boot_disk_that_cannot_be_read_gives_no_wrong_answer_and_heals",
            Needs::LoopMounts,
            unreadable_boot_disk,
        )
        .with("a_damaged_journal_is_never_begun_anew_nor_believed", Needs::Nothing, damaged_journal)
        .beside(1)
        .main()
}

fn binaries() -> Binaries {
    Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"))
}

fn twins() -> Twins {
    Twins::with_config(binaries(), Drives::Faulty, |_| "flaps_max = 100000\nprobe_every = \"200ms\"\n".to_owned())
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    Content { seed, len }.bytes()
}

/// Files that are there before anything fails.
fn prepare(client: &Client) {
    for (name, len) in [("small", SMALL), ("large", LARGE), ("gone", SMALL), ("d/moved", LARGE)] {
        client.put(name, &bytes(1, len)).expect(0);
    }
}

#[track_caller]
fn check_read(client: &Client, name: &str, seed: u64, len: usize) {
    assert!(client.get(name).expect(0).stdout == bytes(seed, len), "{name} has other bytes");
}

/// Waits until all is on both drives, and checks the daemon's end and what it leaves.
#[track_caller]
fn check_healed(twins: &mut Twins) {
    let client = twins.client();
    for side in Side::BOTH {
        wait_until("the drive is in sync by itself", || client.state(side) == "in-sync");
    }
    client.put("after", &bytes(9, LARGE)).expect(0);
    twins.check_identical();
    assert!(!twins.log().contains("panicked"), "{}", twins.log());
}

/// What these sticks give is in no cache.
fn shared() {
    const BLOCKS: usize = 16;
    let mut twins = twins();
    let client = twins.client();
    client.put("large", &bytes(1, BLOCKS * (256 << 10) + 7)).expect(0);
    twins.check_identical();
    let get = || check_read(&client, "large", 1, BLOCKS * (256 << 10) + 7);
    for side in Side::BOTH {
        twins.stick(side).medium().arm(None);
    }
    get();
    for side in Side::BOTH {
        let reads = twins.stick(side).medium().count(Call::Read, Class::User);
        assert!(reads > 0, "drive {side:?} was not read");
    }
    for side in Side::BOTH {
        twins.stick(side).medium().hang();
        get();
        twins.stick(side).medium().revive();
    }
    check_healed(&mut twins);
    get();
    twins.end(End::Drain);
}

fn full(sides: &[Side]) {
    let mut twins = twins();
    let client = twins.client();
    prepare(&client);
    twins.check_identical();
    for side in sides {
        twins.stick(*side).medium().fail_all(vec![(Call::ALLOCATING, Errno::NOSPC)]);
    }
    for name in ["large", "n/new"] {
        let refused = client.put(name, &bytes(2, LARGE)).expect(NO_SPACE);
        assert!(refused.stderr.contains("has no room"), "{}", refused.stderr);
    }
    // The drive log has room for some more, and keeps it until there is room for its name.
    let small = if client.put("small", &bytes(2, SMALL)).code == 0 { 2 } else { 1 };
    check_read(&client, "small", small, SMALL);
    check_read(&client, "large", 1, LARGE);
    client.run(&["rm", "gone"]).expect(0);
    client.run(&["mv", "d/moved", "moved"]).expect(0);
    client.run(&["mkdir", "e"]).expect(0);
    check_read(&client, "moved", 1, LARGE);
    for side in sides {
        wait_until("the drive says that it is full", || client.state(*side) == "full");
    }
    check_read(&client, "small", small, SMALL);
    for side in sides {
        twins.stick(*side).medium().revive();
    }
    wait_until("a put works again", || client.put("large", &bytes(3, LARGE)).code == 0);
    check_healed(&mut twins);
    check_read(&client, "small", small, SMALL);
    check_read(&client, "large", 3, LARGE);
    client.get("gone").expect(4);
    client.get("n/new").expect(4);
    twins.end(End::Drain);
    twins.check(&[]).expect(0);
}

/// Clients who each overwrite a file of theirs, all at once, on drives whose room is the trash's soon; with both drives
/// there, and with one away.
fn overwritten() {
    const CLIENTS: u64 = 8;
    let mut twins = Twins::new(binaries(), Drives::Loop { bytes: 96 << 20 });
    let overwrite = |twins: &Twins, turns: std::ops::Range<u64>| {
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (client, turns) = (twins.client(), turns.clone());
                scope.spawn(move || {
                    for turn in turns {
                        client.put(&format!("f{number}"), &bytes(turn * CLIENTS + number, 3 << 20)).expect(0);
                    }
                });
            }
        });
    };
    overwrite(&twins, 0..25);
    twins.pull(Side::B, Pull::Unmount);
    overwrite(&twins, 25..50);
    for number in 0..CLIENTS {
        check_read(&twins.client(), &format!("f{number}"), 49 * CLIENTS + number, 3 << 20);
    }
    twins.bring_back(Side::B);
    check_healed(&mut twins);
}

/// What a drive can do wrong for as long as it likes.
const FAILURES: &[(&str, &[Call], Errno)] = &[
    ("reads", &[Call::Read], Errno::IO),
    ("writes", &[Call::Write, Call::Overwrite], Errno::IO),
    ("syncs", Call::SYNCING, Errno::IO),
    ("renames", &[Call::Rename], Errno::IO),
    ("look-ups", &[Call::Lookup], Errno::IO),
    ("all changes: read-only", Call::CHANGING, Errno::ROFS),
    ("creation: no inodes", &[Call::Create, Call::MakeFolder], Errno::NOSPC),
];

fn failing() {
    let mut twins = twins();
    let client = twins.client();
    prepare(&client);
    twins.check_identical();
    for (number, (what, calls, errno)) in FAILURES.iter().enumerate() {
        let side = Side::BOTH[number % 2];
        let seed = 100 + number as u64;
        twins.stick(side).medium().fail_all(vec![(calls, *errno)]);
        for (name, len) in [("small", SMALL), ("large", LARGE)] {
            let put = client.put(name, &bytes(seed, len));
            match (*errno, put.code) {
                // What the drive lacks is room.
                (Errno::NOSPC, NO_SPACE) => {}
                _ => drop(put.expect(0)),
            }
        }
        check_read(&client, "d/moved", 1, LARGE);
        client.run(&["mkdir", &format!("folder-{number}")]).expect(0);
        twins.stick(side).medium().revive();
        check_healed(&mut twins);
        for (name, len) in [("small", SMALL), ("large", LARGE)] {
            let stored = client.get(name).expect(0).stdout;
            assert!(stored == bytes(seed, len) || *errno == Errno::NOSPC, "{name} with failing {what}");
        }
    }
    twins.end(End::Drain);
    twins.check(&[]).expect(0);
}

fn both_failing() {
    let mut twins = twins();
    let client = twins.client();
    prepare(&client);
    twins.check_identical();
    for (number, (calls, errno)) in [(Call::SYNCING, Errno::IO), (Call::CHANGING, Errno::ROFS)].into_iter().enumerate()
    {
        for side in Side::BOTH {
            twins.stick(side).medium().fail_all(vec![(calls, errno)]);
        }
        let refused = client.put("small", &bytes(2, SMALL)).expect(UNAVAILABLE);
        assert!(refused.stderr.contains("drive"), "{}", refused.stderr);
        for side in Side::BOTH {
            twins.stick(side).medium().revive();
        }
        check_healed(&mut twins);
        check_read(&client, "small", 1 + 10 * number as u64, SMALL);
        client.put("small", &bytes(11, SMALL)).expect(0);
    }
    twins.end(End::Drain);
    twins.check(&[]).expect(0);
}

/// What a boot disk can do wrong for as long as it likes.
const BOOT_FAILURES: &[(&str, &[Call], Errno)] = &[
    ("syncs", Call::SYNCING, Errno::IO),
    ("writes", &[Call::Write, Call::Overwrite], Errno::IO),
    ("writes for want of room", &[Call::Create, Call::Write, Call::Overwrite], Errno::NOSPC),
    ("all changes: read-only", Call::CHANGING, Errno::ROFS),
    ("syncs again", Call::SYNCING, Errno::IO),
];

fn boot_disk() {
    let mut twins = Twins::with_failing_boot_disk(binaries(), Drives::Faulty);
    let client = twins.client();
    prepare(&client);
    twins.check_identical();
    let (mut kept, mut seed) = (1, 100);
    for (what, calls, errno) in BOOT_FAILURES {
        twins.boot_medium().fail_all(vec![(calls, *errno)]);
        for _ in 0..3 {
            seed += 1;
            let refused = client.put("small", &bytes(seed, SMALL));
            assert_eq!(refused.code, UNAVAILABLE, "{what}: {}{}", refused.stderr, twins.log());
            for words in ["journal", "whether it was done is not known"] {
                assert!(refused.stderr.contains(words), "it says {words:?}: {}", refused.stderr);
            }
            check_read(&client, "small", kept, SMALL);
            check_read(&client, "large", 1, LARGE);
        }
        let status = client.status();
        assert_eq!(status.pointer("/journal/writable"), Some(&false.into()), "{status}");
        twins.boot_medium().revive();
        seed += 1;
        wait_until("a put works again", || client.put("small", &bytes(seed, SMALL)).code == 0);
        kept = seed;
        check_healed(&mut twins);
        // What was acknowledged is on the disk, not only in the daemon's mind.
        twins.end(End::Kill);
        twins.serve();
        check_read(&client, "small", kept, SMALL);
    }
    check_healed(&mut twins);
    twins.end(End::Drain);
    twins.check(&[]).expect(0);
}

/// Files whose records are on several pages, none of which is read when the journal is opened.
const CATALOGED: u64 = 300;
/// One in so many of them is asked for.
const ASKED_EVERY: usize = 30;

fn unreadable_boot_disk() {
    let mut twins = Twins::with_failing_boot_disk(binaries(), Drives::Faulty);
    let client = twins.client();
    let source = twins.dir().join("source");
    fs::create_dir(&source).expect("a new folder");
    for seed in 0..CATALOGED {
        fs::write(source.join(format!("{seed}")), bytes(seed, 100)).expect("a new file");
    }
    client.run(&["put", "-r", source.to_str().expect("a name"), "tree"]).expect(0);
    twins.check_identical();
    let asked: Vec<_> = (0..CATALOGED).step_by(ASKED_EVERY).collect();
    let get = |seed: u64| {
        let got = client.get(&format!("tree/{seed}"));
        match got.code {
            0 => assert!(got.stdout == bytes(seed, 100), "{seed} has other bytes"),
            _ => drop(got.clone().expect(UNAVAILABLE)),
        }
        got
    };
    let is_writable = || client.status().pointer("/journal/writable") == Some(&true.into());
    // While it cannot be read somebody writes, or nobody does.
    for writes in [false, true] {
        twins.end(End::Drain);
        // Their lanes would read all of the journal before anybody asks.
        for side in Side::BOTH {
            twins.stick_mut(side).pull(Pull::Unmount);
        }
        twins.serve();
        twins.boot_medium().fail_all(vec![(&[Call::Read], Errno::IO)]);
        let refusals: Vec<_> = asked.iter().map(|seed| get(*seed).stderr).collect();
        let told = refusals.iter().filter(|text| text.contains("the journal cannot be read")).count();
        assert!(told > 0, "{refusals:?}");
        wait_until("it says that nothing new is taken", || !is_writable());
        for side in Side::BOTH {
            twins.stick_mut(side).bring_back();
        }
        if writes {
            client.put("tree/new", b"new").expect(UNAVAILABLE);
        }
        twins.boot_medium().revive();
        wait_until("the journal is open again", is_writable);
        wait_until("all is served again", || asked.iter().all(|seed| get(*seed).code == 0));
        wait_until("a put works again", || client.put("again", b"again").code == 0);
        check_healed(&mut twins);
    }
    twins.end(End::Kill);
    twins.serve();
    wait_until("all is served", || asked.iter().all(|seed| get(*seed).code == 0));
    check_healed(&mut twins);
    twins.end(End::Drain);
    twins.check(&[]).expect(0);
}

/// A name, and what it does to the journal's folder.
type Damage = (&'static str, fn(&Path));

/// What can become of the journal's files.
const DAMAGES: &[Damage] = &[
    ("db is gone", |journal| fs::remove_file(journal.join("db")).expect("a db")),
    ("db is empty", |journal| cut(&journal.join("db"), 0)),
    ("db is torn in the middle", |journal| cut(&journal.join("db"), 2)),
    ("db is torn near its end", |journal| cut(&journal.join("db"), 100)),
    ("conf is gone", |journal| fs::remove_file(journal.join("conf")).expect("a conf")),
    ("bytes at the beginning are others", |journal| spoil(&journal.join("db"), 1, 16)),
    ("bytes in the middle are others", |journal| spoil(&journal.join("db"), 8, 16)),
    ("bytes everywhere are others", |journal| (0..16).for_each(|part| spoil(&journal.join("db"), part, 16))),
    ("the log is gone", |journal| logs(journal).for_each(|log| fs::remove_file(log).expect("a log"))),
    ("the log is empty", |journal| logs(journal).for_each(|log| cut(&log, 0))),
    ("the log is torn", |journal| logs(journal).for_each(|log| cut(&log, 2))),
    ("the log's first bytes are others", |journal| logs(journal).for_each(|log| spoil(&log, 0, 16))),
    ("all files are gone", |journal| {
        fs::remove_dir_all(journal).and_then(|()| fs::create_dir(journal)).expect("our own folder");
    }),
];

/// The files of the write-ahead log.
fn logs(journal: &Path) -> impl Iterator<Item = PathBuf> {
    ["wal-0", "wal-1"].map(|name| journal.join(name)).into_iter().filter(|path| path.exists())
}

/// Keeps all but one part in `parts`; of one part nothing.
fn cut(file: &Path, parts: u64) {
    let file = fs::File::options().write(true).open(file).expect("a file");
    let len = file.metadata().expect("a file").len();
    file.set_len(len.checked_div(parts).map_or(0, |part| len - part)).expect("a file");
}

/// Flips some bytes at the beginning of a part of the file.
fn spoil(file: &Path, part: u64, parts: u64) {
    let mut bytes = fs::read(file).expect("a file");
    let from = (bytes.len() as u64 * part / parts) as usize;
    bytes.iter_mut().skip(from).take(64).for_each(|byte| *byte ^= 0x5a);
    fs::write(file, bytes).expect("a file");
}

/// Whatever the damage, a daemon either does not start, or serves what was acknowledged, or serves nothing.
fn damaged_journal() {
    let ends = [("", End::Drain), (" after a kill", End::Kill)];
    for ((what, damage), (when, end)) in DAMAGES.iter().flat_map(|damage| ends.map(|end| (damage, end))) {
        let what = format!("{what}{when}");
        let mut twins = Twins::new(binaries(), Drives::Plain);
        let client = twins.client();
        prepare(&client);
        twins.check_identical();
        twins.end(end);
        damage(&twins.state().join("journal"));
        let before = Side::BOTH.map(|side| inodes(twins.root(side)));
        let log = twins.dir().join("damaged.log");
        let stderr = fs::File::create(&log).expect("a log");
        let mut daemon = twins.serve_command().stderr(stderr).spawn().expect("twinstickd");
        let (mut ended, mut address) = (None, None);
        wait_until("it ends or listens", || {
            ended = daemon.try_wait().expect("a child");
            let text = fs::read_to_string(&log).expect("a log");
            address = text.lines().find_map(|line| Some(line.strip_prefix("listening on ")?.to_owned()));
            ended.is_some() || address.is_some()
        });
        let text = || fs::read_to_string(&log).expect("a log");
        if let Some(ended) = ended {
            assert_eq!(ended.code(), Some(1), "{what}: {}", text());
            assert!(text().contains("journal"), "{what}: {}", text());
        } else {
            let client = Client { address: address.expect("it listens"), ..client };
            for (name, len) in [("small", SMALL), ("large", LARGE), ("d/moved", LARGE)] {
                let got = client.get(name);
                let right = got.code == 0 && got.stdout == bytes(1, len);
                assert!(right || got.code == UNAVAILABLE, "{what}: {name}: {} {}{}", got.code, got.stderr, text());
            }
            daemon.kill().and_then(|()| daemon.wait()).expect("a child");
        }
        assert_eq!(Side::BOTH.map(|side| inodes(twins.root(side))), before, "{what}: {}", text());
    }
}
