//! PUTs whose commit no drive tells of: the record comes with the next sync, so the last ones may have been answered.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::FileDigest;
use crate::ids::{NodeId, PerSide, Side, Ticket};
use crate::journal::{Body, Content, Copy, Held, Place, Stage};
use crate::mirror::adopt::outcome::{Alive, Rebuild};
use crate::mirror::adopt::survey::{LoggedPut, Survey};
use crate::path::RelPath;

/// A PUT that may have been answered.
struct Late {
    put: LoggedPut,
    digest: FileDigest,
    copies: PerSide<Copy>,
    /// Whether a drive has it that was there to the end: else what is on record may be newer.
    newest: bool,
    side: Side,
}

impl Rebuild {
    /// Finds current versions in stage files and logs.
    pub(super) fn find_stages(&mut self, surveys: &PerSide<Option<Survey>>) {
        for (side, survey) in surveys.iter() {
            let Some(survey) = survey else { continue };
            let logged: BTreeMap<Ticket, &LoggedPut> =
                survey.puts.iter().filter(|put| put.logged.is_some()).map(|put| (put.version.ticket, put)).collect();
            for node in self.nodes.values_mut() {
                let Some(version) = node.version().filter(|_| !node.copies.get(side).is_durable()) else { continue };
                let staged = survey.stages.get(&version.ticket).map(|digest| (Stage::File, digest));
                let logged = || logged.get(&version.ticket).and_then(|put| put.logged.as_ref());
                let staged = staged.or_else(|| logged().map(|(stage, digest)| (*stage, digest)));
                let staged = staged.filter(|(_, digest)| digest.whole == version.crc32 && digest.size == version.size);
                let Some((stage, digest)) = staged else { continue };
                *node.copies.get_mut(side) = Copy::Staged(stage);
                node.blocks.get_or_insert_with(|| digest.blocks.clone());
            }
        }
    }

    /// Takes in PUTs that may have been answered. An unanswered one may appear; what was there stays beside it.
    pub(super) fn take_late(&mut self, surveys: &PerSide<Option<Survey>>) {
        for late in self.late(surveys) {
            self.take_put(late);
        }
    }

    fn late(&self, surveys: &PerSide<Option<Survey>>) -> Vec<Late> {
        let known = self.past.tickets();
        let last = self.past.last.a.max(self.past.last.b);
        let mut order: Vec<Ticket> = Vec::new();
        let mut found: BTreeMap<Ticket, Late> = BTreeMap::new();
        for (side, survey) in surveys.iter() {
            let Some(survey) = survey else { continue };
            let newest = *self.past.last.get(side) == last;
            let mut here = BTreeSet::new();
            for put in survey.puts.iter().filter(|put| !known.contains(&put.version.ticket)) {
                let ticket = put.version.ticket;
                if survey.is_decided(put) || !here.insert(ticket) {
                    continue;
                }
                let Some((stage, digest)) = bytes_of(survey, put) else { continue };
                let late = found.entry(ticket).or_insert_with(|| {
                    order.push(ticket);
                    Late { put: put.clone(), digest, copies: PerSide::default(), newest: false, side }
                });
                *late.copies.get_mut(side) = Copy::Staged(stage);
                late.newest |= newest;
            }
        }
        order.into_iter().filter_map(|ticket| found.remove(&ticket)).collect()
    }

    fn take_put(&mut self, late: Late) {
        let Ok(path) = RelPath::parse(&late.put.path) else { return };
        let Some((folders, name)) = path.split_last() else { return };
        let mut parent = NodeId::ROOT;
        for name in folders {
            let place = Place::new(parent, name.clone());
            parent = match self.places.get(&place).and_then(|id| Some((*id, self.nodes.get(id)?))) {
                Some((id, Alive { body: Body::Folder { .. }, .. })) => id,
                // A file is where a folder was: the version gets a folder beside it.
                Some(_) | None => self.add(place, Body::Folder { mtime_ns: late.put.mtime_ns }, late.side),
            };
        }
        let place = Place::new(parent, name.clone());
        let Late { put, digest, copies, newest, side } = late;
        let LoggedPut { owner, version, mtime_ns, executable, .. } = put;
        let body = Body::File { version, mtime_ns, executable, owner };
        let there = self.places.get(&place).copied();
        let old = there.and_then(|id| self.nodes.get(&id).cloned());
        if old.as_ref().and_then(Alive::version).is_some_and(|old| same_bytes(&old, &digest)) {
            return;
        }
        self.report.late += 1;
        let is_file = old.as_ref().is_some_and(|old| old.version().is_some());
        let id = if let Some(id) = there.filter(|_| is_file && newest) {
            self.keep_beside(id, side);
            id
        } else {
            let id = self.add(place, body.clone(), side);
            if there.is_some() {
                self.tell_kept(id);
            }
            id
        };
        let lsn = self.next_lsn();
        if let Some(node) = self.nodes.get_mut(&id) {
            node.lsn = lsn;
            node.body = body;
            node.blocks = Some(digest.blocks);
            node.copies = copies;
        }
    }

    /// Keeps what a file was as another one beside it, which takes over what the drives have of it.
    pub(super) fn keep_beside(&mut self, id: NodeId, side: Side) {
        let Some(old) = self.nodes.get(&id).cloned().filter(Alive::is_held) else { return };
        let kept = self.add(old.place.clone(), old.body.clone(), side);
        if let (Some(node), Some(version)) = (self.nodes.get_mut(&kept), old.version()) {
            node.copies = old.copies;
            node.blocks.clone_from(&old.blocks);
            for side in Side::BOTH {
                let is_it = |held: &&Held| match held.content {
                    Content::File { version: held, .. } => held == version,
                    Content::Folder => false,
                };
                *node.have.get_mut(side) = old.have.get(side).as_ref().filter(is_it).cloned();
            }
        }
        let taken = self.nodes.get(&kept).map(|node| node.have.clone()).unwrap_or_default();
        if let Some(node) = self.nodes.get_mut(&id) {
            for side in Side::BOTH {
                if taken.get(side).is_some() {
                    *node.have.get_mut(side) = None;
                }
            }
            node.copies = PerSide::default();
            node.blocks = None;
        }
        self.tell_kept(kept);
    }
}

fn bytes_of(survey: &Survey, put: &LoggedPut) -> Option<(Stage, FileDigest)> {
    if let Some((stage, digest)) = &put.logged {
        return Some((*stage, digest.clone()));
    }
    let digest = survey.stages.get(&put.version.ticket)?;
    same_bytes(&put.version, digest).then(|| (Stage::File, digest.clone()))
}

fn same_bytes(version: &crate::journal::Version, digest: &FileDigest) -> bool {
    version.size == digest.size && version.crc32 == digest.whole
}
