//! Where in the mirror something goes that somebody else wrote.

use crate::ids::Side;
use crate::journal::store::StoreError;
use crate::journal::{Catalog, Node, Resolved};
use crate::mirror::reconcile::aside::{Cause, Item};
use crate::path::RelPath;

/// Copies of one name that differ, at most.
const COPIES_MAX: u32 = 100;

/// What becomes of a file that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// It is stored under this path, which is free.
    Path(RelPath),
    /// The mirror has it, there or beside it.
    Had,
    /// It stays where it is.
    Nowhere,
}

/// Where a file that was at `path` goes. `is_same` tells whether a node has the bytes in question.
pub(crate) fn target(
    catalog: &impl Catalog,
    path: &RelPath,
    item: &Item,
    side: Side,
    is_same: impl Fn(&Node) -> bool,
) -> Result<Target, StoreError> {
    if item.cause == Cause::Damaged {
        return Ok(Target::Nowhere);
    }
    if let Resolved::Found(_, node) = catalog.resolve(path)?
        && is_same(&node)
    {
        return Ok(Target::Had);
    }
    for nth in 0..=COPIES_MAX {
        // What was the mirror's keeps its name for the mirror's version, also where that was removed meanwhile.
        if nth == 0 && item.cause == Cause::Edited {
            continue;
        }
        let Some(at) = copy_path(catalog, path, item, side, nth)? else { return Ok(Target::Nowhere) };
        match catalog.resolve(&at)? {
            Resolved::Missing { .. } => return Ok(Target::Path(at)),
            Resolved::Found(_, node) if is_same(&node) => return Ok(Target::Had),
            Resolved::Root | Resolved::Found(..) | Resolved::BelowAFile { .. } => {}
        }
    }
    Ok(Target::Nowhere)
}

/// The `nth` path for a copy: with a note in its last name, or in that of a folder above which is a file now. 0: as
/// it was.
fn copy_path(
    catalog: &impl Catalog,
    path: &RelPath,
    item: &Item,
    side: Side,
    nth: u32,
) -> Result<Option<RelPath>, StoreError> {
    let noted = match catalog.resolve(path)? {
        Resolved::BelowAFile { depth } => depth,
        Resolved::Root | Resolved::Found(..) | Resolved::Missing { .. } => path.names().len(),
    };
    let mut at = RelPath::ROOT;
    for (depth, name) in path.names().iter().enumerate() {
        let name = if depth + 1 == noted && nth > 0 { item.copy_name(name, side, nth) } else { Some(name.clone()) };
        let Some(name) = name else { return Ok(None) };
        at = at.join(name);
    }
    // The note can be one too many.
    Ok(at.check_extent().is_ok().then_some(at))
}
