//! Bodies that are held until it is their turn.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;

use crate::digest::Crc32;
use crate::server::connection::Close;
use crate::server::session::Session;
use crate::units;
use crate::wire::{BodyLength, BodyReader, ErrorName, Fault};

/// A body that came whole.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

/// Takes a body behind a request that was `admitted`; `None` where it is refused, and the client was told.
pub(super) async fn receive<S, T>(
    session: &mut Session<S>,
    length: BodyLength,
    admitted: Result<T, Fault>,
) -> Result<Option<(T, Body)>, Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = session.connection.limits();
    let bytes_max = limits.edit_bytes_max.get();
    let mut reader = BodyReader::new(length, limits.body_bytes_max.get());
    let too_large = || {
        let message = format!("at most {} are taken at once: put the whole file", units::bytes(bytes_max));
        Fault::new(ErrorName::TooLarge, message)
    };
    let admitted = match (admitted, length) {
        (Err(fault), _) => Err(fault),
        (Ok(_), BodyLength::Known(len)) if len > bytes_max => Err(too_large()),
        (Ok(admitted), BodyLength::Known(_) | BodyLength::Chunked) => Ok(admitted),
    };
    let admitted = match admitted {
        Ok(admitted) => admitted,
        Err(fault) => return session.connection.refuse_body(fault, reader).await.map(|()| None),
    };
    let (mut bytes, mut room) = (Vec::new(), None::<OwnedSemaphorePermit>);
    while let Some(piece) = session.connection.piece(&mut reader).await? {
        let refused = if let Err(fault) = session.connection.guest().access() {
            Some(fault)
        } else if (bytes.len() + piece.len()) as u64 > bytes_max {
            Some(too_large())
        } else {
            match session.edits.desk().room(piece.len()) {
                Ok(more) => {
                    match &mut room {
                        Some(room) => room.merge(more),
                        None => room = Some(more),
                    }
                    None
                }
                Err(_) => Some(Fault::new(ErrorName::Busy, "too much waits to be written at this moment: try again")),
            }
        };
        if let Some(fault) = refused {
            drop((bytes, room));
            return session.connection.refuse_body(fault, reader).await.map(|()| None);
        }
        bytes.extend_from_slice(&piece);
    }
    let expected = session.connection.trailer(&reader).await?.crc32;
    let actual = Crc32::of(&bytes);
    if actual != expected {
        let message = format!("the body has CRC-32 {actual}, its trailer says {expected}: nothing was stored");
        return session.connection.refuse(&Fault::new(ErrorName::BadChecksum, message)).await.map(|()| None);
    }
    Ok(Some((admitted, Body { bytes, _room: room })))
}
