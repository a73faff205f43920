//! `usage`: what a user's files come to, and may.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::UserName;
use crate::mirror::request::Usage;
use crate::server::connection::Close;
use crate::server::session::{Session, said};
use crate::wire::{ErrorName, Fault, UsageAnswer, UsageNote};

/// Of a limit that has so much of it in use, in percent, its user is told.
const TOLD_FROM_PERCENT: u64 = 90;

pub(crate) async fn perform<S>(session: &mut Session<S>, user: Option<String>) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match answer(session, user) {
        Ok(answer) => session.connection.answer(&answer).await,
        Err(fault) => session.connection.refuse(&fault).await,
    }
}

fn answer<S>(session: &mut Session<S>, user: Option<String>) -> Result<UsageAnswer, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let guest = session.connection.guest();
    let own = guest.access()?.owner().to_owned();
    let user = user.unwrap_or_else(|| own.clone());
    if user != own {
        guest.check_unlimited("see what others' files come to")?;
    }
    let Some(accounts) = guest.accounts() else {
        let message = "there are no users, and so no limits: 'fget status' shows the drives' room";
        return Err(Fault::new(ErrorName::NotFound, message));
    };
    let name: UserName = user.parse().map_err(|error| Fault::new(ErrorName::BadRequest, format!("{error}")))?;
    let limit = accounts.user(&name).map_err(|error| Fault::new(ErrorName::NotFound, error.to_string()))?.quota;
    let Usage { files, bytes } = said(session.mirror.usage(&user))?;
    let free = limit.map(|limit| limit.saturating_sub(bytes));
    Ok(UsageAnswer { ok: true, user, files, bytes, limit, free })
}

/// What is told to somebody who has nearly all in use that may be.
pub(crate) fn close_to_limit<S>(session: &mut Session<S>) -> Option<UsageNote>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let guest = session.connection.guest();
    let (limit, owner) = (guest.quota()?, guest.name());
    let bytes = session.mirror.usage(&owner).ok()?.bytes;
    let is_close = u128::from(bytes) * 100 >= u128::from(limit) * u128::from(TOLD_FROM_PERCENT);
    is_close.then_some(UsageNote { bytes, limit })
}
