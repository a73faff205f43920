//! Parts of homes that others may use. A share is of a path: it goes on with whatever is there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::accounts::{AccountError, Accounts, SHARES_MAX, UserName};
use crate::path::RelPath;

/// What a share lets somebody do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    Read,
    /// To read and change.
    Write,
}

/// One share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub path: RelPath,
    pub with: UserName,
    pub grant: Grant,
}

impl Accounts {
    pub(super) fn share(&mut self, path: &RelPath, with: &UserName, grant: Grant) -> Result<(), AccountError> {
        self.user(with)?;
        let is_home_of = |user: &&UserName| path.names().first().is_some_and(|first| first.as_str() == user.as_str());
        let owner = self.users.keys().find(is_home_of).ok_or_else(|| AccountError::NotInAHome(path.clone()))?;
        if owner == with {
            return Err(AccountError::OwnAlready(path.clone(), with.clone()));
        }
        if self.shares.values().map(BTreeMap::len).sum::<usize>() >= SHARES_MAX {
            return Err(AccountError::TooManyShares);
        }
        self.shares.entry(path.to_string()).or_default().insert(with.clone(), grant);
        Ok(())
    }

    pub(super) fn unshare(&mut self, path: &RelPath, with: &UserName) -> Result<(), AccountError> {
        let key = path.to_string();
        let not_shared = || AccountError::NotShared(path.clone(), with.clone());
        let all = self.shares.get_mut(&key).ok_or_else(not_shared)?;
        all.remove(with).ok_or_else(not_shared)?;
        if all.is_empty() {
            self.shares.remove(&key);
        }
        Ok(())
    }

    /// Another user of the same name gets none of them.
    pub(super) fn forget_shares_of(&mut self, name: &UserName) {
        self.shares.retain(|path, with| {
            with.remove(name);
            let of = path.split('/').next().unwrap_or_default();
            !with.is_empty() && of != name.as_str()
        });
    }

    /// All shares, by their paths.
    pub fn shares(&self) -> impl Iterator<Item = Share> {
        let parsed = self.shares.iter().filter_map(|(path, with)| Some((RelPath::parse(path).ok()?, with)));
        parsed.flat_map(|(path, with)| {
            with.iter().map(move |(with, grant)| Share { path: path.clone(), with: with.clone(), grant: *grant })
        })
    }

    pub(super) fn shared_with(&self, name: &UserName) -> Vec<(RelPath, Grant)> {
        let of =
            |(path, with): (&String, &BTreeMap<UserName, Grant>)| Some((RelPath::parse(path).ok()?, *with.get(name)?));
        self.shares.iter().filter_map(of).collect()
    }
}
