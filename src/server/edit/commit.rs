//! `commit`: a sentence in place of the one that its editor was given.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::Right;
use crate::editing::{LeaseId, NoCommit};
use crate::ids::RequestId;
use crate::mirror::request::Receipt;
use crate::path::RelPath;
use crate::server::connection::Close;
use crate::server::edit::body::receive;
use crate::server::edit::current::{Current, Missed, answered, begin_next, current, end_next, id_of, outrun, write};
use crate::server::edit::desk::Reached;
use crate::server::edit::lease::not_committed;
use crate::server::limits::REBASES_MAX;
use crate::server::session::Session;
use crate::server::{place, usage};
use crate::units;
use crate::wire::{CommitRequest, ErrorName, Fault};

pub(crate) async fn commit<S>(session: &mut Session<S>, request: CommitRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let CommitRequest { path, lease, length, id } = request;
    let admitted = place::file(session.connection.guest(), Right::Write, &path);
    let Some((path, body)) = receive(session, length, admitted).await? else { return Ok(()) };
    let outcome = match id_of(session, id, "commit", &path, &body.bytes) {
        Ok(id) => store(session, &path, lease, &body.bytes, id).await,
        Err(fault) => Err(fault),
    };
    drop(body);
    let usage = if outcome.is_ok() { usage::close_to_limit(session) } else { None };
    session.settle_with(usage, outcome).await
}

async fn store<S>(
    session: &mut Session<S>,
    path: &RelPath,
    lease: u64,
    body: &[u8],
    id: Option<RequestId>,
) -> Result<Receipt, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let sentence = std::str::from_utf8(body)
        .map_err(|_| Fault::new(ErrorName::BadRequest, "the sentence is no text in UTF-8: nothing was stored"))?;
    // The same text, which stays as long as this commit.
    let reached = session.edits.desk().reach(path);
    let (_turn, _memory) = (reached.turn().await, reached.memory().await);
    for _ in 0..REBASES_MAX {
        if let Some(receipt) = answered(&session.mirror, id.as_ref())? {
            session.edits.end(lease);
            return Ok(receipt);
        }
        if session.edits.find(path, lease).is_none() {
            return Err(not_committed(path, &NoCommit::Unknown));
        }
        match replace(session, path, &reached, (LeaseId(lease), sentence), id.clone()).await {
            Ok(receipt) => {
                session.edits.end(lease);
                return Ok(receipt);
            }
            Err(Missed::Outrun) => {}
            Err(Missed::Refused(fault)) => return Err(fault),
        }
    }
    Err(outrun(path))
}

async fn replace<S>(
    session: &mut Session<S>,
    path: &RelPath,
    reached: &Reached,
    (lease, sentence): (LeaseId, &str),
    id: Option<RequestId>,
) -> Result<Receipt, Missed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bytes_max = session.connection.limits().edit_bytes_max.get();
    let Current { version, text, executable } =
        current(&session.mirror, path, &session.connection.guest().asker(), bytes_max).await?;
    let composed = {
        let mut document = reached.document();
        document.see(version, &text);
        document.compose(lease, &text, sentence).map_err(|why| not_committed(path, &why))?
    };
    drop(text);
    if composed.text.len() as u64 > bytes_max {
        let message = format!("{path} would be longer than {}: nothing was stored", units::bytes(bytes_max));
        return Err(Fault::new(ErrorName::TooLarge, message).into());
    }
    let bytes = Bytes::from(composed.text.clone().into_bytes());
    let mut upload = begin_next(session, path, (version, executable), bytes.len() as u64, id).await?;
    write(&mut upload, &bytes).await?;
    let receipt = end_next(session, path, upload).await?;
    reached.document().committed(lease, &composed, receipt.lsn);
    Ok(receipt)
}
