//! `login`: a token for a password, so that no other request needs one.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::clock;
use crate::server::connection::Close;
use crate::server::session::Session;
use crate::wire::{AccountAnswer, LoginRequest};

pub(crate) async fn perform<S>(session: &mut Session<S>, request: LoginRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match session.connection.guest().log_in(request, clock::now()).await {
        Ok(token) => session.connection.answer(&AccountAnswer { ok: true, token: Some(token) }).await,
        Err(fault) => session.connection.refuse(&fault).await,
    }
}
