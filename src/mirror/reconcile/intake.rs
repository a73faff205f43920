//! Storing what somebody else wrote on a drive, as a client would: on both drives, durable, and only then is what lay
//! aside removed. Cut short at any point it is done again, and finds what it had stored.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock;
use crate::digest::{BLOCK_BYTES, Crc32};
use crate::journal::{Node, Resolved};
use crate::mirror::attachment::Attachment;
use crate::mirror::fair::{Class, Flow};
use crate::mirror::io::Gone;
use crate::mirror::layout;
use crate::mirror::mirror::Mirror;
use crate::mirror::reconcile::aside::{Cause, Item};
use crate::mirror::reconcile::inbox::{Job, Newcomer, Task};
use crate::mirror::reconcile::ledger::Deed;
use crate::mirror::reconcile::refusals::Want;
use crate::mirror::reconcile::stock::{Rest, Taken};
use crate::mirror::reconcile::target::{Target, target};
use crate::mirror::refusal::Refusal;
use crate::mirror::request::{Asker, BodySource, Limited, Overwrite, Priority, PutRequest};
use crate::mirror::volume::{Disposition, FileKind, Meta, Result as VolumeResult, Volume, VolumeError, VolumeFile};
use crate::path::{RelPath, is_accounts_file};

/// Times that another name is looked for because somebody took it meanwhile.
const TRIES_MAX: usize = 8;
/// Before something is tried again that the daemon lacked descriptors or memory for.
const WAIT_FOR_MEANS: Duration = Duration::from_millis(250);

/// Why something was not taken in; it stays where it is.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("the drive has left")]
    Gone(#[from] Gone),
    #[error(transparent)]
    Drive(#[from] VolumeError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("it is being written")]
    Changing,
}

impl NotTaken {
    /// Whether the daemon lacked descriptors or memory: what was done so far is found done.
    fn is_for_want_of_means(&self) -> bool {
        match self {
            Self::Drive(error) => error.disposition == Disposition::Shortage,
            Self::Refused(refusal) => matches!(refusal, Refusal::Busy(_)),
            Self::Gone(_) | Self::Changing => false,
        }
    }

    /// What may help.
    fn want(&self) -> Want {
        match self {
            // More than there was, where that should have done.
            Self::Refused(Refusal::NoSpace { free, needed, .. }) => Want::Room(*needed.max(&(free + 1))),
            Self::Refused(_) | Self::Gone(_) | Self::Drive(_) | Self::Changing => Want::Time,
        }
    }
}

/// A file to be stored, where it lies on the drive.
struct Find<'a> {
    attachment: &'a Arc<Attachment>,
    at: &'a str,
    meta: Meta,
}

impl Mirror {
    /// Takes in what the lanes find, as long as it is polled. Several may be at work.
    pub async fn take_in_foreign(self: Arc<Self>) {
        loop {
            let Task { side, arrival, job } = self.core.inbox.next().await;
            let attachment = self.core.seat(side).attachment().filter(|there| there.arrival == arrival);
            if let Some(attachment) = attachment {
                self.take_in(&attachment, job).await;
            }
            self.core.inbox.done(side);
        }
    }

    async fn take_in(self: &Arc<Self>, attachment: &Arc<Attachment>, job: Job) {
        let done = loop {
            let done = match &job {
                Job::Newcomer(newcomer) => self.take_newcomer(attachment, newcomer).await,
                Job::Aside(item) => self.take_item(attachment, item).await,
            };
            if !done.as_ref().is_err_and(NotTaken::is_for_want_of_means) {
                break done;
            }
            tokio::time::sleep(WAIT_FOR_MEANS).await;
        };
        match done {
            Ok(()) | Err(NotTaken::Gone(_)) => {}
            Err(why) => {
                if let NotTaken::Drive(error) = &why {
                    self.core.complain(attachment, error);
                }
                let (side, what) = (attachment.side, job.what());
                tracing::warn!(drive = %side, what, %why, "not taken in");
                self.core.ledger.add(clock::wall_ns(), side, what, Deed::Refused(why.to_string()));
                attachment.errands.refusals().add(job, why.want(), clock::now());
                attachment.wake.ring();
            }
        }
    }

    async fn take_newcomer(self: &Arc<Self>, attachment: &Arc<Attachment>, new: &Newcomer) -> Result<(), NotTaken> {
        let Newcomer { path, at, meta, .. } = new;
        match meta.kind {
            FileKind::Folder => {
                self.take_folder(path).await?;
                if let Ok(Resolved::Found(_, Node::Folder(folder))) = self.core.journal.resolve(path) {
                    attachment.errands.look_into(folder.id);
                    attachment.wake.ring();
                }
            }
            FileKind::File => match self.store(&Find { attachment, at, meta: *meta }, path).await {
                // Somebody else was faster: then it is in the way, and goes aside.
                Err(NotTaken::Refused(Refusal::Exists(_))) => return Ok(()),
                done => done?,
            },
            FileKind::Other => return Ok(()),
        }
        self.core.ledger.add(clock::wall_ns(), attachment.side, at, Deed::New);
        Ok(())
    }

    /// Takes in all files of something that was set aside.
    async fn take_item(self: &Arc<Self>, attachment: &Arc<Attachment>, name: &str) -> Result<(), NotTaken> {
        let Some(item) = Item::parse(name).filter(|item| item.cause != Cause::Damaged) else { return Ok(()) };
        let top = layout::join(layout::ASIDE_FOLDER, name);
        let (volume, at) = (Arc::clone(&attachment.volume), top.clone());
        let tree = move || match volume.stat(&at)? {
            Some(_) => Tree::of(volume.as_ref(), at),
            // It was taken in before, or let go of.
            None => Ok(Tree { files: Vec::new(), folders: Vec::new() }),
        };
        let Tree { files, folders } = attachment.io.run(Flow::own(Class::Background).call(), tree).await??;
        let note = |bytes, rest| attachment.errands.note_taken(Taken { name: name.to_owned(), bytes, rest });
        let mut left = None;
        for (at, meta) in files {
            let path = match RelPath::parse(at.strip_prefix(&top).unwrap_or_default()) {
                Ok(path) => path,
                Err(why) => {
                    left = Some(why.to_string());
                    continue;
                }
            };
            if is_accounts_file(path.names()) {
                left = Some("it has accounts that somebody changed or brought: nobody is let in by them".to_owned());
                continue;
            }
            let find = Find { attachment, at: &at, meta };
            if self.take_file(&find, &item, &path).await? {
                let volume = Arc::clone(&attachment.volume);
                attachment.io.run(Flow::own(Class::Background).call(), move || volume.remove_file(&at)).await??;
                note(meta.observed.size, Rest::Something);
            } else {
                left = Some("no name for a copy is free, and short enough".to_owned());
            }
        }
        if let Some(why) = left {
            tracing::warn!(drive = %attachment.side, item = name, why, "some of it stays aside");
            let deed = Deed::Refused(format!("some of it stays there: {why}"));
            self.core.ledger.add(clock::wall_ns(), attachment.side, &top, deed);
        }
        let volume = Arc::clone(&attachment.volume);
        // Deepest first.
        let remove = move || folders.iter().rev().try_for_each(|at| volume.remove_folder(at));
        match attachment.io.run(Flow::own(Class::Background).call(), remove).await? {
            Ok(()) => {
                note(0, Rest::Nothing);
                attachment.wake.ring();
            }
            // Something is left in it, and it stays.
            Err(error) if error.disposition == Disposition::InTheWay => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether the mirror has a file now that was set aside.
    async fn take_file(self: &Arc<Self>, find: &Find<'_>, item: &Item, path: &RelPath) -> Result<bool, NotTaken> {
        let side = find.attachment.side;
        let crc = crc(find).await?;
        let len = find.meta.observed.size;
        let is_same = |node: &Node| match node {
            Node::File(file) => file.version.size == len && file.version.crc32 == crc,
            Node::Folder(_) => false,
        };
        for _ in 0..TRIES_MAX {
            let target = target(&self.core.journal.snapshot(), path, item, side, is_same);
            match target.map_err(|error| Refusal::JournalUnavailable(error.to_string()))? {
                Target::Path(to) => match self.store(find, &to).await {
                    Err(NotTaken::Refused(Refusal::Exists(_) | Refusal::IsAFolder(_) | Refusal::NotAFolder(_))) => {}
                    done => {
                        done?;
                        self.core.ledger.add(clock::wall_ns(), side, &path.to_string(), Deed::Kept { copy: to });
                        return Ok(true);
                    }
                },
                Target::Had => return Ok(true),
                Target::Nowhere => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Stores a file under a free path.
    async fn store(self: &Arc<Self>, find: &Find<'_>, path: &RelPath) -> Result<(), NotTaken> {
        if is_accounts_file(path.names()) {
            return Err(Refusal::BadPath(format!("{path} is twinstick's own: no drive brings a new one")).into());
        }
        let Meta { observed, executable, .. } = find.meta;
        let request = PutRequest {
            path: path.clone(),
            overwrite: Overwrite::No,
            len: Some(observed.size),
            mtime_ns: Some(observed.mtime_ns),
            executable,
            owner: self.core.owner_at(path),
            asker: Asker::own(Priority::Low),
            source: BodySource::Client,
            // It is on a stick already: not to mirror it would be no help to anybody.
            limited: Limited::No,
            id: None,
        };
        let mut upload = self.begin_put(request).await?;
        let file = open(find).await?;
        let mut offset = 0;
        while offset < observed.size {
            let block = read(find, &file, offset).await?;
            offset += block.len() as u64;
            upload.write(block).await?;
        }
        is_unchanged(find).await?;
        let crc = upload.crc32();
        upload.commit(crc).await?;
        // What lies there is known for the mirror's own once the lane has been there: whoever removes it before that would
        // see it come back.
        self.core.hurry_lanes();
        Ok(())
    }
}

/// Opens the file, if it is still what was found.
async fn open(find: &Find<'_>) -> Result<Arc<dyn VolumeFile>, NotTaken> {
    is_unchanged(find).await?;
    let (volume, at) = (Arc::clone(&find.attachment.volume), find.at.to_owned());
    Ok(find.attachment.io.run(Flow::own(Class::Background).call(), move || volume.open(&at)).await??)
}

async fn is_unchanged(find: &Find<'_>) -> Result<(), NotTaken> {
    let (volume, at) = (Arc::clone(&find.attachment.volume), find.at.to_owned());
    let meta = find.attachment.io.run(Flow::own(Class::Background).call(), move || volume.stat(&at)).await??;
    if meta == Some(find.meta) { Ok(()) } else { Err(NotTaken::Changing) }
}

/// The block at `offset`, which is not the end.
async fn read(find: &Find<'_>, file: &Arc<dyn VolumeFile>, offset: u64) -> Result<Bytes, NotTaken> {
    let file = Arc::clone(file);
    let read = move || {
        let mut block = vec![0; BLOCK_BYTES];
        let read = file.read_at(&mut block, offset)?;
        block.truncate(read);
        Ok::<_, VolumeError>(block)
    };
    let block = find.attachment.io.run(Flow::own(Class::Background).moving(BLOCK_BYTES as u64), read).await??;
    if block.is_empty() { Err(NotTaken::Changing) } else { Ok(block.into()) }
}

async fn crc(find: &Find<'_>) -> Result<Crc32, NotTaken> {
    let file = open(find).await?;
    let (mut hasher, mut offset) = (crc32fast::Hasher::new(), 0);
    while offset < find.meta.observed.size {
        let block = read(find, &file, offset).await?;
        hasher.update(&block);
        offset += block.len() as u64;
    }
    Ok(Crc32(hasher.finalize()))
}

/// What lies in a folder.
pub(crate) struct Tree {
    pub(crate) files: Vec<(String, Meta)>,
    /// With the folder itself, which is the first; above before below.
    pub(crate) folders: Vec<String>,
}

impl Tree {
    pub(crate) fn of(volume: &dyn Volume, top: String) -> VolumeResult<Self> {
        let mut tree = Self { files: Vec::new(), folders: vec![top] };
        let mut at = 0;
        while let Some(folder) = tree.folders.get(at).cloned() {
            at += 1;
            for name in volume.list(&folder)?.names {
                let path = layout::join(&folder, &name);
                match volume.stat(&path)? {
                    Some(meta) if meta.kind == FileKind::File => tree.files.push((path, meta)),
                    Some(meta) if meta.kind == FileKind::Folder => tree.folders.push(path),
                    // Neither: it keeps its folder from being removed.
                    Some(_) | None => {}
                }
            }
        }
        Ok(tree)
    }
}

/// The things in a drive's aside folder that can be taken in.
pub(crate) fn items(volume: &dyn Volume) -> VolumeResult<Vec<String>> {
    let names = volume.list(layout::ASIDE_FOLDER)?.names;
    Ok(names.into_iter().filter(|name| Item::parse(name).is_some_and(|item| item.cause != Cause::Damaged)).collect())
}
