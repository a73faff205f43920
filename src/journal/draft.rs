//! The store as it will be when a batch is published.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ids::{Lsn, NodeId, PerSide, Side};
use crate::journal::catalog::Catalog;
use crate::journal::codec;
use crate::journal::folded::Folders;
use crate::journal::owed::Step;
use crate::journal::record::{Blocks, Content, Debt, Entry, FileNode, Flags, Mark, Op};
use crate::journal::store::{IVec, Pair, Store, StoreError};
use crate::path::Name;

/// Reads through to the store, keeps changes to itself.
pub(super) struct Draft<'a> {
    store: &'a dyn Store,
    overlay: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Changes of the mutation or fact being planned, in order.
    ops: Vec<Op>,
    /// Changes of all that was planned, in order.
    pub(super) publish: Vec<Op>,
    /// Digest pages: written before the entries that refer to them.
    pub(super) pages: Vec<Op>,
    pub(super) entries: Vec<Entry>,
    pub(super) tally: Tally,
}

/// How a batch changes what is counted.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) paths: PerSide<i64>,
    pub(super) bytes: PerSide<i64>,
    /// Debts that came and went.
    pub(super) debts: Vec<(Side, NodeId, Step)>,
    /// Debts of nodes that may be elsewhere than recorded.
    pub(super) doubts: PerSide<i64>,
    pub(super) entries: i64,
    /// Things in the trash, and their bytes.
    pub(super) kept_items: i64,
    pub(super) kept_bytes: i64,
    /// Entries that a drive has done but not checkpointed.
    pub(super) unsettled: Vec<(Side, Lsn)>,
}

impl Catalog for Draft<'_> {
    fn value(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        match self.overlay.get(key) {
            Some(value) => Ok(value.as_deref().map(IVec::from)),
            None => self.store.get(key),
        }
    }
}

impl<'a> Folders for Draft<'a> {
    fn child_names(
        &self,
        parent: NodeId,
    ) -> Result<impl Iterator<Item = Result<Name, StoreError>> + use<'_, 'a>, StoreError> {
        let from = codec::children(parent);
        let to = codec::end_of(&from);
        let drafted = self.overlay.range(from.clone()..to.clone());
        let drafted = drafted.filter(|(_, value)| value.is_some()).map(|(key, _)| codec::name_of(key));
        let is_drafted = |pair: &Pair| self.overlay.contains_key::<[u8]>(&pair.0);
        let stored = self.store.scan(&from, &to).filter(move |pair| !pair.as_ref().is_ok_and(is_drafted));
        Ok(drafted.chain(stored.map(|pair| codec::name_of(&pair?.0))))
    }
}

impl<'a> Draft<'a> {
    pub(super) fn new(store: &'a dyn Store) -> Self {
        Self {
            store,
            overlay: BTreeMap::new(),
            ops: Vec::new(),
            publish: Vec::new(),
            pages: Vec::new(),
            entries: Vec::new(),
            tally: Tally::default(),
        }
    }

    pub(super) fn set<T: Serialize>(&mut self, key: Vec<u8>, value: &T) {
        self.change(key, Some(codec::encode(value)));
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.change(key, None);
    }

    fn change(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.overlay.insert(key.clone(), value.clone());
        self.ops.push(Op { key, value });
    }

    /// Ends a mutation: its changes become an entry's.
    pub(super) fn end_entry(&mut self, make: impl FnOnce(Vec<Op>) -> Entry) {
        let ops = std::mem::take(&mut self.ops);
        self.publish.extend(ops.iter().cloned());
        let entry = make(ops);
        if entry.pending == PerSide::default() {
            // No drive has anything to do: durable until the catalog has it, then gone.
            self.publish.push(Op { key: codec::entry(entry.lsn), value: None });
        } else {
            self.tally.entries += 1;
            self.overlay.insert(codec::entry(entry.lsn), Some(codec::encode(&entry)));
        }
        self.entries.push(entry);
    }

    /// Ends changes that need no entry: facts that drives reported.
    pub(super) fn end_facts(&mut self) {
        self.publish.append(&mut self.ops);
    }

    /// The keys of what a drive installed since its last checkpoint, with no entry that says so.
    pub(super) fn fresh(&self, side: Side) -> Result<Vec<IVec>, StoreError> {
        let from = codec::all_fresh(side);
        let to = codec::end_of(&from);
        let added = self.overlay.range(from.clone()..to.clone()).map(|(key, _)| Ok(IVec::from(key.as_slice())));
        self.store.scan(&from, &to).map(|pair| Ok(pair?.0)).chain(added).collect()
    }

    /// All pairs whose keys start with `prefix`.
    pub(super) fn pairs(&self, prefix: &[u8]) -> Result<BTreeMap<IVec, IVec>, StoreError> {
        let to = codec::end_of(prefix);
        let mut pairs: BTreeMap<_, _> = self.store.scan(prefix, &to).collect::<Result<_, _>>()?;
        for (key, value) in self.overlay.range(prefix.to_vec()..to) {
            match value {
                Some(value) => drop(pairs.insert(key.as_slice().into(), value.as_slice().into())),
                None => drop(pairs.remove(key.as_slice())),
            }
        }
        Ok(pairs)
    }

    /// How many names a folder has, counted up to `at_most` of those that are stored.
    pub(super) fn count_names(&self, parent: NodeId, at_most: u64) -> Result<u64, StoreError> {
        let from = codec::children(parent);
        let to = codec::end_of(&from);
        let drafted = self.overlay.range(from.clone()..to.clone()).filter(|(_, value)| value.is_some()).count() as u64;
        let mut names = drafted;
        for pair in self.store.scan(&from, &to) {
            if names >= at_most {
                break;
            }
            names += u64::from(!self.overlay.contains_key::<[u8]>(&pair?.0));
        }
        Ok(names)
    }

    /// Whether a folder has anything in it.
    pub(super) fn has_children(&self, parent: NodeId) -> Result<bool, StoreError> {
        let from = codec::children(parent);
        let to = codec::end_of(&from);
        if self.overlay.range(from.clone()..to.clone()).any(|(_, value)| value.is_some()) {
            return Ok(true);
        }
        for pair in self.store.scan(&from, &to) {
            if !self.overlay.contains_key::<[u8]>(&pair?.0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the digest pages of a version that is not needed any more.
    pub(super) fn release_pages(&mut self, file: &FileNode) {
        if let Blocks::Paged(pages) = file.blocks {
            for page in 0..pages {
                self.remove(codec::page(file.version.ticket, page));
            }
        }
    }

    /// Sets, changes or clears a debt; keeps the index of claims and the counts with it.
    pub(super) fn set_debt(&mut self, side: Side, id: NodeId, old: Option<&Debt>, new: Option<&Debt>) {
        *self.tally.paths.get_mut(side) += i64::from(new.is_some()) - i64::from(old.is_some());
        match (old, new) {
            (None, Some(_)) => self.tally.debts.push((side, id, Step::Came)),
            (Some(_), None) => self.tally.debts.push((side, id, Step::Went)),
            (None, None) | (Some(_), Some(_)) => {}
        }
        let bytes = |debt: Option<&Debt>| debt.map_or(0, |debt| debt.bytes.cast_signed());
        *self.tally.bytes.get_mut(side) += bytes(new) - bytes(old);
        let doubtful = |debt: Option<&Debt>| i64::from(debt.is_some_and(|debt| !debt.maybe.is_empty()));
        *self.tally.doubts.get_mut(side) += doubtful(new) - doubtful(old);
        let (was, is) = (old.map(Debt::claims).unwrap_or_default(), new.map(Debt::claims).unwrap_or_default());
        for place in was.difference(&is) {
            self.remove(codec::claim(side, place, id));
        }
        for place in is.difference(&was) {
            self.set(codec::claim(side, place, id), &id);
        }
        match new {
            Some(debt) => self.set(codec::debt(side, id), debt),
            None if old.is_some() => self.remove(codec::debt(side, id)),
            None => {}
        }
    }

    /// Records how far a drive is with an entry's node; an entry that no drive needs any more goes. False where it has
    /// gone before, and for a node that the entry changed beside its own: only the debt speaks of that one.
    pub(super) fn mark(
        &mut self,
        side: Side,
        (lsn, node): (Lsn, NodeId),
        mark: Mark,
        checkpoints: &PerSide<u64>,
    ) -> Result<bool, StoreError> {
        let Some(entry) = self.record::<Entry>(&codec::entry(lsn))?.filter(|entry| entry.node == node) else {
            return Ok(false);
        };
        let mut flags = self.record::<Flags>(&codec::flags(lsn))?.unwrap_or_else(|| entry.flags());
        *flags.marks.get_mut(side) = mark;
        if settled(&flags, checkpoints) {
            self.retire(lsn)?;
            return Ok(true);
        }
        if let Mark::Done { .. } = mark {
            self.tally.unsettled.push((side, lsn));
        }
        self.set(codec::flags(lsn), &flags);
        Ok(true)
    }

    /// Lets an entry go if every drive is done with it and has checkpointed that.
    pub(super) fn settle(&mut self, lsn: Lsn, checkpoints: &PerSide<u64>) -> Result<(), StoreError> {
        if self.flags(lsn)?.is_some_and(|flags| settled(&flags, checkpoints)) {
            self.retire(lsn)?;
        }
        Ok(())
    }

    /// The flags of an entry; `None` where it has been retired.
    fn flags(&self, lsn: Lsn) -> Result<Option<Flags>, StoreError> {
        if let Some(flags) = self.record::<Flags>(&codec::flags(lsn))? {
            return Ok(Some(flags));
        }
        Ok(self.record::<Entry>(&codec::entry(lsn))?.map(|entry| entry.flags()))
    }

    // The entry first: flags without an entry go at the next checkpoint, an entry without flags would stay.
    fn retire(&mut self, lsn: Lsn) -> Result<(), StoreError> {
        if self.value(&codec::entry(lsn))?.is_some() {
            self.remove(codec::entry(lsn));
            self.tally.entries -= 1;
        }
        self.remove(codec::flags(lsn));
        Ok(())
    }
}

/// Whether every drive has done and checkpointed an entry.
pub(super) fn settled(flags: &Flags, checkpoints: &PerSide<u64>) -> bool {
    flags.marks.iter().all(|(side, mark)| match mark {
        Mark::Pending => false,
        Mark::Done { batch } => batch <= checkpoints.get(side),
        Mark::Settled => true,
    })
}

/// Bytes that a drive must write for a node that it lacks.
pub(super) fn bytes_of(content: &Content) -> u64 {
    match content {
        Content::Folder => 0,
        Content::File { version, .. } => version.size,
    }
}
