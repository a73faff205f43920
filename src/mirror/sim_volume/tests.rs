#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::mirror::volume::{Attributes, Disposition};

const ROOM: u64 = 1 << 30;

fn disk() -> (SimDisk, SimVolume) {
    let disk = SimDisk::new(FsKind::Atomic, ROOM);
    let volume = disk.mount().unwrap();
    (disk, volume)
}

/// Writes a file and syncs its bytes, not its name.
fn put(volume: &SimVolume, path: &str, bytes: &[u8]) {
    let file = volume.create(path).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync().unwrap();
}

fn nothing(_: usize) -> usize {
    0
}

fn everything(count: usize) -> usize {
    // Of the four ways in which a file's changes survive, 1 is: all of them.
    if count == 4 { 1 } else { count - 1 }
}

/// Numbers from a seed, all choices possible.
fn seeded(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |count| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % count as u64) as usize
    }
}

fn paths(disk: &SimDisk) -> Vec<String> {
    disk.tree().into_keys().collect()
}

fn disposition<T>(result: Result<T>) -> Disposition {
    match result {
        Ok(_) => panic!("it worked"),
        Err(error) => error.disposition,
    }
}

#[test]
fn a_synced_file_is_lost_with_its_unsynced_name() {
    let (disk, volume) = disk();
    put(&volume, "f", b"bytes");
    disk.crash(&mut nothing);
    assert!(disk.tree().is_empty());
}

#[test]
fn a_synced_name_may_lead_to_a_file_without_its_bytes() {
    let (disk, volume) = disk();
    volume.create("f").unwrap().write_at(b"bytes", 0).unwrap();
    volume.sync_folder("").unwrap();
    let fork = disk.fork();
    disk.crash(&mut nothing);
    assert_eq!(disk.tree(), Tree::from([("f".to_owned(), Some(Vec::new()))]));
    fork.crash(&mut everything);
    assert_eq!(fork.tree(), Tree::from([("f".to_owned(), Some(b"bytes".to_vec()))]));
}

#[test]
fn bytes_and_name_that_were_synced_survive_every_power_cut() {
    for seed in 0..200 {
        let (disk, volume) = disk();
        volume.make_folder("d").unwrap();
        put(&volume, "d/f", &[7; 3000]);
        volume.sync_folder("d").unwrap();
        volume.open_write("d/f").unwrap().write_at(&[8; 100], 3000).unwrap();
        disk.crash(&mut seeded(seed));
        let bytes = disk.tree().remove("d/f").unwrap().unwrap();
        assert!(bytes.len() >= 3000, "{}", bytes.len());
        assert_eq!(bytes[..3000], [7; 3000]);
        assert!(bytes[3000..].iter().all(|byte| *byte == 8 || *byte == 0));
    }
}

#[test]
fn a_rename_between_folders_is_durable_with_either_and_never_half() {
    for (synced, expected) in [(Some("x"), "y/f"), (Some("y"), "y/f"), (None, "x/f")] {
        let (disk, volume) = disk();
        volume.make_folder("x").unwrap();
        volume.make_folder("y").unwrap();
        put(&volume, "x/f", b"1");
        volume.sync_all().unwrap();
        volume.rename("x/f", "y/f").unwrap();
        if let Some(folder) = synced {
            volume.sync_folder(folder).unwrap();
        }
        disk.crash(&mut nothing);
        assert_eq!(
            disk.tree().into_iter().filter_map(|(path, bytes)| bytes.map(|_| path)).collect::<Vec<_>>(),
            [expected]
        );
    }
}

#[test]
fn a_folders_sync_makes_its_own_creation_durable_and_nothing_later() {
    let (disk, volume) = disk();
    volume.make_folder("d").unwrap();
    volume.make_folder("d/e").unwrap();
    volume.make_folder("later").unwrap();
    volume.sync_folder("d/e").unwrap();
    disk.crash(&mut nothing);
    assert_eq!(paths(&disk), ["d", "d/e"]);
}

#[test]
fn names_survive_in_the_order_of_their_changes() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let (disk, volume) = disk();
        for name in ["1", "2", "3", "4"] {
            volume.make_folder(name).unwrap();
        }
        disk.crash(&mut seeded(seed));
        seen.insert(paths(&disk).concat());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["", "1", "12", "123", "1234"]);
}

#[test]
fn a_replaced_file_is_the_old_or_the_new_one_after_any_power_cut() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let (disk, volume) = disk();
        put(&volume, "f", b"old");
        volume.sync_folder("").unwrap();
        put(&volume, "g", b"new");
        volume.replace("g", "f").unwrap();
        disk.crash(&mut seeded(seed));
        seen.insert(disk.tree().remove("f").unwrap().unwrap());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [b"new".to_vec(), b"old".to_vec()]);
}

#[test]
fn unsynced_writes_are_torn_between_sectors_only() {
    let mut torn = 0;
    for seed in 0..300 {
        let (disk, volume) = disk();
        let file = volume.create("f").unwrap();
        file.write_at(&[1; 4 * 512], 0).unwrap();
        file.sync().unwrap();
        volume.sync_folder("").unwrap();
        file.write_at(&[2; 3 * 512], 100).unwrap();
        disk.crash(&mut seeded(seed));
        let bytes = disk.tree().remove("f").unwrap().unwrap();
        assert_eq!(bytes.len(), 4 * 512);
        let kept: Vec<bool> = bytes
            .chunks(512)
            .enumerate()
            .map(|(sector, chunk)| {
                let chunk = match sector {
                    0 => &chunk[100..],
                    3 => &chunk[..100],
                    _ => chunk,
                };
                assert!(chunk.iter().all(|byte| *byte == chunk[0]), "a torn sector");
                chunk[0] == 2
            })
            .collect();
        torn += usize::from(kept.contains(&true) && kept.contains(&false));
    }
    assert!(torn > 20, "{torn}");
}

#[test]
fn a_failed_sync_forgets_its_data_so_that_trying_again_proves_nothing() {
    let (disk, volume) = disk();
    let file = volume.create("f").unwrap();
    volume.sync_folder("").unwrap();
    file.write_at(b"bytes", 0).unwrap();
    disk.fail_nth(1, Some(CallKind::Sync), Fault::Once(Disposition::DriveLost));
    assert_eq!(disposition(file.sync()), Disposition::DriveLost);
    file.sync().unwrap();
    disk.crash(&mut everything);
    assert_eq!(disk.tree()["f"], Some(Vec::new()));
}

#[test]
fn a_pulled_stick_fails_every_call_but_cached_reads() {
    let (disk, volume) = disk();
    put(&volume, "f", b"bytes");
    volume.sync_all().unwrap();
    let file = volume.open_write("f").unwrap();
    disk.pull();
    let mut buf = [0; 8];
    assert_eq!(disposition(file.read_at(&mut buf, 0)), Disposition::DriveLost);
    assert_eq!(disposition(file.write_at(b"x", 0)), Disposition::DriveLost);
    assert_eq!(disposition(file.sync()), Disposition::DriveLost);
    assert_eq!(disposition(volume.stat("f")), Disposition::DriveLost);
    assert_eq!(disposition(volume.create("g")), Disposition::DriveLost);
    assert_eq!(disposition(volume.probe()), Disposition::DriveLost);
    assert_eq!(disposition(disk.mount()), Disposition::DriveLost);
    assert_eq!(file.read_cached_at(&mut buf, 0).unwrap(), Some(5));

    let again = disk.reinsert(&mut everything);
    assert_eq!(disposition(file.read_at(&mut buf, 0)), Disposition::DriveLost);
    assert_eq!(file.read_cached_at(&mut buf, 0).unwrap(), None);
    assert_eq!(disposition(volume.list("")), Disposition::DriveLost);
    assert_eq!(again.list("").unwrap().names, ["f"]);
}

#[test]
fn a_crash_leaves_a_pulled_stick_out() {
    let (disk, _) = disk();
    disk.pull();
    disk.crash(&mut nothing);
    assert!(disk.is_pulled());
    disk.reinsert(&mut nothing).probe().unwrap();
}

#[test]
fn what_was_not_read_since_the_mount_is_not_cached() {
    let (disk, volume) = disk();
    put(&volume, "f", b"bytes");
    volume.sync_all().unwrap();
    assert!(volume.open_cached("f").unwrap().is_some());
    let volume = disk.reinsert(&mut nothing);
    assert!(volume.open_cached("f").unwrap().is_none());
    let file = volume.open("f").unwrap();
    let mut buf = [0; 5];
    assert_eq!(file.read_cached_at(&mut buf, 0).unwrap(), None);
    file.read_at(&mut buf, 0).unwrap();
    assert_eq!(file.read_cached_at(&mut buf, 0).unwrap(), Some(5));
}

#[test]
fn a_fault_comes_once_at_the_call_it_was_ordered_for() {
    let (disk, volume) = disk();
    let file = volume.create("f").unwrap();
    disk.fail_nth(2, Some(CallKind::Write), Fault::Once(Disposition::NoSpace));
    file.write_at(b"1", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(disposition(file.write_at(b"2", 0)), Disposition::NoSpace);
    file.write_at(b"3", 0).unwrap();
    assert_eq!(disk.tree()["f"], Some(b"3".to_vec()));
    assert_eq!(disk.calls(), Calls { write: 3, name: 1, sync: 1, ..Calls::default() });
}

#[test]
fn a_pull_in_mid_call_leaves_open_whether_it_was_done() {
    let outcome = |choice: Choice<'_>| {
        let (disk, volume) = disk();
        disk.fail_nth(1, None, Fault::Pull);
        assert_eq!(disposition(volume.make_folder("d")), Disposition::DriveLost);
        disk.reinsert(choice);
        paths(&disk).concat()
    };
    assert_eq!(outcome(&mut nothing), "");
    assert_eq!(outcome(&mut everything), "d");
}

#[test]
fn a_full_drive_says_so_and_a_removal_makes_room() {
    let disk = SimDisk::new(FsKind::Atomic, 1000);
    let volume = disk.mount().unwrap();
    let file = volume.create("f").unwrap();
    file.preallocate(900).unwrap();
    file.write_at(&[1; 900], 0).unwrap();
    assert_eq!(disposition(file.write_at(&[1; 101], 900)), Disposition::NoSpace);
    assert_eq!(volume.space().unwrap(), Space { free: 100, size: 1000 });
    volume.remove_file("f").unwrap();
    assert_eq!(volume.space().unwrap().free, 100, "the handle keeps it");
    drop(file);
    assert_eq!(volume.space().unwrap().free, 1000);
}

#[test]
fn an_unsynced_removal_brings_back_the_file_with_its_synced_bytes() {
    let (disk, volume) = disk();
    put(&volume, "f", b"bytes");
    volume.sync_folder("").unwrap();
    volume.remove_file("f").unwrap();
    disk.crash(&mut nothing);
    assert_eq!(disk.tree()["f"], Some(b"bytes".to_vec()));
}

#[test]
fn fat_rounds_times_and_has_no_executable_bit() {
    let volume = SimDisk::new(FsKind::Fat, ROOM).mount().unwrap();
    let file = volume.create("f").unwrap();
    file.set_attributes(Attributes { mtime_ns: 5_000_000_001, executable: true }).unwrap();
    let meta = file.meta().unwrap();
    assert_eq!((meta.observed.mtime_ns, meta.executable), (4_000_000_000, false));
}

#[test]
fn the_users_tree_and_the_mirrors_own_are_told_apart() {
    let (disk, volume) = disk();
    volume.make_folder(".twinstick").unwrap();
    put(&volume, ".twinstick/label.0", b"l");
    put(&volume, ".twinsticks", b"u");
    assert_eq!(disk.tree(), Tree::from([(".twinsticks".to_owned(), Some(b"u".to_vec()))]));
    assert_eq!(disk.own_tree(), Tree::from([(".twinstick/label.0".to_owned(), Some(b"l".to_vec()))]));
    assert!(disk.durable_tree().is_empty());
}

#[test]
#[should_panic(expected = "nothing is renamed over a name on FAT")]
fn replacing_on_fat_is_a_broken_invariant() {
    let volume = SimDisk::new(FsKind::Fat, ROOM).mount().unwrap();
    put(&volume, "f", b"1");
    put(&volume, "g", b"2");
    drop(volume.replace("f", "g"));
}
