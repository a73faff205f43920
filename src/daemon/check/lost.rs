//! Files of which no drive has a copy: no debt is ever paid for them.

use crate::ids::{NodeId, PerSide, Side};
use crate::journal::Node;
use crate::journal::audit::{Audit, NodeSet};
use crate::journal::store::StoreError;

use crate::daemon::check::kind::Kind;
use crate::daemon::check::report::Report;
use crate::daemon::check::tree::Seen;

/// Debts that are read at once.
const PAGE: usize = 1024;

/// Tells of each file whose current version is on record to be on no enrolled drive, unless it was seen on one.
pub(super) fn check(audit: &Audit, seen: &PerSide<Option<Seen>>, report: &mut Report<'_>) -> Result<(), StoreError> {
    let was_seen = |id| seen.iter().any(|(_, seen)| seen.as_ref().is_some_and(|seen| seen.current.contains(id)));
    let mut told = NodeSet::default();
    for side in Side::BOTH {
        let mut at = NodeId::ROOT;
        loop {
            let page = audit.debts(side, at, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            at = last.next();
            for (id, debt) in page {
                let Some(place) = debt.want else { continue };
                let Some(Node::File(file)) = audit.node_of(&place, id)? else { continue };
                let is_lost = file.copies.iter().all(|(_, copy)| !copy.is_durable());
                if !is_lost || was_seen(id) || !told.insert(id) {
                    continue;
                }
                // What is in the trash is nobody's loss; where a folder's record is damaged that was told.
                let Some(path) = audit.path_of(&place)?.map(|path| path.to_string()) else { continue };
                let text = format!("no drive has a copy of it: put it again, or 'fget rm {path}'");
                report.difference(None, Some(&path), Kind::NoCopy, &text);
            }
        }
    }
    Ok(())
}
