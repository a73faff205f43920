//! What `benches/micro` measures of what nobody outside sees; as `fuzz` is for fuzzers.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;

use crate::clock;
use crate::digest::Crc32;
use crate::elapsed::{Elapsed, Stopwatch};
use crate::ids::{Arrival, DriveId, Nonce, Ticket};
use crate::journal::store::{Contents, Store, StoreError, StorePlace};
use crate::journal::{Change, Node, Released, Request, Version, Writer, audit, codec};
use crate::mirror::committer::{Audience, Committer, Names};
use crate::mirror::drive_log::{self, Append, Record};
use crate::mirror::fair::{Asker, FairQueue, Priority};

const DRIVE: DriveId = DriveId([7; 16]);
const ARRIVAL: Arrival = Arrival(1);

/// A node as the journal has it on record.
pub fn encode(node: &Node) -> Vec<u8> {
    codec::encode(node)
}

/// Whether a record of the journal decodes.
pub fn decodes(key: &[u8], value: &[u8]) -> bool {
    audit::decode(key, value).is_ok()
}

/// Adds a small PUT to what a drive's log is given.
pub fn log_put(buffer: &mut Vec<u8>, path: &str, payload: &Bytes) {
    let version =
        Version { ticket: Ticket::new(Nonce([1; 8]), 1), size: payload.len() as u64, crc32: Crc32::of(payload) };
    let record =
        Record::Payload { path: path.to_owned(), owner: String::new(), version, mtime_ns: 0, executable: false };
    drive_log::encode(buffer, &Append { record, payload: payload.clone() }, DRIVE, ARRIVAL);
}

/// Reads a drive's log; how many parts it has.
pub fn scan_log(bytes: &[u8]) -> usize {
    let mut parts = 0;
    drive_log::scan::scan(bytes, DRIVE, ARRIVAL, |_| parts += 1);
    parts
}

/// Queues a small call for each of so many users and takes them out in turn; how many came out.
pub fn fair_turns(users: &[Arc<str>]) -> usize {
    let mut queue = FairQueue::default();
    for user in users {
        let asker = Asker { user: Arc::clone(user), priority: Priority::Normal };
        queue.push(asker.flow(Some(4096)).moving(4096), ());
    }
    std::iter::from_fn(|| queue.pop()).count()
}

/// The committer, with nobody who listens to it and no way back from an error.
#[derive(Debug)]
pub struct Commits(Committer);

impl Commits {
    pub fn start(writer: Writer, entries_max: u64) -> std::io::Result<Self> {
        let running = Stopwatch::start(Elapsed(0), clock::now());
        Ok(Self(Committer::start(writer, Box::new(Nowhere), Arc::new(Nobody), entries_max, running)?))
    }

    /// Commits them as that many clients at once; how many were done.
    pub async fn together(&self, requests: Vec<Request>) -> usize {
        let answers = join_all(requests.into_iter().map(|request| self.0.commit(request))).await;
        answers.iter().filter(|answer| answer.is_ok()).count()
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct Nobody;

impl Audience for Nobody {
    fn committed(&self, _: &[Change], _: &[Released], _: Names) {}
    fn noted(&self, _: &[Released]) {}
    fn closed(&self) {}
    fn reopened(&self) {}
}

struct Nowhere;

impl StorePlace for Nowhere {
    fn prepare(&self, _: Contents) -> Result<(), StoreError> {
        Err(StoreError::Dead)
    }

    fn open(&self, _: Contents) -> Result<Arc<dyn Store>, StoreError> {
        Err(StoreError::Dead)
    }
}
