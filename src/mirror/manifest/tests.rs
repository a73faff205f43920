#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::writer::Writer;
use super::{Head, Manifest, Problem, Said, read};
use crate::ids::{DriveId, Epoch, Lsn, MirrorId, NodeId, PerSide};
use crate::journal::{Body, Change, Enrolled, Enrolment, Listed, Place};
use crate::mirror::drive_log::Position;
use crate::mirror::layout::{MANIFEST_FOLDER, OWN_FOLDERS};
use crate::mirror::sim_volume::{Fault, SimDisk};
use crate::mirror::volume::{Disposition, FsKind, Result, Volume};
use crate::path::Name;

const DRIVE: DriveId = DriveId([1; 16]);

/// What is known of each node.
type Nodes = BTreeMap<NodeId, Change>;

fn disk(kind: FsKind, capacity: u64) -> SimDisk {
    let disk = SimDisk::new(kind, capacity);
    let volume = disk.mount().unwrap();
    for folder in OWN_FOLDERS {
        volume.make_folder(folder).unwrap();
    }
    volume.sync_all().unwrap();
    disk
}

fn open(volume: &Arc<dyn Volume>) -> Result<Writer> {
    let drives = PerSide::new(|_| Enrolled { id: DRIVE, place: String::new() });
    let enrolment = Enrolment { mirror: MirrorId([9; 16]), drives, plain: true };
    Writer::open(Arc::clone(volume), Head { drive: DRIVE, enrolment, epoch: Epoch(3) })
}

fn change(lsn: u64, node: u64) -> Change {
    let place = Place::new(NodeId::ROOT, Name::parse(&format!("f{node}-{lsn}")).unwrap());
    let now = (!lsn.is_multiple_of(5)).then_some(Listed { place, body: Body::Folder { mtime_ns: 7 } });
    Change { lsn: Lsn(lsn), node: NodeId(node), now }
}

fn fold(nodes: &mut Nodes, change: &Change) {
    let known = nodes.entry(change.node).or_insert_with(|| change.clone());
    if known.lsn <= change.lsn {
        *known = change.clone();
    }
}

fn nodes(volume: &dyn Volume) -> (Manifest, Nodes, Vec<Problem>) {
    let (mut nodes, mut problems) = (Nodes::new(), Vec::new());
    let manifest = {
        let mut take = |said| match said {
            Said::Node(change) => fold(&mut nodes, &change),
            Said::Head(_) | Said::Log(_) => {}
        };
        read(volume, DRIVE, &mut take, |problem| problems.push(problem))
    };
    (manifest.unwrap(), nodes, problems)
}

/// A life of two arrivals with two snapshots; what is durable is told as it becomes so.
fn live(volume: &Arc<dyn Volume>, durable: &mut Nodes) -> Result<()> {
    let mut lsn = durable.values().map(|change| change.lsn.0).max().unwrap_or(0);
    let mut catalog = durable.clone();
    for _ in 0..2 {
        let mut writer = open(volume)?;
        writer.begin_snapshot(Position::default())?;
        for change in catalog.values().cloned().collect::<Vec<_>>() {
            writer.add_nodes(&[change])?;
        }
        for _ in 0..3 {
            lsn += 1;
            let change = change(lsn, lsn % 4);
            fold(&mut catalog, &change);
            writer.append(std::slice::from_ref(&change))?;
            writer.sync()?;
            // Before the first snapshot has ended there is nothing to be durable in.
            if writer.is_whole() {
                fold(durable, &change);
            }
        }
        writer.end_snapshot()?;
        durable.clone_from(&catalog);
        lsn += 1;
        let change = change(lsn, lsn % 4);
        fold(&mut catalog, &change);
        writer.append(std::slice::from_ref(&change))?;
        writer.sync()?;
        durable.clone_from(&catalog);
    }
    Ok(())
}

#[test]
fn what_is_durable_in_a_manifest_survives_a_cut_at_any_call() {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        for nth in 1.. {
            let mut ended = true;
            for seed in 0..6 {
                let disk = disk(kind, 64 << 20);
                let volume: Arc<dyn Volume> = Arc::new(disk.mount().unwrap());
                let mut durable = Nodes::new();
                disk.fail_nth(nth, None, Fault::Kill);
                let lived = live(&volume, &mut durable);
                ended &= lived.is_ok();
                disk.clear_faults();
                disk.crash(&mut seeded(nth * 7 + seed));
                let volume: Arc<dyn Volume> = Arc::new(disk.mount().unwrap());
                let (manifest, found, problems) = nodes(volume.as_ref());
                for (id, change) in &durable {
                    assert!(found.get(id).is_some_and(|found| found.lsn >= change.lsn), "{nth} {seed} {id}: {found:?}");
                }
                assert!(!durable.is_empty() || found.is_empty() || manifest != Manifest::None);
                assert_ne!(manifest, Manifest::Partial, "{nth} {seed}: {problems:?}");
                // And life goes on from there.
                live(&volume, &mut durable).unwrap();
                assert_eq!(nodes(volume.as_ref()).0, Manifest::Whole);
            }
            if ended {
                break;
            }
        }
    }
}

fn seeded(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |count| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % count as u64) as usize
    }
}

#[test]
fn changes_that_find_no_room_leave_a_manifest_that_says_so() {
    let disk = disk(FsKind::Atomic, 1 << 20);
    let volume: Arc<dyn Volume> = Arc::new(disk.mount().unwrap());
    let mut writer = open(&volume).unwrap();
    writer.begin_snapshot(Position::default()).unwrap();
    writer.add_nodes(&[change(1, 1)]).unwrap();
    writer.end_snapshot().unwrap();
    let filling = volume.create("filling").unwrap();
    filling.preallocate(volume.space().unwrap().free).unwrap();
    let many: Vec<_> = (2..200).map(|lsn| change(lsn, lsn)).collect();
    assert_eq!(writer.append(&many).unwrap_err().disposition, Disposition::NoSpace);
    assert_eq!(nodes(volume.as_ref()).0, Manifest::Partial);
    assert!(!writer.wants_snapshot(0));
    // Known to the next arrival too; with room there is a new one.
    drop(filling);
    volume.remove_file("filling").unwrap();
    let mut writer = open(&volume).unwrap();
    assert!(writer.wants_snapshot(1 << 30));
    writer.begin_snapshot(Position::default()).unwrap();
    writer.end_snapshot().unwrap();
    assert_eq!(nodes(volume.as_ref()).0, Manifest::Whole);
    assert!(!writer.wants_snapshot(1 << 30));
}

#[test]
fn a_snapshot_that_finds_no_room_leaves_the_older_one() {
    let disk = disk(FsKind::Atomic, 1 << 20);
    let volume: Arc<dyn Volume> = Arc::new(disk.mount().unwrap());
    let mut writer = open(&volume).unwrap();
    writer.begin_snapshot(Position::default()).unwrap();
    writer.add_nodes(&[change(1, 1)]).unwrap();
    writer.end_snapshot().unwrap();
    let filling = volume.create("filling").unwrap();
    filling.preallocate(volume.space().unwrap().free - 2000).unwrap();
    writer.begin_snapshot(Position::default()).unwrap();
    let many: Vec<_> = (1..200).map(|lsn| change(lsn, lsn)).collect();
    writer.add_nodes(&many).unwrap();
    assert!(!writer.is_snapshotting());
    assert_eq!(volume.list(MANIFEST_FOLDER).unwrap().names, ["1-0"]);
    let (manifest, found, _) = nodes(volume.as_ref());
    assert_eq!((manifest, found.len()), (Manifest::Whole, 1));
}

#[test]
fn any_changed_byte_of_a_snapshot_is_noticed_and_all_but_one_record_is_read() {
    let disk = disk(FsKind::Atomic, 1 << 20);
    let volume: Arc<dyn Volume> = Arc::new(disk.mount().unwrap());
    let mut writer = open(&volume).unwrap();
    writer.begin_snapshot(Position::default()).unwrap();
    writer.add_nodes(&[change(1, 1), change(2, 2), change(3, 3)]).unwrap();
    writer.end_snapshot().unwrap();
    let path = format!("{MANIFEST_FOLDER}/1-0");
    let file = volume.open_write(&path).unwrap();
    let size = file.meta().unwrap().observed.size;
    for at in 0..size {
        let mut byte = [0];
        file.read_at(&mut byte, at).unwrap();
        file.write_at(&[byte[0] ^ 1], at).unwrap();
        let (manifest, found, problems) = nodes(volume.as_ref());
        assert!(found.len() >= 2, "{at}");
        assert!(manifest == Manifest::Partial || found.len() == 3, "{at}: {problems:?}");
        assert!(!problems.is_empty(), "{at}");
        file.write_at(&byte, at).unwrap();
    }
    assert_eq!(nodes(volume.as_ref()).0, Manifest::Whole);
}

#[test]
fn a_snapshot_is_due_when_changes_outgrow_it() {
    let disk = disk(FsKind::Atomic, 64 << 20);
    let volume: Arc<dyn Volume> = Arc::new(disk.mount().unwrap());
    let mut writer = open(&volume).unwrap();
    assert!(writer.wants_snapshot(64 << 20));
    writer.begin_snapshot(Position::default()).unwrap();
    writer.end_snapshot().unwrap();
    let many: Vec<_> = (1..2000).map(|lsn| change(lsn, lsn)).collect();
    while !writer.wants_snapshot(16 << 20) {
        writer.append(&many).unwrap();
    }
    let bytes = volume.stat(&format!("{MANIFEST_FOLDER}/1-1")).unwrap().unwrap().observed.size;
    // An eighth of what is free.
    assert!((2 << 20..3 << 20).contains(&bytes), "{bytes}");
    assert!(!writer.wants_snapshot(1 << 30), "more room, more changes");
}
