//! Looking for what somebody else changed on the drive. The lane does it, when it works off no debts: nobody else gives
//! or takes names there, so what differs from the catalog, and is not owed, was done by somebody else.

mod doubts;
mod hinted;
mod strange;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Instant;

use crate::ids::{NodeId, Side};
use crate::journal::{Catalog, Copy, DriveFact, Node, Place};
use crate::mirror::lane::finish::prove;
use crate::mirror::lane::{Lane, LaneError};
use crate::mirror::reconcile::hints::{Hint, Watch};
use crate::mirror::reconcile::inbox::Newcomer;
use crate::mirror::reconcile::ledger::Backing;
use crate::mirror::reconcile::survey::{
    Ahead, Depth, Doubt, News, Next, Stage, Strange, Suspect, TURN_NAMES_MAX, Turn, Visit, is_same,
};
use crate::mirror::volume::{Disposition, FileKind, Listing, Meta};
use crate::mirror::{layout, places};
use crate::namespace::folded;
use crate::path::{Name, RelPath, is_accounts_name, is_reserved};
use crate::units::lossless;

type Result<T> = std::result::Result<T, LaneError>;

/// What came of one turn.
#[derive(Debug)]
pub(crate) struct Look {
    /// To be made durable before the next step.
    pub(crate) facts: Vec<DriveFact>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) newcomers: Vec<Newcomer>,
    pub(crate) next: Next,
    /// Something could not be looked at, and may be later.
    pub(crate) passed_over: bool,
    /// Something is missing: to be believed only once the drive has proved that it is there.
    absence: bool,
}

/// Something that somebody else did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A file has other bytes, or is no file any more.
    Changed(RelPath, Backing),
    /// A file or folder is not there any more.
    Missing(RelPath, Backing),
    /// A name that the mirror cannot have, as the drive has it.
    BadName(String),
    /// A link, device or socket.
    NoFile(RelPath),
    /// A folder has something in it that lies too deep, or has too long a path, to be named.
    Beyond(RelPath),
}

impl Lane {
    /// Also looks through a folder.
    pub(crate) fn search(&mut self, folder: NodeId, depth: Depth) {
        self.survey.add(folder, depth);
    }

    /// Also looks at names that something was done to.
    pub(crate) fn look_at_hints(&mut self, hints: Vec<Hint>) {
        self.survey.add_hints(hints);
    }

    /// Looks at some names, or reads a part of a file.
    ///
    /// `watch` is told the folders that are searched, before they are, and says whether it knew.
    pub(crate) fn look(&mut self, now: Instant, now_ns: i64, watch: &mut dyn FnMut(&str) -> Watch) -> Result<Look> {
        let mut look = Look::new();
        let looked = self.turn(&mut look, now, now_ns, watch);
        self.or_passed_over(&mut look, looked)?;
        if look.absence {
            prove(self.volume.as_ref())?;
        }
        if !look.facts.is_empty() {
            // What could not be done may have been in want of what is found missing.
            self.forget_stays();
        }
        look.next = self.survey.next(now);
        Ok(look)
    }

    /// What lies ahead of the search.
    pub(crate) fn ahead(&self) -> Ahead {
        self.survey.ahead()
    }

    /// All that was found is the mirror's, or was refused.
    pub(crate) fn forget_sighted(&mut self) {
        self.survey.forget_sighted();
    }

    /// Looks at the folders that the drive has got meanwhile.
    fn take_up_put_off(&mut self) -> Result<()> {
        for folder in self.survey.take_put_off() {
            let snapshot = self.journal.snapshot();
            let is_known = snapshot.folder_place(folder)?.is_some();
            let is_there = places::folder_path(&snapshot, self.side, folder)?.is_some();
            match (is_known, is_there) {
                (true, true) => self.survey.add(folder, Depth::WithAllBelow),
                (true, false) => self.survey.put_off(folder),
                (false, _) => {}
            }
        }
        Ok(())
    }

    /// One name, or one folder, that cannot be looked at: the next search tries it again.
    fn or_passed_over(&self, look: &mut Look, looked: Result<()>) -> Result<()> {
        match looked {
            Err(LaneError::Volume(error)) if error.disposition != Disposition::DriveLost => {
                self.volume.probe()?;
                tracing::warn!(drive = %self.side, %error, "passed over while looking for changes");
                look.passed_over |= is_trouble(error.disposition);
                Ok(())
            }
            done => done,
        }
    }

    fn turn(&mut self, look: &mut Look, now: Instant, now_ns: i64, watch: &mut dyn FnMut(&str) -> Watch) -> Result<()> {
        match self.survey.turn(now) {
            Turn::Read(reading) => self.read_on(look, reading, now, now_ns),
            Turn::Open(doubt) => self.open(look, doubt),
            Turn::Judge(places) => places.iter().try_for_each(|place| self.judge(look, place, now)),
            Turn::Strange(strange) => self.look_ahead(strange, now, watch),
            Turn::Hints(hints) => hints.iter().try_for_each(|hint| self.look_at_hint(look, hint, now, watch)),
            Turn::Visit(visit) => self.visit(look, visit, now, watch),
            Turn::Nothing => self.take_up_put_off(),
        }
    }

    fn visit(
        &mut self,
        look: &mut Look,
        mut visit: Visit,
        now: Instant,
        watch: &mut dyn FnMut(&str) -> Watch,
    ) -> Result<()> {
        let snapshot = self.journal.snapshot();
        if visit.folder != NodeId::ROOT && snapshot.folder_place(visit.folder)?.is_none() {
            return Ok(());
        }
        let path = places::folder_path(&snapshot, self.side, visit.folder)?;
        drop(snapshot);
        if let (Stage::Catalog { after: None }, Some(path)) = (&visit.stage, &path) {
            watch(path);
        }
        let stage = match (visit.stage, path) {
            (Stage::Catalog { after }, path) => {
                let children = self.journal.snapshot().children(visit.folder, after.as_ref(), TURN_NAMES_MAX)?;
                let last = children.last().map(|(name, _)| name.clone());
                let is_end = children.len() < TURN_NAMES_MAX;
                for (name, node) in children {
                    if self.volume.namespace().folds_case() {
                        visit.known.insert(folded(name.as_str()));
                    }
                    let place = Place::new(visit.folder, name);
                    match &path {
                        Some(path) => self.look_at(look, &place, node, path, visit.depth, now)?,
                        // The folder is not there, and so nothing that is in it.
                        None => self.miss(look, &place, node)?,
                    }
                }
                match (is_end, path) {
                    (false, _) => Some(Stage::Catalog { after: last }),
                    (true, Some(path)) => {
                        let Listing { names, not_utf8 } = self.volume.list(&path)?;
                        look.tell_not_utf8(&path, &not_utf8);
                        Some(Stage::Drive { names })
                    }
                    (true, None) => {
                        if visit.depth != Depth::Missing {
                            self.survey.put_off(visit.folder);
                        }
                        None
                    }
                }
            }
            (Stage::Drive { mut names }, Some(path)) => {
                for name in names.split_off(names.len().saturating_sub(TURN_NAMES_MAX)) {
                    self.look_at_name(look, visit.folder, &visit.known, &path, &name, now)?;
                }
                (!names.is_empty()).then_some(Stage::Drive { names })
            }
            (Stage::Drive { .. }, None) => None,
        };
        if let Some(stage) = stage {
            self.survey.go_on_visiting(Visit { stage, ..visit });
        }
        Ok(())
    }

    /// Compares a child of the catalog with what the drive has. What is owed for it is the lane's other work.
    fn look_at(
        &mut self,
        look: &mut Look,
        place: &Place,
        node: Node,
        folder: &str,
        depth: Depth,
        now: Instant,
    ) -> Result<()> {
        let owed = self.journal.snapshot().owes_node(self.side, node.id())?;
        let meta = if owed { None } else { self.stat(&layout::join(folder, place.name.as_str()))? };
        if owed || is_as_known(&node, self.side, meta) {
            if let Node::Folder(folder) = node {
                self.survey.add_below(folder.id, depth);
            }
            return Ok(());
        }
        match (depth, meta) {
            (Depth::Missing, None) => self.miss(look, place, node)?,
            (Depth::Missing | Depth::Alone | Depth::WithAllBelow, meta) => {
                self.survey.suspect(place.clone(), meta, now);
            }
        }
        Ok(())
    }

    /// Looks at a name that the drive has.
    fn look_at_name(
        &mut self,
        look: &mut Look,
        folder: NodeId,
        known: &BTreeSet<String>,
        folder_path: &str,
        name: &str,
        now: Instant,
    ) -> Result<()> {
        let is_root = folder == NodeId::ROOT;
        if (is_root && is_never_mirrored(name)) || known.contains(&folded(name)) {
            return Ok(());
        }
        let path = layout::join(folder_path, name);
        let Some(name) = exact_name(name) else {
            look.findings.push(Finding::BadName(path));
            return Ok(());
        };
        let place = Place::new(folder, name);
        if self.is_known(&place)? {
            return Ok(());
        }
        let Some(meta) = self.stat(&path)? else { return Ok(()) };
        if let Some(mirror_path) = self.journal.path_of(&place)?
            && mirror_path.check_extent().is_err()
        {
            look.beyond(&mirror_path);
        } else if self.survey.suspect_new(place, &path, meta, now) == News::Yes && meta.kind == FileKind::Folder {
            self.survey.look_into(Strange { path, names: None });
        }
        Ok(())
    }

    /// Whether a name is the catalog's, or a node may be there that belongs elsewhere.
    fn is_known(&self, place: &Place) -> Result<bool> {
        let snapshot = self.journal.snapshot();
        Ok(snapshot.node(place)?.is_some() || !snapshot.claims_to(self.side, place, 1)?.is_empty())
    }

    /// Decides about a name that differed some time ago.
    fn judge(&mut self, look: &mut Look, place: &Place, now: Instant) -> Result<()> {
        let Some(Suspect { seen, .. }) = self.survey.take_suspect(place) else { return Ok(()) };
        let snapshot = self.journal.snapshot();
        let node = snapshot.node(place)?;
        let owed = match &node {
            Some(node) => snapshot.owes_node(self.side, node.id())?,
            None => !snapshot.claims_to(self.side, place, 1)?.is_empty(),
        };
        let path = places::path_at(&snapshot, self.side, place)?;
        let mirror_path = snapshot.path_of(place)?;
        drop(snapshot);
        let (false, Some(path), Some(mirror_path)) = (owed, path, mirror_path) else {
            // It may have been new, and the mirror's since then, and what is in it is not.
            if let Some(Node::Folder(folder)) = node {
                self.survey.put_off(folder.id);
            }
            return Ok(());
        };
        let meta = self.stat(&path)?;
        if !is_same(meta, seen) {
            self.survey.suspect(place.clone(), meta, now);
            return Ok(());
        }
        match (node, meta) {
            (None, None) => {}
            // Folders above it may have been moved since it was seen.
            (None, Some(_)) if mirror_path.check_extent().is_err() => look.beyond(&mirror_path),
            (None, Some(meta)) => match meta.kind {
                FileKind::File | FileKind::Folder => {
                    look.newcomers.push(Newcomer { path: mirror_path, at: path, meta });
                }
                FileKind::Other => look.findings.push(Finding::NoFile(mirror_path)),
            },
            (Some(node), None) => self.miss(look, place, node)?,
            (Some(node), meta) if is_as_known(&node, self.side, meta) => {
                if let Node::Folder(folder) = node {
                    self.survey.add(folder.id, Depth::WithAllBelow);
                }
            }
            (Some(Node::File(file)), Some(meta)) if is_plain(meta, file.version.size) => {
                self.survey.doubt(Doubt { place: place.clone(), path, file, meta });
            }
            (Some(node), Some(_)) => {
                if let Node::Folder(folder) = node {
                    self.survey.add(folder.id, Depth::Missing);
                }
                look.changed(self.side, place, node, mirror_path);
            }
        }
        Ok(())
    }

    /// A node is not there any more, and a folder with all that was in it.
    fn miss(&mut self, look: &mut Look, place: &Place, node: Node) -> Result<()> {
        if self.journal.snapshot().owes_node(self.side, node.id())? {
            return Ok(());
        }
        if let Node::Folder(folder) = node {
            self.survey.add(folder.id, Depth::Missing);
        }
        look.absence = true;
        if let Some(path) = self.journal.path_of(place)? {
            look.findings.push(Finding::Missing(path, backing(&node, self.side)));
        }
        look.facts.push(DriveFact::Strayed { side: self.side, place: place.clone(), node });
        Ok(())
    }

    /// What is in a folder; nothing where it has gone.
    fn list(&self, path: &str) -> Result<Listing> {
        match self.volume.list(path) {
            Err(error) if matches!(error.disposition, Disposition::InTheWay | Disposition::NotFound) => {
                Ok(Listing::default())
            }
            listing => Ok(listing?),
        }
    }

    /// What a name is. Where something else than a folder is above it, there is nothing.
    fn stat(&self, path: &str) -> Result<Option<Meta>> {
        match self.volume.stat(path) {
            Err(error) if matches!(error.disposition, Disposition::InTheWay | Disposition::NotFound) => Ok(None),
            found => Ok(found?),
        }
    }
}

impl Look {
    fn new() -> Self {
        Self {
            facts: Vec::new(),
            findings: Vec::new(),
            newcomers: Vec::new(),
            next: Next::Asked,
            passed_over: false,
            absence: false,
        }
    }

    fn tell_not_utf8(&mut self, folder: &str, names: &[OsString]) {
        self.findings.extend(names.iter().map(|name| Finding::BadName(layout::join(folder, &lossless(name)))));
    }

    /// Tells of something that cannot be named, by the folder that it is in: there may be thousands.
    fn beyond(&mut self, path: &RelPath) {
        let finding = Finding::Beyond(path.folder());
        if self.findings.last() != Some(&finding) {
            self.findings.push(finding);
        }
    }

    fn changed(&mut self, side: Side, place: &Place, node: Node, path: RelPath) {
        self.findings.push(Finding::Changed(path, backing(&node, side)));
        self.facts.push(DriveFact::Strayed { side, place: place.clone(), node });
    }
}

/// Whether an error about one name is to be tried again. Else it changed meanwhile, and that is told of, or seen next time.
fn is_trouble(disposition: Disposition) -> bool {
    match disposition {
        Disposition::BadRead
        | Disposition::NoSpace
        | Disposition::Refused
        | Disposition::Shortage
        | Disposition::DriveLost => true,
        Disposition::NotFound | Disposition::InTheWay => false,
    }
}

/// A name on a drive as one of the mirror's; nothing where the mirror would give it another form.
fn exact_name(name: &str) -> Option<Name> {
    Name::parse(name).ok().filter(|parsed| parsed.as_str() == name)
}

/// Whether what was changed on a drive can be restored.
fn backing(node: &Node, side: Side) -> Backing {
    match node {
        Node::File(file) if !file.copies.get(side.other()).is_durable() => Backing::Nothing,
        Node::File(_) | Node::Folder(_) => Backing::Other,
    }
}

/// Whether a name is what the drive had when the node was installed.
fn is_as_known(node: &Node, side: Side, meta: Option<Meta>) -> bool {
    match (node, meta) {
        (Node::Folder(_), Some(meta)) => meta.kind == FileKind::Folder,
        (Node::File(file), Some(meta)) => match *file.copies.get(side) {
            Copy::Installed { observed, .. } => meta.kind == FileKind::File && meta.observed == observed,
            Copy::Missing | Copy::Staged(_) => false,
        },
        (Node::File(_) | Node::Folder(_), None) => false,
    }
}

/// Whether a name is a file of that size.
fn is_plain(meta: Meta, size: u64) -> bool {
    meta.kind == FileKind::File && meta.observed.size == size
}

/// Names in a drive's root that other systems put there for themselves, and that of the accounts, which no drive brings.
fn is_never_mirrored(name: &str) -> bool {
    is_reserved(name) || is_accounts_name(name) || name.starts_with(".Trash-")
}
