//! The world that the model test steps: two sticks, a boot disk, one daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::single_match_else, reason = "tests")]

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::digest::{Crc32, Digester};
use crate::ids::{Arrival, DriveId, Lsn, MirrorId, PerSide, RequestId, Side, Ticket};
use crate::journal::mem_store::{BarrierError, BarrierFault, MemDisk};
use crate::journal::{
    CommitError, DriveFact, Enrolled, Enrolment, Journal, Mutation, Node, Parents, Precondition, Put, Receipt,
    Released, Request, Resolved, Stage, Staged, Version, Writer,
};
use crate::mirror::content::pour;
use crate::mirror::drive_log::{Append, DriveLog, Record};
use crate::mirror::lane::{Lane, LaneError, reclaim};
use crate::mirror::model::oracle::{Oracle, Thing, Verdict};
use crate::mirror::sim_volume::{CallKind, Fault, SimDisk};
use crate::mirror::stage::StageFile;
use crate::mirror::volume::{Attributes, Disposition, FsKind, Volume, VolumeError};
use crate::mirror::{layout, places};
use crate::path::RelPath;

const CAPACITY: u64 = 1 << 30;
const STEPS_MAX: usize = 400;

/// How a PUT's bytes are staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Log,
    File,
}

struct Drive {
    arrival: Arrival,
    volume: Arc<dyn Volume>,
    log: DriveLog,
    lane: Lane,
}

/// A PUT whose bytes are staged and not committed.
pub(super) struct Upload {
    path: String,
    bytes: Vec<u8>,
    version: Version,
    stages: PerSide<Option<Staged>>,
}

/// A mutation that is committed while a lane is at work.
#[derive(Clone, Debug)]
pub(super) enum Amid {
    /// The oldest upload.
    Put,
    Remove(&'static str),
    MakeFolder(&'static str),
    Move(&'static str, &'static str),
}

pub(super) struct World {
    store: MemDisk,
    writer: Arc<Mutex<Writer>>,
    journal: Arc<Journal>,
    disks: PerSide<SimDisk>,
    drives: PerSide<Option<Drive>>,
    arrivals: u64,
    tickets: u64,
    uploads: Vec<Upload>,
    random: u64,
    pub(super) oracle: Oracle,
    /// Whether reads may fail by themselves: then a present holder may be passed over for a while.
    bad_reads: bool,
}

fn drive_id(side: Side) -> DriveId {
    DriveId([side.index() as u8 + 1; 16])
}

impl World {
    pub(super) fn new(kind: FsKind, seed: u64) -> Self {
        let store = MemDisk::new();
        let enrolled = |side| Enrolled { id: drive_id(side), place: String::new() };
        let enrolment = Enrolment { mirror: MirrorId([9; 16]), drives: PerSide::new(enrolled), plain: true };
        Writer::create(&store.open(), &enrolment).unwrap();
        let (journal, writer) = Writer::open(Arc::new(store.open())).unwrap();
        let mut world = Self {
            store,
            writer: Arc::new(Mutex::new(writer)),
            journal,
            disks: PerSide { a: SimDisk::new(kind, CAPACITY), b: SimDisk::new(kind, CAPACITY) },
            drives: PerSide { a: None, b: None },
            arrivals: 0,
            tickets: 0,
            uploads: Vec::new(),
            random: seed | 1,
            oracle: Oracle::default(),
            bad_reads: false,
        };
        world.arrive(Side::A);
        world.arrive(Side::B);
        world
    }

    fn choose(&mut self) -> impl FnMut(usize) -> usize + use<> {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut state = self.random;
        move |n| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if n == 0 { 0 } else { (state % n as u64) as usize }
        }
    }

    pub(super) fn is_present(&self, side: Side) -> bool {
        self.drives.get(side).is_some()
    }

    // Drives coming and going.

    pub(super) fn pull(&mut self, side: Side) {
        self.disks.get(side).pull();
        self.lose(side);
    }

    fn lose(&mut self, side: Side) {
        self.disks.get(side).pull();
        *self.drives.get_mut(side) = None;
        self.writer.lock().detach(side);
    }

    pub(super) fn bring_back(&mut self, side: Side) {
        if self.disks.get(side).is_pulled() {
            let mut choice = self.choose();
            self.disks.get(side).reinsert(&mut choice);
        }
        if !self.is_present(side) {
            self.arrive(side);
        }
    }

    fn arrive(&mut self, side: Side) {
        let exposed = self.writer.lock().detach(side);
        self.arrivals += 1;
        let arrival = Arrival(self.arrivals);
        let volume: Arc<dyn Volume> = Arc::new(self.disks.get(side).mount().unwrap());
        let arrived = match reclaim(&self.journal, volume.as_ref(), side, exposed, 0) {
            Ok(arrived) => arrived,
            Err(LaneError::Volume(_)) => return self.lose(side),
            Err(LaneError::Store(error)) => panic!("{error}"),
        };
        let noted = self.writer.lock().note(&arrived.facts);
        let durable = self.writer.lock().barrier();
        let (Ok(released), Ok(())) = (noted, durable) else { return self.reopen() };
        let log = DriveLog::begin(Arc::clone(&volume), drive_id(side), arrival, arrived.staged);
        let Ok(log) = log else { return self.lose(side) };
        let lane = Lane::new(side, arrival, Arc::clone(&self.journal), Arc::clone(&volume));
        self.writer.lock().attach(side, arrival);
        *self.drives.get_mut(side) = Some(Drive { arrival, volume, log, lane });
        self.release(&released);
        self.reclaim_log(side);
        self.forget_stays();
    }

    fn forget_stays(&mut self) {
        for side in Side::BOTH {
            if let Some(drive) = self.drives.get_mut(side) {
                drive.lane.forget_stays();
            }
        }
    }

    /// The journal failed: it is opened again, and what the lanes did meanwhile is found out anew.
    fn reopen(&mut self) {
        self.writer.lock().close();
        self.store.clear_fault();
        let mut choice = self.choose();
        self.store.crash(&mut choice);
        self.writer.lock().reopen(Arc::new(self.store.open())).unwrap();
        self.come_again();
    }

    fn come_again(&mut self) {
        self.drives = PerSide { a: None, b: None };
        for side in Side::BOTH {
            self.writer.lock().detach(side);
            if !self.disks.get(side).is_pulled() {
                self.arrive(side);
            }
        }
    }

    /// kill -9: what the store had not flushed is gone, the sticks keep what they were told.
    pub(super) fn kill(&mut self) {
        let mut choice = self.choose();
        self.store.crash(&mut choice);
        self.start();
    }

    pub(super) fn cut_power(&mut self) {
        for side in Side::BOTH {
            let mut choice = self.choose();
            self.disks.get(side).crash(&mut choice);
        }
        self.kill();
    }

    fn start(&mut self) {
        self.store.clear_fault();
        self.uploads.clear();
        for side in Side::BOTH {
            self.disks.get(side).clear_faults();
        }
        let (journal, writer) = Writer::open(Arc::new(self.store.open())).unwrap();
        self.journal = journal;
        self.writer = Arc::new(Mutex::new(writer));
        self.come_again();
    }

    pub(super) fn fail_next(&mut self, side: Side, nth: u64, kind: CallKind) {
        let disposition = match kind {
            CallKind::Read | CallKind::Look => Disposition::BadRead,
            CallKind::Write | CallKind::Name | CallKind::Sync | CallKind::Probe => Disposition::DriveLost,
        };
        self.bad_reads |= disposition == Disposition::BadRead;
        self.disks.get(side).fail_nth(nth, Some(kind), Fault::Once(disposition));
    }

    pub(super) fn pull_within(&mut self, side: Side, nth: u64) {
        self.disks.get(side).fail_nth(nth, None, Fault::Pull);
    }

    pub(super) fn fail_barrier(&mut self, survivors: usize) {
        self.store.fail_barrier(BarrierFault { error: BarrierError::Io, survivors });
    }

    // Mutations.

    pub(super) fn stage(&mut self, path: &str, bytes: &[u8], way: Way) -> Option<Upload> {
        let nonce = self.writer.lock().nonce().unwrap();
        self.tickets += 1;
        let mut digester = Digester::default();
        digester.update(bytes);
        let digest = digester.finish();
        let ticket = Ticket::new(nonce, self.tickets);
        let version = Version { ticket, size: digest.size, crc32: digest.whole };
        let mut stages = PerSide::default();
        for side in Side::BOTH {
            match self.stage_on(side, path, bytes, version, way) {
                None => {}
                Some(Ok(stage)) => *stages.get_mut(side) = Some(stage),
                Some(Err(_)) => self.lose(side),
            }
        }
        let any = stages != PerSide::default();
        any.then(|| Upload { path: path.to_owned(), bytes: bytes.to_vec(), version, stages })
    }

    fn stage_on(
        &mut self,
        side: Side,
        path: &str,
        bytes: &[u8],
        version: Version,
        way: Way,
    ) -> Option<Result<Staged, VolumeError>> {
        let drive = self.drives.get_mut(side).as_mut()?;
        let arrival = drive.arrival;
        let stage = match way {
            Way::Log => {
                let record = Record::Payload {
                    path: path.to_owned(),
                    owner: String::new(),
                    version,
                    mtime_ns: 5,
                    executable: false,
                };
                let append = Append { record, payload: Bytes::copy_from_slice(bytes) };
                drive.log.append(&[append]).map(|stages| stages[0])
            }
            Way::File => stage_file(drive, bytes, version.ticket),
        };
        Some(stage.map(|stage| Staged { arrival, stage }))
    }

    pub(super) fn keep(&mut self, upload: Option<Upload>) {
        self.uploads.extend(upload);
    }

    pub(super) fn commit_oldest(&mut self) {
        if !self.uploads.is_empty() {
            let upload = self.uploads.remove(0);
            self.commit_put(upload);
        }
    }

    pub(super) fn put(&mut self, path: &str, bytes: &[u8], way: Way) {
        if let Some(upload) = self.stage(path, bytes, way) {
            self.commit_put(upload);
        }
    }

    pub(super) fn commit_put(&mut self, upload: Upload) {
        let answer = self.commit(mutation_of(&upload), None);
        self.take_put(upload, answer);
    }

    fn take_put(&mut self, upload: Upload, answer: Result<Receipt, CommitError>) {
        let Upload { path, bytes, version, stages } = upload;
        let verdict = self.oracle.judge_put(&path);
        match answer {
            Ok(receipt) => {
                assert_eq!(verdict, Verdict::Done, "put {path}");
                self.oracle.put(&path, &bytes, &receipt.drives);
            }
            Err(CommitError::Precondition(Precondition::NoStage)) => {
                let there = |side: Side| self.drives.get(side).as_ref().map(|drive| drive.arrival);
                let usable = |(side, staged): (Side, &Option<Staged>)| {
                    staged.is_some_and(|staged| Some(staged.arrival) == there(side))
                };
                assert!(!stages.iter().any(usable), "put {path}: refused though a drive has the bytes");
            }
            Err(CommitError::Precondition(reason)) => assert_eq!(verdict, verdict_of(&reason), "put {path}"),
            Err(CommitError::InDoubt(_)) => {
                self.reopen();
                if let Resolved::Found(_, Node::File(file)) = self.resolve(&path)
                    && file.version == version
                {
                    let drives: Vec<_> =
                        Side::BOTH.into_iter().filter(|side| file.copies.get(*side).is_durable()).collect();
                    self.oracle.put(&path, &bytes, &drives);
                } else if verdict == Verdict::Done {
                    // Folders above are entries of their own, and may have come through alone.
                    self.take_in_folders(&path);
                }
            }
        }
    }

    fn take_in_folders(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            if let Resolved::Found(_, Node::Folder(_)) = self.resolve(&path[..at]) {
                self.oracle.make_folder(&path[..at]);
            }
        }
    }

    pub(super) fn remove(&mut self, path: &str) {
        let answer = self.commit(Mutation::Remove { path: RelPath::parse(path).unwrap() }, None);
        self.take_removal(path, answer);
    }

    fn take_removal(&mut self, path: &str, answer: Result<Receipt, CommitError>) {
        let verdict = self.oracle.judge_remove(path);
        match answer {
            Ok(_) => {
                assert_eq!(verdict, Verdict::Done, "remove {path}");
                self.oracle.remove(path);
            }
            Err(CommitError::Precondition(reason)) => assert_eq!(verdict, verdict_of(&reason), "remove {path}"),
            Err(CommitError::InDoubt(_)) => {
                self.reopen();
                if !matches!(self.resolve(path), Resolved::Found(..)) {
                    self.oracle.remove(path);
                }
            }
        }
    }

    pub(super) fn make_folder(&mut self, path: &str) {
        let made = RelPath::parse(path).unwrap();
        let answer = self.commit(Mutation::MakeFolder { path: made, parents: Parents::Make, mtime_ns: 0 }, None);
        self.take_folder(path, answer);
    }

    fn take_folder(&mut self, path: &str, answer: Result<Receipt, CommitError>) {
        let verdict = self.oracle.judge_folder(path);
        match answer {
            Ok(_) => {
                assert_eq!(verdict, Verdict::Done, "mkdir {path}");
                self.oracle.make_folder(path);
            }
            Err(CommitError::Precondition(reason)) => assert_eq!(verdict, verdict_of(&reason), "mkdir {path}"),
            Err(CommitError::InDoubt(_)) => {
                self.reopen();
                self.take_in_folders(&format!("{path}/"));
            }
        }
    }

    pub(super) fn move_to(&mut self, from: &str, to: &str) {
        let mutation = Mutation::Move { from: RelPath::parse(from).unwrap(), to: RelPath::parse(to).unwrap() };
        let answer = self.commit(mutation, None);
        self.take_move(from, to, answer);
    }

    fn take_move(&mut self, from: &str, to: &str, answer: Result<Receipt, CommitError>) {
        let verdict = self.oracle.judge_move(from, to);
        match answer {
            Ok(_) => {
                assert_eq!(verdict, Verdict::Done, "move {from} {to}");
                self.oracle.move_to(from, to);
            }
            Err(CommitError::Precondition(reason)) => assert_eq!(verdict, verdict_of(&reason), "move {from} {to}"),
            Err(CommitError::InDoubt(_)) => {
                self.reopen();
                if verdict == Verdict::Done && matches!(self.resolve(to), Resolved::Found(..)) {
                    self.oracle.move_to(from, to);
                }
            }
        }
    }

    /// A mutation with an id, sent twice: one effect, one answer.
    pub(super) fn make_folder_twice(&mut self, path: &str, id: &str) -> (Receipt, Receipt) {
        let send = |world: &mut Self| {
            let path = RelPath::parse(path).unwrap();
            let mutation = Mutation::MakeFolder { path, parents: Parents::MustExist, mtime_ns: 0 };
            world.commit(mutation, RequestId::parse(id)).unwrap()
        };
        let first = send(self);
        self.oracle.make_folder(path);
        self.kill();
        (first, send(self))
    }

    /// Steps a lane, and commits mutations between two of its calls to the drive, as other threads do.
    pub(super) fn step_amid(&mut self, side: Side, nth: u64, amid: &[Amid]) {
        self.store.clear_fault();
        let mut uploads = Vec::new();
        let mut requests = Vec::new();
        let present = PerSide::new(|side| self.is_present(side));
        for item in amid {
            let path = |path: &str| RelPath::parse(path).unwrap();
            let mutation = match item {
                Amid::Put if self.uploads.is_empty() => continue,
                Amid::Put => {
                    let upload = self.uploads.remove(0);
                    let mutation = mutation_of(&upload);
                    uploads.push(upload);
                    mutation
                }
                Amid::Remove(at) => Mutation::Remove { path: path(at) },
                Amid::MakeFolder(at) => Mutation::MakeFolder { path: path(at), parents: Parents::Make, mtime_ns: 0 },
                Amid::Move(from, to) => Mutation::Move { from: path(from), to: path(to) },
            };
            requests.push((item.clone(), Request { mutation, id: None, present }));
        }
        let (items, requests): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        let done = Arc::new(Mutex::new(None));
        let (slot, writer, sent) = (Arc::clone(&done), Arc::clone(&self.writer), requests.clone());
        self.disks.get(side).before_nth(nth, move || *slot.lock() = Some(writer.lock().commit(&sent)));
        self.step(side);
        self.disks.get(side).clear_interlude();
        let committed = done.lock().take();
        let committed = committed.unwrap_or_else(|| self.writer.lock().commit(&requests));
        self.release(&committed.released);
        let mut uploads = uploads.into_iter();
        for (item, answer) in items.into_iter().zip(committed.answers) {
            match item {
                Amid::Put => self.take_put(uploads.next().unwrap(), answer),
                Amid::Remove(path) => self.take_removal(path, answer),
                Amid::MakeFolder(path) => self.take_folder(path, answer),
                Amid::Move(from, to) => self.take_move(from, to, answer),
            }
        }
    }

    fn commit(&mut self, mutation: Mutation, id: Option<RequestId>) -> Result<Receipt, CommitError> {
        let present = PerSide::new(|side| self.is_present(side));
        let mut committed = self.writer.lock().commit(&[Request { mutation, id, present }]);
        self.release(&committed.released);
        committed.answers.remove(0)
    }

    fn release(&mut self, released: &[Released]) {
        for item in released {
            let Some(drive) = self.drives.get_mut(item.side) else { continue };
            match item.stage {
                Stage::Log { arrival, segment, .. } => drive.log.release(arrival, segment, item.ticket),
                Stage::File => match drive.volume.remove_file(&layout::stage(item.ticket)) {
                    Err(error) if error.disposition == Disposition::DriveLost => self.lose(item.side),
                    Ok(()) | Err(_) => {}
                },
            }
        }
    }

    // Lanes.

    pub(super) fn step(&mut self, side: Side) -> bool {
        let peer = self.drives.get(side.other()).as_ref().map(|drive| Arc::clone(&drive.volume));
        let Some(drive) = self.drives.get_mut(side) else { return false };
        let step = match drive.lane.step(peer, 0) {
            Ok(step) => step,
            Err(LaneError::Volume(_)) => {
                self.lose(side);
                return true;
            }
            Err(LaneError::Store(error)) => panic!("{error}"),
        };
        if step.peer_error.as_ref().is_some_and(|error| error.disposition == Disposition::DriveLost) {
            self.lose(side.other());
        }
        let noted = self.writer.lock().note(&step.facts);
        match noted {
            Ok(released) => self.release(&released),
            Err(_) => {
                self.reopen();
                return true;
            }
        }
        if step.barrier && self.writer.lock().barrier().is_err() {
            self.reopen();
        }
        self.reclaim_log(side);
        step.seen > 0
    }

    fn reclaim_log(&mut self, side: Side) {
        if let Some(drive) = self.drives.get_mut(side)
            && drive.log.reclaim().is_err()
        {
            self.lose(side);
        }
    }

    pub(super) fn checkpoint(&mut self, side: Side) {
        let Some(drive) = self.drives.get(side) else { return };
        if drive.volume.sync_all().is_err() {
            return self.lose(side);
        }
        if self.writer.lock().note(&[DriveFact::Checkpoint { side }]).is_err() {
            self.reopen();
        }
    }

    // Checks.

    fn resolve(&self, path: &str) -> Resolved {
        self.journal.resolve(&RelPath::parse(path).unwrap()).unwrap()
    }

    /// Reads every file of the oracle, as a client would.
    pub(super) fn check_reads(&mut self) {
        for (path, thing) in self.oracle.tree.clone() {
            match (thing, self.resolve(&path)) {
                (Thing::Folder, Resolved::Found(_, Node::Folder(_))) => {}
                (Thing::File(bytes, holders), Resolved::Found(..)) => self.check_file(&path, &bytes, holders),
                (thing, found) => panic!("{path}: {thing:?} expected, {found:?} found"),
            }
        }
        let count = self.count_catalog(crate::ids::NodeId::ROOT);
        assert_eq!(count, self.oracle.tree.len(), "the catalog has something more");
    }

    fn count_catalog(&self, folder: crate::ids::NodeId) -> usize {
        let children = self.journal.snapshot().children(folder, None, 1000).unwrap();
        let below = |node: &Node| match node {
            Node::Folder(folder) => self.count_catalog(folder.id),
            Node::File(_) => 0,
        };
        children.iter().map(|(_, node)| 1 + below(node)).sum()
    }

    fn check_file(&mut self, path: &str, bytes: &[u8], holders: PerSide<bool>) {
        let Resolved::Found(place, Node::File(file)) = self.resolve(path) else { panic!("{path} is no file") };
        assert_eq!(file.version.crc32, Crc32::of(bytes), "{path} is not the version acknowledged");
        let mut expected = false;
        for side in Side::BOTH {
            let Some(drive) = self.drives.get(side) else { continue };
            expected |= *holders.get(side);
            let Some(source) = places::source(&self.journal.snapshot(), side, &place, &file).unwrap() else { continue };
            match read(drive.volume.as_ref(), &source, file.version.size) {
                Ok(read) => {
                    assert!(read == bytes, "{path} on {side}: a marked copy has other bytes, at {source:?}");
                    return;
                }
                Err(error) if error.disposition == Disposition::DriveLost => self.lose(side),
                Err(error) if self.bad_reads && error.disposition == Disposition::BadRead => return,
                Err(error) => panic!("{path} on {side}: {error}"),
            }
        }
        let present = Side::BOTH.into_iter().any(|side| self.is_present(side) && *holders.get(side));
        assert!(!expected || !present || self.bad_reads, "{path} is not served though a present drive holds it");
    }

    /// Both drives back, all debts worked off: both trees must be the oracle's, and nothing may be left over.
    pub(super) fn drain(&mut self) {
        for side in Side::BOTH {
            self.disks.get(side).clear_faults();
        }
        self.store.clear_fault();
        while !self.uploads.is_empty() {
            self.commit_oldest();
        }
        for side in Side::BOTH {
            self.bring_back(side);
        }
        self.forget_stays();
        for _ in 0..STEPS_MAX {
            self.step(Side::A);
            self.step(Side::B);
            if Side::BOTH.into_iter().all(|side| self.journal.behind(side).0 == 0) {
                break;
            }
        }
        for side in Side::BOTH {
            assert!(self.is_present(side));
            let debts = self.journal.snapshot().debts(side, crate::ids::NodeId::ROOT, 10).unwrap();
            let stays = self.drives.get(side).as_ref().map(|drive| drive.lane.stays());
            assert!(debts.is_empty(), "{side} stays behind: {debts:?}, {stays:?}");
            self.checkpoint(side);
        }
        self.check_reads();
        self.check_trees();
        assert_eq!(self.journal.entries(), 0, "no debt means no entries");
    }

    fn check_trees(&self) {
        let expected = self.oracle.plain();
        for side in Side::BOTH {
            let disk = self.disks.get(side);
            assert_eq!(disk.tree(), expected, "the tree of {side}");
            assert_eq!(disk.durable_tree(), expected, "the durable tree of {side}");
            for (path, _) in disk.own_tree() {
                let left = [layout::STAGE_FOLDER, layout::LIMBO_FOLDER, layout::ASIDE_FOLDER]
                    .iter()
                    .any(|folder| path.starts_with(&format!("{folder}/")));
                assert!(!left, "{path} is left on {side}");
            }
        }
    }

    /// Coming back once more changes nothing.
    pub(super) fn check_idempotent(&mut self) {
        // The first time the last arrival's empty log segments go.
        self.kill();
        let before = Side::BOTH.map(|side| self.disks.get(side).calls().name);
        self.kill();
        for side in Side::BOTH {
            self.step(side);
        }
        self.check_trees();
        let after = Side::BOTH.map(|side| self.disks.get(side).calls().name);
        assert_eq!(before, after, "names were changed without need");
    }

    pub(super) fn head(&self) -> Lsn {
        self.journal.head()
    }

    pub(super) fn disk(&self, side: Side) -> &SimDisk {
        self.disks.get(side)
    }
}

fn mutation_of(upload: &Upload) -> Mutation {
    Mutation::Put(Put {
        path: RelPath::parse(&upload.path).unwrap(),
        version: upload.version,
        blocks: vec![upload.version.crc32],
        mtime_ns: 5,
        executable: false,
        owner: String::new(),
        stages: upload.stages,
    })
}

fn stage_file(drive: &Drive, bytes: &[u8], ticket: Ticket) -> Result<Stage, VolumeError> {
    let stage = StageFile::create(Arc::clone(&drive.volume), ticket)?;
    stage.write_at(bytes, 0)?;
    stage.finish(Attributes { mtime_ns: 5, executable: false })
}

fn read(volume: &dyn Volume, source: &places::Source, size: u64) -> Result<Vec<u8>, VolumeError> {
    let mut bytes = Vec::new();
    let file = volume.open(&source.path)?;
    pour(&file, source.offset, size, |part, _| {
        bytes.extend_from_slice(part);
        Ok::<_, VolumeError>(())
    })?;
    Ok(bytes)
}

fn verdict_of(reason: &Precondition) -> Verdict {
    match reason {
        Precondition::NotFound(_) => Verdict::NotFound,
        Precondition::Exists(_) => Verdict::Exists,
        Precondition::IsAFolder(_) => Verdict::IsAFolder,
        Precondition::NotAFolder(_) => Verdict::NotAFolder,
        Precondition::NotEmpty(_) => Verdict::NotEmpty,
        Precondition::IntoItself(_) => Verdict::IntoItself,
        Precondition::Root | Precondition::NoStage => panic!("{reason}"),
    }
}
