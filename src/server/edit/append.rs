//! `append`: bytes behind what is there, whole or not at all.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::Right;
use crate::ids::RequestId;
use crate::mirror::Means;
use crate::mirror::request::Receipt;
use crate::path::RelPath;
use crate::server::connection::{Close, Parting};
use crate::server::edit::body::receive;
use crate::server::edit::current::{Missed, answered, begin_next, end_next, id_of, opened, outrun, write};
use crate::server::edit::desk::Reached;
use crate::server::limits::REBASES_MAX;
use crate::server::presence::Presence;
use crate::server::session::{Session, said};
use crate::server::{place, usage};
use crate::wire::{AppendRequest, Fault};

pub(crate) async fn append<S>(session: &mut Session<S>, request: AppendRequest) -> Result<(), Close>
where
    S: Presence,
{
    let AppendRequest { path, length, id } = request;
    let admitted = place::file(session.connection.guest(), Right::Write, &path);
    let Some((path, mut body)) = receive(session, length, admitted).await? else { return Ok(()) };
    let outcome = match id_of(session, id, "append", &path, &body.bytes) {
        Ok(id) => store(session, &path, &std::mem::take(&mut body.bytes).into(), id).await,
        Err(fault) => Ok(Err(fault)),
    };
    drop(body);
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(parting) => return Err(session.connection.part(parting, "the request").await),
    };
    let usage = if outcome.is_ok() { usage::close_to_limit(session) } else { None };
    session.settle_with(usage, outcome).await
}

async fn store<S>(
    session: &mut Session<S>,
    path: &RelPath,
    added: &Bytes,
    id: Option<RequestId>,
) -> Result<Result<Receipt, Fault>, Parting>
where
    S: Presence,
{
    let (reached, mirror) = (session.edits.desk().reach(path), Arc::clone(&session.mirror));
    let mut tries = 0..REBASES_MAX;
    while !tries.is_empty() {
        let asker = session.connection.guest().asker();
        // All of the body is here. The turn comes last: others wait for its end.
        let had = session.connection.while_there(0, mirror.means_to_rewrite(path, &asker)).await?;
        let means = match said(had) {
            Ok(means) => means,
            Err(fault) => return Ok(Err(fault)),
        };
        let _turn = session.connection.while_there(0, reached.turn()).await?;
        while tries.next().is_some() {
            match answered(&session.mirror, id.as_ref()) {
                Ok(None) => {}
                Ok(Some(receipt)) => return Ok(Ok(receipt)),
                Err(fault) => return Ok(Err(fault)),
            }
            match extend(session, path, (&reached, &means), added, id.clone()).await {
                Ok(Some(receipt)) => return Ok(Ok(receipt)),
                // It has grown while its turn was waited for.
                Ok(None) => break,
                Err(Missed::Outrun) => {}
                Err(Missed::Refused(fault)) => return Ok(Err(fault)),
            }
        }
    }
    Ok(Err(outrun(path)))
}

/// What is there goes from the drives to the drives, block by block; `None` where that takes more means.
async fn extend<S>(
    session: &mut Session<S>,
    path: &RelPath,
    (reached, means): (&Reached, &Means),
    added: &Bytes,
    id: Option<RequestId>,
) -> Result<Option<Receipt>, Missed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bytes_max = session.connection.limits().append_bytes_max.get();
    let mut before = opened(&session.mirror, path, &session.connection.guest().asker(), bytes_max).await?;
    if before.as_ref().is_some_and(|file| !means.suffice_for(file.size)) {
        return Ok(None);
    }
    let (version, executable) =
        (before.as_ref().map(|file| file.lsn), before.as_ref().is_some_and(|file| file.executable));
    let len = before.as_ref().map_or(0, |file| file.size) + added.len() as u64;
    let mut upload = begin_next(session, path, (version, executable), len, id).await?;
    if let Some(file) = &mut before {
        while let Some(piece) = file.next().await? {
            upload.write(piece).await?;
        }
    }
    write(&mut upload, added).await?;
    let receipt = end_next(session, path, upload).await?;
    reached.document().appended(version, receipt.lsn, added);
    Ok(Some(receipt))
}
