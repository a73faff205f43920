//! What clients change beside the bytes of files: removing, making folders, moving; and how a change gets its answer.

use std::sync::Arc;

use futures_util::future::join_all;

use crate::clock;
use crate::ids::{Lsn, NodeId, PerSide, RequestId, Side};
use crate::journal::store::StoreError;
use crate::journal::{Answered, CommitError, Mutation, Node, Parents, Precondition, Receipt, Request, Resolved};
use crate::mirror::extent;
use crate::mirror::mirror::Mirror;
use crate::mirror::refusal::Refusal;
use crate::mirror::request::{Limited, Overwrite, Recurse};
use crate::path::{Name, RelPath};

/// Children removed by one turn of a recursive removal.
const REMOVE_BATCH: usize = 256;
/// Looks at folders, one after the other, that removed nothing: more than any path is deep.
const REMOVE_IDLE_MAX: usize = 4 * crate::path::PATH_DEPTH_MAX;
/// Times that a folder is emptied again because somebody puts files into it meanwhile.
const REMOVE_ROUNDS_MAX: usize = 16;

impl Mirror {
    /// Removes a file or folder.
    pub async fn remove(&self, path: &RelPath, recurse: Recurse, id: Option<RequestId>) -> Result<Receipt, Refusal> {
        self.remove_while(path, recurse, id, || true).await
    }

    /// The same, as long as `may_go_on` says so before each piece of it. What was removed before stays removed.
    pub async fn remove_while(
        &self,
        path: &RelPath,
        recurse: Recurse,
        id: Option<RequestId>,
        mut may_go_on: impl FnMut() -> bool + Send,
    ) -> Result<Receipt, Refusal> {
        // What is removed together is brought back together.
        let sweep = (recurse == Recurse::Yes).then(|| self.core.journal.head());
        for _ in 0..REMOVE_ROUNDS_MAX {
            if recurse == Recurse::Yes && !self.is_answered(id.as_ref())? {
                self.empty(path, sweep, &mut may_go_on).await?;
            }
            if !may_go_on() {
                return Err(Refusal::BrokenOff(path.to_string()));
            }
            match self.commit_untold(sweep, Limited::Yes, Mutation::Remove { path: path.clone() }, id.clone()).await {
                Err(Refusal::NotEmpty(_)) if recurse == Recurse::Yes => {}
                Err(refusal) => return Err(refusal),
                Ok(receipt) => {
                    self.tell_a_drive().await;
                    return Ok(receipt);
                }
            }
        }
        Err(Refusal::NotEmpty(path.to_string()))
    }

    /// Makes a folder; with `Recurse::Yes` also those above it, and one that exists is fine.
    pub async fn make_folder(
        &self,
        path: &RelPath,
        recurse: Recurse,
        id: Option<RequestId>,
    ) -> Result<Receipt, Refusal> {
        let parents = match recurse {
            Recurse::Yes => Parents::Make,
            Recurse::No => Parents::MustExist,
        };
        self.commit(Mutation::MakeFolder { path: path.clone(), parents, mtime_ns: clock::wall_ns() }, id).await
    }

    /// Takes in a folder that is on a drive already, and those above it: no limit counts.
    pub(super) async fn take_folder(&self, path: &RelPath) -> Result<Receipt, Refusal> {
        let made = Mutation::MakeFolder { path: path.clone(), parents: Parents::Make, mtime_ns: clock::wall_ns() };
        let receipt = self.commit_untold(None, Limited::No, made, None).await?;
        self.tell_a_drive().await;
        Ok(receipt)
    }

    /// Moves a file or folder to a free name in an existing folder.
    pub async fn move_to(&self, from: &RelPath, to: &RelPath, id: Option<RequestId>) -> Result<Receipt, Refusal> {
        if let Resolved::Found(_, Node::Folder(folder)) = self.core.journal.resolve(from).map_err(unreadable)?
            && !self.is_answered(id.as_ref())?
        {
            let (core, to) = (Arc::clone(&self.core), to.clone());
            let checked = tokio::task::spawn_blocking(move || extent::check_move(&core.journal, folder.id, &to)).await;
            checked.unwrap_or_else(|error| Err(Refusal::BadRequest(error.to_string())))?;
        }
        self.commit(Mutation::Move { from: from.clone(), to: to.clone() }, id).await
    }

    pub(super) async fn commit(&self, mutation: Mutation, id: Option<RequestId>) -> Result<Receipt, Refusal> {
        let receipt = self.commit_untold(None, Limited::Yes, mutation, id).await?;
        self.tell_a_drive().await;
        Ok(receipt)
    }

    /// Commits what more is to follow on before anybody gets an answer: no drive needs to tell of it yet. `sweep`: as a
    /// part of a removal of a folder with all in it.
    async fn commit_untold(
        &self,
        sweep: Option<Lsn>,
        limited: Limited,
        mutation: Mutation,
        id: Option<RequestId>,
    ) -> Result<Receipt, Refusal> {
        self.core.check_journal()?;
        let present = self.core.present();
        if present == PerSide::default() {
            return Err(self.core.nobody_there());
        }
        let request = Request {
            mutation,
            id,
            present,
            keeping: self.core.keeping(sweep),
            quotas: self.core.quotas(),
            names_max: self.core.names_max(limited),
        };
        self.core.committer.commit(request).await.map_err(refusal)
    }

    /// Waits until a drive that is there tells of what was committed so far, in case that the journal is lost. Of a
    /// PUT they tell by its bytes.
    async fn tell_a_drive(&self) {
        let told = |side: Side| {
            let attachment = self.core.seat(side).attachment();
            async move {
                let Some(attachment) = attachment else { return false };
                let flushed = attachment.log.flush_for_client();
                attachment.io.wait(flushed).await.is_ok()
            }
        };
        let (a, b) = (told(Side::A), told(Side::B));
        tokio::pin!(a, b);
        tokio::select! {
            true = &mut a => {}
            true = &mut b => {}
            // Both have left: the journal has it.
            else => {}
        }
    }

    /// The answer to a mutation that was sent before, whatever it was.
    pub fn receipt_of(&self, id: Option<&RequestId>) -> Result<Option<Receipt>, Refusal> {
        Ok(self.answer(id)?.map(|answered| answered.receipt))
    }

    pub(super) fn is_answered(&self, id: Option<&RequestId>) -> Result<bool, Refusal> {
        Ok(self.answer(id)?.is_some())
    }

    /// The first answer to a mutation that was sent before.
    pub(super) fn answer(&self, id: Option<&RequestId>) -> Result<Option<Answered>, Refusal> {
        match id {
            Some(id) => self.core.journal.snapshot().answer(id).map_err(unreadable),
            None => Ok(None),
        }
    }

    /// Removes all that is in a folder, deepest first. Ends early where something goes on changing under it: the
    /// caller tries again.
    async fn empty(
        &self,
        path: &RelPath,
        sweep: Option<Lsn>,
        may_go_on: &mut (dyn FnMut() -> bool + Send),
    ) -> Result<(), Refusal> {
        let whole = path;
        let Resolved::Found(_, Node::Folder(folder)) = self.core.journal.resolve(path).map_err(unreadable)? else {
            return Ok(());
        };
        let mut folders = vec![(path.clone(), folder.id)];
        let mut idle = 0;
        while let Some((path, id)) = folders.last().cloned() {
            // The folder was moved away, say: nothing under its old path can be removed.
            if idle > REMOVE_IDLE_MAX {
                return Ok(());
            }
            if !may_go_on() {
                return Err(Refusal::BrokenOff(whole.to_string()));
            }
            let children = self.children(id, None, REMOVE_BATCH)?;
            let below = children.iter().filter_map(|(name, node)| match node {
                Node::Folder(folder) => Some((path.join(name.clone()), folder.id)),
                Node::File(_) => None,
            });
            let below: Vec<_> = below.collect();
            let files = children.iter().filter(|(_, node)| matches!(node, Node::File(_)));
            let mut removed = self.remove_all(files, &path, sweep).await?;
            if below.is_empty() && children.len() < REMOVE_BATCH {
                folders.pop();
                if !folders.is_empty() {
                    removed += usize::from(self.remove_one(path, sweep).await?);
                }
            } else {
                folders.extend(below);
            }
            idle = if removed == 0 { idle + 1 } else { 0 };
        }
        Ok(())
    }

    /// Removes files of a folder; how many were there to be removed.
    async fn remove_all(
        &self,
        children: impl Iterator<Item = &(Name, Node)>,
        folder: &RelPath,
        sweep: Option<Lsn>,
    ) -> Result<usize, Refusal> {
        let removals = children.map(|(name, _)| self.remove_one(folder.join(name.clone()), sweep));
        let mut removed = 0;
        // Sent together they share one barrier.
        for removal in join_all(removals).await {
            removed += usize::from(removal?);
        }
        Ok(removed)
    }

    async fn remove_one(&self, path: RelPath, sweep: Option<Lsn>) -> Result<bool, Refusal> {
        match self.commit_untold(sweep, Limited::Yes, Mutation::Remove { path }, None).await {
            Ok(_) => Ok(true),
            // Somebody else was faster, or put something in: the next round sees.
            Err(Refusal::NotFound(_) | Refusal::NotEmpty(_) | Refusal::NotAFolder(_)) => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    /// Refuses a PUT early that the commit would refuse.
    pub fn check_place(&self, path: &RelPath, overwrite: Overwrite, limited: Limited) -> Result<(), Refusal> {
        match self.core.journal.resolve(path).map_err(unreadable)? {
            Resolved::Root | Resolved::Found(_, Node::Folder(_)) => Err(Refusal::IsAFolder(path.to_string())),
            Resolved::BelowAFile { .. } => Err(Refusal::NotAFolder(path.to_string())),
            Resolved::Found(_, Node::File(_)) => Ok(()),
            Resolved::Missing { parent, depth } => {
                // Before the name: nothing would be made.
                if let Overwrite::Version(wanted) = overwrite {
                    let reason = Precondition::OtherVersion { path: path.clone(), wanted, now: None };
                    return Err(refusal(reason.into()));
                }
                let names_max = self.core.names_max(limited);
                let refused = self.core.journal.refuse_name(path, (parent, depth), names_max).map_err(unreadable)?;
                refused.map_or(Ok(()), |reason| Err(refusal(CommitError::Precondition(reason))))
            }
        }
    }

    /// Refuses a file that is longer than an enrolled drive can have it.
    pub(super) fn check_length(&self, bytes: u64) -> Result<(), Refusal> {
        for (drive, namespace) in self.core.journal.namespaces().map_err(unreadable)?.iter() {
            if let Some(limit) = namespace.file_bytes_max().filter(|limit| bytes > *limit) {
                return Err(Refusal::TooLargeForDrive { drive, file_system: namespace.file_system(), limit });
            }
        }
        Ok(())
    }

    pub(super) fn children(
        &self,
        folder: NodeId,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<(Name, Node)>, Refusal> {
        self.core.journal.snapshot().children(folder, after, limit).map_err(unreadable)
    }
}

pub(super) fn unreadable(error: StoreError) -> Refusal {
    match error {
        StoreError::Unreadable(error) => Refusal::JournalUnreadable(error.to_string()),
        StoreError::Io(_) | StoreError::NoSpace | StoreError::Corrupt(_) | StoreError::Dead => {
            Refusal::JournalUnavailable(error.to_string())
        }
    }
}

pub(super) fn refusal(error: CommitError) -> Refusal {
    match error {
        CommitError::InDoubt(why) => Refusal::JournalUnavailable(why),
        CommitError::Precondition(reason) => match reason {
            Precondition::NotFound(path) => Refusal::NotFound(path.to_string()),
            Precondition::Exists(path) => Refusal::Exists(path.to_string()),
            Precondition::Quota { .. } => Refusal::Quota(reason.to_string()),
            Precondition::FolderFull { .. } => Refusal::FolderFull(reason.to_string()),
            Precondition::OtherVersion { .. } => Refusal::OtherVersion(reason.to_string()),
            Precondition::IsAFolder(path) => Refusal::IsAFolder(path.to_string()),
            Precondition::NotAFolder(path) => Refusal::NotAFolder(path.to_string()),
            Precondition::NotEmpty(path) => Refusal::NotEmpty(path.to_string()),
            Precondition::NotInTrash(path) => Refusal::NotInTrash(path.to_string()),
            Precondition::NotKept(lsn) => Refusal::NotInTrash(format!("LSN {lsn}")),
            Precondition::IntoItself(_) | Precondition::Root | Precondition::IdInUse => {
                Refusal::BadRequest(reason.to_string())
            }
            Precondition::Beyond { .. } => Refusal::BadPath(reason.to_string()),
            Precondition::Misfit { drive, .. } | Precondition::SameButCase { drive, .. } => {
                Refusal::BadName { drive, message: reason.to_string() }
            }
            Precondition::NoStage => Refusal::Unavailable { drive: None, message: reason.to_string() },
        },
    }
}
