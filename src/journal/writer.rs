//! The journal's one writer: commits, and facts from the drives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::RwLock;

use crate::elapsed::Elapsed;
use crate::ids::{Arrival, DriveId, Lsn, Nonce, PerSide, RequestId, Side, random};
use crate::journal::alarm::{Alarmed, Generation};
use crate::journal::catalog::Catalog as _;
use crate::journal::change::Change;
use crate::journal::codec::{self, Fact, Space};
use crate::journal::draft::Draft;
use crate::journal::fact::{DriveFact, FactPlanner};
use crate::journal::fill::filling;
use crate::journal::folded::FoldedNames;
use crate::journal::plan::{Counters, PlanError, Planner, Released};
use crate::journal::precondition::Precondition;
use crate::journal::reader::{Counts, Journal};
use crate::journal::record::{Answered, Enrolment, Entry, Receipt, Request};
use crate::journal::recovery::{Recovered, apply, apply_all};
use crate::journal::room::NameCounts;
use crate::journal::store::{Contents, Store, StoreError};
use crate::namespace::Namespace;

/// Answers that are remembered for a mutation sent again.
pub const ANSWERS_MAX: u64 = 10_000;

/// A mutation that was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error(transparent)]
    Precondition(#[from] Precondition),
    /// Whether it was committed shows when the journal is open again: its stages stay until then.
    #[error("the journal is not writable: {0}")]
    InDoubt(String),
}

/// Whether a drive was attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    Yes,
    /// Nodes changed whose places were still being found out: they are to be looked for again.
    InDoubt,
    /// Another drive was enrolled in its place.
    Replaced,
}

/// What a batch of commits gave.
pub struct Committed {
    /// Invariant: one for each request, in order.
    pub answers: Vec<Result<Receipt, CommitError>>,
    /// Stages of versions that are no longer current.
    pub released: Vec<Released>,
    /// What was committed, in order, for the drive logs.
    pub changes: Vec<Change>,
}

/// The one who writes. Owned by the committer's thread; after an error it is only good for being opened again.
#[derive(Debug)]
pub struct Writer {
    journal: Arc<Journal>,
    /// `None` after an error.
    store: Option<Arc<dyn Store>>,
    /// Of the last store.
    generation: Generation,
    /// What the next store goes on with.
    contents: Contents,
    counters: Counters,
    batches: PerSide<u64>,
    unsettled: PerSide<BTreeSet<Lsn>>,
    answers: u64,
    /// Debts of nodes that may be elsewhere than recorded.
    doubts: PerSide<i64>,
    /// The running time now, and what of it is on record.
    pub(super) now: Elapsed,
    pub(super) recorded: Elapsed,
    /// Entries when they were last counted without finding a drive that is far behind.
    pub(super) limited_at: u64,
}

impl Writer {
    /// Writes the first records of a new journal.
    pub fn create(store: &dyn Store, enrolment: &Enrolment) -> Result<(), StoreError> {
        store.insert(&codec::meta(Fact::Enrolment), &codec::encode(enrolment))?;
        // Last: a store without it is not a journal yet.
        store.insert(&codec::meta(Fact::Format), &codec::encode(&codec::FORMAT))?;
        store.barrier()
    }

    /// Notes, in a journal that is about to be begun, what the drives ask of names: one may be away before it is
    /// ever served.
    pub fn note_names(store: &dyn Store, namespaces: PerSide<Namespace>) -> Result<(), StoreError> {
        for (side, namespace) in namespaces.iter() {
            store.insert(&codec::namespace(side), &codec::encode(namespace))?;
        }
        Ok(())
    }

    /// Opens a journal: redoes what was committed and not yet published, and starts a new epoch.
    pub fn open(store: Arc<dyn Store>) -> Result<(Arc<Journal>, Self), StoreError> {
        Self::open_session(store, Nonce(random()))
    }

    /// Opens a journal as the session `nonce`, which no earlier one was.
    pub(crate) fn open_session(store: Arc<dyn Store>, nonce: Nonce) -> Result<(Arc<Journal>, Self), StoreError> {
        let recovered = Recovered::read(store.as_ref())?;
        let epoch = recovered.epoch.next();
        let mut nonces = recovered.nonces.clone();
        nonces.push(nonce);
        store.insert(&codec::meta(Fact::Epoch), &codec::encode(&epoch))?;
        store.insert(&codec::meta(Fact::Nonces), &codec::encode(&nonces))?;
        store.barrier()?;
        let journal = Arc::new(Journal {
            published: RwLock::new(None),
            enrolment: RwLock::new(Arc::new(recovered.enrolment.clone())),
            epoch: epoch.0.into(),
            nonces: RwLock::new(nonces),
            counts: Counts::default(),
            names: NameCounts::default(),
            folded: FoldedNames::default(),
            alarm: Arc::default(),
        });
        let mut writer = Self {
            journal: Arc::clone(&journal),
            store: None,
            generation: Generation::default(),
            contents: Contents::Kept,
            counters: recovered.counters,
            batches: PerSide::default(),
            unsettled: PerSide::default(),
            answers: 0,
            doubts: PerSide::default(),
            now: recovered.elapsed,
            recorded: recovered.elapsed,
            limited_at: 0,
        };
        writer.take_over(store, recovered);
        Ok((journal, writer))
    }

    /// Gives up the store, so that it can be opened anew.
    pub fn close(&mut self) {
        self.store = None;
        self.journal.counts.writable.store(false, Ordering::Release);
        *self.journal.published.write() = None;
    }

    /// Goes on with a store opened anew after an error: what had become durable is published.
    pub fn reopen(&mut self, store: Arc<dyn Store>) -> Result<(), StoreError> {
        let recovered = Recovered::read(store.as_ref())?;
        store.barrier()?;
        self.take_over(store, recovered);
        self.contents = Contents::Kept;
        Ok(())
    }

    /// What the store to be opened anew goes on with.
    pub fn contents(&self) -> Contents {
        self.contents
    }

    /// Opening it anew came to nothing, too.
    pub fn blame(&mut self, error: &StoreError) {
        self.contents = self.contents.after(error);
    }

    /// Reads again what the store says after a change beside commits and facts. The drives stay as they are.
    pub(super) fn reload(&mut self, store: &Arc<dyn Store>) -> Result<(), StoreError> {
        let mut recovered = Recovered::read(store.as_ref())?;
        recovered.counters.attached = self.counters.attached;
        recovered.counters.exposed = self.counters.exposed;
        self.take_over(Arc::clone(store), recovered);
        Ok(())
    }

    pub(super) fn open_store(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.store.clone().ok_or(StoreError::Dead)
    }

    pub fn is_open(&self) -> bool {
        self.store.is_some()
    }

    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    fn take_over(&mut self, store: Arc<dyn Store>, recovered: Recovered) {
        self.counters = recovered.counters;
        self.batches = recovered.batches;
        self.unsettled = recovered.unsettled;
        self.answers = recovered.answers;
        self.doubts = recovered.tally.doubts;
        self.recorded = recovered.elapsed;
        self.journal.names.forget();
        self.journal.folded.forget();
        let counts = &self.journal.counts;
        counts.entries.store(recovered.entries, Ordering::Relaxed);
        counts.kept_items.store(recovered.tally.kept_items, Ordering::Release);
        counts.kept_bytes.store(recovered.tally.kept_bytes, Ordering::Release);
        for side in Side::BOTH {
            counts.paths.get(side).store(*recovered.tally.paths.get(side), Ordering::Release);
            counts.bytes.get(side).store(*recovered.tally.bytes.get(side), Ordering::Release);
        }
        counts.owed.replace(recovered.owed);
        counts.head.store(self.counters.head.0, Ordering::Release);
        counts.writable.store(true, Ordering::Release);
        *self.journal.enrolment.write() = Arc::new(recovered.enrolment);
        self.generation.0 += 1;
        let alarmed = Alarmed::new(Arc::clone(&store), self.generation, Arc::clone(&self.journal.alarm));
        *self.journal.published.write() = Some(Arc::new(alarmed));
        self.store = Some(store);
    }

    /// The nonce of this session's tickets.
    pub fn nonce(&self) -> Option<Nonce> {
        self.journal.nonces.read().last().copied()
    }

    /// A drive is there: stages of this arrival count, and its lane may be at work. Refused where something was
    /// committed meanwhile about what had been found out.
    pub fn attach(&mut self, side: Side, drive: DriveId, arrival: Arrival) -> Attached {
        if !self.is_enrolled(side, drive) {
            return Attached::Replaced;
        }
        if *self.doubts.get(side) > 0 {
            return Attached::InDoubt;
        }
        *self.counters.exposed.get_mut(side) = Lsn(u64::MAX);
        *self.counters.attached.get_mut(side) = Some(arrival);
        Attached::Yes
    }

    /// Whether a drive is the one that is enrolled on its side now.
    pub fn is_enrolled(&self, side: Side, drive: DriveId) -> bool {
        self.journal.enrolment().drives.get(side).id == drive
    }

    pub(super) fn is_attached(&self, side: Side) -> bool {
        self.counters.attached.get(side).is_some()
    }

    /// A drive has left: its stages count no more. Its lane may still be at work on its last step.
    pub fn leave(&mut self, side: Side, arrival: Arrival) {
        let attached = self.counters.attached.get_mut(side);
        if *attached == Some(arrival) {
            *attached = None;
        }
    }

    /// The lane of an arrival has ended: what is committed from now on it cannot have worked on.
    pub fn retire(&mut self, side: Side, arrival: Arrival) {
        if self.counters.attached.get(side).is_none_or(|attached| attached == arrival) {
            self.detach(side);
        }
    }

    /// No lane of a drive is at work; the head up to which one may have been.
    pub fn detach(&mut self, side: Side) -> Lsn {
        let exposed = self.counters.exposed.get_mut(side);
        *exposed = (*exposed).min(self.counters.head);
        *self.counters.attached.get_mut(side) = None;
        *self.counters.exposed.get(side)
    }

    /// Commits a batch: one barrier for all, then all is visible. Requests see those before them.
    pub fn commit(&mut self, requests: &[Request]) -> Committed {
        let Some(store) = self.store.clone() else { return self.in_doubt(requests, "it is closed") };
        match self.try_commit(store.as_ref(), requests) {
            Ok(committed) => committed,
            Err(error) => {
                self.fail(&error);
                self.in_doubt(requests, &error.to_string())
            }
        }
    }

    fn try_commit(&mut self, store: &dyn Store, requests: &[Request]) -> Result<Committed, StoreError> {
        let before = self.counters.head;
        let mut draft = Draft::new(store);
        let mut answers = Vec::with_capacity(requests.len());
        let mut fresh = 0;
        let mut planner = Planner {
            draft: &mut draft,
            counters: &mut self.counters,
            names: &self.journal.names,
            folded: &self.journal.folded,
            names_max: None,
            released: Vec::new(),
        };
        for request in requests {
            let known = request.id.as_ref().map(|id| known_answer(planner.draft, id)).transpose()?.flatten();
            if let Some(Answered { receipt, fingerprint }) = known {
                release_own(request, &mut planner.released);
                let same = fingerprint == request.mutation.fingerprint();
                answers.push(if same { Ok(receipt) } else { Err(Precondition::IdInUse.into()) });
                continue;
            }
            match planner.plan(request) {
                Ok(receipt) => {
                    fresh += u64::from(request.id.is_some());
                    answers.push(Ok(receipt));
                }
                Err(PlanError::Precondition(reason)) => {
                    release_own(request, &mut planner.released);
                    answers.push(Err(reason.into()));
                }
                Err(PlanError::Store(error)) => return Err(error),
            }
        }
        let released = std::mem::take(&mut planner.released);
        if self.counters.head != before {
            self.take_time_along(store)?;
            draft.pages.iter().try_for_each(|op| apply(store, op))?;
            for entry in &draft.entries {
                store.insert(&codec::entry(entry.lsn), &codec::encode(entry))?;
            }
            store.barrier()?;
            self.forget_answers(&mut draft, fresh)?;
            self.publish(store, &draft, Some(self.counters.head))?;
        }
        let changes = draft.entries.iter().map(Entry::changes).collect::<Result<Vec<_>, _>>()?.concat();
        Ok(Committed { answers, released, changes })
    }

    /// Takes in what the drives' lanes did. Not durable by itself: a lost fact is found out again.
    pub fn note(&mut self, facts: &[DriveFact]) -> Result<Vec<Released>, StoreError> {
        let store = self.store.clone().ok_or(StoreError::Dead)?;
        let result = self.try_note(store.as_ref(), facts);
        if let Err(error) = &result {
            self.fail(error);
        }
        result
    }

    fn try_note(&mut self, store: &dyn Store, facts: &[DriveFact]) -> Result<Vec<Released>, StoreError> {
        let mut draft = Draft::new(store);
        let mut planner = FactPlanner {
            draft: &mut draft,
            batches: &mut self.batches,
            checkpoints: &mut self.counters.checkpoints,
            unsettled: &mut self.unsettled,
            next_node: &mut self.counters.next_node,
            released: Vec::new(),
        };
        for fact in facts {
            planner.plan(fact)?;
        }
        let released = planner.released;
        self.publish(store, &draft, None)?;
        if facts.iter().any(|fact| matches!(fact, DriveFact::Filled { .. })) {
            self.counters.filling = filling(store)?;
        }
        if facts.iter().any(|fact| matches!(fact, DriveFact::Names { .. })) {
            self.journal.folded.forget();
        }
        Ok(released)
    }

    /// Makes all that was noted durable.
    pub fn barrier(&mut self) -> Result<(), StoreError> {
        let store = self.store.clone().ok_or(StoreError::Dead)?;
        let result = store.barrier();
        if let Err(error) = &result {
            self.fail(error);
        }
        result
    }

    fn publish(&mut self, store: &dyn Store, draft: &Draft<'_>, applied: Option<Lsn>) -> Result<(), StoreError> {
        let counts = &self.journal.counts;
        {
            let mut published = self.journal.published.write();
            if let Err(error) = apply_all(store, &draft.publish, applied) {
                // A store that has failed is still read, but half a batch is shown to nobody.
                *published = None;
                return Err(error);
            }
            counts.head.store(self.counters.head.0, Ordering::Release);
            counts.owed.note(&draft.tally.debts);
            for side in Side::BOTH {
                counts.paths.get(side).fetch_add(*draft.tally.paths.get(side), Ordering::AcqRel);
                counts.bytes.get(side).fetch_add(*draft.tally.bytes.get(side), Ordering::AcqRel);
            }
        }
        for side in Side::BOTH {
            *self.doubts.get_mut(side) += draft.tally.doubts.get(side);
        }
        counts.entries.fetch_add(draft.tally.entries, Ordering::Relaxed);
        counts.kept_items.fetch_add(draft.tally.kept_items, Ordering::AcqRel);
        counts.kept_bytes.fetch_add(draft.tally.kept_bytes, Ordering::AcqRel);
        for (side, lsn) in &draft.tally.unsettled {
            self.unsettled.get_mut(*side).insert(*lsn);
        }
        Ok(())
    }

    fn forget_answers(&mut self, draft: &mut Draft<'_>, fresh: u64) -> Result<(), StoreError> {
        self.answers += fresh;
        let surplus = self.answers.saturating_sub(ANSWERS_MAX);
        if surplus == 0 {
            return Ok(());
        }
        let store = self.store.clone().ok_or(StoreError::Dead)?;
        let space = codec::all(Space::AnswerOrder);
        for pair in store.scan(&space, &codec::end_of(&space)).take(surplus as usize) {
            let (key, value) = pair?;
            let id: RequestId = codec::decode(&key, &value)?;
            draft.remove(key.to_vec());
            draft.remove(codec::answer(&id));
            self.answers -= 1;
        }
        draft.end_facts();
        Ok(())
    }

    /// A reader found that a store fails: if it is not another one by now, it is opened anew as if the writer had.
    pub fn doubt(&mut self, generation: Generation) {
        if self.is_open() && self.generation == generation {
            // What happened in the background says more of what is to be opened then.
            let error = self.store.as_ref().and_then(|store| store.failure()).unwrap_or(StoreError::Dead);
            self.fail(&error);
        }
    }

    pub(super) fn fail(&mut self, error: &StoreError) {
        tracing::error!(%error, "journal closed: nothing is acknowledged until it is open again");
        self.blame(error);
        self.store = None;
        self.journal.names.forget();
        self.journal.folded.forget();
        self.journal.counts.writable.store(false, Ordering::Release);
    }

    #[expect(clippy::unused_self, reason = "reads as what the writer does")]
    fn in_doubt(&self, requests: &[Request], why: &str) -> Committed {
        let answers = requests.iter().map(|_| Err(CommitError::InDoubt(why.to_owned()))).collect();
        Committed { answers, released: Vec::new(), changes: Vec::new() }
    }
}

fn known_answer(draft: &Draft<'_>, id: &RequestId) -> Result<Option<Answered>, StoreError> {
    draft.record(&codec::answer(id))
}

/// A refused or repeated PUT's own stages are of no use.
fn release_own(request: &Request, released: &mut Vec<Released>) {
    if let crate::journal::record::Mutation::Put(put) = &request.mutation {
        for (side, stage) in put.stages.iter() {
            released.extend(stage.map(|staged| Released { side, ticket: put.version.ticket, stage: staged.stage }));
        }
    }
}
