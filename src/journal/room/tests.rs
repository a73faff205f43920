#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use super::*;
use crate::digest::Crc32;
use crate::elapsed::Elapsed;
use crate::ids::{Arrival, DriveId, MirrorId, PerSide, Side, Ticket};
use crate::journal::mem_store::MemDisk;
use crate::journal::record::{Enrolled, Enrolment, Mutation, Overwrite, Parents, Put, Request, Stage, Staged, Version};
use crate::journal::trash::Keeping;
use crate::journal::writer::{Attached, CommitError, Writer};
use crate::journal::{Journal, Node, Quotas};

const DRIVE: DriveId = DriveId([7; 16]);
const MOST: u64 = 3;

struct Stand {
    disk: MemDisk,
    journal: Arc<Journal>,
    writer: Writer,
    tickets: u64,
}

impl Stand {
    fn new() -> Self {
        let disk = MemDisk::new();
        let enrolled =
            |side: Side| Enrolled { id: if side == Side::A { DRIVE } else { DriveId([8; 16]) }, place: String::new() };
        let enrolment = Enrolment { mirror: MirrorId([9; 16]), drives: PerSide::new(enrolled), plain: true };
        Writer::create(&disk.open(), &enrolment).unwrap();
        let (journal, writer) = Writer::open(Arc::new(disk.open())).unwrap();
        let mut stand = Self { disk, journal, writer, tickets: 0 };
        assert_eq!(stand.attach(), Attached::Yes);
        stand
    }

    /// Where something is in doubt the drive stays away, and nothing can be put.
    fn attach(&mut self) -> Attached {
        self.writer.attach(Side::A, DRIVE, Arrival(1))
    }

    /// The store fails, and is opened again.
    fn open_again(&mut self) {
        self.writer.close();
        self.writer.reopen(Arc::new(self.disk.open())).unwrap();
        self.attach();
    }

    fn put(&mut self, at: &str) -> Mutation {
        self.tickets += 1;
        Mutation::Put(Put {
            path: path(at),
            overwrite: Overwrite::Yes,
            version: Version {
                ticket: Ticket::new(self.writer.nonce().unwrap(), self.tickets),
                size: self.tickets,
                crc32: Crc32(self.tickets as u32),
            },
            blocks: vec![Crc32(0)],
            mtime_ns: 0,
            executable: false,
            owner: "anna".to_owned(),
            stages: PerSide { a: Some(Staged { arrival: Arrival(1), stage: Stage::File }), b: None },
        })
    }

    /// Commits in one batch; how each was answered.
    fn commit(&mut self, mutations: Vec<Mutation>, names_max: Option<u64>) -> Vec<Result<(), Precondition>> {
        let request = |mutation| Request {
            mutation,
            id: None,
            present: PerSide { a: true, b: false },
            keeping: Some(Keeping { at: Elapsed(1), ..Keeping::default() }),
            quotas: Quotas::default(),
            names_max,
        };
        let requests: Vec<_> = mutations.into_iter().map(request).collect();
        let answers = self.writer.commit(&requests).answers;
        let told = |answer| match answer {
            Ok(_) => Ok(()),
            Err(CommitError::Precondition(reason)) => Err(reason),
            Err(CommitError::InDoubt(why)) => panic!("{why}"),
        };
        answers.into_iter().map(told).collect()
    }

    fn one(&mut self, mutation: Mutation) -> Result<(), Precondition> {
        self.commit(vec![mutation], Some(MOST)).remove(0)
    }

    /// Folders with the names that they have, by listing them.
    fn folders(&self) -> HashMap<NodeId, u64> {
        let (mut found, mut folders) = (HashMap::new(), vec![NodeId::ROOT]);
        while let Some(id) = folders.pop() {
            let children = self.journal.snapshot().children(id, None, 1000).unwrap();
            found.insert(id, children.len() as u64);
            folders.extend(children.into_iter().filter_map(|(_, node)| match node {
                Node::Folder(folder) => Some(folder.id),
                Node::File(_) => None,
            }));
        }
        found
    }

    /// All that is kept in mind is what a listing says.
    fn check(&self) {
        let folders = self.folders();
        for (folder, known) in self.journal.names.0.lock().iter() {
            let Some(names) = folders.get(folder) else {
                assert_eq!(known.names, 0, "a folder that is gone had nothing in it");
                continue;
            };
            assert!(if known.all { known.names == *names } else { known.names <= *names }, "{known:?}, {names}");
        }
    }
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

fn folder(at: &str) -> Mutation {
    Mutation::MakeFolder { path: path(at), parents: Parents::Make, mtime_ns: 0 }
}

fn rename(from: &str, to: &str) -> Mutation {
    Mutation::Move { from: path(from), to: path(to) }
}

fn remove(at: &str) -> Mutation {
    Mutation::Remove { path: path(at) }
}

fn undo(at: &str) -> Mutation {
    Mutation::Restore { path: path(at), lsn: None, mtime_ns: 0 }
}

#[track_caller]
fn is_full(answer: &Result<(), Precondition>, at: &str) {
    assert_eq!(*answer, Err(Precondition::FolderFull { folder: path(at), most: MOST }));
}

#[test]
fn a_folder_gets_as_many_names_as_it_may_have_by_whatever_change() {
    let mut stand = Stand::new();
    let files: Vec<_> = (0..5).map(|number| stand.put(&format!("d/{number}"))).collect();
    let answers = stand.commit(files, Some(MOST));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3, "one batch: {answers:?}");
    is_full(answers.last().unwrap(), "d");
    is_full(&stand.one(folder("d/sub")), "d");
    is_full(&stand.one(folder("d/sub/deep")), "d");
    let other = stand.put("other");
    stand.one(other).unwrap();
    is_full(&stand.one(rename("other", "d/other")), "d");
    let again = stand.put("d/1");
    stand.one(again).unwrap();
    stand.one(rename("d/1", "d/one")).unwrap();
    stand.one(remove("d/one")).unwrap();
    stand.one(rename("other", "d/other")).unwrap();
    is_full(&stand.one(undo("d/one")), "d");
    stand.check();
    stand.one(remove("d/other")).unwrap();
    stand.one(undo("d/one")).unwrap();
    // In the place of what is there.
    let more = stand.put("d/one");
    stand.one(more).unwrap();
    stand.one(undo("d/one")).unwrap();
    // A whole folder is one name, and keeps what is in it.
    stand.one(rename("d", "e")).unwrap();
    is_full(&stand.one(folder("e/sub")), "e");
    stand.check();
}

#[test]
fn the_root_has_a_name_in_the_refusal_too() {
    let mut stand = Stand::new();
    for name in ["a", "b", "c"] {
        stand.one(folder(name)).unwrap();
    }
    let refused = stand.one(folder("d")).unwrap_err();
    assert!(refused.to_string().starts_with("the root has as many names as a folder may have, 3: "), "{refused}");
    assert!(
        stand.journal.refuse_name(&path("d"), (NodeId::ROOT, 0), Some(MOST)).unwrap().is_some(),
        "before a body too"
    );
    assert!(stand.journal.refuse_name(&path("d"), (NodeId::ROOT, 0), None).unwrap().is_none());
}

#[test]
fn what_a_folder_has_beyond_stays_and_is_not_counted_at_each_refusal() {
    let mut stand = Stand::new();
    let files: Vec<_> = (0..40).map(|number| stand.put(&format!("d/{number}"))).collect();
    assert!(stand.commit(files, None).iter().all(Result::is_ok), "what is found on a drive has no limit");
    is_full(&stand.one(folder("d/x")), "d");
    let known = |stand: &Stand| *stand.journal.names.0.lock().values().max_by_key(|known| known.names).unwrap();
    let first = known(&stand);
    assert!(!first.all && first.names < 10, "{first:?}");
    for number in 0..37 {
        is_full(&stand.one(folder("d/x")), "d");
        stand.one(remove(&format!("d/{number}"))).unwrap();
        stand.check();
    }
    is_full(&stand.one(folder("d/x")), "d");
    stand.one(remove("d/37")).unwrap();
    stand.one(folder("d/x")).unwrap();
    assert!(stand.commit(vec![folder("d/y")], Some(MOST + 1)).remove(0).is_ok(), "a limit that was raised");
    is_full(&stand.one(folder("d/z")), "d");
}

/// Any changes in batches of any size, a store that is opened anew in between, and another limit now and then.
#[test]
fn after_any_changes_the_counts_are_those_of_a_listing() {
    let (mut refused, mut taken) = (0, 0);
    for seed in 1..=400_u64 {
        let mut stand = Stand::new();
        let mut state = seed;
        let mut below = |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        for _ in 0..12 {
            let mut batch = Vec::new();
            for _ in 0..=below(5) {
                let mut name = || ["a", "b", "a/x", "a/y", "a/z", "a/v", "a/w", "b/x", "b/y"][below(9) as usize];
                let (first, second) = (name(), name());
                batch.push(match below(8) {
                    0..=2 => stand.put(first),
                    3 => folder(first),
                    4 => rename(first, second),
                    5 | 6 => remove(first),
                    _ => undo(first),
                });
            }
            let most = [Some(MOST), Some(MOST), Some(MOST - 1), None][below(4) as usize];
            for answer in stand.commit(batch, most) {
                match answer {
                    Err(Precondition::FolderFull { .. }) => refused += 1,
                    Ok(()) => taken += 1,
                    Err(_) => {}
                }
            }
            stand.check();
            if below(6) == 0 {
                stand.open_again();
                assert!(stand.journal.names.0.lock().is_empty());
            }
        }
    }
    assert!(refused > 300 && taken > 3000, "{refused} refused, {taken} taken");
}
