//! Backfills: a drive enrolled in place of another one, and debts for which the journal keeps no entries.
//!
//! Debts are one record a node whatever happens, so that a backfill needs no list of its own: a replaced drive owes
//! everything, one that was away for too long owes what it owes. What a backfill gives up are entries, which grow with
//! every change that is made while a drive is away.

use crate::ids::{NodeId, PerSide, Side};
use crate::journal::catalog::Catalog;
use crate::journal::codec::{self, Fact, Space};
use crate::journal::draft::Draft;
use crate::journal::record::{
    Copy, Debt, Enrolled, Enrolment, Entry, FileNode, Fill, FillCause, Flags, Mark, Node, Place,
};
use crate::journal::recovery::{Plain, apply, mend_flags};
use crate::journal::store::{Store, StoreError};
use crate::journal::writer::Writer;

/// Records that are read before some are written.
const PAGE: usize = 1024;

impl Writer {
    /// Enrols a drive in place of the one on its side, which must have left: it owes everything from now on.
    ///
    /// Decided by one durable record; cut short behind it, opening the journal ends it. `now_ns` is for people.
    pub fn replace(&mut self, side: Side, drive: Enrolled, now_ns: i64) -> Result<(), StoreError> {
        let result = self.try_replace(side, drive, now_ns);
        if let Err(error) = &result {
            self.fail(error);
        }
        result
    }

    fn try_replace(&mut self, side: Side, drive: Enrolled, now_ns: i64) -> Result<(), StoreError> {
        let store = self.open_store()?;
        self.detach(side);
        let fill = Fill { cause: FillCause::Replaced, drive, begun_ns: now_ns, paths: 0, bytes: 0 };
        store.insert(&codec::fill(side), &codec::encode(&fill))?;
        store.barrier()?;
        self.reload(&store)?;
        store.barrier()
    }

    /// Gives up the entries that a drive still has to flag, once the journal has more than `entries_max`.
    ///
    /// Its debts stay, and are worked off as a backfill.
    pub fn limit(&mut self, entries_max: u64, now_ns: i64) -> Result<(), StoreError> {
        let entries = self.journal().entries();
        if entries <= entries_max.max(self.limited_at) || !self.is_open() {
            return Ok(());
        }
        // Entries that only wait for a checkpoint stay; they are not counted again at each commit.
        self.limited_at = entries + entries / 8;
        let result = self.outgrow(entries_max, now_ns);
        if let Err(error) = &result {
            self.fail(error);
        }
        result
    }

    fn outgrow(&mut self, entries_max: u64, now_ns: i64) -> Result<(), StoreError> {
        let store = self.open_store()?;
        let drives = self.journal().enrolment().drives.clone();
        let pending = pending(store.as_ref())?;
        // A drive that is there works its entries off.
        let away = Side::BOTH.into_iter().filter(|side| !self.is_attached(*side));
        let Some(side) = away.max_by_key(|side| *pending.get(*side)) else { return Ok(()) };
        let pending = *pending.get(side);
        if pending <= entries_max / 2 {
            return Ok(());
        }
        self.limited_at = 0;
        let (paths, bytes) = self.journal().behind(side);
        let drive = drives.get(side).clone();
        let fill = Fill { cause: FillCause::Outgrown, drive, begun_ns: now_ns, paths, bytes };
        tracing::warn!(drive = %side, entries = pending, paths, bytes, "the journal's limit is reached: a backfill");
        store.insert(&codec::fill(side), &codec::encode(&fill))?;
        store.barrier()?;
        self.reload(&store)
    }
}

/// Ends what the records of backfills say has begun. Idempotent: cut short anywhere, it is done again at the next open.
pub(super) fn settle_fills(store: &dyn Store, enrolment: &mut Enrolment) -> Result<(), StoreError> {
    for side in Side::BOTH {
        let Some(fill) = Plain(store).record::<Fill>(&codec::fill(side))? else { continue };
        if enrolment.drives.get(side).id == fill.drive.id {
            give_up_entries(store, side)?;
            continue;
        }
        forget_drive(store, side)?;
        measure(store, side, fill.clone())?;
        *enrolment.drives.get_mut(side) = fill.drive;
        // Last: while it names the old drive, all of this is done again.
        store.insert(&codec::meta(Fact::Enrolment), &codec::encode(enrolment))?;
    }
    Ok(())
}

/// The drives that are being filled.
pub(super) fn filling(store: &dyn Store) -> Result<PerSide<bool>, StoreError> {
    let on_record = |side| store.get(&codec::fill(side)).map(|fill| fill.is_some());
    Ok(PerSide { a: on_record(Side::A)?, b: on_record(Side::B)? })
}

/// Writes what a drive lacks into its backfill's record.
fn measure(store: &dyn Store, side: Side, fill: Fill) -> Result<(), StoreError> {
    let (mut paths, mut bytes) = (0, 0);
    let space = codec::debts(side);
    for pair in store.scan(&space, &codec::end_of(&space)) {
        let (key, value) = pair?;
        let debt: Debt = codec::decode(&key, &value)?;
        paths += 1;
        bytes += debt.bytes;
    }
    store.insert(&codec::fill(side), &codec::encode(&Fill { paths, bytes, ..fill }))
}

/// Clears everything that the journal knew of a side's drive: it has nothing and owes all.
fn forget_drive(store: &dyn Store, side: Side) -> Result<(), StoreError> {
    for_each_page(store, &codec::debts(side), |draft, key, value| {
        let debt: Debt = codec::decode(key, value)?;
        // What was to be removed is not on the new drive.
        if debt.want.is_none() {
            draft.set_debt(side, codec::debtor(key)?, Some(&debt), None);
        }
        Ok(())
    })?;
    for_each_page(store, &codec::all(Space::Node), |draft, key, value| {
        let place = Place::new(NodeId(codec::number_of(key)?), codec::name_of(key)?);
        owe(draft, side, &place, codec::decode(key, value)?)
    })?;
    store.remove(&codec::label(side))?;
    store.remove(&codec::scrub(side))?;
    store.remove(&codec::namespace(side))?;
    for_each_page(store, &codec::all_fresh(side), |draft, key, _| {
        draft.remove(key.to_owned());
        Ok(())
    })?;
    give_up_entries(store, side)
}

/// A drive lacks a node altogether.
fn owe(draft: &mut Draft<'_>, side: Side, place: &Place, node: Node) -> Result<(), StoreError> {
    let (id, lsn, bytes) = match &node {
        Node::File(file) => (file.id, file.lsn, file.version.size),
        Node::Folder(folder) => (folder.id, folder.lsn, 0),
    };
    let old = draft.debt(side, id)?;
    let lsn = old.as_ref().map_or(lsn, |debt| debt.lsn);
    let new = Debt { lsn, want: Some(place.clone()), have: None, maybe: Vec::new(), bytes };
    // The debt before the mark: cut short between the two, a drive never has what it does not owe and lacks.
    if old.as_ref() != Some(&new) {
        draft.set_debt(side, id, old.as_ref(), Some(&new));
    }
    if place.parent == NodeId::TRASH
        && let Node::File(file) = &node
        && !file.copies.get(side.other()).is_durable()
    {
        // Nobody has it any more, and nobody waits for it.
        return forget_kept(draft, place, file);
    }
    if let Node::File(mut file) = node
        && *file.copies.get(side) != Copy::Missing
    {
        *file.copies.get_mut(side) = Copy::Missing;
        draft.set(codec::node(place), &Node::File(file));
    }
    Ok(())
}

/// Lets go of a file in the trash that no drive has.
fn forget_kept(draft: &mut Draft<'_>, place: &Place, file: &FileNode) -> Result<(), StoreError> {
    for side in Side::BOTH {
        let Some(debt) = draft.debt(side, file.id)? else { continue };
        let left =
            (debt.have.is_some() || !debt.maybe.is_empty()).then(|| Debt { want: None, bytes: 0, ..debt.clone() });
        draft.set_debt(side, file.id, Some(&debt), left.as_ref());
    }
    // The record of the trash is known by the node's LSN: the entry that threw it away.
    if let Some(kept) = draft.kept(file.lsn)? {
        draft.remove_kept(&kept);
    }
    draft.release_pages(file);
    draft.remove(codec::node(place));
    Ok(())
}

/// Settles a drive's flag of every entry. Entries that no other drive needs go.
fn give_up_entries(store: &dyn Store, side: Side) -> Result<(), StoreError> {
    for_each_page(store, &codec::all(Space::Entry), |draft, key, value| {
        let entry: Entry = codec::decode(key, value)?;
        let flags = codec::flags(entry.lsn);
        let mut marks = draft.record::<Flags>(&flags)?.unwrap_or_else(|| entry.flags());
        // What is done and not checkpointed is still to be read back.
        if *marks.marks.get(side) == Mark::Pending {
            *marks.marks.get_mut(side) = Mark::Settled;
            draft.set(flags, &marks);
        }
        Ok(())
    })?;
    mend_flags(store)
}

/// Entries that each drive still has to flag.
fn pending(store: &dyn Store) -> Result<PerSide<u64>, StoreError> {
    let space = codec::all(Space::Entry);
    let mut pending = PerSide::default();
    for pair in store.scan(&space, &codec::end_of(&space)) {
        let (key, value) = pair?;
        let entry: Entry = codec::decode(&key, &value)?;
        let flags: Flags = Plain(store).record(&codec::flags(entry.lsn))?.unwrap_or_else(|| entry.flags());
        for (side, mark) in flags.marks.iter() {
            *pending.get_mut(side) += u64::from(*mark == Mark::Pending);
        }
    }
    Ok(pending)
}

/// Looks at all records that start with `prefix`, some at a time, and applies what the look changes.
fn for_each_page(
    store: &dyn Store,
    prefix: &[u8],
    mut look: impl FnMut(&mut Draft<'_>, &[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let (mut from, end) = (prefix.to_vec(), codec::end_of(prefix));
    loop {
        let page: Vec<_> = store.scan(&from, &end).take(PAGE).collect::<Result<_, _>>()?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        from = [last.as_ref(), &[0]].concat();
        let mut draft = Draft::new(store);
        for (key, value) in &page {
            look(&mut draft, key, value)?;
            draft.end_facts();
        }
        draft.publish.iter().try_for_each(|op| apply(store, op))?;
    }
}
