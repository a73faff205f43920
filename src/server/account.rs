//! `account` and `accounts`: an admin changes and lists who may use the mirror.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::{Change, User, UserName};
use crate::mirror::request::Usage;
use crate::server::connection::Close;
use crate::server::session::{Session, said};
use crate::server::share;
use crate::wire::{AccountAnswer, AccountLine, ErrorName, Fault, Secret, Time, TokenLine, line_of};

pub(crate) async fn change<S>(session: &mut Session<S>, change: Change) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let guest = session.connection.guest();
    if let Err(fault) = guest.check_admin() {
        return session.connection.refuse(&fault).await;
    }
    if let Change::SetPassword { .. } = &change {
        let fault = Fault::new(ErrorName::BadRequest, "a password is changed by passwd, and its hash made here");
        return session.connection.refuse(&fault).await;
    }
    let who = guest.name();
    tracing::info!(by = who, change = change.summary(), "accounts are changed");
    match guest.changer()(change).await {
        Ok(token) => session.connection.answer(&AccountAnswer { ok: true, token: token.map(Secret) }).await,
        Err(refused) => session.connection.refuse(&share::fault(&refused)).await,
    }
}

pub(crate) async fn list<S>(session: &mut Session<S>) -> Result<(), Close>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let guest = session.connection.guest();
    let accounts = match guest.check_admin() {
        Ok(()) => guest.accounts(),
        Err(fault) => return session.connection.refuse(&fault).await,
    };
    let users = accounts.iter().flat_map(|accounts| accounts.users());
    let mirror = &session.mirror;
    let lines = users.map(|(name, user)| Ok(line_of(&line(name, user, said(mirror.usage(name.as_str()))?))));
    let body = match lines.collect::<Result<Vec<_>, Fault>>() {
        Ok(lines) => lines.concat(),
        Err(fault) => return session.connection.refuse(&fault).await,
    };
    session.connection.answer_body(&body).await
}

fn line(name: &UserName, user: &User, usage: Usage) -> AccountLine {
    let tokens = user.tokens().map(|(id, token)| TokenLine {
        id: id.to_string(),
        label: token.label.clone(),
        made: Time(token.made_ns),
    });
    AccountLine {
        user: name.to_string(),
        admin: user.admin,
        read_only: user.read_only,
        files: usage.files,
        bytes: usage.bytes,
        limit: user.quota,
        password: user.password.is_some(),
        tokens: tokens.collect(),
    }
}
