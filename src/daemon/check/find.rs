//! Finding the enrolled drives by their labels, where the daemon would look.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::ids::{PerSide, Side};
use crate::journal::Enrolment;
use crate::mirror::label::{self, Label, LabelError};
use crate::mirror::os_volume::{DriveLock, LockError, OsVolume};
use crate::watcher;

use crate::daemon::check::kind::Kind;
use crate::daemon::check::report::{Coverage, Report};
use crate::daemon::vigil::Vigil;

/// A drive that was found and taken.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) volume: OsVolume,
    pub(super) place: PathBuf,
    pub(super) label: Label,
    /// Held while it is read; a drive that was never served has no lock yet.
    _lock: Option<DriveLock>,
}

/// Looks for both drives; of one that is not to be had it says why.
pub(super) fn locate(
    enrolment: &Enrolment,
    patterns: &[String],
    vigil: &Vigil,
    report: &mut Report<'_>,
) -> PerSide<Option<Located>> {
    let mut search = Search { enrolment, vigil, report, found: PerSide::default(), told: PerSide::default() };
    let known = Side::BOTH.map(|side| PathBuf::from(&enrolment.drives.get(side).place));
    let mut looked = BTreeSet::new();
    // A relative place without a working directory is nowhere.
    let places = known.iter().filter_map(|place| std::path::absolute(place).ok());
    for place in places.chain(patterns.iter().flat_map(|pattern| watcher::expand(pattern))) {
        if looked.insert(place.clone()) {
            search.look(&place);
        }
    }
    for side in Side::BOTH {
        if search.found.get(side).is_none() && !*search.told.get(side) {
            let place = &enrolment.drives.get(side).place;
            let text = format!("is not there (enrolled at {place}): mount it and check again");
            search.report.obstacle(Some(side), Kind::Absent, &text);
        }
    }
    search.found
}

struct Search<'a, 'w> {
    enrolment: &'a Enrolment,
    vigil: &'a Vigil,
    report: &'a mut Report<'w>,
    found: PerSide<Option<Located>>,
    /// Drives of which it was said why they are not taken.
    told: PerSide<bool>,
}

impl Search<'_, '_> {
    fn look(&mut self, place: &Path) {
        if let Err(error) = self.vigil.attend(place) {
            let text = format!("no thread can be started: {error}");
            return self.give_up(None, place, Kind::Unreadable, &text);
        }
        let Ok(volume) = OsVolume::open(place) else { return };
        match label::read(&volume) {
            // A bare mount point, or somebody's folder.
            Ok(None) | Err(LabelError::Missing) => {}
            Ok(Some(label)) => self.take(place, volume, label),
            Err(LabelError::Torn) => self.torn(place),
            Err(LabelError::NewerFormat { found }) => {
                let text =
                    format!("the label of the drive at {} has format {found}: use a newer twinstickd", place.display());
                let side = self.enrolled_at(place);
                self.give_up(side, place, Kind::NewerFormat, &text);
            }
            Err(error @ (LabelError::OtherDrive { .. } | LabelError::Volume(_))) => {
                let side = self.enrolled_at(place);
                let text = format!("the drive at {} cannot be read: {error}", place.display());
                self.give_up(side, place, Kind::Unreadable, &text);
            }
        }
    }

    fn take(&mut self, place: &Path, volume: OsVolume, label: Label) {
        let enrolled = self.enrolment.drives.iter().find(|(_, drive)| drive.id == label.drive);
        let Some((side, _)) = enrolled.filter(|_| label.mirror == self.enrolment.mirror) else {
            let text = format!(
                "the drive at {} is drive {} of mirror {}, not one of this mirror's",
                place.display(),
                label.drive,
                label.mirror
            );
            self.report.note(None, None, Kind::Foreign, &text);
            return;
        };
        if let Some(other) = self.found.get(side) {
            // One file system may be mounted at several places.
            if !other.volume.identity().is_same_folder(volume.identity()) {
                let text = format!(
                    "there is a copy of it at {}, beside {}: unplug one",
                    place.display(),
                    other.place.display()
                );
                self.report.difference(Some(side), None, Kind::DriveCopied, &text);
            }
            return;
        }
        match volume.hold() {
            Ok(lock) => {
                let place = place.to_owned();
                *self.found.get_mut(side) = Some(Located { volume, place, label, _lock: lock });
            }
            Err(error @ LockError::Held { .. }) => self.give_up(Some(side), place, Kind::InUse, &error.to_string()),
            Err(error @ LockError::Volume(_)) => {
                self.give_up(Some(side), place, Kind::Unreadable, &format!("its lock cannot be taken: {error}"));
            }
        }
    }

    fn torn(&mut self, place: &Path) {
        let side = self.enrolled_at(place);
        let text = format!(
            "the label of the drive at {} is torn in both slots: the daemon does not take it; what is on it was not \
             compared",
            place.display()
        );
        self.report.difference(side, None, Kind::LabelTorn, &text);
        if let Some(side) = side {
            *self.told.get_mut(side) = true;
            self.report.covered(side, Coverage::NotCompared, place);
        }
    }

    fn give_up(&mut self, side: Option<Side>, place: &Path, kind: Kind, text: &str) {
        self.report.obstacle(side, kind, text);
        if let Some(side) = side {
            *self.told.get_mut(side) = true;
            self.report.covered(side, Coverage::NotCompared, place);
        }
    }

    /// The drive that `init` found at a place.
    fn enrolled_at(&self, place: &Path) -> Option<Side> {
        let mut drives = self.enrolment.drives.iter();
        drives.find(|(_, drive)| Path::new(&drive.place) == place).map(|(side, _)| side)
    }
}
