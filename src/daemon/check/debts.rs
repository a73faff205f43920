//! What a drive owes: the bytes that it is on record to have all the same.

use crate::ids::{NodeId, Side};
use crate::journal::audit::{Audit, Owed};
use crate::journal::{Copy, Debt, FileNode, Node, Place, Stage};
use crate::mirror::layout;
use crate::mirror::os_volume::OsVolume;

use crate::daemon::check::bytes::{self, Extent, Range};
use crate::daemon::check::drive::Broken;
use crate::daemon::check::kind::Kind;
use crate::daemon::check::left::{Drives, remedy};
use crate::daemon::check::report::Report;
use crate::daemon::check::tree::Seen;

/// Debts, and children of a folder, that are read at once.
const PAGE: usize = 1024;

/// Checks each debt's staged or displaced version, and that no folder is lost whose contents the drive has.
pub(super) fn check(
    audit: &Audit,
    drives: &Drives,
    side: Side,
    volume: &OsVolume,
    seen: &Seen,
    report: &mut Report<'_>,
) -> Result<(), Broken> {
    let mut at = NodeId::ROOT;
    loop {
        let page = audit.debts(side, at, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        at = last.next();
        for (id, debt) in &page {
            let Some(place) = &debt.want else { continue };
            match audit.node_of(place, *id)? {
                Some(Node::File(file)) if !seen.current.contains(*id) && !seen.told.contains(*id) => {
                    check_file(audit, drives, side, volume, &Owing { place, debt, file: &file }, report)?;
                }
                Some(Node::Folder(_)) if !seen.folders.contains(*id) => {
                    check_folder(audit, side, *id, place, report)?;
                }
                Some(Node::File(_) | Node::Folder(_)) | None => {}
            }
        }
    }
}

/// A file that a drive owes something for.
struct Owing<'a> {
    place: &'a Place,
    debt: &'a Debt,
    file: &'a FileNode,
}

/// A file whose current version lies under no name of the drive.
fn check_file(
    audit: &Audit,
    drives: &Drives,
    side: Side,
    volume: &OsVolume,
    owing: &Owing<'_>,
    report: &mut Report<'_>,
) -> Result<(), Broken> {
    let Owing { place, debt, file } = owing;
    let ticket = file.version.ticket;
    let (staged, offset, extent) = match *file.copies.get(side) {
        Copy::Missing => return Ok(()),
        Copy::Installed { .. } => {
            let at = debt.have.as_ref().map_or(*place, |held| &held.place);
            let path = path_of(audit, at)?;
            let remedy = remedy(audit, drives, side, place, file, report)?;
            let text = format!("is missing, and was to be kept: {remedy}");
            report.difference(Some(side), Some(&path), Kind::Missing, &text);
            return Ok(());
        }
        Copy::Staged(Stage::File) => (layout::stage(ticket), 0, Extent::Whole),
        Copy::Staged(Stage::Log { arrival, segment, offset }) => {
            (layout::segment(arrival, segment), offset, Extent::Part)
        }
    };
    let range = Range { path: &staged, offset, extent };
    if let Some(wrong) = bytes::compare(audit, volume, report, side, &range, file)? {
        let path = path_of(audit, place)?;
        let where_from = if offset > 0 { format!(" from {offset} on") } else { String::new() };
        let remedy = remedy(audit, drives, side, place, file, report)?;
        let text = format!("its bytes in {staged}{where_from}: {}: {remedy}", wrong.text());
        report.difference(Some(side), Some(&path), Kind::StageDamaged, &text);
    }
    Ok(())
}

/// A folder that lies nowhere on the drive. That may be, unless the drive has something that is in it.
fn check_folder(audit: &Audit, side: Side, id: NodeId, place: &Place, report: &mut Report<'_>) -> Result<(), Broken> {
    // Where records are damaged nobody knows what is in it, nor whether a folder above was looked into.
    if audit.damaged() > 0 {
        return Ok(());
    }
    let mut after = None;
    loop {
        let page = audit.children(id, after.as_ref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        for (_, node) in &page {
            let Some(node) = node else { continue };
            if audit.owed(side, node.id())? == Owed::Nothing {
                let text = "the folder is missing with all in it: the daemon repairs each file when it is read";
                report.difference(Some(side), Some(&path_of(audit, place)?), Kind::Missing, text);
                return Ok(());
            }
        }
        after = Some(last.clone());
    }
}

fn path_of(audit: &Audit, place: &Place) -> Result<String, Broken> {
    Ok(audit.path_of(place)?.map_or_else(|| place.name.to_string(), |path| path.to_string()))
}
