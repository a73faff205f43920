//! What earlier arrivals left in a drive's own folders, and nobody needs any more.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{NodeId, Side, Ticket};
use crate::journal::store::StoreError;
use crate::journal::{Copy, Debt, Journal, Place, Stage};
use crate::mirror::lane::LaneError;
use crate::mirror::lane::reclaim::Arrived;
use crate::mirror::layout;
use crate::mirror::volume::{Disposition, FileKind, FsKind, Volume};

/// Notes the stages that a debt needs.
pub(super) fn note_stage(
    journal: &Journal,
    side: Side,
    id: NodeId,
    debt: &Debt,
    stages: &mut BTreeMap<Ticket, (NodeId, Place)>,
    arrived: &mut Arrived,
) -> Result<(), StoreError> {
    let Some(place) = &debt.want else { return Ok(()) };
    let Some(file) = journal.file(place, id)? else { return Ok(()) };
    match *file.copies.get(side) {
        Copy::Staged(Stage::File) => {
            stages.insert(file.version.ticket, (id, place.clone()));
        }
        Copy::Staged(Stage::Log { arrival, segment, .. }) => {
            arrived.staged.entry((arrival, segment)).or_default().insert(file.version.ticket);
        }
        Copy::Missing | Copy::Installed { .. } => {}
    }
    Ok(())
}

/// Removes the stages that no current version needs; those that are needed and not there. One that this journal never
/// gave out is set aside: it may be somebody's only copy.
pub(super) fn sweep_stages(
    journal: &Journal,
    volume: &dyn Volume,
    mut needed: BTreeMap<Ticket, (NodeId, Place)>,
) -> Result<Vec<(NodeId, Place)>, LaneError> {
    let mut kept = BTreeSet::new();
    for name in volume.list(layout::STAGE_FOLDER)? {
        let path = layout::join(layout::STAGE_FOLDER, &name);
        match layout::staged(&name) {
            Some((ticket, true)) if needed.contains_key(&ticket) => drop(kept.insert(ticket)),
            Some((ticket, _)) if journal.knows(ticket) => volume.remove_file(&path)?,
            Some(_) | None => {
                let to = layout::join(layout::ASIDE_FOLDER, &format!("stage-{name}"));
                tracing::warn!(stage = name, "set aside: a stage that this journal does not know");
                match volume.rename(&path, &to) {
                    Err(error) if error.disposition != Disposition::InTheWay => return Err(error.into()),
                    Ok(()) | Err(_) => {}
                }
            }
        }
    }
    needed.retain(|ticket, _| !kept.contains(ticket));
    Ok(needed.into_values().collect())
}

/// Removes from limbo what a cut left of copies there (`lane/apart`): a node's file that the node is known to have
/// elsewhere. `lies_here` says whether a node lies in limbo, and nothing where it is nowhere.
pub(super) fn sweep_limbo(
    volume: &dyn Volume,
    lies_here: impl Fn(NodeId) -> Result<Option<bool>, LaneError>,
) -> Result<(), LaneError> {
    if volume.kind() == FsKind::Atomic {
        return Ok(());
    }
    for name in volume.list(layout::LIMBO_FOLDER)? {
        let Some(id) = name.parse().ok().map(NodeId) else { continue };
        let path = layout::limbo(id);
        let is_file = volume.stat(&path)?.is_some_and(|meta| meta.kind == FileKind::File);
        if is_file && lies_here(id)? == Some(false) {
            volume.remove_file(&path)?;
        }
    }
    Ok(())
}
