//! `mkdir`: makes a folder.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::Right;
use crate::server::connection::Close;
use crate::server::place;
use crate::server::session::{Session, recurse, request_id, said};
use crate::wire::MakeFolderRequest;

pub(crate) async fn perform<S>(session: &mut Session<S>, request: MakeFolderRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let outcome = match place::folder(session.connection.guest(), Right::Write, &request.path) {
        Ok(path) => match request_id(session.connection.guest(), request.id) {
            Ok(id) => said(session.mirror.make_folder(&path, recurse(request.recursive), id).await),
            Err(fault) => Err(fault),
        },
        Err(fault) => Err(fault),
    };
    session.settle(outcome).await
}
