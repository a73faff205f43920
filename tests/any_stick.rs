//! Any stick, anywhere, at any time: on loop-mounted ext4 drives with the real daemon and client.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests, which play the hand that plugs sticks in"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use twinstick_rig::{
    Binaries, Client, Content, Drives, End, Mounted, Needs, Pull, Side, Trials, Twins, loop_device, make_image,
    wait_until,
};

/// Room on each drive.
const DRIVE_BYTES: u64 = 64 << 20;
/// Exit code for what cannot be had now.
const UNAVAILABLE: i32 = 5;
/// Exit code of a daemon that does not start.
const REFUSED: i32 = 1;
/// The label's slots, and where in one its parts are.
const SLOTS: [&str; 2] = [".twinstick/label.0", ".twinstick/label.1"];
const SLOT_BYTES: usize = 4096;
const FORMAT_AT: usize = 8;
const BODY_LEN_AT: usize = 10;
const BODY_AT: usize = 12;
const DRIVE_ID_AT: usize = BODY_AT + 16;

fn main() -> ExitCode {
    Trials::default()
        .with("sticks_that_change_places_are_known_by_their_labels", Needs::LoopMounts, swapped)
        .with("sticks_with_each_others_device_numbers_are_known_by_their_labels", Needs::LoopMounts, renumbered)
        .with("a_stick_is_found_wherever_a_pattern_leads_also_later", Needs::LoopMounts, elsewhere)
        .with("sticks_that_come_after_the_daemon_are_taken_up_in_any_order", Needs::LoopMounts, late)
        .with("a_stick_that_stayed_away_over_restarts_is_replayed_to", Needs::LoopMounts, long_away)
        .with("foreign_sticks_in_its_place_are_refused_by_name_and_not_changed", Needs::LoopMounts, foreign)
        .with("a_copy_of_a_stick_is_refused_beside_it_and_a_second_mount_is_none", Needs::LoopMounts, copied)
        .with("an_older_copy_of_a_stick_in_its_place_is_refused_and_not_changed", Needs::LoopMounts, older)
        .with("a_stick_mounted_read_only_is_refused_until_it_is_writable", Needs::LoopMounts, read_only)
        .with("a_folder_of_the_boot_disk_in_its_place_is_never_written", Needs::LoopMounts, boot_disk_folder)
        .with("a_second_daemon_is_refused_by_the_name_of_the_first", Needs::LoopMounts, two_daemons)
        .main()
}

fn twins() -> Twins {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let places = |dir: &Path| format!("flaps_max = 1000\nplaces = [\"{}/media/*/*\"]\n", dir.display());
    Twins::with_config(binaries, Drives::Loop { bytes: DRIVE_BYTES }, places)
}

fn bytes(seed: u64) -> Vec<u8> {
    Content { seed, len: 150_000 }.bytes()
}

/// Both sticks out of their places, the daemon at work or not.
fn take_out_both(twins: &mut Twins) {
    for side in Side::BOTH {
        twins.stick_mut(side).pull(Pull::Unmount);
    }
}

fn image(twins: &Twins, side: Side) -> PathBuf {
    twins.stick(side).image().to_owned()
}

/// Waits until a drive is there and has everything.
#[track_caller]
fn wait_in_sync(client: &Client, side: Side) {
    wait_until("the drive is in sync", || client.state(side) == "in-sync");
}

/// Where the daemon says a drive is.
fn path(client: &Client, side: Side) -> PathBuf {
    client.drive(side)["path"].as_str().unwrap_or_default().into()
}

/// Waits until both drives are at these places and have everything, and compares them.
#[track_caller]
fn check_identical_at(twins: &Twins, a: &Path, b: &Path) {
    let client = twins.client();
    for (side, place) in [(Side::A, a), (Side::B, b)] {
        wait_until("the drive is at its place", || path(&client, side) == place);
    }
    client.run(&["status", "--wait"]).expect(0);
    let differences = twinstick_rig::differences(a, b);
    assert!(differences.is_empty(), "{differences:#?}{}", twins.explain(&differences));
}

fn swapped() {
    let mut twins = twins();
    let client = twins.client();
    let roots = Side::BOTH.map(|side| twins.root(side).to_owned());
    let [a, b] = &roots;
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();

    // While the daemon runs.
    take_out_both(&mut twins);
    let mounts = [Mounted::image(&image(&twins, Side::B), a, "rw"), Mounted::image(&image(&twins, Side::A), b, "rw")];
    wait_in_sync(&client, Side::A);
    client.put("second", &bytes(2)).expect(0);
    check_identical_at(&twins, b, a);
    // Across a restart, and back.
    twins.end(End::Drain);
    twins.serve();
    client.put("third", &bytes(3)).expect(0);
    check_identical_at(&twins, b, a);
    twins.end(End::Kill);
    mounts.into_iter().for_each(Mounted::unmount);
    for side in Side::BOTH {
        twins.stick_mut(side).bring_back();
    }
    twins.serve();
    check_identical_at(&twins, a, b);
    for (name, seed) in [("first", 1), ("second", 2), ("third", 3)] {
        assert_eq!(client.get(name).expect(0).stdout, bytes(seed), "{name}");
    }
}

fn renumbered() {
    let mut twins = twins();
    let client = twins.client();
    let roots = Side::BOTH.map(|side| twins.root(side).to_owned());
    let [a, b] = &roots;
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();
    let [number_a, number_b] = [loop_device(a), loop_device(b)];
    // As at a boot where b was plugged in first: the daemon knew other numbers. Then while it runs.
    twins.end(End::Kill);
    take_out_both(&mut twins);
    let mounts = [
        Mounted::image_through(number_a, &image(&twins, Side::B), b),
        Mounted::image_through(number_b, &image(&twins, Side::A), a),
    ];
    assert_eq!([loop_device(a), loop_device(b)], [number_b, number_a]);
    twins.serve();
    client.put("second", &bytes(2)).expect(0);
    check_identical_at(&twins, a, b);
    drop(mounts);
    wait_until("both are away", || client.status()["state"] == "unusable");
    client.put("third", &bytes(3)).expect(UNAVAILABLE);
    let _mounts = [
        Mounted::image_through(number_a, &image(&twins, Side::A), a),
        Mounted::image_through(number_b, &image(&twins, Side::B), b),
    ];
    wait_in_sync(&client, Side::A);
    client.put("third", &bytes(3)).expect(0);
    check_identical_at(&twins, a, b);
    assert_eq!(client.get("second").expect(0).stdout, bytes(2));
}

fn elsewhere() {
    let mut twins = twins();
    let client = twins.client();
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();
    // Elsewhere, in a folder that is made only now.
    twins.pull(Side::B, Pull::Unmount);
    let later = twins.dir().join("media/user/STICK1");
    let mounted = Mounted::image(&image(&twins, Side::B), &later, "rw");
    client.put("second", &bytes(2)).expect(0);
    check_identical_at(&twins, twins.root(Side::A), &later);
    // Still there at a restart, then in yet another place, and at last where it was at first.
    twins.end(End::Drain);
    twins.serve();
    check_identical_at(&twins, twins.root(Side::A), &later);
    drop(mounted);
    let third = twins.dir().join("media/other user/with a blank");
    let mounted = Mounted::image(&image(&twins, Side::B), &third, "rw");
    client.run(&["rm", "first"]).expect(0);
    check_identical_at(&twins, twins.root(Side::A), &third);
    drop(mounted);
    twins.bring_back(Side::B);
    twins.check_identical();
}

fn late() {
    let mut twins = twins();
    let client = twins.client();
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();
    for (number, first) in [Side::B, Side::A, Side::B].into_iter().enumerate() {
        twins.end(if number == 0 { End::Drain } else { End::Kill });
        take_out_both(&mut twins);
        twins.serve();
        let name = format!("boot-{number}");
        for outcome in [client.put(&name, &bytes(7)), client.get("first")] {
            let stderr = outcome.expect(UNAVAILABLE).stderr;
            assert!(stderr.contains("no drive is there: plug in and mount drive a"), "{stderr}");
        }
        assert_eq!(client.status()["state"], "unusable");
        twins.bring_back(first);
        assert_eq!(client.get("first").expect(0).stdout, bytes(1));
        client.put(&name, &bytes(7)).expect(0);
        assert_eq!(client.status()["state"], "degraded");
        twins.bring_back(first.other());
        twins.check_identical();
    }
}

fn long_away() {
    let mut twins = twins();
    let client = twins.client();
    for name in ["kept", "changed", "removed", "moved"] {
        client.put(name, &bytes(1)).expect(0);
    }
    twins.check_identical();
    twins.pull(Side::B, Pull::Unmount);
    // The clock of a Pi jumps: times of the future, then of the past, then of before 1970's end.
    let times = [2_100_000_000, 1_000_000_000, 86_400, 1_500_000_000];
    for (restart, seconds) in times.into_iter().enumerate() {
        let local = twins.home().join("local");
        fs::write(&local, bytes(10 + restart as u64)).expect("a local file");
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options().write(true).open(&local).and_then(|file| file.set_modified(modified)).expect("a time");
        // The same size each time: only the bytes tell.
        client.run(&["put", "local", "changed"]).expect(0);
        client.run(&["put", "local", &format!("new/{restart}")]).expect(0);
        for number in 0..20 {
            client.put(&format!("many/{number}"), &bytes(restart as u64)).expect(0);
        }
        twins.end(if restart % 2 == 0 { End::Drain } else { End::Kill });
        twins.serve();
        wait_in_sync(&client, Side::A);
    }
    client.run(&["rm", "removed"]).expect(0);
    client.run(&["mv", "moved", "new/moved"]).expect(0);
    twins.bring_back(Side::B);
    twins.check_identical();
    assert_eq!(client.get("changed").expect(0).stdout, bytes(13));
    client.get("removed").expect(4);
    let replay = &client.drive(Side::B)["replay"];
    // changed, four in new, 20 in many: each once, whatever the times said.
    assert_eq!((&replay["copied_files"], &replay["moved"], &replay["removed"]), (&25.into(), &1.into(), &1.into()));
}

/// Changes a label's slots in a mounted stick, as another mirror or program would have written them.
fn relabel(root: &Path, change: impl Fn(&mut [u8])) {
    for slot in SLOTS.map(|slot| root.join(slot)).into_iter().filter(|slot| slot.exists()) {
        let mut bytes = fs::read(&slot).expect("a label");
        assert_eq!(bytes.len(), SLOT_BYTES);
        change(&mut bytes);
        let len = usize::from(u16::from_le_bytes([bytes[BODY_LEN_AT], bytes[BODY_LEN_AT + 1]]));
        let end = BODY_AT + len;
        let crc = crc32fast::hash(&bytes[..end]);
        bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
        fs::write(&slot, bytes).expect("a label");
    }
}

/// A stick that is none of this mirror's, and what is to be said of it.
struct Foreign {
    name: &'static str,
    said: &'static str,
    make: fn(&Twins, &Path),
}

const FOREIGN: [Foreign; 6] = [
    Foreign {
        name: "unlabelled",
        said: "none of this mirror's: it has no label",
        make: |_, image| {
            make_image(image, DRIVE_BYTES);
            fill(image, |root| {
                fs::create_dir(root.join("holiday")).and_then(|()| fs::write(root.join("holiday/photo.jpg"), bytes(5)))
            });
        },
    },
    Foreign {
        name: "another mirror's",
        said: "it belongs to another mirror, ",
        make: |twins, image| {
            let other = image.with_extension("other");
            let places = [image, &other].map(|image| image.with_extension("enrol"));
            make_image(image, DRIVE_BYTES);
            make_image(&other, DRIVE_BYTES);
            let mounts =
                [Mounted::image(image, &places[0], "rw"), Mounted::image(&other, &twins.dir().join("other"), "rw")];
            twins.enrol_another([mounts[0].place(), mounts[1].place()]);
            mounts.into_iter().for_each(Mounted::unmount);
        },
    },
    Foreign {
        name: "not enrolled",
        said: "of this mirror, which is not enrolled (any more)",
        make: |twins, image| {
            fs::copy(twins.stick(Side::B).image(), image).expect("a copy");
            fill(image, |root| {
                relabel(root, |slot| slot[DRIVE_ID_AT] ^= 1);
                Ok(())
            });
        },
    },
    Foreign {
        name: "newer",
        said: "its label has format 2: use a newer twinstickd",
        make: |twins, image| {
            fs::copy(twins.stick(Side::B).image(), image).expect("a copy");
            fill(image, |root| {
                relabel(root, |slot| slot[FORMAT_AT] = 2);
                Ok(())
            });
        },
    },
    Foreign {
        name: "garbage",
        said: "its label is damaged in both slots",
        make: |_, image| {
            make_image(image, DRIVE_BYTES);
            fill(image, |root| {
                fs::create_dir_all(root.join(".twinstick/label.1"))?;
                fs::write(root.join(SLOTS[0]), Content { seed: 6, len: SLOT_BYTES }.bytes())?;
                fs::write(root.join(".twinstick/log"), "no folder")
            });
        },
    },
    Foreign {
        name: "no folder",
        said: "its label is damaged in both slots",
        make: |_, image| {
            make_image(image, DRIVE_BYTES);
            fill(image, |root| fs::write(root.join(".twinstick"), "no folder"));
        },
    },
];

/// Puts something into an image.
fn fill(image: &Path, work: impl Fn(&Path) -> std::io::Result<()>) {
    let mounted = Mounted::image(image, &image.with_extension("fill"), "rw");
    work(mounted.place()).expect("room in the image");
    mounted.unmount();
}

/// The image of a stick that was just mounted. What the kernel itself writes is in it: ext4 notes where it is mounted
/// when the first file on it is opened.
fn settled(mounted: &Mounted, image: &Path) -> Vec<u8> {
    let _ = [".twinstick", SLOTS[0], "holiday/photo.jpg"].map(|name| fs::read(mounted.place().join(name)));
    mounted.sync();
    fs::read(image).expect("an image")
}

/// No option spares the daemon anything: even an access time that it changed would show.
fn foreign() {
    let mut twins = twins();
    let client = twins.client();
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();
    let place = twins.root(Side::B).to_owned();
    twins.pull(Side::B, Pull::Unmount);
    for (number, Foreign { name, said, make }) in FOREIGN.into_iter().enumerate() {
        let image = twins.dir().join(format!("foreign-{number}.img"));
        make(&twins, &image);
        let mounted = Mounted::image(&image, &place, "rw,strictatime");
        let before = settled(&mounted, &image);
        let told = || {
            let notices = client.notices();
            notices.contains(said) && notices.contains(&*place.to_string_lossy())
        };
        wait_until(&format!("{name}: the stick is refused by name"), told);
        assert_eq!(client.state(Side::B), "absent");
        client.put(&format!("with foreign {number}"), &bytes(2)).expect(0);
        assert_eq!(client.get("first").expect(0).stdout, bytes(1));
        // A daemon that starts waits for its drives for a while: it is done for the first stick alone.
        if number == 0 {
            twins.end(End::Drain);
            twins.serve();
            wait_until(&format!("{name}: the stick is refused by name after a restart"), told);
        }
        client.run(&["rm", "first"]).expect(0);
        client.put("first", &bytes(1)).expect(0);
        mounted.sync();
        assert!(fs::read(&image).expect("an image") == before, "{name}: the stick was changed");
        mounted.unmount();
        wait_until(&format!("{name}: the stick is not spoken of any more"), || !client.notices().contains(said));
        fs::remove_file(image).expect("it is not mounted");
    }
    twins.bring_back(Side::B);
    twins.check_identical();
    assert!(!client.notices().contains("is not used"), "{}", client.notices());
}

fn copied() {
    let mut twins = twins();
    let client = twins.client();
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();
    let (root, original) = (twins.root(Side::B).to_owned(), image(&twins, Side::B));
    twins.pull(Side::B, Pull::Unmount);
    let copy = twins.dir().join("copy.img");
    fs::copy(&original, &copy).expect("a copy");
    twins.bring_back(Side::B);

    let beside = Mounted::image(&copy, &twins.dir().join("media/user/copy"), "rw,strictatime");
    let before = settled(&beside, &copy);
    wait_until("the copy is refused", || client.notices().contains("it is a copy of drive b, which is present"));
    client.put("second", &bytes(2)).expect(0);
    twins.check_identical();
    assert_eq!(path(&client, Side::B), root);
    beside.sync();
    assert!(fs::read(&copy).expect("an image") == before, "the copy was changed");
    beside.unmount();
    wait_until("the copy is not spoken of any more", || !client.notices().contains("copy"));

    // The same stick, through another mount: nothing to be said, and at hand when the first mount goes.
    let second = Mounted::bind(&root, &twins.dir().join("media/user/second"));
    client.put("third", &bytes(3)).expect(0);
    twins.check_identical();
    assert_eq!(client.status()["state"], "healthy");
    assert_eq!(client.notices(), "[]");
    twins.stick_mut(Side::B).pull(Pull::Unmount);
    wait_until("it is found at its other mount", || path(&client, Side::B) == second.place());
    client.put("fourth", &bytes(4)).expect(0);
    check_identical_at(&twins, twins.root(Side::A), second.place());
}

fn older() {
    let mut twins = twins();
    let client = twins.client();
    client.put("first", &bytes(1)).expect(0);
    client.put("gone", &bytes(2)).expect(0);
    twins.check_identical();
    let (root, original) = (twins.root(Side::B).to_owned(), image(&twins, Side::B));
    twins.pull(Side::B, Pull::Unmount);
    let copy = twins.dir().join("older.img");
    fs::copy(&original, &copy).expect("a copy");
    twins.bring_back(Side::B);
    client.put("first", &bytes(3)).expect(0);
    client.put("second", &bytes(4)).expect(0);
    client.run(&["rm", "gone"]).expect(0);
    twins.check_identical();
    wait_until("both have checkpointed", || client.status()["journal"]["entries"] == 0);
    twins.pull(Side::B, Pull::Unmount);

    let older = Mounted::image(&copy, &root, "rw,strictatime");
    let before = settled(&older, &copy);
    wait_until("the older copy is refused", || client.notices().contains("an older copy of drive b"));
    assert_eq!(client.state(Side::B), "absent");
    assert_eq!(client.get("first").expect(0).stdout, bytes(3));
    client.put("third", &bytes(5)).expect(0);
    older.sync();
    assert!(fs::read(&copy).expect("an image") == before, "the copy was changed");
    older.unmount();
    twins.bring_back(Side::B);
    twins.check_identical();
}

fn read_only() {
    let mut twins = twins();
    let client = twins.client();
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();
    twins.pull(Side::B, Pull::Unmount);
    let root = twins.root(Side::B).to_owned();
    let mounted = Mounted::read_only(&image(&twins, Side::B), &root);
    wait_until("it is refused by name", || client.notices().contains("it is drive b, mounted read-only"));
    assert!(client.notices().contains("mount it writable"), "{}", client.notices());
    client.put("second", &bytes(2)).expect(0);
    assert_eq!(client.state(Side::B), "absent");
    mounted.remount("rw");
    twins.check_identical();
    assert_eq!(client.notices(), "[]");
}

/// All that can be seen of a tree from outside, also when something was last read.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let meta = fs::metadata(&folder).expect("a folder");
        found.insert(folder.clone(), (meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()));
        for entry in fs::read_dir(&folder).expect("a folder") {
            let entry = entry.expect("a name");
            let meta = entry.metadata().expect("a file");
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
                found.insert(entry.path(), (meta.len(), times.0, times.1, times.2, times.3));
            }
        }
    }
    found
}

fn boot_disk_folder() {
    let mut twins = twins();
    let client = twins.client();
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();
    let root = twins.root(Side::B).to_owned();
    // A backup of the stick, label and all, on the boot disk.
    let backup = twins.dir().join("backup");
    let copied = Command::new("cp").arg("-a").arg(&root).arg(&backup).status().expect("cp");
    assert!(copied.success());
    let before = snapshot(&backup);

    twins.pull(Side::B, Pull::Unmount);
    let bound = Mounted::bind(&backup, &root);
    let said = "it has drive b's label, but is a folder of the disk around it";
    wait_until("the bind mount is refused", || client.notices().contains(said));
    client.put("second", &bytes(2)).expect(0);
    assert_eq!(client.state(Side::B), "absent");
    assert_eq!(snapshot(&backup), before);
    bound.unmount();
    wait_until("it is not spoken of any more", || !client.notices().contains(said));

    // The same in the bare mount point itself, also at a start.
    let copied = Command::new("cp").arg("-a").arg(backup.join(".")).arg(&root).status().expect("cp");
    assert!(copied.success());
    let before = snapshot(&root);
    wait_until("the folder is refused", || client.notices().contains(said));
    twins.end(End::Drain);
    twins.serve();
    wait_until("the folder is refused after a restart", || client.notices().contains(said));
    client.put("third", &bytes(3)).expect(0);
    assert_eq!(client.state(Side::B), "absent");
    assert_eq!(snapshot(&root), before);
    // The stick is mounted over it.
    let _mounted = Mounted::image(&image(&twins, Side::B), &root, "rw");
    twins.check_identical();
    assert_eq!(client.notices(), "[]");
}

fn two_daemons() {
    let mut twins = twins();
    let client = twins.client();
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();
    let first = format!("process {}", twins.pid());

    // On one state directory.
    let refused = twins.serve_in_vain().expect(REFUSED);
    assert!(refused.stderr.contains(&format!("{first} is using")), "{}", refused.stderr);
    assert!(refused.stderr.contains("stop it first"), "{}", refused.stderr);

    // On a copy of it, made while the daemon was down.
    twins.end(End::Drain);
    let state = twins.dir().join("copied state");
    let copied = Command::new("cp").arg("-a").arg(twins.state()).arg(&state).status().expect("cp");
    assert!(copied.success());
    twins.serve();
    let first = format!("process {}", twins.pid());
    let (mut daemon, beside) = twins.serve_beside(&state);
    for outcome in [beside.put("second", &bytes(2)), beside.get("first")] {
        let stderr = outcome.expect(UNAVAILABLE).stderr;
        assert!(stderr.contains(&format!("{first} is using it")), "{stderr}");
    }
    assert!(beside.notices().contains(&format!("{first} is using it")), "{}", beside.notices());
    client.put("second", &bytes(3)).expect(0);
    twins.check_identical();
    assert_eq!(client.status()["state"], "healthy");
    let ended = daemon.end(End::Drain);
    assert!(ended.success(), "{ended}: {}", daemon.log());
    assert_eq!(client.get("second").expect(0).stdout, bytes(3));
    client.put("third", &bytes(3)).expect(0);
    twins.check_identical();
}
