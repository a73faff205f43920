//! `mv`: moves a file or a folder to a free name.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::Right;
use crate::mirror::Mirror;
use crate::path::RelPath;
use crate::server::connection::Close;
use crate::server::door::Guest;
use crate::server::place;
use crate::server::session::{Session, request_id, said};
use crate::wire::{Fault, MoveRequest};

pub(crate) async fn perform<S>(session: &mut Session<S>, request: MoveRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let outcome = match ends(session.connection.guest(), &session.mirror, &request) {
        Ok((from, to)) => match request_id(session.connection.guest(), request.id) {
            Ok(id) => said(session.mirror.move_to(&from, &to, id).await),
            Err(fault) => Err(fault),
        },
        Err(fault) => Err(fault),
    };
    session.settle(outcome).await
}

fn ends(guest: &mut Guest, mirror: &Mirror, request: &MoveRequest) -> Result<(RelPath, RelPath), Fault> {
    let from = place::tree(guest, mirror, &request.path)?;
    let to = place::file(guest, Right::Write, &request.to)?;
    guest.check_all(Right::Write, &to).map(|()| (from, to))
}
