//! The files and folders on a drive, against the catalog and what the drive owes.
//!
//! Goes through the drive folder by folder. A folder is known by its node, not by its path: one that is to be moved
//! or removed still has its children below it. What the drive owes nothing for must be there as the catalog says;
//! the rest may be as it was, as it should be, or as it was meant to be in between.

use std::ffi::OsString;

use crate::ids::{NodeId, Side};
use crate::journal::audit::{Audit, NodeSet, Owed};
use crate::journal::{FileNode, Node, Place};
use crate::mirror::layout;
use crate::mirror::os_volume::OsVolume;
use crate::mirror::volume::{Disposition, FileKind, Volume as _};
use crate::path::{Name, PATH_DEPTH_MAX, is_reserved};
use crate::units::lossless;

use crate::daemon::check::bytes::{self, Extent, Range};
use crate::daemon::check::drive::Broken;
use crate::daemon::check::kind::Kind;
use crate::daemon::check::left::{self, Drives, remedy};
use crate::daemon::check::report::Report;

mod owed;

/// Children of a folder that are read from the catalog at once.
const PAGE: usize = 1024;
/// Folders in one another that are looked into: more than moves can pile up.
const DEPTH_MAX: usize = 4 * PATH_DEPTH_MAX;

/// What was seen on a drive.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Folders that were looked through, or told missing with all in them.
    pub(super) folders: NodeSet,
    /// Files with debts whose current version lies under a name.
    pub(super) current: NodeSet,
    /// Files with debts of which it was told that something else lies there.
    pub(super) told: NodeSet,
}

/// Goes through all files and folders of a drive, limbo and the trash too.
pub(super) fn walk(
    audit: &Audit,
    drives: &Drives,
    side: Side,
    volume: &OsVolume,
    report: &mut Report<'_>,
) -> Result<Seen, Broken> {
    let mut walk = Walk { audit, drives, side, volume, report, seen: Seen::default() };
    walk.folder(NodeId::ROOT, "", 0)?;
    walk.folder(NodeId::LIMBO, layout::LIMBO_FOLDER, 0)?;
    walk.folder(NodeId::TRASH, layout::TRASH_FOLDER, 0)?;
    Ok(walk.seen)
}

struct Walk<'a, 'w> {
    audit: &'a Audit,
    drives: &'a Drives,
    side: Side,
    volume: &'a OsVolume,
    report: &'a mut Report<'w>,
    seen: Seen,
}

/// A name on the drive: in the folder of which node, and the path to it.
struct Spot {
    place: Place,
    path: String,
    /// Folders above it.
    depth: usize,
}

/// Whether there is anything under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    There,
    Absent,
}

/// A name in a folder, and whether the catalog accounts for it.
struct Entry {
    name: String,
    explained: bool,
}

impl Walk<'_, '_> {
    fn folder(&mut self, id: NodeId, path: &str, depth: usize) -> Result<(), Broken> {
        self.seen.folders.insert(id);
        if depth > DEPTH_MAX {
            self.tell(path, Kind::Extra, "lies too deep to be looked into");
            return Ok(());
        }
        let mut entries = self.entries(id, path)?;
        let mut after: Option<Name> = None;
        loop {
            let page = self.audit.children(id, after.as_ref(), PAGE)?;
            for (name, node) in &page {
                let at = entries.binary_search_by(|entry| entry.name.as_str().cmp(name.as_str()));
                let presence = if at.is_ok() { Presence::There } else { Presence::Absent };
                if let Some(entry) = at.ok().and_then(|at| entries.get_mut(at)) {
                    entry.explained = true;
                }
                let spot = Spot { place: Place::new(id, name.clone()), path: layout::join(path, name.as_str()), depth };
                self.child(&spot, node.as_ref(), presence)?;
            }
            match page.last() {
                Some((last, _)) => after = Some(last.clone()),
                None => break,
            }
        }
        for entry in entries.iter().filter(|entry| !entry.explained) {
            let path = layout::join(path, &entry.name);
            // No node has a name that the mirror does not take.
            match Name::parse(&entry.name).ok().filter(|name| name.as_str() == entry.name) {
                Some(name) => self.owed(&Spot { place: Place::new(id, name), path, depth }, None)?,
                None => self.unknown(id, &path),
            }
        }
        Ok(())
    }

    /// What lies in a folder of the drive, in order, without what is never mirrored.
    fn entries(&mut self, id: NodeId, path: &str) -> Result<Vec<Entry>, Broken> {
        let names = match self.volume.names(path) {
            Ok(names) => names,
            // twinstick's own folders are made when a drive first arrives.
            Err(error)
                if error.disposition == Disposition::NotFound && id != NodeId::ROOT && layout::fixed(id).is_some() =>
            {
                Vec::new()
            }
            Err(error) if error.disposition == Disposition::DriveLost => return Err(error.into()),
            Err(error) => {
                self.tell(
                    path,
                    Kind::Unreadable,
                    &format!("the folder cannot be read ({error}): check the file system (fsck)"),
                );
                Vec::new()
            }
        };
        let mut entries = Vec::with_capacity(names.len());
        for name in names.into_iter().map(OsString::into_string) {
            match name {
                Ok(name) if id == NodeId::ROOT && is_reserved(&name) => {}
                Ok(name) => entries.push(Entry { name, explained: false }),
                Err(name) => {
                    let path = layout::join(path, &lossless(&name));
                    self.tell(&path, Kind::Extra, "is not the mirror's, its name is no UTF-8: move it elsewhere");
                }
            }
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// A node of the catalog in a folder that the drive has.
    fn child(&mut self, spot: &Spot, node: Option<&Node>, presence: Presence) -> Result<(), Broken> {
        let Some(node) = node else {
            if presence == Presence::There {
                let text = "not compared: its record in the journal is damaged";
                self.report.note(Some(self.side), Some(&spot.path), Kind::NotCompared, text);
            }
            return Ok(());
        };
        match (self.audit.owed(self.side, node.id())?, presence) {
            (Owed::Unreadable, _) | (Owed::Debt(_), Presence::Absent) => Ok(()),
            (Owed::Debt(debt), Presence::There) => self.owed(spot, Some((node, &debt))),
            (Owed::Nothing, _) => match node {
                Node::Folder(folder) => self.required_folder(folder.id, &spot.path, spot.depth),
                Node::File(file) => self.required_file(file, spot),
            },
        }
    }

    fn required_folder(&mut self, id: NodeId, path: &str, depth: usize) -> Result<(), Broken> {
        match self.volume.stat(path)?.map(|meta| meta.kind) {
            Some(FileKind::Folder) => return self.folder(id, path, depth + 1),
            None => {
                let text = if left::is_without_folder(self.audit, self.drives, self.side.other(), id)? {
                    "the folder is missing with all in it, on the other drive too: put again what was in it"
                } else {
                    "the folder is missing with all in it: the daemon repairs each file when it is read"
                };
                self.tell(path, Kind::Missing, text);
            }
            Some(FileKind::File | FileKind::Other) => {
                let text =
                    "is no folder, the catalog says one: move it elsewhere, and the daemon repairs what was in it";
                self.tell(path, Kind::Mistyped, text);
            }
        }
        self.seen.folders.insert(id);
        Ok(())
    }

    fn required_file(&mut self, file: &FileNode, spot: &Spot) -> Result<(), Broken> {
        let range = Range { path: &spot.path, offset: 0, extent: Extent::Whole };
        if let Some(wrong) = bytes::compare(self.audit, self.volume, self.report, self.side, &range, file)? {
            let remedy = remedy(self.audit, self.drives, self.side, &spot.place, file, self.report)?;
            self.tell(&spot.path, wrong.kind(), &format!("{}: {remedy}", wrong.text()));
        }
        Ok(())
    }

    fn tell(&mut self, path: &str, kind: Kind, text: &str) {
        let path = if path.is_empty() { "." } else { path };
        self.report.difference(Some(self.side), Some(path), kind, text);
    }
}
