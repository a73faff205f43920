//! What earlier arrivals left in a drive's own folders, and nobody needs any more.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{NodeId, Side, Ticket};
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Content, Copy, Debt, Held, Journal, Place, Stage};
use crate::mirror::content::{Found, compare_bytes};
use crate::mirror::lane::LaneError;
use crate::mirror::lane::reclaim::Arrived;
use crate::mirror::layout;
use crate::mirror::volume::{Disposition, FileKind, FsKind, Volume, VolumeError};
use crate::path::{NAME_BYTES_MAX, Name};

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
    for name in volume.list(layout::STAGE_FOLDER)?.names {
        let path = layout::join(layout::STAGE_FOLDER, &name);
        match layout::staged(&name) {
            Some((ticket, true)) if needed.contains_key(&ticket) => drop(kept.insert(ticket)),
            Some((ticket, _)) if journal.knows(ticket) => volume.remove_file(&path)?,
            Some(_) | None => {
                tracing::warn!(stage = name, "set aside: a stage that this journal does not know");
                set_aside(volume, &path, &format!("stage-{name}"))?;
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
    for name in volume.list(layout::LIMBO_FOLDER)?.names {
        let Some(id) = name.parse().ok().map(NodeId) else { continue };
        let path = layout::limbo(id);
        let Some(meta) = volume.stat(&path)?.filter(|meta| meta.kind == FileKind::File) else { continue };
        let lies_here = lies_here(id)?;
        // An empty one of a node that is nowhere is half a move: there is nothing in it that could be missed.
        if lies_here == Some(false) || (lies_here.is_none() && meta.observed.size == 0) {
            volume.remove_file(&path)?;
        }
    }
    Ok(())
}

/// Sets aside what lies in the trash and was thrown away by nobody that this journal knows of: another history of the
/// drive did, or somebody put it there. What a cut left there of a version that has its former name still goes
/// (`lane/supersede`): `found` says where a node was found.
pub(super) fn sweep_trash<'a>(
    journal: &Journal,
    volume: &dyn Volume,
    side: Side,
    found: impl Fn(NodeId) -> Option<&'a Held>,
) -> Result<(), LaneError> {
    let mut lying = Vec::new();
    for text in volume.list(layout::TRASH_FOLDER)?.names {
        let place = Name::parse(&text).ok().map(|name| Place::new(NodeId::TRASH, name));
        let wanted = match &place {
            Some(place) => journal.snapshot().node(place)?.map(|node| node.id()),
            None => None,
        };
        lying.push((text, place, wanted));
    }
    // Last, since clients do not wait: what was wanted here a moment ago may be leaving now, and nothing else than that.
    let leaving = leaving_trash(journal, side)?;
    for (text, place, wanted) in lying {
        let owner = place.and_then(|place| {
            let id = wanted.or_else(|| leaving.get(&place.name).copied())?;
            Some((id, place))
        });
        if let Some((id, place)) = owner {
            if let Some(Held { place: elsewhere, content: Content::File { version, .. } }) = found(id)
                && *elsewhere != place
                && volume.kind() == FsKind::Atomic
            {
                let second = layout::join(layout::TRASH_FOLDER, &text);
                if matches!(compare_bytes(volume, &second, version)?, Found::Same(_)) {
                    volume.remove_file(&second)?;
                }
            }
        } else {
            tracing::warn!(drive = %side, name = text, "set aside: in the trash, and not known");
            let aside = format!("trash-{text}");
            let cut = aside.floor_char_boundary(NAME_BYTES_MAX.min(aside.len()));
            let aside = aside.get(..cut).unwrap_or_default().trim_end_matches(['.', ' ']);
            set_aside(volume, &layout::join(layout::TRASH_FOLDER, &text), aside)?;
        }
    }
    Ok(())
}

/// Names in the trash that a drive has, or may have, of what belongs elsewhere by now, or nowhere.
fn leaving_trash(journal: &Journal, side: Side) -> Result<BTreeMap<Name, NodeId>, StoreError> {
    let snapshot = journal.snapshot();
    let mut names = BTreeMap::new();
    for id in snapshot.claims_in(side, NodeId::TRASH, usize::MAX)? {
        let Some(debt) = snapshot.debt(side, id)? else { continue };
        let claims = debt.claims().into_iter().filter(|place| place.parent == NodeId::TRASH);
        names.extend(claims.map(|place| (place.name.clone(), id)));
    }
    Ok(names)
}

/// What lies under the name already stays, and the newcomer where it is.
fn set_aside(volume: &dyn Volume, path: &str, name: &str) -> Result<(), VolumeError> {
    match volume.rename(path, &layout::join(layout::ASIDE_FOLDER, name)) {
        Err(error) if error.disposition != Disposition::InTheWay => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
