//! Mutations that meet: whatever their order, and whoever shares a batch with whom, it is as if each came alone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use crate::digest::Crc32;
use crate::elapsed::Elapsed;
use crate::ids::{Arrival, DriveId, MirrorId, PerSide, Side, Ticket};
use crate::journal::mem_store::MemDisk;
use crate::journal::record::{Enrolled, Enrolment, Mutation, Overwrite, Parents, Put, Request, Stage, Staged, Version};
use crate::journal::trash::Keeping;
use crate::journal::writer::{Attached, CommitError, Writer};
use crate::journal::{Journal, Node, Quotas};
use crate::path::RelPath;

const DRIVE: DriveId = DriveId([7; 16]);

/// All files with their sizes, and the bytes that their owner uses.
type End = (Vec<String>, u64);

fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

fn put(at: &str, size: u64, overwrite: Overwrite) -> Mutation {
    Mutation::Put(Put {
        path: path(at),
        overwrite,
        version: Version { ticket: Ticket([0; 16]), size, crc32: Crc32(size as u32) },
        blocks: vec![Crc32(0)],
        mtime_ns: 0,
        executable: false,
        owner: "anna".to_owned(),
        stages: PerSide { a: Some(Staged { arrival: Arrival(1), stage: Stage::File }), b: None },
    })
}

/// A journal with one drive there, and the files `d/f` and `g`.
fn stand() -> (Arc<Journal>, Writer) {
    let disk = MemDisk::new();
    let enrolled =
        |side: Side| Enrolled { id: if side == Side::A { DRIVE } else { DriveId([8; 16]) }, place: String::new() };
    let enrolment = Enrolment { mirror: MirrorId([9; 16]), drives: PerSide::new(enrolled), plain: true };
    Writer::create(&disk.open(), &enrolment).unwrap();
    let (journal, mut writer) = Writer::open(Arc::new(disk.open())).unwrap();
    assert!(matches!(writer.attach(Side::A, DRIVE, Arrival(1)), Attached::Yes));
    let first = [put("d/f", 10, Overwrite::Yes), put("g", 20, Overwrite::Yes)];
    for (number, mutation) in first.into_iter().enumerate() {
        writer.commit(&[request(&writer, number as u64, mutation)]).answers.remove(0).unwrap();
    }
    (journal, writer)
}

fn request(writer: &Writer, number: u64, mut mutation: Mutation) -> Request {
    if let Mutation::Put(put) = &mut mutation {
        put.version.ticket = Ticket::new(writer.nonce().unwrap(), number);
    }
    Request {
        mutation,
        id: None,
        present: PerSide { a: true, b: false },
        keeping: Some(Keeping { at: Elapsed(1), ..Keeping::default() }),
        quotas: Quotas(Arc::new([("anna".to_owned(), 60)].into())),
        names_max: None,
    }
}

fn tree(journal: &Journal) -> End {
    let mut found = Vec::new();
    let mut folders = vec![(String::new(), crate::ids::NodeId::ROOT)];
    while let Some((above, id)) = folders.pop() {
        for (name, node) in journal.snapshot().children(id, None, 100).unwrap() {
            let at = format!("{above}/{}", name.as_str());
            match node {
                Node::File(file) => found.push(format!("{at} {}", file.version.size)),
                Node::Folder(folder) => folders.push((at, folder.id)),
            }
        }
    }
    found.sort();
    (found, journal.usage("anna").unwrap().bytes)
}

/// Commits in batches that end where the bits of `cuts` say; what each was answered, and the tree in the end.
fn run(order: &[usize], all: &[Mutation], cuts: u32) -> (Vec<Result<(), String>>, End) {
    let (journal, mut writer) = stand();
    let mut answers = Vec::new();
    let mut batch = Vec::new();
    for (at, number) in order.iter().enumerate() {
        batch.push(request(&writer, 10 + *number as u64, all[*number].clone()));
        if cuts & (1 << at) != 0 || at + 1 == order.len() {
            answers.extend(writer.commit(&std::mem::take(&mut batch)).answers);
        }
    }
    journal.check_usage();
    let told = |answer: Result<_, CommitError>| answer.map(drop).map_err(|error| error.to_string());
    (answers.into_iter().map(told).collect(), tree(&journal))
}

fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    let with_last = |order: &Vec<usize>, at: usize| {
        let mut order = order.clone();
        order.insert(at, count - 1);
        order
    };
    shorter.iter().flat_map(|order| (0..count).map(move |at| with_last(order, at))).collect()
}

#[test]
fn in_every_order_and_every_company_each_change_sees_those_before_it_and_no_other() {
    let all = [
        put("d/f", 30, Overwrite::Yes),
        put("d/new", 25, Overwrite::No),
        Mutation::Move { from: path("d"), to: path("e") },
        Mutation::Remove { path: path("d/f") },
        Mutation::MakeFolder { path: path("e/deep"), parents: Parents::Make, mtime_ns: 0 },
        Mutation::Restore { path: path("d/f"), lsn: None, mtime_ns: 0 },
    ];
    let (mut ends, mut runs) = (std::collections::BTreeSet::new(), 0);
    for order in orders(all.len()) {
        let alone = run(&order, &all, u32::MAX);
        assert!(alone.1.1 <= 60, "{order:?}: {alone:?}");
        ends.insert(alone.1.clone());
        for cuts in 0..1 << (all.len() - 1) {
            assert_eq!(run(&order, &all, cuts), alone, "{order:?} in batches {cuts:b}");
            runs += 1;
        }
    }
    assert_eq!(runs, 720 * 32);
    // They do meet: the order makes the difference.
    assert!(ends.len() > 10, "{}", ends.len());
}
