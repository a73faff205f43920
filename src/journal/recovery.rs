//! What a store says when it is opened: what was committed is published, what a cut left half done is ended.

use std::collections::{BTreeMap, BTreeSet};

use crate::elapsed::Elapsed;
use crate::ids::{Epoch, Lsn, NodeId, Nonce, PerSide, Side};
use crate::journal::catalog::Catalog;
use crate::journal::codec::{self, Fact, Space};
use crate::journal::draft::{Tally, settled};
use crate::journal::fill::{filling, settle_fills};
use crate::journal::owed::{self, Spans, Step};
use crate::journal::plan::Counters;
use crate::journal::record::{Content, Debt, Enrolment, Entry, Flags, Held, Mark, Op};
use crate::journal::store::{IVec, Store, StoreError};
use crate::journal::trash::Kept;
use crate::journal::usage;

/// Applies changes. `applied` says that redo may start behind this LSN: it comes after all that redo would do,
/// and before entries go, since redo wants them without a gap.
pub(super) fn apply_all(store: &dyn Store, ops: &[Op], applied: Option<Lsn>) -> Result<(), StoreError> {
    let (retired, changes): (Vec<_>, Vec<_>) =
        ops.iter().partition(|op| op.value.is_none() && codec::is_entry(&op.key));
    changes.into_iter().try_for_each(|op| apply(store, op))?;
    if let Some(lsn) = applied {
        store.insert(&codec::meta(Fact::Applied), &codec::encode(&lsn))?;
    }
    retired.into_iter().try_for_each(|op| apply(store, op))
}

pub(super) fn apply(store: &dyn Store, op: &Op) -> Result<(), StoreError> {
    match &op.value {
        Some(value) => store.insert(&op.key, value),
        None => store.remove(&op.key),
    }
}

/// What a store says when it is opened, after the redo.
pub(super) struct Recovered {
    pub(super) enrolment: Enrolment,
    pub(super) epoch: Epoch,
    pub(super) elapsed: Elapsed,
    pub(super) nonces: Vec<Nonce>,
    pub(super) counters: Counters,
    pub(super) batches: PerSide<u64>,
    pub(super) unsettled: PerSide<BTreeSet<Lsn>>,
    pub(super) entries: i64,
    pub(super) answers: u64,
    pub(super) tally: Tally,
    pub(super) owed: PerSide<Spans>,
}

/// Reads single records of a store.
pub(super) struct Plain<'a>(pub(super) &'a dyn Store);

impl Catalog for Plain<'_> {
    fn value(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.0.get(key)
    }
}

impl Recovered {
    pub(super) fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let plain = Plain(store);
        let missing = |what: &str| StoreError::Corrupt(format!("the journal has no {what}"));
        let format: u32 = plain.record(&codec::meta(Fact::Format))?.ok_or_else(|| missing("format"))?;
        if !codec::FORMATS_READ.contains(&format) {
            return Err(StoreError::Corrupt(format!("format {format}, this twinstickd knows {}", codec::FORMAT)));
        }
        if format != codec::FORMAT {
            store.insert(&codec::meta(Fact::Format), &codec::encode(&codec::FORMAT))?;
        }
        let mut enrolment = plain.record(&codec::meta(Fact::Enrolment))?.ok_or_else(|| missing("enrolment"))?;
        let head = redo(store)?;
        mend(store, &mut enrolment)?;
        let checkpoints = checkpoints(store)?;
        let next_node = plain.record(&codec::meta(Fact::NextNode))?.unwrap_or(NodeId(1));
        let mut recovered = Self {
            enrolment,
            epoch: plain.record(&codec::meta(Fact::Epoch))?.unwrap_or_default(),
            elapsed: plain.record(&codec::meta(Fact::Elapsed))?.unwrap_or_default(),
            nonces: plain.record(&codec::meta(Fact::Nonces))?.unwrap_or_default(),
            // What was under way at the end may have reached a drive: all debts are exposed.
            counters: Counters {
                head,
                next_node,
                checkpoints,
                exposed: PerSide::new(|_| head),
                attached: PerSide::default(),
                filling: filling(store)?,
            },
            batches: PerSide::new(|side| checkpoints.get(side) + 1),
            unsettled: PerSide::default(),
            entries: count(store, Space::Entry)?.cast_signed(),
            answers: count(store, Space::AnswerOrder)?,
            tally: Tally::default(),
            owed: PerSide::default(),
        };
        recovered.read_flags(store)?;
        recovered.read_debts(store)?;
        recovered.read_kept(store)?;
        Ok(recovered)
    }

    fn read_flags(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let space = codec::all(Space::Flags);
        for pair in store.scan(&space, &codec::end_of(&space)) {
            let (key, value) = pair?;
            let flags: Flags = codec::decode(&key, &value)?;
            let lsn = Lsn(codec::number_of(&key)?);
            for (side, mark) in flags.marks.iter() {
                if let Mark::Done { batch } = mark {
                    self.unsettled.get_mut(side).insert(lsn);
                    let next = self.batches.get_mut(side);
                    *next = (*next).max(batch + 1);
                }
            }
        }
        Ok(())
    }

    fn read_debts(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        for side in Side::BOTH {
            let space = codec::debts(side);
            for pair in store.scan(&space, &codec::end_of(&space)) {
                let (key, value) = pair?;
                let debt: Debt = codec::decode(&key, &value)?;
                owed::count(self.owed.get_mut(side), codec::debtor(&key)?, Step::Came);
                *self.tally.paths.get_mut(side) += 1;
                *self.tally.bytes.get_mut(side) += debt.bytes.cast_signed();
                *self.tally.doubts.get_mut(side) += i64::from(!debt.maybe.is_empty());
            }
        }
        Ok(())
    }

    fn read_kept(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let space = codec::all(Space::Kept);
        for pair in store.scan(&space, &codec::end_of(&space)) {
            let (key, value) = pair?;
            let kept: Kept = codec::decode(&key, &value)?;
            self.tally.kept_items += 1;
            self.tally.kept_bytes += kept.remains.bytes().cast_signed();
        }
        Ok(())
    }
}

/// Publishes what was committed behind the last published LSN; the head.
pub(super) fn redo(store: &dyn Store) -> Result<Lsn, StoreError> {
    let applied: Lsn = Plain(store).record(&codec::meta(Fact::Applied))?.unwrap_or_default();
    let mut head = applied;
    let mut ops = Vec::new();
    let end = codec::end_of(&codec::all(Space::Entry));
    let pairs: Vec<_> = store.scan(&codec::entry(applied.next()), &end).collect::<Result<_, _>>()?;
    for (key, value) in pairs {
        let entry: Entry = codec::decode(&key, &value)?;
        if entry.lsn != head.next() {
            return Err(StoreError::Corrupt(format!("entry {} follows entry {head}", entry.lsn)));
        }
        head = entry.lsn;
        ops.extend(entry.ops);
    }
    apply_all(store, &ops, Some(head).filter(|head| *head != applied))?;
    Ok(head)
}

/// Ends what a cut left half on record.
pub(super) fn mend(store: &dyn Store, enrolment: &mut Enrolment) -> Result<(), StoreError> {
    mend_flags(store)?;
    mend_folders_apart(store)?;
    mend_claims(store)?;
    usage::count_once(store)?;
    settle_fills(store, enrolment)
}

/// Sets the flags of entries that a cut kept from being set: what no debt refers to is settled.
pub(super) fn mend_flags(store: &dyn Store) -> Result<(), StoreError> {
    let plain = Plain(store);
    let checkpoints = checkpoints(store)?;
    let space = codec::all(Space::Entry);
    let mut mended = Vec::new();
    for pair in store.scan(&space, &codec::end_of(&space)) {
        let (key, value) = pair?;
        let entry: Entry = codec::decode(&key, &value)?;
        let old: Option<Flags> = plain.record(&codec::flags(entry.lsn))?;
        let old = old.unwrap_or_else(|| entry.flags());
        let mut flags = old;
        for side in Side::BOTH {
            let owed = plain.debt(side, entry.node)?.is_some_and(|debt| debt.lsn == entry.lsn);
            let mark = flags.marks.get_mut(side);
            if *mark == Mark::Pending && !owed {
                *mark = Mark::Settled;
            }
        }
        if flags != old || settled(&flags, &checkpoints) {
            mended.push((entry.lsn, flags));
        }
    }
    for (lsn, flags) in mended {
        if settled(&flags, &checkpoints) {
            store.remove(&codec::entry(lsn))?;
            store.remove(&codec::flags(lsn))?;
        } else {
            store.insert(&codec::flags(lsn), &codec::encode(&flags))?;
        }
    }
    Ok(())
}

/// Takes back that a drive takes a folder apart (`journal/apart`) where a cut left the half of it on record: the folder is
/// still said to be where its husk is, and what is in it lies in the one or the other. The lane begins anew.
fn mend_folders_apart(store: &dyn Store) -> Result<(), StoreError> {
    for side in Side::BOTH {
        let space = codec::debts(side);
        let (mut folders, mut removed) = (BTreeMap::new(), Vec::new());
        for pair in store.scan(&space, &codec::end_of(&space)) {
            let (key, value) = pair?;
            let (id, debt) = (codec::debtor(&key)?, codec::decode::<Debt>(&key, &value)?);
            match (debt.want, debt.have) {
                (None, Some(Held { place, content: Content::Folder })) => removed.push((place, key, id)),
                (Some(_), Some(Held { place, content: Content::Folder })) => drop(folders.insert(place, id)),
                (_, Some(Held { content: Content::File { .. }, .. }) | None) => {}
            }
        }
        let husks = removed.into_iter().filter_map(|(place, key, husk)| Some((husk, (key, *folders.get(&place)?))));
        let husks: BTreeMap<_, _> = husks.collect();
        if husks.is_empty() {
            continue;
        }
        let mut left = Vec::new();
        for pair in store.scan(&space, &codec::end_of(&space)) {
            let (key, value) = pair?;
            let mut debt = codec::decode::<Debt>(&key, &value)?;
            let in_husks = debt.have.iter_mut().chain(&mut debt.maybe);
            let mut is_left = false;
            for held in in_husks {
                if let Some((_, folder)) = husks.get(&held.place.parent) {
                    held.place.parent = *folder;
                    is_left = true;
                }
            }
            if is_left {
                left.push((key, debt));
            }
        }
        left.iter().try_for_each(|(key, debt)| store.insert(key, &codec::encode(debt)))?;
        // Last: cut short before that, it is begun anew.
        husks.values().try_for_each(|(key, _)| store.remove(key))?;
    }
    Ok(())
}

/// Makes the index of claims that of the debts again: what a drive told is no entry that is redone, and a cut in the midst
/// of its records can part the two. A claim without its debt would keep a name taken for ever.
fn mend_claims(store: &dyn Store) -> Result<(), StoreError> {
    for side in Side::BOTH {
        let mut missing = BTreeMap::new();
        let debts = codec::debts(side);
        for pair in store.scan(&debts, &codec::end_of(&debts)) {
            let (key, value) = pair?;
            let (id, debt) = (codec::debtor(&key)?, codec::decode::<Debt>(&key, &value)?);
            missing.extend(debt.claims().into_iter().map(|place| (codec::claim(side, place, id), id)));
        }
        let mut stale = Vec::new();
        let claims = codec::claims(side);
        for pair in store.scan(&claims, &codec::end_of(&claims)) {
            let (key, _) = pair?;
            if missing.remove::<[u8]>(&key).is_none() {
                stale.push(key);
            }
        }
        stale.iter().try_for_each(|key| store.remove(key))?;
        missing.iter().try_for_each(|(key, id)| store.insert(key, &codec::encode(id)))?;
    }
    Ok(())
}

/// The last checkpointed batches.
fn checkpoints(store: &dyn Store) -> Result<PerSide<u64>, StoreError> {
    let checkpoint = |side| Plain(store).record(&codec::checkpoint(side));
    Ok(PerSide { a: checkpoint(Side::A)?.unwrap_or(0), b: checkpoint(Side::B)?.unwrap_or(0) })
}

fn count(store: &dyn Store, space: Space) -> Result<u64, StoreError> {
    let prefix = codec::all(space);
    store.scan(&prefix, &codec::end_of(&prefix)).try_fold(0, |count, pair| pair.map(|_| count + 1))
}
