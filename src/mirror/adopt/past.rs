//! What the drives say of the catalog, put together.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Crc32;
use crate::ids::{Lsn, NodeId, PerSide, Side, Ticket};
use crate::journal::{BEFORE, Body, Change, Content, Held, Listed, Place, Version};
use crate::mirror::adopt::survey::Survey;

/// The drives' histories contradict each other: two daemons wrote apart from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("both drives have an LSN {0}, for different things")]
pub(crate) struct Diverged(pub(crate) Lsn);

/// The catalog as the drives remember it.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(crate) nodes: BTreeMap<NodeId, Known>,
    /// Nodes that had a place at any time.
    pub(crate) places: BTreeMap<Place, Vec<NodeId>>,
    pub(crate) last: PerSide<Lsn>,
}

/// A node, and what is known of its earlier life.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) newest: Change,
    /// All versions of a file, the newest among them.
    pub(crate) versions: Vec<Version>,
    /// All that it was, each with the LSN up to which that is told.
    pub(crate) was: Vec<(Lsn, Held)>,
    /// The digests of the blocks of versions whose bytes were seen.
    pub(crate) blocks: BTreeMap<Ticket, Vec<Crc32>>,
    /// Where each drive last heard that it is.
    pub(crate) own: PerSide<Option<(Lsn, Option<Place>)>>,
}

impl Past {
    /// The tickets of all versions on record.
    pub(crate) fn tickets(&self) -> BTreeSet<Ticket> {
        self.nodes.values().flat_map(|known| known.versions.iter().map(|version| version.ticket)).collect()
    }
}

/// Folds what the drives say. Of a node the highest LSN counts.
pub(crate) fn fold(surveys: &PerSide<Option<Survey>>) -> Result<Past, Diverged> {
    check_one_history(surveys)?;
    let mut past = Past::default();
    for (side, survey) in surveys.iter() {
        let Some(survey) = survey else { continue };
        *past.last.get_mut(side) = survey.last();
        survey.changes.iter().for_each(|change| past.take(side, change));
    }
    // What a node was is worth something beside what it became alone, which a damaged manifest may lack.
    past.nodes.retain(|_, known| known.newest.lsn > BEFORE);
    Ok(past)
}

impl Past {
    fn take(&mut self, side: Side, change: &Change) {
        let known = self.nodes.entry(change.node).or_insert_with(|| Known {
            newest: change.clone(),
            versions: Vec::new(),
            was: Vec::new(),
            blocks: BTreeMap::new(),
            own: PerSide::default(),
        });
        if known.newest.lsn <= change.lsn {
            known.newest = change.clone();
        }
        let own = known.own.get_mut(side);
        if own.as_ref().is_none_or(|(lsn, _)| *lsn <= change.lsn) {
            *own = Some((change.lsn, change.now.as_ref().map(|now| now.place.clone())));
        }
        let Some(Listed { place, body }) = &change.now else { return };
        let content = match body {
            Body::Folder { .. } => Content::Folder,
            Body::File { version, .. } | Body::Trashed { version, .. } => {
                Content::File { version: *version, observed: None }
            }
        };
        known.note(change.lsn, Held { place: place.clone(), content });
        if let Body::File { version, .. } | Body::Trashed { version, .. } = body
            && !known.versions.contains(version)
        {
            known.versions.push(*version);
        }
        let there = self.places.entry(place.clone()).or_default();
        if !there.contains(&change.node) {
            there.push(change.node);
        }
    }
}

impl Known {
    fn note(&mut self, lsn: Lsn, held: Held) {
        // The last one as a rule: a file has one place and many versions, or the other way round.
        match self.was.iter_mut().rev().find(|(_, was)| *was == held) {
            Some((last, _)) => *last = lsn.max(*last),
            None => self.was.push((lsn, held)),
        }
    }
}

/// What a drive says of one LSN: its nodes, each with the digest of what it became.
type Said = PerSide<Vec<(NodeId, Crc32)>>;

fn check_one_history(surveys: &PerSide<Option<Survey>>) -> Result<(), Diverged> {
    let (Some(a), Some(b)) = (&surveys.a, &surveys.b) else { return Ok(()) };
    let mut said: BTreeMap<Lsn, Said> = BTreeMap::new();
    for (side, survey) in [(Side::A, a), (Side::B, b)] {
        for change in survey.changes.iter().filter(|change| change.lsn > BEFORE) {
            let digest = postcard::to_stdvec(&change.now).map(|bytes| Crc32::of(&bytes)).unwrap_or_default();
            let nodes = said.entry(change.lsn).or_default().get_mut(side);
            if !nodes.contains(&(change.node, digest)) {
                nodes.push((change.node, digest));
            }
        }
    }
    for (lsn, said) in said {
        // What a drive missed it knows from its debts alone: it may know of fewer nodes than the other one.
        let apart = said.a.iter().all(|said_a| !said.b.contains(said_a));
        if apart && !said.a.is_empty() && !said.b.is_empty() {
            return Err(Diverged(lsn));
        }
    }
    Ok(())
}
