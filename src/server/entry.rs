//! What the audit log will say of a request, gathered while it is under way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::accounts::UserName;
use crate::audit::AuditLog;
use crate::clock;
use crate::ids::Lsn;
use crate::server::connection::Close;
use crate::server::door::Guest;
use crate::server::place;
use crate::wire::{AuditLine, ErrorName, Fault, LogRequest, Op, Request, RequestError, ScrubAction, Time};

/// Characters of a message, or of what is no path, that are kept.
const TEXT_CHARS_MAX: usize = 200;

/// One connection's way to the log.
pub(crate) struct Scribe {
    log: Arc<AuditLog>,
    peer: SocketAddr,
    noted: Noted,
    /// The request that is under way.
    entry: Option<Entry>,
}

/// What became known of a request since it began.
#[derive(Default)]
struct Noted {
    bytes: u64,
    lsn: Option<Lsn>,
    drives: Vec<String>,
    fault: Option<(ErrorName, String)>,
}

/// A request that has begun.
struct Entry {
    line: AuditLine,
    began: Instant,
}

impl Scribe {
    pub(crate) fn new(log: Arc<AuditLog>, peer: SocketAddr) -> Self {
        Self { log, peer, noted: Noted::default(), entry: None }
    }

    pub(crate) fn log(&self) -> &Arc<AuditLog> {
        &self.log
    }

    /// Bytes of the body came, or were sent.
    pub(crate) fn note_bytes(&mut self, bytes: usize) {
        self.noted.bytes += bytes as u64;
    }

    /// The change that was made, or the version that is given.
    pub(crate) fn note_version(&mut self, lsn: Lsn) {
        self.noted.lsn = Some(lsn);
    }

    pub(crate) fn note_drives(&mut self, drives: &[String]) {
        self.noted.drives = drives.to_vec();
    }

    /// A drive that something came from.
    pub(crate) fn note_drive(&mut self, drive: &str) {
        let drives = &mut self.noted.drives;
        if !drives.iter().any(|noted| noted == drive) {
            drives.push(drive.to_owned());
            drives.sort_unstable();
        }
    }

    /// What is said to the client. The first word of a refusal is its reason.
    pub(crate) fn note_fault(&mut self, fault: &Fault) {
        self.noted.fault.get_or_insert_with(|| (fault.error.clone(), clipped(&fault.message)));
    }

    /// Begins a request.
    pub(crate) fn begin(&mut self, request: &Request, guest: &Guest, now: Instant) {
        self.noted = Noted::default();
        let named = |path: &str| place::named(guest.home(), path).unwrap_or_else(|text| clipped(&text));
        let asked = Asked::of(request);
        let line = AuditLine {
            path: asked.path.map(named),
            to: asked.to.map(named),
            detail: asked.detail.filter(|detail| !detail.is_empty()),
            ..self.line(guest, asked.command)
        };
        self.entry = Some(Entry { line, began: now });
    }

    /// Ends it.
    pub(crate) fn end(&mut self, outcome: &Result<(), Close>, now: Instant) {
        let fault = self.noted.fault.take();
        let (outcome, message) = match (outcome, fault) {
            // Whatever was said then did not arrive.
            (Err(Close::ClientLeft), _) => ("client-left".to_owned(), None),
            (Err(Close::CutOff), _) => ("cut-off".to_owned(), None),
            (Err(Close::Lost(error)), _) => ("lost".to_owned(), Some(clipped(&error.to_string()))),
            (_, Some((name, message))) => (name.to_string(), Some(message)),
            (Err(Close::Refused(fault)), None) => (fault.error.to_string(), Some(clipped(&fault.message))),
            (Ok(()), None) => (crate::wire::OK.to_owned(), None),
        };
        self.record(outcome, message, now);
    }

    fn record(&mut self, outcome: String, message: Option<String>, now: Instant) {
        let Some(entry) = self.entry.take() else { return };
        let Noted { bytes, lsn, drives, fault: _ } = std::mem::take(&mut self.noted);
        let microseconds = microseconds(now.saturating_duration_since(entry.began));
        self.log.record(AuditLine { bytes, lsn, drives, microseconds, outcome, message, ..entry.line });
    }

    /// A line that did not become a request.
    pub(crate) fn refused(&self, command: &str, fault: &Fault, guest: &Guest) {
        let line = self.line(guest, command);
        let (outcome, message) = (fault.error.to_string(), Some(clipped(&fault.message)));
        self.log.record(AuditLine { outcome, message, ..line });
    }

    fn line(&self, guest: &Guest, command: &str) -> AuditLine {
        AuditLine {
            time: Time(clock::wall_ns()),
            user: Some(guest.name()).filter(|name| !name.is_empty()),
            address: self.peer.to_string(),
            command: command.to_owned(),
            ..AuditLine::default()
        }
    }
}

/// A session that is ended from outside, or by a defect, leaves its line too.
impl Drop for Scribe {
    fn drop(&mut self) {
        let (outcome, message) = if std::thread::panicking() {
            ("lost", Some("a defect of twinstickd's ended the session: see its log".to_owned()))
        } else {
            ("cut-off", None)
        };
        self.record(outcome.to_owned(), message, clock::now());
    }
}

/// What the log calls a line that is no request.
pub(crate) fn command_of(error: &RequestError) -> &'static str {
    match error {
        RequestError::UnsupportedVersion(_) => "hello",
        RequestError::Missing { op, .. } | RequestError::TwoLengths { op } => op,
        RequestError::TwoConditions => Op::Put.as_str(),
        RequestError::NotJson(_) | RequestError::Nothing | RequestError::BadId(_) | RequestError::UnknownOp(_) => {
            "unknown"
        }
    }
}

/// A request as the log names it.
struct Asked<'a> {
    command: &'static str,
    path: Option<&'a str>,
    to: Option<&'a str>,
    detail: Option<String>,
}

impl<'a> Asked<'a> {
    fn new(op: Op) -> Self {
        Self { command: op.as_str(), path: None, to: None, detail: None }
    }

    fn at(op: Op, path: &'a str) -> Self {
        Self { path: Some(path), ..Self::new(op) }
    }

    fn with(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    fn of(request: &'a Request) -> Self {
        let recursive = |recursive: bool| if recursive { "recursive" } else { "" };
        let wait = |wait: bool| if wait { "wait" } else { "" };
        match request {
            Request::Hello(_) => Self { command: "hello", path: None, to: None, detail: None },
            Request::Get(get) => Self::at(Op::Get, &get.path),
            Request::Put(put) => Self::at(Op::Put, &put.path),
            Request::Rm(rm) => Self::at(Op::Rm, &rm.path).with(recursive(rm.recursive)),
            Request::Info { path } => Self::at(Op::Info, path),
            Request::Ls(ls) => Self::at(Op::Ls, &ls.path).with(recursive(ls.recursive)),
            Request::Mkdir(mkdir) => Self::at(Op::Mkdir, &mkdir.path),
            Request::Mv(mv) => Self { to: Some(&mv.to), ..Self::at(Op::Mv, &mv.path) },
            Request::Undo(undo) => Self::at(Op::Undo, &undo.path),
            Request::Trash { path } => Self::at(Op::Trash, path),
            Request::EmptyTrash => Self::new(Op::EmptyTrash),
            Request::Status(status) => Self::new(Op::Status).with(wait(status.wait)),
            Request::Eject(eject) => Self::new(Op::Eject).with(clipped(&eject.drive)),
            Request::Scrub(ScrubAction::Start) => Self::new(Op::Scrub).with("start"),
            Request::Scrub(ScrubAction::Pause) => Self::new(Op::Scrub).with("pause"),
            Request::Verify(verify) => Self::new(Op::Verify).with(if verify.quick { "quick" } else { "" }),
            Request::Aside => Self::new(Op::Aside),
            Request::Drop(drop) => Self::new(Op::Drop).with(clipped(&format!("{}:{}", drop.drive, drop.item))),
            Request::Share(share) => Self::at(Op::Share, &share.path).with(format!(
                "{} {}",
                if share.write { "write" } else { "read" },
                clipped(&share.user)
            )),
            Request::Unshare(share) => Self::at(Op::Unshare, &share.path).with(clipped(&share.user)),
            Request::Shares => Self::new(Op::Shares),
            Request::Account(change) => Self::new(Op::Account).with(change.summary()),
            Request::Accounts => Self::new(Op::Accounts),
            Request::Usage { user } => Self::new(Op::Usage).with(clipped(user.as_deref().unwrap_or_default())),
            Request::Edit(edit) => Self::at(Op::Edit, &edit.path).with(format!("sentence {}", edit.sentence)),
            Request::Renew(lease) => Self::at(Op::Renew, &lease.path).with(format!("lease {}", lease.lease)),
            Request::Commit(commit) => Self::at(Op::Commit, &commit.path).with(format!("lease {}", commit.lease)),
            Request::Release(lease) => Self::at(Op::Release, &lease.path).with(format!("lease {}", lease.lease)),
            Request::Append(append) => Self::at(Op::Append, &append.path),
            Request::Log(log) => Self::new(Op::Log).with(choice(log)),
            Request::Login(login) => Self::new(Op::Login).with(user(Some(&login.user))),
            Request::Passwd(passwd) => {
                let what = if passwd.password.is_some() { "set" } else { "remove" };
                Self::new(Op::Passwd).with(format!("{what} {}", user(passwd.user.as_deref())).trim().to_owned())
            }
        }
    }
}

/// Which lines somebody read. Not as a path: what is about that are its files' requests.
fn choice(log: &LogRequest) -> String {
    let follow = log.follow.then(|| "follow".to_owned());
    let user = log.user.as_ref().map(|user| format!("user {user}"));
    let path = log.path.as_ref().map(|path| format!("path {path}"));
    clipped(&[follow, user, path].into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// A name that can be a user's. What is none may be a password, in the wrong place.
fn user(name: Option<&str>) -> String {
    name.filter(|name| name.parse::<UserName>().is_ok()).unwrap_or_default().to_owned()
}

fn clipped(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

pub(crate) fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use std::net::IpAddr;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::PathBuf;

    use tokio::sync::watch;

    use super::*;
    use crate::audit::AuditLimits;
    use crate::server::door::{Changer, Directory, Roll};
    use crate::wire::Totals;

    #[test]
    fn a_session_that_is_ended_from_outside_leaves_its_line() {
        let log = Arc::new(AuditLog::new(Totals::default(), AuditLimits::default(), PathBuf::new()));
        let changer: Changer = Arc::new(|_| Box::pin(async { Ok(None) }));
        let roll = watch::Sender::new(Roll::Open).subscribe();
        let directory = Arc::new(Directory::new(roll, changer, Arc::default()));
        let guest = Guest::new(&directory, IpAddr::from([10, 0, 0, 1]));
        let scribe = || Scribe::new(Arc::clone(&log), SocketAddr::from(([10, 0, 0, 1], 1)));
        let begin = || {
            let mut scribe = scribe();
            scribe.begin(&Request::Info { path: "f".to_owned() }, &guest, clock::now());
            scribe
        };
        let counts = || {
            let totals = log.totals().since_start;
            (totals.all.requests, totals.all.failed)
        };
        drop(scribe());
        assert_eq!(counts(), (0, 0), "nothing was under way");
        let mut ended = begin();
        ended.end(&Ok(()), clock::now());
        drop(ended);
        assert_eq!(counts(), (1, 0), "one line, not two");
        drop(begin());
        assert_eq!(counts(), (2, 1));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _scribe = begin();
            panic!("a defect");
        }));
        assert!(panicked.is_err());
        assert_eq!(counts(), (3, 2));
    }
}
