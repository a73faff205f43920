//! What status says in words: what happened, and what to do about it.

use std::path::Path;
use std::time::Instant;

use crate::ids::Side;
use crate::journal::{FillCause, ScrubAmount, ScrubProgress};
use crate::mirror::lane::{Stay, Work};
use crate::mirror::os_volume::Unmounted;
use crate::mirror::reconcile::hints::Unwatched;
use crate::mirror::scan::Scan;
use crate::mirror::seat::Ejection;
use crate::mirror::state::DriveState;
use crate::mirror::status::ScanKind;
use crate::mirror::status::{DriveStatus, Notice, Unavailable};
use crate::path::{Name, RelPath};
use crate::units::{bytes, count, seconds};

/// A drive that stays away for longer may be dead: the advice then names what takes its place.
const LONG_SECONDS: u64 = 3600;

/// Whether the other drive goes on without this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alone {
    OtherGoesOn,
    NoneLeft,
}

impl Alone {
    pub(crate) fn of(other_goes_on: bool) -> Self {
        if other_goes_on { Self::OtherGoesOn } else { Self::NoneLeft }
    }
}

/// What is to be said of a drive; nothing where it is in sync.
pub(crate) fn notice(drive: &DriveStatus, alone: Alone) -> Option<Notice> {
    let name = drive.side;
    let because = drive.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let missed = if drive.behind.paths == 0 {
        String::new()
    } else {
        format!(" ({}, {})", count(drive.behind.paths, "path"), bytes(drive.behind.bytes))
    };
    match drive.state {
        DriveState::InSync => None,
        DriveState::Absent => Some(absent(drive, &because, alone)),
        DriveState::Verifying => Some(Notice::new(
            format!("drive {name} came, and what it has is being verified"),
            "nothing: it ends by itself",
        )),
        DriveState::Replaying => Some(Notice::new(
            format!("drive {name} is being brought up to date{missed}"),
            format!("nothing: it ends by itself; leave drive {} in meanwhile", name.other()),
        )),
        DriveState::Backfilling => Some(backfilling(drive, &missed)),
        DriveState::Full => Some(Notice::new(
            format!("drive {name} has no room for what it lacks{missed}; it is read from, and stays behind"),
            format!(
                "remove what is not needed with 'fget rm'; or take drive {name} out and put a larger stick in its \
                 place: 'twinstickd replace --drive {name}=PATH'"
            ),
        )),
        DriveState::Faulted => Some(Notice::new(
            format!("drive {name} is not used{because}"),
            format!("unplug drive {name} and plug it in again when the reason is gone; twinstickd's log says more"),
        )),
        DriveState::Fenced => Some(fenced(drive, &because, alone)),
        DriveState::Parked => Some(Notice::new(
            format!("drive {name} is parked and left alone{because}"),
            drive.advice.clone().unwrap_or_else(|| format!(
                "look at drive {name}'s plug, cable, port and power supply; it is taken up again by itself then, or at \
                 once with 'twinstickd unpark {name}'; if it does not stay, 'twinstickd replace --drive {name}=PATH' \
                 puts another stick in its place"
            )),
        )),
    }
}

/// What to do about a drive that was ejected.
pub(crate) fn after_eject(side: Side, path: Option<&Path>, ejection: &Ejection) -> String {
    let back = format!("it is taken up again when it is mounted anew, or at once with 'twinstickd unpark {side}'");
    match ejection {
        Ejection::UnderWay { .. } => format!("wait a moment before you pull drive {side}"),
        Ejection::Over { unmounted: Unmounted::Done | Unmounted::Nothing, .. } => format!("pull drive {side}; {back}"),
        Ejection::Over { unmounted: Unmounted::Refused(_), .. } => {
            let place = path.map_or_else(String::new, |path| format!(" with 'sudo umount {}'", path.display()));
            format!("unmount drive {side}{place} before you pull it; {back}")
        }
    }
}

fn absent(drive: &DriveStatus, because: &str, alone: Alone) -> Notice {
    let name = drive.side;
    let goes_on = match alone {
        Alone::OtherGoesOn => format!("; drive {} goes on alone", name.other()),
        Alone::NoneLeft => String::new(),
    };
    let replace = format!("'twinstickd replace --drive {name}=PATH'");
    match drive.scan.map(|scan| scan.kind) {
        Some(ScanKind::Backfill(FillCause::Replaced)) => Notice::new(
            format!("drive {name} was replaced, and the stick in its place is not there{because}{goes_on}"),
            format!("plug in and mount the new drive {name}; it is filled by itself"),
        ),
        Some(ScanKind::Backfill(FillCause::Outgrown)) => Notice::new(
            format!(
                "drive {name} is not there{because}{goes_on}; it has missed more changes than the journal keeps, and \
                 will be backfilled"
            ),
            format!("plug in and mount drive {name}; it catches up by itself. If it is dead: {replace}"),
        ),
        Some(ScanKind::Replay) | None => {
            let what = if because.is_empty() {
                format!("drive {name} has not been there since twinstickd started{goes_on}")
            } else {
                format!("drive {name} is not there{because}{goes_on}")
            };
            let plug = format!("plug in and mount drive {name}; it catches up by itself");
            let long = drive.since.seconds >= LONG_SECONDS;
            Notice::new(what, if long { format!("{plug}. If it is dead: {replace}") } else { plug })
        }
    }
}

fn fenced(drive: &DriveStatus, because: &str, alone: Alone) -> Notice {
    let name = drive.side;
    let goes_on = match alone {
        Alone::OtherGoesOn => format!("; drive {} goes on alone", name.other()),
        Alone::NoneLeft => String::new(),
    };
    Notice::new(
        format!("drive {name} is fenced off{because}{goes_on}"),
        format!(
            "it is verified and taken up again by itself once it answers; if it does not, unplug drive {name}, plug it \
             in again and mount it"
        ),
    )
}

fn backfilling(drive: &DriveStatus, missed: &str) -> Notice {
    let name = drive.side;
    let why = match drive.scan.map(|scan| scan.kind) {
        Some(ScanKind::Backfill(FillCause::Replaced)) => "is new, and is being filled",
        Some(ScanKind::Backfill(FillCause::Outgrown)) => {
            "was away for more changes than the journal keeps, and is being backfilled"
        }
        Some(ScanKind::Replay) | None => "is being backfilled",
    };
    Notice::new(
        format!("drive {name} {why}{missed}"),
        format!("nothing: it ends by itself; leave drive {} in, it alone has everything", name.other()),
    )
}

pub(crate) fn outdated(why: &str) -> Notice {
    Notice::new(
        format!("nothing is served: {why}"),
        "stop twinstickd and put back the newer state directory; leave the sticks as they are: they have all files",
    )
}

pub(crate) fn journal_closed() -> Notice {
    Notice::new(
        "the journal cannot be written: reads go on, nothing new is acknowledged",
        "make room on the boot disk ('df' shows it); it is tried again twice a second. Where there is room, \
         twinstickd's log says what fails",
    )
}

pub(crate) fn unavailable(unavailable: &Unavailable) -> Notice {
    let Unavailable { holder, count: number, at_least, paths } = unavailable;
    let more = if *at_least { " or more" } else { "" };
    let example = paths.first().map(|path| format!(", such as {path}")).unwrap_or_default();
    let notice = Notice::new(
        format!("{}{more} cannot be had: only drive {holder} has the current version{example}", count(*number, "file")),
        format!("plug in and mount drive {holder}"),
    );
    Notice { drive: Some(*holder), ..notice }
}

/// Where a node belongs that cannot be installed.
pub(crate) enum Staying {
    At(RelPath),
    /// As the trash names it: an old version, or a file that was removed.
    InTrash(Name),
    /// It was removed meanwhile.
    Gone,
}

/// What keeps a path from being installed, if it does not end by itself.
pub(crate) fn stay(side: Side, node: &Staying, stay: &Stay) -> Option<Notice> {
    let (what, action) = match node {
        Staying::At(path) => (path.to_string(), format!("put it again, or 'fget rm {path}'")),
        Staying::InTrash(name) => {
            // Behind the number of what threw it away.
            let name = name.as_str().split_once('-').map_or(name.as_str(), |(_, name)| name);
            (format!("{name} in the trash"), "it goes with the trash, in its time or by 'fget trash empty'".to_owned())
        }
        Staying::Gone => ("a path that was removed".to_owned(), String::new()),
    };
    let notice = match stay {
        Stay::WaitsFor(_) | Stay::HoldsName | Stay::NoRoom => return None,
        // Of what was removed nobody wants the bytes.
        Stay::Lost | Stay::Damaged(_) if matches!(node, Staying::Gone) => return None,
        Stay::Lost => Notice::new(format!("no drive has a copy of {what}"), action),
        Stay::Damaged(holder) => Notice::new(
            format!("the only copy of {what}, on drive {holder}, is damaged"),
            format!("{action}; the damaged copy stays where it is till then"),
        ),
        Stay::Refused(why) => Notice::new(
            format!("drive {side} does not take {what}: {why}"),
            "it is tried again every few seconds; if it stays, look at the drive",
        ),
    };
    Some(Notice { drive: Some(side), ..notice })
}

/// A change of state as an event; nothing where it is told otherwise, or is none for people.
pub(crate) fn told(
    from: DriveState,
    to: DriveState,
    reason: Option<&str>,
    scan: Option<&Scan>,
    now: Instant,
) -> Option<String> {
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    match (to, from) {
        (DriveState::Absent, DriveState::Verifying) => Some(format!("came, and was not taken up{reason}")),
        (DriveState::Absent, DriveState::Faulted | DriveState::Parked) => Some(format!("left{reason}")),
        (
            DriveState::Absent,
            DriveState::Absent
            | DriveState::Replaying
            | DriveState::Backfilling
            | DriveState::InSync
            | DriveState::Full,
        ) => Some(format!("lost{reason}")),
        (DriveState::Absent, DriveState::Fenced) => Some("all calls on it have returned".to_owned()),
        (DriveState::Fenced, _) => Some(format!("fenced off{reason}")),
        (DriveState::Faulted, _) => Some(format!("not used{reason}")),
        (DriveState::Parked, _) => Some(format!("parked{reason}")),
        (DriveState::Full, _) => Some("has no room for what it lacks".to_owned()),
        (DriveState::Replaying | DriveState::Backfilling, DriveState::Full) => {
            Some("has room again, and goes on".to_owned())
        }
        (DriveState::InSync, _) => scan.map(|scan| ended(scan, now)),
        // Arrivals are told when it is known what they bring.
        (DriveState::Verifying | DriveState::Replaying | DriveState::Backfilling, _) => None,
    }
}

fn ended(scan: &Scan, now: Instant) -> String {
    let work = scan.work();
    if work.paths == 0 {
        return "in sync: it had missed nothing".to_owned();
    }
    format!("{} done in {}: {}", kind(scan.kind()), seconds(scan.lasted(now).as_secs()), figures(&work))
}

/// A drive that was taken up.
pub(crate) fn arrival(path: Option<&Path>, scan: &Scan, now: Instant) -> String {
    let place = path.map(|path| format!(" at {}", path.display())).unwrap_or_default();
    let figures = scan.figures(now);
    let (paths, left) = (figures.total.paths - figures.done.paths, figures.total.bytes - figures.done.bytes);
    if paths == 0 {
        return format!("arrived{place}");
    }
    format!("arrived{place}: {} of {}, {} begins", kind(scan.kind()), count(paths, "path"), bytes(left))
}

pub(crate) fn scrub_begins(left: ScrubAmount) -> String {
    format!("scrub begins: {}, {}", count(left.files, "file"), bytes(left.bytes))
}

pub(crate) fn scrub_ended(progress: &ScrubProgress) -> String {
    let done = format!("scrub done in {}", seconds(progress.seconds));
    let (files, right) = (count(progress.done.files, "file"), bytes(progress.done.bytes));
    match progress.damaged {
        0 => format!("{done}: all is right ({files}, {right})"),
        damaged => {
            format!("{done}: {damaged} of {files} damaged, {} repaired by now ({right} were right)", progress.repaired)
        }
    }
}

/// A copy that a scrub found damaged, and that nothing can be made whole from.
pub(crate) fn beyond_repair(side: Side, number: u64, path: &RelPath) -> Notice {
    let others = if number > 1 { format!(" and {} more", number - 1) } else { String::new() };
    let notice = Notice::new(
        format!("scrub: the copy of {path}{others} on drive {side} is damaged, and no other is on record"),
        format!("put it again, or 'fget rm {path}'; the damaged copy stays where it is"),
    );
    Notice { drive: Some(side), ..notice }
}

/// What others put on a drive, and there is no room to take in.
pub(crate) fn left_out(side: Side, what: &str, number: u64) -> Notice {
    let others = if number > 1 { format!(" and {} more", number - 1) } else { String::new() };
    let notice = Notice::new(
        format!(
            "{what}{others}, which others put on drive {side}, is on that drive alone: there is no room to take it in"
        ),
        "remove what is not needed, or put in a larger stick; it is taken in by itself then",
    );
    Notice { drive: Some(side), ..notice }
}

/// Not all that others change on a drive is noticed at once.
pub(crate) fn unwatched(side: Side, why: Unwatched) -> Notice {
    let when = "a scrub finds them ('fget scrub'), and the drive's next arrival";
    let (because, action) = match why {
        Unwatched::TooMany => ("it has more folders than are watched", when.to_owned()),
        Unwatched::NoWatches => (
            "the system gives no more watches",
            format!("raise fs.inotify.max_user_watches with sysctl; until then {when}"),
        ),
        Unwatched::NoEvents => (
            "the system gives no file system events",
            format!("raise fs.inotify.max_user_instances with sysctl; until then {when}"),
        ),
    };
    let what = format!("what others change on drive {side} is not noticed at once in all its folders: {because}");
    Notice { drive: Some(side), ..Notice::new(what, action) }
}

fn kind(kind: ScanKind) -> &'static str {
    match kind {
        ScanKind::Replay => "replay",
        ScanKind::Backfill(FillCause::Replaced | FillCause::Outgrown) => "backfill",
    }
}

fn figures(work: &Work) -> String {
    let mut parts = vec![format!("{} copied ({})", count(work.copied_files, "file"), bytes(work.copied_bytes))];
    let others = [
        (work.moved, format!("{} moved", work.moved)),
        (work.removed, format!("{} removed", work.removed)),
        (work.made_folders, format!("{} made", count(work.made_folders, "folder"))),
        (work.unchanged, format!("{} already right", work.unchanged)),
    ];
    parts.extend(others.into_iter().filter(|(number, _)| *number > 0).map(|(_, text)| text));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::DriveId;
    use crate::mirror::status::{Behind, DriveErrors, ScanStatus, Since};

    fn drive(state: DriveState) -> DriveStatus {
        DriveStatus {
            side: Side::B,
            id: DriveId([7; 16]),
            state,
            reason: Some("it was unmounted".to_owned()),
            advice: None,
            since: Since { wall_ns: 0, seconds: 5 },
            path: None,
            used: 0,
            size: 0,
            behind: Behind { paths: 3, bytes: 2048 },
            waiting: Vec::new(),
            waiting_count: 0,
            lost: 0,
            errors: DriveErrors::default(),
            repaired: 0,
            replay: None,
            scan: None,
            scrub: None,
            aside: crate::mirror::status::AsideStatus::default(),
            search: None,
        }
    }

    fn scan(kind: ScanKind) -> ScanStatus {
        let (paths_total, bytes_total) = (3, 2048);
        ScanStatus {
            kind,
            running: false,
            began_ns: 0,
            seconds: 0,
            paths_total,
            paths_done: 0,
            bytes_total,
            bytes_done: 0,
            bytes_per_second: 0,
            seconds_left: None,
            still_seconds: None,
        }
    }

    #[test]
    fn every_state_but_in_sync_says_what_happened_and_what_to_do() {
        for state in DriveState::ALL {
            let notice = notice(&drive(state), Alone::OtherGoesOn);
            assert_eq!(notice.is_none(), state == DriveState::InSync, "{state}");
            if let Some(notice) = notice {
                assert!(notice.what.contains("drive b") && !notice.action.is_empty(), "{notice:?}");
            }
        }
    }

    #[test]
    fn an_absent_drive_is_waited_for_and_after_long_its_replacement_is_named() {
        let mut away = drive(DriveState::Absent);
        let short = notice(&away, Alone::OtherGoesOn).unwrap();
        assert_eq!(short.what, "drive b is not there: it was unmounted; drive a goes on alone");
        assert_eq!(short.action, "plug in and mount drive b; it catches up by itself");
        away.since.seconds = 2 * LONG_SECONDS;
        assert!(notice(&away, Alone::NoneLeft).unwrap().action.ends_with("'twinstickd replace --drive b=PATH'"));
        away.scan = Some(scan(ScanKind::Backfill(FillCause::Replaced)));
        assert!(notice(&away, Alone::NoneLeft).unwrap().what.contains("was replaced"));
        away.scan = Some(scan(ScanKind::Backfill(FillCause::Outgrown)));
        assert!(notice(&away, Alone::NoneLeft).unwrap().what.contains("will be backfilled"));
    }

    #[test]
    fn what_a_drive_goes_through_is_told_once_for_each_step() {
        let told = |from, to| told(from, to, Some("why"), None, crate::clock::now());
        assert_eq!(told(DriveState::Absent, DriveState::Verifying), None);
        assert_eq!(told(DriveState::Verifying, DriveState::Absent).unwrap(), "came, and was not taken up: why");
        assert_eq!(told(DriveState::InSync, DriveState::Absent).unwrap(), "lost: why");
        assert_eq!(told(DriveState::Absent, DriveState::Parked).unwrap(), "parked: why");
        assert_eq!(told(DriveState::Full, DriveState::Replaying).unwrap(), "has room again, and goes on");
    }
}
