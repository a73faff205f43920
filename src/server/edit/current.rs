//! The version that is there now, and the next one in its place.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::Right;
use crate::digest::Crc32;
use crate::ids::{Lsn, RequestId};
use crate::mirror::refusal::Refusal;
use crate::mirror::request::{Asker, BodySource, Limited, Overwrite, PutRequest, Receipt, Span};
use crate::mirror::{Download, Mirror, Upload};
use crate::path::RelPath;
use crate::server::refusal;
use crate::server::session::{Session, request_id, said};
use crate::units;
use crate::wire::limits::PIECE_BYTES_MAX;
use crate::wire::{ErrorName, Fault};

/// A text as it is now.
pub(super) struct Current {
    /// `None`: there is no file.
    pub(super) version: Option<Lsn>,
    pub(super) text: String,
    pub(super) executable: bool,
}

/// Why there is no new version.
pub(super) enum Missed {
    /// Somebody stored, moved or removed the file in between: look again.
    Outrun,
    Refused(Fault),
}

impl From<Fault> for Missed {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

impl From<Refusal> for Missed {
    fn from(refused: Refusal) -> Self {
        match refused {
            Refusal::OtherVersion(_) | Refusal::Exists(_) | Refusal::NotFound(_) | Refusal::Superseded(_) => {
                Self::Outrun
            }
            refused => Self::Refused(refusal::fault(&refused)),
        }
    }
}

/// Opens what is there now, for who has the means to read it; `None` where there is nothing.
pub(super) async fn opened(
    mirror: &Arc<Mirror>,
    path: &RelPath,
    asker: &Asker,
    bytes_max: u64,
) -> Result<Option<Download>, Missed> {
    bounded(mirror, path, mirror.open_in_place(path, Span::default(), asker).await, bytes_max)
}

fn bounded(
    mirror: &Arc<Mirror>,
    path: &RelPath,
    opened: Result<Download, Refusal>,
    bytes_max: u64,
) -> Result<Option<Download>, Missed> {
    match opened {
        Ok(download) if download.size > bytes_max => {
            let (size, most) = (units::bytes(download.size), units::bytes(bytes_max));
            let message =
                format!("{path} has {size}, and at most {most} are written anew for a change: put the whole file");
            Err(Fault::new(ErrorName::TooLarge, message).into())
        }
        Ok(download) => Ok(Some(download)),
        Err(Refusal::NotFound(_)) => {
            let place = mirror.check_place(path, Overwrite::No, Limited::Yes);
            place.map_err(|refused| Missed::Refused(refusal::fault(&refused)))?;
            Ok(None)
        }
        Err(refused) => Err(refused.into()),
    }
}

/// The text that is there now.
pub(super) async fn current(
    mirror: &Arc<Mirror>,
    path: &RelPath,
    asker: &Asker,
    bytes_max: u64,
) -> Result<Current, Missed> {
    // Few texts are read at one time, each in memory that was counted before: with a turn in hand nobody waits for others.
    let opened = mirror.open_in_place(path, Span::default(), asker).await;
    let Some(mut download) = bounded(mirror, path, opened, bytes_max)? else {
        return Ok(Current { version: None, text: String::new(), executable: false });
    };
    let mut bytes = Vec::with_capacity(usize::try_from(download.size).unwrap_or(0));
    while let Some(piece) = download.next().await? {
        bytes.extend_from_slice(&piece);
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("{path} is no text in UTF-8, from byte {at} on: it has no sentences");
        Fault::new(ErrorName::BadRequest, message)
    })?;
    Ok(Current { version: Some(download.lsn), text, executable: download.executable })
}

/// Begins the version that takes the place of another one, and of no other.
pub(super) async fn begin_next<S>(
    session: &mut Session<S>,
    path: &RelPath,
    (version, executable): (Option<Lsn>, bool),
    len: u64,
    id: Option<RequestId>,
) -> Result<Upload, Missed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let guest = session.connection.guest();
    guest.check(Right::Write, path)?;
    let request = PutRequest {
        path: path.clone(),
        overwrite: version.map_or(Overwrite::No, Overwrite::Version),
        len: Some(len),
        mtime_ns: None,
        executable,
        owner: guest.access()?.owner().to_owned(),
        asker: guest.asker(),
        source: BodySource::Held,
        limited: Limited::Yes,
        id,
    };
    Ok(session.mirror.begin_put(request).await?)
}

/// Adds bytes to it.
pub(super) async fn write(upload: &mut Upload, bytes: &Bytes) -> Result<(), Missed> {
    let mut at = 0;
    while at < bytes.len() {
        let end = (at + PIECE_BYTES_MAX).min(bytes.len());
        upload.write(bytes.slice(at..end)).await?;
        at = end;
    }
    Ok(())
}

/// Ends it: from then on it is the version that is there.
pub(super) async fn end_next<S>(session: &mut Session<S>, path: &RelPath, upload: Upload) -> Result<Receipt, Missed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Whose right ended meanwhile stores nothing.
    session.connection.guest().check(Right::Write, path)?;
    let crc32 = upload.crc32();
    Ok(upload.commit(crc32).await?)
}

/// An id that is known again although what is stored depends on what was there: by what was asked for.
pub(super) fn id_of<S>(
    session: &mut Session<S>,
    id: Option<String>,
    what: &str,
    path: &RelPath,
    body: &[u8],
) -> Result<Option<RequestId>, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let id = request_id(session.connection.guest(), id)?;
    let asked = Crc32::of(&[path.to_string().as_bytes(), b"\0", body].concat());
    Ok(id.map(|id| id.of_request(&format!("{what}/{asked}"))))
}

/// The answer that a request got when it was sent before.
pub(super) fn answered(mirror: &Mirror, id: Option<&RequestId>) -> Result<Option<Receipt>, Fault> {
    said(mirror.receipt_of(id))
}

/// What is said where others store a file faster than it can be read.
pub(super) fn outrun(path: &RelPath) -> Fault {
    Fault::new(ErrorName::Busy, format!("others are storing {path} again and again: try again"))
}
