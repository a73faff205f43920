//! `account` and `accounts`: an admin changes and lists who may use the mirror.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::accounts::{Accounts, Change, User, UserName};
use crate::mirror::request::Usage;
use crate::server::connection::Close;
use crate::server::session::{Session, said};
use crate::server::share;
use crate::server::uses::LastUsed;
use crate::wire::{AccountAnswer, AccountLine, ErrorName, Fault, Secret, Time, TokenLine, lines_of};

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
    let (mirror, uses) = (&session.mirror, guest.uses());
    let usage = |name: &str| said(mirror.usage(name)).map(Some);
    let lines = accounts.map_or_else(|| Ok(Vec::new()), |accounts| lines(&accounts, &uses.last(), usage));
    let body = match lines {
        Ok(lines) => lines_of(&lines),
        Err(fault) => return session.connection.refuse(&fault).await,
    };
    session.connection.answer_body(&body).await
}

/// A line for each user; `usage` says what the user's files come to, if it knows.
pub fn lines<E>(
    accounts: &Accounts,
    last_used: &LastUsed,
    usage: impl Fn(&str) -> Result<Option<Usage>, E>,
) -> Result<Vec<AccountLine>, E> {
    let line = |(name, user): (&UserName, &User)| Ok(line(name, user, usage(name.as_str())?, last_used));
    accounts.users().map(line).collect()
}

fn line(name: &UserName, user: &User, usage: Option<Usage>, last_used: &LastUsed) -> AccountLine {
    let tokens = user.tokens().map(|(id, token)| TokenLine {
        id: id.to_string(),
        label: token.label.clone(),
        made: Time(token.made_ns),
        last_used: last_used.get(&id).copied().map(Time),
    });
    AccountLine {
        user: name.to_string(),
        admin: user.admin,
        read_only: user.read_only,
        files: usage.map(|usage| usage.files),
        bytes: usage.map(|usage| usage.bytes),
        limit: user.quota,
        password: user.password.is_some(),
        tokens: tokens.collect(),
    }
}
