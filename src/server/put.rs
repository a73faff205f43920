//! `put`: takes a file. The body goes to the mirror as it comes; nothing of it is kept here.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::Right;
use crate::mirror::request;
use crate::path::RelPath;
use crate::server::connection::Close;
use crate::server::session::{Session, request_id, said};
use crate::server::{place, refusal, usage};
use crate::wire::{BodyLength, BodyReader, ErrorName, Fault, PutCondition, PutRequest};

pub(crate) async fn perform<S>(session: &mut Session<S>, request: PutRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bytes_max = session.connection.limits().body_bytes_max.get();
    let mut body = BodyReader::new(request.length, bytes_max);
    let (request, path) = match prepare(session, request, bytes_max) {
        Ok(prepared) => prepared,
        Err(fault) => return session.connection.refuse_body(fault, body).await,
    };
    let mirror = Arc::clone(&session.mirror);
    let mut upload = match said(session.connection.in_time(mirror.begin_put(request)).await?) {
        Ok(upload) => upload,
        Err(fault) => return session.connection.refuse_body(fault, body).await,
    };
    let mut displaced = Box::pin(upload.displaced());
    loop {
        // Before it is read: what has no room in memory waits on the client's side.
        if let Err(refused) = session.connection.in_time(upload.make_ready()).await? {
            drop(upload);
            return session.connection.refuse_body(refusal::fault(&refused), body).await;
        }
        let piece = tokio::select! {
            biased;
            refused = &mut displaced => {
                // Most likely nobody is at the other end any more: nothing of it is kept for that.
                drop((upload, displaced));
                return Err(session.connection.end(refusal::fault(&refused)).await);
            }
            piece = session.connection.piece(&mut body) => piece?,
        };
        let Some(piece) = piece else { break };
        // Whose token was revoked meanwhile stores nothing.
        if let Err(fault) = session.connection.guest().access() {
            drop(upload);
            return session.connection.refuse_body(fault, body).await;
        }
        if let Err(refused) = upload.write(piece).await {
            // The stages are freed before the rest of the body is waited for.
            drop(upload);
            return session.connection.refuse_body(refusal::fault(&refused), body).await;
        }
    }
    let trailer = session.connection.trailer(&body).await?;
    let outcome = match session.connection.guest().check(Right::Write, &path) {
        Ok(()) => said(upload.commit(trailer.crc32).await),
        Err(fault) => Err(fault),
    };
    let usage = if outcome.is_ok() { usage::close_to_limit(session) } else { None };
    session.settle_with(usage, outcome).await
}

fn prepare<S>(
    session: &mut Session<S>,
    request: PutRequest,
    bytes_max: u64,
) -> Result<(request::PutRequest, RelPath), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let guest = session.connection.guest();
    let len = match request.length {
        BodyLength::Known(len) if len > bytes_max => {
            return Err(Fault::new(
                ErrorName::TooLarge,
                format!("the body has {len} bytes, at most {bytes_max} are taken"),
            ));
        }
        BodyLength::Known(len) => Some(len),
        BodyLength::Chunked => None,
    };
    let path = place::file(guest, Right::Write, &request.path)?;
    let request = request::PutRequest {
        path: path.clone(),
        owner: guest.access()?.owner().to_owned(),
        asker: guest.asker(),
        source: request::BodySource::Client,
        limited: request::Limited::Yes,
        overwrite: match request.condition {
            PutCondition::Whatever => request::Overwrite::Yes,
            PutCondition::Nothing => request::Overwrite::No,
            PutCondition::Version(lsn) => request::Overwrite::Version(lsn),
        },
        len,
        mtime_ns: request.mtime.map(|time| time.0),
        executable: request.executable,
        id: request_id(guest, request.id)?,
    };
    Ok((request, path))
}
