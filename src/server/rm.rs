//! `rm`: removes a file or a folder.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::server::connection::Close;
use crate::server::place;
use crate::server::session::{Session, recurse, request_id, said};
use crate::wire::RemoveRequest;

pub(crate) async fn perform<S>(session: &mut Session<S>, request: RemoveRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let outcome = match place::tree(session.connection.guest(), &session.mirror, &request.path) {
        Ok(path) => match request_id(session.connection.guest(), request.id) {
            Ok(id) => said(session.mirror.remove(&path, recurse(request.recursive), id).await),
            Err(fault) => Err(fault),
        },
        Err(fault) => Err(fault),
    };
    session.settle(outcome).await
}
