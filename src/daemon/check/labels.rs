//! Both slots of a drive's label against the journal.

use crate::ids::Side;
use crate::journal::audit::Audit;
use crate::mirror::label::{self, Label, SLOT_PATHS, Slot};
use crate::mirror::volume::{Volume, VolumeError};

use crate::daemon::check::kind::Kind;
use crate::daemon::check::report::Report;

/// Checks the slots of a drive whose label names it.
pub(super) fn check(
    audit: &Audit,
    side: Side,
    volume: &dyn Volume,
    report: &mut Report<'_>,
) -> Result<(), VolumeError> {
    for path in SLOT_PATHS {
        // One that cannot be opened is judged below.
        if let Ok(file) = volume.open(path) {
            file.forget_cached()?;
        }
    }
    let slots = [label::read_slot(volume, 0)?, label::read_slot(volume, 1)?];
    let newest = slots.iter().filter_map(label_of).map(|label| label.serial).max();
    for (slot, path) in slots.iter().zip(SLOT_PATHS) {
        let other = "the other slot of the label serves; the daemon writes both anew";
        match slot {
            // Until the first arrival there is one slot alone.
            Slot::Missing if newest == Some(0) => {}
            Slot::Missing => {
                report.difference(Some(side), Some(path), Kind::LabelMissing, &format!("is missing: {other}"));
            }
            Slot::Damaged => report.difference(Some(side), Some(path), Kind::LabelTorn, &format!("is torn: {other}")),
            Slot::Unreadable(error) => {
                let text = format!("cannot be read ({error}): {other}, if the stick takes it");
                report.difference(Some(side), Some(path), Kind::Unreadable, &text);
            }
            Slot::Newer { format } => {
                let text = format!("the label has format {format}: use a newer twinstickd");
                report.obstacle(Some(side), Kind::NewerFormat, &text);
            }
            Slot::Valid(label) => check_slot(audit, side, label, path, report),
        }
    }
    Ok(())
}

fn label_of(slot: &Slot) -> Option<&Label> {
    match slot {
        Slot::Valid(label) => Some(label),
        Slot::Missing | Slot::Damaged | Slot::Unreadable(_) | Slot::Newer { .. } => None,
    }
}

fn check_slot(audit: &Audit, side: Side, label: &Label, path: &str, report: &mut Report<'_>) {
    let (epoch, head) = (audit.epoch(), audit.head());
    if label.epoch > epoch || label.committed > head {
        let text = format!(
            "has epoch {} and LSN {}, the journal only epoch {epoch} and LSN {head}: the journal is older than the \
             stick, so nothing is served; put back the newer state directory, or see twinstickd adopt",
            label.epoch, label.committed
        );
        report.difference(Some(side), Some(path), Kind::LabelAhead, &text);
    }
    let enrolment = audit.enrolment();
    // The other drive may have been replaced since: the next checkpoint writes that.
    let right = label.mirror == enrolment.mirror && label.drive == enrolment.drives.get(side).id && label.side == side;
    if !right {
        let text = "names another mirror or drive than the journal: the newer slot decides";
        report.difference(Some(side), Some(path), Kind::LabelWrong, text);
    }
}
