//! `share`, `unshare` and `shares`: parts of a home that others may use.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::{AccountError, Change, Grant, Share, UserName};
use crate::path::RelPath;
use crate::server::connection::Close;
use crate::server::door::ChangeRefused;
use crate::server::place;
use crate::server::session::{Session, said};
use crate::wire::{DropAnswer, ErrorName, Fault, ShareLine, ShareRequest, lines_of};

pub(crate) async fn share<S>(session: &mut Session<S>, request: ShareRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let change = match meant(session, &request) {
        // Of what is not there nobody would know what is shared one day.
        Ok((path, with)) => said(session.mirror.info(&path)).map(|_| {
            let grant = if request.write { Grant::Write } else { Grant::Read };
            Change::Share { path, with, grant }
        }),
        Err(fault) => Err(fault),
    };
    perform(session, change).await
}

pub(crate) async fn unshare<S>(session: &mut Session<S>, request: ShareRequest) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let change = meant(session, &request).map(|(path, with)| Change::Unshare { path, with });
    perform(session, change).await
}

/// Those that the client gave or got; all of them to an admin.
pub(crate) async fn list<S>(session: &mut Session<S>) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let shares = match session.connection.guest().shares() {
        Ok(shares) => shares,
        Err(fault) => return session.connection.refuse(&fault).await,
    };
    let body = lines_of(shares.iter().map(line));
    session.connection.answer_body(&body).await
}

fn meant<S>(session: &mut Session<S>, request: &ShareRequest) -> Result<(RelPath, UserName), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let path = place::to_share(session.connection.guest(), &request.path)?;
    let with = request.user.parse::<UserName>();
    Ok((path, with.map_err(|error| Fault::new(ErrorName::BadRequest, error.to_string()))?))
}

async fn perform<S>(session: &mut Session<S>, change: Result<Change, Fault>) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let outcome = match change {
        Ok(change) => session.connection.guest().changer()(change).await.map(drop).map_err(|refused| fault(&refused)),
        Err(fault) => Err(fault),
    };
    match outcome {
        Ok(()) => session.connection.answer(&DropAnswer { ok: true }).await,
        Err(fault) => session.connection.refuse(&fault).await,
    }
}

pub(crate) fn fault(refused: &ChangeRefused) -> Fault {
    let name = match refused {
        ChangeRefused::Account(AccountError::NoUser(_) | AccountError::NoToken(..) | AccountError::NotShared(..)) => {
            ErrorName::NotFound
        }
        ChangeRefused::Account(AccountError::UserExists(_)) => ErrorName::Exists,
        ChangeRefused::Account(AccountError::OtherPassword(_)) => ErrorName::Denied,
        ChangeRefused::Account(_) => ErrorName::BadRequest,
        ChangeRefused::Other(_) => ErrorName::Unavailable,
    };
    Fault::new(name, refused.to_string())
}

fn line(share: &Share) -> ShareLine {
    let Share { path, with, grant } = share;
    ShareLine { path: path.to_string(), user: with.to_string(), write: *grant == Grant::Write }
}
