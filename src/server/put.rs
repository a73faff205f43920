//! `put`: takes a file. The body goes to the mirror as it comes; nothing of it is kept here.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::Right;
use crate::mirror::Upload;
use crate::mirror::refusal::Refusal;
use crate::mirror::request;
use crate::path::RelPath;
use crate::server::connection::{Close, Connection, Parting, place_in};
use crate::server::presence::Presence;
use crate::server::session::{Session, request_id, said};
use crate::server::{place, refusal, usage};
use crate::wire::{BodyLength, BodyReader, ErrorName, Fault, PutCondition, PutRequest, Trailer};

pub(crate) async fn perform<S>(session: &mut Session<S>, request: PutRequest) -> Result<(), Close>
where
    S: Presence,
{
    let bytes_max = session.connection.limits().body_bytes_max.get();
    let mut body = BodyReader::new(request.length, bytes_max);
    let (request, path) = match prepare(session, request, bytes_max) {
        Ok(prepared) => prepared,
        Err(fault) => return session.connection.refuse_body(fault, body).await,
    };
    let mirror = Arc::clone(&session.mirror);
    let begun = session.connection.while_there(body.missing(), mirror.begin_put(request)).await;
    let mut upload = match begun {
        Ok(Ok(upload)) => upload,
        Ok(Err(refused)) => return session.connection.refuse_body(refusal::fault(&refused), body).await,
        Err(parting) => return Err(session.connection.part(parting, &place_in(&body)).await),
    };
    let displaced = upload.displaced();
    let received = tokio::select! {
        biased;
        refused = displaced => Err(Stopped::Refused(refusal::fault(&refused))),
        received = receive(&mut session.connection, &mut upload, &mut body) => received,
    };
    let trailer = match received {
        Ok(trailer) => trailer,
        Err(stopped) => {
            // What it has is free before the client is waited for.
            drop(upload);
            return match stopped {
                Stopped::Refused(fault) => session.connection.refuse_body(fault, body).await,
                Stopped::Parted(parting) => Err(session.connection.part(parting, &place_in(&body)).await),
                Stopped::Closed(close) => Err(close),
            };
        }
    };
    let outcome = match session.connection.guest().check(Right::Write, &path) {
        Ok(()) => said(upload.commit(trailer.crc32).await),
        Err(fault) => Err(fault),
    };
    let usage = if outcome.is_ok() { usage::close_to_limit(session) } else { None };
    session.settle_with(usage, outcome).await
}

/// Why a body did not come to its end.
enum Stopped {
    Refused(Fault),
    Parted(Parting),
    Closed(Close),
}

/// Takes the body to its end; what stands behind it.
async fn receive<S>(
    connection: &mut Connection<S>,
    upload: &mut Upload,
    body: &mut BodyReader,
) -> Result<Trailer, Stopped>
where
    S: Presence,
{
    let refused = |refused: Refusal| Stopped::Refused(refusal::fault(&refused));
    // One that ends here needs no more, and one that goes on may be large from here on.
    while connection.has_more(body).await.map_err(Stopped::Closed)? {
        // Before it is read: what has no room in memory waits on the client's side.
        let ready = connection.while_there(body.missing(), upload.make_ready()).await;
        let most = ready.map_err(Stopped::Parted)?.map_err(refused)?;
        let piece = connection.piece_within(body, most).await.map_err(Stopped::Closed)?;
        let Some(piece) = piece else { break };
        // Whose token was revoked meanwhile stores nothing.
        connection.guest().access().map_err(Stopped::Refused)?;
        let written = connection.while_there(body.missing(), upload.write(piece)).await;
        written.map_err(Stopped::Parted)?.map_err(refused)?;
    }
    connection.trailer(body).await.map_err(Stopped::Closed)
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
