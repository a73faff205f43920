//! Who comes in: tokens are checked here, once for each hello, and what was found holds until the accounts change.

mod password;
mod tries;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::accounts::{Access, AccountError, Accounts, Change, Identity, Right, Share, SharedRules, Token, UserName};
use crate::clock;
use crate::mirror::request::{self, Asker};
use crate::path::RelPath;
use crate::server::admission::Origin;
use crate::server::allowance::{Allowances, Seat};
use crate::server::door::tries::Tries;
use crate::server::hashing::Hashing;
use crate::server::limits::Limits;
use crate::server::uses::TokenUses;
use crate::wire::{ErrorName, Fault, HelloRequest, Priority, Request, Secret};

/// What is known of the accounts.
#[derive(Clone, Debug, Default)]
pub enum Roll {
    /// There are none: everybody may do all.
    #[default]
    Open,
    Accounts(Arc<Accounts>, Arc<SharedRules>),
    /// There are some, and they are on the drives alone, which are not there.
    Unread,
}

/// Changes the accounts; what it did is in force when it returns, with the token that it made.
pub type Changer = Arc<dyn Fn(Change) -> BoxFuture<'static, Result<Option<String>, ChangeRefused>> + Send + Sync>;

/// Why the accounts were not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeRefused {
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("{0}")]
    Other(String),
}

/// The accounts as sessions see them; whoever keeps them sends what they are now.
pub struct Directory {
    roll: watch::Receiver<Roll>,
    changer: Changer,
    tries: Mutex<Tries>,
    allowances: Arc<Allowances>,
    hashing: Hashing,
    uses: Arc<TokenUses>,
}

impl Directory {
    pub fn new(roll: watch::Receiver<Roll>, changer: Changer, uses: Arc<TokenUses>) -> Self {
        let (tries, allowances, hashing) = (Mutex::default(), Arc::default(), Hashing::default());
        Self { roll, changer, tries, allowances, hashing, uses }
    }
}

/// One session's client.
pub(crate) struct Guest {
    directory: Arc<Directory>,
    roll: watch::Receiver<Roll>,
    origin: Origin,
    identity: Option<Identity>,
    access: Access,
    priority: Priority,
    /// From the hello on.
    seat: Option<Seat>,
    /// Said hello without a token, to log in.
    is_stranger: bool,
}

/// What is said to all that were not recognized, whatever was wrong with what they showed.
const NOT_RECOGNIZED: &str = "this token is not valid here: ask an admin for a new one, then 'fget login'";
const NO_TOKEN: &str = "this server has accounts: give a token with 'fget login', or FGET_TOKEN_FILE";
const UNREAD: &str = "the accounts are on the drives, and none of them could be read yet: try again when one is there";
const GONE: &str = "this token is not valid any more: ask an admin for a new one, then 'fget login'";

impl Guest {
    pub(crate) fn new(directory: &Arc<Directory>, address: IpAddr) -> Self {
        let (directory, roll) = (Arc::clone(directory), directory.roll.clone());
        Self {
            directory,
            roll,
            origin: address.into(),
            identity: None,
            access: Access::Open,
            priority: Priority::Normal,
            seat: None,
            is_stranger: false,
        }
    }

    /// Takes a hello; whom it is from, where there are accounts. Who comes to log in is nobody yet.
    pub(crate) fn greet(
        &mut self,
        hello: &HelloRequest,
        limits: &Limits,
        now: Instant,
    ) -> Result<Option<String>, Fault> {
        let roll = self.roll.borrow_and_update().clone();
        self.is_stranger = false;
        (self.identity, self.access) = match roll {
            Roll::Open => (None, Access::Open),
            Roll::Unread => return Err(Fault::new(ErrorName::Unavailable, UNREAD)),
            Roll::Accounts(..) if hello.login && hello.token.is_none() => {
                self.is_stranger = true;
                (self.identity, self.seat) = (None, None);
                return Ok(None);
            }
            Roll::Accounts(accounts, rules) => {
                let token = hello.token.as_ref().ok_or_else(|| Fault::new(ErrorName::Denied, NO_TOKEN))?;
                let (identity, access) = self.recognize(&accounts, &rules, token, now)?;
                (Some(identity), access)
            }
        };
        if hello.priority == Priority::High {
            self.check_unlimited("go before all others")?;
        }
        self.priority = hello.priority;
        let user = self.identity.as_ref().map(|identity| identity.name.to_string());
        // Of the connection itself, if it had one already.
        self.seat = None;
        let name = user.clone().unwrap_or_else(|| self.origin.to_string());
        self.seat = Some(self.directory.allowances.seat(&name, limits, now)?);
        self.note_use();
        Ok(user)
    }

    /// Counts a request, unless this user asks too much.
    pub(crate) fn ask(&self, limits: &Limits, now: Instant) -> Result<(), Fault> {
        self.seat.as_ref().map_or(Ok(()), |seat| seat.ask(limits, now))
    }

    /// For whom the drives work.
    pub(crate) fn asker(&self) -> Asker {
        let user = self.seat.as_ref().map_or_else(|| Arc::from(""), |seat| Arc::clone(seat.user()));
        let may_be_first = !matches!(self.access, Access::User { .. });
        let priority = match self.priority {
            Priority::Low => request::Priority::Low,
            Priority::High if may_be_first => request::Priority::High,
            Priority::Normal | Priority::High => request::Priority::Normal,
        };
        Asker { user, priority }
    }

    /// The client's token is used.
    pub(crate) fn note_use(&self) {
        if let Some(identity) = &self.identity {
            self.directory.uses.note(identity.token, clock::wall_ns());
        }
    }

    /// When all tokens were last used.
    pub(crate) fn uses(&self) -> Arc<TokenUses> {
        Arc::clone(&self.directory.uses)
    }

    /// Lets those do nothing but log in who came for that.
    pub(crate) fn check_known(&self, request: &Request) -> Result<(), Fault> {
        if self.is_stranger && !matches!(request, Request::Login(_)) {
            return Err(Fault::new(ErrorName::Denied, NO_TOKEN));
        }
        Ok(())
    }

    fn recognize(
        &self,
        accounts: &Accounts,
        rules: &Arc<SharedRules>,
        token: &Secret,
        now: Instant,
    ) -> Result<(Identity, Access), Fault> {
        let identity = token.0.parse::<Token>().ok().and_then(|token| accounts.recognize(&token));
        let found = identity.and_then(|identity| Some((accounts.access(&identity, rules)?, identity)));
        if let Some((access, identity)) = found {
            return Ok((identity, access));
        }
        // A right one never waits for the wrong ones of others behind the same address.
        let mut tries = self.directory.tries.lock();
        if let Some(left) = tries.wait(self.origin, now) {
            return Err(too_many(left));
        }
        tries.count(self.origin, now);
        Err(Fault::new(ErrorName::Denied, NOT_RECOGNIZED))
    }

    /// What the client may do now.
    pub(crate) fn access(&mut self) -> Result<&Access, Fault> {
        if self.is_stranger {
            return Err(Fault::new(ErrorName::Denied, NO_TOKEN).closing());
        }
        if self.roll.has_changed().unwrap_or(false) {
            let roll = self.roll.borrow_and_update().clone();
            let access = match (&roll, &self.identity) {
                (Roll::Open, _) => Some(Access::Open),
                (Roll::Accounts(accounts, rules), Some(identity)) => accounts.access(identity, rules),
                (Roll::Accounts(..) | Roll::Unread, _) => None,
            };
            if let Some(access) = access {
                self.access = access;
            } else {
                // Asked again, it is refused again.
                self.roll.mark_changed();
                let why = if self.identity.is_some() { GONE } else { NO_TOKEN };
                return Err(Fault::new(ErrorName::Denied, why).closing());
            }
        }
        Ok(&self.access)
    }

    /// Returns when the client has lost all rights, and why.
    pub(crate) async fn expelled(&mut self) -> Fault {
        loop {
            if let Err(fault) = self.access() {
                return fault;
            }
            if self.roll.changed().await.is_err() {
                // Nobody changes the accounts any more.
                return std::future::pending().await;
            }
            self.roll.mark_changed();
        }
    }

    /// Refuses what a client may not do with a path. Says nothing of what is there.
    pub(crate) fn check(&mut self, right: Right, path: &RelPath) -> Result<(), Fault> {
        let is_allowed = self.access()?.may(right, path);
        self.unless(is_allowed, right, path)
    }

    /// The same, for what is done with all that is below it.
    pub(crate) fn check_all(&mut self, right: Right, path: &RelPath) -> Result<(), Fault> {
        let is_allowed = self.access()?.may_all(right, path);
        self.unless(is_allowed, right, path)
    }

    fn unless(&self, is_allowed: bool, right: Right, path: &RelPath) -> Result<(), Fault> {
        if is_allowed {
            return Ok(());
        }
        let access = &self.access;
        let who = access.owner();
        Err(Fault::new(
            ErrorName::Denied,
            match (access, right) {
                (Access::User { read_only: true, .. }, Right::Write) => format!("{who} may read, and change nothing"),
                (Access::User { .. }, Right::Read) => format!("{who} may see /{who} and /shared, not /{path}"),
                (Access::User { .. }, Right::Write) => {
                    format!("{who} may change what is in /{who} and /shared, not /{path}")
                }
                (Access::Open | Access::Admin { .. }, _) => format!("{path} is twinstick's own"),
            },
        ))
    }

    /// Refuses to share what is not the client's.
    pub(crate) fn check_sharing(&mut self, path: &RelPath) -> Result<(), Fault> {
        let access = self.access()?;
        if access.may_share(path) {
            return Ok(());
        }
        let message = match access {
            Access::Open => "there are no users to share with: twinstickd user add makes one".to_owned(),
            Access::Admin { .. } | Access::User { .. } => format!("{} may share what is in /{0}", access.owner()),
        };
        Err(Fault::new(ErrorName::Denied, message))
    }

    /// With whom a path is shared, as far as that is the client's business.
    pub(crate) fn shared(&mut self, path: &RelPath) -> Result<Vec<Share>, Fault> {
        if !self.access()?.may_share(path) {
            return Ok(Vec::new());
        }
        Ok(self.shares()?.into_iter().filter(|share| path.starts_with(&share.path)).collect())
    }

    /// The shares that the client gave or got; all of them for an admin.
    pub(crate) fn shares(&mut self) -> Result<Vec<Share>, Fault> {
        let access = self.access()?.clone();
        let Roll::Accounts(accounts, _) = &*self.roll.borrow() else { return Ok(Vec::new()) };
        let is_mine = |share: &Share| access.may_share(&share.path) || share.with.as_str() == access.owner();
        Ok(accounts.shares().filter(is_mine).collect())
    }

    /// Refuses all but an admin. Where there are no accounts, the first one is made on the machine itself.
    pub(crate) fn check_admin(&mut self) -> Result<(), Fault> {
        let message = match self.access()? {
            Access::Admin { .. } => return Ok(()),
            Access::Open => "the first account is made where the daemon runs: twinstickd user add NAME --admin",
            Access::User { .. } => "only an admin may see and change accounts",
        };
        Err(Fault::new(ErrorName::Denied, message))
    }

    /// What the client's files may come to, where that is limited.
    pub(crate) fn quota(&self) -> Option<u64> {
        let accounts = self.accounts()?;
        accounts.user(&self.identity.as_ref()?.name).ok()?.quota
    }

    /// Where the client's paths begin that do not begin with `/`.
    pub(crate) fn home(&self) -> Option<&UserName> {
        self.access.home()
    }

    /// Whom the client was recognized as.
    pub(crate) fn name(&self) -> String {
        self.identity.as_ref().map(|identity| identity.name.to_string()).unwrap_or_default()
    }

    pub(crate) fn accounts(&self) -> Option<Arc<Accounts>> {
        match &*self.roll.borrow() {
            Roll::Accounts(accounts, _) => Some(Arc::clone(accounts)),
            Roll::Open | Roll::Unread => None,
        }
    }

    /// How to change the accounts.
    pub(crate) fn changer(&self) -> Changer {
        Arc::clone(&self.directory.changer)
    }

    /// Refuses what is for admins.
    pub(crate) fn check_unlimited(&mut self, what: &str) -> Result<(), Fault> {
        match self.access()? {
            Access::Open | Access::Admin { .. } => Ok(()),
            Access::User { .. } => Err(Fault::new(ErrorName::Denied, format!("only an admin may {what}"))),
        }
    }
}

fn too_many(left: Duration) -> Fault {
    let seconds = left.as_secs() + 1;
    let message = format!("too many wrong tokens or passwords came from your address: try again in {seconds} s");
    Fault::new(ErrorName::Busy, message)
}
