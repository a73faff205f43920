//! The catalog that is being rebuilt, and what comes of it.

use std::collections::BTreeMap;

use crate::digest::Crc32;
use crate::elapsed::Elapsed;
use crate::ids::{Lsn, NodeId, Nonce, PerSide, Side, Ticket};
use crate::journal::store::{Store, StoreError};
use crate::journal::{
    Beginning, Blocks, Body, Content, Copy, Debt, FileNode, FolderNode, Held, Importer, Keeping, Kept, Node, Origin,
    Place, Remains, Version,
};
use crate::mirror::adopt::homes::Homes;
use crate::mirror::adopt::is_root;
use crate::mirror::adopt::past::Past;
use crate::mirror::adopt::tree::Stray;
use crate::path::{ACCOUNTS_FILE, Name};

/// Names of files that a report gives of each sort.
const EXAMPLES_MAX: usize = 20;

/// What was rebuilt, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) files: u64,
    pub(crate) folders: u64,
    pub(crate) bytes: u64,
    /// Files in the trash.
    pub(crate) trashed: u64,
    /// Files that no drive's history knew.
    pub(crate) taken_in: u64,
    /// PUTs that may have been answered and were not on record.
    pub(crate) late: u64,
    /// Kept beside the current version, by their new names.
    pub(crate) kept: Examples,
    /// On record, and on no drive.
    pub(crate) missing: Examples,
    /// Accounts were found that no history knows, and left alone.
    pub(crate) strange_accounts: bool,
}

/// Some of many names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Examples {
    pub(crate) count: u64,
    pub(crate) names: Vec<String>,
}

impl Examples {
    fn add(&mut self, name: String) {
        self.count += 1;
        if self.names.len() < EXAMPLES_MAX {
            self.names.push(name);
        }
    }
}

/// The rebuilt catalog, with what each drive owes.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) head: Lsn,
    pub(crate) next_node: NodeId,
    pub(crate) nodes: Vec<RebuiltNode>,
    /// Nodes that were removed and that a drive still has, or may have.
    pub(crate) removed: Vec<(NodeId, PerSide<Option<Debt>>)>,
    pub(crate) report: Report,
}

impl Outcome {
    /// Whether the drives have accounts.
    pub(crate) fn has_accounts(&self) -> bool {
        self.accounts().is_some()
    }

    /// The version of the accounts that the drives have.
    pub(crate) fn accounts(&self) -> Option<Version> {
        let version = |node: &RebuiltNode| match &node.node {
            Node::File(file) if node.place.parent == NodeId::ROOT && node.place.name.as_str() == ACCOUNTS_FILE => {
                Some(file.version)
            }
            Node::File(_) | Node::Folder(_) => None,
        };
        self.nodes.iter().find_map(version)
    }

    /// Writes it into an empty store, which is a journal from then on.
    pub(crate) fn import(&self, store: &dyn Store, beginning: &Beginning) -> Result<(), StoreError> {
        let mut importer = Importer::new(store);
        for rebuilt in &self.nodes {
            importer.node(&rebuilt.place, &rebuilt.node, &rebuilt.blocks, &rebuilt.debts)?;
            rebuilt.kept.iter().try_for_each(|kept| importer.kept(kept))?;
        }
        for (id, debts) in &self.removed {
            importer.removed(*id, debts)?;
        }
        importer.end(beginning)
    }
}

#[derive(Debug)]
pub(crate) struct RebuiltNode {
    pub(crate) place: Place,
    pub(crate) node: Node,
    pub(crate) blocks: Vec<Crc32>,
    pub(crate) debts: PerSide<Option<Debt>>,
    /// Of a file in the trash.
    pub(crate) kept: Option<Kept>,
}

/// A node of the catalog as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Alive {
    pub(super) lsn: Lsn,
    pub(super) place: Place,
    pub(super) body: Body,
    /// The digests of a file's blocks, once its bytes were seen somewhere.
    pub(super) blocks: Option<Vec<Crc32>>,
    pub(super) copies: PerSide<Copy>,
    /// What each drive has of it under a name.
    pub(super) have: PerSide<Option<Held>>,
}

impl Alive {
    pub(super) fn version(&self) -> Option<Version> {
        match &self.body {
            Body::Folder { .. } => None,
            Body::File { version, .. } | Body::Trashed { version, .. } => Some(*version),
        }
    }

    /// What it was, if it is in the trash.
    fn origin(&self) -> Option<&Origin> {
        match &self.body {
            Body::Trashed { origin, .. } if self.place.parent == NodeId::TRASH => Some(origin),
            Body::Trashed { .. } | Body::File { .. } | Body::Folder { .. } => None,
        }
    }

    /// Whether some drive has the current version.
    pub(super) fn is_held(&self) -> bool {
        self.copies.iter().any(|(_, copy)| copy.is_durable())
    }

    /// Whether a drive has it as the catalog says.
    fn is_home(&self, side: Side) -> bool {
        let Some(held) = self.have.get(side).as_ref().filter(|held| held.place == self.place) else { return false };
        match (held.content, self.version()) {
            (Content::Folder, None) => true,
            (Content::File { version, .. }, Some(current)) => version == current,
            (Content::Folder, Some(_)) | (Content::File { .. }, None) => false,
        }
    }

    /// `maybe` is what the drive may have.
    fn debt(&self, side: Side, maybe: Vec<Held>) -> Option<Debt> {
        if self.is_home(side) {
            return None;
        }
        let lacks = !self.copies.get(side).is_durable();
        let bytes = self.version().filter(|_| lacks).map_or(0, |version| version.size);
        let (want, have) = (Some(self.place.clone()), self.have.get(side).clone());
        Some(Debt { lsn: self.lsn, want, have, maybe, bytes })
    }
}

/// A node that was removed and that a drive still has, or may have.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone {
    pub(super) lsn: Lsn,
    pub(super) have: PerSide<Option<Held>>,
    pub(super) maybe: PerSide<Vec<Held>>,
}

#[derive(Debug)]
pub(super) struct Rebuild {
    pub(super) past: Past,
    pub(super) nodes: BTreeMap<NodeId, Alive>,
    /// Invariant: exactly the places of `nodes`.
    pub(super) places: BTreeMap<Place, NodeId>,
    pub(super) gone: BTreeMap<NodeId, Gone>,
    pub(super) strays: PerSide<Vec<Stray>>,
    /// Drives that were not seen.
    pub(super) unseen: PerSide<bool>,
    pub(super) report: Report,
    pub(super) homes: Homes,
    head: Lsn,
    next_node: NodeId,
    nonce: Nonce,
    tickets: u64,
    /// When the bytes were read.
    pub(super) now_ns: i64,
}

impl Rebuild {
    /// Begins with what the drives say of the catalog.
    pub(super) fn begin(past: Past, gap: u64, nonce: Nonce, now_ns: i64) -> Self {
        let head = Lsn(past.last.a.max(past.last.b).0 + gap);
        let last_node = past.nodes.keys().rev().find(|id| !is_special(**id)).copied().unwrap_or(NodeId::ROOT);
        let mut rebuild = Self {
            past: Past::default(),
            nodes: BTreeMap::new(),
            places: BTreeMap::new(),
            gone: BTreeMap::new(),
            strays: PerSide::default(),
            unseen: PerSide::default(),
            report: Report::default(),
            homes: Homes::default(),
            head,
            next_node: NodeId(last_node.0 + gap).next(),
            now_ns,
            nonce,
            tickets: 0,
        };
        let mut alive: Vec<_> = past.nodes.values().map(|known| &known.newest).collect();
        // Where two claim a place, since a history has gaps, the newer one has it.
        alive.sort_by_key(|change| std::cmp::Reverse(change.lsn));
        for change in alive {
            let Some(now) = &change.now else { continue };
            rebuild.insert(change.node, change.lsn, now.place.clone(), now.body.clone());
        }
        rebuild.past = past;
        rebuild.drop_orphans();
        rebuild
    }

    fn insert(&mut self, id: NodeId, lsn: Lsn, place: Place, body: Body) {
        let place = self.free_place(place, None);
        self.places.insert(place.clone(), id);
        let (copies, have) = (PerSide::default(), PerSide::default());
        self.nodes.insert(id, Alive { lsn, place, body, blocks: None, copies, have });
    }

    /// The place, or where it is taken one beside it.
    pub(super) fn free_place(&mut self, place: Place, side: Option<Side>) -> Place {
        let name = place.name.clone();
        let mut free = place;
        while self.places.contains_key(&free) {
            let lsn = self.next_lsn();
            let note = format!("kept from {}, lsn {lsn}", side.unwrap_or(Side::A));
            free.name = name.with_note(&note).unwrap_or_else(|| name.clone());
        }
        free
    }

    /// Nodes whose folder is not known, or a file, have no path: what drives have of them is taken in as it is found.
    fn drop_orphans(&mut self) {
        loop {
            let orphans: Vec<_> =
                self.nodes.iter().filter(|(_, node)| !self.has_path(node)).map(|(id, _)| *id).collect();
            if orphans.is_empty() {
                return;
            }
            for id in orphans {
                self.forget(id);
            }
        }
    }

    fn has_path(&self, node: &Alive) -> bool {
        let mut parent = node.place.parent;
        // Clients' paths never lead into the trash; what lies there is known by what it was.
        if parent == NodeId::TRASH {
            return node.origin().is_some();
        }
        for _ in 0..=crate::path::PATH_DEPTH_MAX * 16 {
            if parent == NodeId::ROOT {
                return true;
            }
            match self.nodes.get(&parent) {
                Some(Alive { body: Body::Folder { .. }, place, .. }) => parent = place.parent,
                Some(_) | None => return false,
            }
        }
        false
    }

    fn forget(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.remove(&id) {
            self.places.remove(&node.place);
        }
        self.past.nodes.remove(&id);
    }

    pub(super) fn next_lsn(&mut self) -> Lsn {
        self.head = self.head.next();
        self.head
    }

    pub(super) fn next_ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket::new(self.nonce, self.tickets)
    }

    /// Adds a node that no history knows.
    pub(super) fn add(&mut self, place: Place, body: Body, side: Side) -> NodeId {
        let (id, lsn) = (self.next_node, self.next_lsn());
        self.next_node = id.next();
        let place = self.free_place(place, Some(side));
        self.insert(id, lsn, place, body);
        id
    }

    /// Makes sure that a folder in which something is to be kept is in the catalog.
    pub(super) fn revive(&mut self, id: NodeId, side: Side) {
        if is_root(id) || self.nodes.contains_key(&id) {
            return;
        }
        let Gone { have, .. } = self.gone.remove(&id).unwrap_or_default();
        let held = have.get(side).clone().or_else(|| have.a.clone()).or_else(|| have.b.clone());
        let place = match held {
            Some(held) if held.place.parent != NodeId::LIMBO => held.place,
            Some(held) => Place::new(NodeId::ROOT, held.place.name),
            None => Place::new(NodeId::ROOT, folder_name(id)),
        };
        self.revive(place.parent, side);
        let place = self.free_place(place, Some(side));
        let lsn = self.next_lsn();
        self.insert(id, lsn, place, Body::Folder { mtime_ns: 0 });
        if let Some(node) = self.nodes.get_mut(&id) {
            node.have = have;
        }
    }

    /// The path of a node, as clients see it.
    pub(super) fn path(&self, place: &Place) -> String {
        let mut names = vec![place.name.to_string()];
        let mut parent = place.parent;
        while let Some(node) = self.nodes.get(&parent) {
            names.push(node.place.name.to_string());
            parent = node.place.parent;
        }
        names.reverse();
        names.join("/")
    }

    pub(super) fn tell_kept(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get(&id) {
            let path = self.path(&node.place);
            self.report.kept.add(path);
        }
    }

    /// Ends: files that no drive has are not in the catalog, since nobody could read them.
    pub(super) fn end(mut self) -> Outcome {
        let missing = self.nodes.iter().filter(|(_, node)| node.version().is_some() && !node.is_held());
        let missing: Vec<_> = missing.map(|(id, _)| *id).collect();
        for id in missing {
            let Some(node) = self.nodes.remove(&id) else { continue };
            self.places.remove(&node.place);
            if let Some(origin) = node.origin() {
                self.report.missing.add(format!("{}, in the trash", origin.path));
                self.gone.insert(id, Gone { lsn: node.lsn, have: node.have, maybe: PerSide::default() });
                continue;
            }
            let path = self.path(&node.place);
            self.report.missing.add(path);
            if node.have.a.is_some() || node.have.b.is_some() {
                // An older version is still there: better than nothing.
                self.keep_older(id, node);
            }
        }
        self.note_removed();
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for (id, node) in std::mem::take(&mut self.nodes) {
            let debts = PerSide::new(|side| node.debt(side, self.maybe(side, id, &node)));
            match &node.body {
                Body::Folder { .. } => self.report.folders += 1,
                Body::File { version, .. } => {
                    self.report.files += 1;
                    self.report.bytes += version.size;
                }
                Body::Trashed { .. } => self.report.trashed += 1,
            }
            nodes.push(node.rebuilt(id, debts));
        }
        let removed = self.gone.into_iter().map(|(id, gone)| {
            let debt = |side: Side| {
                let (have, maybe) = (gone.have.get(side).clone(), gone.maybe.get(side).clone());
                let is_owed = have.is_some() || !maybe.is_empty();
                is_owed.then_some(Debt { lsn: gone.lsn, want: None, have, maybe, bytes: 0 })
            };
            (id, PerSide::new(debt))
        });
        let removed = removed.collect();
        Outcome { head: self.head, next_node: self.next_node, nodes, removed, report: self.report }
    }

    /// Takes an older version of a file in whose current one no drive has.
    fn keep_older(&mut self, id: NodeId, mut node: Alive) {
        let now_ns = self.now_ns;
        let content = [&node.have.a, &node.have.b].into_iter().flatten().map(|held| held.content).next();
        let Some(Content::File { version: older, .. }) = content else { return };
        let (Body::File { version, .. } | Body::Trashed { version, .. }) = &mut node.body else { return };
        *version = older;
        node.lsn = self.next_lsn();
        node.blocks = self.past.nodes.get(&id).and_then(|known| known.blocks.get(&older.ticket).cloned());
        for side in Side::BOTH {
            if let Some(Held { content: Content::File { version, observed: Some(observed) }, .. }) = node.have.get(side)
                && *version == older
            {
                *node.copies.get_mut(side) = Copy::Installed { observed: *observed, verified_ns: now_ns };
            }
        }
        self.places.insert(node.place.clone(), id);
        self.nodes.insert(id, node);
    }
}

impl Alive {
    fn rebuilt(self, id: NodeId, debts: PerSide<Option<Debt>>) -> RebuiltNode {
        let kept = self.origin().zip(self.version()).map(|(origin, version)| Kept {
            lsn: self.lsn,
            path: origin.path.clone(),
            cause: origin.cause,
            remains: Remains::File { node: id, name: self.place.name.clone(), size: version.size },
            // Running time begins anew with the journal, and so does the age of what is kept.
            keeping: Keeping { at: Elapsed::default(), ..origin.keeping },
        });
        let blocks = self.blocks.unwrap_or_default();
        let node = match self.body {
            Body::Folder { mtime_ns } => Node::Folder(FolderNode { id, lsn: self.lsn, mtime_ns }),
            Body::File { version, mtime_ns, executable, owner }
            | Body::Trashed { version, mtime_ns, executable, owner, .. } => Node::File(FileNode {
                id,
                lsn: self.lsn,
                version,
                blocks: Blocks::of(&blocks),
                mtime_ns,
                executable,
                owner,
                copies: self.copies,
            }),
        };
        RebuiltNode { place: self.place, node, blocks, debts, kept }
    }
}

fn folder_name(id: NodeId) -> Name {
    #[expect(clippy::expect_used, reason = "digits and letters are a name")]
    Name::parse(&format!("folder {id}")).expect("a plain name")
}

/// Ids that stand for places of a drive's own.
fn is_special(id: NodeId) -> bool {
    id.0 >= u64::MAX - 16
}
