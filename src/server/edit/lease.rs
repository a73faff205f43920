//! `edit`, `renew` and `release`: a sentence for one connection, and for no other one.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::Right;
use crate::clock;
use crate::digest::Crc32;
use crate::editing::text::sentences;
use crate::editing::{LeaseId, NoCommit, NoLease};
use crate::path::RelPath;
use crate::server::connection::Close;
use crate::server::edit::current::{Missed, current, outrun};
use crate::server::limits::{EDITS_OF_ONE_MAX, REBASES_MAX};
use crate::server::place;
use crate::server::session::Session;
use crate::wire::{DropAnswer, EditAnswer, EditRequest, ErrorName, Fault, LeaseRequest, Trailer, line_of};

pub(crate) async fn open<S>(session: &mut Session<S>, request: EditRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match lease(session, &request).await {
        Ok((answer, text)) => {
            if let Some(lsn) = answer.lsn {
                session.connection.scribe().note_version(lsn);
            }
            let trailer = line_of(&Trailer::of_server(Crc32::of(text.as_bytes())));
            session.connection.send([&line_of(&answer), text.as_bytes(), &trailer]).await?;
            session.connection.scribe().note_bytes(text.len());
            Ok(())
        }
        Err(fault) => session.connection.refuse(&fault).await,
    }
}

async fn lease<S>(session: &mut Session<S>, request: &EditRequest) -> Result<(EditAnswer, String), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let path = place::file(session.connection.guest(), Right::Write, &request.path)?;
    session.connection.guest().check(Right::Read, &path)?;
    if session.edits.len() >= EDITS_OF_ONE_MAX {
        let message = format!("a connection edits at most {EDITS_OF_ONE_MAX} sentences: commit or release one");
        return Err(Fault::new(ErrorName::Busy, message));
    }
    let limits = session.connection.limits();
    let reached = session.edits.desk().reach(&path);
    let holder = session.edits.holder(&session.connection.guest().name());
    let sentence = usize::try_from(request.sentence).unwrap_or(usize::MAX);
    let (turn, memory) = (reached.turn().await, reached.memory().await);
    for _ in 0..REBASES_MAX {
        let current =
            match current(&session.mirror, &path, &session.connection.guest().asker(), limits.edit_bytes_max.get())
                .await
            {
                Ok(current) => current,
                Err(Missed::Outrun) => continue,
                Err(Missed::Refused(fault)) => return Err(fault),
            };
        let place = reached.admit(sentences(&current.text).len(), limits.edits_max.get()).map_err(|_| {
            Fault::new(ErrorName::Busy, "too many sentences are being edited at this moment: try again later")
        })?;
        let id = place.id();
        let opened = {
            let mut document = reached.document();
            document.see(current.version, &current.text);
            let times = (clock::now(), limits.edit_idle_timeout);
            document.open(&current.text, sentence, (id, holder), times).map_err(|why| refused(&path, &why))?
        };
        drop((turn, memory));
        session.edits.keep(id, reached, place);
        let answer = EditAnswer {
            ok: true,
            len: opened.text.len() as u64,
            lease: id.0,
            sentences: opened.sentences as u64,
            lsn: current.version,
        };
        return Ok((answer, opened.text));
    }
    Err(outrun(&path))
}

fn refused(path: &RelPath, why: &NoLease) -> Fault {
    let name = match why {
        NoLease::Leased { .. } => ErrorName::Leased,
        NoLease::Beyond { .. } => ErrorName::NotFound,
        NoLease::Endless { .. } => ErrorName::BadRequest,
    };
    Fault::new(name, format!("{path}: {why}"))
}

pub(super) fn not_committed(path: &RelPath, why: &NoCommit) -> Fault {
    let name = match why {
        NoCommit::Gone(_) | NoCommit::Unknown => ErrorName::SentenceGone,
        NoCommit::Endless => ErrorName::BadRequest,
    };
    Fault::new(name, format!("{path}: {why}"))
}

pub(crate) async fn renew<S>(session: &mut Session<S>, request: LeaseRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let outcome = place::file(session.connection.guest(), Right::Write, &request.path).and_then(|path| {
        let reached = session.edits.find(&path, request.lease);
        let renewed = reached
            .map_or(Err(NoCommit::Unknown), |reached| reached.document().renew(LeaseId(request.lease), clock::now()));
        renewed.map_err(|why| not_committed(&path, &why))
    });
    match outcome {
        Ok(()) => session.connection.answer(&DropAnswer { ok: true }).await,
        Err(fault) => session.connection.refuse(&fault).await,
    }
}

/// A lease that is not there any more is as good as released.
pub(crate) async fn release<S>(session: &mut Session<S>, request: LeaseRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    session.edits.end(request.lease);
    session.connection.answer(&DropAnswer { ok: true }).await
}
