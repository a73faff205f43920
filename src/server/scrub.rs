//! `scrub`: begins one, or holds it.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::mirror;
use crate::server::connection::Close;
use crate::server::session::{Session, said};
use crate::wire::{ScrubAction, ScrubAnswer, ScrubOrdered};

pub(crate) async fn perform<S>(session: &mut Session<S>, action: ScrubAction) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let outcome = match action {
        ScrubAction::Start => session.mirror.start_scrub().await,
        ScrubAction::Pause => session.mirror.pause_scrub().await,
    };
    match said(outcome) {
        Ok(answer) => session.connection.answer(&ScrubAnswer { ok: true, state: ordered(answer) }).await,
        Err(fault) => session.connection.refuse(&fault).await,
    }
}

fn ordered(answer: mirror::ScrubAnswer) -> ScrubOrdered {
    match answer {
        mirror::ScrubAnswer::Started => ScrubOrdered::Started,
        mirror::ScrubAnswer::Resumed => ScrubOrdered::Resumed,
        mirror::ScrubAnswer::Paused => ScrubOrdered::Paused,
        mirror::ScrubAnswer::AlreadyRunning => ScrubOrdered::AlreadyRunning,
        mirror::ScrubAnswer::AlreadyPaused => ScrubOrdered::AlreadyPaused,
        mirror::ScrubAnswer::NothingToPause => ScrubOrdered::NothingToPause,
    }
}
