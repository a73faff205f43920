//! One node from what its drive has to what the catalog says.

use crate::ids::NodeId;
use crate::journal::{Catalog, Content, Debt, FileNode, Held, Node, Observed, Place, Version};
use crate::mirror::content::{Found, compare, compare_bytes};
use crate::mirror::lane::way::{Wanted, Way};
use crate::mirror::lane::{Batch, Lane, LaneError, Progress, Stay};
use crate::mirror::layout;
use crate::mirror::reconcile::aside::Cause;
use crate::mirror::volume::{Disposition, FileKind, FsKind, Result as VolumeResult};

/// Children of a removed folder that one step looks at.
const CHILDREN_MAX: usize = 256;

type Result<T> = std::result::Result<T, LaneError>;

impl Lane {
    pub(super) fn converge(&mut self, batch: &mut Batch, id: NodeId) -> Result<Progress> {
        if batch.deferred.contains(&id) || !batch.under_way.insert(id) {
            return Ok(Progress::Deferred);
        }
        let progress = self.converge_node(batch, id);
        batch.under_way.remove(&id);
        match progress {
            Err(LaneError::Volume(error)) => self.refused(id, error),
            Ok(Progress::There) => {
                // A folder that could not be made a moment ago may have been made for a file in it.
                self.stays.remove(&id);
                Ok(Progress::There)
            }
            progress => progress,
        }
    }

    /// What an error says of one node; errors of the whole drive go on.
    fn refused(&self, id: NodeId, error: crate::mirror::volume::VolumeError) -> Result<Progress> {
        match error.disposition {
            Disposition::DriveLost => Err(error.into()),
            Disposition::NoSpace => Ok(Progress::Stays(Stay::NoRoom)),
            Disposition::Refused => {
                tracing::warn!(drive = %self.side, node = %id, %error, "the drive refuses a name");
                Ok(Progress::Stays(Stay::Refused(error.to_string())))
            }
            Disposition::Shortage => Ok(Progress::Stays(Stay::Refused(error.to_string()))),
            // Something changed under the lane, or the drive is going: the next step sees which.
            Disposition::NotFound | Disposition::InTheWay | Disposition::BadRead => {
                self.volume.probe()?;
                Ok(Progress::Stays(Stay::Refused(error.to_string())))
            }
        }
    }

    fn converge_node(&mut self, batch: &mut Batch, id: NodeId) -> Result<Progress> {
        let snapshot = self.journal.snapshot();
        let Some(debt) = snapshot.debt(self.side, id)? else { return Ok(Progress::There) };
        if let Some(placed) = batch.placed.get(&id) {
            let there = placed.as_ref().map(|held| &held.place) == debt.want.as_ref();
            return Ok(if there { Progress::There } else { Progress::Deferred });
        }
        let node = match &debt.want {
            Some(place) => snapshot.node(place)?.filter(|node| node.id() == id),
            None => None,
        };
        drop(snapshot);
        if !self.is_told(debt.lsn) {
            return Ok(Progress::Deferred);
        }
        let Some(place) = debt.want.clone() else {
            return self.remove(batch, id, &debt);
        };
        match node {
            Some(Node::Folder(_)) => self.place_folder(batch, id, &debt, &place),
            Some(Node::File(file)) => match self.successor_first(batch, &debt, &place)? {
                Some(progress) => Ok(progress),
                None => self.place_file(batch, &debt, &place, &file),
            },
            // The catalog went on between the two looks.
            None => Ok(Progress::Deferred),
        }
    }

    fn remove(&mut self, batch: &mut Batch, id: NodeId, debt: &Debt) -> Result<Progress> {
        let Some(held) = &debt.have else { return Ok(gone(batch, id)) };
        let Some(path) = self.path_at(batch, &held.place)? else { return Ok(gone(batch, id)) };
        match held.content {
            Content::File { version, observed } => match compare(self.volume.as_ref(), &path, &version, observed)? {
                Found::Nothing => {}
                Found::Same(_) => self.volume.remove_file(&path)?,
                Found::Other => {
                    let cause = self.cause_of_old(&path, observed)?;
                    if !self.set_aside(batch, &path, self.blamed(id, cause), debt.lsn)? {
                        return Ok(aside_is_full(&path));
                    }
                }
            },
            Content::Folder => {
                batch.ready.clear();
                match self.remove_folder(batch, id, debt, &path)? {
                    Progress::There => {}
                    progress => return Ok(progress),
                }
            }
        }
        self.work.removed += 1;
        batch.touch(&path);
        batch.vacated.insert(self.volume.namespace().compared(&path));
        Ok(gone(batch, id))
    }

    fn remove_folder(&mut self, batch: &mut Batch, id: NodeId, debt: &Debt, path: &str) -> Result<Progress> {
        let children = self.journal.snapshot().claims_in(self.side, id, CHILDREN_MAX)?;
        let mut left = children.len() == CHILDREN_MAX;
        for child in children {
            self.converge(batch, child)?;
            let inside = self.held_now(batch, child)?.is_some_and(|place| place.parent == id);
            left |= inside;
        }
        if left {
            return Ok(Progress::Deferred);
        }
        match self.volume.stat(path)? {
            None => Ok(Progress::There),
            Some(meta) if meta.kind == FileKind::Folder => {
                for name in self.volume.list(path)?.names {
                    let cause = self.blamed(id, Cause::Found);
                    if !self.set_aside(batch, &layout::join(path, &name), cause, debt.lsn)? {
                        return Ok(aside_is_full(path));
                    }
                }
                self.volume.remove_folder(path)?;
                batch.folders.remove(path);
                Ok(Progress::There)
            }
            Some(_) if self.set_aside(batch, path, self.blamed(id, Cause::Found), debt.lsn)? => Ok(Progress::There),
            Some(_) => Ok(aside_is_full(path)),
        }
    }

    fn place_folder(&mut self, batch: &mut Batch, id: NodeId, debt: &Debt, place: &Place) -> Result<Progress> {
        let Some(parent) = self.folder_ready(batch, place.parent)? else { return Ok(Progress::Deferred) };
        batch.ready.clear();
        let path = layout::join(&parent, place.name.as_str());
        let from = match &debt.have {
            Some(held) => self.path_at(batch, &held.place)?,
            None => None,
        };
        if let Some(from) = &from
            && self.volume.stat(from)?.is_none_or(|meta| meta.kind != FileKind::Folder)
        {
            // Somebody took it away; it is made anew, and its files are found missing one by one.
            batch.placed.insert(id, None);
            return Ok(Progress::Deferred);
        }
        if let (Some(_), Some(held)) = (&from, &debt.have) {
            if held.place == *place {
                // It never left, or came back: that it may be elsewhere is all that is owed.
                self.work.unchanged += 1;
                return Ok(placed(batch, id, place, Content::Folder));
            }
            if self.takes_apart() {
                return Ok(self.take_apart(batch, id, &held.place));
            }
        }
        if self.differs_in_case(debt, place) {
            self.evict(batch, id, place)?;
            return Ok(Progress::Deferred);
        }
        let wanted = if from.is_some() { Wanted::Moved } else { Wanted::NewFolder };
        match self.make_way(batch, id, place, &path, wanted)? {
            Way::Free => {}
            Way::Already => {
                self.work.unchanged += 1;
                return Ok(placed(batch, id, place, Content::Folder));
            }
            Way::Not(progress) => return Ok(progress),
        }
        if let Some(from) = &from {
            self.volume.rename(from, &path)?;
            self.work.moved += 1;
            batch.touch(from);
            batch.vacated.insert(self.volume.namespace().compared(from));
        } else {
            self.volume.make_folder(&path)?;
            self.work.made_folders += 1;
        }
        batch.touch(&path);
        Ok(placed(batch, id, place, Content::Folder))
    }

    fn place_file(&mut self, batch: &mut Batch, debt: &Debt, place: &Place, file: &FileNode) -> Result<Progress> {
        let Some(parent) = self.folder_ready(batch, place.parent)? else { return Ok(Progress::Deferred) };
        let path = layout::join(&parent, place.name.as_str());
        match &debt.have {
            Some(held) if held.place == *place => self.renew_file(batch, held, place, file, &path),
            Some(held) => self.move_file(batch, held, place, file, &path),
            None => match self.supersede(batch, place, file, &path)? {
                Some(progress) => Ok(progress),
                None => match self.make_way(batch, file.id, place, &path, Wanted::File(file))? {
                    Way::Free => self.install(batch, place, file, &path, Over::Nothing),
                    Way::Already => Ok(self.adopt(batch, place, file)),
                    Way::Not(progress) => Ok(progress),
                },
            },
        }
    }

    /// The drive has another version, or a doubtful one, under the right name.
    fn renew_file(
        &mut self,
        batch: &mut Batch,
        held: &Held,
        place: &Place,
        file: &FileNode,
        path: &str,
    ) -> Result<Progress> {
        if batch.vacated.contains(&self.volume.namespace().compared(path)) {
            return Ok(Progress::Deferred);
        }
        let Content::File { version, observed } = held.content else { return Ok(Progress::Deferred) };
        let volume = self.volume.as_ref();
        match compare(volume, path, &version, observed)? {
            Found::Same(_) if version == file.version => Ok(self.adopt(batch, place, file)),
            Found::Same(_) => self.install(batch, place, file, path, Over::Older),
            Found::Nothing => {
                note_mended(batch, &version, file);
                self.install(batch, place, file, path, Over::Nothing)
            }
            Found::Other
                if version != file.version && matches!(compare_bytes(volume, path, &file.version)?, Found::Same(_)) =>
            {
                Ok(self.adopt(batch, place, file))
            }
            Found::Other => self.renew_other(batch, (version, observed), place, file, path),
        }
    }

    /// Something else is under the right name. What somebody put there goes aside, also where the file's own bytes
    /// cannot be had yet; what may only be damaged is better than nothing.
    fn renew_other(
        &mut self,
        batch: &mut Batch,
        (had, observed): (Version, Option<Observed>),
        place: &Place,
        file: &FileNode,
        path: &str,
    ) -> Result<Progress> {
        let is_current = had == file.version;
        let seen = if is_current { self.cause(path, file)? } else { self.cause_of_old(path, observed)? };
        let cause = self.blamed(file.id, seen);
        match (cause, self.ready(batch, file).is_some()) {
            (Cause::Damaged, false) => Ok(self.stay(batch, file)),
            (Cause::Damaged | Cause::Edited | Cause::Found, has_bytes) => {
                if !self.set_aside(batch, path, cause, file.lsn)? {
                    return Ok(aside_is_full(path));
                }
                if has_bytes {
                    if cause == Cause::Damaged {
                        note_mended(batch, &had, file);
                    }
                    if seen == Cause::Damaged && is_current {
                        batch.replaced.extend(batch.aside.last().map(|item| (file.id, item.clone())));
                    }
                    return self.install(batch, place, file, path, Over::Nothing);
                }
                batch.placed.insert(file.id, None);
                Ok(Progress::Deferred)
            }
        }
    }

    /// The drive has the file under another name: this version, which is moved, or an older one, which goes.
    fn move_file(
        &mut self,
        batch: &mut Batch,
        held: &Held,
        place: &Place,
        file: &FileNode,
        path: &str,
    ) -> Result<Progress> {
        let Content::File { version, observed } = held.content else { return Ok(Progress::Deferred) };
        let Some(from) = self.path_at(batch, &held.place)? else {
            batch.placed.insert(file.id, None);
            return Ok(Progress::Deferred);
        };
        let found = compare(self.volume.as_ref(), &from, &version, observed)?;
        if let Found::Same(_) = found
            && version == file.version
        {
            if held.place.is_same_to(self.volume.namespace(), place) {
                self.evict(batch, file.id, place)?;
                return Ok(Progress::Deferred);
            }
            let last = self.is_last_on_fat(batch, place, file) && !batch.moved_damaged.contains(&file.id);
            // Elsewhere what is in the way, though it be the same, is somebody's.
            let own = (self.volume.kind() == FsKind::Fat).then_some(file);
            match (self.make_way(batch, file.id, place, path, own.map_or(Wanted::Moved, Wanted::File))?, last) {
                (Way::Free, false) => self.volume.rename(&from, path)?,
                (Way::Free, true) => {
                    let Some(draft) = batch.drafts.remove(&version.ticket) else { return Ok(self.uncopied(file)) };
                    self.volume.rename(&draft, path)?;
                    if !matches!(compare_bytes(self.volume.as_ref(), path, &version)?, Found::Same(_)) {
                        self.volume.remove_file(path)?;
                        return Ok(Progress::Deferred);
                    }
                    self.volume.remove_file(&from)?;
                }
                // A cut came between copy and removal.
                (Way::Already, true) => self.volume.remove_file(&from)?,
                // exFAT: a cut in a rename leaves two names for the same clusters. Neither can go without the other.
                (Way::Already, false) => {
                    self.volume.remove_file(path)?;
                    self.volume.remove_file(&from)?;
                    batch.touch(path);
                    batch.touch(&from);
                    batch.placed.insert(file.id, None);
                    return Ok(Progress::Deferred);
                }
                (Way::Not(progress), _) => return Ok(progress),
            }
            if place.parent == NodeId::TRASH {
                // What was overwritten is counted with what comes in its place.
                self.work.removed += u64::from(self.journal.snapshot().node(&held.place)?.is_none());
            } else {
                self.work.moved += 1;
            }
            batch.named_file = true;
            batch.touch(&from);
            batch.touch(path);
            batch.vacated.insert(self.volume.namespace().compared(&from));
            return Ok(placed(batch, file.id, place, Content::File { version, observed: None }));
        }
        match found {
            Found::Nothing => {}
            Found::Same(_) => self.volume.remove_file(&from)?,
            Found::Other => {
                let is_current = version == file.version;
                let cause = if is_current { self.cause(&from, file)? } else { self.cause_of_old(&from, observed)? };
                if !self.set_aside(batch, &from, self.blamed(file.id, cause), file.lsn)? {
                    return Ok(aside_is_full(&from));
                }
            }
        }
        batch.touch(&from);
        batch.vacated.insert(self.volume.namespace().compared(&from));
        batch.placed.insert(file.id, None);
        Ok(Progress::Deferred)
    }

    /// A last copy that could not be copied, or comes with the next step.
    fn uncopied(&self, file: &FileNode) -> Progress {
        self.stays.get(&file.id).map_or(Progress::Deferred, |stay| Progress::Stays(stay.clone()))
    }

    /// Whether a node has its name but for the case, which makes it stand in its own way.
    fn differs_in_case(&self, debt: &Debt, place: &Place) -> bool {
        debt.have
            .as_ref()
            .is_some_and(|held| held.place != *place && held.place.is_same_to(self.volume.namespace(), place))
    }

    /// What is under the name is the version already.
    fn adopt(&mut self, batch: &mut Batch, place: &Place, file: &FileNode) -> Progress {
        self.work.unchanged += 1;
        placed(batch, file.id, place, Content::File { version: file.version, observed: None })
    }

    /// Gives ready bytes their name.
    pub(super) fn install(
        &mut self,
        batch: &mut Batch,
        place: &Place,
        file: &FileNode,
        path: &str,
        over: Over,
    ) -> Result<Progress> {
        let Some(from) = self.ready(batch, file) else { return Ok(self.stay(batch, file)) };
        let named = match self.give_name(&from, path, over) {
            Err(error) if error.disposition == Disposition::NotFound => {
                if self.volume.stat(&from)?.is_none() {
                    self.report_missing_stage(batch, place, file);
                    return Ok(Progress::Deferred);
                }
                // The folder that was there for the last file has gone.
                batch.ready.clear();
                if self.folder_ready(batch, place.parent)?.is_none() {
                    return Ok(Progress::Deferred);
                }
                self.give_name(&from, path, over)
            }
            named => named,
        };
        named?;
        batch.drafts.remove(&file.version.ticket);
        batch.named_file = true;
        batch.touch(&from);
        batch.touch(path);
        Ok(placed(batch, file.id, place, Content::File { version: file.version, observed: None }))
    }

    /// `NotFound` where there are no bytes, or no folder. Then nothing was done.
    fn give_name(&self, from: &str, path: &str, over: Over) -> VolumeResult<()> {
        let volume = self.volume.as_ref();
        match (over, volume.kind()) {
            (Over::Nothing, _) => volume.rename(from, path),
            (Over::Older, FsKind::Atomic) => volume.replace(from, path),
            // FAT: a cut during a rename over a name cross-links both.
            (Over::Older, FsKind::Fat) => {
                // What takes its place is opened: without that the older one stays.
                volume.open(from)?;
                volume.remove_file(path)?;
                volume.sync_folder(layout::parent(path))?;
                volume.rename(from, path)
            }
        }
    }

    /// Why a file's bytes are not ready.
    pub(super) fn stay(&self, batch: &Batch, file: &FileNode) -> Progress {
        let other = self.side.other();
        match (file.copies.get(self.side).is_durable(), file.copies.get(other).is_durable()) {
            (true, _) => Progress::Deferred,
            (false, true) if batch.peer.is_some() => Progress::Deferred,
            (false, true) => Progress::Stays(Stay::WaitsFor(other)),
            (false, false) => Progress::Stays(Stay::Lost),
        }
    }

    /// A folder's path, once it is where it belongs; `None` while it is not.
    fn folder_ready(&mut self, batch: &mut Batch, id: NodeId) -> Result<Option<String>> {
        if let Some(path) = layout::fixed(id) {
            return Ok(Some(path.to_owned()));
        }
        if let Some(path) = batch.ready.get(&id) {
            return Ok(Some(path.clone()));
        }
        if self.converge(batch, id)? != Progress::There {
            return Ok(None);
        }
        let Some(place) = self.held_now(batch, id)? else { return Ok(None) };
        let Some(parent) = self.folder_ready(batch, place.parent)? else { return Ok(None) };
        let path = layout::join(&parent, place.name.as_str());
        // On record, and gone: a power cut on FAT can take a folder, or somebody did.
        if self.volume.stat(&path)?.is_none() {
            tracing::warn!(drive = %self.side, path, "a folder was missing and is made anew");
            self.volume.make_folder(&path)?;
            batch.touch(&path);
        }
        batch.ready.insert(id, path.clone());
        Ok(Some(path))
    }
}

/// What a new version's name leads to before.
#[derive(Clone, Copy)]
pub(super) enum Over {
    Nothing,
    /// An older version, as the mirror wrote it.
    Older,
}

fn gone(batch: &mut Batch, id: NodeId) -> Progress {
    batch.placed.insert(id, None);
    Progress::There
}

pub(super) fn placed(batch: &mut Batch, id: NodeId, place: &Place, content: Content) -> Progress {
    batch.placed.insert(id, Some(Held { place: place.clone(), content }));
    Progress::There
}

/// What is installed now takes the place of a damaged or vanished copy of the same version.
fn note_mended(batch: &mut Batch, had: &Version, file: &FileNode) {
    if *had == file.version {
        batch.mended.insert(file.id);
    }
}

pub(super) fn aside_is_full(path: &str) -> Progress {
    Progress::Stays(Stay::Refused(format!(
        "{path}: something else is in the way, and what lies aside leaves no room for it: look through it with 'fget \
         aside', and let go of what nobody needs with 'fget aside drop'"
    )))
}
