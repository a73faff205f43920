//! Who may use the mirror: users, their tokens, and what each may touch. Pure.
//!
//! A document that the daemon keeps on the boot disk and, as a file of the mirror's own, on both drives. Of secrets it has
//! hashes alone.

mod access;
mod name;
mod password;
mod rules;
mod share;
mod token;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use crate::path::ACCOUNTS_FILE;
use crate::path::RelPath;
pub use access::{Access, Identity, Right, SHARED_FOLDER};
pub use name::{BadName, UserName};
pub use password::{BadPassword, BadPasswordHash, NoMemory, Password, PasswordHash};
pub use rules::{BadRule, FolderRule, SharedRules};
pub use share::{Grant, Share};
use token::TokenHash;
pub use token::{BadToken, Token, TokenId};

/// Of the document's form.
const FORMAT: u32 = 2;
/// Of one that has no passwords: versions that know of none read it too.
const FORMAT_WITHOUT_PASSWORDS: u32 = 1;
/// Longest label of a token, in characters.
const LABEL_CHARS_MAX: usize = 64;
/// More would be a program that logs in again and again.
const TOKENS_MAX: usize = 1000;
/// Each is looked at for each request of those that it is for.
const SHARES_MAX: usize = 10_000;

/// All accounts, as they are at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    format: u32,
    /// Grows with every change: of two documents the one with the higher serial is the newer.
    serial: u64,
    users: BTreeMap<UserName, User>,
    /// Of paths in homes, with whom they are shared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    shares: BTreeMap<String, BTreeMap<UserName, Grant>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Sees and does all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
    /// Changes nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Bytes that the user's files may come to; without it as many as the drives take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
    /// What `fget login` takes in place of a token, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordHash>,
    tokens: BTreeMap<TokenId, StoredToken>,
}

/// What is known of a token: enough to recognize it, not to make it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredToken {
    pub label: String,
    /// When it was made, in nanoseconds since 1970.
    pub made_ns: i64,
    hash: TokenHash,
}

impl Change {
    /// What it is and whose, for a log. Tokens are not named: somebody may have given a whole one.
    pub fn summary(&self) -> String {
        match self {
            Self::AddUser { name, admin: true, .. } => format!("add-user {name} admin"),
            Self::AddUser { name, read_only: true, .. } => format!("add-user {name} read-only"),
            Self::AddUser { name, .. } => format!("add-user {name}"),
            Self::SetQuota { name, quota: Some(quota) } => format!("set-quota {name} {quota}"),
            Self::SetQuota { name, quota: None } => format!("set-quota {name} none"),
            Self::RemoveUser { name } => format!("remove-user {name}"),
            Self::NewToken { name, .. } => format!("new-token {name}"),
            Self::RevokeToken { name, .. } => format!("revoke-token {name}"),
            Self::SetPassword { name, password: Some(_), .. } => format!("set-password {name}"),
            Self::SetPassword { name, password: None, .. } => format!("remove-password {name}"),
            Self::Share { path, with, .. } => format!("share {path} {with}"),
            Self::Unshare { path, with } => format!("unshare {path} {with}"),
        }
    }
}

/// A change to the accounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Change {
    AddUser {
        name: UserName,
        admin: bool,
        read_only: bool,
        /// Bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quota: Option<u64>,
        /// Of the first token.
        label: String,
    },
    /// How many bytes the user's files may come to; `None`: as many as the drives take.
    SetQuota {
        name: UserName,
        quota: Option<u64>,
    },
    RemoveUser {
        name: UserName,
    },
    NewToken {
        name: UserName,
        label: String,
        /// Only while this is the user's password: somebody showed it.
        #[serde(skip)]
        by: Option<PasswordHash>,
    },
    /// `None`: the user has none from then on. Tokens stay.
    SetPassword {
        name: UserName,
        password: Option<PasswordHash>,
        /// As with a token.
        #[serde(skip)]
        by: Option<PasswordHash>,
    },
    /// By its id, or by its label.
    RevokeToken {
        name: UserName,
        token: String,
    },
    /// Lets somebody into a part of another one's home, or changes how far.
    Share {
        path: RelPath,
        with: UserName,
        grant: Grant,
    },
    Unshare {
        path: RelPath,
        with: UserName,
    },
}

/// Why a change is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("there is a user {0} already")]
    UserExists(UserName),
    #[error("there is no user {0}: 'twinstickd user list' shows those that there are")]
    NoUser(UserName),
    #[error("{0} has no token {1:?}: 'twinstickd token list {0}' shows those that there are")]
    NoToken(UserName, String),
    #[error("{0} has more than one token {1:?}: name it by its id")]
    Ambiguous(UserName, String),
    #[error("a token's name has 1 to {LABEL_CHARS_MAX} characters and no control characters: {0:?}")]
    BadLabel(String),
    #[error("{0} is the last admin: make another one first, or nobody could be added any more over the network")]
    LastAdmin(UserName),
    #[error("{0} is in nobody's home: a user shares what is in his")]
    NotInAHome(RelPath),
    #[error("{0} is {1}'s own already")]
    OwnAlready(RelPath, UserName),
    #[error("{0} is not shared with {1}: 'fget shares' shows what is")]
    NotShared(RelPath, UserName),
    #[error("{0} has {TOKENS_MAX} tokens already: revoke some that are not needed")]
    TooManyTokens(UserName),
    #[error("{0} has another password now")]
    OtherPassword(UserName),
    #[error("there are {SHARES_MAX} shares already: end some that are not needed")]
    TooManyShares,
}

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadAccounts {
    #[error("not a document of accounts: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("of format {0}, and this version knows up to {FORMAT}: use the twinstickd that wrote it")]
    TooNew(u32),
}

impl Accounts {
    /// Reads a document.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadAccounts> {
        /// What each format has.
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_slice(bytes)?;
        if head.format > FORMAT {
            return Err(BadAccounts::TooNew(head.format));
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The document, with a newline at its end.
    pub fn document(&self) -> Vec<u8> {
        // Strings and numbers alone: it cannot fail.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    pub fn serial(&self) -> u64 {
        self.serial
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    pub fn users(&self) -> impl Iterator<Item = (&UserName, &User)> {
        self.users.iter()
    }

    pub fn user(&self, name: &UserName) -> Result<&User, AccountError> {
        self.users.get(name).ok_or_else(|| AccountError::NoUser(name.clone()))
    }

    /// The accounts after a change; with a new token where it makes one. `now_ns` is told to people, nothing else.
    pub fn with(&self, change: &Change, now_ns: i64) -> Result<(Self, Option<Token>), AccountError> {
        let mut next = self.clone();
        let mut made = None;
        match change {
            Change::AddUser { name, admin, read_only, quota, label } => {
                if next.users.contains_key(name) {
                    return Err(AccountError::UserExists(name.clone()));
                }
                let (admin, read_only, quota) = (*admin, *read_only, *quota);
                let user = User { admin, read_only, quota, password: None, tokens: BTreeMap::new() };
                next.users.insert(name.clone(), user);
                made = Some(next.mint(name, label, now_ns)?);
            }
            Change::SetQuota { name, quota } => next.user_mut(name)?.quota = *quota,
            Change::RemoveUser { name } => {
                next.forget_shares_of(name);
                let removed = next.users.remove(name).ok_or_else(|| AccountError::NoUser(name.clone()))?;
                if removed.admin && !next.users.is_empty() && !next.users.values().any(|user| user.admin) {
                    return Err(AccountError::LastAdmin(name.clone()));
                }
            }
            Change::NewToken { name, label, by } => {
                next.check_password(name, by.as_ref())?;
                made = Some(next.mint(name, label, now_ns)?);
            }
            Change::SetPassword { name, password, by } => {
                next.check_password(name, by.as_ref())?;
                next.user_mut(name)?.password.clone_from(password);
            }
            Change::RevokeToken { name, token } => {
                let user = next.user_mut(name)?;
                let mut meant =
                    user.tokens.iter().filter(|(id, stored)| id.to_string() == *token || stored.label == *token);
                let id = match (meant.next(), meant.next()) {
                    (None, _) => return Err(AccountError::NoToken(name.clone(), token.clone())),
                    (Some((id, _)), None) => *id,
                    (Some(_), Some(_)) => return Err(AccountError::Ambiguous(name.clone(), token.clone())),
                };
                user.tokens.remove(&id);
            }
            Change::Share { path, with, grant } => next.share(path, with, *grant)?,
            Change::Unshare { path, with } => next.unshare(path, with)?,
        }
        let has_passwords = next.users.values().any(|user| user.password.is_some());
        next.format = if has_passwords { FORMAT } else { FORMAT_WITHOUT_PASSWORDS };
        next.serial += 1;
        Ok((next, made))
    }

    fn mint(&mut self, name: &UserName, label: &str, now_ns: i64) -> Result<Token, AccountError> {
        check_label(label)?;
        let token = Token::mint();
        let stored = StoredToken { label: label.to_owned(), made_ns: now_ns, hash: token.hash() };
        let user = self.user_mut(name)?;
        if user.tokens.len() >= TOKENS_MAX {
            return Err(AccountError::TooManyTokens(name.clone()));
        }
        user.tokens.insert(token.id(), stored);
        Ok(token)
    }

    /// That a password which somebody showed a moment ago is the user's still.
    fn check_password(&self, name: &UserName, shown: Option<&PasswordHash>) -> Result<(), AccountError> {
        if shown.is_none() || self.user(name)?.password.as_ref() == shown {
            return Ok(());
        }
        Err(AccountError::OtherPassword(name.clone()))
    }

    /// What there is once accounts that nobody can read are given up: newer than they can be.
    pub fn anew(now_ns: i64) -> Self {
        Self { serial: now_ns.max(0).unsigned_abs(), ..Self::default() }
    }

    fn user_mut(&mut self, name: &UserName) -> Result<&mut User, AccountError> {
        self.users.get_mut(name).ok_or_else(|| AccountError::NoUser(name.clone()))
    }

    /// Who a token is of. It takes as long whether there is no such token or its secret is wrong.
    pub fn recognize(&self, token: &Token) -> Option<Identity> {
        let found = self.users.iter().find_map(|(name, user)| Some((name, user.tokens.get(&token.id())?)));
        let hash = found.map_or(TokenHash::NOBODYS, |(_, stored)| stored.hash);
        let fits = hash.is_of(token);
        found.filter(|_| fits).map(|(name, _)| Identity { name: name.clone(), token: token.id() })
    }

    /// What somebody may do now who was recognized before; nothing where the user or the token is gone.
    pub fn access(&self, identity: &Identity, rules: &Arc<SharedRules>) -> Option<Access> {
        let user = self.users.get(&identity.name).filter(|user| user.tokens.contains_key(&identity.token))?;
        let name = identity.name.clone();
        if user.admin {
            return Some(Access::Admin { name });
        }
        let shares = self.shared_with(&name);
        Some(Access::User { name, read_only: user.read_only, shares, rules: Arc::clone(rules) })
    }
}

impl User {
    pub fn tokens(&self) -> impl Iterator<Item = (TokenId, &StoredToken)> {
        self.tokens.iter().map(|(id, stored)| (*id, stored))
    }
}

fn check_label(label: &str) -> Result<(), AccountError> {
    let good = (1..=LABEL_CHARS_MAX).contains(&label.chars().count()) && !label.chars().any(char::is_control);
    if good { Ok(()) } else { Err(AccountError::BadLabel(label.to_owned())) }
}

#[cfg(test)]
mod tests;
