//! `aside` and `drop`: what lies aside on the drives, and letting go of it.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::ids::Side;
use crate::mirror::request::{AsideItem, AsideWorth};
use crate::server::connection::Close;
use crate::server::session::{Session, said};
use crate::wire::{AsideLine, DropAnswer, DropRequest, ErrorName, Fault, lines_of};

pub(crate) async fn list<S>(session: &mut Session<S>) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match said(session.mirror.list_aside().await) {
        Ok(items) => {
            let body = lines_of(items.into_iter().map(line));
            session.connection.answer_body(&body).await
        }
        Err(fault) => session.connection.refuse(&fault).await,
    }
}

pub(crate) async fn let_go<S>(session: &mut Session<S>, request: DropRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(side) = Side::BOTH.into_iter().find(|side| side.name() == request.drive) else {
        let message = format!("no such drive: {:?}; they are a and b", request.drive);
        return session.connection.refuse(&Fault::new(ErrorName::BadRequest, message)).await;
    };
    match said(session.mirror.drop_aside(side, &request.item).await) {
        Ok(()) => session.connection.answer(&DropAnswer { ok: true }).await,
        Err(fault) => session.connection.refuse(&fault).await,
    }
}

pub(crate) fn line(item: AsideItem) -> AsideLine {
    let AsideItem { side, id, path, cause, worth, day, lsn, files, bytes } = item;
    let (drive, cause) = (side.name().to_owned(), cause.to_owned());
    AsideLine { drive, item: id, path, cause, replaced: worth == AsideWorth::Replaced, day, lsn, files, size: bytes }
}
