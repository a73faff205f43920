#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::digest::Crc32;
use crate::elapsed::Elapsed;
use crate::ids::{Arrival, DriveId, MirrorId, PerSide, Side, Ticket};
use crate::journal::mem_store::{BarrierError, BarrierFault, MemDisk, MemStore};
use crate::journal::record::{Enrolled, Enrolment, Mutation, Overwrite, Parents, Put, Request, Stage, Staged, Version};
use crate::journal::store::{IVec, Pairs, Store};
use crate::journal::trash::Keeping;
use crate::journal::writer::{CommitError, Writer};
use crate::journal::{DriveFact, Journal, Node, Precondition, Quotas, Resolved};
use crate::namespace::Namespace;
use crate::path::RelPath;

const DRIVE: DriveId = DriveId([7; 16]);
const FAT_IS_AWAY: PerSide<Namespace> = PerSide { a: Namespace::Any, b: Namespace::Vfat };

/// Counts the records that are read.
#[derive(Debug)]
struct Counted {
    store: MemStore,
    reads: Arc<AtomicU64>,
}

impl Store for Counted {
    fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.store.get(key)
    }

    fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.store.insert(key, value)
    }

    fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        self.store.remove(key)
    }

    fn scan<'a>(&'a self, from: &[u8], to: &[u8]) -> Pairs<'a> {
        Box::new(self.store.scan(from, to).inspect(|_| {
            self.reads.fetch_add(1, Ordering::Relaxed);
        }))
    }

    fn barrier(&self) -> Result<(), StoreError> {
        self.store.barrier()
    }
}

struct Stand {
    disk: MemDisk,
    journal: Arc<Journal>,
    writer: Writer,
    reads: Arc<AtomicU64>,
}

impl Stand {
    fn new(namespaces: PerSide<Namespace>) -> Self {
        let disk = MemDisk::new();
        let enrolled =
            |side: Side| Enrolled { id: if side == Side::A { DRIVE } else { DriveId([8; 16]) }, place: String::new() };
        let enrolment = Enrolment { mirror: MirrorId([9; 16]), drives: PerSide::new(enrolled), plain: true };
        Writer::create(&disk.open(), &enrolment).unwrap();
        Self::open(disk, namespaces)
    }

    /// A daemon that starts.
    fn open(disk: MemDisk, namespaces: PerSide<Namespace>) -> Self {
        Writer::note_names(&disk.open(), namespaces).unwrap();
        let reads = Arc::new(AtomicU64::new(0));
        let store = Counted { store: disk.open(), reads: Arc::clone(&reads) };
        let (journal, writer) = Writer::open(Arc::new(store)).unwrap();
        let mut stand = Self { disk, journal, writer, reads };
        stand.attach();
        stand
    }

    /// Where something is in doubt the drive stays away, and nothing can be put.
    fn attach(&mut self) {
        self.writer.attach(Side::A, DRIVE, Arrival(1));
    }

    /// The store has failed, or is said to, and is opened again.
    fn open_again(&mut self) {
        self.writer.close();
        self.writer.reopen(Arc::new(self.disk.open())).unwrap();
        self.attach();
    }

    /// What the drives ask of names has changed.
    fn names(&mut self, namespaces: PerSide<Namespace>) {
        for (side, namespace) in namespaces.iter() {
            self.writer.note(&[DriveFact::Names { side, namespace: *namespace }]).unwrap();
        }
    }

    /// Commits in one batch; `None` where nobody knows what became of it.
    fn try_commit(&mut self, mutations: &[Mutation]) -> Option<Vec<Result<(), Precondition>>> {
        let request = |mutation: &Mutation| Request {
            mutation: mutation.clone(),
            id: None,
            present: PerSide { a: true, b: false },
            keeping: Some(Keeping { at: Elapsed(1), ..Keeping::default() }),
            quotas: Quotas::default(),
            names_max: None,
        };
        let requests: Vec<_> = mutations.iter().map(request).collect();
        let answers = self.writer.commit(&requests).answers.into_iter().map(|answer| match answer {
            Ok(_) => Some(Ok(())),
            Err(CommitError::Precondition(reason)) => Some(Err(reason)),
            Err(CommitError::InDoubt(_)) => None,
        });
        answers.collect()
    }

    fn one(&mut self, mutation: &Mutation) -> Result<(), Precondition> {
        self.try_commit(std::slice::from_ref(mutation)).unwrap().remove(0)
    }

    /// As a client's change goes: a look before the body is sent, then the commit. The records that are read.
    fn reads_of(&mut self, mutation: &Mutation) -> u64 {
        let before = self.reads.load(Ordering::Relaxed);
        if let Mutation::Put(put) = mutation
            && let Resolved::Missing { parent, depth } = self.journal.resolve(&put.path).unwrap()
        {
            assert_eq!(self.journal.refuse_name(&put.path, (parent, depth), None).unwrap(), None);
        }
        self.one(mutation).unwrap();
        self.reads.load(Ordering::Relaxed) - before
    }

    fn children(&self, folder: NodeId) -> Vec<Name> {
        let children = self.journal.snapshot().children(folder, None, usize::MAX).unwrap();
        children.into_iter().map(|(name, _)| name).collect()
    }

    fn folder(&self, at: &str) -> NodeId {
        match self.journal.resolve(&path(at)).unwrap() {
            Resolved::Found(_, Node::Folder(folder)) => folder.id,
            found => panic!("{at}: {found:?}"),
        }
    }

    fn knows(&self, at: &str) -> bool {
        self.journal.folded.table.lock().folders.contains_key(&self.folder(at))
    }

    /// By reading all the names: whether the first new name of `to` is one with another there, but for one that moves away.
    fn has_alike(&self, to: &RelPath, from: Option<&RelPath>) -> bool {
        let Resolved::Missing { parent, depth } = self.journal.resolve(to).unwrap() else { return false };
        let leaving = from.map(|from| self.journal.resolve(from).unwrap()).and_then(|found| match found {
            Resolved::Found(place, _) if place.parent == parent => Some(place.name),
            _ => None,
        });
        let new = folded(to.names()[depth].as_str());
        self.children(parent).iter().any(|name| folded(name.as_str()) == new && Some(name) != leaving.as_ref())
    }

    /// All that is kept in mind is what a listing says, and is counted.
    fn check(&self) {
        let table = self.journal.folded.table.lock();
        let bytes: usize = table.folders.values().map(Folder::bytes).sum();
        assert!(table.bytes == bytes && bytes <= table.bytes_max, "{} {bytes} {}", table.bytes, table.bytes_max);
        assert_eq!(table.order.len(), table.folders.len());
        for (id, folder) in &table.folders {
            assert_eq!(table.order.get(&folder.used), Some(id));
            let hashes =
                self.children(*id).into_iter().map(|name| self.journal.folded.hasher.hash_one(folded(name.as_str())));
            let hashes: BTreeSet<_> = hashes.collect();
            assert!(hashes.is_subset(&folder.hashes), "a name that there is was lost");
            assert!(
                folder.hashes.difference(&hashes).all(|hash| folder.shared.contains(hash)),
                "one that is gone stayed"
            );
        }
    }

    fn set_bytes_max(&self, bytes_max: usize) {
        self.journal.folded.table.lock().bytes_max = bytes_max;
    }
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

fn put(at: &str, number: u64) -> Mutation {
    Mutation::Put(Put {
        path: path(at),
        overwrite: Overwrite::Yes,
        version: Version {
            ticket: Ticket::new(crate::ids::Nonce([7; 8]), number),
            size: number,
            crc32: Crc32(number as u32),
        },
        blocks: vec![Crc32(0)],
        mtime_ns: 0,
        executable: false,
        owner: "anna".to_owned(),
        stages: PerSide { a: Some(Staged { arrival: Arrival(1), stage: Stage::File }), b: None },
    })
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

/// Where a new name of a mutation would be, and where what gets it is now.
fn new_name(mutation: &Mutation) -> Option<(&RelPath, Option<&RelPath>)> {
    match mutation {
        Mutation::Put(put) => Some((&put.path, None)),
        Mutation::MakeFolder { path, .. } | Mutation::Restore { path, .. } => Some((path, None)),
        Mutation::Move { from, to } => Some((to, Some(from))),
        Mutation::Remove { .. } | Mutation::Purge { .. } => None,
    }
}

fn is_same_but_case(answer: &Result<(), Precondition>) -> bool {
    matches!(answer, Err(Precondition::SameButCase { .. }))
}

/// A folder `d` with so many names, made while nobody folded case.
fn with_names(names: u64, namespaces: PerSide<Namespace>) -> Stand {
    let mut stand = Stand::new(PerSide::default());
    let files: Vec<_> = (0..names).map(|number| put(&format!("d/Name {number}"), number)).collect();
    assert!(stand.try_commit(&files).unwrap().iter().all(Result::is_ok));
    stand.names(namespaces);
    stand
}

#[test]
fn a_new_name_reads_as_many_records_in_a_large_folder_as_in_a_small_one() {
    let changes = [
        put("d/new", 1),
        put("d/new", 2),
        folder("d/sub"),
        rename("d/new", "d/newer"),
        rename("d/newer", "d/NEWER"),
        remove("d/NEWER"),
        put("d/newer", 3),
        rename("d/sub", "sub"),
        rename("sub", "d/Sub"),
        remove("d/newer"),
        undo("d/newer"),
    ];
    let reads = |names, namespaces| {
        let mut stand = with_names(names, namespaces);
        let first = stand.reads_of(&put("d/first", 1));
        (first, changes.each_ref().map(|change| stand.reads_of(change)), stand)
    };
    let (small, large) = (reads(10, FAT_IS_AWAY), reads(10_000, FAT_IS_AWAY));
    assert!(large.0 > 2 * 10_000 && small.0 < 100, "read whole at first: {} {}", small.0, large.0);
    assert_eq!(small.1, large.1);
    assert!(large.2.knows("d"));
    large.2.check();
    let (small, large) = (reads(10, PerSide::default()), reads(10_000, PerSide::default()));
    assert_eq!((small.0, small.1), (large.0, large.1), "where nobody folds case nothing is read whole");
    assert!(large.2.journal.folded.table.lock().folders.is_empty());
}

#[test]
fn a_name_that_there_is_in_another_case_is_refused_in_a_batch_and_before_its_body_too() {
    let mut stand = with_names(3, FAT_IS_AWAY);
    let answers = stand.try_commit(&[put("d/x", 1), put("d/X", 2), remove("d/x"), put("d/X", 3), folder("D")]).unwrap();
    assert_eq!(answers.iter().map(is_same_but_case).collect::<Vec<_>>(), [false, true, false, false, true]);
    let d = stand.folder("d");
    for (name, other) in [("d/x", Some("X")), ("d/NAME 2", Some("Name 2")), ("d/name 4", None)] {
        let refused = stand.journal.refuse_name(&path(name), (d, 1), None).unwrap();
        let found = refused.map(|reason| match reason {
            Precondition::SameButCase { other, .. } => other.as_str().to_owned(),
            reason => panic!("{reason}"),
        });
        assert_eq!(found.as_deref(), other, "{name}");
    }
    stand.check();
}

#[test]
fn of_names_that_were_alike_before_anybody_minded_neither_is_forgotten() {
    let mut stand = Stand::new(PerSide::default());
    for at in ["d/s", "d/S"] {
        stand.one(&folder(at)).unwrap();
    }
    stand.names(FAT_IS_AWAY);
    stand.one(&folder("d/x")).unwrap();
    assert!(stand.knows("d"));
    assert!(is_same_but_case(&stand.one(&rename("d/s", "d/ſ"))), "the other one is still there");
    stand.one(&remove("d/S")).unwrap();
    assert!(is_same_but_case(&stand.one(&folder("d/S"))));
    stand.one(&rename("d/s", "d/ſ")).unwrap();
    stand.one(&remove("d/ſ")).unwrap();
    stand.one(&folder("d/S")).unwrap();
    stand.check();
}

#[test]
fn what_is_known_has_a_bound_and_the_folder_that_was_not_used_for_longest_goes() {
    let mut stand = Stand::new(FAT_IS_AWAY);
    for at in ["a/1", "b/1", "c/1"] {
        stand.one(&folder(at)).unwrap();
    }
    let of = |folders: usize, names: usize| folders * FOLDER_BYTES + names * NAME_BYTES;
    stand.journal.folded.forget();
    stand.set_bytes_max(of(2, 6));
    let known = |stand: &Stand| ["a", "b", "c"].map(|at| stand.knows(at));
    stand.one(&folder("a/2")).unwrap();
    stand.one(&folder("b/2")).unwrap();
    stand.one(&folder("a/3")).unwrap();
    assert_eq!(known(&stand), [true, true, false]);
    stand.one(&folder("c/2")).unwrap();
    assert_eq!(known(&stand), [true, false, true]);
    // One that grows beyond what there is goes itself in the end, and is read for each new name.
    for number in 0..100 {
        stand.one(&folder(&format!("c/n{number}"))).unwrap();
        stand.check();
    }
    assert_eq!(known(&stand), [false, false, false]);
    assert!(is_same_but_case(&stand.one(&folder("c/N7"))));
}

/// Any changes in batches of any size, by drives that fold case and by such that do not, with barriers that fail and a store
/// that is opened anew in between: each is answered as a journal says that folds nothing, and a look at all the names there.
#[test]
fn after_any_changes_a_name_is_refused_where_a_listing_has_one_alike_and_nowhere_else() {
    const NAMES: [&str; 16] = [
        "d",
        "D",
        "e",
        "d/a",
        "d/A",
        "d/b",
        "d/B",
        "d/s",
        "d/S",
        "d/ſ",
        "D/a",
        "D/A",
        "e/k",
        "e/K",
        "e/\u{212a}",
        "e/d/x",
    ];
    let (mut refused, mut taken, mut cuts, mut known, mut shared) = (0, 0, 0, 0, 0);
    for seed in 1..=400_u64 {
        let mut stand = Stand::new(FAT_IS_AWAY);
        let mut model = Stand::new(PerSide::default());
        let (mut state, mut tickets, mut folds) = (seed, 0, true);
        let mut below = |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        let bounds = [BYTES_MAX, BYTES_MAX, FOLDER_BYTES * 2 + NAME_BYTES * 4, FOLDER_BYTES + NAME_BYTES * 2];
        stand.set_bytes_max(bounds[below(4) as usize]);
        for _ in 0..14 {
            let mut batch = Vec::new();
            for _ in 0..=below(5) {
                let mut name = || NAMES[below(NAMES.len() as u64) as usize];
                let (first, second) = (name(), name());
                tickets += 1;
                batch.push(match below(8) {
                    0 | 1 => put(first, tickets),
                    2 | 3 => folder(first),
                    4 | 5 => rename(first, second),
                    6 => remove(first),
                    _ => undo(first),
                });
            }
            if below(8) == 0 {
                let survivors = below(12) as usize;
                stand.disk.fail_barrier(BarrierFault { error: BarrierError::Io, survivors, after: 0 });
            }
            if let Some(answers) = stand.try_commit(&batch) {
                stand.disk.clear_fault();
                for (mutation, answer) in batch.iter().zip(answers) {
                    let alike = folds && new_name(mutation).is_some_and(|(to, from)| model.has_alike(to, from));
                    if is_same_but_case(&answer) {
                        assert!(alike, "seed {seed}: {mutation:?}");
                        refused += 1;
                    } else {
                        let unfolded = model.one(mutation);
                        assert_eq!(answer, unfolded, "seed {seed}: {mutation:?}");
                        assert!(!alike || answer.is_err(), "seed {seed}: {mutation:?}");
                        taken += u32::from(answer.is_ok());
                    }
                }
            } else {
                cuts += 1;
                stand.open_again();
                // How much of it was done, and of what the drives said lately, the journal knows.
                folds = stand.journal.namespaces().unwrap().b.folds_case();
                model = Stand::open(stand.disk.fork(), PerSide::default());
            }
            stand.check();
            for at in NAMES {
                let to = path(at);
                let Resolved::Missing { parent, depth } = stand.journal.resolve(&to).unwrap() else { continue };
                let early = stand.journal.refuse_name(&to, (parent, depth), None).unwrap();
                assert_eq!(early.is_some(), folds && stand.has_alike(&to, None), "seed {seed}: {at}");
            }
            {
                let table = stand.journal.folded.table.lock();
                known += table.folders.len();
                shared += table.folders.values().map(|folder| folder.shared.len()).sum::<usize>();
            }
            match below(24) {
                0 => {
                    stand.open_again();
                    model = Stand::open(stand.disk.fork(), PerSide::default());
                }
                1..=3 => {
                    folds = !folds;
                    stand.names(if folds { FAT_IS_AWAY } else { PerSide::default() });
                    assert!(stand.journal.folded.table.lock().folders.is_empty());
                }
                _ => {}
            }
        }
    }
    assert!(
        refused > 300 && taken > 3000 && cuts > 100 && known > 1000 && shared > 50,
        "{refused} refused, {taken} taken, {cuts} cuts, {known} folders known, {shared} names shared"
    );
}
