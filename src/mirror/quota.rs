//! Quotas of what is on its way: what uploads under way will add counts beside what is stored.
//!
//! Only so that a client need not send in vain: what decides is the commit, which knows what is stored exactly.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::ids::RequestId;
use crate::journal::{Node, Quotas, Resolved, check_limit};
use crate::mirror::core::Core;
use crate::mirror::mutate::{refusal, unreadable};
use crate::mirror::refusal::Refusal;
use crate::mirror::request::{Limited, PutRequest};
use crate::path::RelPath;

/// How long an upload waits for commits under way before it is refused.
const SETTLE_AT_MOST: Duration = Duration::from_secs(5);

/// Who has a home, and what their files may come to.
#[derive(Debug, Default)]
pub(crate) struct Users {
    pub(crate) names: BTreeSet<String>,
    pub(crate) quotas: Quotas,
}

/// What uploads under way will add.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    table: Mutex<Table>,
    /// Some commit has ended, or some upload.
    settled: Notify,
}

#[derive(Debug, Default)]
struct Table {
    by_owner: HashMap<String, OnTheWay>,
    /// Uploads with an id: one that comes again takes the place of the one that its client gave up.
    by_id: HashMap<RequestId, Holder>,
    /// Of holders.
    last: u64,
}

/// The upload that has an id.
#[derive(Debug)]
struct Holder {
    number: u64,
    stage: HolderStage,
    /// Tells it that another one has its place.
    displaced: watch::Sender<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HolderStage {
    UnderWay,
    /// Too late to end it: whoever comes gets its answer.
    Settling,
}

/// What one owner's uploads will add.
#[derive(Clone, Copy, Debug, Default)]
struct OnTheWay {
    uploads: u64,
    bytes: u64,
    /// Uploads that are being committed: they may count twice, as stored and as on their way.
    settling: u64,
}

/// What one upload will add; given back when this is dropped.
pub(crate) struct Claim {
    core: Arc<Core>,
    owner: String,
    path: RelPath,
    limited: Limited,
    is_settling: bool,
    /// Where it has an id: the number under which it holds that, and whether another upload has its place.
    held: Option<(RequestId, u64)>,
    displaced: watch::Receiver<bool>,
    /// The bytes that it has in all, and what it adds with them to what its owner has.
    size: u64,
    adds: u64,
}

impl Core {
    /// Whose a new file is that nobody put: of the one in whose home it lies.
    pub(crate) fn owner_at(&self, path: &RelPath) -> String {
        let first = path.names().first().map(|name| name.as_str().to_owned());
        first.filter(|first| self.users.read().names.contains(first)).unwrap_or_default()
    }

    /// Names that a folder may have.
    pub(crate) fn names_max(&self, limited: Limited) -> Option<u64> {
        let most = self.folder_entries_max.load(Ordering::Relaxed);
        Some(most).filter(|most| *most > 0 && limited == Limited::Yes)
    }

    /// What users' files may come to now.
    pub(crate) fn quotas(&self) -> Quotas {
        self.users.read().quotas.clone()
    }
}

impl Claim {
    /// A claim to nothing yet. An upload with the same id, as of a client that has lost its connection, is ended, and its
    /// end waited for: what it had reserved is free then, or its answer is there.
    pub(crate) async fn begin(core: &Arc<Core>, request: &PutRequest) -> Result<Self, Refusal> {
        let (held, displaced) = core.claims.hold(request.id.as_ref()).await;
        core.claims.change(&request.owner, |way| way.uploads += 1);
        let claim = Self {
            core: Arc::clone(core),
            owner: request.owner.clone(),
            path: request.path.clone(),
            limited: request.limited,
            is_settling: false,
            held: held.as_ref().map(|(id, number, _)| (id.clone(), *number)),
            displaced,
            size: 0,
            adds: 0,
        };
        if let Some((_, _, Some(before))) = held {
            // One that does not end in this time competes, as any other.
            let ended = timeout(SETTLE_AT_MOST, before.closed());
            tokio::select! {
                biased;
                () = claim.displaced() => return Err(Refusal::Displaced),
                _ = ended => {}
            }
        }
        Ok(claim)
    }

    /// Returns when another upload has the place of this one.
    pub(crate) fn displaced(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut displaced = self.displaced.clone();
        async move {
            if displaced.wait_for(|is_displaced| *is_displaced).await.is_err() {
                // It has no id, or has its place to its end.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The bytes that are claimed.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The limits that count for it, as they are now.
    pub(crate) fn quotas(&self) -> Quotas {
        match self.limited {
            Limited::Yes => self.core.quotas(),
            Limited::No => Quotas::default(),
        }
    }

    /// Claims `size` bytes in all. Refused it keeps what it had. Before that it waits for commits under way.
    pub(crate) async fn grow(&mut self, size: u64) -> Result<(), Refusal> {
        let core = Arc::clone(&self.core);
        let mut refused = self.try_grow(size);
        let settling = async {
            while refused.is_err() && core.claims.is_settling(&self.owner) {
                let settled = core.claims.settled.notified();
                tokio::pin!(settled);
                // From here on it is told of.
                settled.as_mut().enable();
                refused = self.try_grow(size);
                if refused.is_ok() || !core.claims.is_settling(&self.owner) {
                    break;
                }
                settled.await;
                refused = self.try_grow(size);
            }
        };
        // Whoever commits all the time is not waited for for ever.
        let _ = timeout(SETTLE_AT_MOST, settling).await;
        refused.or_else(|_| self.try_grow(size))
    }

    /// The same without waiting.
    pub(crate) fn try_grow(&mut self, size: u64) -> Result<(), Refusal> {
        let quotas = self.quotas();
        let mut claims = self.core.claims.table.lock();
        let way = claims.by_owner.entry(self.owner.clone()).or_default();
        let others = way.bytes.saturating_sub(self.adds);
        let mut adds = size;
        // Without a limit nobody asks what is replaced.
        if let Some(limit) = quotas.of(&self.owner) {
            // Held over the look at what is stored: two that come at once see each other.
            let stored = self.core.journal.usage(&self.owner).map_err(unreadable)?.bytes;
            let replaced = match self.core.journal.resolve(&self.path).map_err(unreadable)? {
                Resolved::Found(_, Node::File(file)) if file.owner == self.owner => file.version.size,
                Resolved::Found(..) | Resolved::Root | Resolved::Missing { .. } | Resolved::BelowAFile { .. } => 0,
            };
            adds = size.saturating_sub(replaced);
            let before = stored.saturating_add(others);
            let checked = check_limit(&self.owner, limit, (before, before.saturating_add(adds)), size);
            checked.map_err(|reason| refusal(reason.into()))?;
        }
        way.bytes = others.saturating_add(adds);
        (self.size, self.adds) = (size, adds);
        Ok(())
    }

    /// Its commit begins, unless another upload has its place.
    pub(crate) fn settle(&mut self) -> Result<(), Refusal> {
        let mut table = self.core.claims.table.lock();
        if let Some((id, number)) = &self.held {
            match table.by_id.get_mut(id).filter(|holder| holder.number == *number) {
                Some(holder) => holder.stage = HolderStage::Settling,
                None => return Err(Refusal::Displaced),
            }
        }
        self.is_settling = true;
        table.by_owner.entry(self.owner.clone()).or_default().settling += 1;
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let (adds, settling) = (self.adds, u64::from(self.is_settling));
        self.core.claims.change(&self.owner, |way| {
            way.uploads = way.uploads.saturating_sub(1);
            way.bytes = way.bytes.saturating_sub(adds);
            way.settling = way.settling.saturating_sub(settling);
        });
        if let Some((id, number)) = &self.held {
            self.core.claims.let_go(id, *number);
        }
        if self.is_settling {
            self.core.claims.settled.notify_waiters();
        }
    }
}

/// An id, the number of who holds it, and, if somebody was ended for that, how to know when that is done.
type Held = (RequestId, u64, Option<watch::Sender<bool>>);

impl Claims {
    /// Takes an id for an upload. One with it that is being committed is waited for without a limit: the commit of this one
    /// would come behind it.
    async fn hold(&self, id: Option<&RequestId>) -> (Option<Held>, watch::Receiver<bool>) {
        loop {
            match self.try_hold(id) {
                Ok(held) => return held,
                Err(settling) => settling.closed().await,
            }
        }
    }

    /// The same, where none with it is being committed; else how to know when that is done.
    fn try_hold(&self, id: Option<&RequestId>) -> Result<(Option<Held>, watch::Receiver<bool>), watch::Sender<bool>> {
        let (sender, receiver) = watch::channel(false);
        let Some(id) = id else { return Ok((None, receiver)) };
        let mut table = self.table.lock();
        if let Some(holder) = table.by_id.get(id).filter(|holder| holder.stage == HolderStage::Settling) {
            return Err(holder.displaced.clone());
        }
        table.last += 1;
        let number = table.last;
        let holder = Holder { number, stage: HolderStage::UnderWay, displaced: sender };
        let before = table.by_id.insert(id.clone(), holder).map(|before| before.displaced);
        if let Some(before) = &before {
            before.send_replace(true);
        }
        Ok((Some((id.clone(), number, before)), receiver))
    }

    fn let_go(&self, id: &RequestId, number: u64) {
        let mut table = self.table.lock();
        if table.by_id.get(id).is_some_and(|holder| holder.number == number) {
            table.by_id.remove(id);
        }
    }

    fn change(&self, owner: &str, change: impl FnOnce(&mut OnTheWay)) {
        let claims = &mut self.table.lock().by_owner;
        let way = claims.entry(owner.to_owned()).or_default();
        change(way);
        if way.uploads == 0 {
            claims.remove(owner);
        }
    }

    fn is_settling(&self, owner: &str) -> bool {
        self.table.lock().by_owner.get(owner).is_some_and(|way| way.settling > 0)
    }
}
