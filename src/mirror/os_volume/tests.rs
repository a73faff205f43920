#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and plays the hand that changes a stick elsewhere"
)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::mirror::label::{SLOT_BYTES, SLOT_PATHS};
use crate::mirror::volume::{Attributes, Disposition};
use crate::mirror::volume_tests::check;

fn drive() -> (TempDir, OsVolume) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("drive");
    fs::create_dir(&root).unwrap();
    let volume = OsVolume::open(&root).unwrap();
    (folder, volume)
}

fn disposition<T>(result: Result<T>) -> Option<Disposition> {
    result.err().map(|error| error.disposition)
}

fn put(volume: &OsVolume, path: &str, bytes: &[u8]) {
    let file = volume.create(path).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync().unwrap();
}

fn text(volume: &OsVolume, path: &str) -> String {
    let mut bytes = vec![0; 100];
    let count = Volume::open(volume, path).unwrap().read_at(&mut bytes, 0).unwrap();
    bytes.truncate(count);
    String::from_utf8(bytes).unwrap()
}

/// The same folder, worked on as a file system of this kind.
fn taken_for(kind: FsKind, volume: &OsVolume) -> OsVolume {
    let root = volume.root.try_clone().unwrap();
    let (place, identity, namespace) = (volume.place.clone(), volume.identity, Namespace::Any);
    OsVolume {
        root,
        place,
        identity,
        kind,
        namespace,
        cache: Cache::Asked,
        syncs: Syncs::of(kind),
        kept: Kept::default(),
    }
}

#[test]
fn nothing_is_synced_on_fat_while_a_name_is_added() {
    let (_folder, volume) = drive();
    for (kind, waits) in [(FsKind::Fat, true), (FsKind::Atomic, false)] {
        let volume = taken_for(kind, &volume);
        let root = volume.open_folder("").unwrap();
        let could_sync = || Ok(volume.syncs.is_free());
        assert_eq!(volume.syncs.enter(&root, could_sync).unwrap(), !waits, "{kind:?}");
        assert!(volume.syncs.is_free());
    }
}

#[test]
fn a_real_volume_keeps_the_contract_in_the_order_for_fat_too() {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        let (_folder, volume) = drive();
        check(&taken_for(kind, &volume));
    }
}

#[test]
fn a_real_volume_keeps_the_contract_while_folders_are_kept() {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        let (_folder, volume) = drive();
        let volume = taken_for(kind, &volume);
        volume.keep_folders();
        check(&volume);
    }
}

/// A drive whose folder `d` is kept.
fn keeping() -> (TempDir, OsVolume) {
    let (folder, volume) = drive();
    volume.keep_folders();
    volume.make_folder("d").unwrap();
    put(&volume, "d/old", b"old");
    assert!(volume.stat("d/old").unwrap().is_some());
    (folder, volume)
}

#[test]
fn a_kept_folder_that_the_mirror_moves_or_removes_is_looked_for_anew() {
    let (_folder, volume) = keeping();
    volume.rename("d", "e").unwrap();
    assert_eq!(volume.stat("d/old").unwrap(), None);
    assert!(volume.stat("e/old").unwrap().is_some());
    volume.remove_file("e/old").unwrap();
    volume.remove_folder("e").unwrap();
    volume.make_folder("e").unwrap();
    put(&volume, "e/new", b"new");
    assert!(volume.stat("e/new").unwrap().is_some());
}

#[test]
fn a_kept_folder_that_somebody_deletes_is_missed_once() {
    let (_folder, volume) = keeping();
    put(&volume, "f", b"f");
    fs::remove_dir_all(volume.place().join("d")).unwrap();
    assert_eq!(disposition(volume.rename("f", "d/f")), Some(Disposition::NotFound));
    volume.make_folder("d").unwrap();
    volume.rename("f", "d/f").unwrap();
    assert!(volume.stat("d/f").unwrap().is_some());
    fs::remove_dir_all(volume.place().join("d")).unwrap();
    fs::create_dir(volume.place().join("d")).unwrap();
    assert_eq!(disposition(volume.create("d/g")), Some(Disposition::NotFound));
    put(&volume, "d/g", b"g");
    assert_eq!(fs::read(volume.place().join("d/g")).unwrap(), b"g");
}

#[test]
fn no_folder_is_kept_beyond_a_sync_or_its_release() {
    let ends: [fn(&OsVolume); 3] = [
        |volume| volume.sync_all().unwrap(),
        |volume| volume.sync_folder("d").unwrap(),
        |volume| volume.release_folders(),
    ];
    for end in ends {
        let (_folder, volume) = keeping();
        end(&volume);
        fs::rename(volume.place().join("d"), volume.place().join("elsewhere")).unwrap();
        assert_eq!(volume.stat("d/old").unwrap(), None);
    }
}

#[test]
fn what_is_written_is_read_also_deep_down_and_from_the_cache() {
    let (_folder, volume) = drive();
    for folder in ["a", "a/b", "a/b/c"] {
        volume.make_folder(folder).unwrap();
    }
    put(&volume, "a/b/c/file", b"hello");
    assert_eq!(text(&volume, "a/b/c/file"), "hello");
    volume.sync_folder("a/b/c").unwrap();
    volume.sync_all().unwrap();
    let file = volume.open_cached("a/b/c/file").unwrap().unwrap();
    let mut bytes = [0; 4];
    // Some file systems cannot read without blocking; those that can must give the right bytes.
    if let Some(count) = file.read_cached_at(&mut bytes, 1).unwrap() {
        assert_eq!(bytes.get(..count).unwrap(), b"ello".get(..count).unwrap());
    }
    assert_eq!(volume.list("a/b").unwrap().names, ["c"]);
}

#[test]
fn what_lies_deeper_than_one_call_reaches_is_reached_all_the_same() {
    let (_folder, volume) = drive();
    for kind in [FsKind::Atomic, FsKind::Fat] {
        let volume = taken_for(kind, &volume);
        // Letters of two bytes, so that no piece ends where a call's bytes do.
        let name = "\u{fc}".repeat(127);
        let mut folders = vec![name.clone()];
        while folders.last().unwrap().len() < 3 * CALL_BYTES_MAX {
            folders.push(layout::join(folders.last().unwrap(), &name));
        }
        for folder in &folders {
            volume.make_folder(folder).unwrap();
        }
        let deepest = folders.last().unwrap();
        let (one, other) = (layout::join(deepest, "one"), layout::join(deepest, "other"));
        put(&volume, &one, b"hello");
        volume.rename(&one, &other).unwrap();
        volume.sync_folder(deepest).unwrap();
        assert_eq!(text(&volume, &other), "hello");
        assert!(volume.open_cached(&other).is_ok());
        assert_eq!(volume.stat(&other).unwrap().unwrap().observed.size, 5);
        assert_eq!(volume.stat(&one).unwrap(), None);
        assert_eq!(volume.list(deepest).unwrap().names, ["other"]);
        volume.rename(&other, "near").unwrap();
        volume.remove_file("near").unwrap();
        for folder in folders.iter().rev() {
            volume.remove_folder(folder).unwrap();
        }
        // A name that is too long for any folder is still none.
        assert_eq!(disposition(volume.stat(&"x".repeat(CALL_BYTES_MAX + 1))), Some(Disposition::Refused));
    }
}

#[test]
fn a_long_way_leads_through_no_link_either() {
    let (folder, volume) = drive();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, folder.path().join("drive/link")).unwrap();
    let far = format!("link/{}", vec!["x".repeat(200); 30].join("/"));
    assert_eq!(volume.stat(&far).unwrap(), None);
    assert_eq!(disposition(volume.list(&far)), Some(Disposition::InTheWay));
    let up = format!("{}/../../outside", vec!["..".to_owned(); 2000].join("/"));
    assert!(disposition(volume.list(&up)).is_some());
}

#[test]
fn names_that_no_path_can_have_are_listed_apart() {
    let (folder, volume) = drive();
    put(&volume, "plain", b"");
    let other = OsStr::from_bytes(b"caf\xe9");
    fs::write(folder.path().join("drive").join(other), "").unwrap();
    let Listing { names, not_utf8 } = volume.list("").unwrap();
    assert_eq!((names, not_utf8), (vec!["plain".to_owned()], vec![other.to_owned()]));
}

#[test]
fn a_taken_name_is_never_renamed_over() {
    let (_folder, volume) = drive();
    put(&volume, "new", b"new");
    put(&volume, "old", b"old");
    assert_eq!(disposition(volume.rename("new", "old")), Some(Disposition::InTheWay));
    assert_eq!(disposition(volume.create("old")), Some(Disposition::InTheWay));
    assert_eq!(text(&volume, "old"), "old");
    volume.replace("new", "old").unwrap();
    assert_eq!(text(&volume, "old"), "new");
    assert_eq!(volume.stat("new").unwrap(), None);
    volume.rename("old", "free").unwrap();
    assert_eq!(text(&volume, "free"), "new");
}

#[test]
fn names_in_the_way_and_missing_ones_are_told_apart() {
    let (_folder, volume) = drive();
    volume.make_folder("folder").unwrap();
    put(&volume, "folder/file", b"x");
    assert_eq!(disposition(volume.remove_folder("folder")), Some(Disposition::InTheWay));
    assert_eq!(disposition(volume.remove_file("folder")), Some(Disposition::InTheWay));
    assert_eq!(disposition(volume.make_folder("folder")), Some(Disposition::InTheWay));
    assert_eq!(disposition(Volume::open(&volume, "folder")), Some(Disposition::InTheWay));
    assert_eq!(disposition(volume.create("folder/file/below")), Some(Disposition::InTheWay));
    assert_eq!(disposition(Volume::open(&volume, "none")), Some(Disposition::NotFound));
    assert_eq!(disposition(volume.rename("none", "other")), Some(Disposition::NotFound));
    assert_eq!(volume.stat("folder/file/below").unwrap(), None);
    volume.remove_file("folder/file").unwrap();
    volume.remove_folder("folder").unwrap();
    assert_eq!(volume.list("").unwrap().names, Vec::<String>::new());
}

#[test]
fn nothing_is_reached_through_a_link_or_above_the_root() {
    let (folder, volume) = drive();
    fs::write(folder.path().join("outside"), "secret").unwrap();
    symlink(folder.path(), folder.path().join("drive/up")).unwrap();
    symlink(folder.path().join("outside"), folder.path().join("drive/link")).unwrap();
    for path in ["up/outside", "link", "../outside", "/etc/hostname", "up/../outside"] {
        assert!(Volume::open(&volume, path).is_err(), "{path}");
        assert!(volume.open_write(path).is_err(), "{path}");
        assert!(volume.rename(path, "stolen").is_err() || path == "link", "{path}");
    }
    for path in ["up/new", "../new", ".."] {
        assert!(volume.create(path).is_err(), "{path}");
        assert!(volume.make_folder(path).is_err(), "{path}");
    }
    assert_eq!(volume.stat("up").unwrap().unwrap().kind, FileKind::Other);
    volume.remove_file("up").unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("outside")).unwrap(), "secret");
    assert!(!folder.path().join("new").exists());
}

#[test]
fn a_fifo_on_a_stick_hangs_nobody() {
    let (folder, volume) = drive();
    let fifo = folder.path().join("drive/fifo");
    rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, FILE_MODE, 0).unwrap();
    assert_eq!(disposition(Volume::open(&volume, "fifo")), Some(Disposition::InTheWay));
    assert_eq!(disposition(volume.open_write("fifo")), Some(Disposition::InTheWay));
}

#[test]
fn time_and_executable_bit_are_kept() {
    let (_folder, volume) = drive();
    let file = volume.create("tool").unwrap();
    for attributes in [
        Attributes { mtime_ns: 1_700_000_000_123_456_789, executable: true },
        Attributes { mtime_ns: -1_500_000_000, executable: false },
    ] {
        file.set_attributes(attributes).unwrap();
        let meta = file.meta().unwrap();
        assert_eq!(meta.observed.mtime_ns, attributes.mtime_ns);
        assert_eq!(meta.executable, attributes.executable);
        assert_eq!(volume.stat("tool").unwrap(), Some(meta));
    }
}

#[test]
fn a_preallocated_file_has_its_length_also_when_it_is_none() {
    let (_folder, volume) = drive();
    let file = volume.create("log").unwrap();
    file.preallocate(0).unwrap();
    assert_eq!(file.meta().unwrap().observed.size, 0);
    file.preallocate(1 << 20).unwrap();
    assert_eq!(file.meta().unwrap().observed.size, 1 << 20);
}

#[test]
fn a_probe_passes_on_a_drive_in_its_place_and_fails_when_it_was_moved_away_or_replaced() {
    let (folder, volume) = drive();
    assert_eq!(disposition(volume.probe()), Some(Disposition::DriveLost), "no label at all");
    volume.make_folder(".twinstick").unwrap();
    put(&volume, SLOT_PATHS.last().unwrap(), &[7; SLOT_BYTES]);
    volume.probe().unwrap();

    let (here, away) = (folder.path().join("drive"), folder.path().join("away"));
    fs::rename(&here, &away).unwrap();
    assert_eq!(disposition(volume.probe()), Some(Disposition::DriveLost));
    volume.probe_medium().unwrap();
    fs::create_dir(&here).unwrap();
    assert_eq!(disposition(volume.probe()), Some(Disposition::DriveLost));
    fs::remove_dir(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    volume.probe().unwrap();

    volume.remove_file(".twinstick/label.1").unwrap();
    put(&volume, ".twinstick/label.0", b"short");
    assert_eq!(disposition(volume.probe()), Some(Disposition::DriveLost));
}

#[test]
fn a_locked_drive_names_its_holder_and_is_free_again_when_the_lock_is_dropped() {
    let (folder, volume) = drive();
    volume.make_folder(".twinstick").unwrap();
    let lock = volume.lock("twinstickd pid 1234").unwrap();
    let other = OsVolume::open(&folder.path().join("drive")).unwrap();
    match other.lock("twinstickd pid 99") {
        Err(LockError::Held { holder }) => assert_eq!(holder, "twinstickd pid 1234"),
        taken => panic!("{taken:?}"),
    }
    drop(lock);
    let _again = other.lock("fsck pid 9").unwrap();
    assert_eq!(text(&volume, ".twinstick/lock").trim_end(), "fsck pid 9");
}

#[test]
fn space_is_of_the_whole_file_system() {
    let (_folder, volume) = drive();
    let space = volume.space().unwrap();
    assert!(0 < space.size && space.free <= space.size, "{space:?}");
}
