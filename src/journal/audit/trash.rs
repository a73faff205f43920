//! The trash's records against its nodes, and against each other.

use crate::ids::{Lsn, NodeId};
use crate::journal::audit::flaw::Flaw;
use crate::journal::audit::{Audit, readable};
use crate::journal::catalog::Catalog;
use crate::journal::codec::{self, Space};
use crate::journal::record::Node;
use crate::journal::store::StoreError;
use crate::journal::trash::{Kept, Remains};

/// Records that do not decode are passed over: they were told of.
pub(super) fn check(audit: &Audit, found: &mut dyn FnMut(Flaw)) -> Result<(), StoreError> {
    check_records(audit, found)?;
    check_paths(audit, found)?;
    check_nodes(audit, found)
}

/// Each thing in the trash has its node, and stands in the index of paths.
fn check_records(audit: &Audit, found: &mut dyn FnMut(Flaw)) -> Result<(), StoreError> {
    let space = codec::all(Space::Kept);
    for pair in audit.store.scan(&space, &codec::end_of(&space)) {
        let (key, value) = pair?;
        let Ok(kept) = codec::decode::<Kept>(&key, &value) else { continue };
        let mut tell = |why| found(Flaw::Trash { path: Some(kept.path.clone()), lsn: kept.lsn, why });
        if audit.value(&codec::kept_path(&kept.path, kept.lsn))?.is_none() {
            tell("its path does not lead to it");
        }
        if let (Remains::File { node, .. }, Some(place)) = (&kept.remains, kept.remains.place()) {
            match audit.node(&place) {
                Ok(Some(Node::File(file))) if file.id == *node => {}
                Err(StoreError::Corrupt(_)) => {}
                Ok(_) => tell("its file is not there"),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Each path of the index leads to something.
fn check_paths(audit: &Audit, found: &mut dyn FnMut(Flaw)) -> Result<(), StoreError> {
    let space = codec::all(Space::KeptPath);
    for pair in audit.store.scan(&space, &codec::end_of(&space)) {
        let (key, value) = pair?;
        let Ok(lsn) = codec::decode::<Lsn>(&key, &value) else { continue };
        match audit.record::<Kept>(&codec::kept(lsn)) {
            Ok(Some(kept)) if key == codec::kept_path(&kept.path, lsn) => {}
            Err(StoreError::Corrupt(_)) => {}
            Ok(_) => found(Flaw::Trash { path: None, lsn, why: "a path leads to it, and it is not there" }),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Each node in the trash is on record: it would never be let go of.
fn check_nodes(audit: &Audit, found: &mut dyn FnMut(Flaw)) -> Result<(), StoreError> {
    let space = codec::children(NodeId::TRASH);
    for pair in audit.store.scan(&space, &codec::end_of(&space)) {
        let (key, value) = pair?;
        let Ok(node) = codec::decode::<Node>(&key, &value) else { continue };
        if readable(audit.record::<Kept>(&codec::kept(node.lsn())))?.is_none() {
            let path = codec::name_of(&key).ok().map(|name| name.to_string());
            found(Flaw::Trash { path, lsn: node.lsn(), why: "nothing says what it was" });
        }
    }
    Ok(())
}
