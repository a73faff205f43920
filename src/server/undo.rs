//! `undo`: brings back what was removed or overwritten.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::Right;
use crate::ids::Side;
use crate::mirror::request::Undone;
use crate::server::connection::Close;
use crate::server::place;
use crate::server::session::{Session, request_id, said};
use crate::wire::{UndoAnswer, UndoRequest};

pub(crate) async fn perform<S>(session: &mut Session<S>, request: UndoRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // What was there may have been a file or a folder.
    let guest = session.connection.guest();
    let path = place::folder(guest, Right::Write, &request.path)
        .and_then(|path| guest.check_all(Right::Write, &path).map(|()| path));
    let outcome = match path {
        Ok(path) => match request_id(session.connection.guest(), request.id) {
            Ok(id) => said(session.mirror.undo(&path, request.lsn, id).await),
            Err(fault) => Err(fault),
        },
        Err(fault) => Err(fault),
    };
    match outcome {
        Ok(Undone { receipt, restored }) => {
            let drives: Vec<_> = receipt.drives.into_iter().map(Side::name).map(str::to_owned).collect();
            session.connection.scribe().note_version(receipt.lsn);
            session.connection.scribe().note_drives(&drives);
            session.connection.answer(&UndoAnswer { ok: true, lsn: receipt.lsn, drives, restored }).await
        }
        Err(fault) => session.connection.refuse(&fault).await,
    }
}
