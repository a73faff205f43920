#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::digest::Crc32;
use crate::elapsed::Elapsed;
use crate::ids::{Arrival, DriveId, MirrorId, PerSide, Side, Ticket};
use crate::journal::mem_store::MemDisk;
use crate::journal::record::{Enrolled, Enrolment, Mutation, Overwrite, Put, Receipt, Request, Stage, Staged, Version};
use crate::journal::trash::Keeping;
use crate::journal::writer::{CommitError, Writer};
use crate::journal::{Attached, Journal};

impl Journal {
    /// What is on record is the fold of the catalog.
    pub(crate) fn check_usage(&self) {
        let snapshot = self.snapshot();
        let Ok(store) = snapshot.store() else { return };
        let mut counted = BTreeMap::new();
        let space = codec::all(Space::Node);
        for (key, value) in store.scan(&space, &codec::end_of(&space)).map(Result::unwrap) {
            let place = Place::new(NodeId(codec::number_of(&key).unwrap()), codec::name_of(&key).unwrap());
            fold(&mut counted, &place, &codec::decode(&key, &value).unwrap());
        }
        assert_eq!(all(store.as_ref()).unwrap(), counted);
    }
}

const DRIVE: DriveId = DriveId([7; 16]);
const USERS: [(&str, u64); 2] = [("anna", 100), ("bob", 57)];
const PATHS: [&str; 5] = ["a", "b", "c", "d/e", "d/f"];

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
        stand.attach();
        stand
    }

    fn attach(&mut self) {
        let attached = self.writer.attach(Side::A, DRIVE, Arrival(1));
        assert!(matches!(attached, Attached::Yes));
    }

    /// A power cut, and what comes after it.
    fn cut(&mut self) {
        let mut lost = self.tickets as usize;
        self.disk.crash(&mut |most| {
            lost = lost.wrapping_mul(31) % most.max(1);
            lost
        });
        (self.journal, self.writer) = Writer::open(Arc::new(self.disk.open())).unwrap();
        // No lane was at work: what is in doubt on the drives is none of this test's business.
    }

    fn request(&mut self, act: &Act) -> Request {
        let mutation = match *act {
            Act::Put(user, path, size) => {
                self.tickets += 1;
                let ticket = Ticket::new(self.writer.nonce().unwrap(), self.tickets);
                let staged = Staged { arrival: Arrival(1), stage: Stage::File };
                let put = Put {
                    path: path_of(path),
                    overwrite: Overwrite::Yes,
                    version: Version { ticket, size, crc32: Crc32(self.tickets as u32) },
                    blocks: vec![Crc32(0)],
                    mtime_ns: 0,
                    executable: false,
                    owner: USERS[user].0.to_owned(),
                    stages: PerSide { a: Some(staged), b: None },
                };
                Mutation::Put(put)
            }
            Act::Remove(path) => Mutation::Remove { path: path_of(path) },
            Act::Restore(path) => Mutation::Restore { path: path_of(path), lsn: None, mtime_ns: 0 },
            Act::Move(from, to) => Mutation::Move { from: path_of(from), to: path_of(to) },
            Act::Cut => unreachable!("it is no request"),
        };
        self.tickets += 1;
        Request {
            mutation,
            id: None,
            present: PerSide { a: true, b: false },
            keeping: Some(Keeping { at: Elapsed(self.tickets * 1000), ..Keeping::default() }),
            quotas: Quotas(Arc::new(USERS.map(|(owner, bytes)| (owner.to_owned(), bytes)).into())),
            names_max: None,
        }
    }

    fn commit(&mut self, acts: &[Act]) -> Vec<Result<Receipt, CommitError>> {
        let requests: Vec<_> = acts.iter().map(|act| self.request(act)).collect();
        self.writer.commit(&requests).answers
    }

    fn used(&self, user: usize) -> u64 {
        self.journal.usage(USERS[user].0).unwrap().bytes
    }
}

fn path_of(path: usize) -> RelPath {
    RelPath::parse(PATHS[path]).unwrap()
}

#[derive(Clone, Debug)]
enum Act {
    /// By a user, to a path, so many bytes.
    Put(usize, usize, u64),
    Remove(usize),
    Restore(usize),
    Move(usize, usize),
    Cut,
}

fn act() -> impl Strategy<Value = Act> {
    let (user, path) = (0..USERS.len(), 0..PATHS.len());
    prop_oneof![
        12 => (user, path.clone(), 0..60_u64).prop_map(|(user, path, size)| Act::Put(user, path, size)),
        4 => path.clone().prop_map(Act::Remove),
        4 => path.clone().prop_map(Act::Restore),
        2 => (path.clone(), path).prop_map(|(from, to)| Act::Move(from, to)),
        1 => Just(Act::Cut),
    ]
}

fn is_over(answer: &Result<Receipt, CommitError>) -> bool {
    matches!(answer, Err(CommitError::Precondition(Precondition::Quota { .. })))
}

proptest! {
    /// Whatever comes together in one batch, and whoever brings a file back.
    #[test]
    fn no_history_takes_anybody_past_the_quota(
        batches in proptest::collection::vec(proptest::collection::vec(act(), 1..6), 1..20)
    ) {
        let mut stand = Stand::new();
        for batch in batches {
            if batch.iter().any(|act| matches!(act, Act::Cut)) {
                stand.cut();
                stand.journal.check_usage();
                continue;
            }
            let before = [stand.used(0), stand.used(1)];
            if stand.writer.attach(Side::A, DRIVE, Arrival(1)) != Attached::Yes {
                break;
            }
            stand.commit(&batch);
            stand.journal.check_usage();
            for (user, (_, limit)) in USERS.into_iter().enumerate() {
                prop_assert!(stand.used(user) <= limit.max(before[user]));
            }
        }
    }
}

#[test]
fn what_fits_is_taken_and_what_does_not_is_refused_to_the_byte() {
    let mut stand = Stand::new();
    // One batch: each sees those before it.
    let answers = stand.commit(&[Act::Put(0, 0, 60), Act::Put(0, 1, 41), Act::Put(0, 1, 40), Act::Put(0, 2, 1)]);
    assert_eq!(answers.iter().map(is_over).collect::<Vec<_>>(), [false, true, false, true]);
    assert_eq!(stand.used(0), 100);
    // What is overwritten gives its bytes back in the same entry, and what is removed does.
    assert!(stand.commit(&[Act::Put(0, 0, 60)])[0].is_ok());
    assert!(is_over(&stand.commit(&[Act::Put(0, 0, 61)])[0]));
    assert!(stand.commit(&[Act::Remove(0), Act::Put(0, 2, 60)]).iter().all(Result::is_ok));
    // What comes back from the trash must fit, too.
    assert!(is_over(&stand.commit(&[Act::Restore(0)])[0]));
    assert!(stand.commit(&[Act::Remove(2), Act::Restore(0)]).iter().all(Result::is_ok));
    // A file that another one puts is his.
    assert!(stand.commit(&[Act::Put(1, 1, 57)])[0].is_ok());
    assert_eq!([stand.used(0), stand.used(1)], [60, 57]);
    stand.journal.check_usage();
}

#[test]
fn a_journal_that_never_counted_is_counted_at_its_next_start() {
    let mut stand = Stand::new();
    stand.commit(&[Act::Put(0, 0, 7), Act::Put(1, 3, 9), Act::Put(0, 4, 5), Act::Remove(4)]);
    let store = stand.disk.open();
    for key in [codec::usage("anna"), codec::usage("bob"), codec::meta(Fact::UsageCounted)] {
        store.remove(&key).unwrap();
    }
    let (journal, _) = Writer::open(Arc::new(store)).unwrap();
    assert_eq!(journal.usage("anna").unwrap(), Usage { files: 1, bytes: 7 });
    assert_eq!(journal.usage("bob").unwrap(), Usage { files: 1, bytes: 9 });
    journal.check_usage();
}
