//! Where twinstick's own things lie on a drive.

use crate::ids::{Arrival, NodeId, Ticket};

/// A file that is written so that its sync proves something.
pub(crate) const PROOF: &str = ".twinstick/proof";
pub(crate) const STAGE_FOLDER: &str = ".twinstick/stage";
pub(crate) const LOG_FOLDER: &str = ".twinstick/log";
pub(crate) const LIMBO_FOLDER: &str = ".twinstick/limbo";
pub(crate) const TRASH_FOLDER: &str = ".twinstick/trash";
pub(crate) const ASIDE_FOLDER: &str = ".twinstick/aside";
pub(crate) const MANIFEST_FOLDER: &str = ".twinstick/manifest";
const PART: &str = ".part";
const REPLACED: &str = ".replaced";
/// All folders of a drive's own that must exist before it is used, above first.
pub(crate) const OWN_FOLDERS: [&str; 7] =
    [crate::path::OWN_FOLDER, STAGE_FOLDER, LOG_FOLDER, LIMBO_FOLDER, TRASH_FOLDER, ASIDE_FOLDER, MANIFEST_FOLDER];

/// The file of a PUT's bytes.
pub(crate) fn stage(ticket: Ticket) -> String {
    format!("{STAGE_FOLDER}/{ticket}")
}

/// A file in which a lane makes a version ready; no name is ever used twice (FAT: cross-linked clusters).
pub(crate) fn draft(ticket: Ticket, arrival: Arrival, count: u64) -> String {
    format!("{STAGE_FOLDER}/{ticket}.{arrival}.{count}")
}

/// The ticket that a name in the stage folder starts with, and whether the name is a PUT's stage.
pub(crate) fn staged(name: &str) -> Option<(Ticket, bool)> {
    let (ticket, whole) = match name.split_once('.') {
        Some((ticket, _)) => (ticket, false),
        None => (name, true),
    };
    ticket.parse().ok().map(|ticket| (ticket, whole))
}

pub(crate) fn segment(arrival: Arrival, number: u32) -> String {
    format!("{LOG_FOLDER}/{arrival}-{number}")
}

/// Arrival and number of a name in the log folder.
pub(crate) fn segment_of(name: &str) -> Option<(Arrival, u32)> {
    let (arrival, number) = name.split_once('-')?;
    Some((Arrival(arrival.parse().ok()?), number.parse().ok()?))
}

/// Where a node waits while its place is taken or not made yet.
pub(crate) fn limbo(id: NodeId) -> String {
    format!("{LIMBO_FOLDER}/{id}")
}

/// What says of an item in the aside folder that it is being copied there still.
pub(crate) fn part(item: &str) -> String {
    format!("{ASIDE_FOLDER}/{item}{PART}")
}

/// The item that a name in the aside folder says so of.
pub(crate) fn part_of(name: &str) -> Option<&str> {
    name.strip_suffix(PART)
}

/// Where a folder lies that every drive has from its first arrival on: the root, and twinstick's own with nodes in them.
pub(crate) fn fixed(folder: NodeId) -> Option<&'static str> {
    match folder {
        NodeId::ROOT => Some(""),
        NodeId::LIMBO => Some(LIMBO_FOLDER),
        NodeId::TRASH => Some(TRASH_FOLDER),
        _ => None,
    }
}

/// What says of an item in the aside folder that a whole copy is where it was, durably. Written after that: where a crash
/// took it, the item is kept.
pub(crate) fn replaced(item: &str) -> String {
    format!("{ASIDE_FOLDER}/{item}{REPLACED}")
}

/// The item that a name in the aside folder says so of.
pub(crate) fn replaced_of(name: &str) -> Option<&str> {
    name.strip_suffix(REPLACED)
}

/// Whether a name in the aside folder is one of what lies there, and does not only say something of it.
pub(crate) fn lies_aside(name: &str) -> bool {
    part_of(name).is_none() && replaced_of(name).is_none()
}

/// Joins a folder's path and a name in it.
pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The folder of a path; empty for the root.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
