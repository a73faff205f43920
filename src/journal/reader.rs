//! The journal as everybody but its writer sees it.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::{RwLock, RwLockReadGuard};

use crate::digest::Crc32;
use crate::ids::{Epoch, Lsn, NodeId, Nonce, PerSide, RequestId, Side, Ticket};
use crate::journal::alarm::{Alarm, Generation};
use crate::journal::catalog::{Catalog, Child, Resolved};
use crate::journal::codec;
use crate::journal::folded::{FoldedNames, Folders};
use crate::journal::names;
use crate::journal::owed::Owed;
use crate::journal::plan::above;
use crate::journal::precondition::Precondition;
use crate::journal::record::{Answered, Debt, Enrolment, Entry, FileNode, Fill, Flags, Fresh, Mark, Node, Place};
use crate::journal::room::NameCounts;
use crate::journal::store::{IVec, Pair, Pairs, Store, StoreError};
use crate::journal::usage::Usage;
use crate::namespace::{Namespace, folded};
use crate::path::{Name, RelPath};

/// The catalog, the debts and the counts; read by any thread at any time.
///
/// What is read here is durable: a batch is published after its barrier, all of it at once.
#[derive(Debug)]
pub struct Journal {
    /// Readers share it, publishing a batch takes it alone. It is held over gets and inserts of sled,
    /// whose pages are in memory as a rule: the price of never showing half a batch.
    pub(super) published: RwLock<Option<Arc<dyn Store>>>,
    pub(super) enrolment: RwLock<Arc<Enrolment>>,
    pub(super) epoch: AtomicU64,
    pub(super) nonces: RwLock<Vec<Nonce>>,
    pub(super) counts: Counts,
    pub(super) names: NameCounts,
    pub(super) folded: FoldedNames,
    pub(super) alarm: Arc<Alarm>,
}

/// Counts that `status` shows, kept as the journal changes.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) head: AtomicU64,
    pub(super) entries: AtomicI64,
    pub(super) owed: Owed,
    pub(super) paths: PerSide<AtomicI64>,
    pub(super) bytes: PerSide<AtomicI64>,
    pub(super) kept_items: AtomicI64,
    pub(super) kept_bytes: AtomicI64,
    pub(super) writable: AtomicBool,
}

/// A moment's view of the catalog. Nothing is published while it lives: keep it short, never over an `.await`, and one
/// at a time a thread: a second one waits for a writer that waits for the first.
pub struct Snapshot<'a> {
    guard: RwLockReadGuard<'a, Option<Arc<dyn Store>>>,
    counts: &'a Counts,
    _single: Single,
}

/// That a thread has no other snapshot, which debug builds make sure of.
struct Single;

thread_local! {
    static HELD: Cell<bool> = const { Cell::new(false) };
}

impl Single {
    fn new() -> Self {
        if cfg!(debug_assertions) {
            assert!(!HELD.replace(true), "a thread takes a second snapshot while it has one");
        }
        Self
    }
}

impl Drop for Single {
    fn drop(&mut self) {
        HELD.set(false);
    }
}

impl Catalog for Snapshot<'_> {
    fn value(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.store()?.get(key)
    }

    fn may_owe(&self, side: Side) -> bool {
        self.owes(side)
    }
}

impl<'a> Folders for Snapshot<'a> {
    fn child_names(
        &self,
        parent: NodeId,
    ) -> Result<impl Iterator<Item = Result<Name, StoreError>> + use<'_, 'a>, StoreError> {
        let prefix = codec::children(parent);
        let pairs = self.store()?.scan(&prefix, &codec::end_of(&prefix));
        Ok(pairs.map(|pair| codec::name_of(&pair?.0)))
    }
}

impl Snapshot<'_> {
    pub(super) fn store(&self) -> Result<&Arc<dyn Store>, StoreError> {
        self.guard.as_ref().ok_or(StoreError::Dead)
    }

    /// Whether a drive owes anything at all.
    pub fn owes(&self, side: Side) -> bool {
        self.counts.paths.get(side).load(Ordering::Acquire) > 0
    }

    /// Whether a drive owes something for a node.
    pub fn owes_node(&self, side: Side, id: NodeId) -> Result<bool, StoreError> {
        Ok(self.debt(side, id)?.is_some())
    }

    /// Whether a drive owes something for a node at `place`, or for a folder above it: its path may be changing.
    pub fn owes_way(&self, side: Side, id: NodeId, place: &Place) -> Result<bool, StoreError> {
        if !self.owes(side) {
            return Ok(false);
        }
        let (mut id, mut above) = (id, Some(place.clone()));
        while let Some(place) = above {
            if self.owes_node(side, id)? {
                return Ok(true);
            }
            if place.parent == NodeId::ROOT || place.parent == NodeId::TRASH {
                return Ok(false);
            }
            id = place.parent;
            above = self.folder_place(id)?;
        }
        // A folder above is gone.
        Ok(true)
    }

    /// Where a node belongs that a drive owes.
    pub fn want(&self, side: Side, id: NodeId) -> Result<Option<Place>, StoreError> {
        Ok(self.debt(side, id)?.and_then(|debt| debt.want))
    }

    /// The path that clients know a place by; `None` where a folder above it is gone.
    pub fn path_of(&self, place: &Place) -> Result<Option<RelPath>, StoreError> {
        let mut names = vec![place.name.clone()];
        let mut parent = place.parent;
        while parent != NodeId::ROOT {
            let Some(above) = self.folder_place(parent)? else { return Ok(None) };
            names.push(above.name);
            parent = above.parent;
        }
        Ok(Some(names.into_iter().rev().fold(RelPath::ROOT, |path, name| path.join(name))))
    }

    /// What is in a folder, by name, from `after` on; at most `limit`.
    pub fn children(&self, parent: NodeId, after: Option<&Name>, limit: usize) -> Result<Vec<Child>, StoreError> {
        self.child_pairs(parent, after)?
            .take(limit)
            .map(|pair| pair.and_then(|(key, value)| Ok((codec::name_of(&key)?, codec::decode(&key, &value)?))))
            .collect()
    }

    /// Shows what is in a folder, by name, from `after` on, until there is no more or `each` has seen enough.
    pub fn each_child(
        &self,
        parent: NodeId,
        after: Option<&Name>,
        mut each: impl FnMut(Name, &Node) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        for pair in self.child_pairs(parent, after)? {
            let (key, value) = pair?;
            if each(codec::name_of(&key)?, &codec::decode(&key, &value)?).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn child_pairs(&self, parent: NodeId, after: Option<&Name>) -> Result<Pairs<'_>, StoreError> {
        let prefix = codec::children(parent);
        let from = match after {
            Some(name) => [prefix.as_slice(), name.as_str().as_bytes(), &[0]].concat(),
            None => prefix.clone(),
        };
        Ok(self.store()?.scan(&from, &codec::end_of(&prefix)))
    }

    /// Nodes of the catalog in order of places, behind `after`; at most `limit`.
    pub fn nodes(&self, after: Option<&Place>, limit: usize) -> Result<Vec<(Place, Node)>, StoreError> {
        let space = codec::all(codec::Space::Node);
        let from = after.map_or_else(|| space.clone(), |place| [codec::node(place).as_slice(), &[0]].concat());
        let pairs = self.store()?.scan(&from, &codec::end_of(&space)).take(limit);
        let read = |(key, value): Pair| {
            let place = Place::new(NodeId(codec::number_of(&key)?), codec::name_of(&key)?);
            Ok((place, codec::decode(&key, &value)?))
        };
        pairs.map(|pair| pair.and_then(read)).collect()
    }

    /// A drive's debts in order of nodes, from `from` on; at most `limit`.
    pub fn debts(&self, side: Side, from: NodeId, limit: usize) -> Result<Vec<(NodeId, Debt)>, StoreError> {
        let store = self.store()?;
        let (mut debts, mut at) = (Vec::new(), Some(from));
        while let Some((start, end)) = at.and_then(|at| self.counts.owed.next(side, at))
            && debts.len() < limit
        {
            at = end;
            let end = end.map_or_else(|| codec::end_of(&codec::debts(side)), |end| codec::debt(side, end));
            for pair in store.scan(&codec::debt(side, start), &end).take(limit - debts.len()) {
                let (key, value) = pair?;
                debts.push((codec::debtor(&key)?, codec::decode(&key, &value)?));
            }
        }
        Ok(debts)
    }

    /// Nodes that lie, or may lie, in a folder of a drive though they belong elsewhere; at most `limit`.
    pub fn claims_in(&self, side: Side, parent: NodeId, limit: usize) -> Result<Vec<NodeId>, StoreError> {
        self.claims(&codec::claims_in(side, parent), limit)
    }

    /// Nodes that have, or may have, a name on a drive though they belong elsewhere; at most `limit`. Names that are
    /// one to the drive's file system are one.
    pub fn claims_to(&self, side: Side, place: &Place, limit: usize) -> Result<Vec<NodeId>, StoreError> {
        if names::namespaces(self)?.get(side).folds_case() {
            return self.folded_claims(side, place, limit);
        }
        self.claims(&codec::claims_to(side, place), limit)
    }

    fn folded_claims(&self, side: Side, place: &Place, limit: usize) -> Result<Vec<NodeId>, StoreError> {
        let prefix = codec::claims_in(side, place.parent);
        let wanted = folded(place.name.as_str());
        let mut claims = Vec::new();
        for pair in self.store()?.scan(&prefix, &codec::end_of(&prefix)) {
            let (key, value) = pair?;
            if claims.len() < limit && folded(codec::claimed_name(&key)?) == wanted {
                claims.push(codec::decode(&key, &value)?);
            }
        }
        Ok(claims)
    }

    fn claims(&self, prefix: &[u8], limit: usize) -> Result<Vec<NodeId>, StoreError> {
        let pairs = self.store()?.scan(prefix, &codec::end_of(prefix)).take(limit);
        pairs.map(|pair| pair.and_then(|(key, value)| codec::decode(&key, &value))).collect()
    }

    /// What a drive installed since its last checkpoint, as far as it was noted.
    pub fn unsettled(&self, side: Side) -> Result<Vec<(NodeId, Fresh)>, StoreError> {
        let store = self.store()?;
        let checkpoint: u64 = self.record(&codec::checkpoint(side))?.unwrap_or(0);
        let space = codec::all_fresh(side);
        let fresh = store.scan(&space, &codec::end_of(&space));
        let fresh =
            fresh.map(|pair| pair.and_then(|(key, value)| Ok((codec::debtor(&key)?, codec::decode(&key, &value)?))));
        let mut unsettled = fresh.collect::<Result<Vec<(NodeId, Fresh)>, StoreError>>()?;
        let space = codec::all(codec::Space::Flags);
        for pair in store.scan(&space, &codec::end_of(&space)) {
            let (key, value) = pair?;
            let flags: Flags = codec::decode(&key, &value)?;
            let Mark::Done { batch } = *flags.marks.get(side) else { continue };
            if batch <= checkpoint {
                continue;
            }
            let entry = self.record::<Entry>(&codec::entry(Lsn(codec::number_of(&key)?)))?;
            unsettled.extend(entry.and_then(|entry| Some((entry.node, Fresh { place: entry.place?, lsn: entry.lsn }))));
        }
        Ok(unsettled)
    }

    pub fn answer(&self, id: &RequestId) -> Result<Option<Answered>, StoreError> {
        self.record(&codec::answer(id))
    }
}

impl Journal {
    /// From now on `bell` is rung when a reader finds that the store fails, once a store.
    pub(crate) fn connect_alarm(&self, bell: impl Fn(Generation) + Send + Sync + 'static) {
        self.alarm.connect(Box::new(bell));
    }

    /// The catalog as it is now.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot { _single: Single::new(), guard: self.published.read(), counts: &self.counts }
    }

    pub fn enrolment(&self) -> Arc<Enrolment> {
        Arc::clone(&self.enrolment.read())
    }

    /// What the drives ask of names, as far as they were ever seen.
    pub fn namespaces(&self) -> Result<PerSide<Namespace>, StoreError> {
        names::namespaces(&self.snapshot())
    }

    /// Why a new file cannot have this path, which leads nowhere from `depth` on, as far as that is known before its commit.
    pub fn refuse_name(
        &self,
        path: &RelPath,
        (parent, depth): (NodeId, usize),
        names_max: Option<u64>,
    ) -> Result<Option<Precondition>, StoreError> {
        if let Some(most) = names_max.filter(|most| self.names.is_full(parent, *most)) {
            return Ok(Some(Precondition::FolderFull { folder: above(path, depth), most }));
        }
        let snapshot = self.snapshot();
        names::refuse(&snapshot, path, depth, |name| self.folded.look(&snapshot, parent, name))
    }

    /// The serial of the last label that a drive was given, as far as it was noted.
    pub fn label_serial(&self, side: Side) -> Result<Option<u64>, StoreError> {
        self.snapshot().record(&codec::label(side))
    }

    /// Whether a drive was waived when the journal was rebuilt, and has not come since.
    pub fn is_waived(&self, side: Side) -> Result<bool, StoreError> {
        Ok(self.snapshot().value(&codec::waived(side))?.is_some())
    }

    /// The backfill of a drive, while there is one.
    pub fn fill(&self, side: Side) -> Result<Option<Fill>, StoreError> {
        self.snapshot().record(&codec::fill(side))
    }

    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// The last committed LSN.
    pub fn head(&self) -> Lsn {
        Lsn(self.counts.head.load(Ordering::Acquire))
    }

    pub fn entries(&self) -> u64 {
        self.counts.entries.load(Ordering::Relaxed).max(0).cast_unsigned()
    }

    /// Paths and bytes that a drive is behind.
    pub fn behind(&self, side: Side) -> (u64, u64) {
        let count = |count: &AtomicI64| count.load(Ordering::Acquire).max(0).cast_unsigned();
        (count(self.counts.paths.get(side)), count(self.counts.bytes.get(side)))
    }

    /// Whether the last commit went well.
    pub fn is_writable(&self) -> bool {
        self.counts.writable.load(Ordering::Acquire)
    }

    /// Whether a ticket was given out by this journal.
    pub fn knows(&self, ticket: Ticket) -> bool {
        self.nonces.read().contains(&ticket.nonce())
    }

    /// What the files of an owner come to.
    pub fn usage(&self, owner: &str) -> Result<Usage, StoreError> {
        self.snapshot().usage(owner)
    }

    /// Bytes of all files, but for those in the trash, which is emptied where there is no room.
    pub fn total_bytes(&self) -> Result<u64, StoreError> {
        const PAGE: usize = 1024;
        let prefix = codec::all(codec::Space::Node);
        let (mut from, end, mut bytes) = (prefix, codec::children(NodeId::TRASH), 0);
        loop {
            let snapshot = self.snapshot();
            let page: Vec<_> = snapshot.store()?.scan(&from, &end).take(PAGE).collect::<Result<_, _>>()?;
            let Some((last, _)) = page.last() else { return Ok(bytes) };
            from = [last.as_ref(), &[0]].concat();
            for (key, value) in &page {
                match codec::decode(key, value)? {
                    Node::File(file) => bytes += file.version.size,
                    Node::Folder(_) => {}
                }
            }
        }
    }

    /// Files whose current version no drive has but this one, at most `limit` of them, without those in the trash.
    ///
    /// Invariant: what the other drive lacks, it owes.
    pub fn only_on(&self, side: Side, limit: usize) -> Result<Vec<Place>, StoreError> {
        const PAGE: usize = 1024;
        let (mut found, mut at) = (Vec::new(), NodeId::ROOT);
        while found.len() < limit {
            let snapshot = self.snapshot();
            let page = snapshot.debts(side.other(), at, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            at = last.next();
            for (id, debt) in page {
                let Some(place) = debt.want.filter(|place| place.parent != NodeId::TRASH) else { continue };
                let Some(Node::File(file)) = snapshot.node(&place)?.filter(|node| node.id() == id) else { continue };
                let only = file.copies.get(side).is_durable() && !file.copies.get(side.other()).is_durable();
                if only && found.len() < limit {
                    found.push(place);
                }
            }
        }
        Ok(found)
    }

    pub fn resolve(&self, path: &RelPath) -> Result<Resolved, StoreError> {
        self.snapshot().resolve(path)
    }

    /// The file at `place`, if it is still `id`.
    pub fn file(&self, place: &Place, id: NodeId) -> Result<Option<FileNode>, StoreError> {
        match self.snapshot().node(place)? {
            Some(Node::File(file)) if file.id == id => Ok(Some(file)),
            Some(Node::File(_) | Node::Folder(_)) | None => Ok(None),
        }
    }

    pub fn block_digests(&self, file: &FileNode) -> Result<Vec<Crc32>, StoreError> {
        self.snapshot().block_digests(file)
    }

    /// The path that clients know a place by; `None` where a folder above it is gone.
    pub fn path_of(&self, place: &Place) -> Result<Option<RelPath>, StoreError> {
        self.snapshot().path_of(place)
    }
}
