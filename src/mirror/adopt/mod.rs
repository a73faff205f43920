//! Rebuilding the journal from what the drives have: labels, manifests, logs, stages and trees.
//!
//! `survey` reads one drive and changes nothing. `past` folds what the drives say of the catalog. `tree` finds out
//! which node each file and folder is, `late` takes in PUTs whose commit no drive tells of, `settle` decides what
//! nobody knows (`homes`: whose it is) or both have differently, `unseen` what a drive may have that was not looked through. The outcome is a
//! catalog with what each drive has and owes; nothing on a drive is moved or written: that is for the lanes, once the
//! journal is there.
//!
//! Memory: about 1 KiB a file.

mod homes;
mod late;
mod outcome;
mod past;
mod settle;
mod survey;
#[cfg(test)]
mod tests;
mod tree;
mod unseen;

use crate::ids::{NodeId, Nonce, PerSide, Side, random};
use crate::mirror::adopt::outcome::Rebuild;

pub(crate) use homes::Homes;
pub(crate) use outcome::{Examples, Outcome};
pub(crate) use past::Diverged;
pub(crate) use survey::{Progress, Survey, survey};

/// Rebuilds the catalog from the surveys of one drive or both. Pure.
///
/// LSNs and ids of nodes go on `gap` above those that are known. `now_ns` is when the bytes were read, for people.
pub(crate) fn rebuild(
    mut surveys: PerSide<Option<Survey>>,
    homes: Homes,
    gap: u64,
    now_ns: i64,
) -> Result<Outcome, Diverged> {
    let past = past::fold(&surveys)?;
    let mut rebuild = Rebuild::begin(past, gap, Nonce(random()), now_ns);
    rebuild.homes = homes;
    rebuild.unseen = PerSide::new(|side| surveys.get(side).is_none());
    for side in Side::BOTH {
        if let Some(survey) = surveys.get_mut(side) {
            rebuild.take_tree(side, std::mem::take(&mut survey.tree));
        }
    }
    rebuild.find_stages(&surveys);
    rebuild.take_late(&surveys);
    rebuild.settle();
    Ok(rebuild.end())
}

/// Whether a node is a folder of a drive's own, where nothing is taken in that no history knows.
fn is_own(id: NodeId) -> bool {
    id == NodeId::LIMBO || id == NodeId::TRASH
}

/// Whether a node is a folder that always exists.
fn is_root(id: NodeId) -> bool {
    id == NodeId::ROOT || is_own(id)
}
