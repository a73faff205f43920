//! `log`: the audit log's lines, for admins; with `follow` also those that come.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::audit::{Filter, Piece, Reader};
use crate::clock;
use crate::digest::Crc32;
use crate::path::RelPath;
use crate::server::connection::{Close, STOPPING};
use crate::server::door::Guest;
use crate::server::place;
use crate::server::session::Session;
use crate::wire::{ErrorName, Fault, LogRequest, Missing, MissingLines, Time, Trailer, VerifyAnswer, line_of};

/// How long a reader waits for the lines of what was done just before.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(2);
/// How often an empty line tells a follower that the server is there.
const BEAT_EVERY: Duration = Duration::from_secs(20);

pub(crate) async fn perform<S>(session: &mut Session<S>, request: LogRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let filter = match filter(session.connection.guest(), &request) {
        Ok(filter) => filter,
        Err(fault) => return session.connection.refuse(&fault).await,
    };
    let log = std::sync::Arc::clone(session.connection.scribe().log());
    if !log.is_kept() {
        let fault = Fault::new(ErrorName::NotFound, "there is no audit log: audit_log_files is 0 in the settings");
        return session.connection.refuse(&fault).await;
    }
    log.caught_up(CAUGHT_UP_WITHIN).await;
    let changes = log.changes();
    let (folder, wanted, count) = (log.folder().to_owned(), filter.clone(), request.count);
    let opened = blocking(move || match count {
        Some(lines) => Reader::last(&folder, lines, &wanted),
        None => Ok(Reader::oldest(&folder)),
    });
    let reader = match opened.await {
        Ok(reader) => reader,
        Err(error) => return session.connection.refuse(&unreadable(&error)).await,
    };
    session.connection.send([&line_of(&VerifyAnswer { ok: true, chunked: true })]).await?;
    if request.follow {
        session.connection.ask_no_rate();
    }
    let mut tale = Tale { filter, crc: crc32fast::Hasher::new(), changes };
    let last_line = match tale.tell(session, reader, request.follow).await? {
        None => line_of(&Trailer::of_server(Crc32(tale.crc.finalize()))),
        Some(fault) => {
            session.connection.send([b"0\n"]).await?;
            return session.connection.refuse(&fault).await;
        }
    };
    session.connection.send([b"0\n", last_line.as_slice()]).await
}

/// A body under way.
struct Tale {
    filter: Filter,
    crc: crc32fast::Hasher,
    changes: watch::Receiver<u64>,
}

impl Tale {
    /// Sends lines to the end; of one that is followed there is none but a reason.
    async fn tell<S>(
        &mut self,
        session: &mut Session<S>,
        mut reader: Reader,
        follow: bool,
    ) -> Result<Option<Fault>, Close>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            // What is written from here on is seen by the next look.
            self.changes.mark_unchanged();
            let (next, came_from) = blocking(move || (reader.read(), reader)).await;
            reader = came_from;
            let chunk = match next {
                Ok(Piece::Lines(lines)) => self.filter.of(lines),
                Ok(Piece::Gap) => rotated(),
                Ok(Piece::End) if !follow => return Ok(None),
                Ok(Piece::End) => match self.wait(session).await? {
                    Ok(beat) => beat,
                    Err(fault) => return Ok(Some(fault)),
                },
                Err(error) => return Ok(Some(unreadable(&error))),
            };
            if let Err(fault) = session.connection.guest().check_unlimited("read the log") {
                return Ok(Some(fault));
            }
            if session.connection.is_draining() {
                return Ok(Some(Fault::new(ErrorName::Unavailable, STOPPING)));
            }
            self.send(session, &chunk).await?;
        }
    }

    async fn send<S>(&mut self, session: &mut Session<S>, chunk: &[u8]) -> Result<(), Close>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if chunk.is_empty() {
            return Ok(());
        }
        self.crc.update(chunk);
        session.connection.send([format!("{}\n", chunk.len()).as_bytes(), chunk]).await?;
        session.connection.scribe().note_bytes(chunk.len());
        Ok(())
    }

    /// Waits for more lines; what to send meanwhile, or why the client has to go.
    async fn wait<S>(&mut self, session: &mut Session<S>) -> Result<Result<Vec<u8>, Fault>, Close>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let changed = timeout(BEAT_EVERY, self.changes.changed());
        Ok(match session.connection.until_sent_away(changed).await? {
            Ok(Ok(_)) => Ok(Vec::new()),
            Ok(Err(_)) => Ok(b"\n".to_vec()),
            Err(fault) => Err(fault),
        })
    }
}

fn filter(guest: &Guest, request: &LogRequest) -> Result<Filter, Fault> {
    let path = request.path.as_deref().map(|path| place::named(guest.home(), path));
    let path = path.map(|path| path.and_then(|path| RelPath::parse_folder(&path).map_err(|_| path)));
    let bad = |path: String| Fault::new(ErrorName::BadPath, format!("{path:?} is no path of the mirror's"));
    Ok(Filter { user: request.user.clone(), path: path.transpose().map_err(bad)?, since: request.since })
}

fn unreadable(error: &std::io::Error) -> Fault {
    Fault::new(ErrorName::Unavailable, format!("the audit log cannot be read: {error}"))
}

/// Stands for lines that were removed before they were read.
fn rotated() -> Vec<u8> {
    line_of(&MissingLines {
        time: Time(clock::wall_ns()),
        missing: Missing::Rotated,
        lines: None,
        from: None,
        until: None,
        message: "some lines were removed before they could be sent: the log is longer than audit_log_bytes and \
                  audit_log_files allow"
            .to_owned(),
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
