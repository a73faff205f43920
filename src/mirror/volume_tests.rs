//! What every `Volume` does, whichever it is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use crate::mirror::sim_volume::SimDisk;
use crate::mirror::volume::{Attributes, Disposition, FileKind, FsKind, Result, Volume, VolumeFile};

#[test]
fn a_simulated_volume_keeps_the_contract() {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        check(&SimDisk::new(kind, 64 << 20).mount().unwrap());
    }
}

/// Checks an empty volume, and leaves it empty.
pub(crate) fn check(volume: &dyn Volume) {
    for part in [
        files_are_made_once,
        reads_end_with_the_file,
        missing_names_are_not_found,
        renames_take_free_names_alone,
        replacing_leaves_one_file,
        folders_nest_and_list,
        folders_and_files_are_told_apart,
        an_unlinked_file_lives_in_its_handle,
        attributes_come_back,
        room_is_made_ahead,
        everything_can_be_synced,
        bad_names_are_refused,
    ] {
        volume.make_folder("t").unwrap();
        part(volume);
        clear(volume, "t");
        assert_eq!(volume.stat("t").unwrap(), None);
    }
}

fn clear(volume: &dyn Volume, path: &str) {
    for name in volume.list(path).unwrap().names {
        let child = format!("{path}/{name}");
        match volume.stat(&child).unwrap().unwrap().kind {
            FileKind::Folder => clear(volume, &child),
            FileKind::File | FileKind::Other => volume.remove_file(&child).unwrap(),
        }
    }
    volume.remove_folder(path).unwrap();
}

fn put(volume: &dyn Volume, path: &str, bytes: &[u8]) {
    volume.create(path).unwrap().write_at(bytes, 0).unwrap();
}

fn read(volume: &dyn Volume, path: &str) -> Vec<u8> {
    read_file(volume.open(path).unwrap().as_ref())
}

fn read_file(file: &dyn VolumeFile) -> Vec<u8> {
    let mut bytes = vec![0; file.meta().unwrap().observed.size as usize];
    let count = file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(count, bytes.len());
    bytes
}

#[track_caller]
fn fails<T>(result: Result<T>, disposition: Disposition) {
    match result {
        Ok(_) => panic!("it worked"),
        Err(error) => assert_eq!(error.disposition, disposition, "{error}"),
    }
}

fn files_are_made_once(volume: &dyn Volume) {
    let file = volume.create("t/f").unwrap();
    file.write_at(b"hello", 0).unwrap();
    file.write_at(b"J", 0).unwrap();
    assert_eq!(read_file(file.as_ref()), b"Jello");
    fails(volume.create("t/f"), Disposition::InTheWay);
    assert_eq!(read(volume, "t/f"), b"Jello");
    volume.open_write("t/f").unwrap().write_at(b"y", 4).unwrap();
    assert_eq!(read(volume, "t/f"), b"Jelly");
    volume.make_folder("t/d").unwrap();
    fails(volume.create("t/d"), Disposition::InTheWay);
    fails(volume.make_folder("t/d"), Disposition::InTheWay);
    fails(volume.make_folder("t/f"), Disposition::InTheWay);
}

fn reads_end_with_the_file(volume: &dyn Volume) {
    let file = volume.create("t/f").unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    file.write_at(&bytes, 0).unwrap();
    let mut buf = vec![0; 1000];
    assert_eq!(file.read_at(&mut buf, 250_000).unwrap(), 1000);
    assert_eq!(buf, bytes[250_000..251_000]);
    assert_eq!(file.read_at(&mut buf, 299_990).unwrap(), 10);
    assert_eq!(buf[..10], bytes[299_990..]);
    assert_eq!(file.read_at(&mut buf, 300_000).unwrap(), 0);
    assert_eq!(file.read_at(&mut buf, 400_000).unwrap(), 0);
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
    if let Some(count) = file.read_cached_at(&mut buf, 299_990).unwrap() {
        assert!(count <= 10);
        assert_eq!(buf[..count], bytes[299_990..299_990 + count]);
    }
    if let Some(opened) = volume.open_cached("t/f").unwrap() {
        assert_eq!(read_file(opened.as_ref()), bytes);
    }
    file.write_at(b"x", 300_010).unwrap();
    assert_eq!(file.read_at(&mut buf, 300_000).unwrap(), 11);
    assert_eq!(buf[..11], *b"\0\0\0\0\0\0\0\0\0\0x");
}

fn missing_names_are_not_found(volume: &dyn Volume) {
    assert_eq!(volume.stat("t/none").unwrap(), None);
    assert_eq!(volume.stat("t/none/deep").unwrap(), None);
    fails(volume.open("t/none"), Disposition::NotFound);
    fails(volume.open_write("t/none"), Disposition::NotFound);
    fails(volume.list("t/none"), Disposition::NotFound);
    fails(volume.create("t/none/f"), Disposition::NotFound);
    fails(volume.make_folder("t/none/d"), Disposition::NotFound);
    fails(volume.rename("t/none", "t/g"), Disposition::NotFound);
    fails(volume.remove_file("t/none"), Disposition::NotFound);
    fails(volume.remove_folder("t/none"), Disposition::NotFound);
    fails(volume.sync_folder("t/none"), Disposition::NotFound);
    put(volume, "t/f", b"");
    fails(volume.rename("t/f", "t/none/f"), Disposition::NotFound);
}

fn renames_take_free_names_alone(volume: &dyn Volume) {
    put(volume, "t/f", b"f");
    put(volume, "t/g", b"g");
    volume.make_folder("t/d").unwrap();
    fails(volume.rename("t/f", "t/g"), Disposition::InTheWay);
    fails(volume.rename("t/f", "t/d"), Disposition::InTheWay);
    fails(volume.rename("t/d", "t/g"), Disposition::InTheWay);
    volume.rename("t/f", "t/d/f").unwrap();
    assert_eq!(volume.stat("t/f").unwrap(), None);
    assert_eq!(read(volume, "t/d/f"), b"f");
    volume.rename("t/d", "t/e").unwrap();
    assert_eq!(read(volume, "t/e/f"), b"f");
    assert_eq!(read(volume, "t/g"), b"g");
    fails(volume.rename("t/e", "t/e/inside"), Disposition::Refused);
}

fn replacing_leaves_one_file(volume: &dyn Volume) {
    if volume.kind() == FsKind::Fat {
        return;
    }
    put(volume, "t/f", b"old");
    put(volume, "t/g", b"new");
    let old = volume.open("t/f").unwrap();
    volume.replace("t/g", "t/f").unwrap();
    assert_eq!(volume.list("t").unwrap().names, ["f"]);
    assert_eq!(read(volume, "t/f"), b"new");
    assert_eq!(read_file(old.as_ref()), b"old");
    volume.make_folder("t/d").unwrap();
    fails(volume.replace("t/f", "t/d"), Disposition::InTheWay);
    fails(volume.replace("t/none", "t/f"), Disposition::NotFound);
    assert_eq!(read(volume, "t/f"), b"new");
}

fn folders_nest_and_list(volume: &dyn Volume) {
    volume.make_folder("t/d").unwrap();
    volume.make_folder("t/d/e").unwrap();
    put(volume, "t/d/e/deep", b"1");
    put(volume, "t/d/f", b"2");
    let mut names = volume.list("t/d").unwrap().names;
    names.sort();
    assert_eq!(names, ["e", "f"]);
    assert!(volume.list("").unwrap().names.contains(&"t".to_owned()));
    fails(volume.remove_folder("t/d"), Disposition::InTheWay);
    volume.remove_file("t/d/e/deep").unwrap();
    volume.remove_folder("t/d/e").unwrap();
    assert_eq!(volume.list("t/d").unwrap().names, ["f"]);
}

fn folders_and_files_are_told_apart(volume: &dyn Volume) {
    volume.make_folder("t/d").unwrap();
    put(volume, "t/f", b"12345");
    assert_eq!(volume.stat("t/d").unwrap().unwrap().kind, FileKind::Folder);
    assert_eq!(volume.stat("").unwrap().unwrap().kind, FileKind::Folder);
    let meta = volume.stat("t/f").unwrap().unwrap();
    assert_eq!((meta.kind, meta.observed.size), (FileKind::File, 5));
    assert_eq!(volume.open("t/f").unwrap().meta().unwrap(), meta);
    fails(volume.open("t/d"), Disposition::InTheWay);
    fails(volume.open_write("t/d"), Disposition::InTheWay);
    fails(volume.remove_file("t/d"), Disposition::InTheWay);
    fails(volume.remove_folder("t/f"), Disposition::InTheWay);
    fails(volume.list("t/f"), Disposition::InTheWay);
    fails(volume.create("t/f/below"), Disposition::InTheWay);
}

fn an_unlinked_file_lives_in_its_handle(volume: &dyn Volume) {
    put(volume, "t/f", b"first");
    let file = volume.open_write("t/f").unwrap();
    volume.remove_file("t/f").unwrap();
    put(volume, "t/f", b"second");
    file.write_at(b"F", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(read_file(file.as_ref()), b"First");
    assert_eq!(read(volume, "t/f"), b"second");
}

fn attributes_come_back(volume: &dyn Volume) {
    let file = volume.create("t/f").unwrap();
    file.write_at(b"1", 0).unwrap();
    assert!(!volume.stat("t/f").unwrap().unwrap().executable || volume.kind() == FsKind::Fat);
    // Two seconds are what the coarsest file system keeps.
    let mtime_ns = 1_500_000_000_000_000_000;
    file.set_attributes(Attributes { mtime_ns, executable: true }).unwrap();
    let meta = volume.stat("t/f").unwrap().unwrap();
    assert_eq!(meta.observed.mtime_ns, mtime_ns);
    assert!(meta.executable || volume.kind() == FsKind::Fat);
    file.set_attributes(Attributes { mtime_ns, executable: false }).unwrap();
    assert_eq!(file.meta().unwrap(), volume.stat("t/f").unwrap().unwrap());
    volume.rename("t/f", "t/g").unwrap();
    assert_eq!(volume.stat("t/g").unwrap().unwrap().observed.mtime_ns, mtime_ns);
    file.write_at(b"2", 0).unwrap();
    file.sync().unwrap();
    assert_ne!(volume.stat("t/g").unwrap().unwrap().observed.mtime_ns, mtime_ns, "a write is seen");
}

/// No disk of a machine is smaller.
const OWN_BYTES_MAX: u64 = 1 << 30;

fn room_is_made_ahead(volume: &dyn Volume) {
    let file = volume.create("t/f").unwrap();
    file.preallocate(100_000).unwrap();
    file.write_at(b"x", 50_000).unwrap();
    assert_eq!(file.meta().unwrap().observed.size, 100_000);
    let bytes = read_file(file.as_ref());
    assert_eq!((bytes[50_000], bytes[49_999], bytes[99_999]), (b'x', 0, 0));
    let space = volume.space().unwrap();
    assert!(space.free <= space.size && space.size > 0);
    // On a disk that others use, too, all its room would be taken for the moment in which that fails.
    if space.size <= OWN_BYTES_MAX {
        fails(file.preallocate(space.size.saturating_mul(2)), Disposition::NoSpace);
    }
}

fn everything_can_be_synced(volume: &dyn Volume) {
    volume.make_folder("t/d").unwrap();
    let file = volume.create("t/d/f").unwrap();
    file.write_at(b"1", 0).unwrap();
    file.sync().unwrap();
    for folder in ["t/d", "t", ""] {
        volume.sync_folder(folder).unwrap();
    }
    volume.sync_all().unwrap();
    assert_eq!(read(volume, "t/d/f"), b"1");
}

fn bad_names_are_refused(volume: &dyn Volume) {
    fails(volume.create(&format!("t/{}", "n".repeat(256))), Disposition::Refused);
    fails(volume.create("t/nul\0"), Disposition::Refused);
    volume.create(&format!("t/{}", "n".repeat(255))).unwrap();
}
