//! Passwords at the door: for a token, and for another password.

use std::time::Instant;

use crate::accounts::{AccountError, Accounts, Change, Password, PasswordHash, UserName};
use crate::server::door::{ChangeRefused, Guest, Roll, UNREAD, too_many};
use crate::server::share;
use crate::wire::{ErrorName, Fault, LoginRequest, PasswdRequest, Secret};

/// What is said whatever was wrong: that there is no such user, or no password, is nobody's business.
const NO_MATCH: &str = "this name and password are not right here: an admin can set another one, or give a token";
const NO_ACCOUNTS: &str = "there are no users here: nobody needs to log in";
const OLD_NEEDED: &str =
    "the old password is not right, or there is none: an admin sets another one with 'fget admin passwd'";

impl Guest {
    /// Takes a password; the token that it is worth.
    pub(crate) async fn log_in(&mut self, request: LoginRequest, now: Instant) -> Result<Secret, Fault> {
        let roll = self.roll.borrow().clone();
        let accounts = match roll {
            Roll::Open => return Err(Fault::new(ErrorName::Denied, NO_ACCOUNTS)),
            Roll::Unread => return Err(Fault::new(ErrorName::Unavailable, UNREAD)),
            Roll::Accounts(accounts, _) => accounts,
        };
        let LoginRequest { user, password, label } = request;
        let no_match = || Fault::new(ErrorName::Denied, NO_MATCH).closing();
        // A name that nobody can have takes as long as all others.
        let name = user.parse::<UserName>().ok();
        let hash = self.check_password(&accounts, name.as_ref(), &password, now).await?;
        let (Some(name), Some(hash)) = (name, hash) else { return Err(no_match()) };
        match self.changer()(Change::NewToken { name, label, by: Some(hash) }).await {
            Ok(Some(token)) => Ok(Secret(token)),
            Ok(None) | Err(ChangeRefused::Account(AccountError::NoUser(_) | AccountError::OtherPassword(_))) => {
                Err(no_match())
            }
            Err(refused) => Err(share::fault(&refused)),
        }
    }

    /// Gives a user another password, or none: an admin anybody, others themselves if they know the old one.
    pub(crate) async fn set_password(&mut self, request: PasswdRequest, now: Instant) -> Result<(), Fault> {
        let PasswdRequest { user, password, old } = request;
        self.access()?;
        let own = self.identity.as_ref().map(|identity| identity.name.clone());
        let (Some(own), Some(accounts)) = (own, self.accounts()) else {
            return Err(Fault::new(ErrorName::NotFound, NO_ACCOUNTS));
        };
        let name = match user {
            Some(name) => name.parse().map_err(|error| Fault::new(ErrorName::BadRequest, format!("{error}")))?,
            None => own.clone(),
        };
        if name != own {
            self.check_unlimited("change another one's password")?;
        }
        // Looked at before anything is asked of the machine.
        let password = password.map(|password| Password::new(&password.0)).transpose();
        let password = password.map_err(|bad| Fault::new(ErrorName::BadRequest, bad.to_string()))?;
        let by = if self.check_unlimited("").is_ok() {
            None
        } else {
            let old = old.unwrap_or_else(|| Secret(String::new()));
            let hash = self.check_password(&accounts, Some(&name), &old, now).await?;
            Some(hash.ok_or_else(|| Fault::new(ErrorName::Denied, OLD_NEEDED))?)
        };
        let password = match password {
            Some(password) => Some(self.directory.hashing.run(move || password.hash()).await?),
            None => None,
        };
        // It may have taken a while: who asked may have lost his rights meanwhile.
        self.access()?;
        if by.is_none() {
            self.check_admin()?;
        }
        let changed = self.changer()(Change::SetPassword { name, password, by }).await;
        changed.map(drop).map_err(|refused| share::fault(&refused))
    }

    /// The hash of a user's password, if this is it. As much work in each case, and words of the caller's own.
    async fn check_password(
        &self,
        accounts: &Accounts,
        name: Option<&UserName>,
        password: &Secret,
        now: Instant,
    ) -> Result<Option<PasswordHash>, Fault> {
        {
            let mut tries = self.directory.tries.lock();
            if let Some(left) = tries.wait(self.origin, now) {
                return Err(too_many(left).closing());
            }
            // Counted before it is checked: many at once are many.
            tries.count(self.origin, now);
        }
        let hash = name.and_then(|name| accounts.user(name).ok()).and_then(|user| user.password.clone());
        let (tried, against) = (Password::typed(&password.0), hash.clone());
        let checked = self.directory.hashing.run(move || tried.is_of(against.as_ref())).await;
        if !matches!(checked, Ok(false)) {
            self.directory.tries.lock().forget_one(self.origin);
        }
        let is_right = checked?;
        Ok(hash.filter(|_| is_right))
    }
}
