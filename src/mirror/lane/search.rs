//! Where the nodes are that may have been on their way when a drive left: found by name and bytes.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{NodeId, Side};
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Content, Copy, Debt, DriveFact, FileNode, Held, Journal, Node, Place, Version};
use crate::mirror::content::{Found, compare};
use crate::mirror::lane::LaneError;
use crate::mirror::lane::reclaim::PAGE;
use crate::mirror::layout;
use crate::mirror::volume::{Disposition, FileKind, Volume};
use crate::namespace::folded;
use crate::path::Name;

/// Nodes that may claim one place, looked at.
const CLAIMS_MAX: usize = 64;

/// Finds nodes that may have been on their way.
pub(super) struct Search<'a> {
    pub(super) journal: &'a Journal,
    pub(super) volume: &'a dyn Volume,
    pub(super) side: Side,
    pub(super) doubtful: BTreeMap<NodeId, Debt>,
    pub(super) found: BTreeMap<NodeId, Option<Held>>,
    /// Paths that a node was found at, as they compare.
    claimed: BTreeSet<String>,
    under_way: BTreeSet<NodeId>,
    /// The doubtful nodes by where they are recorded, with the name as it compares.
    recorded_at: BTreeMap<(NodeId, String), NodeId>,
    phase: Phase,
    /// Names, as they compare, that nodes may have in more than one spelling.
    respelled: BTreeSet<(NodeId, String)>,
}

/// Where something was recorded goes before where something was wanted: a name is used again only when
/// it is recorded that its former node has left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Recorded,
    Wanted,
}

impl<'a> Search<'a> {
    pub(super) fn new(journal: &'a Journal, volume: &'a dyn Volume, side: Side) -> Self {
        Self {
            journal,
            volume,
            side,
            doubtful: BTreeMap::new(),
            found: BTreeMap::new(),
            claimed: BTreeSet::new(),
            under_way: BTreeSet::new(),
            recorded_at: BTreeMap::new(),
            phase: Phase::Recorded,
            respelled: BTreeSet::new(),
        }
    }

    /// Whether a node that the drive never had is not there yet either: most of a blank drive's debts, which need
    /// not be kept in mind.
    pub(super) fn is_nowhere(&self, id: NodeId, debt: &Debt) -> Result<bool, LaneError> {
        let Some(place) = debt.want.as_ref().filter(|_| is_new(debt)) else { return Ok(false) };
        if self.says_installed(id, debt)? {
            return Ok(false);
        }
        let mut names = vec![place.name.clone()];
        let mut above = place.parent;
        let snapshot = self.journal.snapshot();
        let root = loop {
            if let Some(root) = layout::fixed(above) {
                break root.to_owned();
            }
            // A folder that may be elsewhere has its children with it.
            if snapshot.debt(self.side, above)?.is_some_and(|debt| !is_new(&debt)) {
                return Ok(false);
            }
            let Some(place) = snapshot.folder_place(above)? else { return Ok(false) };
            names.push(place.name);
            above = place.parent;
        };
        drop(snapshot);
        let path = names.iter().rev().fold(root, |path, name| layout::join(&path, name.as_str()));
        match self.volume.stat(&path) {
            Ok(found) => Ok(found.is_none()),
            Err(error) if error.disposition == Disposition::DriveLost => Err(error.into()),
            // Something else is where a folder above belongs.
            Err(_) => Ok(false),
        }
    }

    /// Whether the catalog says that the drive has the current version under its name, though that is owed still: the
    /// record was cut short between the two. If somebody takes the file away then, it is nowhere.
    fn says_installed(&self, id: NodeId, debt: &Debt) -> Result<bool, StoreError> {
        let Some(place) = &debt.want else { return Ok(false) };
        let file = self.journal.file(place, id)?;
        Ok(file.is_some_and(|file| matches!(file.copies.get(self.side), Copy::Installed { .. })))
    }

    pub(super) fn run(&mut self) -> Result<(), LaneError> {
        let mut ids: Vec<_> = self.doubtful.keys().copied().collect();
        ids.sort();
        let recorded =
            self.doubtful.iter().filter_map(|(id, debt)| Some((self.compared(&debt.have.as_ref()?.place), *id)));
        self.recorded_at = recorded.collect();
        for phase in [Phase::Recorded, Phase::Wanted] {
            self.phase = phase;
            for id in &ids {
                self.find(*id)?;
            }
        }
        Ok(())
    }

    /// Whether clients changed, while it was looked for, where one of the nodes may be. Others may lie in it.
    pub(super) fn is_stale(&self) -> Result<bool, LaneError> {
        for (id, seen) in &self.doubtful {
            let now = self.journal.snapshot().debt(self.side, *id)?;
            if !now.is_some_and(|now| now.have == seen.have && now.maybe == seen.maybe) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn facts(&self, now_ns: i64) -> Result<Vec<DriveFact>, LaneError> {
        let mut facts = Vec::new();
        for (id, debt) in &self.doubtful {
            let held = self.found.get(id).cloned().flatten();
            let as_recorded = debt.maybe.is_empty() && same_place(debt.have.as_ref(), held.as_ref());
            if as_recorded && (held.is_some() || !self.says_installed(*id, debt)?) {
                continue;
            }
            let (side, was) = (self.side, debt.clone());
            facts.push(DriveFact::Found { side, node: *id, held, verified_ns: now_ns, was });
        }
        Ok(facts)
    }

    fn find(&mut self, id: NodeId) -> Result<(), LaneError> {
        if self.found.contains_key(&id) || !self.under_way.insert(id) {
            return Ok(());
        }
        let Some(debt) = self.doubtful.get(&id).cloned() else { return Ok(()) };
        let mut places = recorded(id, &debt);
        let wanted = self.wanted(id, &debt)?;
        // Where it is recorded goes before where it may be: that can have been another's all the time. Of the versions in
        // one place the current one goes first: an older one may have the same bytes.
        if let Some(home) = places.iter().position(|held| Some(&held.place) == debt.want.as_ref()) {
            places.splice(home..home, wanted);
        } else if self.phase == Phase::Wanted {
            places.extend(wanted);
        }
        self.claim_any(id, &places)?;
        if !self.found.contains_key(&id) {
            self.keep_damaged(id, &debt)?;
        }
        self.under_way.remove(&id);
        if self.phase == Phase::Wanted {
            self.found.entry(id).or_insert(None);
        }
        Ok(())
    }

    /// Finds a node where it is recorded, if it is there.
    fn find_as_recorded(&mut self, id: NodeId) -> Result<(), LaneError> {
        let Some(debt) = self.doubtful.get(&id).cloned() else { return Ok(()) };
        let Some(have) = &debt.have else { return Ok(()) };
        if self.found.contains_key(&id) || !self.under_way.insert(id) {
            return Ok(());
        }
        let mut places = recorded(id, &debt);
        places.retain(|held| held.place == have.place);
        if debt.want.as_ref() == Some(&have.place) {
            places.splice(0..0, self.wanted(id, &debt)?);
        }
        self.claim_any(id, &places)?;
        self.under_way.remove(&id);
        Ok(())
    }

    fn claim_any(&mut self, id: NodeId, places: &[Held]) -> Result<(), LaneError> {
        for held in places {
            if self.claim(id, held)? {
                break;
            }
        }
        Ok(())
    }

    /// A copy that was found damaged is no version by its bytes: it is known by its place, and stays what it was. As
    /// nobody's it would be left behind when the file is removed.
    fn keep_damaged(&mut self, id: NodeId, debt: &Debt) -> Result<(), LaneError> {
        let Some(held) = &debt.have else { return Ok(()) };
        let Content::File { version, observed: None } = held.content else { return Ok(()) };
        let Some(folder) = self.folder_path(held.place.parent)? else { return Ok(()) };
        let path = layout::join(&folder, held.place.name.as_str());
        if self.claimed.contains(&path) || self.is_anothers(id, &held.place)? {
            return Ok(());
        }
        let meta = self.volume.stat(&path)?;
        if meta.is_some_and(|meta| meta.kind == FileKind::File && meta.observed.size == version.size) {
            self.claimed.insert(path);
            self.found.insert(id, Some(held.clone()));
        }
        Ok(())
    }

    fn wanted(&self, id: NodeId, debt: &Debt) -> Result<Vec<Held>, LaneError> {
        let Some(place) = &debt.want else { return Ok(Vec::new()) };
        let node = self.journal.snapshot().node(place)?.filter(|node| node.id() == id);
        let contents = match node {
            Some(Node::Folder(_)) => vec![Content::Folder],
            Some(Node::File(file)) => self.contents(id, file.version),
            None => Vec::new(),
        };
        Ok(contents.into_iter().map(|content| Held { place: place.clone(), content }).collect())
    }

    /// The versions of a file that may lie under its name: the current one, and those that it had or may have had.
    fn contents(&self, id: NodeId, current: Version) -> Vec<Content> {
        let mut contents = vec![Content::File { version: current, observed: None }];
        if let Some(debt) = self.doubtful.get(&id) {
            contents.extend(debt.have.iter().chain(&debt.maybe).map(|held| held.content));
        }
        contents
    }

    /// Takes a place for a node if what lies there is what the node may be.
    fn claim(&mut self, id: NodeId, held: &Held) -> Result<bool, LaneError> {
        let Some(folder) = self.folder_path(held.place.parent)? else { return Ok(false) };
        let path = layout::join(&folder, held.place.name.as_str());
        // No other node was given the place before it was recorded that this one has left it.
        if let Some(other) = self.recorded_at.get(&self.compared(&held.place)).copied().filter(|other| *other != id) {
            self.find_as_recorded(other)?;
        }
        if self.claimed.contains(&self.volume.namespace().compared(&path)) || self.is_anothers(id, &held.place)? {
            return Ok(false);
        }
        if !self.is_spelled(&folder, &held.place)? {
            return Ok(false);
        }
        let content = match held.content {
            Content::Folder => match self.volume.stat(&path)? {
                Some(meta) if meta.kind == FileKind::Folder => Content::Folder,
                Some(_) | None => return Ok(false),
            },
            Content::File { version, observed } => match self.compare(&path, &version, observed)? {
                Found::Same(observed) => Content::File { version, observed: Some(observed) },
                Found::Nothing | Found::Other => return Ok(false),
            },
        };
        self.claimed.insert(self.volume.namespace().compared(&path));
        self.found.insert(id, Some(Held { place: held.place.clone(), content }));
        Ok(true)
    }

    /// Whether a node was found at a path.
    pub(super) fn is_claimed(&self, path: &str) -> bool {
        self.claimed.contains(&self.volume.namespace().compared(path))
    }

    fn compared(&self, place: &Place) -> (NodeId, String) {
        (place.parent, self.volume.namespace().compared(place.name.as_str()))
    }

    /// Whether another node, about which there is no doubt, is recorded to lie at a place.
    fn is_anothers(&self, id: NodeId, place: &Place) -> Result<bool, StoreError> {
        let snapshot = self.journal.snapshot();
        for other in snapshot.claims_to(self.side, place, CLAIMS_MAX)? {
            if other == id || self.doubtful.contains_key(&other) {
                continue;
            }
            let have = snapshot.debt(self.side, other)?.and_then(|debt| debt.have);
            // Of a claim to the place: on FAT its name may have other cases.
            if have.is_some_and(|held| held.place.is_same_to(self.volume.namespace(), place)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A name is found in any spelling where case is folded: which one it has is to be looked up where that matters.
    pub(super) fn note_respelled(&mut self) {
        if !self.volume.namespace().folds_case() {
            return;
        }
        let mut names = BTreeMap::new();
        for debt in self.doubtful.values() {
            let held = debt.have.iter().chain(&debt.maybe).map(|held| &held.place);
            for place in held.chain(&debt.want) {
                let key = (place.parent, folded(place.name.as_str()));
                if *names.entry(key.clone()).or_insert(&place.name) != &place.name {
                    self.respelled.insert(key);
                }
            }
        }
    }

    fn is_spelled(&self, folder: &str, place: &Place) -> Result<bool, LaneError> {
        if self.respelled.is_empty() || !self.respelled.contains(&(place.parent, folded(place.name.as_str()))) {
            return Ok(true);
        }
        match self.volume.list(folder) {
            Ok(listing) => Ok(listing.names.iter().any(|name| name == place.name.as_str())),
            Err(error) if error.disposition == Disposition::DriveLost => Err(error.into()),
            // There is no such folder.
            Err(_) => Ok(false),
        }
    }

    fn compare(
        &self,
        path: &str,
        version: &Version,
        observed: Option<crate::journal::Observed>,
    ) -> Result<Found, LaneError> {
        Ok(compare(self.volume, path, version, observed)?)
    }

    /// A folder that is nowhere has taken with it what the drive had in it: on FAT a cut in the midst of a move does that.
    pub(super) fn give_up_lost_folders(&self, facts: &mut Vec<DriveFact>) -> Result<(), LaneError> {
        for (id, debt) in &self.doubtful {
            let had = debt.have.as_ref().is_some_and(|held| held.content == Content::Folder);
            if had && self.found.get(id).is_some_and(Option::is_none) {
                tracing::warn!(drive = %self.side, node = %id, "a folder is nowhere on the drive");
                self.give_up_below(*id, facts)?;
            }
        }
        Ok(())
    }

    fn give_up_below(&self, gone: NodeId, facts: &mut Vec<DriveFact>) -> Result<(), LaneError> {
        let mut folders = vec![gone];
        while let Some(folder) = folders.pop() {
            let mut after = None;
            loop {
                let page = self.journal.snapshot().children(folder, after.as_ref(), PAGE)?;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                for (name, node) in page {
                    match node {
                        // What is staged lies elsewhere, and what is owed was looked for by itself.
                        Node::File(file) if !is_installed(&file, self.side) || self.owes(file.id)? => {}
                        Node::File(file) => {
                            facts.push(DriveFact::Damaged { side: self.side, place: Place::new(folder, name), file });
                        }
                        Node::Folder(child) => folders.push(child.id),
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a node lies in limbo, as far as is found out; `None` where it is nowhere.
    pub(super) fn lies_in_limbo(&self, id: NodeId) -> Result<Option<bool>, LaneError> {
        let held = match self.found.get(&id) {
            Some(held) => held.clone(),
            None => match self.journal.snapshot().debt(self.side, id)? {
                Some(debt) => debt.have,
                // Under its name, or removed.
                None => return Ok(Some(false)),
            },
        };
        Ok(held.map(|held| held.place.parent == NodeId::LIMBO))
    }

    pub(super) fn owes(&self, id: NodeId) -> Result<bool, StoreError> {
        self.journal.snapshot().owes_node(self.side, id)
    }

    /// The path of a folder on the drive, as far as it is found out.
    pub(super) fn folder_path(&mut self, id: NodeId) -> Result<Option<String>, LaneError> {
        if let Some(path) = layout::fixed(id) {
            return Ok(Some(path.to_owned()));
        }
        if self.doubtful.contains_key(&id) {
            self.find(id)?;
        }
        let place = match self.found.get(&id) {
            Some(held) => held.as_ref().map(|held| held.place.clone()),
            None if self.doubtful.contains_key(&id) => None,
            None => crate::mirror::places::folder_place(&self.journal.snapshot(), self.side, id)?,
        };
        let Some(place) = place else { return Ok(None) };
        let folder = self.folder_path(place.parent)?;
        Ok(folder.map(|folder| layout::join(&folder, place.name.as_str())))
    }
}

fn is_installed(file: &FileNode, side: Side) -> bool {
    matches!(file.copies.get(side), Copy::Installed { .. })
}

/// Whether a drive never had the node, as far as is recorded.
fn is_new(debt: &Debt) -> bool {
    debt.have.is_none() && debt.maybe.is_empty()
}

/// Where a node was recorded, may be instead, or may wait. The name of a version that goes to the trash may be its
/// successor's already, with the same size and time (`lane/supersede`): its bytes tell.
fn recorded(id: NodeId, debt: &Debt) -> Vec<Held> {
    let mut places: Vec<Held> = debt.have.iter().chain(&debt.maybe).cloned().collect();
    if debt.want.iter().chain(debt.claims()).any(|place| place.parent == NodeId::TRASH) {
        for held in &mut places {
            if let Content::File { observed, .. } = &mut held.content {
                *observed = None;
            }
        }
    }
    if let Ok(name) = Name::parse(&id.to_string()) {
        let limbo = Place::new(NodeId::LIMBO, name);
        let waiting: Vec<_> = places.iter().map(|held| Held { place: limbo.clone(), content: held.content }).collect();
        places.extend(waiting);
    }
    places
}

fn same_place(have: Option<&Held>, found: Option<&Held>) -> bool {
    match (have, found) {
        (None, None) => true,
        (Some(have), Some(found)) => have == found,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
