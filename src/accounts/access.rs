//! What a user may touch: the home of the same name, and the folder for all.
//!
//! A path says by itself whose it is: nothing that somebody else does at the same time can change that.

use std::sync::Arc;

use crate::accounts::name::UserName;
use crate::accounts::rules::SharedRules;
use crate::accounts::share::Grant;
use crate::accounts::token::TokenId;
use crate::path::{RelPath, is_accounts_file};

/// The folder that all may use.
pub const SHARED_FOLDER: &str = "shared";

/// Somebody who was recognized, and by which token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub name: UserName,
    pub token: TokenId,
}

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// There are no accounts: everybody may do all.
    Open,
    Admin {
        name: UserName,
    },
    User {
        name: UserName,
        read_only: bool,
        /// Of others' homes.
        shares: Vec<(RelPath, Grant)>,
        /// Of the folders for all.
        rules: Arc<SharedRules>,
    },
}

/// What is wanted of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Read,
    /// To make, change or remove it.
    Write,
}

impl Access {
    /// Who owns what is put.
    pub fn owner(&self) -> &str {
        match self {
            Self::Open => "",
            Self::Admin { name } | Self::User { name, .. } => name.as_str(),
        }
    }

    /// Whether all may be seen and done, beyond files: the drives, the trash of all.
    pub fn is_unlimited(&self) -> bool {
        matches!(self, Self::Open | Self::Admin { .. })
    }

    /// The folder where paths begin that do not begin with `/`.
    pub fn home(&self) -> Option<&UserName> {
        match self {
            Self::Open => None,
            Self::Admin { name } | Self::User { name, .. } => Some(name),
        }
    }

    /// The folders in the root that are there for somebody, whether anything was put in them or not.
    pub fn bases(&self) -> Vec<&str> {
        self.home().map(|home| vec![home.as_str(), SHARED_FOLDER]).unwrap_or_default()
    }

    /// Whether somebody may share a path, and be told with whom it is.
    pub fn may_share(&self, path: &RelPath) -> bool {
        match self {
            Self::Open => false,
            Self::Admin { .. } => true,
            Self::User { name, .. } => path.names().first().is_some_and(|first| first.as_str() == name.as_str()),
        }
    }

    pub fn may(&self, right: Right, path: &RelPath) -> bool {
        let names = path.names();
        if is_accounts_file(names) {
            return false;
        }
        match self {
            Self::Open | Self::Admin { .. } => true,
            Self::User { name, read_only, shares, rules } => {
                let Some((first, rest)) = names.split_first() else { return false };
                let is_shared = first.as_str() == SHARED_FOLDER;
                let within = first.as_str() == name.as_str() || is_shared;
                if is_shared && !rules.may(right, name, path) {
                    return false;
                }
                // A home itself, and the folder for all, are there for good.
                let is_base = rest.is_empty();
                if within {
                    return right == Right::Read || (!read_only && !is_base);
                }
                shares.iter().any(|(shared, grant)| {
                    let is_enough = right == Right::Read || (*grant == Grant::Write && !read_only);
                    is_enough && path.starts_with(shared)
                })
            }
        }
    }

    /// The same of all that may be below a path.
    pub fn may_all(&self, right: Right, path: &RelPath) -> bool {
        let below = match self {
            Self::Open | Self::Admin { .. } => true,
            Self::User { name, rules, .. } => rules.may_below(right, name, path.names()),
        };
        below && self.may(right, path)
    }
}
