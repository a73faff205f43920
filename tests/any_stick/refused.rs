//! What is none of this mirror's drives, in a drive's place: refused by name, and not a byte of it changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use twinstick_rig::{Content, End, Mounted, Pull, Side, Twins, make_image, wait_until};

use crate::{DRIVE_BYTES, bytes, check_identical_at, image, path, twins};

/// The label's slots, and where in one its parts are.
const SLOTS: [&str; 2] = [".twinstick/label.0", ".twinstick/label.1"];
const SLOT_BYTES: usize = 4096;
const FORMAT_AT: usize = 8;
const BODY_LEN_AT: usize = 10;
const BODY_AT: usize = 12;
const DRIVE_ID_AT: usize = BODY_AT + 16;

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
pub(super) fn foreign() {
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
            let replace = format!("twinstickd replace --drive b={}", place.display());
            assert!(client.notices().contains(&replace), "{}", client.notices());
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

pub(super) fn copied() {
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

pub(super) fn older() {
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

pub(super) fn read_only() {
    let mut twins = twins();
    let client = twins.client();
    client.put("first", &bytes(1)).expect(0);
    twins.check_identical();
    twins.pull(Side::B, Pull::Unmount);
    let root = twins.root(Side::B).to_owned();
    let mounted = Mounted::read_only(&image(&twins, Side::B), &root);
    wait_until("it is refused by name", || client.notices().contains("it is drive b, mounted read-only"));
    let notices = client.notices();
    assert!(notices.contains("mount it writable") && !notices.contains("plug in and mount drive b"), "{notices}");
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

pub(super) fn boot_disk_folder() {
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
