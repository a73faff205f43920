//! The records against each other: what must hold between them whenever the daemon could have been killed.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Lsn, NodeId, RequestId, Side};
use crate::journal::audit::flaw::Flaw;
use crate::journal::audit::node_set::NodeSet;
use crate::journal::audit::{Audit, DEPTH_MAX, Owed, readable};
use crate::journal::catalog::Catalog;
use crate::journal::codec::{self, Fact, Space};
use crate::journal::record::{Blocks, Copy, Debt, FileNode, INLINE_BLOCKS_MAX, Node, Place, block_count};
use crate::journal::store::StoreError;
use crate::journal::usage::{self, Usage};

type Result<T> = std::result::Result<T, StoreError>;

/// What a catalog has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub files: u64,
    pub folders: u64,
    pub bytes: u64,
}

/// Checks all links; what the catalog has. Records that do not decode are passed over: they were told of.
pub(super) fn check(audit: &Audit, found: &mut dyn FnMut(Flaw)) -> Result<Totals> {
    let next = readable(audit.record(&codec::meta(Fact::NextNode)))?;
    let (seen, totals, usages) = (NodeSet::default(), Totals::default(), BTreeMap::new());
    let mut links = Links { audit, found, next, seen, totals, usages };
    links.nodes()?;
    links.folders()?;
    for side in Side::BOTH {
        links.debts(side)?;
    }
    links.answers()?;
    if audit.damaged == 0 {
        links.usages()?;
    }
    Ok(links.totals)
}

struct Links<'a> {
    audit: &'a Audit,
    found: &'a mut dyn FnMut(Flaw),
    /// The next node's id, where that is on record.
    next: Option<NodeId>,
    seen: NodeSet,
    totals: Totals,
    /// What the files of each owner come to.
    usages: BTreeMap<String, Usage>,
}

impl Links<'_> {
    fn nodes(&mut self) -> Result<()> {
        let space = codec::all(Space::Node);
        for pair in self.audit.store.scan(&space, &codec::end_of(&space)) {
            let (key, value) = pair?;
            let (Ok(parent), Ok(name)) = (codec::number_of(&key), codec::name_of(&key)) else { continue };
            let place = Place::new(NodeId(parent), name);
            let Ok(node) = codec::decode::<Node>(&key, &value) else { continue };
            usage::fold(&mut self.usages, &place, &node);
            self.node(&place, &node)?;
        }
        Ok(())
    }

    fn node(&mut self, place: &Place, node: &Node) -> Result<()> {
        let id = node.id();
        if !self.seen.insert(id) {
            let path = self.path(place)?;
            (self.found)(Flaw::TwoPlaces { path, id });
        }
        if let Some(next) = self.next.filter(|next| id >= *next) {
            let path = self.path(place)?;
            (self.found)(Flaw::IdAhead { path, id, next });
        }
        self.check_lsn(place, node.lsn())?;
        self.check_above(place, id)?;
        match node {
            Node::File(file) => self.file(place, file),
            Node::Folder(_) => {
                self.totals.folders += 1;
                match self.audit.folder_place(id) {
                    Ok(Some(at)) if at == *place => Ok(()),
                    // The index is damaged: that was told.
                    Err(StoreError::Corrupt(_)) => Ok(()),
                    Ok(_) => {
                        let path = self.path(place)?;
                        (self.found)(Flaw::FolderIndex { path, id });
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    fn check_lsn(&mut self, place: &Place, lsn: Lsn) -> Result<()> {
        let head = self.audit.head;
        if lsn > head {
            let path = self.path(place)?;
            (self.found)(Flaw::LsnAhead { path, lsn, head });
        }
        Ok(())
    }

    /// Whether the folder above exists, and the way up ends.
    fn check_above(&mut self, place: &Place, id: NodeId) -> Result<()> {
        let mut at = place.parent;
        for _ in 0..DEPTH_MAX {
            if at == NodeId::ROOT || at == NodeId::TRASH {
                return Ok(());
            }
            match self.audit.folder_place(at) {
                Ok(Some(above)) => at = above.parent,
                Ok(None) if at == place.parent => {
                    (self.found)(Flaw::Orphan { path: Some(place.name.to_string()), id, parent: at });
                    return Ok(());
                }
                // Told at the folder that it is about.
                Ok(None) | Err(StoreError::Corrupt(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        (self.found)(Flaw::Loop { id: place.parent });
        Ok(())
    }

    fn file(&mut self, place: &Place, file: &FileNode) -> Result<()> {
        self.totals.files += 1;
        self.totals.bytes += file.version.size;
        if let Some(why) = self.digests(file)? {
            let path = self.path(place)?;
            (self.found)(Flaw::Digests { path, why });
        }
        for side in Side::BOTH {
            let installed = match file.copies.get(side) {
                Copy::Installed { .. } => true,
                Copy::Missing | Copy::Staged(_) => false,
            };
            if !installed && self.audit.owed(side, file.id)? == Owed::Nothing {
                let path = self.path(place)?;
                (self.found)(Flaw::NeitherHadNorOwed { path, side });
            }
        }
        Ok(())
    }

    /// What is wrong with the checksums of a file's blocks.
    fn digests(&self, file: &FileNode) -> Result<Option<String>> {
        let blocks = block_count(file.version.size);
        match &file.blocks {
            Blocks::One if blocks <= 1 => Ok(None),
            Blocks::Inline(digests) if digests.len() as u64 == blocks && digests.len() <= INLINE_BLOCKS_MAX => Ok(None),
            Blocks::One => Ok(Some(format!("one for {blocks} blocks"))),
            Blocks::Inline(digests) => Ok(Some(format!("{} for {blocks} blocks", digests.len()))),
            Blocks::Paged(_) => match self.audit.block_digests(file) {
                Ok(_) => Ok(None),
                Err(StoreError::Corrupt(why)) => Ok(Some(why)),
                Err(error) => Err(error),
            },
        }
    }

    fn folders(&mut self) -> Result<()> {
        let space = codec::all(Space::Folder);
        for pair in self.audit.store.scan(&space, &codec::end_of(&space)) {
            let (key, value) = pair?;
            let (Ok(id), Ok(place)) = (codec::number_of(&key).map(NodeId), codec::decode::<Place>(&key, &value)) else {
                continue;
            };
            match self.audit.node(&place) {
                Ok(Some(Node::Folder(folder))) if folder.id == id => {}
                Err(StoreError::Corrupt(_)) => {}
                Ok(_) => {
                    let path = self.path(&place)?;
                    (self.found)(Flaw::FolderIndex { path, id });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn debts(&mut self, side: Side) -> Result<()> {
        const PAGE: usize = 1024;
        let mut at = NodeId::ROOT;
        loop {
            let page = self.audit.debts(side, at, PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            at = last.next();
            for (id, debt) in &page {
                self.debt(side, *id, debt)?;
            }
        }
    }

    fn debt(&mut self, side: Side, id: NodeId, debt: &Debt) -> Result<()> {
        match &debt.want {
            None if self.seen.contains(id) => {
                (self.found)(Flaw::DebtGoal { path: None, side, id });
                return Ok(());
            }
            None => {}
            Some(place) => match self.audit.node(place) {
                Ok(Some(node)) if node.id() == id => {}
                Err(StoreError::Corrupt(_)) => return Ok(()),
                Ok(_) => {
                    let path = self.path(place)?;
                    (self.found)(Flaw::DebtGoal { path, side, id });
                    return Ok(());
                }
                Err(error) => return Err(error),
            },
        }
        let place = debt.want.as_ref().or_else(|| debt.have.as_ref().map(|held| &held.place));
        if let Some(place) = place {
            self.check_lsn(place, debt.lsn)?;
        }
        // It need not have an entry: a repair has none, and a backfill gives them up.
        Ok(())
    }

    fn usages(&mut self) -> Result<()> {
        let recorded = usage::all(self.audit.store.as_ref())?;
        let owners: BTreeSet<_> = recorded.keys().chain(self.usages.keys()).collect();
        for owner in owners {
            let of = |usages: &BTreeMap<String, Usage>| usages.get(owner).copied().unwrap_or_default();
            let (counted, recorded) = (of(&self.usages), of(&recorded));
            if counted != recorded {
                let (counted, recorded) = (counted.bytes, recorded.bytes);
                (self.found)(Flaw::Usage { owner: owner.clone(), counted, recorded });
            }
        }
        Ok(())
    }

    fn answers(&mut self) -> Result<()> {
        let space = codec::all(Space::AnswerOrder);
        for pair in self.audit.store.scan(&space, &codec::end_of(&space)) {
            let (key, value) = pair?;
            let Ok(id) = codec::decode::<RequestId>(&key, &value) else { continue };
            if self.audit.value(&codec::answer(&id))?.is_none() {
                (self.found)(Flaw::AnswerMissing { id: id.as_str().to_owned() });
            }
        }
        Ok(())
    }

    fn path(&self, place: &Place) -> Result<Option<String>> {
        Ok(self.audit.path_of(place)?.map(|path| path.to_string()))
    }
}
