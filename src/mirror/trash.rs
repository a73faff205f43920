//! The trash as clients see it, and how it is emptied: by age, by hand, and for room.

mod copies;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::clock;
use crate::ids::{Lsn, NodeId, RequestId, Side};
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Kept, Mutation, Node, Remains, Request};
use crate::mirror::core::Core;
use crate::mirror::layout;
use crate::mirror::mirror::Mirror;
use crate::mirror::mutate::{refusal, unreadable};
use crate::mirror::refusal::Refusal;
use crate::mirror::request::{NodeKind, TrashItem, Undone};
use crate::mirror::status::TrashStatus;
use crate::path::RelPath;

/// Things that are brought back, or let go of, by commits that share a barrier.
const BATCH: usize = 256;
/// Letters of a path that nobody could give which an error shows.
const SHOWN_MAX: usize = 200;
/// How often is looked for what has been kept long enough.
const LOOK_EVERY: Duration = Duration::from_hours(1);

impl Mirror {
    /// What is in the trash of a path and of all below it, oldest first; at most `limit`, else `TooLarge`. Blocks.
    pub fn trash(&self, path: &RelPath, limit: usize) -> Result<Vec<TrashItem>, Refusal> {
        self.core.check_journal()?;
        let mut found = if path.is_root() { Vec::new() } else { self.versions(path)? };
        let mut after: Option<Kept> = None;
        loop {
            let page = self.core.journal.snapshot().trash_below(path, after.as_ref(), BATCH).map_err(unreadable)?;
            after = page.last().cloned();
            found.extend(page);
            if found.len() > limit {
                let what = "the number of things in the trash";
                return Err(Refusal::TooLarge { what, size: found.len() as u64, limit: limit as u64 });
            }
            if after.is_none() {
                break;
            }
        }
        found.sort_by_key(|kept| kept.lsn);
        Ok(found.into_iter().map(item).collect())
    }

    /// Brings back what was last removed or overwritten at a path, or what entry `lsn` did so. What is there now goes
    /// to the trash. With a folder that was removed with all in it comes all that was removed with it.
    pub async fn undo(&self, path: &RelPath, lsn: Option<Lsn>, id: Option<RequestId>) -> Result<Undone, Refusal> {
        let swept = if self.is_answered(id.as_ref())? { Swept::default() } else { self.swept(path, lsn)? };
        let mut undone: Option<Undone> = None;
        let mut hindrance = swept.hindrance;
        for batch in swept.parts.chunks(BATCH) {
            let restore = |(path, lsn): &(RelPath, Lsn)| self.restore(path.clone(), Some(*lsn), None);
            for restored in join_all(batch.iter().map(restore)).await {
                match restored {
                    Ok(receipt) => {
                        let restored = undone.as_ref().map_or(1, |undone| undone.restored + 1);
                        undone = Some(Undone { receipt, restored });
                    }
                    // Somebody else brought it back, or it was let go of meanwhile.
                    Err(Refusal::NotInTrash(_)) => {}
                    Err(refusal) => hindrance = hindrance.or(Some(refusal)),
                }
            }
        }
        if let Some(refusal) = hindrance {
            let back = undone.map_or(0, |undone| undone.restored);
            return Err(match refusal {
                Refusal::Quota(why) if back > 0 => {
                    Refusal::Quota(format!("{back} of {} came back, then: {why}", swept.parts.len()))
                }
                Refusal::FolderFull(why) if back > 0 => {
                    Refusal::FolderFull(format!("{back} of {} came back, then: {why}", swept.parts.len()))
                }
                refusal => refusal,
            });
        }
        let before = undone.as_ref().map_or(0, |undone| undone.restored);
        match (self.restore(path.clone(), lsn, id).await, undone) {
            (Ok(receipt), _) => Ok(Undone { receipt, restored: before + 1 }),
            // A removal that was broken off left the folder itself.
            (Err(Refusal::NotInTrash(_)), Some(undone)) => Ok(undone),
            (Err(Refusal::NotInTrash(path)), None) => {
                Err(Refusal::NotInTrash(lsn.map_or(path.clone(), |lsn| format!("version {lsn} of {path}"))))
            }
            (Err(refusal), _) => Err(refusal),
        }
    }

    async fn restore(
        &self,
        path: RelPath,
        lsn: Option<Lsn>,
        id: Option<RequestId>,
    ) -> Result<crate::journal::Receipt, Refusal> {
        if !self.is_answered(id.as_ref())? {
            self.check_copies(&path, lsn).await?;
        }
        self.commit(Mutation::Restore { path, lsn, mtime_ns: clock::wall_ns() }, id).await
    }

    fn versions(&self, path: &RelPath) -> Result<Vec<Kept>, Refusal> {
        self.core.journal.snapshot().trash_of(path).map_err(unreadable)
    }

    /// What was removed together with a folder, without the folder itself; by path, so that folders come first.
    fn swept(&self, path: &RelPath, lsn: Option<Lsn>) -> Result<Swept, Refusal> {
        let versions = self.versions(path)?;
        let own = match lsn {
            Some(lsn) => versions.iter().find(|kept| kept.lsn == lsn),
            None => versions.last(),
        };
        let sweep = match (own, lsn) {
            (Some(Kept { remains: Remains::Folder { .. }, keeping, .. }), _) => keeping.sweep,
            (Some(_), _) | (None, Some(_)) => None,
            (None, None) => {
                self.below(path, |_| true)?.into_iter().max_by_key(|kept| kept.lsn).and_then(|kept| kept.keeping.sweep)
            }
        };
        let Some(sweep) = sweep else { return Ok(Swept::default()) };
        let (mut parts, mut beyond) = (Vec::new(), Vec::new());
        for kept in self.below(path, |kept| kept.keeping.sweep == Some(sweep))? {
            match RelPath::parse(&kept.path) {
                Ok(path) => parts.push((path, kept.lsn)),
                Err(why) => beyond.push((kept, why)),
            }
        }
        // Two changes at the same time could make such a path: a move of a folder, and what was put into it.
        let hindrance = beyond.first().map(|(first, why)| {
            let (count, shown) = (beyond.len(), first.path.chars().take(SHOWN_MAX).collect::<String>());
            Refusal::BadPath(format!(
                "{count} of what was removed with it cannot come back, {shown:?} for one: {why}; its bytes lie in {} on \
                 the drives until the trash lets go of it",
                layout::TRASH_FOLDER
            ))
        });
        Ok(Swept { parts, hindrance })
    }

    fn below(&self, path: &RelPath, wanted: impl Fn(&Kept) -> bool) -> Result<Vec<Kept>, Refusal> {
        let (mut found, mut after): (Vec<Kept>, Option<Kept>) = (Vec::new(), None);
        loop {
            let page = self.core.journal.snapshot().trash_below(path, after.as_ref(), BATCH).map_err(unreadable)?;
            after = page.last().cloned();
            if after.is_none() {
                return Ok(found);
            }
            found.extend(page.into_iter().filter(|kept| kept.keeping.sweep.is_some() && wanted(kept)));
        }
    }

    /// Lets go of all that is in the trash now.
    pub async fn empty_trash(&self) -> Result<TrashStatus, Refusal> {
        let head = self.core.journal.head();
        self.purge_while(|kept| kept.lsn <= head).await
    }

    /// Lets go of what has been kept long enough, for as long as the mirror runs.
    pub async fn tend_trash(&self) {
        loop {
            let (now, keep) = (self.elapsed(), self.core.trash_for.unwrap_or_default());
            match self.purge_while(|kept| now.since(kept.keeping.at) >= keep).await {
                Ok(TrashStatus { items: 0, .. }) => {}
                Ok(TrashStatus { items, bytes }) => tracing::info!(items, bytes, "let go of what was kept long enough"),
                // Without a drive, or without the journal, it waits.
                Err(refusal) => tracing::debug!(%refusal, "the trash is not emptied"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Lets go of the oldest things, up to the first that stays.
    async fn purge_while(&self, goes: impl Fn(&Kept) -> bool) -> Result<TrashStatus, Refusal> {
        let mut gone = TrashStatus::default();
        loop {
            let page = self.core.journal.snapshot().trash(None, BATCH).map_err(unreadable)?;
            let batch: Vec<_> = page.into_iter().take_while(&goes).collect();
            if batch.is_empty() {
                return Ok(gone);
            }
            let purge = |kept: &Kept| self.commit(Mutation::Purge { lsn: kept.lsn }, None);
            for (purged, kept) in join_all(batch.iter().map(purge)).await.into_iter().zip(&batch) {
                match purged {
                    Ok(_) => gone = gone.with(kept),
                    // Somebody brought it back.
                    Err(Refusal::NotInTrash(_)) => {}
                    Err(refusal) => return Err(refusal),
                }
            }
        }
    }
}

/// What was removed together with a folder.
#[derive(Default)]
struct Swept {
    parts: Vec<(RelPath, Lsn)>,
    /// Why some of it cannot come back.
    hindrance: Option<Refusal>,
}

impl TrashStatus {
    fn with(self, kept: &Kept) -> Self {
        Self { items: self.items + 1, bytes: self.bytes + kept.remains.bytes() }
    }
}

fn item(kept: Kept) -> TrashItem {
    let kind = match kept.remains {
        Remains::File { .. } => NodeKind::File,
        Remains::Folder { .. } => NodeKind::Folder,
    };
    let size = kept.remains.bytes();
    TrashItem { path: kept.path, kind, size, cause: kept.cause, lsn: kept.lsn, wall_ns: kept.keeping.wall_ns }
}

/// Lets go of the oldest things in the trash, `bytes` of them. False where the trash has not so much: then it stays.
pub(crate) async fn free(core: &Core, bytes: u64) -> Result<bool, Refusal> {
    if core.journal.trash_size().1 < bytes {
        return Ok(false);
    }
    let mut files = 0;
    for kept in oldest(core, bytes, |_| true).map_err(unreadable)? {
        match core.committer.commit(purge(core, kept.lsn)).await.map_err(refusal) {
            Ok(_) => files += 1,
            // Somebody brought it back, or was faster.
            Err(Refusal::NotInTrash(_)) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    tracing::info!(files, bytes, "let go of the oldest in the trash: room is needed");
    Ok(true)
}

/// Lets go of enough in the trash for what a lane has no room for. For a drive's own thread: blocks.
pub(crate) fn free_for_lane(core: &Arc<Core>, side: Side, stuck: &[NodeId]) -> Result<(), StoreError> {
    let (mut needed, mut purged) = (0, Vec::new());
    for id in stuck {
        let snapshot = core.journal.snapshot();
        let Some(place) = snapshot.want(side, *id)? else { continue };
        let Some(Node::File(file)) = snapshot.node(&place)?.filter(|node| node.id() == *id) else { continue };
        if place.parent == NodeId::TRASH {
            // Not even a name for it: what is removed is removed, on a full drive too.
            purged.push(file.lsn);
        } else {
            needed += file.version.size;
        }
    }
    if needed > 0 {
        let lies_here = |kept: &Kept| has_copy(core, side, kept) && !purged.contains(&kept.lsn);
        let more: Vec<_> = oldest(core, needed, lies_here)?.iter().map(|kept| kept.lsn).collect();
        purged.extend(more);
    }
    if !purged.is_empty() {
        tracing::info!(drive = %side, files = purged.len(), "let go of the oldest in the trash: the drive is full");
    }
    for lsn in purged {
        // Whoever was faster made room as well.
        let _ = core.committer.commit_blocking(purge(core, lsn));
    }
    Ok(())
}

/// The oldest files in the trash that are wanted, until they have so many bytes together.
fn oldest(core: &Core, bytes: u64, wanted: impl Fn(&Kept) -> bool) -> Result<Vec<Kept>, StoreError> {
    let (mut found, mut size, mut after) = (Vec::new(), 0, None);
    loop {
        let page = core.journal.snapshot().trash(after, BATCH)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.lsn);
        for kept in page.into_iter().filter(|kept| kept.remains.bytes() > 0 && wanted(kept)) {
            if size >= bytes {
                return Ok(found);
            }
            size += kept.remains.bytes();
            found.push(kept);
        }
    }
}

fn purge(core: &Core, lsn: Lsn) -> Request {
    Request {
        mutation: Mutation::Purge { lsn },
        id: None,
        present: core.present(),
        keeping: None,
        quotas: crate::journal::Quotas::default(),
        names_max: None,
    }
}

fn node_of(kept: &Kept) -> Option<NodeId> {
    match kept.remains {
        Remains::File { node, .. } => Some(node),
        Remains::Folder { .. } => None,
    }
}

fn has_copy(core: &Core, side: Side, kept: &Kept) -> bool {
    let file = kept.remains.place().zip(node_of(kept)).map(|(place, id)| core.journal.file(&place, id));
    matches!(file, Some(Ok(Some(file))) if file.copies.get(side).is_durable())
}

/// Bytes that a drive has of what was removed, and will free when it is back.
pub(crate) fn to_be_freed(core: &Core, side: Side) -> u64 {
    let (mut at, mut bytes) = (NodeId::ROOT, 0);
    loop {
        // Nobody knows while the journal is closed.
        let Ok(page) = core.journal.snapshot().debts(side, at, BATCH) else { return bytes };
        let Some((last, _)) = page.last() else { return bytes };
        at = last.next();
        let removed = page.iter().filter(|(_, debt)| debt.want.is_none()).filter_map(|(_, debt)| debt.have.as_ref());
        bytes += removed
            .map(|held| match held.content {
                crate::journal::Content::File { version, .. } => version.size,
                crate::journal::Content::Folder => 0,
            })
            .sum::<u64>();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use crate::journal::{Catalog, Resolved};
    use crate::mirror::MirrorLimits;
    use crate::mirror::request::Recurse;
    use crate::mirror::stand::Stand;
    use crate::path::PATH_DEPTH_MAX;

    #[tokio::test]
    async fn what_cannot_come_back_with_its_folder_is_told_of() {
        let limits = MirrorLimits { trash_for: Some(Duration::from_hours(1)), ..MirrorLimits::default() };
        let Stand { mirror, .. } = &Stand::new(limits).await;
        let path = |name: &str, names: usize| RelPath::parse(&vec![name; names].join("/")).unwrap();
        for name in ["m", "r"] {
            mirror.make_folder(&path(name, 40), Recurse::Yes, None).await.unwrap();
        }
        // As what is put into a folder while that is moved.
        let to = path("r", 40).join(path("m", 1).names().first().unwrap().clone());
        mirror.commit(Mutation::Move { from: path("m", 1), to }, None).await.unwrap();
        mirror.remove(&path("r", 1), Recurse::Yes, None).await.unwrap();
        let Err(refusal) = mirror.undo(&path("r", 1), None, None).await else { panic!("it is not told of") };
        assert_eq!(refusal.name(), "bad-path");
        assert!(refusal.to_string().starts_with("16 of what was removed with it cannot come back"), "{refusal}");
        let deepest = path("r", 40).to_string() + &"/m".repeat(PATH_DEPTH_MAX - 40);
        let found = mirror.core.journal.snapshot().resolve(&RelPath::parse(&deepest).unwrap()).unwrap();
        assert!(matches!(found, Resolved::Found(..)), "all that can be named is back: {found:?}");
    }
}
