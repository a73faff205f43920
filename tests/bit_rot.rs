//! Bits that change by themselves on the drives: no client ever gets them, and both copies are made whole again.
//!
//! The flips leave size and time as they are. On loop-mounted images they are made in the image, below the file
//! system; in plain folders through the file, whose time is put back. Caches are dropped, so that the daemon reads the
//! medium.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;

use twinstick_rig::{
    Binaries, Client, Content, Drives, End, Needs, Pull, Random, Raw, Side, Sizes, Trials, Twins, Worker,
    forget_cached, run_while, wait_until,
};

/// Bits flipped in each run on images; `TWINSTICK_FULL=1` flips ten times as many.
const FLIPS: usize = 10_000;
const ROUNDS: usize = 8;
/// Fewer in plain folders, where a flip is a write through the file system.
const PLAIN_FLIPS: usize = 1000;
const PLAIN_ROUNDS: usize = 2;
const FILES: usize = 60;
const DRIVE_BYTES: u64 = 256 << 20;
/// What has a CRC of its own.
const BLOCK_BYTES: usize = 256 << 10;
/// What lies in one piece on a file system of this size, at a multiple of it.
const CLUSTER_BYTES: usize = 1024;
/// What a kill may make a scrub read again.
const REPEATED_BYTES_MAX: u64 = 64 << 20;
const LARGE_BYTES: usize = 160 << 20;
/// What a scrub must get done while clients keep the drives busy.
const BESIDE_CLIENTS_BYTES: u64 = 3 << 20;
const CLIENTS: usize = 4;
/// Exit code of `fget` where bytes are not what they were.
const INTEGRITY: i32 = 8;

fn main() -> ExitCode {
    Trials::default()
        .with("bits_flipped_in_the_drives_images_reach_no_client_and_are_healed", Needs::LoopMounts, images)
        .with("bits_flipped_in_plain_folders_reach_no_client_and_are_healed", Needs::Nothing, folders)
        .with("a_block_bad_on_both_sticks_is_served_by_none_and_named", Needs::Nothing, beyond_repair)
        .with("a_wait_ends_where_only_what_no_drive_has_whole_is_lacking", Needs::Nothing, lost)
        .with("a_killed_scrub_repeats_little_and_a_paused_one_holds", Needs::Nothing, interrupted)
        .with("a_scrub_moves_beside_clients_and_goes_on_where_a_pull_left_it", Needs::Nothing, pulled)
        .main()
}

fn twins(drives: Drives) -> Twins {
    Twins::new(Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget")), drives)
}

fn images() {
    let times = if twinstick_rig::is_full() { 10 } else { 1 };
    rot(&twins(Drives::Loop { bytes: DRIVE_BYTES }), Ground::Image, FLIPS * times, ROUNDS * times);
}

fn folders() {
    rot(&twins(Drives::Plain), Ground::Folder, PLAIN_FLIPS, PLAIN_ROUNDS);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ground {
    Image,
    Folder,
}

/// One bit of one copy.
#[derive(Clone, Copy)]
struct Flip {
    side: Side,
    file: usize,
    at: usize,
    bit: u8,
}

fn name(file: usize) -> String {
    format!("d{}/f{file}", file % 7)
}

fn rot(twins: &Twins, ground: Ground, flips: usize, rounds: usize) {
    let client = twins.client();
    let mut random = Random::new(4);
    // No file ends in a few bytes of a cluster that could not be found again in an image.
    let size = |random: &mut Random| random.magnitude(100, 3 << 20) / 64 * 64 + 64;
    let files: Vec<_> = (0..FILES).map(|seed| Content { seed: seed as u64, len: size(&mut random) }.bytes()).collect();
    for (file, bytes) in files.iter().enumerate() {
        client.put(&name(file), bytes).expect(0);
    }
    client.run(&["status", "--wait"]).expect(0);
    let mut healed = 0;
    for round in 0..rounds {
        let chosen = choose(&mut random, &files, flips / rounds);
        match ground {
            Ground::Image => Side::BOTH.into_iter().for_each(|side| flip_image(twins, side, &files, &chosen)),
            Ground::Folder => chosen.iter().for_each(|flip| flip_file(twins.root(flip.side), *flip)),
        }
        for side in Side::BOTH {
            (0..FILES).for_each(|file| forget_cached(&twins.root(side).join(name(file))));
        }
        let hit: BTreeSet<_> = chosen.iter().map(|flip| (flip.side.name(), flip.file)).collect();
        assert_eq!(damaged(twins, &files), hit, "every flip is on the medium");
        for side in Side::BOTH {
            (0..FILES).for_each(|file| forget_cached(&twins.root(side).join(name(file))));
        }
        // Every other time clients come first.
        if round % 2 == 0 {
            check_reads(twins, &client, &files, &mut random);
        }
        client.run(&["scrub", "start"]).expect(0);
        wait_until("the scrub is done and all it found is repaired", || is_scrubbed(&client));
        client.run(&["status", "--wait"]).expect(0);
        assert_eq!(damaged(twins, &files), BTreeSet::new(), "round {round}: both drives are whole again");
        healed += hit.len();
        check_reads(twins, &client, &files, &mut random);
        for side in Side::BOTH {
            empty_aside(twins.root(side));
        }
    }
    let repaired: u64 = Side::BOTH.into_iter().map(|side| client.drive(side)["repaired"].as_u64().unwrap_or(0)).sum();
    assert_eq!(repaired, healed as u64, "every copy that was hit was counted");
    let (first, info) = (name(0), client.run(&["info", &name(0), "--json"]).expect(0).json());
    assert!(info["drives"][0]["last_verified"].is_string(), "{first}: {info}");
    eprintln!("{} bits in {healed} copies", flips / rounds * rounds);
}

/// Random bits. A block is hit on one drive at a time: of one that is bad on both nothing is left.
fn choose(random: &mut Random, files: &[Vec<u8>], count: usize) -> Vec<Flip> {
    let total: usize = files.iter().map(Vec::len).sum();
    let mut victims = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut flips = Vec::new();
    while flips.len() < count {
        let (mut at, mut file) = (random.below(total), 0);
        while at >= files[file].len() {
            at -= files[file].len();
            file += 1;
        }
        let (coin, bit) = (random.below(2), random.below(8) as u8);
        let side = *victims.entry((file, at / BLOCK_BYTES)).or_insert(Side::BOTH[coin]);
        // Twice the same bit is none.
        if seen.insert((file, at, bit)) {
            flips.push(Flip { side, file, at, bit });
        }
    }
    flips
}

fn flip_file(root: &Path, flip: Flip) {
    let file = File::options().read(true).write(true).open(root.join(name(flip.file))).expect("a copy");
    let modified = file.metadata().and_then(|meta| meta.modified()).expect("a time");
    let mut byte = [0];
    file.read_exact_at(&mut byte, flip.at as u64).expect("a byte");
    file.write_all_at(&[byte[0] ^ (1 << flip.bit)], flip.at as u64).expect("a byte");
    file.set_modified(modified).expect("a time");
    file.sync_all().expect("a sync");
}

/// Flips bits below the file system. Clusters are found by their content: what lies there no longer is hit too, and no
/// matter.
fn flip_image(twins: &Twins, side: Side, files: &[Vec<u8>], flips: &[Flip]) {
    let image = twins.stick(side).image();
    let mut wanted: BTreeMap<&[u8], Vec<&Flip>> = BTreeMap::new();
    for flip in flips.iter().filter(|flip| flip.side == side) {
        let cluster = flip.at / CLUSTER_BYTES * CLUSTER_BYTES;
        wanted.entry(&files[flip.file][cluster..cluster + 16]).or_default().push(flip);
    }
    let mut bytes = fs::read(image).expect("an image");
    let mut changed = Vec::new();
    for (number, cluster) in bytes.chunks_mut(CLUSTER_BYTES).enumerate() {
        let Some(flips) = wanted.get(&cluster[..16]).cloned() else { continue };
        for flip in flips {
            let at = flip.at % CLUSTER_BYTES;
            cluster[at] ^= 1 << flip.bit;
            changed.push((number * CLUSTER_BYTES + at, cluster[at]));
        }
    }
    assert!(changed.len() >= wanted.len(), "every cluster was found");
    let file = File::options().write(true).open(image).expect("an image");
    for (at, byte) in changed {
        file.write_all_at(&[byte], at as u64).expect("a byte of the image");
    }
}

/// Copies that are not what was stored.
fn damaged(twins: &Twins, files: &[Vec<u8>]) -> BTreeSet<(&'static str, usize)> {
    let mut found = BTreeSet::new();
    for side in Side::BOTH {
        for (file, bytes) in files.iter().enumerate() {
            if fs::read(twins.root(side).join(name(file))).expect("a copy") != *bytes {
                found.insert((side.name(), file));
            }
        }
    }
    found
}

#[track_caller]
fn check_reads(twins: &Twins, client: &Client, files: &[Vec<u8>], random: &mut Random) {
    // Parts first: they begin and end within blocks.
    let mut raw = Raw::greeted(twins.address());
    for (file, bytes) in files.iter().enumerate() {
        let offset = random.below(bytes.len());
        let count = 1 + random.below(bytes.len() - offset);
        let line = format!("{{\"op\":\"get\",\"path\":{:?},\"offset\":{offset},\"count\":{count}}}\n", name(file));
        raw.send(line.as_bytes());
        let head = raw.answer().expect("an answer");
        assert_eq!(head["len"], count, "{head}");
        assert!(raw.bytes(count) == bytes[offset..offset + count], "a part of {} came with wrong bytes", name(file));
        assert_eq!(raw.answer().expect("a trailer")["ok"], true);
    }
    let folder = twins.home().join("got");
    client.run(&["get", "-r", "/", folder.to_str().expect("UTF-8")]).expect(0);
    for (file, bytes) in files.iter().enumerate() {
        assert!(fs::read(folder.join(name(file))).expect("a file") == *bytes, "{} came with wrong bytes", name(file));
    }
    fs::remove_dir_all(&folder).expect("the folder goes");
}

fn is_scrubbed(client: &Client) -> bool {
    Side::BOTH.into_iter().all(|side| {
        let scrub = client.drive(side)["scrub"].clone();
        scrub["state"] == "done" && scrub["damaged"] == scrub["repaired"]
    })
}

fn empty_aside(root: &Path) {
    for entry in fs::read_dir(root.join(".twinstick/aside")).expect("the folder of what lies aside") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            fs::remove_dir_all(path).expect("a folder that goes");
        } else {
            fs::remove_file(path).expect("a file that goes");
        }
    }
}

fn done(client: &Client, side: Side) -> u64 {
    client.drive(side)["scrub"]["bytes_done"].as_u64().unwrap_or(0)
}

fn beyond_repair() {
    let twins = twins(Drives::Plain);
    let client = twins.client();
    let bytes = Content { seed: 1, len: 3 * BLOCK_BYTES }.bytes();
    for file in 0..2 {
        client.put(&name(file), &bytes).expect(0);
    }
    client.run(&["status", "--wait"]).expect(0);
    client.run(&["status", "--check"]).expect(0);
    for (bit, side) in Side::BOTH.into_iter().enumerate() {
        let flip = Flip { side, file: 0, at: BLOCK_BYTES + 7, bit: bit as u8 };
        flip_file(twins.root(side), flip);
        forget_cached(&twins.root(side).join(name(0)));
    }
    let got = client.get(&name(0));
    assert_ne!(got.code, 0, "no copy is whole");
    client.run(&["scrub", "start"]).expect(0);
    wait_until("the scrub is done", || {
        Side::BOTH.into_iter().all(|side| client.drive(side)["scrub"]["state"] == "done")
    });
    // Both are there and lack nothing, and a monitor still hears of it.
    let check = client.run(&["status", "--check"]).expect(1);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(said.starts_with("degraded: ") && said.contains(&name(0)), "{said}");
    assert!(!said.contains(&name(1)), "{said}");
    client.put(&name(0), &bytes).expect(0);
    client.run(&["status", "--wait"]).expect(0);
    wait_until("all is well again", || client.run(&["status", "--check"]).code == 0);
    // Nobody edited the damaged copies.
    let foreign = client.status()["foreign"].clone();
    assert_eq!((&foreign["changed"], &foreign["kept"]), (&0.into(), &0.into()), "{foreign}");
    twins.check_identical();
    let listed = client.run(&["ls", "d0"]).expect(0).stdout;
    assert_eq!(String::from_utf8_lossy(&listed).lines().count(), 1, "{}", String::from_utf8_lossy(&listed));
}

/// A file that is bad on both sticks, and is removed, brought back, and put again: none of it may wait for ever.
fn lost() {
    let mut twins = twins(Drives::Plain);
    let client = twins.client();
    let bytes = Content { seed: 1, len: 3 * BLOCK_BYTES }.bytes();
    for file in 0..2 {
        client.put(&name(file), &bytes).expect(0);
    }
    client.run(&["status", "--wait"]).expect(0);
    for (bit, side) in Side::BOTH.into_iter().enumerate() {
        for file in 0..2 {
            flip_file(twins.root(side), Flip { side, file, at: BLOCK_BYTES + 7, bit: bit as u8 });
            forget_cached(&twins.root(side).join(name(file)));
        }
    }
    client.run(&["scrub", "start"]).expect(0);
    wait_until("the scrub is done", || {
        Side::BOTH.into_iter().all(|side| client.drive(side)["scrub"]["state"] == "done")
    });
    client.put(&name(0), b"something else").expect(0);
    client.run(&["rm", &name(1)]).expect(0);
    let waited = client.run(&["status", "--wait"]).expect(INTEGRITY);
    assert!(waited.stderr.contains("in sync, but for what no drive has whole: "), "{}", waited.stderr);
    client.run(&["undo", &name(1)]).expect(0);
    client.run(&["status", "--wait"]).expect(INTEGRITY);
    client.run(&["status", "--check"]).expect(1);
    assert!(client.notices().contains(&name(1)), "{}", client.notices());
    twins.end(End::Kill);
    twins.serve();
    let client = twins.client();
    client.run(&["status", "--wait"]).expect(INTEGRITY);
    assert_ne!(client.get(&name(1)).code, 0);
    // Each drive may hold the damaged copy of one of the two.
    let lacking = Side::BOTH.into_iter().find(|side| client.drive(*side)["lost"] != 0).expect("one that lacks some");
    let ejected = client.run(&["eject", "--force", lacking.name()]).expect(0);
    assert!(String::from_utf8_lossy(&ejected.stdout).contains(" that it could not be given"), "{ejected:?}");
    twins.command(&["unpark", lacking.name()]).expect(0);
    client.put(&name(1), &bytes).expect(0);
    client.run(&["trash", "empty"]).expect(0);
    client.run(&["status", "--wait"]).expect(0);
    wait_until("all is well again", || client.run(&["status", "--check"]).code == 0);
    twins.check_identical();
}

fn interrupted() {
    let mut twins = twins(Drives::Plain);
    let client = twins.client();
    client.put("large", &Content { seed: 1, len: LARGE_BYTES }.bytes()).expect(0);
    client.run(&["status", "--wait"]).expect(0);
    client.run(&["scrub", "start"]).expect(0);
    wait_until("the scrub is past its first record", || done(&client, Side::A) > 70 << 20);
    let seen = done(&client, Side::A);
    twins.end(End::Kill);
    twins.serve();
    let client = twins.client();
    let recorded = done(&client, Side::A);
    assert!(seen.saturating_sub(recorded) <= REPEATED_BYTES_MAX, "{seen}, then {recorded}");
    client.run(&["scrub", "pause"]).expect(0);
    wait_until("it is paused", || client.drive(Side::A)["scrub"]["state"] == "paused");
    let paused = done(&client, Side::A);
    client.run(&["info", "large"]).expect(0);
    twins.end(End::Drain);
    twins.serve();
    let client = twins.client();
    assert_eq!(client.drive(Side::A)["scrub"]["state"], "paused");
    assert!(done(&client, Side::A) <= paused + (1 << 20), "a paused scrub reads nothing");
    client.run(&["scrub", "start"]).expect(0);
    wait_until("it is done", || is_scrubbed(&client));
    let scrub = client.drive(Side::A)["scrub"].clone();
    assert_eq!(scrub["files_done"], 1, "{scrub}");
    assert_eq!(scrub["bytes_done"], LARGE_BYTES, "each byte counts once: {scrub}");
    let said = String::from_utf8_lossy(&client.run(&["scrub", "status"]).expect(0).stdout).into_owned();
    assert!(said.contains("scrub of a repaired 0 files in") && said.contains("with 0 errors"), "{said}");
}

fn pulled() {
    let mut twins = twins(Drives::Plain);
    let client = twins.client();
    client.put("large", &Content { seed: 1, len: LARGE_BYTES }.bytes()).expect(0);
    client.run(&["status", "--wait"]).expect(0);
    let mut workers = Worker::team(&client, CLIENTS, 3, Sizes { least: 0, most: 1 << 20 });
    run_while(&mut workers, || {
        client.run(&["scrub", "start"]).expect(0);
        wait_until("the scrub moves beside clients", || {
            Side::BOTH.into_iter().all(|side| done(&client, side) > BESIDE_CLIENTS_BYTES)
        });
    });
    for worker in &mut workers {
        assert_eq!(worker.take_failures(), Vec::<String>::new(), "{}", worker.name);
    }
    wait_until("the scrub is past its first record", || done(&client, Side::B) > 70 << 20);
    let seen = done(&client, Side::B);
    twins.pull(Side::B, Pull::Rename);
    twins.bring_back(Side::B);
    let recorded = done(&client, Side::B);
    assert!(seen.saturating_sub(recorded) <= REPEATED_BYTES_MAX, "{seen}, then {recorded}");
    wait_until("it is done", || is_scrubbed(&client));
    for side in Side::BOTH {
        let scrub = client.drive(side)["scrub"].clone();
        assert!(scrub["bytes_done"].as_u64() >= Some(LARGE_BYTES as u64), "{scrub}");
        assert_eq!((&scrub["bytes_done"], &scrub["damaged"]), (&scrub["bytes_total"], &0.into()), "{scrub}");
    }
    twins.check_identical();
}
