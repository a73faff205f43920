//! `passwd`: another password, or none.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::clock;
use crate::server::connection::Close;
use crate::server::session::Session;
use crate::wire::{DropAnswer, PasswdRequest};

pub(crate) async fn perform<S>(session: &mut Session<S>, request: PasswdRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match session.connection.guest().set_password(request, clock::now()).await {
        Ok(()) => session.connection.answer(&DropAnswer { ok: true }).await,
        Err(fault) => session.connection.refuse(&fault).await,
    }
}
