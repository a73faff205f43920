//! Which drives are present: the watcher's decisions, without its system calls.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ids::{DriveId, MirrorId, PerSide, Side};
use crate::mirror::label::{Label, Serials};
use crate::mirror::os_volume::Identity;
use crate::watcher::mountinfo::MountTable;
use crate::watcher::sighting::{RefusedLabel, Visit};

/// How long a drive that failed stays out, if it is still the same mount: a broken stick that answers now and then
/// must not come and go many times a second.
pub(super) const HOLD_OFF: Duration = Duration::from_secs(1);

/// Who is expected, and who is there already.
#[derive(Clone, Debug)]
pub(super) struct Roll {
    pub(super) mirror: MirrorId,
    pub(super) drives: PerSide<DriveId>,
    pub(super) serials: Arc<Serials>,
    pub(super) seats: PerSide<Seat>,
}

/// What a drive found now would mean for its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    Free,
    /// The drive is present.
    Taken(Identity),
    /// The drive failed there a moment ago.
    HeldOff(Identity),
    /// The drive is to be left alone, wherever it is.
    Parked,
    /// Somebody wants to take the drive out there.
    Ejected(Identity),
}

/// What to do with a label that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Take(Side),
    /// Nothing new: the present drive seen a second time, or one that is held off.
    Ignore,
    /// Not to be touched, nor looked at again while it is the same mount.
    LeaveAlone,
    Refuse(RefusedLabel),
}

impl Roll {
    pub(super) fn judge(&self, label: &Label, identity: Identity) -> Judgement {
        if label.mirror != self.mirror {
            return Judgement::Refuse(RefusedLabel::OtherMirror { mirror: label.mirror, drive: label.drive });
        }
        let Some((side, _)) = self.drives.iter().find(|(_, drive)| **drive == label.drive) else {
            return Judgement::Refuse(RefusedLabel::NotEnrolled { drive: label.drive });
        };
        if self.serials.is_outlived(side, label) {
            return Judgement::Refuse(RefusedLabel::Older { side });
        }
        match *self.seats.get(side) {
            Seat::Taken(present) if present.is_same_folder(identity) => Judgement::Ignore,
            Seat::Taken(_) => Judgement::Refuse(RefusedLabel::Copy { side }),
            Seat::HeldOff(failed) if failed == identity => Judgement::Ignore,
            Seat::Parked => Judgement::LeaveAlone,
            Seat::Ejected(ejected) if ejected.is_same_folder(identity) => Judgement::LeaveAlone,
            Seat::HeldOff(_) | Seat::Ejected(_) | Seat::Free => Judgement::Take(side),
        }
    }
}

/// How a look at a place ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No drive of anybody's.
    Nothing,
    /// The same as at the last look, which needed no second one.
    Unchanged,
    /// Of ours, but not to be taken now.
    Ignored,
    /// Of ours, and parked.
    LeftAlone,
    Refused(RefusedLabel),
    /// Opened, verified and locked.
    Ours {
        side: Side,
        identity: Identity,
    },
}

/// What the owner is to be told of a look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    None,
    Arrived {
        side: Side,
        visit: Visit,
    },
    Refused(RefusedLabel),
    /// What was refused is not there any more.
    Cleared,
}

/// Why a drive is taken off the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It was taken away in good order: it may come back at once.
    Gone,
    /// It failed where it still is.
    Failed,
    /// Somebody wants to take it out: it may come back when it was mounted anew.
    Ejected,
    /// It may come back at once, although it was ejected.
    Forgiven,
}

/// The drives that were announced and not yet taken back.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    present: PerSide<Option<Present>>,
    held_off: PerSide<Option<HeldOff>>,
    ejected: PerSide<Option<Ejected>>,
    parked: PerSide<Parking>,
    /// What was told of each place, so that it is not told again at every tick.
    refused: BTreeMap<PathBuf, RefusedLabel>,
    visits: u64,
}

/// Whether a drive may be looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Parking {
    #[default]
    No,
    Yes,
}

#[derive(Debug)]
struct Present {
    visit: Visit,
    place: PathBuf,
    identity: Identity,
}

#[derive(Debug)]
struct HeldOff {
    identity: Identity,
    until: Instant,
}

#[derive(Debug)]
struct Ejected {
    place: PathBuf,
    identity: Identity,
}

impl Attendance {
    pub(super) fn seats(&self, now: Instant) -> PerSide<Seat> {
        PerSide::new(|side| match (self.present.get(side), self.parked.get(side), self.held_off.get(side)) {
            (Some(present), _, _) => Seat::Taken(present.identity),
            (None, Parking::Yes, _) => Seat::Parked,
            (None, Parking::No, Some(held)) if now < held.until => Seat::HeldOff(held.identity),
            (None, Parking::No, _) => match self.ejected.get(side) {
                Some(ejected) => Seat::Ejected(ejected.identity),
                None => Seat::Free,
            },
        })
    }

    /// Whether that is news.
    pub(super) fn set_parked(&mut self, parked: PerSide<Parking>) -> bool {
        let is_news = self.parked != parked;
        for side in Side::BOTH {
            // Somebody may have seen to it meanwhile: it may come back at once.
            if (*self.parked.get(side), *parked.get(side)) == (Parking::Yes, Parking::No) {
                *self.held_off.get_mut(side) = None;
            }
        }
        self.parked = parked;
        is_news
    }

    pub(super) fn is_complete(&self) -> bool {
        self.present.iter().all(|(_, present)| present.is_some())
    }

    /// Whether a drive was announced at `place` and is still there.
    pub(super) fn is_seated_at(&self, place: &Path) -> bool {
        self.present.iter().any(|(_, present)| present.as_ref().is_some_and(|present| present.place == place))
    }

    pub(super) fn looked(&mut self, place: &Path, outcome: Outcome) -> News {
        match outcome {
            Outcome::Unchanged => News::None,
            Outcome::Nothing | Outcome::Ignored | Outcome::LeftAlone => {
                if outcome == Outcome::Nothing {
                    self.release_taken(place);
                }
                match self.refused.remove(place) {
                    Some(_) => News::Cleared,
                    None => News::None,
                }
            }
            Outcome::Refused(why) => {
                if self.refused.insert(place.to_owned(), why.clone()).as_ref() == Some(&why) {
                    News::None
                } else {
                    News::Refused(why)
                }
            }
            Outcome::Ours { side, identity } => {
                self.refused.remove(place);
                self.arrived(side, place, identity)
            }
        }
    }

    /// Takes a drive off the list; false where that visit had ended before.
    pub(super) fn leave(&mut self, side: Side, visit: Visit, how: Leave, now: Instant) -> bool {
        if how == Leave::Forgiven {
            *self.ejected.get_mut(side) = None;
        }
        let Some(present) = self.present.get_mut(side).take_if(|present| present.visit == visit) else {
            return false;
        };
        let Present { place, identity, .. } = present;
        let (held_off, ejected) = match how {
            Leave::Gone | Leave::Forgiven => (None, None),
            Leave::Failed => (Some(HeldOff { identity, until: now + HOLD_OFF }), None),
            Leave::Ejected => (None, Some(Ejected { place, identity })),
        };
        (*self.held_off.get_mut(side), *self.ejected.get_mut(side)) = (held_off, ejected);
        true
    }

    /// The drives whose mounts are no longer in the table. A handle keeps a mount's number from being given again,
    /// so a number that is there is the mount it was.
    pub(super) fn unmounted(&self, table: &MountTable) -> Vec<(Side, Visit)> {
        let is_gone = |present: &Present| present.identity.mount.is_some_and(|id| table.get(id).is_none());
        self.present
            .iter()
            .filter_map(|(side, present)| present.as_ref().filter(|p| is_gone(p)).map(|p| (side, p.visit)))
            .collect()
    }

    /// Lets a drive that failed come back at once if its mount is gone: what is found now is another mount.
    pub(super) fn release_unmounted(&mut self, table: &MountTable) {
        for side in Side::BOTH {
            let is_gone = |identity: Identity| identity.mount.is_some_and(|id| table.get(id).is_none());
            self.held_off.get_mut(side).take_if(|held| is_gone(held.identity));
            self.ejected.get_mut(side).take_if(|ejected| is_gone(ejected.identity));
        }
    }

    /// An ejected drive that is not where it was has been taken out.
    fn release_taken(&mut self, place: &Path) {
        for side in Side::BOTH {
            self.ejected.get_mut(side).take_if(|ejected| ejected.place == place);
        }
    }

    /// Forgets what was told of places that are looked at no more; which these are.
    pub(super) fn forget_places_but(&mut self, places: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
        self.refused.extract_if(.., |place, _| !places.contains(place)).map(|(place, _)| place).collect()
    }

    fn arrived(&mut self, side: Side, place: &Path, identity: Identity) -> News {
        let seat = self.present.get_mut(side);
        if seat.is_some() {
            return News::None;
        }
        self.visits += 1;
        let visit = Visit(self.visits);
        *seat = Some(Present { visit, place: place.to_owned(), identity });
        *self.held_off.get_mut(side) = None;
        News::Arrived { side, visit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::ids::{Arrival, Epoch, Lsn};
    use crate::mirror::os_volume::MountId;

    const MIRROR: MirrorId = MirrorId([1; 16]);
    const DRIVES: PerSide<DriveId> = PerSide { a: DriveId([0xa; 16]), b: DriveId([0xb; 16]) };
    const STICK: Identity = Identity { dev: 1793, ino: 2, mount: Some(MountId(64)) };

    fn label(drive: DriveId) -> Label {
        Label {
            mirror: MIRROR,
            drive,
            side: Side::B,
            enrolled: DRIVES,
            epoch: Epoch(1),
            committed: Lsn(1),
            arrivals: Arrival(1),
            serial: 0,
        }
    }

    fn roll(b: Seat) -> Roll {
        Roll { mirror: MIRROR, drives: DRIVES, serials: Arc::default(), seats: PerSide { a: Seat::Free, b } }
    }

    fn ours() -> Outcome {
        Outcome::Ours { side: Side::B, identity: STICK }
    }

    fn place() -> &'static Path {
        Path::new("/mnt/b")
    }

    #[test]
    fn a_drive_is_known_by_its_id_alone() {
        assert_eq!(roll(Seat::Free).judge(&label(DRIVES.b), STICK), Judgement::Take(Side::B));
        assert_eq!(roll(Seat::Free).judge(&label(DRIVES.a), STICK), Judgement::Take(Side::A));
    }

    #[test]
    fn foreign_and_retired_drives_are_refused() {
        let foreign = Label { mirror: MirrorId([2; 16]), ..label(DRIVES.b) };
        assert!(matches!(roll(Seat::Free).judge(&foreign, STICK), Judgement::Refuse(RefusedLabel::OtherMirror { .. })));
        assert!(matches!(
            roll(Seat::Free).judge(&label(DriveId([9; 16])), STICK),
            Judgement::Refuse(RefusedLabel::NotEnrolled { .. })
        ));
    }

    #[test]
    fn the_present_drive_seen_through_another_mount_is_no_news_and_a_copy_is_refused() {
        let elsewhere = Identity { mount: Some(MountId(70)), ..STICK };
        assert_eq!(roll(Seat::Taken(STICK)).judge(&label(DRIVES.b), elsewhere), Judgement::Ignore);
        let copy = Identity { dev: 1794, ..STICK };
        assert_eq!(
            roll(Seat::Taken(STICK)).judge(&label(DRIVES.b), copy),
            Judgement::Refuse(RefusedLabel::Copy { side: Side::B })
        );
    }

    #[test]
    fn a_drive_that_failed_is_held_off_unless_it_was_mounted_again() {
        let mut attendance = Attendance::default();
        let now = clock::now();
        assert_eq!(attendance.looked(place(), ours()), News::Arrived { side: Side::B, visit: Visit(1) });
        assert!(attendance.is_seated_at(place()));
        assert!(attendance.leave(Side::B, Visit(1), Leave::Failed, now));

        let seats = attendance.seats(now);
        assert_eq!(seats.b, Seat::HeldOff(STICK));
        assert_eq!(Roll { seats, ..roll(Seat::Free) }.judge(&label(DRIVES.b), STICK), Judgement::Ignore);
        let again = Identity { mount: Some(MountId(65)), ..STICK };
        assert_eq!(Roll { seats, ..roll(Seat::Free) }.judge(&label(DRIVES.b), again), Judgement::Take(Side::B));
        assert_eq!(attendance.seats(now + HOLD_OFF).b, Seat::Free);
        attendance.release_unmounted(&MountTable::default());
        assert_eq!(attendance.seats(now).b, Seat::Free);
    }

    #[test]
    fn a_drive_taken_away_in_good_order_may_come_back_at_once() {
        let mut attendance = Attendance::default();
        let now = clock::now();
        attendance.looked(place(), ours());
        assert!(attendance.leave(Side::B, Visit(1), Leave::Gone, now));
        assert_eq!(attendance.seats(now).b, Seat::Free);
        assert_eq!(attendance.looked(place(), ours()), News::Arrived { side: Side::B, visit: Visit(2) });
    }

    #[test]
    fn a_parked_drive_is_left_alone_in_whatever_mount_until_it_is_unparked() {
        let mut attendance = Attendance::default();
        let now = clock::now();
        attendance.looked(place(), ours());
        assert!(attendance.leave(Side::B, Visit(1), Leave::Failed, now));
        assert!(attendance.set_parked(PerSide { a: Parking::No, b: Parking::Yes }));
        assert!(!attendance.set_parked(PerSide { a: Parking::No, b: Parking::Yes }));
        let again = Identity { mount: Some(MountId(65)), ..STICK };
        let judge = |seats| Roll { seats, ..roll(Seat::Free) }.judge(&label(DRIVES.b), again);
        assert_eq!(judge(attendance.seats(now)), Judgement::LeaveAlone);
        assert_eq!(judge(attendance.seats(now + HOLD_OFF)), Judgement::LeaveAlone);
        assert!(attendance.set_parked(PerSide::default()));
        assert_eq!(attendance.seats(now).b, Seat::Free);
    }

    #[test]
    fn an_ejected_drive_is_left_alone_until_it_is_mounted_anew_or_forgiven() {
        let now = clock::now();
        let judge = |seats, found| Roll { seats, ..roll(Seat::Free) }.judge(&label(DRIVES.b), found);
        let eject = || {
            let mut attendance = Attendance::default();
            attendance.looked(place(), ours());
            assert!(attendance.leave(Side::B, Visit(1), Leave::Ejected, now));
            assert_eq!(judge(attendance.seats(now + HOLD_OFF), STICK), Judgement::LeaveAlone);
            attendance
        };
        let anew = Identity { mount: Some(MountId(65)), ..STICK };

        let mut unmounted = eject();
        assert_eq!(judge(unmounted.seats(now), anew), Judgement::LeaveAlone, "another view of the same");
        unmounted.release_unmounted(&MountTable::default());
        assert_eq!(judge(unmounted.seats(now), anew), Judgement::Take(Side::B));

        let mut taken = eject();
        taken.looked(place(), Outcome::Nothing);
        assert_eq!(judge(taken.seats(now), STICK), Judgement::Take(Side::B));

        let mut forgiven = eject();
        assert!(!forgiven.leave(Side::B, Visit(1), Leave::Forgiven, now));
        assert_eq!(judge(forgiven.seats(now), STICK), Judgement::Take(Side::B));
    }

    #[test]
    fn news_of_an_earlier_visit_do_not_end_the_present_one() {
        let mut attendance = Attendance::default();
        let now = clock::now();
        attendance.looked(place(), ours());
        attendance.leave(Side::B, Visit(1), Leave::Gone, now);
        attendance.looked(place(), ours());
        assert!(!attendance.leave(Side::B, Visit(1), Leave::Failed, now));
        assert_eq!(attendance.seats(now).b, Seat::Taken(STICK));
    }

    #[test]
    fn a_drive_found_twice_arrives_once() {
        let mut attendance = Attendance::default();
        attendance.looked(place(), ours());
        assert_eq!(attendance.looked(Path::new("/media/b"), ours()), News::None);
    }

    #[test]
    fn a_refusal_is_told_once_until_what_is_there_changes() {
        let mut attendance = Attendance::default();
        let damaged = || Outcome::Refused(RefusedLabel::Damaged);
        assert_eq!(attendance.looked(place(), damaged()), News::Refused(RefusedLabel::Damaged));
        assert_eq!(attendance.looked(place(), damaged()), News::None);
        assert_eq!(attendance.looked(place(), Outcome::Unchanged), News::None);
        assert_eq!(attendance.looked(place(), damaged()), News::None);
        let newer = RefusedLabel::NewerFormat { found: 2 };
        assert_eq!(attendance.looked(place(), Outcome::Refused(newer.clone())), News::Refused(newer));
        assert_eq!(attendance.looked(place(), Outcome::Nothing), News::Cleared);
        assert_eq!(attendance.looked(place(), Outcome::Nothing), News::None);
        assert_eq!(attendance.looked(place(), damaged()), News::Refused(RefusedLabel::Damaged));
    }

    #[test]
    fn a_pull_is_seen_in_the_mount_table_alone() {
        let before = MountTable::parse(include_bytes!("../../tests/fixtures/mountinfo/before-pull"));
        let after = MountTable::parse(include_bytes!("../../tests/fixtures/mountinfo/after-pull"));
        let mut attendance = Attendance::default();
        attendance.looked(place(), ours());
        assert_eq!(attendance.unmounted(&before), []);
        assert_eq!(attendance.unmounted(&after), [(Side::B, Visit(1))]);
    }
}
