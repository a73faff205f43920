//! Names of users: each is the name of a folder too.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::accounts::access::SHARED_FOLDER;

const NAME_BYTES_MAX: usize = 32;

/// A user's name: 1 to 32 of `a` to `z`, digits, `-` and `_`, a letter first. Alike on file systems that know no case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error("a user's name has 1 to {NAME_BYTES_MAX} of a-z, 0-9, '-' and '_', and begins with a letter: not {0:?}")]
    Characters(String),
    #[error("{0:?} is the name of the folder for all: choose another name")]
    Taken(String),
    /// What no file system of Windows takes as the name of a folder.
    #[error("{0:?} cannot be a folder's name on every stick: choose another name")]
    Device(String),
}

impl UserName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UserName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins || text.len() > NAME_BYTES_MAX || !text.chars().all(allowed) {
            return Err(BadName::Characters(text));
        }
        if text == SHARED_FOLDER {
            return Err(BadName::Taken(text));
        }
        if is_device(&text) {
            return Err(BadName::Device(text));
        }
        Ok(Self(text))
    }
}

/// Names that Windows keeps for devices, with any ending or none.
fn is_device(name: &str) -> bool {
    let numbered = |stem: &str| {
        name.strip_prefix(stem).is_some_and(|rest| rest.len() == 1 && rest.chars().all(|c| c.is_ascii_digit()))
    };
    matches!(name, "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

impl std::str::FromStr for UserName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::try_from(text.to_owned())
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
