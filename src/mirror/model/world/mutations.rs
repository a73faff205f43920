//! Mutations, as clients send them, and what the oracle makes of the answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::single_match_else, reason = "tests")]

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::digest::Digester;
use crate::ids::{PerSide, RequestId, Side, Ticket};
use crate::journal::{
    CommitError, Mutation, Node, Overwrite, Parents, Precondition, Put, Receipt, Released, Request, Resolved, Stage,
    Staged, Version,
};
use crate::mirror::drive_log::{Append, Record};
use crate::mirror::layout;
use crate::mirror::model::oracle::Verdict;
use crate::mirror::model::world::{Amid, Drive, During, Upload, Way, World};
use crate::mirror::stage::StageFile;
use crate::mirror::volume::{Attributes, Disposition, VolumeError};
use crate::path::RelPath;

impl World {
    pub(in crate::mirror::model) fn stage(&mut self, path: &str, bytes: &[u8], way: Way) -> Option<Upload> {
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
                Some(Err(_)) => {
                    // Its bytes may be there, and count when the journal is lost.
                    self.untold = true;
                    self.lose(side);
                }
            }
        }
        let any = stages != PerSide::default();
        any.then(|| Upload { path: path.to_owned(), bytes: bytes.to_vec(), version, stages })
    }

    pub(in crate::mirror::model) fn stage_on(
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
                    owner: owner_of(bytes),
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

    pub(in crate::mirror::model) fn keep(&mut self, upload: Option<Upload>) {
        self.uploads.extend(upload);
    }

    pub(in crate::mirror::model) fn commit_oldest(&mut self) {
        if !self.uploads.is_empty() {
            let upload = self.uploads.remove(0);
            self.commit_put(upload);
        }
    }

    pub(in crate::mirror::model) fn put(&mut self, path: &str, bytes: &[u8], way: Way) {
        if let Some(upload) = self.stage(path, bytes, way) {
            self.commit_put(upload);
        }
    }

    pub(in crate::mirror::model) fn commit_put(&mut self, upload: Upload) {
        let answer = self.commit(mutation_of(&upload), None);
        self.take_put(upload, answer);
    }

    pub(in crate::mirror::model) fn take_put(&mut self, upload: Upload, answer: Result<Receipt, CommitError>) {
        let Upload { path, bytes, version, stages } = upload;
        let verdict = self.oracle.judge_put(&path);
        match answer {
            Ok(receipt) => {
                assert_eq!(verdict, Verdict::Done, "put {path}");
                self.put_as(receipt.lsn, &path, &bytes, &receipt.drives);
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
                    self.put_as(file.lsn, &path, &bytes, &drives);
                } else if verdict == Verdict::Done {
                    // Folders above are entries of their own, and may have come through alone.
                    self.take_in_folders(&path);
                }
            }
        }
    }

    pub(in crate::mirror::model) fn take_in_folders(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            if let Resolved::Found(_, Node::Folder(_)) = self.resolve(&path[..at]) {
                self.oracle.make_folder(&path[..at]);
            }
        }
    }

    pub(in crate::mirror::model) fn remove(&mut self, path: &str) {
        let answer = self.commit(Mutation::Remove { path: RelPath::parse(path).unwrap() }, None);
        self.take_removal(path, answer);
    }

    pub(in crate::mirror::model) fn take_removal(&mut self, path: &str, answer: Result<Receipt, CommitError>) {
        let verdict = self.oracle.judge_remove(path);
        match answer {
            Ok(receipt) => {
                assert_eq!(verdict, Verdict::Done, "remove {path}");
                self.keep_removed(receipt.lsn, path);
                self.oracle.remove(path);
            }
            Err(CommitError::Precondition(reason)) => assert_eq!(verdict, verdict_of(&reason), "remove {path}"),
            Err(CommitError::InDoubt(_)) => {
                self.reopen();
                if verdict == Verdict::Done && !matches!(self.resolve(path), Resolved::Found(..)) {
                    if let Some(kept) = self.kept_of(path).pop() {
                        self.keep_removed(kept.lsn, path);
                    }
                    self.oracle.remove(path);
                }
            }
        }
    }

    pub(in crate::mirror::model) fn make_folder(&mut self, path: &str) {
        let made = RelPath::parse(path).unwrap();
        let answer = self.commit(Mutation::MakeFolder { path: made, parents: Parents::Make, mtime_ns: 0 }, None);
        self.take_folder(path, answer);
    }

    pub(in crate::mirror::model) fn take_folder(&mut self, path: &str, answer: Result<Receipt, CommitError>) {
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

    pub(in crate::mirror::model) fn move_to(&mut self, from: &str, to: &str) {
        let mutation = Mutation::Move { from: RelPath::parse(from).unwrap(), to: RelPath::parse(to).unwrap() };
        let answer = self.commit(mutation, None);
        self.take_move(from, to, answer);
    }

    pub(in crate::mirror::model) fn take_move(&mut self, from: &str, to: &str, answer: Result<Receipt, CommitError>) {
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
    pub(in crate::mirror::model) fn make_folder_twice(&mut self, path: &str, id: &str) -> (Receipt, Receipt) {
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

    /// Whether an id that stands for one mutation is refused for another.
    pub(in crate::mirror::model) fn refuses_id_for(&mut self, path: &str, id: &str) -> bool {
        let path = RelPath::parse(path).unwrap();
        let answer = self.commit(Mutation::Remove { path }, RequestId::parse(id));
        matches!(answer, Err(CommitError::Precondition(Precondition::IdInUse)))
    }

    /// Steps a lane, and commits mutations between two of its calls to the drive, as other threads do.
    pub(in crate::mirror::model) fn commit_amid(&mut self, during: During, side: Side, nth: u64, amid: &[Amid]) {
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
                Amid::Restore(at) => Mutation::Restore { path: path(at), lsn: None, mtime_ns: 0 },
                Amid::Purge => match self.oracle.trash.first_key_value() {
                    Some((lsn, _)) => Mutation::Purge { lsn: *lsn },
                    None => continue,
                },
            };
            requests.push((
                item.clone(),
                Request {
                    mutation,
                    id: None,
                    present,
                    keeping: self.keeping(),
                    quotas: crate::journal::Quotas::default(),
                    names_max: None,
                },
            ));
        }
        let (items, requests): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        let purged = self.oracle.trash.first_key_value().map(|(lsn, _)| *lsn);
        let done = Arc::new(Mutex::new(None));
        let (slot, writer, sent) = (Arc::clone(&done), Arc::clone(&self.writer), requests.clone());
        self.disks.get(side).before_nth(nth, move || *slot.lock() = Some(writer.lock().commit(&sent)));
        match during {
            During::Step => drop(self.step(side)),
            During::Arrival => self.bring_back(side),
        }
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
                Amid::Restore(path) => self.take_restore(path, self.oracle.versions(path).pop(), answer),
                Amid::Purge => self.take_purge(purged, answer),
            }
        }
    }

    pub(in crate::mirror::model) fn commit(
        &mut self,
        mutation: Mutation,
        id: Option<RequestId>,
    ) -> Result<Receipt, CommitError> {
        let present = PerSide::new(|side| self.is_present(side));
        let mut committed = self.writer.lock().commit(&[Request {
            mutation,
            id,
            present,
            keeping: self.keeping(),
            quotas: crate::journal::Quotas::default(),
            names_max: None,
        }]);
        self.tell_drives(&committed.changes);
        self.release(&committed.released);
        committed.answers.remove(0)
    }

    pub(in crate::mirror::model) fn release(&mut self, released: &[Released]) {
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
}

/// Files of some users, and of nobody.
fn owner_of(bytes: &[u8]) -> String {
    ["", "anna", "bob"].map(str::to_owned)[usize::from(bytes.first().copied().unwrap_or_default() % 3)].clone()
}

pub(super) fn mutation_of(upload: &Upload) -> Mutation {
    let mut digester = Digester::default();
    digester.update(&upload.bytes);
    Mutation::Put(Put {
        path: RelPath::parse(&upload.path).unwrap(),
        overwrite: Overwrite::Yes,
        version: upload.version,
        blocks: digester.finish().blocks,
        mtime_ns: 5,
        executable: false,
        owner: owner_of(&upload.bytes),
        stages: upload.stages,
    })
}

fn stage_file(drive: &Drive, bytes: &[u8], ticket: Ticket) -> Result<Stage, VolumeError> {
    let stage = StageFile::create(Arc::clone(&drive.volume), ticket)?;
    stage.write_at(&[bytes], 0)?;
    stage.finish(Attributes { mtime_ns: 5, executable: false })
}

pub(super) fn verdict_of(reason: &Precondition) -> Verdict {
    match reason {
        Precondition::NotFound(_) => Verdict::NotFound,
        Precondition::Exists(_) => Verdict::Exists,
        Precondition::IsAFolder(_) => Verdict::IsAFolder,
        Precondition::NotAFolder(_) => Verdict::NotAFolder,
        Precondition::NotEmpty(_) => Verdict::NotEmpty,
        Precondition::IntoItself(_) => Verdict::IntoItself,
        Precondition::NotInTrash(_) | Precondition::NotKept(_) => Verdict::NotInTrash,
        Precondition::Root
        | Precondition::Quota { .. }
        | Precondition::FolderFull { .. }
        | Precondition::Beyond { .. }
        | Precondition::IdInUse
        | Precondition::NoStage
        | Precondition::Misfit { .. }
        | Precondition::SameButCase { .. }
        | Precondition::OtherVersion { .. } => panic!("{reason}"),
    }
}
