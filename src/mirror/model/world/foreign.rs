//! What somebody else does to the drives' files, and how the lanes find it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::digest::Crc32;
use crate::ids::{NodeId, Side};
use crate::journal::{CommitError, Copy, Mutation, Node, Overwrite, Precondition, Put, Resolved};
use crate::mirror::content::pour;
use crate::mirror::lane::{LaneError, Look};
use crate::mirror::model::oracle::{Thing, Verdict};
use crate::mirror::model::world::mutations::mutation_of;
use crate::mirror::model::world::{Way, World};
use crate::mirror::reconcile::aside::Item;
use crate::mirror::reconcile::hints::{Hint, Watch};
use crate::mirror::reconcile::inbox::{Job, Newcomer};
use crate::mirror::reconcile::intake::{Tree, items};
use crate::mirror::reconcile::stock::{Rest, Taken};
use crate::mirror::reconcile::survey::{Depth, Next, SETTLE};
use crate::mirror::reconcile::target::{Target, target};
use crate::mirror::volume::{Disposition, FileKind, FsKind, Result, Volume, VolumeError};
use crate::mirror::{layout, places};
use crate::path::RelPath;

/// Whether the daemon is killed on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mirror::model) enum Cut {
    No,
    BeforeRemoval,
}

/// How the bytes begin that others write in random histories, and no client.
pub(in crate::mirror::model) const FOREIGN: &[u8] = b"foreign ";

enum Done {
    Yes,
    Killed,
}

impl World {
    /// Writes other bytes into a file.
    pub(in crate::mirror::model) fn edit(&mut self, side: Side, path: &str, bytes: &[u8]) {
        self.meddle(side, path, |volume| {
            if is_file(volume, path)? {
                volume.remove_file(path)?;
                write(volume, path, bytes)?;
            }
            Ok(())
        });
        self.keep_foreign(side, bytes);
        self.tell(side, path);
    }

    /// As [`World::edit`], though the other drive's copy was changed too.
    pub(in crate::mirror::model) fn edit_too(&mut self, side: Side, path: &str, bytes: &[u8]) {
        self.meddle_harmlessly(side, |volume| {
            volume.remove_file(path)?;
            write(volume, path, bytes)
        });
        self.keep_foreign(side, bytes);
        if let Some(Thing::File(_, holders, _)) = self.oracle.tree.get_mut(path) {
            *holders.get_mut(side) = false;
        }
    }

    /// The kernel tells the daemon that something was done to a name, by whomever.
    pub(in crate::mirror::model) fn tell(&mut self, side: Side, path: &str) {
        if let Some(drive) = self.drives.get_mut(side) {
            let name = path.rsplit('/').next().unwrap_or(path).to_owned();
            drive.hints.push(Hint::Name { folder: layout::parent(path).to_owned(), name });
        }
    }

    /// Gives a file another time and leaves its bytes.
    pub(in crate::mirror::model) fn restamp(&mut self, side: Side, path: &str) {
        self.meddle_harmlessly(side, |volume| {
            if is_file(volume, path)? {
                let file = volume.open_write(path)?;
                let mut byte = [0];
                if file.read_at(&mut byte, 0)? == 1 {
                    file.write_at(&byte, 0)?;
                }
            }
            Ok(())
        });
    }

    /// Removes a file, or a folder with all in it.
    pub(in crate::mirror::model) fn take_away(&mut self, side: Side, path: &str) {
        self.meddle(side, path, |volume| remove_all(volume, path));
        self.tell(side, path);
    }

    /// Does something to a drive by which the mirror may lose what is at `path`, where the other drive has that too.
    fn meddle(&mut self, side: Side, path: &str, act: impl FnOnce(&dyn Volume) -> Result<()>) {
        let inside = format!("{path}/");
        let is_hit = |at: &str| at == path || at.starts_with(&inside);
        if self.disks.get(side).is_pulled() {
            // He sees what the pull has left.
            let mut choice = self.choose();
            self.disks.get(side).reinsert(&mut choice);
            self.disks.get(side).pull();
        }
        let before = self.disks.get(side).tree();
        let has = |tree: &BTreeMap<String, Option<Vec<u8>>>, bytes: &Vec<u8>| {
            tree.iter().any(|(at, there)| is_hit(at) && there.as_ref() == Some(bytes))
        };
        let mut hit = Vec::new();
        for (known, thing) in &self.oracle.tree {
            let (Thing::File(bytes, ..), Resolved::Found(place, Node::File(file))) = (thing, self.resolve(known))
            else {
                continue;
            };
            let source = places::source(&self.journal.snapshot(), side, &place, &file).unwrap();
            // What was installed may not be on record.
            let is_staged = matches!(file.copies.get(side), Copy::Staged(_));
            if source.is_some_and(|source| is_hit(&source.path)) || (is_staged && has(&before, bytes)) {
                if !self.holds(side.other(), known) {
                    return;
                }
                hit.push(known.clone());
            }
        }
        // What a pull left unsynced may be undone by now: what was set aside is back at its place.
        let mut found = before.clone();
        let disk = self.disks.get(side).clone();
        let done = self.meddle_harmlessly(side, |volume| {
            found = disk.tree();
            act(volume)
        });
        for known in hit {
            if let Some(Thing::File(_, holders, _)) = self.oracle.tree.get_mut(&known) {
                *holders.get_mut(side) = false;
            }
        }
        let mut foreign = std::mem::take(&mut self.foreign);
        foreign.retain(|bytes| !has(&found, bytes) || (done && self.has_foreign(bytes)));
        self.foreign = foreign;
    }

    /// Does something to a drive, wherever it is plugged in now, and syncs it; whether it was done.
    fn meddle_harmlessly(&mut self, side: Side, act: impl FnOnce(&dyn Volume) -> Result<()>) -> bool {
        let mut choice = self.choose();
        let disk = self.disks.get(side);
        if disk.is_dead() {
            return false;
        }
        let was_pulled = disk.is_pulled();
        let volume = if was_pulled { disk.reinsert(&mut choice) } else { disk.mount().unwrap() };
        let done = act(&volume).and_then(|()| volume.sync_all()).is_ok();
        self.untraceable |= !done || self.disks.get(side).is_dead();
        if was_pulled {
            disk.pull();
        } else if !done {
            // The kernel gave it up under somebody else's hands.
            self.lose(side);
        }
        done
    }

    /// From now on these bytes must not be lost, if somebody got them onto the drive.
    fn keep_foreign(&mut self, side: Side, bytes: &[u8]) {
        let there = self.disks.get(side).durable_tree();
        if there.values().any(|file| file.as_deref() == Some(bytes)) {
            self.foreign.push(bytes.to_vec());
        }
    }

    /// A lane's turn of looking, so much later that what has settled is judged. Whether it is to go on.
    pub(in crate::mirror::model) fn look(&mut self, side: Side) -> bool {
        self.let_settle();
        self.look_at_once(side) != Next::Asked
    }

    /// So much time passes that what was not touched has settled.
    pub(in crate::mirror::model) fn let_settle(&mut self) {
        self.now += SETTLE + Duration::from_secs(1);
    }

    /// A lane's turn of looking in the same moment as the last one; when it is to go on.
    pub(in crate::mirror::model) fn look_at_once(&mut self, side: Side) -> Next {
        let (now, now_ns) = (self.now, self.tick());
        let Some(drive) = self.drives.get_mut(side) else { return Next::Asked };
        drive.lane.look_at_hints(std::mem::take(&mut drive.hints));
        let watched = &mut drive.watched;
        let mut watch = |folder: &str| if watched.insert(folder.to_owned()) { Watch::Begun } else { Watch::Already };
        let Look { facts, next, newcomers, findings, .. } = match drive.lane.look(now, now_ns, &mut watch) {
            Ok(look) => look,
            Err(LaneError::Volume(_)) => {
                self.lose(side);
                return Next::Now;
            }
            Err(LaneError::Store(error)) => panic!("{error}"),
        };
        self.findings.extend(findings);
        self.jobs.get_mut(side).extend(newcomers.into_iter().map(Job::Newcomer));
        if facts.is_empty() {
            return next;
        }
        let noted = self.writer.lock().note(&facts);
        let durable = self.writer.lock().barrier();
        match (noted, durable) {
            (Ok(released), Ok(())) => self.release(&released),
            (Err(_), _) | (_, Err(_)) => self.reopen(),
        }
        Next::Now
    }

    /// Takes in what was found on a drive. Cut short by a kill before anything is removed that lay aside, if so asked.
    pub(in crate::mirror::model) fn take_in(&mut self, side: Side, cut: Cut) -> bool {
        let jobs = std::mem::take(self.jobs.get_mut(side));
        let any = !jobs.is_empty();
        for job in jobs {
            if !self.is_present(side) {
                break;
            }
            let done = match job {
                Job::Newcomer(newcomer) => self.take_newcomer(side, &newcomer),
                Job::Aside(name) => self.take_item(side, &name, cut),
            };
            match done {
                Ok(Done::Killed) => return true,
                Err(error) if error.disposition == Disposition::DriveLost => {
                    self.lose(side);
                }
                // Where it has gone, or changed, it stays where it is.
                Ok(Done::Yes) | Err(_) => {}
            }
        }
        any
    }

    fn take_newcomer(&mut self, side: Side, newcomer: &Newcomer) -> Result<Done> {
        let path = newcomer.path.to_string();
        let Some(volume) = self.volume(side) else { return Ok(Done::Yes) };
        match newcomer.meta.kind {
            FileKind::Folder => {
                self.make_folder(&path);
                self.taken_in.push(path.clone());
                if let Resolved::Found(_, Node::Folder(folder)) = self.resolve(&path)
                    && let Some(drive) = self.drives.get_mut(side)
                {
                    drive.lane.search(folder.id, Depth::Alone);
                }
            }
            FileKind::File => {
                if volume.stat(&newcomer.at)? == Some(newcomer.meta) {
                    let bytes = read_file(volume.as_ref(), &newcomer.at)?;
                    if self.put_new(&path, &bytes) {
                        self.foreign.retain(|foreign| *foreign != bytes);
                    }
                }
            }
            FileKind::Other => {}
        }
        Ok(Done::Yes)
    }

    fn take_item(&mut self, side: Side, name: &str, cut: Cut) -> Result<Done> {
        let Some(item) = Item::parse(name) else { return Ok(Done::Yes) };
        let Some(volume) = self.volume(side) else { return Ok(Done::Yes) };
        let top = layout::join(layout::ASIDE_FOLDER, name);
        let Tree { files, folders } = Tree::of(volume.as_ref(), top.clone())?;
        for (at, _) in files {
            let path = RelPath::parse(at.strip_prefix(&top).unwrap()).unwrap();
            let bytes = read_file(volume.as_ref(), &at)?;
            let crc = Crc32::of(&bytes);
            let same = |node: &Node| matches!(node, Node::File(file) if file.version.crc32 == crc);
            let found = target(&self.journal.snapshot(), &path, &item, side, same).unwrap();
            let had = match found {
                Target::Path(to) => self.put_new(&to.to_string(), &bytes),
                Target::Had => true,
                Target::Nowhere => false,
            };
            if cut == Cut::BeforeRemoval {
                self.kill();
                return Ok(Done::Killed);
            }
            if had {
                self.foreign.retain(|foreign| *foreign != bytes);
                volume.remove_file(&at)?;
                self.note_taken(side, name, bytes.len() as u64, Rest::Something);
            }
        }
        let mut emptied = true;
        for folder in folders.iter().rev() {
            match volume.remove_folder(folder) {
                Err(error) if error.disposition == Disposition::DriveLost => return Err(error),
                removed => emptied &= removed.is_ok(),
            }
        }
        if emptied {
            self.note_taken(side, name, 0, Rest::Nothing);
        }
        Ok(Done::Yes)
    }

    /// Tells the lane that something that lay aside does no more.
    pub(in crate::mirror::model) fn note_taken(&mut self, side: Side, name: &str, bytes: u64, rest: Rest) {
        if let Some(drive) = self.drives.get_mut(side) {
            drive.lane.note_taken(&[Taken { name: name.to_owned(), bytes, rest }]);
        }
    }

    /// Stores a file that must not be there yet; whether it is the mirror's now.
    fn put_new(&mut self, path: &str, bytes: &[u8]) -> bool {
        // On FAT a cut can part a copy from its node; it leaves empty names, too, and those are nobody's.
        let is_told = self.kind == FsKind::Atomic || bytes.is_empty();
        let is_traceable = is_told && !self.bad_reads && !self.rotten && !self.untraceable;
        if is_traceable && !bytes.starts_with(FOREIGN) {
            self.came_back.push(path.to_owned());
        }
        let Some(upload) = self.stage(path, bytes, Way::File) else { return false };
        let Mutation::Put(put) = mutation_of(&upload) else { panic!("no PUT") };
        let answer = self.commit(Mutation::Put(Put { overwrite: Overwrite::No, ..put }), None);
        match &answer {
            Err(CommitError::Precondition(Precondition::Exists(_))) => false,
            Ok(_) | Err(_) => {
                let verdict = self.oracle.judge_put(path);
                self.take_put(upload, answer);
                self.taken_in.push(path.to_owned());
                verdict == Verdict::Done && matches!(self.resolve(path), Resolved::Found(_, Node::File(_)))
            }
        }
    }

    fn volume(&self, side: Side) -> Option<Arc<dyn Volume>> {
        self.drives.get(side).as_ref().map(|drive| Arc::clone(&drive.volume))
    }

    /// Makes a file where there is none, and the folders above it.
    pub(in crate::mirror::model) fn add(&mut self, side: Side, path: &str, bytes: &[u8]) {
        // In a folder that was just made nobody listens yet.
        let mut topmost = path.to_owned();
        self.meddle_harmlessly(side, |volume| {
            if volume.stat(path)?.is_some() {
                return Ok(());
            }
            for (end, _) in path.match_indices('/') {
                let folder = path.get(..end).unwrap_or_default();
                if volume.stat(folder)?.is_none() {
                    volume.make_folder(folder)?;
                    if topmost == path {
                        folder.clone_into(&mut topmost);
                    }
                }
            }
            write(volume, path, bytes)
        });
        self.keep_foreign(side, bytes);
        self.tell(side, &topmost);
    }

    /// Gives a file or folder a name that is free.
    pub(in crate::mirror::model) fn rename(&mut self, side: Side, from: &str, to: &str) {
        self.untraceable = true;
        self.meddle(side, from, |volume| {
            match volume.rename(from, to) {
                Err(error) if error.disposition == Disposition::DriveLost => return Err(error),
                Ok(()) | Err(_) => {}
            }
            Ok(())
        });
        for path in [from, to] {
            self.tell(side, path);
        }
    }

    /// A lane is to look through its whole drive, and what still lies aside is tried again.
    pub(in crate::mirror::model) fn search(&mut self, side: Side) {
        let Some(volume) = self.volume(side) else { return };
        match items(volume.as_ref()) {
            Ok(items) => self.jobs.get_mut(side).extend(items.into_iter().map(Job::Aside)),
            Err(_) => return self.lose(side),
        }
        if let Some(drive) = self.drives.get_mut(side) {
            drive.lane.search(NodeId::ROOT, Depth::WithAllBelow);
        }
    }

    /// A drive was replaced: what others wrote on it alone is gone with it.
    pub(in crate::mirror::model) fn forget_foreign(&mut self) {
        let mut foreign = std::mem::take(&mut self.foreign);
        foreign.retain(|bytes| self.has_foreign(bytes));
        self.foreign = foreign;
    }

    fn has_foreign(&self, bytes: &Vec<u8>) -> bool {
        Side::BOTH.into_iter().any(|side| {
            let disk = self.disks.get(side);
            disk.tree().values().chain(disk.own_tree().values()).any(|file| file.as_ref() == Some(bytes))
        })
    }

    /// What others wrote lies somewhere, on one drive or the other.
    pub(in crate::mirror::model) fn check_foreign(&self) {
        for bytes in &self.foreign {
            assert!(self.has_foreign(bytes), "what somebody wrote is lost: {bytes:?}");
        }
    }
}

fn is_file(volume: &dyn Volume, path: &str) -> Result<bool> {
    Ok(volume.stat(path)?.is_some_and(|meta| meta.kind == FileKind::File))
}

fn write(volume: &dyn Volume, path: &str, bytes: &[u8]) -> Result<()> {
    volume.create(path)?.write_at(bytes, 0)
}

fn read_file(volume: &dyn Volume, path: &str) -> Result<Vec<u8>> {
    let file = volume.open(path)?;
    let mut bytes = Vec::new();
    pour(&file, 0, file.meta()?.observed.size, |part, _| {
        bytes.extend_from_slice(part);
        Ok::<_, VolumeError>(())
    })?;
    Ok(bytes)
}

fn remove_all(volume: &dyn Volume, path: &str) -> Result<()> {
    match volume.stat(path)?.map(|meta| meta.kind) {
        Some(FileKind::Folder) => {
            for name in volume.list(path)?.names {
                remove_all(volume, &crate::mirror::layout::join(path, &name))?;
            }
            volume.remove_folder(path)
        }
        Some(FileKind::File | FileKind::Other) => volume.remove_file(path),
        None => Ok(()),
    }
}
