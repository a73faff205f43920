//! `append`: bytes behind what is there, whole or not at all.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::Right;
use crate::ids::RequestId;
use crate::mirror::request::Receipt;
use crate::path::RelPath;
use crate::server::connection::Close;
use crate::server::edit::body::receive;
use crate::server::edit::current::{Missed, answered, begin_next, end_next, id_of, opened, outrun, write};
use crate::server::edit::desk::Reached;
use crate::server::limits::REBASES_MAX;
use crate::server::session::Session;
use crate::server::{place, usage};
use crate::wire::{AppendRequest, Fault};

pub(crate) async fn append<S>(session: &mut Session<S>, request: AppendRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let AppendRequest { path, length, id } = request;
    let admitted = place::file(session.connection.guest(), Right::Write, &path);
    let Some((path, mut body)) = receive(session, length, admitted).await? else { return Ok(()) };
    let outcome = match id_of(session, id, "append", &path, &body.bytes) {
        Ok(id) => store(session, &path, &std::mem::take(&mut body.bytes).into(), id).await,
        Err(fault) => Err(fault),
    };
    drop(body);
    let usage = if outcome.is_ok() { usage::close_to_limit(session) } else { None };
    session.settle_with(usage, outcome).await
}

async fn store<S>(
    session: &mut Session<S>,
    path: &RelPath,
    added: &Bytes,
    id: Option<RequestId>,
) -> Result<Receipt, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let reached = session.edits.desk().reach(path);
    let _turn = reached.turn().await;
    for _ in 0..REBASES_MAX {
        if let Some(receipt) = answered(&session.mirror, id.as_ref())? {
            return Ok(receipt);
        }
        match extend(session, path, &reached, added, id.clone()).await {
            Ok(receipt) => return Ok(receipt),
            Err(Missed::Outrun) => {}
            Err(Missed::Refused(fault)) => return Err(fault),
        }
    }
    Err(outrun(path))
}

/// What is there goes from the drives to the drives, block by block.
async fn extend<S>(
    session: &mut Session<S>,
    path: &RelPath,
    reached: &Reached,
    added: &Bytes,
    id: Option<RequestId>,
) -> Result<Receipt, Missed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bytes_max = session.connection.limits().append_bytes_max.get();
    let mut before = opened(&session.mirror, path, &session.connection.guest().asker(), bytes_max).await?;
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
    Ok(receipt)
}
