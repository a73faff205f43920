//! What a drive has when it comes, before its lane goes on: where the nodes are whose debts were being
//! worked on when it left, which stages are still needed, whether the last installs are whole.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Arrival, Lsn, NodeId, Side, Ticket};
use crate::journal::{Debt, DriveFact, Journal};
use crate::mirror::lane::LaneError;
use crate::mirror::lane::carry::sweep_parts;
use crate::mirror::lane::finish::prove;
use crate::mirror::lane::last_installs::folders_of;
use crate::mirror::lane::search::Search;
use crate::mirror::lane::sweep::{note_stage, sweep_limbo, sweep_stages, sweep_trash};
use crate::mirror::layout;
use crate::mirror::volume::Volume;

/// Debts read at once.
pub(super) const PAGE: usize = 1024;

/// What is known of what a drive has that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// The journal was there when it left.
    Recorded,
    /// The journal was rebuilt without it: its debts say what it may have.
    Maybe,
}

/// What an arrival found.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    /// To be noted and made durable before the lane's first step.
    pub(crate) facts: Vec<DriveFact>,
    /// Current versions staged in each segment of the drive log.
    pub(crate) staged: BTreeMap<(Arrival, u32), BTreeSet<Ticket>>,
    /// Nodes that were being worked on when the drive left: what lies at their places may be half of the mirror's own.
    pub(crate) shaken: BTreeSet<NodeId>,
    /// Files that were read back, to be read again at the next arrival but for a checkpoint.
    pub(crate) files: u64,
    /// Of these files.
    pub(crate) bytes: u64,
}

/// Looks through a drive that came. `exposed` is the head of the journal when it was last there.
pub(crate) fn reclaim(
    journal: &Journal,
    volume: &dyn Volume,
    side: Side,
    (known, exposed): (Known, Lsn),
    now_ns: i64,
) -> Result<Arrived, LaneError> {
    make_own_folders(volume)?;
    // What a killed daemon renamed may be in the page cache alone: nothing is believed before it is durable.
    volume.sync_all()?;
    prove(volume)?;
    let mut arrived = Arrived::default();
    let mut stages = BTreeMap::new();
    let mut folders = BTreeSet::new();
    for_each_debt(journal, side, |id, debt| {
        if debt.lsn <= exposed {
            folders.extend(folders_of(&debt));
        }
        Ok(note_stage(journal, side, id, &debt, &mut stages, &mut arrived)?)
    })?;
    let mut search = search(journal, volume, side, known, |search, id, debt| match known {
        Known::Recorded => Ok((debt.lsn <= exposed || !debt.maybe.is_empty()) && !search.is_nowhere(id, debt)?),
        Known::Maybe => Ok(true),
    })?;
    arrived.facts = search.facts(now_ns)?;
    search.give_up_lost_folders(&mut arrived.facts)?;
    let lost = sweep_stages(journal, volume, stages)?;
    for (id, place) in lost {
        // Behind what was found: as a rule it lies under its name already.
        let file = journal.file(&place, id)?;
        arrived.facts.extend(file.map(|file| DriveFact::Damaged { side, place, file }));
    }
    sweep_parts(volume)?;
    sweep_limbo(volume, |id| search.lies_in_limbo(id))?;
    search.sweep_halves()?;
    sweep_trash(journal, volume, side, |id| search.found.get(&id)?.as_ref())?;
    search.verify_last_installs(&mut arrived, folders)?;
    match known {
        Known::Recorded => arrived.shaken.extend(search.doubtful.keys()),
        // Nobody knows what was being worked on: what is nobody's may be somebody's edit.
        Known::Maybe => {}
    }
    Ok(arrived)
}

/// Looks again for nodes that clients changed while they were looked for.
pub(crate) fn look_again(
    journal: &Journal,
    volume: &dyn Volume,
    side: Side,
    now_ns: i64,
) -> Result<Vec<DriveFact>, LaneError> {
    let search = search(journal, volume, side, Known::Recorded, |_, _, debt| Ok(!debt.maybe.is_empty()))?;
    search.facts(now_ns)
}

/// Looks for the nodes whose debts are doubtful, until nothing of what that depends on changed meanwhile. A node's
/// places change once at most before the drive is attached.
fn search<'a>(
    journal: &'a Journal,
    volume: &'a dyn Volume,
    side: Side,
    known: Known,
    is_doubtful: impl Fn(&Search<'a>, NodeId, &Debt) -> Result<bool, LaneError>,
) -> Result<Search<'a>, LaneError> {
    loop {
        let mut search = Search::new(journal, volume, side);
        for_each_debt(journal, side, |id, debt| {
            if is_doubtful(&search, id, &debt)? {
                search.doubtful.insert(id, debt);
            }
            Ok(())
        })?;
        match known {
            Known::Recorded => {
                search.note_respelled();
                search.run()?;
            }
            Known::Maybe => search.recognize()?,
        }
        if !search.is_stale()? {
            return Ok(search);
        }
    }
}

fn for_each_debt(
    journal: &Journal,
    side: Side,
    mut look: impl FnMut(NodeId, Debt) -> Result<(), LaneError>,
) -> Result<(), LaneError> {
    let mut at = NodeId::ROOT;
    loop {
        let page = journal.snapshot().debts(side, at, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        at = last.next();
        page.into_iter().try_for_each(|(id, debt)| look(id, debt))?;
    }
}

fn make_own_folders(volume: &dyn Volume) -> Result<(), LaneError> {
    let mut made = false;
    for folder in layout::OWN_FOLDERS {
        if volume.stat(folder)?.is_none() {
            volume.make_folder(folder)?;
            made = true;
        }
    }
    if made {
        volume.sync_folder(crate::path::OWN_FOLDER)?;
        volume.sync_folder("")?;
    }
    Ok(())
}
