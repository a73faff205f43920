//! Verify: both drives against the catalog, now, for somebody who waits for the answer. Changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::clock;
use crate::ids::{Lsn, NodeId, Side};
use crate::journal::store::StoreError;
use crate::journal::{Catalog, FileNode, Node, Place};
use crate::mirror::attachment::Attachment;
use crate::mirror::core::Core;
use crate::mirror::fair::{Class, Flow};
use crate::mirror::lane::LaneError;
use crate::mirror::layout;
use crate::mirror::mirror::Mirror;
use crate::mirror::places;
use crate::mirror::refusal::Refusal;
use crate::mirror::request::{Contents, Verified, VerifyLine};
use crate::mirror::scrub::pass::{Flaw, Pass, Turn};
use crate::mirror::state::DriveState;
use crate::mirror::volume::{FileKind, Listing, Volume};
use crate::path::{Name, is_reserved};
use crate::units::{count, lossless};

/// Lines that wait for a slow client.
const LINES_MAX: usize = 256;
/// Children of a folder read from the catalog at once.
const PAGE: usize = 256;
/// Folders in one another; deeper is nothing that a client made.
const DEPTH_MAX: usize = 4 * crate::path::PATH_DEPTH_MAX;
/// Nodes that may have a name on a drive though they belong elsewhere, looked at.
const CLAIMS_MAX: usize = 1;
/// A file that a lane is moving is looked at again so often, so far apart.
const MOVING_MAX: u32 = 20;
const MOVING_PAUSE: Duration = Duration::from_millis(50);
/// Between two lines that say how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

impl Mirror {
    /// Compares both drives with the catalog, line by line. It ends early where nobody takes the lines any more.
    pub fn verify(self: &Arc<Self>, contents: Contents) -> Result<mpsc::Receiver<VerifyLine>, Refusal> {
        self.core.check_journal()?;
        let attachments = self.core.attachments();
        if attachments.is_empty() {
            return Err(self.core.nobody_there());
        }
        let (lines, receiver) = mpsc::channel(LINES_MAX);
        let core = Arc::clone(&self.core);
        tokio::task::spawn_blocking(move || {
            let now = clock::now();
            let mut verify = Verify { core: &core, attachments, contents, lines, files: 0, bytes: 0, told: now };
            match verify.run() {
                Ok(()) => {}
                Err(End::NobodyListens) => tracing::debug!("verify: the client has left"),
                // A last line says that it is not whole.
                Err(End::Journal(error)) => drop(verify.fail("", None, &error.to_string())),
            }
        });
        Ok(receiver)
    }
}

/// Why it ends early.
enum End {
    NobodyListens,
    Journal(StoreError),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Journal(error)
    }
}

struct Verify<'a> {
    core: &'a Core,
    attachments: Vec<Arc<Attachment>>,
    contents: Contents,
    lines: mpsc::Sender<VerifyLine>,
    files: u64,
    bytes: u64,
    told: Instant,
}

impl Verify<'_> {
    fn run(&mut self) -> Result<(), End> {
        for side in Side::BOTH {
            if self.attachments.iter().all(|attachment| attachment.side != side) {
                self.fail("", Some(side), "the drive is not there")?;
            }
        }
        let head = self.core.journal.head();
        self.folder(NodeId::ROOT, "", 0)?;
        self.tell_behind(head)?;
        self.say(VerifyLine::Progress { files: self.files, bytes: self.bytes })
    }

    /// Names the drives that have not made all changes that were there at the start, and are not just about to: what they
    /// owe was not compared.
    fn tell_behind(&mut self, head: Lsn) -> Result<(), End> {
        for side in Side::BOTH {
            let seat = self.core.seat(side);
            let is_stuck = seat.state() != DriveState::InSync || !seat.stays().is_empty();
            let is_compared = self.attachments.iter().any(|attachment| attachment.side == side);
            if is_compared && is_stuck && self.core.lacks(side, head) {
                let (paths, _) = self.core.journal.behind(side);
                let why = format!("the drive is {} behind: what it owes was not compared", count(paths, "path"));
                self.fail("", Some(side), &why)?;
            }
        }
        Ok(())
    }

    /// A folder with all in it, in the catalog's order; then what lies there beside.
    fn folder(&mut self, id: NodeId, path: &str, depth: usize) -> Result<(), End> {
        if depth > DEPTH_MAX {
            return self.fail(path, None, "lies too deep to be looked into");
        }
        let mut known = BTreeSet::new();
        let mut after: Option<Name> = None;
        loop {
            let page = self.core.journal.snapshot().children(id, after.as_ref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (name, node) in page {
                let path = layout::join(path, name.as_str());
                known.insert(name.as_str().to_owned());
                match node {
                    Node::File(file) => self.file(&Place::new(id, name), &file, &path)?,
                    Node::Folder(folder) => {
                        self.folder_itself(folder.id, &path)?;
                        self.folder(folder.id, &path, depth + 1)?;
                    }
                }
            }
        }
        for attachment in self.attachments.clone() {
            self.extras(&attachment, id, path, &known)?;
        }
        Ok(())
    }

    fn folder_itself(&mut self, id: NodeId, path: &str) -> Result<(), End> {
        for attachment in self.attachments.clone() {
            let mut waited = 0;
            let found = loop {
                let snapshot = self.core.journal.snapshot();
                let on_drive = places::folder_path(&snapshot, attachment.side, id)?;
                // Before the look: what is no longer owed then is there.
                let owes = snapshot.owes_node(attachment.side, id)?;
                drop(snapshot);
                let found = match on_drive {
                    Some(at) => on(&attachment, move |volume| Ok(volume.stat(&at)?)),
                    None => Ok(None),
                };
                match found {
                    // The lane is about to make it.
                    Ok(None) if owes && waited < MOVING_MAX => {
                        waited += 1;
                        std::thread::sleep(MOVING_PAUSE);
                    }
                    found => break found,
                }
            };
            match found {
                Ok(Some(meta)) if meta.kind == FileKind::Folder => {}
                Ok(Some(_)) => self.tell(path, Some(attachment.side), Verified::Differs)?,
                Ok(None) => self.tell(path, Some(attachment.side), Verified::Missing)?,
                Err(error) => self.fail(path, Some(attachment.side), &error.to_string())?,
            }
        }
        Ok(())
    }

    fn file(&mut self, place: &Place, file: &FileNode, path: &str) -> Result<(), End> {
        let mut same = true;
        for attachment in self.attachments.clone() {
            let found = match self.contents {
                Contents::Compared => self.read(&attachment, place)?,
                Contents::NotRead => self.look(&attachment, place, file)?,
            };
            match found {
                Found::Same => {}
                Found::Gone => return Ok(()),
                Found::Other(verified) => {
                    same = false;
                    self.tell(path, Some(attachment.side), verified)?;
                }
                Found::Failed(why) => {
                    same = false;
                    self.fail(path, Some(attachment.side), &why)?;
                }
            }
        }
        self.files += 1;
        if same { self.tell(path, None, Verified::Same) } else { Ok(()) }
    }

    /// Reads one copy from the medium.
    fn read(&mut self, attachment: &Arc<Attachment>, place: &Place) -> Result<Found, End> {
        let side = attachment.side;
        let journal = Arc::clone(&self.core.journal);
        let mut pass = Pass::of_file(side, journal, Arc::clone(&attachment.volume), place.clone());
        let mut moving = 0;
        loop {
            let turned = on(attachment, move |_| {
                let turn = pass.turn();
                Ok((pass, turn))
            });
            let turn = match turned {
                Ok((back, turn)) => {
                    pass = back;
                    turn
                }
                Err(error) => return Ok(Found::Failed(error.to_string())),
            };
            match turn {
                Ok(Turn::Read(bytes)) => {
                    self.bytes += bytes;
                    self.tell_progress()?;
                }
                Ok(Turn::Right(bytes)) => {
                    self.bytes += bytes;
                    return Ok(Found::Same);
                }
                Ok(Turn::Owed) => {
                    // Removed or moved meanwhile, or not yet on this drive.
                    let there = matches!(self.core.journal.snapshot().node(place)?, Some(Node::File(_)));
                    return Ok(if there { Found::Other(Verified::Missing) } else { Found::Gone });
                }
                Ok(Turn::Bad { flaw, .. }) => {
                    return Ok(match flaw {
                        Flaw::WrongBytes | Flaw::Changed => Found::Other(Verified::Differs),
                        Flaw::Vanished => Found::Other(Verified::Missing),
                        Flaw::Unreadable(error) => Found::Failed(error.to_string()),
                    });
                }
                Ok(Turn::Moving) if moving < MOVING_MAX => {
                    moving += 1;
                    std::thread::sleep(MOVING_PAUSE);
                }
                Ok(Turn::Moving | Turn::LeftOut(..) | Turn::End) => {
                    return Ok(Found::Failed("it is being moved: try again".to_owned()));
                }
                Err(error) => return Ok(Found::Failed(error.to_string())),
            }
        }
    }

    /// Looks at one copy's name, size and time.
    fn look(&mut self, attachment: &Arc<Attachment>, place: &Place, file: &FileNode) -> Result<Found, End> {
        let source = places::source(&self.core.journal.snapshot(), attachment.side, place, file)?;
        let Some(source) = source else { return Ok(Found::Other(Verified::Missing)) };
        self.tell_progress()?;
        let size = source.offset + file.version.size;
        let found = on(attachment, move |volume| Ok(volume.stat(&source.path)?));
        Ok(match found {
            Ok(None) => Found::Other(Verified::Missing),
            // A log has other bytes behind it.
            Ok(Some(meta)) if meta.kind == FileKind::File && meta.observed.size >= size => Found::Same,
            Ok(Some(_)) => Found::Other(Verified::Differs),
            Err(error) => Found::Failed(error.to_string()),
        })
    }

    /// What lies in a folder of a drive that the catalog does not have.
    fn extras(
        &mut self,
        attachment: &Arc<Attachment>,
        id: NodeId,
        path: &str,
        known: &BTreeSet<String>,
    ) -> Result<(), End> {
        let side = attachment.side;
        let on_drive = places::folder_path(&self.core.journal.snapshot(), side, id)?;
        let Some(at) = on_drive else { return Ok(()) };
        let listing = on(attachment, move |volume| {
            Ok(if volume.stat(&at)?.is_some_and(|meta| meta.kind == FileKind::Folder) {
                volume.list(&at)?
            } else {
                Listing::default()
            })
        });
        let Listing { names, not_utf8 } = match listing {
            Ok(listing) => listing,
            Err(error) => return self.fail(path, Some(side), &error.to_string()),
        };
        for name in names {
            if known.contains(&name)
                || (id == NodeId::ROOT && is_reserved(&name))
                || self.is_explained(side, id, &name)?
            {
                continue;
            }
            self.tell(&layout::join(path, &name), Some(side), Verified::Extra)?;
        }
        for name in not_utf8 {
            let path = layout::join(path, &lossless(&name));
            let why = Some("its name is not UTF-8: rename it".to_owned());
            self.say(VerifyLine::Found { path, drive: Some(side), verified: Verified::Extra, why })?;
        }
        Ok(())
    }

    /// Whether a name came to the catalog meanwhile, or a lane is still to clear it away.
    fn is_explained(&self, side: Side, id: NodeId, name: &str) -> Result<bool, StoreError> {
        // No node has a name that the mirror would give another form.
        let Some(name) = Name::parse(name).ok().filter(|parsed| parsed.as_str() == name) else { return Ok(false) };
        let place = Place::new(id, name);
        let snapshot = self.core.journal.snapshot();
        Ok(snapshot.node(&place)?.is_some() || !snapshot.claims_to(side, &place, CLAIMS_MAX)?.is_empty())
    }

    fn tell(&mut self, path: &str, drive: Option<Side>, verified: Verified) -> Result<(), End> {
        self.say(VerifyLine::Found { path: path.to_owned(), drive, verified, why: None })
    }

    fn fail(&mut self, path: &str, drive: Option<Side>, why: &str) -> Result<(), End> {
        let why = Some(why.to_owned());
        self.say(VerifyLine::Found { path: path.to_owned(), drive, verified: Verified::Failed, why })
    }

    fn tell_progress(&mut self) -> Result<(), End> {
        let now = clock::now();
        if now.saturating_duration_since(self.told) < PROGRESS_EVERY {
            return Ok(());
        }
        self.told = now;
        self.say(VerifyLine::Progress { files: self.files, bytes: self.bytes })
    }

    fn say(&mut self, line: VerifyLine) -> Result<(), End> {
        self.lines.blocking_send(line).map_err(|_| End::NobodyListens)
    }
}

/// What one copy is.
enum Found {
    Same,
    Other(Verified),
    Failed(String),
    /// The catalog does not have the file any more.
    Gone,
}

#[derive(Debug, thiserror::Error)]
enum Unasked {
    #[error("the drive has left")]
    Gone,
    #[error(transparent)]
    Lane(#[from] LaneError),
}

impl From<crate::mirror::volume::VolumeError> for Unasked {
    fn from(error: crate::mirror::volume::VolumeError) -> Self {
        Self::Lane(error.into())
    }
}

/// Does something on one of a drive's own threads.
fn on<T: Send + 'static>(
    attachment: &Attachment,
    work: impl FnOnce(&dyn Volume) -> Result<T, Unasked> + Send + 'static,
) -> Result<T, Unasked> {
    let volume = Arc::clone(&attachment.volume);
    let answer = attachment
        .io
        .start_job(Flow::own(Class::Background).call(), move || work(volume.as_ref()))
        .map_err(|_| Unasked::Gone)?;
    answer.blocking_recv().map_err(|_| Unasked::Gone)?
}
