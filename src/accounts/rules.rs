//! Who may use which folders of `/shared`, as the settings say.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::accounts::access::{Right, SHARED_FOLDER};
use crate::accounts::name::UserName;
use crate::path::{BadPath, Name, RelPath};

/// One folder's rule. Without a list all may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FolderRule {
    /// Who reads it, beside those who write.
    pub read: Option<Vec<UserName>>,
    /// Who changes it.
    pub write: Option<Vec<UserName>>,
}

/// The rules of the folders below `/shared`; of those above a path the deepest counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedRules(Vec<(RelPath, FolderRule)>);

/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    #[error("[shared.{folder:?}]: {source}")]
    Path { folder: String, source: BadPath },
    #[error("[shared.\"\"]: name a folder in /shared; what has no rule is for all")]
    Root,
}

impl FolderRule {
    fn lets(&self, right: Right, user: &UserName) -> bool {
        let has = |list: &Option<Vec<UserName>>| list.as_ref().is_none_or(|users| users.contains(user));
        match right {
            Right::Write => has(&self.write),
            // Who may change something may read it.
            Right::Read => has(&self.read) || self.write.as_ref().is_some_and(|users| users.contains(user)),
        }
    }
}

impl SharedRules {
    /// Of folders by their paths in `/shared`.
    pub fn new(rules: &BTreeMap<String, FolderRule>) -> Result<Self, BadRule> {
        let rule = |(folder, rule): (&String, &FolderRule)| {
            let path = RelPath::parse_folder(&format!("{SHARED_FOLDER}/{}", folder.trim_start_matches('/')));
            let path = path.map_err(|source| BadRule::Path { folder: folder.clone(), source })?;
            if path.names().len() < 2 { Err(BadRule::Root) } else { Ok((path, rule.clone())) }
        };
        rules.iter().map(rule).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn may(&self, right: Right, user: &UserName, path: &RelPath) -> bool {
        let above = self.0.iter().filter(|(folder, _)| path.starts_with(folder));
        let deepest = above.max_by_key(|(folder, _)| folder.names().len());
        deepest.is_none_or(|(_, rule)| rule.lets(right, user))
    }

    /// Whether no rule of something below a path is against it.
    pub(super) fn may_below(&self, right: Right, user: &UserName, path: &[Name]) -> bool {
        let mut below = self.0.iter().filter(|(folder, _)| folder.names().starts_with(path));
        below.all(|(_, rule)| rule.lets(right, user))
    }
}
