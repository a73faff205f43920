//! `adopt`: rebuilds a lost or outdated journal from the drives. Also what `init --adopt` does with files that are
//! there already.
//!
//! Nothing on a drive is moved or written but its lock and a mark on its manifest; the state directory is changed at
//! the end alone, by renames. Cut short anywhere, the same command begins again.

mod accounts;
mod error;
mod look;
mod plan;
mod state;
mod tell;

pub use error::AdoptError;
pub use plan::AdoptRequest;
pub(super) use state::NEW_FOLDER;

use std::path::Path;

use crate::clock;
use crate::daemon::adopt::accounts::Documents;
use crate::daemon::adopt::look::look_through;
use crate::daemon::adopt::plan::{Found, Plan};
use crate::daemon::state_lock::StateLock;
use crate::ids::{DriveId, Epoch, MirrorId, PerSide, Side};
use crate::journal::{Beginning, Enrolled, Enrolment};
use crate::mirror::adopt::{Homes, Outcome, Survey, rebuild};
use crate::mirror::manifest;
use crate::namespace::Namespace;

/// LSNs, epochs and ids of nodes go on so far above what was seen, where a drive was waived: what that one has is unknown, and must
/// not be taken for what comes.
const WAIVED_GAP: u64 = 1 << 32;

/// Rebuilds the journal in `state`; what was found is said on standard error.
pub fn adopt(request: &AdoptRequest, state: &Path) -> Result<(), AdoptError> {
    state::make(state)?;
    let _lock = StateLock::take(state, "adopt")?;
    let mut plan = plan::plan(request, state)?;
    let surveys = look_through(&plan.drives)?;
    let gap = if plan.without.is_some() { WAIVED_GAP } else { 0 };
    tell::histories(&surveys);
    plan.find_places(&surveys);
    let accounts = Documents::of(&surveys, state);
    let outcome =
        rebuild(surveys, accounts.homes(), gap, clock::wall_ns()).map_err(|diverged| plan.diverged(diverged))?;
    for (side, found) in plan.drives.iter() {
        // What is taken in is not in its manifest.
        if let Some(found) = found {
            manifest::outdate(&found.volume).map_err(|source| AdoptError::Drive { side, source })?;
        }
    }
    let begun = state::write(state, &outcome, &plan.beginning(&outcome, gap))?;
    let aside = begun.take_effect()?;
    tell::outcome(&outcome, aside.journal.as_deref());
    accounts.tell(&outcome, plan.without, aside.accounts.as_deref());
    Ok(())
}

/// Takes in the files of two drives that are in no mirror yet.
pub(super) fn take_in(places: &PerSide<std::path::PathBuf>) -> Result<Outcome, AdoptError> {
    let open = |side: Side| Found::without_label(side, places.get(side)).map(Some);
    let drives = PerSide { a: open(Side::A)?, b: open(Side::B)? };
    let surveys = look_through(&drives)?;
    tell::histories(&surveys);
    let outcome = rebuild(surveys, Homes::default(), 0, clock::wall_ns())
        .map_err(|diverged| AdoptError::Diverged { why: diverged.to_string() })?;
    Ok(outcome)
}

/// Begins the journal of a new mirror with what was taken in.
pub(super) fn begin(
    state: &Path,
    outcome: &Outcome,
    enrolment: Enrolment,
    namespaces: PerSide<Namespace>,
) -> Result<(), AdoptError> {
    let beginning = Beginning {
        enrolment,
        epoch: Epoch(0),
        head: outcome.head,
        next_node: outcome.next_node,
        serials: PerSide::default(),
        namespaces,
        waived: PerSide::default(),
    };
    state::write(state, outcome, &beginning)?.take_effect()?;
    tell::outcome(outcome, None);
    Ok(())
}

impl Plan {
    /// Where a drive that was waived is to be looked for, as the other one's manifest knows it.
    fn find_places(&mut self, surveys: &PerSide<Option<Survey>>) {
        let enrolments = surveys.iter().filter_map(|(_, survey)| survey.as_ref()?.enrolment.as_ref());
        for enrolment in enrolments {
            for side in Side::BOTH {
                let known = enrolment.drives.get(side);
                let drive = self.enrolment.drives.get_mut(side);
                if drive.place.is_empty() && drive.id == known.id {
                    drive.place.clone_from(&known.place);
                }
            }
        }
    }

    fn beginning(&self, outcome: &Outcome, gap: u64) -> Beginning {
        let labels = self.drives.iter().filter_map(|(_, found)| found.as_ref()?.label.as_ref());
        let epoch = labels.map(|label| label.epoch).max().unwrap_or_default();
        let volume = |side: Side| self.drives.get(side).as_ref().map(|found| &found.volume);
        let namespace =
            |side: Side| volume(side).map_or_else(Namespace::default, crate::mirror::volume::Volume::namespace);
        let serial = |side: Side| self.drives.get(side).as_ref()?.label.as_ref().map(|label| label.serial);
        Beginning {
            enrolment: self.enrolment.clone(),
            epoch: Epoch(epoch.0 + gap),
            head: outcome.head,
            next_node: outcome.next_node,
            serials: PerSide::new(serial),
            namespaces: PerSide::new(namespace),
            waived: PerSide::new(|side| self.without == Some(side)),
        }
    }
}

/// The enrolment as labels tell it; of a drive that is not there only its id is known.
fn enrolment_of(mirror: MirrorId, ids: PerSide<DriveId>, places: &PerSide<String>, plain: bool) -> Enrolment {
    let drive = |side: Side| Enrolled { id: *ids.get(side), place: places.get(side).clone() };
    Enrolment { mirror, drives: PerSide::new(drive), plain }
}
