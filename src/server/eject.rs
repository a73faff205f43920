//! `eject`: lets go of a drive in good order.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::ids::Side;
use crate::mirror::{Loss, Patience};
use crate::server::connection::Close;
use crate::server::session::{Session, said};
use crate::wire::{EjectAnswer, EjectRequest, ErrorName, Fault};

pub(crate) async fn perform<S>(session: &mut Session<S>, request: EjectRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(side) = Side::BOTH.into_iter().find(|side| side.name() == request.drive) else {
        let message = format!("no such drive: {:?}; they are a and b", request.drive);
        return session.connection.refuse(&Fault::new(ErrorName::BadRequest, message)).await;
    };
    let patience = if request.wait { Patience::UntilInSync } else { Patience::None };
    let loss = if request.force { Loss::Accepted } else { Loss::Refused };
    let mirror = Arc::clone(&session.mirror);
    let ejected = session.connection.while_connected(mirror.eject(side, patience, loss)).await?;
    match said(ejected) {
        Ok(ejected) => {
            tracing::info!(drive = %side, unmounted = ?ejected.unmounted, "drive ejected");
            let answer = EjectAnswer {
                ok: true,
                drive: side.name().to_owned(),
                path: ejected.path.display().to_string(),
                unmounted: ejected.command().is_none(),
                command: ejected.command(),
                message: ejected.message(),
            };
            session.connection.answer(&answer).await
        }
        Err(fault) => session.connection.refuse(&fault).await,
    }
}
