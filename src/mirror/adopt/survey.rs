//! Looking through one drive: what it says of the past, and every file that it has. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::digest::{Digester, FileDigest};
use crate::ids::{Arrival, Lsn, Ticket};
use crate::journal::{Change, Enrolment, Observed, Stage, Version};
use crate::mirror::content::pour;
use crate::mirror::drive_log::scan::{Part, scan};
use crate::mirror::drive_log::{Position, Record};
use crate::mirror::label::Label;
use crate::mirror::manifest::{self, Manifest, Said};
use crate::mirror::volume::{Disposition, FileKind, Listing, Result, Volume, VolumeError};
use crate::mirror::{extent, layout};
use crate::path::{ACCOUNTS_FILE, Name, OWN_FOLDER, PATH_DEPTH_MAX, check_text_extent, is_accounts_name, is_reserved};
use crate::units::lossless;

/// Bytes of accounts that are looked at.
const ACCOUNTS_BYTES_MAX: u64 = 64 << 20;

/// Bytes read and to be read, for those who look on.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) done: AtomicU64,
    pub(crate) total: AtomicU64,
    pub(crate) files: AtomicU64,
}

/// One drive as it was found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) label: Option<Label>,
    pub(crate) manifest: Option<Manifest>,
    /// The enrolment as the newest part of the manifest tells it.
    pub(crate) enrolment: Option<Enrolment>,
    /// What manifest and log say of nodes.
    pub(crate) changes: Vec<Change>,
    /// Where the log was when the manifest's snapshot was made.
    pub(crate) positions: Vec<Position>,
    /// PUTs in the log, in the order of their bytes.
    pub(crate) puts: Vec<LoggedPut>,
    /// Stage files with their digests.
    pub(crate) stages: BTreeMap<Ticket, FileDigest>,
    /// Files and folders, each folder before what is in it.
    pub(crate) tree: Vec<Seen>,
    /// The bytes of the file in the root that has accounts.
    pub(crate) accounts: Option<Vec<u8>>,
    /// What is left alone, and why.
    pub(crate) passed_over: Vec<String>,
}

/// A PUT as the log has it before its commit.
#[derive(Clone, Debug)]
pub(crate) struct LoggedPut {
    pub(crate) path: String,
    pub(crate) owner: String,
    pub(crate) version: Version,
    pub(crate) mtime_ns: i64,
    pub(crate) executable: bool,
    /// Where the bytes are, if they are in the log, with their digests.
    pub(crate) logged: Option<(Stage, FileDigest)>,
}

/// Where a folder of the tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Above {
    Root,
    Limbo,
    Trash,
    /// The folder with this number in the tree.
    Folder(usize),
}

/// A file or folder of the tree.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) above: Above,
    pub(crate) name: Name,
    pub(crate) what: SeenKind,
}

#[derive(Clone, Debug)]
pub(crate) enum SeenKind {
    Folder { mtime_ns: i64 },
    File { digest: FileDigest, observed: Observed, executable: bool },
}

impl Survey {
    /// Whether a PUT that is not on record had come to its end before the manifest's snapshot.
    pub(crate) fn is_decided(&self, put: &LoggedPut) -> bool {
        let is_past = |position: &Position| match put.logged {
            Some((Stage::Log { arrival, segment, offset }, _)) => {
                position.is_past((arrival, segment, offset), put.version.ticket)
            }
            Some((Stage::File, _)) | None => false,
        };
        self.positions.iter().any(is_past)
    }

    /// The highest LSN that the drive tells of.
    pub(crate) fn last(&self) -> Lsn {
        let changes = self.changes.iter().map(|change| change.lsn).max().unwrap_or_default();
        changes.max(self.label.as_ref().map(|label| label.committed).unwrap_or_default())
    }
}

/// Looks through a drive. `label` is missing where it has none yet.
pub(crate) fn survey(volume: &dyn Volume, label: Option<Label>, progress: &Progress) -> Result<Survey> {
    let mut survey = Survey::default();
    if let Some(label) = label {
        read_past(volume, &label, &mut survey)?;
        survey.label = Some(label);
        let mut walk = Walk { volume, survey: &mut survey, progress };
        walk.stages()?;
        for (folder, above) in [(layout::LIMBO_FOLDER, Above::Limbo), (layout::TRASH_FOLDER, Above::Trash)] {
            if is_folder(volume, folder)? {
                walk.folder(folder, above, 0)?;
            }
        }
    }
    Walk { volume, survey: &mut survey, progress }.folder("", Above::Root, 0)?;
    Ok(survey)
}

fn read_past(volume: &dyn Volume, label: &Label, survey: &mut Survey) -> Result<()> {
    let (changes, passed_over) = (&mut survey.changes, &mut survey.passed_over);
    let positions = &mut survey.positions;
    let mut enrolled = None;
    let manifest = manifest::read(
        volume,
        label.drive,
        |said| match said {
            Said::Head(head) => enrolled = Some(head.enrolment),
            Said::Node(change) => changes.push(change),
            Said::Log(position) => positions.push(position),
        },
        |problem| passed_over.push(format!("the manifest: {problem:?}")),
    )?;
    survey.manifest = Some(manifest);
    survey.enrolment = enrolled;
    let mut segments: BTreeSet<(Arrival, u32)> = BTreeSet::new();
    match volume.list(layout::LOG_FOLDER) {
        Err(error) if error.disposition != Disposition::NotFound => return Err(error),
        Err(_) => {}
        Ok(listing) => segments.extend(listing.names.iter().filter_map(|name| layout::segment_of(name))),
    }
    // In the order in which they were written.
    for (arrival, number) in segments {
        let path = layout::segment(arrival, number);
        match manifest::read_segment(volume, &path) {
            Ok(bytes) => take_segment(&bytes, label, arrival, number, survey),
            Err(error) if error.disposition == Disposition::DriveLost => return Err(error),
            Err(error) => survey.passed_over.push(error.to_string()),
        }
    }
    Ok(())
}

fn take_segment(bytes: &[u8], label: &Label, arrival: Arrival, segment: u32, survey: &mut Survey) {
    scan(bytes, label.drive, arrival, |part| {
        let Part::Record { record, payload, .. } = part else { return };
        match record {
            Record::Changed(change) => survey.changes.push(change),
            Record::Payload { path, owner, version, mtime_ns, executable } => {
                let start = payload as usize;
                let body = bytes.get(start..start + version.size as usize).unwrap_or_default();
                let mut digester = Digester::default();
                digester.update(body);
                let digest = digester.finish();
                let whole = digest.whole == version.crc32 && digest.size == version.size;
                let logged = whole.then_some((Stage::Log { arrival, segment, offset: payload }, digest));
                survey.puts.push(LoggedPut { path, owner, version, mtime_ns, executable, logged });
            }
            Record::Staged { path, owner, version, mtime_ns, executable } => {
                survey.puts.push(LoggedPut { path, owner, version, mtime_ns, executable, logged: None });
            }
            // Written by earlier versions, which kept no nodes.
            Record::Committed { .. } => {}
        }
    });
}

fn is_folder(volume: &dyn Volume, path: &str) -> Result<bool> {
    Ok(volume.stat(path)?.is_some_and(|meta| meta.kind == FileKind::Folder))
}

struct Walk<'a> {
    volume: &'a dyn Volume,
    survey: &'a mut Survey,
    progress: &'a Progress,
}

impl Walk<'_> {
    fn stages(&mut self) -> Result<()> {
        if !is_folder(self.volume, layout::STAGE_FOLDER)? {
            return Ok(());
        }
        for name in self.volume.list(layout::STAGE_FOLDER)?.names {
            // A lane's drafts are copies of what lies elsewhere.
            let Some((ticket, true)) = layout::staged(&name) else { continue };
            let path = layout::join(layout::STAGE_FOLDER, &name);
            if let Some(digest) = self.digest(&path)? {
                self.survey.stages.insert(ticket, digest);
            }
        }
        Ok(())
    }

    fn folder(&mut self, path: &str, above: Above, depth: usize) -> Result<()> {
        // In limbo a path says nothing of where things belong: there it is this that ends the way.
        if depth > PATH_DEPTH_MAX {
            self.pass_over_beyond(path);
            return Ok(());
        }
        let Listing { mut names, not_utf8 } = self.volume.list(path)?;
        names.sort_unstable();
        let is_users = path.split('/').next() != Some(OWN_FOLDER);
        let all = names.len();
        names.retain(|name| !is_users || check_text_extent(&layout::join(path, name)).is_ok());
        // By the folder: there may be thousands.
        if names.len() < all {
            self.pass_over_beyond(path);
        }
        for name in not_utf8 {
            let at = layout::join(path, &lossless(&name));
            self.survey.passed_over.push(format!("{at}: its name is not UTF-8: rename it"));
        }
        for text in names {
            // Accounts that somebody put on a stick are nobody's here: they are believed of a mirror's own stick alone.
            let is_strange = self.survey.label.is_none() && is_accounts_name(&text);
            if above == Above::Root && (is_reserved(&text) || is_strange) {
                continue;
            }
            let at = layout::join(path, &text);
            let name = match Name::parse(&text) {
                Ok(name) if name.as_str() == text => name,
                Ok(_) => {
                    self.survey.passed_over.push(format!("{at}: its name is not in normal form (NFC): rename it"));
                    continue;
                }
                Err(error) => {
                    self.survey.passed_over.push(format!("{at}: {error}"));
                    continue;
                }
            };
            let Some(meta) = self.volume.stat(&at)? else { continue };
            match meta.kind {
                FileKind::Folder => {
                    let what = SeenKind::Folder { mtime_ns: meta.observed.mtime_ns };
                    self.survey.tree.push(Seen { above, name, what });
                    let number = self.survey.tree.len() - 1;
                    self.folder(&at, Above::Folder(number), depth + 1)?;
                }
                FileKind::File => {
                    if let Some(digest) = self.digest(&at)? {
                        if above == Above::Root && text == ACCOUNTS_FILE {
                            self.survey.accounts = self.bytes(&at, digest.size);
                        }
                        let what = SeenKind::File { digest, observed: meta.observed, executable: meta.executable };
                        self.survey.tree.push(Seen { above, name, what });
                    }
                }
                FileKind::Other => self.survey.passed_over.push(format!("{at}: neither a file nor a folder")),
            }
        }
        Ok(())
    }

    fn pass_over_beyond(&mut self, folder: &str) {
        let (path, why) = extent::beyond(folder);
        self.survey.passed_over.push(format!("{path}: {why}"));
    }

    /// A small file's bytes, if they can be read once more.
    fn bytes(&self, path: &str, size: u64) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        let file = self.volume.open(path).ok().filter(|_| size <= ACCOUNTS_BYTES_MAX)?;
        let take = |bytes: &[u8], _| {
            all.extend_from_slice(bytes);
            Ok::<_, VolumeError>(())
        };
        pour(&file, 0, size, take).ok().map(|()| all)
    }

    /// The digests of a file; nothing where it cannot be read.
    fn digest(&mut self, path: &str) -> Result<Option<FileDigest>> {
        let read = || -> Result<FileDigest> {
            let file = self.volume.open(path)?;
            let size = file.meta()?.observed.size;
            let mut digester = Digester::default();
            pour(&file, 0, size, |bytes, _| {
                digester.update(bytes);
                self.progress.done.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok::<_, VolumeError>(())
            })?;
            self.progress.files.fetch_add(1, Ordering::Relaxed);
            Ok(digester.finish())
        };
        match read() {
            Ok(digest) => Ok(Some(digest)),
            Err(error) if error.disposition == Disposition::DriveLost => Err(error),
            Err(error) => {
                self.survey.passed_over.push(error.to_string());
                Ok(None)
            }
        }
    }
}
