//! The lane: makes each dirty path on its drive what the catalog says now.
//!
//! A step takes some debts, makes their bytes ready under names of its own, syncs, gives them their
//! names, syncs again, and returns what the drive then has, as facts for the journal. It never does an
//! old command again: what it does depends on the catalog, on what the drive last had, and on what it
//! finds there. Single owner: its drive's thread, or a test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::{Arrival, Lsn, NodeId, Side, Ticket};
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Debt, DriveFact, FileNode, Held, Journal, Place};
use crate::mirror::reconcile::stock::Stock;
use crate::mirror::reconcile::survey::Survey;
use crate::mirror::scan::Copied;
use crate::mirror::steps::Steps;
use crate::mirror::volume::{Volume, VolumeError, VolumeFile};

mod apart;
mod aside;
mod carry;
mod converge;
mod finish;
mod gather;
mod halves;
mod last_installs;
mod likeness;
mod look;
mod prepare;
mod reach;
mod reclaim;
mod recognize;
mod search;
mod supersede;
mod sweep;
mod telling;
mod way;

use finish::Finished;
pub(crate) use look::{Finding, Look};
use reach::Reach;
pub(crate) use reclaim::{Known, look_again, reclaim};
pub(crate) use telling::Telling;

#[derive(Debug, thiserror::Error)]
pub(crate) enum LaneError {
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a lane did since its drive came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) paths: u64,
    pub(crate) copied_files: u64,
    pub(crate) copied_bytes: u64,
    pub(crate) moved: u64,
    pub(crate) removed: u64,
    pub(crate) made_folders: u64,
    pub(crate) unchanged: u64,
    /// Damaged or vanished copies that were made whole again.
    pub(crate) repaired: u64,
}

/// Why a debt stays for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    /// No present drive has the bytes; this one does.
    WaitsFor(Side),
    /// No drive has the bytes.
    Lost,
    /// The only copy, on this drive, is damaged. It is kept as it is.
    Damaged(Side),
    /// An old version keeps its name until the bytes of the new one are there to take it.
    HoldsName,
    /// The drive has no room.
    NoRoom,
    /// The drive refuses the name, or what is in the way cannot be set aside.
    Refused(String),
}

impl Stay {
    /// Whether no drive has the bytes whole: then waiting does not help.
    pub(crate) fn is_loss(&self) -> bool {
        match self {
            Self::Lost | Self::Damaged(_) => true,
            Self::WaitsFor(_) | Self::HoldsName | Self::NoRoom | Self::Refused(_) => false,
        }
    }
}

/// What came of a step.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) facts: Vec<DriveFact>,
    /// A name was given up that another node may get next, or a damaged stage, or something was copied, which is not to
    /// be copied again after a crash, and which the other lane may count on: the facts must be durable before the next
    /// step, and before stages are let go of.
    pub(crate) barrier: bool,
    /// Debts that were looked at; none means that there are none but those that stay.
    pub(crate) seen: usize,
    /// Files that are at their places now, with their bytes.
    pub(crate) whole: Vec<(NodeId, u64)>,
    /// Those of them whose copies had been damaged, or had vanished.
    pub(crate) repaired: Vec<(NodeId, u64)>,
    /// The other drive failed while it was copied from.
    pub(crate) peer_error: Option<VolumeError>,
    /// What was set aside, by its name in the aside folder.
    pub(crate) aside: Vec<String>,
    /// What could not be copied because the other lane was moving it: whether that has ended by now. Else this lane is
    /// woken when it has.
    pub(crate) has_settled: bool,
}

/// The drive that can be copied from.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour {
    pub(crate) volume: Arc<dyn Volume>,
    /// Those of its own lane, that moves what is there.
    pub(crate) steps: Arc<Steps>,
}

/// A drive's worker.
#[derive(Debug)]
pub(crate) struct Lane {
    side: Side,
    arrival: Arrival,
    journal: Arc<Journal>,
    volume: Arc<dyn Volume>,
    /// Where the scan of debts goes on.
    cursor: NodeId,
    reach: Reach,
    /// Debts that can't be worked off now. Forgotten when something changes that could help.
    stays: BTreeMap<NodeId, Stay>,
    /// Their entries when that was found.
    judged: BTreeMap<NodeId, Lsn>,
    /// Those whose only copy is damaged: to try them again costs a draft, and only changes help.
    hopeless: BTreeSet<NodeId>,
    telling: Box<dyn Telling>,
    /// What the drive tells of by now.
    told: Lsn,
    /// Debts whose bytes the other lane was moving when they were to be copied.
    in_motion: BTreeSet<NodeId>,
    /// The journal's head when nothing was owed but copies for the trash.
    only_trash_at: Option<Lsn>,
    drafts: u64,
    /// Nodes at whose places may lie half of what the mirror itself was writing when the drive left.
    shaken: BTreeSet<NodeId>,
    work: Work,
    /// What was copied from the other drive so far, for those who look on.
    copied: Arc<Copied>,
    /// The search for what somebody else changed.
    survey: Survey,
    /// What lies aside.
    stock: Stock,
}

/// One step's state.
struct Batch {
    peer: Option<Neighbour>,
    /// Where nodes are now that this batch moved, or nowhere.
    placed: BTreeMap<NodeId, Option<Held>>,
    /// Paths that this batch emptied, as they compare: not to be used again before that is recorded.
    vacated: BTreeSet<String>,
    /// Open segments of the drives' logs.
    segments: BTreeMap<(Side, String), Arc<dyn VolumeFile>>,
    /// Drafts made ready for a version. The node may have another one by the time it is placed.
    drafts: BTreeMap<Ticket, String>,
    folders: BTreeSet<String>,
    /// Paths of folders that are where they belong, until this batch moves one.
    ready: BTreeMap<NodeId, String>,
    /// Whether a file was given a name: then its sync has something to do.
    named_file: bool,
    /// Nodes on their way through `converge`, against loops.
    under_way: BTreeSet<NodeId>,
    /// Nodes whose damaged copy here is replaced by a whole one.
    mended: BTreeSet<NodeId>,
    /// Their damaged copies, by their names in the aside folder.
    replaced: BTreeMap<NodeId, String>,
    /// Last copies that are damaged: they are moved as they are.
    moved_damaged: BTreeSet<NodeId>,
    /// Versions of which the other drive's copy was found to have bad blocks: to be told once this drive has all.
    bad_copies: BTreeMap<NodeId, (Place, FileNode)>,
    /// Nodes that have to wait for the next step.
    deferred: BTreeSet<NodeId>,
    facts: Vec<DriveFact>,
    peer_error: Option<VolumeError>,
    /// What was set aside, by its name in the aside folder.
    aside: Vec<String>,
    /// For people, nothing else.
    now_ns: i64,
}

/// Which debts a step takes.
#[derive(Clone, Copy)]
enum Take {
    /// Not yet what the drive never had, and is only kept: clients wait for the rest.
    ButTrash,
    All,
}

impl Take {
    fn takes(self, debt: &Debt) -> bool {
        let for_trash = debt.want.as_ref().is_some_and(|want| want.parent == NodeId::TRASH);
        match self {
            Self::ButTrash => !(for_trash && debt.bytes > 0 && debt.have.is_none() && debt.maybe.is_empty()),
            Self::All => true,
        }
    }
}

/// How far a node got.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    /// Where the catalog wants it, or gone as the catalog wants it.
    There,
    /// Something was done for it; the rest comes with the next step.
    Deferred,
    Stays(Stay),
}

impl Lane {
    pub(crate) fn new(
        side: Side,
        arrival: Arrival,
        journal: Arc<Journal>,
        volume: Arc<dyn Volume>,
        telling: Box<dyn Telling>,
    ) -> Self {
        Self {
            side,
            arrival,
            journal,
            volume,
            cursor: NodeId::ROOT,
            reach: Reach::first(),
            stays: BTreeMap::new(),
            judged: BTreeMap::new(),
            hopeless: BTreeSet::new(),
            told: Lsn(0),
            telling,
            in_motion: BTreeSet::new(),
            only_trash_at: None,
            drafts: 0,
            shaken: BTreeSet::new(),
            work: Work::default(),
            copied: Arc::default(),
            survey: Survey::default(),
            stock: Stock::default(),
        }
    }

    /// Takes over which nodes were being worked on when the drive left.
    pub(crate) fn set_shaken(&mut self, shaken: BTreeSet<NodeId>) {
        self.shaken = shaken;
    }

    pub(crate) fn work(&self) -> Work {
        self.work
    }

    pub(crate) fn copied(&self) -> Arc<Copied> {
        Arc::clone(&self.copied)
    }

    /// The debts that stay, and why.
    pub(crate) fn stays(&self) -> &BTreeMap<NodeId, Stay> {
        &self.stays
    }

    /// What no drive has whole, and the entry that it is owed for.
    pub(crate) fn lost(&self) -> BTreeMap<NodeId, Lsn> {
        let lost = self.stays.iter().filter(|(_, stay)| stay.is_loss());
        lost.filter_map(|(id, _)| Some((*id, *self.judged.get(id)?))).collect()
    }

    /// Something came that may help debts that stay: another drive, room.
    pub(crate) fn forget_stays(&mut self) {
        self.stays.clear();
        self.judged.clear();
        self.hopeless.clear();
        self.only_trash_at = None;
        self.cursor = NodeId::ROOT;
    }

    /// As [`Lane::forget_stays`], where nothing is known to have come: what is hopeless stays unless its debt is another.
    pub(crate) fn retry_stays(&mut self) -> Result<(), StoreError> {
        let mut stays = std::mem::take(&mut self.stays);
        let (judged, hopeless) = (std::mem::take(&mut self.judged), std::mem::take(&mut self.hopeless));
        self.forget_stays();
        let snapshot = self.journal.snapshot();
        for id in hopeless {
            let (Some(stay), Some(lsn)) = (stays.remove(&id), judged.get(&id)) else { continue };
            if snapshot.debt(self.side, id)?.is_some_and(|debt| debt.lsn == *lsn) {
                self.stays.insert(id, stay);
                self.judged.insert(id, *lsn);
                self.hopeless.insert(id);
            }
        }
        Ok(())
    }

    /// What was found of a debt says nothing of another one of the same node.
    fn forget_stay(&mut self, id: NodeId) {
        self.stays.remove(&id);
        self.judged.remove(&id);
        self.hopeless.remove(&id);
    }

    /// Whether something waits for the other lane's step to end.
    pub(crate) fn awaits_peer(&self) -> bool {
        !self.in_motion.is_empty()
    }

    /// Works off some debts, copying from `peer` what this drive lacks. `now_ns` is told to people, nothing else.
    pub(crate) fn step(&mut self, peer: Option<Neighbour>, now_ns: i64) -> Result<Step, LaneError> {
        self.volume.keep_folders();
        let step = self.work_off(peer, now_ns);
        self.volume.release_folders();
        step
    }

    fn work_off(&mut self, peer: Option<Neighbour>, now_ns: i64) -> Result<Step, LaneError> {
        if peer.as_ref().is_none_or(|peer| peer.steps.are_at_rest()) {
            self.in_motion.clear();
        }
        let debts = self.next_debts()?;
        for (id, _) in &debts {
            self.forget_stay(*id);
        }
        let copied_before = self.work.copied_files;
        let mut batch = Batch::new(peer, now_ns);
        let taken = self.prepare(&mut batch, &debts)?;
        if taken > 0 {
            self.reach = self.reach.grown();
        }
        self.cursor = debts.get(taken.wrapping_sub(1)).map_or(NodeId::ROOT, |(id, _)| id.next());
        for (id, _) in debts.iter().take(taken) {
            match self.converge(&mut batch, *id)? {
                Progress::There => {}
                Progress::Deferred => {
                    batch.deferred.insert(*id);
                }
                Progress::Stays(stay) => {
                    self.stays.insert(*id, stay);
                }
            }
        }
        for (id, debt) in debts.iter().take(taken) {
            if self.stays.contains_key(id) {
                self.judged.insert(*id, debt.lsn);
            }
        }
        let Finished { facts, whole, repaired } = self.finish(&mut batch, now_ns)?;
        // A damaged stage is let go of: not before it is durably known to be of no use. What lies in a folder taken apart
        // is found nowhere else.
        let must_be_known = |fact: &DriveFact| matches!(fact, DriveFact::Damaged { .. } | DriveFact::TakenApart { .. });
        let copied = self.work.copied_files > copied_before;
        let barrier = copied || facts.iter().any(must_be_known) || self.gives_up_claims(&batch)?;
        let has_settled = self.awaits_peer() && batch.peer.as_ref().is_none_or(|peer| !peer.steps.await_end());
        Ok(Step {
            facts,
            barrier,
            seen: taken,
            whole,
            repaired,
            peer_error: batch.peer_error,
            aside: batch.aside,
            has_settled,
        })
    }

    /// Whether a node was placed that had, or may have had, another name.
    fn gives_up_claims(&self, batch: &Batch) -> Result<bool, StoreError> {
        let snapshot = self.journal.snapshot();
        for node in batch.placed.keys() {
            if snapshot.debt(self.side, *node)?.is_some_and(|debt| !debt.claims().is_empty()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next debts that can be worked off; what is to be copied into the trash when there is nothing else.
    fn next_debts(&mut self) -> Result<Vec<(NodeId, Debt)>, StoreError> {
        let head = self.journal.head();
        if self.only_trash_at != Some(head) {
            let debts = self.debts_behind_cursor(Take::ButTrash)?;
            if !debts.is_empty() {
                return Ok(debts);
            }
            self.only_trash_at = Some(head);
        }
        self.debts_behind_cursor(Take::All)
    }

    /// The next debts behind the cursor; from the start again after the last.
    fn debts_behind_cursor(&self, take: Take) -> Result<Vec<(NodeId, Debt)>, StoreError> {
        let from = self.cursor;
        let mut debts = self.debts_from(from, None, take)?;
        if debts.is_empty() && from != NodeId::ROOT {
            debts = self.debts_from(NodeId::ROOT, Some(from), take)?;
        }
        Ok(debts)
    }

    fn debts_from(&self, from: NodeId, before: Option<NodeId>, take: Take) -> Result<Vec<(NodeId, Debt)>, StoreError> {
        let snapshot = self.journal.snapshot();
        let mut at = from;
        let mut debts = Vec::new();
        loop {
            let page = snapshot.debts(self.side, at, self.reach.debts)?;
            let Some((last, _)) = page.last() else { return Ok(debts) };
            at = last.next();
            let wanted = |(id, debt): &(NodeId, Debt)| {
                let waits = self.in_motion.contains(id) || self.stays_as_it_was(*id, debt.lsn);
                !waits && before.is_none_or(|before| *id < before) && take.takes(debt)
            };
            debts.extend(page.into_iter().filter(wanted));
            if debts.len() >= self.reach.debts || before.is_some_and(|before| at >= before) {
                debts.truncate(self.reach.debts);
                return Ok(debts);
            }
        }
    }

    /// Whether a debt stays, and is still the one that this was found of.
    fn stays_as_it_was(&self, id: NodeId, lsn: Lsn) -> bool {
        self.stays.contains_key(&id) && self.judged.get(&id).is_none_or(|judged| *judged == lsn)
    }

    /// The place a node has on the drive, this batch's moves included.
    fn held_now(&self, batch: &Batch, id: NodeId) -> Result<Option<Place>, StoreError> {
        if let Some(held) = batch.placed.get(&id) {
            return Ok(held.as_ref().map(|held| held.place.clone()));
        }
        crate::mirror::places::folder_place(&self.journal.snapshot(), self.side, id)
    }

    /// The path of a folder on the drive, this batch's moves included; `None` where the drive lacks it.
    fn folder_path(&self, batch: &Batch, id: NodeId) -> Result<Option<String>, StoreError> {
        let mut names = Vec::new();
        let mut at = id;
        let root = loop {
            if let Some(root) = crate::mirror::layout::fixed(at) {
                break root.to_owned();
            }
            let Some(place) = self.held_now(batch, at)? else { return Ok(None) };
            names.push(place.name);
            at = place.parent;
        };
        Ok(Some(names.iter().rev().fold(root, |path, name| crate::mirror::layout::join(&path, name.as_str()))))
    }

    fn path_at(&self, batch: &Batch, place: &Place) -> Result<Option<String>, StoreError> {
        let folder = self.folder_path(batch, place.parent)?;
        Ok(folder.map(|folder| crate::mirror::layout::join(&folder, place.name.as_str())))
    }
}

impl Batch {
    fn new(peer: Option<Neighbour>, now_ns: i64) -> Self {
        Self {
            peer,
            placed: BTreeMap::new(),
            vacated: BTreeSet::new(),
            segments: BTreeMap::new(),
            drafts: BTreeMap::new(),
            folders: BTreeSet::new(),
            ready: BTreeMap::new(),
            named_file: false,
            under_way: BTreeSet::new(),
            mended: BTreeSet::new(),
            replaced: BTreeMap::new(),
            moved_damaged: BTreeSet::new(),
            bad_copies: BTreeMap::new(),
            deferred: BTreeSet::new(),
            facts: Vec::new(),
            peer_error: None,
            aside: Vec::new(),
            now_ns,
        }
    }

    /// Notes that a name left or came to a folder.
    fn touch(&mut self, path: &str) {
        self.folders.insert(crate::mirror::layout::parent(path).to_owned());
    }
}
