//! Where things lie on a drive now, as the journal last heard.

use crate::ids::{NodeId, Side};
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Content, Copy, Debt, FileNode, Held, Place, Stage};
use crate::mirror::layout;

/// Most folders above a node, far above what a path may have; deeper means that the catalog has a loop.
const DEPTH_MAX: usize = 16 * crate::path::PATH_DEPTH_MAX;

/// Where a drive has the bytes of a file version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: String,
    /// Where in that file they begin.
    pub(crate) offset: u64,
}

/// The place a drive has a node at: its debt's, else the catalog's.
pub(crate) fn folder_place(catalog: &impl Catalog, side: Side, id: NodeId) -> Result<Option<Place>, StoreError> {
    match catalog.debt(side, id)? {
        Some(Debt { have, .. }) => Ok(have.map(|held| held.place)),
        None => catalog.folder_place(id),
    }
}

/// The path of a folder on a drive; `None` where the drive does not have it.
pub(crate) fn folder_path(catalog: &impl Catalog, side: Side, id: NodeId) -> Result<Option<String>, StoreError> {
    let mut names = Vec::new();
    let mut at = id;
    for _ in 0..DEPTH_MAX {
        if let Some(root) = layout::fixed(at) {
            return Ok(Some(joined(root, &names)));
        }
        let Some(place) = folder_place(catalog, side, at)? else { return Ok(None) };
        names.push(place.name);
        at = place.parent;
    }
    Err(StoreError::Corrupt(format!("folder {id} lies in a loop of folders")))
}

fn joined(root: &str, names: &[crate::path::Name]) -> String {
    names.iter().rev().fold(root.to_owned(), |path, name| layout::join(&path, name.as_str()))
}

/// The path of a place on a drive; `None` where the drive lacks the folder.
pub(crate) fn path_at(catalog: &impl Catalog, side: Side, place: &Place) -> Result<Option<String>, StoreError> {
    Ok(folder_path(catalog, side, place.parent)?.map(|folder| layout::join(&folder, place.name.as_str())))
}

/// Where a drive has this version of the file at `place` of the catalog; `None` where it does not.
pub(crate) fn source(
    catalog: &impl Catalog,
    side: Side,
    place: &Place,
    file: &FileNode,
) -> Result<Option<Source>, StoreError> {
    match *file.copies.get(side) {
        Copy::Missing => Ok(None),
        Copy::Staged(Stage::File) => Ok(Some(Source { path: layout::stage(file.version.ticket), offset: 0 })),
        Copy::Staged(Stage::Log { arrival, segment, offset }) => {
            Ok(Some(Source { path: layout::segment(arrival, segment), offset }))
        }
        Copy::Installed { .. } => {
            let debt = if catalog.may_owe(side) { catalog.debt(side, file.id)? } else { None };
            let at = match debt.and_then(|debt| debt.have) {
                Some(Held { place, content: Content::File { version, .. } }) if version == file.version => place,
                Some(_) | None => place.clone(),
            };
            Ok(path_at(catalog, side, &at)?.map(|path| Source { path, offset: 0 }))
        }
    }
}

/// Where a drive may have bytes of this version though it is not recorded to have it whole: a copy that was found
/// damaged, as a rule. Each block read there is to be checked.
pub(crate) fn doubtful(catalog: &impl Catalog, side: Side, file: &FileNode) -> Result<Option<Source>, StoreError> {
    if file.copies.get(side).is_durable() || !catalog.may_owe(side) {
        return Ok(None);
    }
    let Some(debt) = catalog.debt(side, file.id)? else { return Ok(None) };
    let of_version = |held: &&Held| matches!(held.content, Content::File { version, .. } if version == file.version);
    match debt.have.iter().chain(&debt.maybe).find(of_version) {
        Some(held) => Ok(path_at(catalog, side, &held.place)?.map(|path| Source { path, offset: 0 })),
        None => Ok(None),
    }
}
