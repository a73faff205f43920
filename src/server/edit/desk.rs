//! Which texts are edited now, and by which connections.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::editing::{Document, LeaseId};
use crate::path::RelPath;
use crate::server::connection::Stay;
use crate::server::limits::{EDITED_SENTENCES_MAX, TEXTS_AT_ONCE_MAX, WAITING_BODIES_BYTES_MAX};
use crate::wire::EditingDocument;

/// All texts that are edited or appended to now.
pub(crate) struct Desk {
    texts: Mutex<HashMap<RelPath, Weak<Text>>>,
    leases: AtomicUsize,
    numbers: AtomicU64,
    memory: Semaphore,
    bodies: Arc<Semaphore>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            texts: Mutex::default(),
            leases: AtomicUsize::new(0),
            numbers: AtomicU64::new(1),
            memory: Semaphore::new(TEXTS_AT_ONCE_MAX),
            bodies: Arc::new(Semaphore::new(WAITING_BODIES_BYTES_MAX)),
        }
    }
}

/// One of them.
struct Text {
    /// Whoever reads it to store it anew has it alone: those who commit or append wait for each other, and for nobody
    /// else. Given in the order of asking.
    turn: Semaphore,
    document: Mutex<Document>,
    sentences: AtomicUsize,
}

/// A text that is there as long as somebody has it here.
pub(super) struct Reached {
    desk: Arc<Desk>,
    path: RelPath,
    text: Arc<Text>,
}

/// A sentence for one connection. Dropped, it is free.
pub(super) struct Lease {
    pub(super) id: LeaseId,
    reached: Reached,
}

/// There is no room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowded;

impl Desk {
    pub(super) fn reach(self: &Arc<Self>, path: &RelPath) -> Reached {
        let mut texts = self.texts.lock();
        let known = texts.get(path).and_then(Weak::upgrade);
        let text = known.unwrap_or_else(|| {
            let text =
                Arc::new(Text { turn: Semaphore::new(1), document: Mutex::default(), sentences: AtomicUsize::new(0) });
            texts.insert(path.clone(), Arc::downgrade(&text));
            text
        });
        Reached { desk: Arc::clone(self), path: path.clone(), text }
    }

    /// Room for bytes of a body that has to wait for its turn.
    pub(super) fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Crowded> {
        let bytes = u32::try_from(bytes).map_err(|_| Crowded)?;
        Arc::clone(&self.bodies).try_acquire_many_owned(bytes).map_err(|_| Crowded)
    }

    /// What is edited now.
    pub(crate) fn editing(&self) -> EditingDocument {
        let texts = self.texts.lock().values().filter(|text| text.strong_count() > 0).count();
        EditingDocument {
            sentences: self.leases.load(Ordering::Relaxed) as u64,
            texts: texts as u64,
            body_bytes: (WAITING_BODIES_BYTES_MAX - self.bodies.available_permits()) as u64,
        }
    }

    /// Sentences that are kept in mind, but for those of one text.
    fn sentences_beside(&self, but: &Arc<Text>) -> usize {
        let texts = self.texts.lock();
        let others = texts.values().filter_map(Weak::upgrade).filter(|text| !Arc::ptr_eq(text, but));
        others.map(|text| text.sentences.load(Ordering::Relaxed)).sum()
    }
}

impl Reached {
    /// From then on nobody else makes a new version of the text by these means.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        granted(&self.text.turn).await
    }

    /// Room for the text in memory, taken behind its turn.
    pub(super) async fn memory(&self) -> SemaphorePermit<'_> {
        granted(&self.desk.memory).await
    }

    /// What is known of the text; what is done with it is short.
    pub(super) fn document(&self) -> Known<'_> {
        Known { document: self.text.document.lock(), sentences: &self.text.sentences }
    }

    /// A number for a lease, where there is room for one that keeps so many sentences in mind.
    pub(super) fn admit(&self, sentences: usize, leases_max: usize) -> Result<Candidate, Crowded> {
        let room = self.desk.leases.fetch_add(1, Ordering::Relaxed) < leases_max;
        let candidate = Candidate { desk: Arc::clone(&self.desk) };
        let fits = self.desk.sentences_beside(&self.text) + sentences <= EDITED_SENTENCES_MAX;
        if room && fits { Ok(candidate) } else { Err(Crowded) }
    }
}

#[expect(clippy::expect_used, reason = "nobody closes these semaphores")]
async fn granted(of: &Semaphore) -> SemaphorePermit<'_> {
    of.acquire().await.expect("a semaphore that is open")
}

impl Drop for Reached {
    fn drop(&mut self) {
        let mut texts = self.desk.texts.lock();
        // Nobody gets another one meanwhile.
        if Arc::strong_count(&self.text) == 1 {
            texts.remove(&self.path);
        }
    }
}

/// A place among the leases. Dropped, it is free.
pub(super) struct Candidate {
    desk: Arc<Desk>,
}

impl Candidate {
    pub(super) fn id(&self) -> LeaseId {
        LeaseId(self.desk.numbers.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        self.desk.leases.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A document in hand.
pub(super) struct Known<'a> {
    document: MutexGuard<'a, Document>,
    sentences: &'a AtomicUsize,
}

impl std::ops::Deref for Known<'_> {
    type Target = Document;

    fn deref(&self) -> &Document {
        &self.document
    }
}

impl std::ops::DerefMut for Known<'_> {
    fn deref_mut(&mut self) -> &mut Document {
        &mut self.document
    }
}

impl Drop for Known<'_> {
    fn drop(&mut self) {
        self.sentences.store(self.document.weight(), Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.reached.document().release(self.id);
    }
}

/// What one connection edits.
pub(crate) struct Edits {
    desk: Arc<Desk>,
    /// Whom others are told of, where there are no users.
    address: SocketAddr,
    leases: Vec<(Lease, Candidate)>,
}

impl Edits {
    pub(crate) fn new(desk: &Arc<Desk>, address: SocketAddr) -> Self {
        Self { desk: Arc::clone(desk), address, leases: Vec::new() }
    }

    pub(crate) fn stay(&self) -> Stay {
        if self.leases.is_empty() { Stay::Idle } else { Stay::Editing }
    }

    pub(crate) fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    pub(super) fn len(&self) -> usize {
        self.leases.len()
    }

    /// How others are told who has a sentence.
    pub(super) fn holder(&self, user: &str) -> String {
        if user.is_empty() { format!("somebody at {}", self.address.ip()) } else { user.to_owned() }
    }

    pub(super) fn keep(&mut self, id: LeaseId, reached: Reached, place: Candidate) {
        self.leases.push((Lease { id, reached }, place));
    }

    /// A lease of this connection, for this path.
    pub(super) fn find(&self, path: &RelPath, lease: u64) -> Option<&Reached> {
        let found = self.leases.iter().find(|(held, _)| held.id == LeaseId(lease) && held.reached.path == *path);
        found.map(|(held, _)| &held.reached)
    }

    pub(super) fn end(&mut self, lease: u64) {
        self.leases.retain(|(held, _)| held.id != LeaseId(lease));
        if self.leases.is_empty() {
            self.leases = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_text_is_forgotten_with_its_last_lease() {
        let desk: Arc<Desk> = Arc::default();
        let mut edits = Edits::new(&desk, SocketAddr::from(([10, 0, 0, 1], 1)));
        let reached = desk.reach(&path("a"));
        let place = reached.admit(1, 1).unwrap();
        assert!(reached.admit(1, 1).is_err(), "no room for a second");
        let _body = desk.room(7).unwrap();
        let editing = desk.editing();
        assert_eq!((editing.sentences, editing.texts, editing.body_bytes), (1, 1, 7));
        let id = place.id();
        edits.keep(id, reached, place);
        assert!(edits.find(&path("a"), id.0).is_some());
        assert!(edits.find(&path("b"), id.0).is_none());
        let again = desk.reach(&path("a"));
        let turn = again.turn().await;
        drop(edits);
        assert_eq!(desk.texts.lock().len(), 1);
        drop(turn);
        drop(again);
        assert_eq!((desk.texts.lock().len(), desk.leases.load(Ordering::Relaxed)), (0, 0));
    }

    #[tokio::test]
    async fn one_text_is_nothing_to_another() {
        let desk: Arc<Desk> = Arc::default();
        let (a, b) = (desk.reach(&path("a")), desk.reach(&path("b")));
        let _turn = a.turn().await;
        let _other = b.turn().await;
        let also_a = desk.reach(&path("a"));
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), also_a.turn()).await;
        assert!(waits.is_err());
    }
}
