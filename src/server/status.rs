//! `status`: the mirror as one JSON document.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::accounts::{Access, Right};
use crate::mirror::status::{
    Backing, DriveStatus, Event, FillCause, Foreign, ForeignCounts, ForeignDeed, ForeignRemark, Health, Notice,
    ReplayStatus, ScanKind, ScanStatus, ScrubCause, ScrubState, ScrubStatus, SearchStatus, Since, Status, Unavailable,
};
use crate::path::RelPath;
use crate::server::aside;
use crate::server::connection::Close;
use crate::server::limits::HOST_TIMEOUT;
use crate::server::session::Session;
use crate::wire::{
    Backlog, DriveDocument, EditingDocument, ErrorCounts, EventDocument, ForeignDocument, ForeignItemDocument,
    HealthState, HostDocument, JournalDocument, NoticeDocument, OUTPUT_VERSION, ReplayDocument, ScanDocument,
    ScrubDocument, SearchDocument, StatusDocument, StatusRequest, Time, TotalsDocument, TrashDocument,
    UnavailableDocument, WaitingDocument,
};

/// The machine below the mirror, and what of it is a warning.
#[derive(Clone, Debug)]
pub struct HostReport {
    pub document: HostDocument,
    pub warnings: Vec<NoticeDocument>,
}

/// Asks the machine; told which drives are where. Blocks, and says nothing while it is asked already and has never
/// answered.
pub type HostReporter = Arc<dyn Fn(&[(String, PathBuf)]) -> Option<HostReport> + Send + Sync>;

pub(crate) async fn perform<S>(session: &mut Session<S>, request: StatusRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if request.wait {
        let mirror = Arc::clone(&session.mirror);
        session.connection.while_connected(mirror.wait_in_sync()).await?;
    }
    let mirror = Arc::clone(&session.mirror);
    // It looks into the journal for what is unavailable.
    let document = match tokio::task::spawn_blocking(move || document(mirror.status())).await {
        Ok(document) => document,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    };
    let totals = session.connection.scribe().log().totals();
    let editing = session.edits.desk().editing();
    let document = StatusDocument { totals: Some(totals), editing, ..document };
    let document = match session.connection.guest().access() {
        Ok(access) if access.is_unlimited() => with_host(document, &session.host).await,
        Ok(access) => for_user(document, access),
        Err(fault) => return session.connection.refuse(&fault).await,
    };
    match serde_json::to_vec(&document) {
        Ok(body) => session.connection.answer_body(&body).await,
        Err(error) => Err(Close::Lost(std::io::Error::from(error).into())),
    }
}

/// What a user may know: how the mirror does, and nothing of the files of others.
fn for_user(document: StatusDocument, access: &Access) -> StatusDocument {
    let is_seen = |path: &str| RelPath::parse(path).is_ok_and(|path| access.may(Right::Read, &path));
    let StatusDocument { mut unavailable, mut foreign, mut drives, .. } = document;
    for item in &mut unavailable {
        item.paths.retain(|path| is_seen(path));
        item.count = item.paths.len() as u64;
    }
    unavailable.retain(|item| item.count > 0);
    foreign.last.retain(|item| is_seen(&item.path));
    for drive in &mut drives {
        drive.waiting.retain(|item| is_seen(&item.path));
        drive.waiting_count = drive.waiting.len() as u64;
        drive.aside_newest.clear();
    }
    // Words for people: files are named in them.
    let (notices, events, trash) = (Vec::new(), Vec::new(), TrashDocument::default());
    let totals = document.totals.map(|TotalsDocument { since_start, ever, dropped_lines }| TotalsDocument {
        since_start: since_start.for_user(access.owner()),
        ever: ever.for_user(access.owner()),
        dropped_lines,
    });
    StatusDocument { notices, drives, trash, unavailable, events, foreign, totals, ..document }
}

/// Adds what the machine says. A disk that hangs must not keep a status from being answered.
async fn with_host(document: StatusDocument, host: &HostReporter) -> StatusDocument {
    let place = |drive: &DriveDocument| Some((drive.name.clone(), PathBuf::from(drive.path.as_ref()?)));
    let places: Vec<_> = document.drives.iter().filter_map(place).collect();
    let host = Arc::clone(host);
    match timeout(HOST_TIMEOUT, tokio::task::spawn_blocking(move || host(&places))).await {
        Ok(Ok(Some(report))) => {
            let notices = document.notices.into_iter().chain(report.warnings).collect();
            StatusDocument { host: Some(report.document), notices, ..document }
        }
        Ok(Ok(None)) | Err(_) => document,
        Ok(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// The mirror's status as scripts read it.
pub fn document(status: Status) -> StatusDocument {
    StatusDocument {
        output_version: OUTPUT_VERSION,
        state: match status.health {
            Health::Healthy => HealthState::Healthy,
            Health::Degraded => HealthState::Degraded,
            Health::Unusable => HealthState::Unusable,
        },
        epoch: status.epoch,
        journal: JournalDocument {
            entries: status.journal.entries,
            head_lsn: status.journal.head_lsn,
            writable: status.journal.writable,
        },
        notices: status.notices.into_iter().map(notice).collect(),
        drives: status.drives.into_iter().map(drive).collect(),
        trash: TrashDocument { items: status.trash.items, bytes: status.trash.bytes },
        unavailable: status.unavailable.into_iter().map(unavailable).collect(),
        events: status.events.into_iter().map(event).collect(),
        foreign: foreign(status.foreign),
        totals: None,
        host: None,
        editing: EditingDocument::default(),
    }
}

fn search(search: SearchStatus) -> SearchDocument {
    let SearchStatus { folders, settling, taking_in } = search;
    SearchDocument { folders, settling, taking_in }
}

/// What to do about something that nothing can be restored from.
fn without_copy(backing: Backing, path: &str, kept: &str) -> Option<String> {
    match backing {
        Backing::Other => None,
        Backing::Nothing => Some(format!("no drive has another copy: {kept}put it again, or 'fget rm {path}'")),
    }
}

fn foreign(foreign: Foreign) -> ForeignDocument {
    let Foreign { counts: ForeignCounts { changed, missing, new, kept, refused }, last } = foreign;
    let item = |ForeignRemark { wall_ns, side, path, deed }| {
        let (what, copy, why) = match deed {
            ForeignDeed::Changed(backing) => {
                ("changed", None, without_copy(backing, &path, "what is there now is kept beside it; "))
            }
            ForeignDeed::Missing(backing) => ("missing", None, without_copy(backing, &path, "")),
            ForeignDeed::New => ("new", None, None),
            ForeignDeed::Kept { copy } => ("kept", Some(copy.to_string()), None),
            ForeignDeed::Refused(why) => ("refused", None, Some(why)),
        };
        let (time, drive) = (to_the_second(wall_ns), side.name().to_owned());
        ForeignItemDocument { time, drive, path, what: what.to_owned(), copy, why }
    };
    ForeignDocument { changed, missing, new, kept, refused, last: last.into_iter().map(item).collect() }
}

fn notice(notice: Notice) -> NoticeDocument {
    let Notice { what, action, drive, since } = notice;
    NoticeDocument {
        what,
        action,
        drive: drive.map(|side| side.name().to_owned()),
        since: since.map(|Since { wall_ns, .. }| to_the_second(wall_ns)),
        seconds: since.map(|since| since.seconds),
    }
}

fn event(event: Event) -> EventDocument {
    let Event { wall_ns, drive, what } = event;
    EventDocument { time: to_the_second(wall_ns), drive: drive.map(|side| side.name().to_owned()), what }
}

fn unavailable(unavailable: Unavailable) -> UnavailableDocument {
    let Unavailable { holder, count, at_least, paths } = unavailable;
    UnavailableDocument { holder: holder.name().to_owned(), count, at_least, paths }
}

/// People look at these, and nobody at their nanoseconds.
fn to_the_second(wall_ns: i64) -> Time {
    Time(wall_ns - wall_ns.rem_euclid(1_000_000_000))
}

fn drive(drive: DriveStatus) -> DriveDocument {
    DriveDocument {
        name: drive.side.name().to_owned(),
        id: drive.id.to_string(),
        state: drive.state.name().to_owned(),
        reason: drive.reason,
        since: Some(to_the_second(drive.since.wall_ns)),
        path: drive.path,
        used: drive.used,
        size: drive.size,
        behind: Backlog { paths: drive.behind.paths, bytes: drive.behind.bytes },
        errors: ErrorCounts { read: drive.errors.read, write: drive.errors.write, checksum: drive.errors.checksum },
        repaired: drive.repaired,
        waiting: drive
            .waiting
            .into_iter()
            .map(|waiting| WaitingDocument { path: waiting.path, holder: waiting.holder.name().to_owned() })
            .collect(),
        waiting_count: drive.waiting_count,
        lost: drive.lost,
        replay: drive.replay.map(replay),
        scan: drive.scan.map(scan),
        scrub: drive.scrub.map(scrub),
        aside: drive.aside.items,
        aside_bytes: drive.aside.bytes,
        aside_bytes_max: drive.aside.bytes_max,
        aside_newest: drive.aside.newest.into_iter().map(aside::line).collect(),
        search: drive.search.map(search),
    }
}

fn replay(replay: ReplayStatus) -> ReplayDocument {
    ReplayDocument {
        running: replay.running,
        seconds: replay.seconds,
        paths: replay.paths,
        copied_files: replay.copied_files,
        copied_bytes: replay.copied_bytes,
        moved: replay.moved,
        removed: replay.removed,
        made_folders: replay.made_folders,
        unchanged: replay.unchanged,
    }
}

fn scrub(scrub: ScrubStatus) -> ScrubDocument {
    let state = match scrub.state {
        ScrubState::Running => "running",
        ScrubState::Waiting => "waiting",
        ScrubState::Paused => "paused",
        ScrubState::Done => "done",
    };
    let cause = match scrub.cause {
        ScrubCause::Asked => "asked",
        ScrubCause::Scheduled => "scheduled",
    };
    ScrubDocument {
        state: state.to_owned(),
        cause: cause.to_owned(),
        began: to_the_second(scrub.began_ns),
        ended: scrub.ended_ns.map(to_the_second),
        seconds: scrub.seconds,
        files_total: scrub.files_total,
        files_done: scrub.files_done,
        bytes_total: scrub.bytes_total,
        bytes_done: scrub.bytes_done,
        bytes_per_second: scrub.bytes_per_second,
        seconds_left: scrub.seconds_left,
        damaged: scrub.damaged,
        repaired: scrub.repaired,
        repaired_bytes: scrub.repaired_bytes,
    }
}

fn scan(scan: ScanStatus) -> ScanDocument {
    let (kind, cause) = match scan.kind {
        ScanKind::Replay => ("replay", "away"),
        ScanKind::Backfill(FillCause::Replaced) => ("backfill", "replaced"),
        ScanKind::Backfill(FillCause::Outgrown) => ("backfill", "outgrown"),
    };
    ScanDocument {
        kind: kind.to_owned(),
        cause: cause.to_owned(),
        running: scan.running,
        began: to_the_second(scan.began_ns),
        seconds: scan.seconds,
        paths_total: scan.paths_total,
        paths_done: scan.paths_done,
        bytes_total: scan.bytes_total,
        bytes_done: scan.bytes_done,
        bytes_per_second: scan.bytes_per_second,
        seconds_left: scan.seconds_left,
        still_seconds: scan.still_seconds,
    }
}
