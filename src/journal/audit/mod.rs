//! Looking through a journal that no daemon has open: each record by itself, then all against each other.
//!
//! Works on a copy ([`Scratch`]): opening a store writes to it, and what was committed last is redone first and
//! what a cut left half done is ended, as at the daemon's start. Everything is streamed; what is kept of a node is a bit.

mod flaw;
mod links;
mod log_file;
mod node_set;
mod records;
mod scratch;
mod trash;

use std::sync::Arc;

pub(crate) use crate::journal::codec::seal;
pub use flaw::Flaw;
pub use links::Totals;
pub use node_set::NodeSet;
pub(crate) use records::decode;
pub use scratch::{Scratch, ScratchError};

use crate::ids::{Epoch, Lsn, NodeId, Nonce, Side, Ticket};
use crate::journal::catalog::Catalog;
use crate::journal::codec::{self, Fact};
use crate::journal::record::{Debt, Enrolment, Node, Place};
use crate::journal::recovery;
use crate::journal::store::{IVec, Store, StoreError};
use crate::path::{Name, RelPath};

/// Most folders above a node, far above what a path may have; deeper means that the catalog has a loop.
pub(super) const DEPTH_MAX: usize = 16 * crate::path::PATH_DEPTH_MAX;

/// Why nothing can be said of a journal.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("the journal has format {found}, this program reads up to {}: use a newer twinstickd", codec::FORMAT)]
    NewerFormat { found: u32 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A journal that was looked through, as far as it can be read.
#[derive(Debug)]
pub struct Audit {
    store: Arc<dyn Store>,
    enrolment: Enrolment,
    epoch: Epoch,
    head: Lsn,
    nonces: Vec<Nonce>,
    damaged: u64,
    totals: Totals,
}

/// What a drive is on record to owe for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owed {
    Nothing,
    Debt(Debt),
    /// The record is damaged.
    Unreadable,
}

/// A child of a folder; without its node where that record is damaged.
pub type AuditedChild = (Name, Option<Node>);

impl Audit {
    /// Looks through a store, tells every flaw, and redoes what was committed last. `None` where too little can be
    /// read to say what should be on the drives; `found` was told why.
    pub fn open(store: Arc<dyn Store>, found: &mut dyn FnMut(Flaw)) -> Result<Option<Self>, AuditError> {
        let damaged = records::decode_all(store.as_ref(), found)?;
        let plain = Plain(store.as_ref());
        let format: Option<u32> = needed(&plain, Fact::Format, "format", found)?;
        if let Some(format) = format.filter(|format| !codec::FORMATS_READ.contains(format)) {
            return Err(AuditError::NewerFormat { found: format });
        }
        let enrolment: Option<Enrolment> = needed(&plain, Fact::Enrolment, "enrolment", found)?;
        let (Some(_), Some(mut enrolment)) = (format, enrolment) else { return Ok(None) };
        let head = match recovery::redo(store.as_ref()) {
            Ok(head) => head,
            Err(StoreError::Corrupt(why)) => {
                found(Flaw::Redo { why });
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if damaged == 0 {
            recovery::mend(store.as_ref(), &mut enrolment)?;
        }
        let epoch = readable(plain.record(&codec::meta(Fact::Epoch)))?.unwrap_or_default();
        let nonces = readable(plain.record(&codec::meta(Fact::Nonces)))?.unwrap_or_default();
        let mut audit = Self { store, enrolment, epoch, head, nonces, damaged, totals: Totals::default() };
        audit.totals = links::check(&audit, found)?;
        trash::check(&audit, found)?;
        Ok(Some(audit))
    }

    pub fn enrolment(&self) -> &Enrolment {
        &self.enrolment
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The last committed LSN.
    pub fn head(&self) -> Lsn {
        self.head
    }

    /// Records that do not decode.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// What the catalog has.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Whether a ticket was given out by this journal.
    pub fn knows(&self, ticket: Ticket) -> bool {
        self.nonces.contains(&ticket.nonce())
    }

    /// What is in a folder, by name, from `after` on; at most `limit`.
    pub fn children(
        &self,
        parent: NodeId,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<AuditedChild>, StoreError> {
        let prefix = codec::children(parent);
        let from = match after {
            Some(name) => [prefix.as_slice(), name.as_str().as_bytes(), &[0]].concat(),
            None => prefix.clone(),
        };
        let mut children = Vec::new();
        for pair in self.store.scan(&from, &codec::end_of(&prefix)).take(limit) {
            let (key, value) = pair?;
            // A key that names nothing was told of; no drive can have such a name.
            if let Ok(name) = codec::name_of(&key) {
                children.push((name, codec::decode(&key, &value).ok()));
            }
        }
        Ok(children)
    }

    /// A drive's debts in order of nodes, from `from` on; at most `limit`, without those that are damaged.
    pub fn debts(&self, side: Side, from: NodeId, limit: usize) -> Result<Vec<(NodeId, Debt)>, StoreError> {
        let end = codec::end_of(&codec::debts(side));
        let mut debts = Vec::new();
        for pair in self.store.scan(&codec::debt(side, from), &end) {
            let (key, value) = pair?;
            if let (Ok(id), Ok(debt)) = (codec::debtor(&key), codec::decode(&key, &value)) {
                debts.push((id, debt));
            }
            if debts.len() == limit {
                break;
            }
        }
        Ok(debts)
    }

    /// What a drive owes for a node.
    pub fn owed(&self, side: Side, id: NodeId) -> Result<Owed, StoreError> {
        match self.debt(side, id) {
            Ok(Some(debt)) => Ok(Owed::Debt(debt)),
            Ok(None) => Ok(Owed::Nothing),
            Err(StoreError::Corrupt(_)) => Ok(Owed::Unreadable),
            Err(error) => Err(error),
        }
    }

    /// Nodes that have, or may have, a name on a drive though they belong elsewhere; at most `limit`.
    pub fn claims_to(&self, side: Side, place: &Place, limit: usize) -> Result<Vec<NodeId>, StoreError> {
        let prefix = codec::claims_to(side, place);
        let mut claims = Vec::new();
        for pair in self.store.scan(&prefix, &codec::end_of(&prefix)).take(limit) {
            let (key, value) = pair?;
            claims.extend(codec::decode::<NodeId>(&key, &value).ok());
        }
        Ok(claims)
    }

    /// The node at a place of the catalog, if it is still `id`; nothing where its record is damaged.
    pub fn node_of(&self, place: &Place, id: NodeId) -> Result<Option<Node>, StoreError> {
        Ok(readable(self.node(place))?.filter(|node| node.id() == id))
    }

    /// The path that clients know a place by; `None` where a folder above it is not to be found.
    pub fn path_of(&self, place: &Place) -> Result<Option<RelPath>, StoreError> {
        let mut names = vec![place.name.clone()];
        let mut parent = place.parent;
        while parent != NodeId::ROOT {
            let above = readable(self.folder_place(parent))?;
            let Some(above) = above.filter(|_| names.len() <= DEPTH_MAX) else { return Ok(None) };
            names.push(above.name);
            parent = above.parent;
        }
        Ok(Some(names.into_iter().rev().fold(RelPath::ROOT, |path, name| path.join(name))))
    }
}

impl Catalog for Audit {
    fn value(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.store.get(key)
    }
}

/// Single records of a store.
struct Plain<'a>(&'a dyn Store);

impl Catalog for Plain<'_> {
    fn value(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.0.get(key)
    }
}

/// A record that the journal cannot do without.
fn needed<T: serde::de::DeserializeOwned>(
    plain: &Plain<'_>,
    fact: Fact,
    what: &'static str,
    found: &mut dyn FnMut(Flaw),
) -> Result<Option<T>, StoreError> {
    match plain.record(&codec::meta(fact)) {
        Ok(None) => {
            found(Flaw::Missing { what });
            Ok(None)
        }
        // It was told of as damaged.
        Err(StoreError::Corrupt(_)) => Ok(None),
        record => record,
    }
}

/// A record, or nothing where it is damaged, which was told of already.
fn readable<T>(record: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match record {
        Err(StoreError::Corrupt(_)) => Ok(None),
        record => record,
    }
}
